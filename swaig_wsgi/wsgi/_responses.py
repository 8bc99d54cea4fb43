"""Responses of this library, refusals included."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from ..core.refusals import Refusal
from ._refusal_app import REFUSAL, REFUSAL_APP
from ._security_log import log_security
from ._types import StartResponse, WSGIEnvironment
from ._unread import end_unread_body

Headers = Iterable["tuple[str, str]"]

_STATUS_LINES = {int(status): f"{status.value} {status.phrase}" for status in HTTPStatus}
#: Responses without content (RFC 9110 sections 15.3.5 and 15.4.5): they end after their headers.
_WITHOUT_CONTENT = frozenset({204, 304})


def respond(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    status: int,
    body: bytes,
    headers: Headers = (),
    content_type: str = "application/json",
) -> Iterable[bytes]:
    """Respond with `body` and its exact ``Content-Length``; to HEAD, with the headers alone.

    A 204 or a 304 has neither body nor ``Content-Type`` and ``Content-Length``.
    """
    if status in _WITHOUT_CONTENT:
        fields = list(headers)
        body = b""
    else:
        length = str(len(body))
        fields = [("Content-Type", content_type), ("Content-Length", length), *headers]
    start_response(_STATUS_LINES[status], fields)
    content = [body] if body and environ.get("REQUEST_METHOD") != "HEAD" else []
    return end_unread_body(environ, content)


def respond_json(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    status: int,
    value: Any,
    headers: Headers = (),
) -> Iterable[bytes]:
    """Respond with `value` as JSON; raise as :func:`encode_json` does."""
    return respond(environ, start_response, status, encode_json(value), headers)


def encode_json(value: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """Return `value` as JSON in ASCII; `default` is as for :func:`json.dumps`.

    Raises:
        ValueError, TypeError: `value` is not JSON-serializable, as are NaN and infinities.
    """
    if type(value) is dict and len(value) == 1:
        # A refusal, or the result of most tools. For text the encoder calls the same function.
        [(name, text)] = value.items()
        if type(name) is type(text) is str:
            return f"{{{_quoted(name)}: {_quoted(text)}}}".encode("ascii")
    return _encoder(default)(value).encode("ascii")


_quoted = json.encoder.encode_basestring_ascii


# json.dumps() would make an encoder for each value. The functions are those of this package.
@lru_cache(maxsize=8)
def _encoder(default: Callable[[Any], Any] | None) -> Callable[[Any], str]:
    return json.JSONEncoder(default=default, allow_nan=False).encode


def refuse(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    refusal: Refusal,
    level: int = logging.WARNING,
) -> Iterable[bytes]:
    """Respond with ``{"error": refusal.error}`` and leave one record in the security log.

    If the site has an application for refusals, the response is its page instead. The refusal is in
    ``environ["swaig_wsgi.refusal"]``.
    """
    environ[REFUSAL] = refusal
    log_security(environ, refusal.event, refusal.reason, refusal.detail, level)
    refusal_app = environ.get(REFUSAL_APP)
    page = None if refusal_app is None else refusal_app.render(environ, refusal)
    if page is not None:
        body, content_type, headers = page
        return respond(environ, start_response, refusal.status, body, headers, content_type)
    error = {"error": refusal.error}
    return respond_json(environ, start_response, refusal.status, error, refusal.headers)
