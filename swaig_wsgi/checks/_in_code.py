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
    for each in found:
        removed = _REMOVAL.fullmatch(each.line)
        pairs = [(removed[1], "")] if removed else ASSIGNMENT.findall(each.line)
        names = [_FIELDS[variable] for variable, _ in pairs if variable in _FIELDS]
        if all(getattr(settings, name) == getattr(environ, name) for name in names):
            yield each
        else:
            arguments = ", ".join(_argument(variable, value, call) for variable, value in pairs)
            yield replace(each, line=call.format(arguments))


def with_lines_for_basic_auth(each: Finding) -> Finding:
    """Return a finding about a password set in code, with a line for code."""
    variable = "SWML_BASIC_AUTH_PASSWORD"
    if not each.line.startswith(f"{variable}="):
        return each
    return replace(
        each, message=re.sub(rf"{variable}\b", "basic_auth", each.message), line=_BASIC_AUTH
    )


def _argument(variable: str, value: str, call: str) -> str:
    name = _FIELDS[variable]
    if name == "cors_origins" and call is HARDEN and value:
        return f'cors={{"origins": [{json.dumps(value)}]}}'  # may already be given so
    return f"{name}={_literal(variable, value)}"


def _literal(variable: str, value: str) -> str:
    if value in ("", "true", "false"):
        return {"": "None", "true": "True", "false": "False"}[value]
    if value.startswith(('"$(', "...")):
        return f'os.environ["{variable}"]'
    return value if value.isdecimal() else json.dumps(value)
