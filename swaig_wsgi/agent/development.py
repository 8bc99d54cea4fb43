"""A server for development."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.serving import run_simple

from ..config import Settings
from ..tls import SslConfig

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def serve(app: WSGIApplication, settings: Settings, host: str, port: int) -> None:
    """Serve `app` with Werkzeug's development server, a thread a request, until interrupted.

    Raises:
        ConfigurationError: TLS is enabled, and certificate or key cannot be used.
    """
    context = SslConfig(settings=settings).create_context() if settings.ssl_enabled else None
    run_simple(host, port, app, threaded=True, ssl_context=context)
