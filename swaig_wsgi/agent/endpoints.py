"""The endpoints of an agent, behind its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..concurrency import callback_errors, resolve
from ..core.redaction import filter_sensitive_headers
from ..core.refusals import (
    Refusal,
    bad_request,
    internal_error,
    unsupported_media_type,
)
from ..core.strict_json import JSONBodyError, is_json_type, loads_request
from ..core.tokens import TokenError, token_from_query
from ..core.urls import join_url, parse_base_url
from ..middleware.metrics import metrics_of
from ..swaig import call_id_of, json_default, requested_functions
from ..swml import check_functions, merge_changes, signature
from ..wsgi import (
    CALL_ID,
    CLAIMED_CALL_ID,
    TOOL,
    CallRecord,
    encode_json,
    log,
    log_exception,
    public_base_url,
    read_body,
    recording_call,
    refuse,
    respond,
)
from ..wsgi._records import agent_label
from ..wsgi._types import StartResponse, WSGIEnvironment
from .agent import Agent
from .health import readiness_details
from .reports import Reports
from .routes import Routes
from .tool_calls import Claims, ToolCalls, record_claims

__all__ = ["Endpoints", "Reply"]


class Reply:
    """A response, by default in JSON."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        body: bytes,
        status: int = 200,
        headers: tuple[tuple[str, str], ...] = (),
        content_type: str = "application/json",
    ) -> None:
        self.body = body
        self.status = status
        self.headers = headers
        self.content_type = content_type


#: What this request proves or claims, not one that a server has mixed up with it.
_OUR_KEYS = frozenset({CALL_ID, CLAIMED_CALL_ID, TOOL})

Endpoint = Callable[[WSGIEnvironment], Reply]


class Endpoints:
    """The WSGI application inside the layers of an agent.

    Args:
        base_url: the public URL of the server's root, or None to derive it from each request.
        max_body: the largest request body, in bytes.
        secret_headers: names of further headers that carry secrets.
    """

    def __init__(
        self, agent: Agent, base_url: str | None, max_body: int, secret_headers: Iterable[str] = ()
    ) -> None:
        self._agent = agent
        self._secret_headers = tuple(secret_headers)
        self._base_url = base_url
        self._max_body = max_body
        self._calls = ToolCalls(agent)
        self._reports = Reports(agent)
        self._new_id_logged = False
        self._repair_logged = False
        callbacks = agent._routing_callbacks.items()
        endpoints: dict[str, tuple[Endpoint, list[str]]] = {
            **{path: (self._routed_by(path, each), ["GET", "POST"]) for path, each in callbacks},
            "": (self._swml, ["GET", "POST"]),
            "/swaig": (self._swaig, ["POST"]),
            "/post_prompt": (self._post_prompt, ["POST"]),
            "/debug_events": (self._debug_events, ["POST"]),
            "/ready": (self._not_ready, ["GET"]),
        }
        if agent.settings.metrics:
            endpoints["/metrics"] = (self._metrics, ["GET"])
        self._routes = Routes(agent.route, endpoints)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        for key in _OUR_KEYS & environ.keys():
            del environ[key]
        try:
            reply: Reply = self._routes.match(environ)(environ)
        except Refusal as refusal:
            return refuse(environ, start_response, refusal)
        except callback_errors():
            log_exception(environ, "agent %r failed to handle a request", self._agent.name)
            return refuse(environ, start_response, internal_error())
        return respond(
            environ,
            start_response,
            reply.status,
            reply.body,
            reply.headers,
            reply.content_type,
        )

    # What a request contains

    def _parsed(self, environ: WSGIEnvironment, body: bytes) -> dict[str, Any] | None:
        """Return the JSON object in `body`, or None if it is empty."""
        if not body:
            return None
        content_type = environ.get("CONTENT_TYPE")
        if content_type and not is_json_type(content_type):
            raise unsupported_media_type()
        try:
            value, repaired = loads_request(body)
        except JSONBodyError as error:
            raise bad_request(f"body is {error.what}") from None
        if repaired:
            self._log_repaired(repaired)
        # Set only by record_call_id().
        value.pop("verified_call_id", None)
        value.pop("unverified_call_id", None)
        call = value.get("call")
        if isinstance(call, dict):
            call.pop("unverified_call_id", None)
        return value

    def _log_repaired(self, names: tuple[str, ...]) -> None:
        if self._repair_logged:
            return
        self._repair_logged = True
        log.warning(
            "agent %r: text that is not UTF-8, half a surrogate pair or equal keys in %s: "
            "read as U+FFFD, and the last of equal keys counts (logged once)",
            self._agent.name,
            ", ".join(names),
        )

    def _required(
        self, environ: WSGIEnvironment, body: bytes
    ) -> tuple[dict[str, Any], Claims | None]:
        """Return the JSON object in `body`, and the ids of the call that it names."""
        value = self._parsed(environ, body)
        if value is None:
            raise bad_request("body is empty")
        return value, record_claims(environ, value)

    def _document_body(self, environ: WSGIEnvironment) -> dict[str, Any]:
        if environ["REQUEST_METHOD"].upper() != "POST":  # as the router reads it
            return {}
        value = self._parsed(environ, read_body(environ, self._max_body))
        if value is None:
            return {}
        record_claims(environ, value)
        return value

    def _headers(self, environ: WSGIEnvironment) -> dict[str, str]:
        """Return the headers for callbacks: those without secrets."""
        from werkzeug.wrappers import Request

        headers = Request(environ, populate_request=False).headers
        return filter_sensitive_headers(dict(headers), self._secret_headers)

    def _public_base_url(self, environ: WSGIEnvironment) -> str:
        try:
            base_url = public_base_url(environ, self._base_url)
        except ValueError:
            raise bad_request("malformed Host header") from None
        try:
            return parse_base_url(base_url)
        except ValueError:
            # Some servers let a client choose SCRIPT_NAME.
            raise bad_request("malformed SCRIPT_NAME") from None

    # The document

    def _swml(self, environ: WSGIEnvironment) -> Reply:
        with recording_call(environ, "document"):
            return self._document(environ, self._document_body(environ))

    def _document(
        self, environ: WSGIEnvironment, body: dict[str, Any], callback_path: str | None = None
    ) -> Reply:
        query = _query(environ)
        call_id = call_id_of(body, query.get("call_id"))
        if call_id is None:
            call_id = self._agent.sessions.create_session()
            self._log_new_id()
        environ[CLAIMED_CALL_ID] = call_id
        agent = self._agent
        if not agent._customizes_requests:
            base_url = self._public_base_url(environ)
            return Reply(agent._document_json(call_id, base_url).encode("ascii"))
        query.pop("__token", None)
        headers = self._headers(environ)
        agent = agent._configured_for(query, body, headers)
        changes = resolve(agent.on_request(body, callback_path))
        if changes is None:
            changes = resolve(agent.on_swml_request(body, query, headers))
        base_url = self._public_base_url(environ)
        document = agent.render_swml(call_id, base_url=base_url)
        if changes:
            document = merge_changes(document, changes)
            check_functions(document, agent._endpoints(base_url), agent._runs_here)
        return Reply(encode_json(document, json_default))

    def _log_new_id(self) -> None:
        if self._new_id_logged or not any(tool.secure for tool in self._agent.tools):
            return
        self._new_id_logged = True
        log.warning(
            "agent %r: the document was fetched without a call id; its secure tools have tokens "
            "for a new id, and accept calls with that id only (logged once)",
            self._agent.name,
        )

    def _routed_by(self, path: str, callback: Callable[..., Any]) -> Endpoint:
        """Return an endpoint that redirects to the path from `callback`, or sends the document."""

        def respond(environ: WSGIEnvironment, record: CallRecord) -> Reply:
            body = self._document_body(environ)
            target = resolve(callback(body, self._headers(environ)))
            if target is None:
                return self._document(environ, body, path)
            if not isinstance(target, str) or not target.startswith("/") or target[1:2] == "/":
                raise TypeError(f"a routing callback must return None or a path, not {target!r}")
            location = join_url(self._public_base_url(environ), target)
            record.set_outcome("redirected")
            return Reply(encode_json({"location": target}), 307, (("Location", location),))

        def endpoint(environ: WSGIEnvironment) -> Reply:
            with recording_call(environ, "document") as record:
                return respond(environ, record)

        return endpoint

    # Tools

    def _swaig(self, environ: WSGIEnvironment) -> Reply:
        body, claims = self._required(environ, read_body(environ, self._max_body))
        token = _query_token(environ)
        if body.get("action") == "get_signature":
            return self._signatures(environ, requested_functions(body))
        return Reply(self._calls.run(environ, body, token, claims))

    def _signatures(self, environ: WSGIEnvironment, names: list[str] | None) -> Reply:
        endpoints = self._agent._endpoints(self._public_base_url(environ))
        tools = [tool for tool in self._agent.tools if not names or tool.name in names]
        return Reply(encode_json([signature(tool, endpoints) for tool in tools]))

    # Reports

    def _post_prompt(self, environ: WSGIEnvironment) -> Reply:
        with recording_call(environ, "summary") as record:
            raw_body = read_body(environ, self._max_body)
            body, _ = self._required(environ, raw_body)
            token = _query_token(environ)
            return Reply(self._reports.summary(environ, body, raw_body, token, record))

    def _debug_events(self, environ: WSGIEnvironment) -> Reply:
        body, _ = self._required(environ, read_body(environ, self._max_body))
        return Reply(self._reports.debug_event(environ, body))

    def _metrics(self, environ: WSGIEnvironment) -> Reply:
        body, content_type = metrics_of(
            agent_label(environ),
            environ,
            allow_per_process=self._agent.settings.allow_per_process_state,
        )
        return Reply(body, content_type=content_type)

    def _not_ready(self, environ: WSGIEnvironment) -> Reply:
        # HealthEndpoints outside passes on only requests for a service that is not ready.
        return Reply(encode_json(readiness_details(environ)), 503)


def _query(environ: WSGIEnvironment) -> dict[str, str]:
    if not environ.get("QUERY_STRING"):
        return {}
    from werkzeug.wrappers import Request

    try:
        return Request(environ, populate_request=False).args.to_dict()
    except UnicodeDecodeError:
        raise bad_request("malformed query string") from None


def _query_token(environ: WSGIEnvironment) -> str | None:
    try:
        return token_from_query(environ.get("QUERY_STRING", ""))
    except TokenError:
        raise bad_request("several __token parameters", "repeated_token") from None
