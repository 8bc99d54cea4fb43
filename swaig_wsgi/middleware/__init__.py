"""One WSGI middleware for each decision of the core, and :func:`harden`, which stacks them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .allowed_clients import AllowedClientsMiddleware
from .auth import AuthHandler, AuthMiddleware
from .auth_failure_limit import AuthFailureLimitMiddleware
from .body_size import BodySizeMiddleware
from .cors import CORSMiddleware
from .harden import harden
from .headers import HSTSMiddleware, SecurityHeadersMiddleware
from .hosts import AllowedHostsMiddleware
from .https import HTTPSMiddleware
from .metrics import MetricsMiddleware
from .proxies import TrustedProxyMiddleware
from .rate_limit import RateLimitMiddleware
from .refusals import RefusalMiddleware
from .request_id import RequestIDMiddleware

if TYPE_CHECKING:
    from .signatures import WebhookSignatureMiddleware
    from .tokens import ToolTokenMiddleware

__all__ = [
    "AllowedClientsMiddleware",
    "AllowedHostsMiddleware",
    "AuthFailureLimitMiddleware",
    "AuthHandler",
    "AuthMiddleware",
    "BodySizeMiddleware",
    "CORSMiddleware",
    "HSTSMiddleware",
    "HTTPSMiddleware",
    "MetricsMiddleware",
    "RateLimitMiddleware",
    "RefusalMiddleware",
    "RequestIDMiddleware",
    "SecurityHeadersMiddleware",
    "ToolTokenMiddleware",
    "TrustedProxyMiddleware",
    "WebhookSignatureMiddleware",
    "harden",
]

#: What :func:`harden` does not need is imported when it is first used.
_IMPORTED_LATER = {
    "ToolTokenMiddleware": ".tokens",
    "WebhookSignatureMiddleware": ".signatures",
}


def __getattr__(name: str) -> Any:
    if name not in _IMPORTED_LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_IMPORTED_LATER[name], __name__)
    value = globals()[name] = getattr(module, name)
    return value
