"""Lines to paste for settings made in code, on which variables have no effect."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace

from ..config import Settings
from ._findings import Finding

#: Calls into which settings are inserted.
AGENT = "AgentApp(..., settings=replace(settings, {}))"
HARDEN = "harden(app, {})"
SERVER = "AgentServer(settings=replace(settings, {}))"
#: Of a site, pages of the origin would otherwise read all paths with the browser's cookies.
_CORS = 'harden(app, cors={"origins": ["https://app.example.com"], "paths": ["/api/*"]})'
_BASIC_AUTH = 'AgentApp(..., basic_auth=("platform", os.environ["SWML_BASIC_AUTH_PASSWORD"]))'

#: In lines of findings: a variable, and its value.
ASSIGNMENT = re.compile(r"((?:SWML|SIGNALWIRE)_[A-Z_]+)=(\S.*?)(?= (?:SWML|SIGNALWIRE)_|$)")
_REMOVAL = re.compile(r"unset (\w+)")
_FIELDS = {each.metadata["variable"]: each.name for each in fields(Settings)}


def with_lines_for_code(
    found: Iterable[Finding], settings: Settings, environ: Settings, call: str
) -> Iterator[Finding]:
    """Yield `found`, with lines for code where `settings` differ from the environment.

    Args:
        settings: those that were judged.
        environ: those of the environment.
        call: `AGENT`, `HARDEN` or `SERVER`.
    """
    for each in found if call is not HARDEN else map(with_line_for_cors, found):
        removed = _REMOVAL.fullmatch(each.line)
        pairs = [(removed[1], "")] if removed else ASSIGNMENT.findall(each.line)
        names = [_FIELDS[variable] for variable, _ in pairs if variable in _FIELDS]
        if all(getattr(settings, name) == getattr(environ, name) for name in names):
            yield each
        else:
            arguments = ", ".join(_argument(variable, value) for variable, value in pairs)
            yield replace(each, line=call.format(arguments))


def with_line_for_cors(each: Finding) -> Finding:
    """Return a finding on the origins of a site with a line that opens only some of its paths."""
    return replace(each, line=_CORS) if each.line.startswith("SWML_CORS_ORIGINS=") else each


def with_lines_for_basic_auth(each: Finding) -> Finding:
    """Return a finding about a password set in code, with a line for code."""
    variable = "SWML_BASIC_AUTH_PASSWORD"
    if not each.line.startswith(f"{variable}="):
        return each
    return replace(
        each, message=re.sub(rf"{variable}\b", "basic_auth", each.message), line=_BASIC_AUTH
    )


def _argument(variable: str, value: str) -> str:
    return f"{_FIELDS[variable]}={_literal(variable, value)}"


def _literal(variable: str, value: str) -> str:
    if value in ("", "true", "false"):
        return {"": "None", "true": "True", "false": "False"}[value]
    if value.startswith(('"$(', "...")):
        return f'os.environ["{variable}"]'
    return value if value.isdecimal() else json.dumps(value)
