"""What the platform reports: summaries of calls, and debug events.

The platform repeats a report whose response is a 5xx, or late, up to three times. So a handler that
raises is a 200 with a traceback in the log; and where a store is shared by all processes, a summary
whose handler returned is not handled again within an hour: a repeat, in any process, gets the first
response. A repeat that arrives while the handler still runs is handled, too.

A request for an earlier conversation (``fetch_conversation``) comes to the same URL. It is a
question, so each one is handled.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from ..concurrency import callback_errors_and_exit, resolve
from ..core.refusals import invalid_tool_token
from ..core.tokens import TokenError, ToolToken
from ..middleware.tokens import key_detail, log_fallback
from ..processes import is_shared
from ..stores._base import StoreError
from ..swaig import call_id_of, json_default, summary_of
from ..wsgi import CallRecord, encode_json, log, log_exception
from ..wsgi._observer import observe_store_failure
from ..wsgi._types import WSGIEnvironment
from .agent import Agent
from .tool_calls import record_call_id, verify_call

__all__ = ["Reports"]

#: Seconds for which a summary is not handled again.
_REMEMBERED = 3600.0

_OK = encode_json({"status": "ok"})
_FAILED = encode_json({"status": "failed"})


class Reports:
    """The reports about the calls of an agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def summary(
        self,
        environ: WSGIEnvironment,
        body: dict[str, Any],
        raw_body: bytes,
        token: str | None,
        record: CallRecord,
    ) -> bytes:
        """Handle a summary, or a request for an earlier conversation; return the response.

        Args:
            body: the parsed request.
            raw_body: the request as received.
            token: the text of the token, or None if the request has none.
            record: gets the outcome.

        Raises:
            Refusal: the token is missing or invalid, or the request is malformed.
        """
        fetches = body.get("action") == "fetch_conversation"
        verified = self._verify(environ, body, token, fetches)
        handle = functools.partial(self._agent.on_summary, summary_of(body), body)
        if fetches or not is_shared(self._agent._own_store):
            return self._run(environ, record, "on_summary", handle)[0]
        key = _key(verified, raw_body)
        earlier = self._earlier(key)
        if earlier is not None:
            record.set_outcome("repeated")
            return earlier
        response, returned = self._run(environ, record, "on_summary", handle)
        if returned:
            self._remember(key, response)
        return response

    def debug_event(self, environ: WSGIEnvironment, body: dict[str, Any]) -> bytes:
        """Handle a debug event; return the response."""
        handle = functools.partial(self._agent.on_debug_event, body)
        response, returned = self._run(environ, CallRecord(), "on_debug_event", handle)
        return _OK if returned else response

    def _verify(
        self, environ: WSGIEnvironment, body: dict[str, Any], token: str | None, fetches: bool
    ) -> ToolToken:
        claims = body
        sessions = self._agent.sessions
        try:
            if fetches and token is not None and call_id_of(body) is None:
                # It is sent before there is a summary, and names the conversation only. The token
                # says which call it is for; a client that has it could have written that id.
                claims = {**body, "call_id": sessions.open_token(token).call_id}
            verified = verify_call(self._agent, claims, "post_prompt", token)
        except TokenError as error:
            detail = key_detail(sessions, error.reason)
            raise invalid_tool_token(error.reason, detail) from None
        record_call_id(environ, body, verified.call_id)
        log_fallback(environ, sessions, verified)
        return verified

    def _run(
        self, environ: WSGIEnvironment, record: CallRecord, name: str, handle: Callable[[], Any]
    ) -> tuple[bytes, bool]:
        """Return the response, and whether the handler returned."""
        returned = False
        try:
            result = resolve(handle())
            returned = True
            responds = isinstance(result, Mapping)
            return (encode_json(result, json_default) if responds else _OK), True
        except callback_errors_and_exit():
            record.set_outcome("failed")
            what = "returned what is not JSON" if returned else "failed"
            log_exception(environ, f"{name} of agent %r {what}", self._agent.name)
            return _FAILED, returned

    def _earlier(self, key: str) -> bytes | None:
        try:
            value = self._agent._own_store.get(key)
        except StoreError as error:
            observe_store_failure()
            log.error("a summary may be handled twice: the store could not be read: %s", error)
            return None
        return None if value is None else str(value["response"]).encode("ascii")

    def _remember(self, key: str, response: bytes) -> None:
        store = self._agent._own_store
        try:
            try:
                store.set(key, {"response": response.decode("ascii")}, _REMEMBERED)
            except ValueError:
                # The response is too long for a value, but the summary was handled.
                store.set(key, {"response": _OK.decode("ascii")}, _REMEMBERED)
        except StoreError as error:
            observe_store_failure()
            log.error("a summary may be handled twice: the store could not be written: %s", error)


def _key(token: ToolToken, raw_body: bytes) -> str:
    report = [token.call_id, token.nonce, hashlib.sha256(raw_body).hexdigest()]
    return "report:" + hashlib.sha256(json.dumps(report).encode("ascii")).hexdigest()
