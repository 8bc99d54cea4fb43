"""Werkzeug's development server, with TLS and without tokens in its log."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from ..config import Settings
from ..core.redaction import redact_url
from ..tls import SslConfig
from ..wsgi import configure_logging
from ..wsgi._types import WSGIApplication

__all__ = ["calling_when_listening", "serve"]

_STYLE = re.compile(r"\x1b\[[0-9;]*m")

# An application serves itself, so what its caller wants to do cannot be an argument.
_listening: ContextVar[Callable[[str, int], None]] = ContextVar(
    "listening", default=lambda host, port: None
)


@contextmanager
def calling_when_listening(callback: Callable[[str, int], None]) -> Iterator[None]:
    """Within the context, call `callback` with host and port of each server once it listens."""
    token = _listening.set(callback)
    try:
        yield
    finally:
        _listening.reset(token)


def serve(app: WSGIApplication, settings: Settings, host: str, port: int) -> None:
    """Serve `app` with Werkzeug's development server, one thread per request, until interrupted.

    Configure logging as the settings say, unless the program has done so.

    Raises:
        ConfigurationError: TLS is enabled, but certificate or key cannot be used.
    """
    context = SslConfig(settings=settings).create_context() if settings.ssl_enabled else None
    logging.getLogger("werkzeug").addFilter(_one_plain_line)
    configure_logging(settings.log_format, settings.log_level)
    server = make_server(
        host, port, app, threaded=True, ssl_context=context, request_handler=_RequestHandler
    )
    server.log_startup()
    _listening.get()(host, server.port)
    server.serve_forever()


def _one_plain_line(record: logging.LogRecord) -> bool:
    """Remove the colors and line breaks of Werkzeug's own records, which would be escaped."""
    record.msg, record.args = _STYLE.sub("", record.getMessage()).replace("\n", ""), None
    return True


class _RequestHandler(WSGIRequestHandler):
    """A handler that logs requests without the tokens in their URLs."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        # Werkzeug logs the path, or the whole request line if that is malformed.
        attributes = vars(self)
        names: tuple[str, ...] = ("path", "requestline")
        original = {name: attributes[name] for name in names if name in attributes}
        attributes.update({name: redact_url(text) for name, text in original.items()})
        try:
            super().log_request(code, size)
        finally:
            attributes.update(original)

    def log_error(self, format: str, *args: Any) -> None:  # noqa: A002 - Werkzeug's name
        safe = (redact_url(each) if isinstance(each, str) else each for each in args)
        super().log_error(format, *safe)
