"""Werkzeug's development server, for any application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.serving import run_simple

from ..config import Settings
from ..tls import SslConfig
from .app import DEFAULT_PORT, AgentApp

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def serve(application: WSGIApplication, host: str | None = None, port: int | None = None) -> None:
    """Serve `application` until interrupted; Werkzeug prints the address.

    An agent serves itself, by :meth:`AgentApp.run`. Everything else is served with TLS when
    ``SWML_SSL_ENABLED`` is set, by default on 127.0.0.1 and port ``PORT``, else 3000.

    Raises:
        ConfigurationError: a setting is wrong, or certificate or key cannot be used.
    """
    if isinstance(application, AgentApp):
        application.run(host, port)
        return
    settings = Settings.from_env()
    context = SslConfig(settings=settings).create_context() if settings.ssl_enabled else None
    if port is None:
        port = settings.port or DEFAULT_PORT
    run_simple(host or "127.0.0.1", port, application, threaded=True, ssl_context=context)
