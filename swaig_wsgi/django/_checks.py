"""System checks: the findings on the site's settings, on its layers and on its agents.

This is the only module that imports Django.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from django import conf
from django.core import checks
from django.core.servers.basehttp import get_internal_wsgi_application

from ..checks import Finding
from ..checks._agents import Parts
from ..checks._application import check_parts
from ..checks._findings import finding
from ..checks._in_code import ASSIGNMENT
from ..checks._settings import judge_environ, judge_mapping
from ..checks._sources import VARIABLES_OF_FIELDS, safe_reason, scrub, secret_values
from ..config import ConfigurationError, known_variables
from ..core.redaction import escape_control

#: The fields of `Settings`, by variable.
_FIELDS = {variable: name for name, variable in VARIABLES_OF_FIELDS.items()}

#: How the names of variables begin that belong together.
_CREDENTIALS = ("SWML_BASIC_AUTH_", "SIGNALWIRE_SWAIG_SECRET", "SIGNALWIRE_SIGNING_KEY")

_MESSAGES = {"error": checks.Error, "warning": checks.Warning, "info": checks.Info}


def check_service(app_configs: Any = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Return the findings on the setting ``SWAIG_WSGI``, else on the environment, and on the site.

    The application that ``WSGI_APPLICATION`` names is imported, as by the server. Credentials,
    secrets and keys that ``SWAIG_WSGI`` does not have are those of the environment.

    Args:
        app_configs: ignored, as are further arguments: the findings are on the whole service.
    """
    environ = os.environ
    mapping: Mapping[str, Any] | None = getattr(conf.settings, "SWAIG_WSGI", None)
    added: dict[str, str] = {}
    if mapping is None:
        settings, found = judge_environ(environ)
    else:
        added = _missing_credentials(mapping, environ)
        settings, found = judge_mapping({**mapping, **added}, environ)
    path = conf.settings.WSGI_APPLICATION
    application = None
    try:
        # Without a name, it is Django's own, which has no layers and agents.
        application = path and get_internal_wsgi_application()
    except (Exception, SystemExit) as error:
        cause = error.__cause__ or error
        if not (isinstance(cause, ConfigurationError) and any("E001" in each.id for each in found)):
            found.append(_import_finding(path, cause, mapping or {}))
    parts = Parts.of(application, (path or "").rpartition(".")[0])
    return [
        _MESSAGES[each.severity](
            each.message,
            hint=f"{each.line if mapping is None else _line(each, added)}  See {each.link}.",
            id=each.id,
        )
        for each in check_parts(parts, settings, found, environ)
    ]


def _missing_credentials(mapping: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of credentials, secrets and keys of which `mapping` has none."""
    given = [VARIABLES_OF_FIELDS.get(key, key) for key, value in mapping.items() if value]
    starts = [
        start for start in _CREDENTIALS if not any(str(each).startswith(start) for each in given)
    ]
    return {
        name: environ[name]
        for name in known_variables()
        if name.startswith(tuple(starts)) and environ.get(name)
    }


def _import_finding(path: str, error: BaseException, mapping: Mapping[str, Any]) -> Finding:
    secrets = secret_values({VARIABLES_OF_FIELDS.get(key, key): mapping[key] for key in mapping})
    why = escape_control(scrub(safe_reason(error, os.environ), secrets))
    text = f"WSGI_APPLICATION {path!r} cannot be imported, so its layers and agents were not judged"
    return finding("W033", f"{text}: {why}", f'python -c "import {path.rpartition(".")[0]}"')


def _line(each: Finding, added: Mapping[str, str]) -> str:
    """Return the line to paste: with the setting, a key of it and not a variable.

    Args:
        added: variables that are judged, because the setting has no value for them.
    """
    names = {match[1] for match in ASSIGNMENT.finditer(each.line)}
    removed = re.fullmatch(r"unset (\w+)", each.line)
    if removed is not None:
        names.add(removed[1])
    if each.id == "swaig.W030" or names & {name.removesuffix("_FILE") for name in added}:
        return each.line
    if removed is not None:
        return f"Remove {_FIELDS.get(removed[1], removed[1])}"
    return ASSIGNMENT.sub(lambda match: _member(match[1], match[2]), each.line)


def _member(variable: str, value: str) -> str:
    # A field, because a setting that is given as field and as variable is invalid.
    member = f"SWAIG_WSGI[{_FIELDS.get(variable, variable)!r}]"
    if value.startswith(('"$(', "...")):
        return f"{member} = os.environ[{variable!r}]"
    return f"{member} = {value!r}"


checks.register(check_service, checks.Tags.security, deploy=True)
