"""The refusal of plain HTTP."""

from __future__ import annotations

from collections.abc import Iterable

from ..core.paths import request_scope
from ..core.refusals import https_required
from ..wsgi import refuse
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._inner_app import InnerApp
from ._scope import in_scope

__all__ = ["HTTPSMiddleware"]

# The remedies for what makes a service refuse every request.
_REFUSAL = https_required(
    "if a proxy terminates TLS, set SWML_TRUSTED_PROXIES, and let it send X-Forwarded-Proto; if "
    "this server does, start it with gunicorn -c python:swaig_wsgi.gunicorn, which uses "
    "SWML_SSL_CERT_PATH and SWML_SSL_KEY_PATH; SWML_ENFORCE_HTTPS=false admits plain HTTP"
)


class HTTPSMiddleware:
    """Refuse requests over plain HTTP with 403.

    It never redirects: a client that is redirected has already sent its credentials in cleartext,
    and would go on doing so unnoticed.

    ``wsgi.url_scheme`` decides. Where a proxy terminates TLS, place ``TrustedProxyMiddleware``
    outside this layer; otherwise every request is refused.

    Args:
        app: the wrapped application.
        protect: paths to protect, each with everything below it.
        exempt: paths that may be requested over plain HTTP, matched exactly unless they end in
            ``/*``.
        methods: the methods to protect, in any case; None for all.

    Raises:
        ValueError: a path or a method is malformed.
    """

    app = InnerApp()
    _next: WSGIApplication

    def __init__(
        self,
        app: WSGIApplication,
        *,
        protect: Iterable[str] = ("/*",),
        exempt: Iterable[str] = (),
        methods: Iterable[str] | None = None,
    ) -> None:
        self.app = app
        self._scope = request_scope(protect, exempt, methods)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["wsgi.url_scheme"] != "https" and in_scope(self._scope, environ):
            return refuse(environ, start_response, _REFUSAL)
        return self._next(environ, start_response)
