"""One WSGI middleware for each decision of the core, and :func:`harden`, which stacks them."""

from .auth import AuthHandler, AuthMiddleware
from .body_size import BodySizeMiddleware
from .cors import CORSMiddleware
from .harden import harden
from .headers import HSTSMiddleware, SecurityHeadersMiddleware
from .hosts import AllowedHostsMiddleware
from .proxies import TrustedProxyMiddleware
from .rate_limit import RateLimitMiddleware
from .request_id import RequestIDMiddleware
from .signatures import WebhookSignatureMiddleware
from .tokens import ToolTokenMiddleware

__all__ = [
    "AllowedHostsMiddleware",
    "AuthHandler",
    "AuthMiddleware",
    "BodySizeMiddleware",
    "CORSMiddleware",
    "HSTSMiddleware",
    "RateLimitMiddleware",
    "RequestIDMiddleware",
    "SecurityHeadersMiddleware",
    "ToolTokenMiddleware",
    "TrustedProxyMiddleware",
    "WebhookSignatureMiddleware",
    "harden",
]
