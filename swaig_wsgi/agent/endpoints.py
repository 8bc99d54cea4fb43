"""What an agent answers, once a request has passed everything that may refuse it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request
from werkzeug.wsgi import get_path_info

from ..concurrency import CALLBACK_ERRORS, resolve
from ..core.body_size import BodyError
from ..core.redaction import filter_sensitive_headers
from ..core.strict_json import JSONBodyError, is_json_type, loads_object
from ..core.tokens import TokenError, token_from_query
from ..core.urls import join_url, parse_base_url
from ..middleware.tokens import key_detail
from ..swaig import call_id_of, requested_functions, summary_of
from ..swml import merge_changes, signature
from ..wsgi import encode_json, log, public_base_url, read_body, refuse, respond
from ._replies import Refusal, Reply, bad_request, understood
from .tool_calls import ToolCalls, accept, prove

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from .app import AgentApp

Endpoint = Callable[[Request], Reply]


class Dispatcher:
    """The WSGI application in the middle of an agent's stack.

    Args:
        agent: whose parts and override points answer.
        base_url: the public URL of the server's root, or None to take it from each request.
        max_body: bytes that a request body may have.
        secret_headers: names of headers that hold secrets here, beside those that always do.
    """

    def __init__(
        self,
        agent: AgentApp,
        base_url: str | None,
        max_body: int,
        secret_headers: Iterable[str] = (),
    ) -> None:
        self._agent = agent
        self._secret_headers = tuple(secret_headers)
        self._base_url = base_url
        self._max_body = max_body
        self._calls = ToolCalls(agent)
        self._warned_fresh_id = False
        endpoints: dict[str, tuple[Endpoint, list[str]]] = {
            path: (self._routed_by(callback), ["GET", "POST"])
            for path, callback in agent.routing_callbacks.items()
        }
        endpoints.update(
            {
                "": (self._swml, ["GET", "POST"]),
                "/swaig": (self._swaig, ["POST"]),
                "/post_prompt": (self._post_prompt, ["POST"]),
                "/debug_events": (self._debug_events, ["POST"]),
                "/ready": (self._ready, ["GET"]),
            }
        )
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
            reply = self._reply(environ)
        except Refusal as refusal:
            return refuse(
                environ,
                start_response,
                refusal.status,
                refusal.error,
                event="request_refused",
                reason=refusal.reason,
                headers=refusal.headers,
                detail=refusal.detail,
            )
        except CALLBACK_ERRORS:
            log.exception("agent %r failed to answer a request", self._agent.name)
            return refuse(
                environ,
                start_response,
                500,
                "Internal server error",
                event="request_failed",
                reason="exception",
            )
        return respond(environ, start_response, reply.status, reply.body, reply.headers)

    def _reply(self, environ: WSGIEnvironment) -> Reply:
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
        reply: Reply = endpoint(Request(environ, populate_request=False))
        return reply

    def _body(self, request: Request) -> dict[str, Any] | None:
        """Return the JSON object in the body; None when the body is empty."""
        try:
            body = read_body(request.environ, self._max_body)
        except BodyError as error:
            raise Refusal(error.status, error.error, error.reason) from None
        if not body:
            return None
        content_type = request.environ.get("CONTENT_TYPE")
        if content_type and not is_json_type(content_type):
            raise Refusal(415, "Unsupported media type", "unsupported_media_type")
        try:
            said = loads_object(body)
        except JSONBodyError as error:
            raise bad_request(f"body is {error.what}") from None
        said.pop("verified_call_id", None)  # ours to say
        return said

    def _told_headers(self, request: Request) -> dict[str, str]:
        """Return the headers that callbacks get to see: those without secrets."""
        return filter_sensitive_headers(dict(request.headers), self._secret_headers)

    def _required_body(self, request: Request) -> dict[str, Any]:
        body = self._body(request)
        if body is None:
            raise bad_request("body is empty")
        return body

    def _public_base_url(self, request: Request) -> str:
        try:
            base_url = public_base_url(request.environ, self._base_url)
        except ValueError:
            raise bad_request("malformed Host header") from None
        try:
            return parse_base_url(base_url)
        except ValueError:
            # Some servers let a client choose SCRIPT_NAME.
            raise bad_request("malformed SCRIPT_NAME") from None

    # -- the document

    def _swml(self, request: Request) -> Reply:
        return self._document(request, self._fetch_body(request))

    def _fetch_body(self, request: Request) -> dict[str, Any]:
        return (self._body(request) if request.method == "POST" else None) or {}

    def _document(self, request: Request, body: dict[str, Any]) -> Reply:
        try:
            query = request.args.to_dict()
        except UnicodeDecodeError:
            raise bad_request("malformed query string") from None
        call_id = understood(call_id_of, body, query.get("call_id"))
        if call_id is None:
            call_id = str(uuid.uuid4())
            self._warn_fresh_id()
        agent = self._agent
        changes = None
        if agent.customises_requests:
            query.pop("__token", None)
            headers = self._told_headers(request)
            agent = agent.configured_for(query, body, headers)
            changes = resolve(agent.on_swml_request(body, query, headers))
        document = agent.render_swml(call_id, base_url=self._public_base_url(request))
        if changes:
            document = merge_changes(document, changes)
        return Reply(encode_json(document))

    def _warn_fresh_id(self) -> None:
        if self._warned_fresh_id or not any(tool.secure for tool in self._agent.tools):
            return
        self._warned_fresh_id = True
        log.warning(
            "agent %r: the document was fetched without a call id; its secure tools got tokens "
            "for a fresh one, and can be called with that alone (logged once)",
            self._agent.name,
        )

    def _routed_by(self, callback: Callable[..., Any]) -> Endpoint:
        """Return an endpoint that sends the platform where `callback` says, or answers itself."""

        def endpoint(request: Request) -> Reply:
            body = self._fetch_body(request)
            headers = self._told_headers(request)
            target = resolve(callback(body, headers))
            if target is None:
                return self._document(request, body)
            if not isinstance(target, str) or not target.startswith("/") or target[1:2] == "/":
                raise TypeError(f"a routing callback must return None or a path, not {target!r}")
            location = join_url(self._public_base_url(request), target)
            return Reply(encode_json({"location": target}), 307, (("Location", location),))

        return endpoint

    # -- tools

    def _swaig(self, request: Request) -> Reply:
        body = self._required_body(request)
        token = _query_token(request)
        if body.get("action") == "get_signature":
            return self._signatures(request, understood(requested_functions, body))
        return self._calls.answer(request.environ, body, token)

    def _signatures(self, request: Request, names: list[str] | None) -> Reply:
        endpoints = self._agent.endpoints(self._public_base_url(request))
        tools = [tool for tool in self._agent.tools if not names or tool.name in names]
        return Reply(encode_json([signature(tool, endpoints) for tool in tools]))

    # -- reports

    def _post_prompt(self, request: Request) -> Reply:
        body = self._required_body(request)
        token = _query_token(request)
        try:
            proof = understood(prove, self._agent, body, "post_prompt", token)
        except TokenError as error:
            raise Refusal(
                403,
                "Forbidden: invalid tool token",
                error.reason,
                detail=key_detail(self._agent.sessions, error.reason),
            ) from None
        accept(request.environ, body, proof.call_id)
        resolve(self._agent.on_summary(summary_of(body), body))
        return Reply(encode_json({"status": "ok"}))

    def _debug_events(self, request: Request) -> Reply:
        resolve(self._agent.on_debug_event(self._required_body(request)))
        return Reply(encode_json({"status": "ok"}))

    def _ready(self, request: Request) -> Reply:
        """Say to whoever may know it what is wrong; everyone else was answered further out."""
        failures = self._agent.readiness.failures()
        if not failures:
            return Reply(encode_json({"status": "ready"}))
        return Reply(encode_json({"status": "not ready", "failed": failures}), 503)


def _query_token(request: Request) -> str | None:
    try:
        return token_from_query(request.environ.get("QUERY_STRING", ""))
    except TokenError:
        raise bad_request("several __token parameters", "repeated_token") from None
