"""Optional integration with Django: ``"swaig_wsgi.django"`` in ``INSTALLED_APPS``.

The context processor ``"swaig_wsgi.django.csp_nonce"`` gives templates the nonce of the request.

``manage.py check --deploy`` then shows the findings of ``swaig-wsgi check``, under the same ids, so
that ``SILENCED_SYSTEM_CHECKS`` can silence them. This is the only module that imports Django.
"""

from __future__ import annotations

import os
import re
from typing import Any

from django import conf
from django.core import checks

from .checks import Finding, check_environ, check_mapping
from .checks._in_code import ASSIGNMENT
from .checks._sources import VARIABLES_OF_FIELDS

__all__ = ["check_service", "csp_nonce"]

#: The fields of `Settings`, by variable.
_FIELDS = {variable: name for name, variable in VARIABLES_OF_FIELDS.items()}

_MESSAGES = {"error": checks.Error, "warning": checks.Warning, "info": checks.Info}


def check_service(app_configs: Any = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Return the findings on the setting ``SWAIG_WSGI``, else on the environment.

    Args:
        app_configs: ignored, as are further arguments: the findings are on the whole service.
    """
    mapping = getattr(conf.settings, "SWAIG_WSGI", None)
    found = check_environ() if mapping is None else check_mapping(mapping, os.environ)
    return [
        _MESSAGES[each.severity](
            each.message, hint=f"{_line(each, mapping)}  See {each.link}.", id=each.id
        )
        for each in found
    ]


def csp_nonce(request: Any) -> dict[str, str]:
    """Return the nonce of the request as ``csp_nonce``, for ``<script nonce="{{ csp_nonce }}">``.

    It is empty where ``harden`` has no policy with a nonce, and in ``django.test.Client``.
    """
    return {"csp_nonce": request.META.get("swaig_wsgi.csp_nonce", "")}


def _line(each: Finding, mapping: Any) -> str:
    """Return the line to paste: with the setting, a key of it and not a variable."""
    if mapping is None or each.id == "swaig.W030":
        return each.line
    line = ASSIGNMENT.sub(lambda match: _member(match[1], match[2]), each.line)
    removed = re.fullmatch(r"unset (\w+)", line)
    return line if removed is None else f"Remove {_FIELDS.get(removed[1], removed[1])}"


def _member(variable: str, value: str) -> str:
    # A field, because a setting that is given as field and as variable is invalid.
    member = f"SWAIG_WSGI[{_FIELDS.get(variable, variable)!r}]"
    if value.startswith(('"$(', "...")):
        return f"{member} = os.environ[{variable!r}]"
    return f"{member} = {value!r}"


checks.register(check_service, checks.Tags.security, deploy=True)
