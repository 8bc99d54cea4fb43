"""A limit on the size of request bodies, as :mod:`..core.body_size` decides."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..core.body_size import BodyError, check_max_bytes
from ..core.paths import request_scope
from ..core.refusals import Refusal, service_unavailable
from ..wsgi import LimitedInput, declared_length, read_body, refuse, replay_body, spool_body
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._inner_app import InnerApp
from ._scope import in_scope

__all__ = ["BodyError", "BodySizeMiddleware", "read_body", "replay_body"]


class BodySizeMiddleware:
    """Refuse bodies of more than `max_bytes` bytes ("Request Size Limits" in the SDK's guide).

    A declared length is checked before anything is read; the application then reads the body as
    it arrives, but never past its end. A chunked body is read first, to disk if it is long, and
    reaches the application complete and with a ``Content-Length``. Reading it waits for the
    client, so place this behind authentication.

    A refusal is sent without waiting for the rest of the body.

    Args:
        app: the wrapped application.
        max_bytes: the maximum size of a body, in bytes.
        protect: paths to limit, each with everything below it.
        exempt: paths that are not limited, matched exactly unless they end in ``/*``.
        methods: the methods to limit, in any case; None for all.

    Raises:
        TypeError, ValueError: `max_bytes` is not an integer of 0 or more, or a pattern or a method
            is invalid.
    """

    app = InnerApp()
    _next: WSGIApplication

    def __init__(
        self,
        app: WSGIApplication,
        max_bytes: int = 1_048_576,
        *,
        protect: Iterable[str] = ("/*",),
        exempt: Iterable[str] = (),
        methods: Iterable[str] | None = None,
    ) -> None:
        self.app = app
        self._scope = request_scope(protect, exempt, methods)
        self.max_bytes = check_max_bytes(max_bytes)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not (self._scope.everything or in_scope(self._scope, environ)):
            return self._next(environ, start_response)
        try:
            length = declared_length(environ, self.max_bytes)
            if length is None:
                spool = spool_body(environ, self.max_bytes)
                if spool is not None:
                    replay_body(environ, spool)
            elif not environ.get("wsgi.input_terminated"):
                environ["wsgi.input"] = LimitedInput(environ["wsgi.input"], length)
                environ["wsgi.input_terminated"] = True
        except Refusal as refusal:
            return refuse(environ, start_response, refusal)
        except OSError as error:
            # Only the temporary file raises these here, so this is not the client's fault.
            detail = f"cannot write a request body to disk: {error}"
            failure = service_unavailable("body_refused", "spool_failed", detail)
            return refuse(environ, start_response, failure, logging.ERROR)
        return self._next(environ, start_response)
