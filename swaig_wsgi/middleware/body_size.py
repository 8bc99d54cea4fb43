"""A limit on request bodies that holds however they are framed."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..core.body_size import BodyError, check_max_bytes
from ..wsgi import LimitedInput, declared_length, read_body, refuse, replay_body, spool_body
from ._marks import is_marked, leave_mark

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["BodyError", "BodySizeMiddleware", "read_body", "replay_body"]

_MARKS = "swaig_wsgi.ran.body_size"


class BodySizeMiddleware:
    """Refuse request bodies of more than `max_bytes` bytes (seed: Request Size Limits).

    A declared length is judged before anything is read, and the application reads such a body as
    it arrives, but never past its end. A chunked body is read first, to disk where it is long, and
    the application sees it only when it is whole and within the limit; it then has a
    ``Content-Length``. Reading it waits for the client, so put this behind authentication.

    A refusal reads nothing more: what the client still sends is the server's to drain or drop.

    Args:
        app: the application to guard.
        max_bytes: of the longest body that is let in.

    Raises:
        ValueError: `max_bytes` is not an integer of 0 or more.
    """

    def __init__(self, app: WSGIApplication, max_bytes: int = 1_048_576) -> None:
        self.app = app
        self.max_bytes = check_max_bytes(max_bytes)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # Whoever unpacks a body puts another one there.
        if is_marked(environ, _MARKS, self._mark(environ)):
            return self.app(environ, start_response)
        try:
            length = declared_length(environ, self.max_bytes)
            if length is None:
                spool = spool_body(environ, self.max_bytes)
                if spool is not None:
                    replay_body(environ, spool)
            elif not environ.get("wsgi.input_terminated"):
                environ["wsgi.input"] = LimitedInput(environ["wsgi.input"], length)
                environ["wsgi.input_terminated"] = True
        except BodyError as refusal:
            return refuse(
                environ,
                start_response,
                refusal.status,
                refusal.error,
                event="body_refused",
                reason=refusal.reason,
            )
        except OSError as failure:
            # Only the temporary file raises these here: this machine's fault, not the client's.
            return refuse(
                environ,
                start_response,
                503,
                "Service unavailable",
                event="body_refused",
                reason="spool_failed",
                detail=f"cannot keep a request body on disk: {failure}",
                level=logging.ERROR,
            )
        leave_mark(environ, _MARKS, self._mark(environ))
        return self.app(environ, start_response)

    def _mark(self, environ: WSGIEnvironment) -> tuple[Any, ...]:
        framing = (environ.get("CONTENT_LENGTH"), environ.get("HTTP_TRANSFER_ENCODING"))
        return (self.max_bytes, environ["wsgi.input"], *framing)
