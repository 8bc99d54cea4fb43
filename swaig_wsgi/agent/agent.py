"""An agent without WSGI: its parts, its document, and the methods that a subclass overrides."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from .._missing import CONSTRUCTOR, check_names, checks_arguments, missing_in_agent
from ..concurrency import resolve
from ..config import Settings
from ..core._strength import is_guessable
from ..core._validation import ArgumentTypeError, check_int
from ..core.auth import resolve_credentials
from ..core.signatures import signing_keys
from ..core.tokens import MIN_SECRET_BYTES, derive_key
from ..core.urls import join_url, parse_base_url, with_credentials
from ..middleware.auth import AuthHandler, is_overridden
from ..processes import default_store, generated_key, generated_password
from ..sessions import SessionManager
from ..stores import Store
from ..stores._scoped import ScopedStore
from ..swaig import ToolRegistry
from ..swml import (
    AISettings,
    CallFlow,
    Endpoints,
    Prompt,
    Templates,
    Webhooks,
    check_functions,
    render_document,
)
from ..wsgi import encode_json, log, set_log_level
from ._attributes import check_attribute, check_class
from ._declared import ToolMethod, define_declared
from ._forwards import forward
from .metadata import MetadataStore
from .routes import normal_route, own_paths

__all__ = ["DEFAULT_PORT", "Agent"]

DEFAULT_PORT = 3000

_HOST = re.compile(r"[A-Za-z0-9._:%-]*")


A = TypeVar("A", bound="Agent")

_check_parameters = partial(check_names, "AgentApp() has no parameter", remedies=CONSTRUCTOR)


class Agent:
    """A voice agent without its WSGI application; see :class:`~swaig_wsgi.AgentApp`."""

    #: Sections that the prompt of a subclass starts with: ``{title: body, list of bullets or
    #: dictionary}``, or a list of dictionaries.
    PROMPT_SECTIONS: Any = None

    _parts: tuple[str, ...] = (
        "prompt",
        "ai",
        "call_flow",
        "tools",
        "_webhooks",
        "_routing_callbacks",
    )

    @checks_arguments("AgentApp()", _check_parameters)
    def __init__(
        self,
        name: str,
        *,
        route: str = "/",
        host: str = "0.0.0.0",  # noqa: S104  # nosec B104 # the default of the SDK's guide
        port: int | None = None,
        basic_auth: tuple[str, str] | None = None,
        token_expiry_secs: int = 3600,
        secret_key: str | bytes | None = None,
        settings: Settings | None = None,
        auth: AuthHandler | None = None,
        secure_by_default: bool = False,
        auto_answer: bool = True,
        record_call: bool = False,
        record_format: str = "mp4",
        record_stereo: bool = True,
        signature_length: int = 16,
        signing_key: str | bytes | Iterable[str | bytes] | None = None,
    ) -> None:
        check_class(type(self))
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"name must be a non-empty string, not {name!r}")
        settings = Settings.from_env() if settings is None else settings
        if not isinstance(settings, Settings):
            raise ArgumentTypeError(f"settings must be a Settings, not {type(settings).__name__}")
        if auth is not None and not isinstance(auth, AuthHandler):
            raise ArgumentTypeError(f"auth must be an AuthHandler, not {type(auth).__name__}")
        self.name = name
        self.route = normal_route(route)
        self.host, self.port = _check_address(host, port, settings)
        self.settings = settings
        if settings.log_level is not None:
            set_log_level(settings.log_level)
        password, pid = generated_password(name)
        self._credentials = resolve_credentials(
            name, basic_auth, settings.basic_auth, password=password
        )
        self._templates = Templates()
        self._known_endpoints = lru_cache(maxsize=64)(_endpoints)
        generated = self._credentials.source == "generated"
        #: The process that generated the password, or None.
        self._password_made_by = pid if generated else None
        #: Shared with other agents and processes.
        self.store = default_store(settings.storage_url)
        #: The same, for this agent alone: every key in it carries the agent's name.
        self._own_store = ScopedStore(self.store, name)
        metadata = MetadataStore(self.store, name)
        self.sessions = _session_manager(
            name, settings, secret_key, token_expiry_secs, metadata, signature_length
        )
        #: For `swaig-wsgi check`: only keys that are derived from the secret are kept.
        self._secret_is_guessable = secret_key is not None and is_guessable(secret_key)
        #: The key or keys of the platform's webhook signatures; None to not require them.
        self._signing_keys = (
            settings.signing_keys if signing_key is None else signing_keys(signing_key)
        )
        self.prompt = Prompt(f"You are {name}, a helpful AI assistant.")
        self.prompt.add_declared(self.PROMPT_SECTIONS)
        self.ai = AISettings()
        self.call_flow = CallFlow(
            auto_answer=auto_answer,
            record_call=record_call,
            record_format=record_format,
            record_stereo=record_stereo,
        )
        self.tools = ToolRegistry(secure_by_default=secure_by_default)
        define_declared(self, self.tools)
        self._webhooks = Webhooks()
        #: The agent that tool calls go to, or None for this one.
        self._original: Agent | None = None
        self._routing_callbacks: dict[str, Callable[..., Any]] = {}
        #: Where an AgentServer counts the failed authentications of all its agents, or None.
        self._failure_store: Store | None = None
        #: Returns whether another route of the server is at a path below this agent's.
        self._is_hidden: Callable[[str], bool] | None = None
        self._dynamic_config: Callable[..., Any] | None = None
        self._auth = auth
        if generated:
            log.warning(
                "agent %r: generated credentials, user %r, password ****; set "
                "SWML_BASIC_AUTH_USER and SWML_BASIC_AUTH_PASSWORD to choose them",
                name,
                self._credentials.user,
            )
        self._complete()

    def _complete(self) -> None:
        """Called when the constructor has set all attributes."""

    if not TYPE_CHECKING:  # or type checkers would accept any name and value

        def __getattr__(self, name):
            raise missing_in_agent(self, name)

        def __setattr__(self, name, value):
            check_attribute(type(self), name, value)
            super().__setattr__(name, value)

    # The document

    def _endpoints(self, base_url: str) -> Endpoints:
        """Return the URLs of the callbacks below `base_url`, the public URL of the server."""
        # Where any host is allowed, clients choose base URLs; long ones must not fill the cache.
        make = self._known_endpoints if len(base_url) <= 256 else _endpoints
        own = make(*self.get_basic_auth_credentials(), base_url, self.route)
        return self._webhooks.applied_to(own)

    def render_swml(
        self, call_id: str | None = None, *, base_url: str | None = None
    ) -> dict[str, Any]:
        """Return the SWML document of one call.

        Args:
            call_id: the call that its tokens are bound to; by default a new id.
            base_url: the public URL of the server; by default ``SWML_PROXY_URL_BASE``, else built
                from the agent's scheme, host and port.

        Raises:
            ValueError: the call id or the URL is malformed, or the document would have a tool
                without a handler.
        """
        if call_id is None:
            call_id = self.sessions.create_session()
        if base_url is not None:
            base_url = parse_base_url(base_url)
        endpoints = self._endpoints(base_url or self._default_base_url())
        return self._document(endpoints, self._token_for(call_id))

    def _token_for(self, call_id: str) -> Callable[[str], str]:
        return lambda function_name: self.sessions.generate_token(function_name, call_id)

    def _document(self, endpoints: Endpoints, token_for: Callable[[str], str]) -> dict[str, Any]:
        document = render_document(
            self.prompt, self.ai, self.call_flow, self.tools, endpoints, token_for
        )
        check_functions(document, endpoints, self._runs_here)
        return document

    def _document_json(self, call_id: str, base_url: str) -> str:
        """As :meth:`render_swml`, as JSON, for a valid `base_url`."""
        endpoints = self._endpoints(base_url)
        return self._templates.fill(
            (self.prompt, self.prompt.define_contexts(), self.ai, self.call_flow, self.tools),
            endpoints,
            lambda token_for: encode_json(self._document(endpoints, token_for)).decode("ascii"),
            self._token_for(call_id),
        )

    def _runs_here(self, name: str) -> bool:
        tool = (self._original or self).tools.get(name)
        return tool is not None and tool.call is not None

    def _default_base_url(self) -> str:
        if self.settings.proxy_url_base is not None:
            return self.settings.proxy_url_base
        scheme = "https" if self.settings.ssl_enabled else "http"
        host = "localhost" if self.host in ("0.0.0.0", "::", "") else self.host  # noqa: S104  # nosec B104 # a comparison
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    set_prompt_text = forward("prompt", Prompt.set_text)
    prompt_add_section = forward("prompt", Prompt.add_section)
    prompt_add_to_section = forward("prompt", Prompt.add_to_section)
    prompt_add_subsection = forward("prompt", Prompt.add_subsection)
    prompt_has_section = forward("prompt", Prompt.has_section)
    set_prompt_pom = forward("prompt", Prompt.set_pom)
    define_contexts = forward("prompt", Prompt.define_contexts)
    reset_contexts = forward("prompt", Prompt.reset_contexts)
    set_prompt_llm_params = forward("prompt", Prompt.set_llm_params)
    set_post_prompt = forward("prompt", Prompt.set_post_prompt)
    set_post_prompt_llm_params = forward("prompt", Prompt.set_post_prompt_llm_params)

    set_param = forward("ai", AISettings.set_param)
    set_params = forward("ai", AISettings.set_params)
    add_hint = forward("ai", AISettings.add_hint)
    add_hints = forward("ai", AISettings.add_hints)
    add_pattern_hint = forward("ai", AISettings.add_pattern_hint)
    add_language = forward("ai", AISettings.add_language)
    set_languages = forward("ai", AISettings.set_languages)
    add_pronunciation = forward("ai", AISettings.add_pronunciation)
    set_global_data = forward("ai", AISettings.set_global_data)
    update_global_data = forward("ai", AISettings.update_global_data)
    set_native_functions = forward("ai", AISettings.set_native_functions)
    add_function_include = forward("ai", AISettings.add_function_include)
    set_internal_fillers = forward("ai", AISettings.set_internal_fillers)
    enable_debug_events = forward("ai", AISettings.enable_debug_events)

    set_web_hook_url = forward("_webhooks", Webhooks.set_web_hook_url)
    set_post_prompt_url = forward("_webhooks", Webhooks.set_post_prompt_url)
    add_swaig_query_params = forward("_webhooks", Webhooks.add_query_params)
    clear_swaig_query_params = forward("_webhooks", Webhooks.clear_query_params)

    add_pre_answer_verb = forward("call_flow", CallFlow.add_pre_answer)
    add_answer_verb = forward("call_flow", CallFlow.set_answer)
    add_post_answer_verb = forward("call_flow", CallFlow.add_post_answer)
    add_post_ai_verb = forward("call_flow", CallFlow.add_post_ai)
    clear_pre_answer_verbs = forward("call_flow", CallFlow.clear_pre_answer)
    clear_post_answer_verbs = forward("call_flow", CallFlow.clear_post_answer)
    clear_post_ai_verbs = forward("call_flow", CallFlow.clear_post_ai)

    # Tools

    define_tool = forward("tools", ToolRegistry.define)
    register_swaig_function = forward("tools", ToolRegistry.register)

    tool = ToolMethod()

    # Each request

    @property
    def _customizes_requests(self) -> bool:
        """Whether a document depends on more of its request than the call id."""
        return (
            self._dynamic_config is not None
            or is_overridden(self, Agent, "on_request")
            or is_overridden(self, Agent, "on_swml_request")
            or is_overridden(self, Agent, "render_swml")
        )

    def set_dynamic_config_callback(self: A, callback: Callable[..., Any]) -> A:
        """Register ``callback(query, body, headers, agent)``, called for each document.

        `agent` is a copy that renders only this document; every method that changes a document
        may be called on it. `headers` omits headers that carry secrets. Tool calls go to the agent
        itself, so a tool that is defined on the copy alone must have a `webhook_url`.

        Raises:
            TypeError: `callback` is not callable.
        """
        if not callable(callback):
            raise ArgumentTypeError(f"callback must be callable, not {callback!r}")
        self._dynamic_config = callback
        return self

    def _configured_for(
        self, query: dict[str, str], body: dict[str, Any], headers: dict[str, str]
    ) -> Agent:
        """Return a copy of this agent, which renders the document of one request."""
        # Parts replace their contents instead of changing them, so shallow copies are independent.
        agent = copy.copy(self)
        agent._original = self._original or self
        # Without __setattr__(), whose checks these values have passed.
        vars(agent).update({part: copy.copy(getattr(self, part)) for part in self._parts})
        if self._dynamic_config is not None:
            resolve(self._dynamic_config(query, body, headers, agent))
        return agent

    def register_routing_callback(
        self: A, callback_fn: Callable[..., Any], path: str = "/sip"
    ) -> A:
        """Register ``callback_fn(body, headers)``, called with each request for `path`.

        If it returns a path, the response redirects the platform there (307). The redirect contains
        no credentials; the platform must have those of the agent at that path. If it returns None,
        this agent's document is the response.

        Raises:
            TypeError: the callback is not callable.
            ValueError: the path is malformed, or taken by an endpoint, another callback or
                another agent.
        """
        key = normal_route(path)
        if not callable(callback_fn):
            raise ArgumentTypeError(f"callback_fn must be callable, not {callback_fn!r}")
        hidden = self._is_hidden is not None and self._is_hidden(key)
        if hidden or key in self._own_paths or key in self._routing_callbacks:
            raise ValueError(f"the path {path!r} is taken{self._taken_by(key)}")
        # A new dictionary: other threads may be iterating over the old one.
        self._routing_callbacks = {**self._routing_callbacks, key: callback_fn}
        return self

    @property
    def _own_paths(self) -> frozenset[str]:
        """The paths of this agent's own endpoints, below its route."""
        return own_paths(metrics=self.settings.metrics)

    def _taken_by(self, path: str) -> str:
        return " by SWML_METRICS" if path == "/metrics" and self.settings.metrics else ""

    def unregister_routing_callback(self, path: str) -> bool:
        """Remove the callback for `path`; return whether there was one."""
        key = normal_route(path)
        callbacks = dict(self._routing_callbacks)
        removed = callbacks.pop(key, None) is not None
        self._routing_callbacks = callbacks
        return removed

    # Override points

    def on_request(self, request_data: dict[str, Any], callback_path: str | None = None) -> Any:
        """Called with each document request, before :meth:`on_swml_request`.

        signalwire-sdk has this method. `self` is a copy, as for :meth:`on_swml_request`.

        Args:
            request_data: the JSON object in the request body, empty for a request without one.
            callback_path: the path of the routing callback that led here, or None.

        Returns:
            Changes as of :meth:`on_swml_request`, which is called only if this is None. May be a
            coroutine.
        """
        return None

    def on_swml_request(
        self, body: dict[str, Any], query: dict[str, str], headers: dict[str, str]
    ) -> Any:
        """Called with each document request; return changes to its ``ai`` verb, or None.

        `self` is a copy that renders only this document, as for
        :meth:`set_dynamic_config_callback`: what is set on it ends with the request.

        Args:
            body: the JSON object in the request body, empty for a request without one.
            query: the parameters of the query string, without the token.
            headers: the request's headers, except those that carry secrets.

        Returns:
            A dictionary of members of the ``ai`` verb, or None for no changes. A dictionary is
            merged with the existing one, member by member; any other value replaces the existing
            one. May be a coroutine.
        """
        return None

    def on_function_call(self, name: str, args: dict[str, Any], raw_data: dict[str, Any]) -> Any:
        """Called with each call of the tool `name`, after its token and arguments were checked.

        Returns what its handler returns. For a secure tool ``raw_data["call_id"]`` and
        ``raw_data["verified_call_id"]`` are the call id of the token; a different id in the request
        is in ``raw_data["unverified_call_id"]``. Everything else in `raw_data` is unverified.
        """
        tool = self.tools.get(name)
        if tool is None or tool.call is None:
            raise LookupError(f"there is no tool {name!r} to call")
        return tool.call(args, raw_data)

    def on_summary(self, summary: Any, raw_data: dict[str, Any]) -> Any:
        """Called with the summary of a call that has ended, or to fetch an earlier conversation.

        If ``raw_data["action"]`` is ``fetch_conversation``, the platform asks what is known of the
        conversation ``raw_data["conversation_id"]``; `summary` is usually None. Return, for
        example, ``{"conversation_summary": "..."}``.

        If this raises an Exception, the log has the traceback, and the response is 200: the
        platform repeats what got a 5xx. Once it has returned, a repeat of the same summary within
        an hour is not handled again, provided that all processes share a store.

        Args:
            summary: any JSON value: what the AI wrote as JSON (usually a dictionary), else its
                text, or None without a summary.
            raw_data: the whole request body, with call ids as in :meth:`on_function_call`.

        Returns:
            A mapping that is the response, as JSON; anything else is ignored. May be a coroutine.
        """

    def on_debug_event(self, event: dict[str, Any]) -> Any:
        """Called with each debug event; the return value is ignored.

        If this raises, the log has the traceback, and the response is 200.
        """
        # The decorator of signalwire-sdk; here it would define nothing.
        if callable(event):
            raise ArgumentTypeError("override on_debug_event(event) in a subclass")

    def validate_basic_auth(self, username: str, password: str) -> bool:
        """Called with credentials that matched; anything but True refuses the request.

        An override can therefore only refuse more requests, never admit more. By default this
        compares the credentials once more.
        """
        handlers = [AuthHandler(basic_auth=self._accepted_pairs), self._auth]
        return any(handler.verify_basic_auth(username, password) for handler in handlers if handler)

    # Credentials

    @property
    def _accepted_pairs(self) -> list[tuple[str, str]]:
        """User name and password, then the same user name with each earlier password."""
        user, password, _ = self._credentials
        passwords = dict.fromkeys((password, *self.settings.basic_auth_password_fallbacks))
        return [(user, each) for each in passwords]

    def _credential_validator(self) -> Callable[[str, str], Any] | None:
        """Return :meth:`validate_basic_auth` if it is overridden, else None."""
        validate = self.validate_basic_auth
        own = getattr(validate, "__func__", None) is Agent.validate_basic_auth
        return None if own else validate

    @overload
    def get_basic_auth_credentials(
        self, include_source: Literal[False] = False
    ) -> tuple[str, str]: ...

    @overload
    def get_basic_auth_credentials(self, include_source: Literal[True]) -> tuple[str, str, str]: ...

    def get_basic_auth_credentials(
        self, include_source: bool = False
    ) -> tuple[str, str] | tuple[str, str, str]:
        """Return user and password, and their source on request.

        The source is ``"provided"``, ``"environment"`` or ``"generated"``.
        """
        user, password, source = self._credentials
        return (user, password, source) if include_source else (user, password)


def _endpoints(user: str, password: str, base_url: str, route: str) -> Endpoints:
    """Return the agent's own URLs, with its credentials."""
    base = with_credentials(base_url, user, password)
    paths = ("swaig", "post_prompt", "debug_events")
    return Endpoints(*(join_url(base, f"{route}/{path}") for path in paths))


def _check_address(host: object, port: object, settings: Settings) -> tuple[str, int]:
    """Return host and port of the development server, the port from the settings if not given."""
    if not isinstance(host, str) or not _HOST.fullmatch(host):
        raise ValueError(f"host must be a host name or an address, not {host!r}")
    if port is None:
        port = settings.port or DEFAULT_PORT
    return host, check_int("port", port, 0, 65535)


def _session_manager(
    name: str,
    settings: Settings,
    secret_key: str | bytes | None,
    token_expiry_secs: int,
    store: Store,
    signature_length: int,
) -> SessionManager:
    """Return a manager with keys of this agent alone; agents may share the secret."""
    secret = settings.swaig_secret if secret_key is None else secret_key
    if isinstance(secret, str):
        secret = secret.encode("utf-8", "surrogatepass")
    if secret is not None and not isinstance(secret, bytes):
        raise ArgumentTypeError(f"secret_key must be str or bytes, not {type(secret).__name__}")
    if secret is not None and len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"secret_key must have at least {MIN_SECRET_BYTES} bytes")
    return SessionManager(
        token_expiry_secs,
        generated_key(f"agent {name}") if secret is None else derive_key(secret, name),
        fallback_keys=[
            derive_key(fallback.encode("utf-8", "surrogatepass"), name)
            for fallback in settings.swaig_secret_fallbacks
        ],
        signature_length=signature_length,
        store=store,
    )
