"""An id for every request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..config import Settings
from ..wsgi import request_id
from ..wsgi._logging import log_security, write_repeats
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["RequestIDMiddleware"]


class RequestIDMiddleware:
    """Send the request's id in ``X-Request-Id``, and pass the same one to the application.

    The id is the one in the request's ``X-Request-Id`` if it is 8 to 128 letters, digits and
    characters of ``._~:+-``, else a random one. It is in ``environ["swaig_wsgi.request_id"]``, in
    ``environ["HTTP_X_REQUEST_ID"]`` and in every record of the security log. It replaces an
    ``X-Request-Id`` that the application sends, so that response and log name the same id.

    An exception of the application is recorded in the security log, with the event
    ``request_failed``, and raised again. Each request writes the sums of repeated records that are
    due.

    Place it outside every layer that may refuse, inside ``TrustedProxyMiddleware``. Where several
    are stacked, they agree on one id.

    Args:
        app: the wrapped application.
    """

    #: For `swaig-wsgi check`: the settings of all layers, if this is one of :func:`harden`'s.
    settings: Settings | None = None

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        own = ("X-Request-Id", request_id(environ))
        environ["HTTP_X_REQUEST_ID"] = own[1]

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            others = [field for field in headers if field[0].lower() != "x-request-id"]
            return start_response(status, [*others, own], exc_info)

        write_repeats()
        try:
            return self.app(environ, start)
        except Exception:
            # The server sends the response, and logs the traceback without the request's id.
            log_security(environ, "request_failed", "exception")
            raise
