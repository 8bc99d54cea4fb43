"""Optional integration with Django: ``"swaig_wsgi.django"`` in ``INSTALLED_APPS``.

``manage.py check --deploy`` then shows the findings of ``swaig-wsgi check``, under the same ids, so
that ``SILENCED_SYSTEM_CHECKS`` can silence them. This is the only module that imports Django.
"""

from __future__ import annotations

from typing import Any

from django import conf
from django.core import checks

from .checks import check_environ, check_mapping

__all__ = ["check_service"]

_MESSAGES = {"error": checks.Error, "warning": checks.Warning, "info": checks.Info}


def check_service(app_configs: Any = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Return the findings on the setting ``SWAIG_WSGI``, else on the environment.

    Args:
        app_configs: ignored, as are further arguments: the findings are on the whole service.
    """
    mapping = getattr(conf.settings, "SWAIG_WSGI", None)
    found = check_environ() if mapping is None else check_mapping(mapping)
    return [
        _MESSAGES[each.severity](each.message, hint=f"{each.line}  See {each.link}.", id=each.id)
        for each in found
    ]


checks.register(check_service, checks.Tags.security, deploy=True)
