"""One WSGI middleware for each decision of the core, and :func:`harden`, which stacks them."""

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
