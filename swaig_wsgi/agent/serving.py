"""What the command line serves: an agent, or any other application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import Settings
from .app import AgentApp
from .dev_server import serve
from .wiring import DEFAULT_PORT

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def serve_application(
    application: WSGIApplication, host: str | None = None, port: int | None = None
) -> None:
    """Serve `application` for development until interrupted; Werkzeug prints the address.

    An agent serves itself, by :meth:`AgentApp.run`. Everything else is served as the environment
    says, TLS included, by default on 127.0.0.1 and port ``PORT``, else 3000.

    Raises:
        ConfigurationError: a setting is wrong, or certificate or key cannot be used.
    """
    if isinstance(application, AgentApp):
        application.run(host, port)
        return
    settings = Settings.from_env()
    if port is None:
        port = settings.port or DEFAULT_PORT
    serve(application, settings, host or "127.0.0.1", port)
