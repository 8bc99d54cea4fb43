"""Verification of tool tokens, as :mod:`..core.tokens` decides."""

from __future__ import annotations

import time
from collections.abc import Iterable

from ..core._validation import ArgumentTypeError
from ..core.body_size import check_max_bytes
from ..core.calls import check_call
from ..core.paths import request_scope
from ..core.refusals import Refusal, invalid_tool_token, unsupported_media_type
from ..core.strict_json import JSONBodyError, is_json_type, loads_object
from ..core.tokens import TokenError, ToolToken, token_from_query
from ..processes import unshared_variables
from ..sessions import SessionManager
from ..wsgi import CALL_ID, CLAIMED_CALL_ID, TOOL, log_security, read_body, refuse, replay_body
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._inner_app import InnerApp
from ._per_process import log_unshared, refuse_unshared
from ._scope import in_scope

__all__ = ["ToolTokenMiddleware"]


class ToolTokenMiddleware:
    """Respond with 403 to tool calls without a valid token ("Secure Tools" in the SDK's guide).

    The token is the query parameter ``__token``. It must have been issued for the tool named by
    ``function`` in the JSON body, and for one of two ids there: the call id (``call_id``, or
    ``call.call_id`` if there is no ``call_id``) or the ``conversation_id``. This applies to every
    request to a protected path, by default whatever its method, so place CORS in an outer layer.

    Malformed or ambiguous JSON is refused with 400, a ``Content-Type`` other than JSON with 415,
    and a body of more than `max_bytes` bytes with 413.

    The body is read only after the token has been verified, so that a client without a token
    cannot occupy a worker, and is replayed for the application. The verified call id is recorded
    in ``environ["swaig_wsgi.call_id"]``, which no client can set. Use it instead of an id in the
    body, which may name any other call.

    Args:
        app: the wrapped application.
        sessions: the manager that issued the tokens, or one with the same keys.
        protect: the paths to protect, with everything below them.
        exempt: paths that need no token, matched exactly unless they end in ``/*``.
        methods: the methods to protect, in any case; None for all.
        max_bytes: the maximum size of the body, in bytes.
        allow_per_process: serve even if each of several processes has generated its own key, and
            refuses the tokens of the others; by default the response is 503.

    Raises:
        TypeError, ValueError: an argument is invalid.
    """

    app = InnerApp()
    _next: WSGIApplication

    def __init__(
        self,
        app: WSGIApplication,
        sessions: SessionManager,
        *,
        protect: Iterable[str] = ("/swaig",),
        exempt: Iterable[str] = (),
        methods: Iterable[str] | None = None,
        max_bytes: int = 1_048_576,
        allow_per_process: bool = False,
    ) -> None:
        if not isinstance(sessions, SessionManager):
            raise ArgumentTypeError("sessions must be a SessionManager")
        self.app = app
        self.sessions = sessions
        self.max_bytes = check_max_bytes(max_bytes)
        self._scope = request_scope(protect, exempt, methods)
        self._allow_per_process = allow_per_process
        log_unshared(self._find_unshared, allowed=allow_per_process)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        for key in (CALL_ID, CLAIMED_CALL_ID, TOOL):
            environ.pop(key, None)
        if not in_scope(self._scope, environ):
            return self._next(environ, start_response)
        unshared = refuse_unshared(environ, self._find_unshared, allowed=self._allow_per_process)
        if unshared is not None:
            return refuse(environ, start_response, unshared)
        try:
            text = token_from_query(environ.get("QUERY_STRING", ""))
            if text is None:
                raise TokenError("missing")
            token = self.sessions.open_token(text)
            _record_claims(environ, token)
            content_type = environ.get("CONTENT_TYPE")
            if content_type and not is_json_type(content_type):
                raise unsupported_media_type()
            body = read_body(environ, self.max_bytes)
            _check_call(token, body)
        except TokenError as error:
            if error.token is not None:
                _record_claims(environ, error.token)
            refusal = invalid_tool_token(error.reason, key_detail(self.sessions, error.reason))
            return refuse(environ, start_response, refusal)
        except Refusal as refusal:
            return refuse(environ, start_response, refusal)
        replay_body(environ, body)
        environ[CALL_ID] = token.call_id
        log_fallback(environ, self.sessions, token)
        return self._next(environ, start_response)

    def _find_unshared(self) -> frozenset[str]:
        return unshared_variables(key_pid=self.sessions.key_made_by)


def log_fallback(environ: WSGIEnvironment, sessions: SessionManager, token: ToolToken) -> None:
    """Record the use of a token that was signed with an earlier secret."""
    if sessions.is_fallback(token):
        log_security(environ, "fallback_credential", "tool_secret")


def key_detail(sessions: SessionManager, reason: str) -> str:
    """Return an explanation for the log if a token is refused for `reason`, or "".

    A token with another key's signature is usually not an attack: it was issued before a restart.
    """
    made_at = sessions.key_made_at
    if reason != "bad_signature" or made_at is None:
        return ""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(made_at))
    return f"the key was generated at {at}; to accept earlier tokens, set SIGNALWIRE_SWAIG_SECRET"


def _record_claims(environ: WSGIEnvironment, token: ToolToken) -> None:
    """Record, for the log, which call the token is for."""
    environ[TOOL], environ[CLAIMED_CALL_ID] = token.function_name, token.call_id


def _check_call(token: ToolToken, body: bytes) -> None:
    """Check that `token` was issued for the call in `body`; an empty body names no call."""
    call = loads_object(body) if body else {}
    if not isinstance(call.get("function", ""), str):
        raise JSONBodyError("function must be a string")
    check_call(token, call, call.get("function"))
