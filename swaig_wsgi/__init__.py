"""A secure front end for voice-AI agents on any WSGI server.

The public names are imported when they are first used, so that ``import swaig_wsgi`` needs only
the standard library.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._missing import missing_in_package
from ._version import __version__

if TYPE_CHECKING:
    from .agent.app import AgentApp
    from .agent.server import AgentServer
    from .config import ConfigurationError, Settings
    from .core.urls import tool_url
    from .middleware.auth import AuthHandler
    from .middleware.harden import harden
    from .sessions import SessionManager
    from .swaig import FunctionResult
    from .tls import SslConfig

__all__ = [
    "AgentApp",
    "AgentServer",
    "AuthHandler",
    "ConfigurationError",
    "FunctionResult",
    "SessionManager",
    "Settings",
    "SslConfig",
    "__version__",
    "harden",
    "tool_url",
]

_HOMES = {
    "AgentApp": ".agent.app",
    "AgentServer": ".agent.server",
    "AuthHandler": ".middleware.auth",
    "ConfigurationError": ".config",
    "FunctionResult": ".swaig",
    "SessionManager": ".sessions",
    "Settings": ".config",
    "SslConfig": ".tls",
    "harden": ".middleware.harden",
    "tool_url": ".core.urls",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise missing_in_package(sys.modules[__name__], name)
    try:
        module = import_module(_HOMES[name], __name__)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "werkzeug":
            raise
        remedy = "pip install 'swaig-wsgi[app]'"
        raise ImportError(f"{__name__}.{name} needs Werkzeug: {remedy}") from error
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
