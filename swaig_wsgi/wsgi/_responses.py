"""The one way in which this library answers a request itself."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ._logging import log_security
from ._unread import UnreadBodyResponse, leaves_body

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Headers = Iterable["tuple[str, str]"]

_STATUS_LINES = {int(status): f"{status.value} {status.phrase}" for status in HTTPStatus}
#: Answers without content (RFC 9110 sections 15.3.5 and 15.4.5): they end after their headers.
_WITHOUT_CONTENT = frozenset({204, 304})


def respond(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    status: int,
    body: bytes,
    headers: Headers = (),
    content_type: str = "application/json",
) -> Iterable[bytes]:
    """Answer with `body`, its exact ``Content-Length``, and on HEAD with the headers alone.

    A 204 or a 304 takes no `body` and says nothing about one.
    """
    if status in _WITHOUT_CONTENT:
        fields = list(headers)
        body = b""
    else:
        length = str(len(body))
        fields = [("Content-Type", content_type), ("Content-Length", length), *headers]
    start_response(_STATUS_LINES[status], fields)
    content = [body] if body and environ.get("REQUEST_METHOD") != "HEAD" else []
    return UnreadBodyResponse(environ, content) if leaves_body(environ) else content


def respond_json(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    status: int,
    value: Any,
    headers: Headers = (),
) -> Iterable[bytes]:
    """Answer with `value` as JSON.

    Raises:
        ValueError, TypeError: as :func:`encode_json`.
    """
    return respond(environ, start_response, status, encode_json(value), headers)


def encode_json(value: Any) -> bytes:
    """Return `value` as JSON in ASCII.

    Raises:
        ValueError, TypeError: `value` holds what JSON cannot say, NaN and infinities included.
    """
    return json.dumps(value, allow_nan=False).encode("ascii")


def refuse(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    status: int,
    error: str,
    *,
    event: str,
    reason: str,
    headers: Headers = (),
    detail: str = "",
    level: int = logging.WARNING,
) -> Iterable[bytes]:
    """Answer ``{"error": error}`` and leave one record in the security log.

    `error` goes to the client, the rest only to the log: see :func:`log_security`.
    """
    log_security(environ, event, reason, detail, level)
    return respond_json(environ, start_response, status, {"error": error}, headers)
