"""What an agent answers, once a request has passed everything that may refuse it."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request
from werkzeug.wsgi import get_path_info

from ..core.awaiting import resolve
from ..core.strict_json import JSONBodyError, loads_object
from ..core.tokens import TokenError, token_from_query
from ..middleware.answers import answer, encode_json, log_refusal, refuse
from ..middleware.body_size import BodyError, read_body
from ..middleware.public_url import public_base_url
from ..swaig.arguments import check_arguments
from ..swaig.document import signature
from ..swaig.requests import (
    FunctionCall,
    RequestError,
    call_id_of,
    optional_text,
    parse_function_call,
    requested_functions,
    summary_of,
)
from ..swaig.results import to_answer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from .app import AgentApp

log = logging.getLogger("swaig_wsgi")

#: What the AI is told instead of the answer of a tool that it may not use.
REFUSED = "I'm sorry, but I'm not able to do that right now. Nothing has been done."
#: What the AI is told when a tool failed; nobody knows how far it got.
FAILED = (
    "I'm sorry, something went wrong while doing that. Please don't try it again before it is "
    "known whether it was done."
)


class Refusal(Exception):
    """A request that gets no answer of its own, but one of the table of refusals."""

    def __init__(
        self, status: int, error: str, reason: str, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.reason = reason
        self.headers = headers


class Dispatcher:
    """The WSGI application in the middle of an agent's stack.

    Args:
        agent: whose parts and override points answer.
        base_url: the public URL of the server's root, or None to take it from each request.
        max_body: bytes that a request body may have.
    """

    def __init__(self, agent: AgentApp, base_url: str | None, max_body: int) -> None:
        self._agent = agent
        self._base_url = base_url
        self._max_body = max_body
        self._warned_fresh_id = False
        endpoints: dict[str, tuple[Callable[[Request], bytes], list[str]]] = {
            "": (self._swml, ["GET", "POST"]),
            "/swaig": (self._swaig, ["POST"]),
            "/post_prompt": (self._post_prompt, ["POST"]),
            "/debug_events": (self._debug_events, ["POST"]),
        }
        rules = [
            Rule(f"{agent.route}{path}{slash}", methods=methods, endpoint=endpoint)
            for path, (endpoint, methods) in endpoints.items()
            for slash in ("", "/")
            if agent.route or path or slash
        ]
        routes = Map(rules, merge_slashes=False)
        # Routes know no host: one adapter serves all requests.
        self._routes = routes.bind("agent.invalid")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ.pop("swaig_wsgi.call_id", None)
        try:
            body = self._answer(environ)
        except Refusal as refusal:
            return refuse(
                environ,
                start_response,
                refusal.status,
                refusal.error,
                event="request_refused",
                reason=refusal.reason,
                headers=refusal.headers,
            )
        except Exception:
            log.exception("agent %r failed to answer a request", self._agent.name)
            return refuse(
                environ,
                start_response,
                500,
                "Internal server error",
                event="request_failed",
                reason="exception",
            )
        return answer(environ, start_response, 200, body)

    def _answer(self, environ: WSGIEnvironment) -> bytes:
        path = get_path_info(environ) or "/"
        if path.startswith("//"):
            raise Refusal(404, "Not found", "not_found")  # the router would strip them
        try:
            endpoint, _ = self._routes.match(path, environ["REQUEST_METHOD"])
        except MethodNotAllowed as error:
            allow = ", ".join(sorted(error.valid_methods or ()))
            raise Refusal(
                405, "Method not allowed", "method_not_allowed", [("Allow", allow)]
            ) from None
        except NotFound:
            raise Refusal(404, "Not found", "not_found") from None
        body: bytes = endpoint(Request(environ, populate_request=False))
        return body

    def _body(self, request: Request) -> dict[str, Any] | None:
        """Return the JSON object in the body; None when the body is empty."""
        try:
            body = read_body(request.environ, self._max_body)
        except BodyError as error:
            raise Refusal(error.status, error.error, error.reason) from None
        if not body:
            return None
        if request.content_type and not request.is_json:
            raise Refusal(415, "Unsupported media type", "unsupported_media_type")
        try:
            return loads_object(body)
        except JSONBodyError as error:
            raise _bad_request(f"body is {error.what}") from None

    def _required_body(self, request: Request) -> dict[str, Any]:
        body = self._body(request)
        if body is None:
            raise _bad_request("body is empty")
        return body

    def _public_base_url(self, request: Request) -> str:
        try:
            return public_base_url(request.environ, self._base_url)
        except ValueError:
            raise _bad_request("malformed Host header") from None

    # -- the document

    def _swml(self, request: Request) -> bytes:
        body = (self._body(request) if request.method == "POST" else None) or {}
        call_id = _understood(call_id_of, body, request.args.get("call_id"))
        if call_id is None:
            call_id = str(uuid.uuid4())
            self._warn_fresh_id()
        base_url = self._public_base_url(request)
        return encode_json(self._agent.render_swml(call_id, base_url=base_url))

    def _warn_fresh_id(self) -> None:
        if self._warned_fresh_id or not any(tool.secure for tool in self._agent.tools):
            return
        self._warned_fresh_id = True
        log.warning(
            "agent %r: the document was fetched without a call id; its secure tools got tokens "
            "for a fresh one, and can be called with that alone (logged once)",
            self._agent.name,
        )

    # -- tools

    def _swaig(self, request: Request) -> bytes:
        body = self._required_body(request)
        if body.get("action") == "get_signature":
            return self._signatures(request, _understood(requested_functions, body))
        call = _understood(parse_function_call, body)
        call_id = _understood(call_id_of, body)
        token = _query_token(request)
        tool = self._agent.tools.get(call.name)
        if tool is None or tool.call is None:
            raise Refusal(404, "Not found", "unknown_function")
        body.pop("verified_call_id", None)
        if tool.secure:
            try:
                proved = self._prove(body, call_id, call.name, token)
            except TokenError as error:
                log_refusal(request.environ, "tool_token_refused", error.reason)
                return encode_json({"response": REFUSED})
            body["verified_call_id"] = proved
            request.environ["swaig_wsgi.call_id"] = proved
        problem = check_arguments(tool.definition["parameters"], call.arguments)
        if problem is not None:
            return encode_json({"response": problem})
        return self._run(call, body)

    def _prove(
        self, body: dict[str, Any], call_id: str | None, name: str, token: str | None
    ) -> str:
        """Return the id that the token proves: the call's, or that of its conversation."""
        if token is None:
            raise TokenError("missing")
        conversation = _understood(optional_text, body, "conversation_id")
        check = self._agent.sessions.check_token
        try:
            return check(call_id or "", name, token).call_id
        except TokenError as error:
            if error.reason != "wrong_call" or conversation is None:
                raise
        return check(conversation, name, token).call_id

    def _run(self, call: FunctionCall, body: dict[str, Any]) -> bytes:
        # The platform repeats a call that it gets a 5xx for, and with it what the tool did.
        try:
            result = self._agent.on_function_call(call.name, call.arguments, body)
            return encode_json(to_answer(resolve(result)))
        except Exception:
            log.exception("tool %r of agent %r failed", call.name, self._agent.name)
            return encode_json({"response": FAILED})

    def _signatures(self, request: Request, names: list[str] | None) -> bytes:
        base_url = self._public_base_url(request)
        endpoints = self._agent.endpoints(base_url)
        tools = [tool for tool in self._agent.tools if not names or tool.name in names]
        return encode_json([signature(tool, endpoints) for tool in tools])

    # -- reports

    def _post_prompt(self, request: Request) -> bytes:
        body = self._required_body(request)
        call_id = _understood(call_id_of, body)
        token = _query_token(request)
        body.pop("verified_call_id", None)
        try:
            proved = self._prove(body, call_id, "post_prompt", token)
        except TokenError as error:
            raise Refusal(403, "Forbidden: invalid tool token", error.reason) from None
        body["verified_call_id"] = proved
        request.environ["swaig_wsgi.call_id"] = proved
        resolve(self._agent.on_summary(summary_of(body), body))
        return encode_json({"status": "ok"})

    def _debug_events(self, request: Request) -> bytes:
        resolve(self._agent.on_debug_event(self._required_body(request)))
        return encode_json({"status": "ok"})


def _query_token(request: Request) -> str | None:
    try:
        return token_from_query(request.environ.get("QUERY_STRING", ""))
    except TokenError:
        raise _bad_request("several __token parameters") from None


def _understood(parse: Callable[..., Any], *args: Any) -> Any:
    try:
        return parse(*args)
    except RequestError as error:
        raise _bad_request(str(error)) from None


def _bad_request(what: str) -> Refusal:
    return Refusal(400, f"Bad request: {what}", "bad_request")
