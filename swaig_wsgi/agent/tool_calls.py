"""Tool calls: verify the token, validate the arguments, run the handler."""

from __future__ import annotations

import functools
import time
from typing import Any, Optional

from ..concurrency import callback_errors_and_exit, resolve
from ..core.calls import call_id_in, check_call, check_ids, conversation_id_in
from ..core.refusals import not_found
from ..core.strict_json import JSONBodyError
from ..core.tokens import TokenError, ToolToken
from ..middleware.tokens import key_detail, log_fallback
from ..swaig import (
    Tool,
    check_arguments,
    json_default,
    parse_function_call,
    to_response,
    unexpected_arguments,
    unreadable_arguments,
)
from ..wsgi import (
    CALL_ID,
    CLAIMED_CALL_ID,
    TOOL,
    CallRecord,
    encode_json,
    log_exception,
    log_security,
    log_started,
)
from ..wsgi._types import WSGIEnvironment
from .agent import Agent
from .at_most_once import Once, call_key
from .run_limit import RunLimit
from .spans import recording_tool_call

__all__ = ["Claims", "ToolCalls", "record_call_id", "record_claims", "verify_call"]

#: Hex characters of a key in a record.
_KEY_LENGTH = 12

#: What the AI is told instead of the result of a tool that it may not use.
#: The same tool call may have run before: while its token was valid.
REFUSED = "I'm sorry, but I'm not able to do that right now. Nothing was done this time."
#: What the AI is told when a tool failed, possibly halfway.
FAILED = (
    "I'm sorry, something went wrong while doing that. Please don't try it again before it is "
    "known whether it was done."
)


#: The call id and the conversation id that an unverified request names.
Claims = tuple[Optional[str], Optional[str]]


def verify_call(
    agent: Agent,
    body: dict[str, Any],
    name: str,
    token: str | None,
    claims: Claims | None = None,
) -> ToolToken:
    """Return the fields of `token`, if it was issued for this tool and this call.

    The verified call id is the token's ``call_id``; see :func:`~swaig_wsgi.core.calls.check_call`.

    Args:
        agent: the agent that issued the token.
        body: the request; the token must be for its call id or its ``conversation_id``.
        name: the name of the tool.
        token: the text of the token, or None if the request has none.
        claims: the ids in `body`, if they were read before.

    Raises:
        TokenError: the token is missing or invalid.
        JSONBodyError: an id in the body is not a string.
    """
    if token is None:
        raise TokenError("missing")
    verified = agent.sessions.open_token(token)
    if claims is None:
        check_call(verified, body, name)
    else:
        check_ids(verified, claims, name)
    return verified


def record_claims(environ: WSGIEnvironment, body: dict[str, Any]) -> Claims | None:
    """Record, for the log, the call that an unverified request claims to belong to.

    Return both ids, or None if one is malformed; an endpoint that needs it refuses the request.
    """
    call_id = None
    try:
        call_id = call_id_in(body)
        conversation_id = conversation_id_in(body)
    except JSONBodyError:
        if call_id is not None:
            environ[CLAIMED_CALL_ID] = call_id
        return None
    claimed = call_id or conversation_id
    if claimed is not None:
        environ[CLAIMED_CALL_ID] = claimed
    return call_id, conversation_id


def record_call_id(environ: WSGIEnvironment, body: dict[str, Any], call_id: str) -> None:
    """Record the verified call id for handlers and for outer layers.

    It replaces ``call_id`` and ``call.call_id``, so that a handler cannot act on another call by
    reading these. A different id of the client becomes ``unverified_call_id`` beside it, and
    in `body` itself.
    """
    body["verified_call_id"] = call_id
    environ[CALL_ID] = call_id
    call = body.get("call")
    if call is None and body.get("call_id") == call_id:
        return  # nothing to replace, as in most tool calls
    for part in (body, call) if isinstance(call, dict) and "call_id" in call else (body,):
        claimed = part.get("call_id")
        if claimed and claimed != call_id:
            part["unverified_call_id"] = claimed
            body.setdefault("unverified_call_id", claimed)
        part["call_id"] = call_id


class ToolCalls:
    """The tool calls of an agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._once = Once(agent._own_store)
        self._limit = RunLimit(agent._own_store, agent.sessions.token_expiry_secs)

    def run(
        self,
        environ: WSGIEnvironment,
        body: dict[str, Any],
        token: str | None,
        claims: Claims | None = None,
    ) -> bytes:
        """Run the tool call in `body` and return the result for the AI, as JSON.

        `claims` is what :func:`record_claims` returned for `body`.

        Raises:
            Refusal: there is no such tool, or the tool call is malformed.
        """
        name = body.get("function")
        tool = None
        if isinstance(name, str):
            environ[TOOL] = name
            tool = self._agent.tools.get(name)
        # The names of spans must not be invented by a client.
        with recording_tool_call(environ, "-" if tool is None else tool.name) as record:
            return self._respond(environ, body, tool, token, claims, record)

    def _respond(
        self,
        environ: WSGIEnvironment,
        body: dict[str, Any],
        tool: Tool | None,
        token: str | None,
        claims: Claims | None,
        record: CallRecord,
    ) -> bytes:
        call = parse_function_call(body)
        if claims is None:
            call_id_in(body)  # raises the error of a malformed id
        if tool is None or tool.call is None or tool.schema is None:
            raise not_found("unknown_function")
        record.tool = tool.name
        verified = None
        if tool.secure:
            try:
                verified = verify_call(self._agent, body, tool.name, token, claims)
            except TokenError as error:
                record.set_outcome("refused", error.reason)
                detail = key_detail(self._agent.sessions, error.reason)
                log_security(environ, "tool_token_refused", error.reason, detail)
                return encode_json({"response": REFUSED})
            record_call_id(environ, body, verified.call_id)
            log_fallback(environ, self._agent.sessions, verified)
        arguments = call.arguments
        if arguments is None:
            record.set_outcome("invalid_arguments", "unreadable")
            return encode_json({"response": unreadable_arguments(tool.schema, call.problem)})
        if not tool.schema.fits_at_sight(arguments):
            problem = check_arguments(tool.schema, arguments)
            reason = "schema_mismatch"
            if problem is None:
                problem = unexpected_arguments(tool.schema, arguments)
                reason = "unexpected"
            if problem is not None:
                record.set_outcome("invalid_arguments", reason)
                return encode_json({"response": problem})
        if verified is None:
            return self._run(environ, tool, arguments, body, record)
        if tool.once is None:
            refusal = self._limit.refusal(environ, tool, verified.call_id, record)
            return refusal or self._run(environ, tool, arguments, body, record)
        run = functools.partial(self._run, environ, tool, arguments, body, record)
        admit = functools.partial(self._limit.refusal, environ, tool, verified.call_id, record)
        key = call_key(self._agent.name, verified, tool.simplify(arguments))
        # A hash, also of the token's nonce: it does not tell the arguments.
        record.once = key.rpartition(":")[2][:_KEY_LENGTH]
        # After the token has expired, the tool call cannot be repeated. But the time may have been
        # set forward and be set back, so never less than the whole lifetime of a token.
        lifetime = max(verified.expiry - time.time(), self._agent.sessions.token_expiry_secs)
        return self._once.run(
            key, tool.once, run, lifetime=lifetime, admit=admit, on_outcome=record.set_outcome
        )

    def _run(
        self,
        environ: WSGIEnvironment,
        tool: Tool,
        arguments: dict[str, Any],
        body: dict[str, Any],
        record: CallRecord,
    ) -> bytes:
        # Never a 5xx: the platform repeats such a tool call, and with it what the tool has done.
        try:
            if tool.once is not None or tool.max_runs is not None:
                log_started(environ, record)
            result = resolve(self._agent.on_function_call(tool.name, arguments, body))
            return encode_json(to_response(result), json_default)
        except callback_errors_and_exit():
            record.set_outcome("failed")
            log_exception(environ, "tool %r of agent %r failed", tool.name, self._agent.name)
            return encode_json({"response": FAILED})
