"""Tool calls: who proves what, and what runs because of it."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from ..concurrency import CALLBACK_ERRORS_AND_EXIT, resolve
from ..core.calls import check_call
from ..core.tokens import TokenError, ToolToken
from ..middleware.tokens import key_detail
from ..swaig import Tool, call_id_of, check_arguments, parse_function_call, to_response
from ..wsgi import encode_json, log, log_security
from ._replies import Refusal, Reply, understood
from .at_most_once import Once, call_key

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from .app import AgentApp

#: What the AI is told instead of the answer of a tool that it may not use.
REFUSED = "I'm sorry, but I'm not able to do that right now. Nothing has been done."
#: What the AI is told when a tool failed; nobody knows how far it got.
FAILED = (
    "I'm sorry, something went wrong while doing that. Please don't try it again before it is "
    "known whether it was done."
)


def prove(agent: AgentApp, body: dict[str, Any], name: str, token: str | None) -> ToolToken:
    """Return the token that lets `name` run in the call, or the conversation, of `body`.

    What it proved is its ``call_id``; see :func:`~swaig_wsgi.core.calls.check_call`.

    Raises:
        TokenError: the token proves neither, or there is none.
        JSONBodyError: an id is no text.
    """
    if token is None:
        raise TokenError("missing")
    proof = agent.sessions.open_token(token)
    check_call(proof, body, name)
    return proof


def accept(environ: WSGIEnvironment, body: dict[str, Any], proved: str | None) -> None:
    """Hand on the id that was proved."""
    if proved is not None:
        body["verified_call_id"] = proved
        environ["swaig_wsgi.call_id"] = proved


class ToolCalls:
    """Runs the tools of an agent.

    Args:
        agent: whose tools, tokens, store and override points serve.
    """

    def __init__(self, agent: AgentApp) -> None:
        self._agent = agent
        self._once = Once(agent.store)

    def answer(self, environ: WSGIEnvironment, body: dict[str, Any], token: str | None) -> Reply:
        """Answer the call in `body`.

        Raises:
            Refusal: there is no such tool.
            JSONBodyError: the call is not understood.
        """
        call = understood(parse_function_call, body)
        understood(call_id_of, body)
        tool = self._agent.tools.get(call.name)
        if tool is None or tool.call is None:
            raise Refusal(404, "Not found", "unknown_function")
        proof = None
        if tool.secure:
            try:
                proof = understood(prove, self._agent, body, tool.name, token)
            except TokenError as error:
                detail = key_detail(self._agent.sessions, error.reason)
                log_security(environ, "tool_token_refused", error.reason, detail)
                return Reply(encode_json({"response": REFUSED}))
        accept(environ, body, proof.call_id if proof else None)
        problem = check_arguments(tool.definition["parameters"], call.arguments)
        if problem is not None:
            return Reply(encode_json({"response": problem}))
        if tool.once is None or proof is None:
            return Reply(self._run(tool, call.arguments, body))
        key = call_key(self._agent.name, proof, call.arguments)
        run = functools.partial(self._run, tool, call.arguments, body)
        # Once the token has expired, no repeat of this call can come.
        lifetime = proof.expiry - time.time()
        return Reply(self._once.run(key, tool.once, run, lifetime=lifetime))

    def _run(self, tool: Tool, arguments: dict[str, Any], body: dict[str, Any]) -> bytes:
        # The platform repeats a call that it gets a 5xx for, and with it what the tool did.
        try:
            result = resolve(self._agent.on_function_call(tool.name, arguments, body))
            return encode_json(to_response(result))
        except CALLBACK_ERRORS_AND_EXIT:
            log.exception("tool %r of agent %r failed", tool.name, self._agent.name)
            return encode_json({"response": FAILED})
