"""Only tool calls with a valid token reach the application."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.body_size import BodyError, check_max_bytes
from ..core.calls import check_call
from ..core.paths import path_scope
from ..core.strict_json import JSONBodyError, is_json_type, loads_object
from ..core.tokens import TokenError, ToolToken, token_from_query
from ..sessions import SessionManager
from ..wsgi import read_body, refuse, replay_body
from ._per_process import PerProcessState, unshared_key

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class ToolTokenMiddleware:
    """Guard a tool endpoint, whatever serves it: no valid token, no call (seed: Secure Tools).

    The token comes from the query parameter ``__token``; the call id and the function that it
    must have been made for come from the JSON body: ``call_id``, else ``call.call_id``, or
    ``conversation_id``; and ``function``. Every request to a protected path needs them, whatever
    its method; put CORS outside.

    The body is read only once the token turned out to be genuine and alive, so that a stranger
    cannot stall a worker here, and is handed on as if unread. The id that the token proved is in
    ``environ["swaig_wsgi.call_id"]``; it is always removed first, so its presence proves that this
    request was checked. Use it, never an id of the body: another one there may name any call.

    Args:
        app: the WSGI application.
        sessions: made the tokens, or has the same keys as what did.
        protect: the paths to guard, with everything below them.
        max_bytes: the longest body to read.
        allow_per_process: serve, and do not answer 503, though several processes serve and each
            generated a key of its own, so that tokens of one are refused by the next.

    Raises:
        ValueError: an argument is unusable.
    """

    def __init__(
        self,
        app: WSGIApplication,
        sessions: SessionManager,
        *,
        protect: Iterable[str] = ("/swaig",),
        max_bytes: int = 1_048_576,
        allow_per_process: bool = False,
    ) -> None:
        if not isinstance(sessions, SessionManager):
            raise ValueError("sessions must be a SessionManager")
        self.app = app
        self.sessions = sessions
        self.max_bytes = check_max_bytes(max_bytes)
        self._scope = path_scope(protect)
        self._state = PerProcessState(lambda: unshared_key(sessions), allowed=allow_per_process)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ.pop("swaig_wsgi.call_id", None)
        if not self._scope.covers(environ.get("PATH_INFO", "")):
            return self.app(environ, start_response)
        if self._state.found(environ):
            return self._state.refuse(environ, start_response)
        detail = ""
        try:
            token = self._open_token(environ)
            if not _may_be_json(environ):
                return _refuse(
                    environ, start_response, 415, "Unsupported media type", "not_json_type"
                )
            body = read_body(environ, self.max_bytes)
            _check_call(token, body)
        except TokenError as error:
            status, text, reason = 403, "Forbidden: invalid tool token", error.reason
            detail = key_detail(self.sessions, reason)
        except JSONBodyError as error:
            status, text, reason = 400, error.error, "bad_body"
        except BodyError as error:
            status, text, reason = error.status, error.error, error.reason
        else:
            replay_body(environ, body)
            environ["swaig_wsgi.call_id"] = token.call_id
            return self.app(environ, start_response)
        return _refuse(environ, start_response, status, text, reason, detail)

    def _open_token(self, environ: WSGIEnvironment) -> ToolToken:
        text = token_from_query(environ.get("QUERY_STRING", ""))
        if text is None:
            raise TokenError("missing")
        return self.sessions.open_token(text)


def key_detail(sessions: SessionManager, reason: str) -> str:
    """Return what else the log must say about a token that was refused for `reason`.

    A token that another key signed is mostly no attack but one from before a restart.
    """
    made_at = sessions.key_made_at
    if reason != "bad_signature" or made_at is None:
        return ""
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(made_at))
    return (
        f"this process has its generated key since {since}; a token from before needs "
        "SIGNALWIRE_SWAIG_SECRET to be set"
    )


def _may_be_json(environ: WSGIEnvironment) -> bool:
    content_type = environ.get("CONTENT_TYPE", "")
    return not content_type or is_json_type(content_type)


def _check_call(token: ToolToken, body: bytes) -> None:
    """Check that `body` is a call that `token` was made for.

    A body that names no call, or is none at all, is one that no token was made for.
    """
    call = loads_object(body) if body else {}
    if not isinstance(call.get("function", ""), str):
        raise JSONBodyError("function must be a string")
    check_call(token, call, call.get("function"))


def _refuse(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    status: int,
    error: str,
    reason: str,
    detail: str = "",
) -> Iterable[bytes]:
    return refuse(
        environ,
        start_response,
        status,
        error,
        event="tool_token_refused",
        reason=reason,
        detail=detail,
    )
