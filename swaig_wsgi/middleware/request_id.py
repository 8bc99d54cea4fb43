"""An id for every request, and a response with it when the application raises."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator
from functools import partial
from typing import Any

from ..core.caching import may_be_shared
from ..core.refusals import internal_error
from ..wsgi import log_security, refuse, request_id
from ..wsgi._security_log import write_repeats
from ..wsgi._tracebacks import CallbackErrors
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._inner_app import InnerApp
from ._response_fields import ADDITIONS, SHARING_FIELDS, FieldNames, Fields

__all__ = ["RequestIDMiddleware"]

_NAME = frozenset({"x-request-id"})
#: In ``environ`` inside Werkzeug's debugger, which responds to exceptions itself.
_DEBUGGER = "werkzeug.debug.preserve_context"


class RequestIDMiddleware:
    """Send the request's id in ``X-Request-Id``, and pass the same one to the application.

    The id is the one in the request's ``X-Request-Id`` if it is 8 to 128 letters, digits and
    characters of ``._~:+-``, else a random one. It is in ``environ["swaig_wsgi.request_id"]``, in
    ``environ["HTTP_X_REQUEST_ID"]`` and in every record of the security log. It replaces an
    ``X-Request-Id`` that the application sends, so that response and log name the same id.
    Responses that shared caches may give to other clients have none
    (:func:`swaig_wsgi.core.caching.may_be_shared`): these would receive an id that another client
    may have chosen.

    If the application raises before it has sent anything, the response is 500, with the id; the
    server's own would have none. The security log has the event ``request_failed``, the logger
    ``swaig_wsgi`` ten tracebacks a minute. The exception is also passed as the `exc_info` of
    ``start_response``, so that test clients raise it. It is raised again if the response has begun,
    and inside of Werkzeug's debugger.

    Each request writes the sums of repeated records that are due.

    Place it outside every layer that may refuse, inside those that trust proxies and add headers.
    Where several are stacked, they agree on one id.

    Args:
        app: the wrapped application.
    """

    app = InnerApp()
    _next: WSGIApplication

    #: See :func:`.merge_fields`.
    merged = False

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app
        self._errors = CallbackErrors("the application raised")

    def field_names(self) -> FieldNames:
        """Return the names for :func:`.merge_fields`."""
        return FieldNames(_NAME | SHARING_FIELDS, _NAME)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        identifier = environ["HTTP_X_REQUEST_ID"] = request_id(environ)
        own = (("X-Request-Id", identifier),)
        if self.merged:
            additions = getattr(start_response, ADDITIONS)
            additions.append((_replace_id, own))
            passed = len(additions)
        else:
            start_response = partial(_start, environ, start_response, own)
            additions, passed = [], 0
        write_repeats()
        try:
            body = self._next(environ, start_response)
            if isinstance(body, (list, tuple)) or not _is_lazy(environ, body):
                return body
        except Exception:
            restart = partial(_restart, start_response, additions, passed)
            return _respond_to_exception(environ, restart, self._errors)
        restart = partial(_restart, start_response, additions, passed)
        return _Guarded(environ, restart, body, self._errors)


def _start(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    own: Fields,
    status: str,
    headers: list[tuple[str, str]],
    exc_info: Any = None,
) -> Any:
    return start_response(status, _replace_id(environ, headers, own), exc_info)


def _restart(
    start_response: StartResponse,
    additions: list[Any],
    passed: int,
    status: str,
    headers: list[tuple[str, str]],
    exc_info: Any = None,
) -> Any:
    # The layers inside, whose additions follow, have no part in the response to an exception.
    del additions[passed:]
    return start_response(status, headers, exc_info)


def _replace_id(environ: WSGIEnvironment, headers: Fields, own: Fields) -> list[tuple[str, str]]:
    # Faster than a loop, which only few responses need.
    if "x-request-id" in map(str.lower, dict(headers)):
        headers = [field for field in headers if field[0].lower() != "x-request-id"]
    return [*headers] if may_be_shared(headers) else [*headers, *own]


def _is_lazy(environ: WSGIEnvironment, body: Iterable[bytes]) -> bool:
    """Return whether `body` runs the application, and may be wrapped.

    Servers recognize what their ``wsgi.file_wrapper`` returns, mostly by its type.
    """
    if isinstance(body, Generator):
        return True
    wrapper = environ.get("wsgi.file_wrapper")
    known = wrapper is None or (isinstance(wrapper, type) and not isinstance(body, wrapper))
    return known and isinstance(body, Iterator)


class _Guarded:
    """A response body that responds to an exception, if nothing has been sent before it."""

    def __init__(
        self,
        environ: WSGIEnvironment,
        start: StartResponse,
        body: Iterable[bytes],
        errors: CallbackErrors,
    ) -> None:
        self._errors = errors
        self._environ = environ
        self._start = start
        self._bodies = [body]
        self._chunks = iter(body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            raise
        except Exception:
            body = _respond_to_exception(self._environ, self._start, self._errors)
            self._bodies.append(body)
            self._chunks = iter(body)
        return next(self._chunks)

    def close(self) -> None:
        for body in self._bodies:
            if hasattr(body, "close"):
                body.close()


def _respond_to_exception(
    environ: WSGIEnvironment, start: Any, errors: CallbackErrors
) -> Iterable[bytes]:
    """Respond to the exception that is being handled, or raise it again."""
    if _DEBUGGER in environ:
        log_security(environ, "request_failed", "exception")
        raise
    # PEP 3333: once headers have been sent, the server raises the exception instead.
    body = refuse(environ, partial(start, exc_info=sys.exc_info()), internal_error())
    errors.log(environ)
    return body
