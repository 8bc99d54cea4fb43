"""AgentApp: a voice agent as a WSGI application."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from ..concurrency import resolve
from ..config import Settings
from ..core.auth import resolve_credentials
from ..core.urls import join_url, parse_base_url, with_credentials
from ..middleware.auth import AuthHandler
from ..processes import default_store, generated_password
from ..swaig import ToolRegistry, tool_name
from ..swml import AISettings, CallFlow, Endpoints, Prompt, render_document
from ..wsgi import log, set_log_level
from ._forwards import ask, forward
from .dev_server import serve
from .readiness import Readiness
from .wiring import (
    check_types,
    listening,
    normal_route,
    session_manager,
    wire,
    with_callback,
    with_own_parts,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


Handler = TypeVar("Handler", bound=Callable[..., Any])


class AgentApp:
    """A voice agent behind the whole security stack, itself a WSGI application.

    Args:
        name: names the agent in prompts and logs, and is part of its token key: tokens of one
            agent are worthless at an agent of another name.
        route: the path under which the agent lives.
        host: where :meth:`run` listens.
        port: where :meth:`run` listens; by default ``PORT``, else 3000.
        basic_auth: user and password that every request must carry; by default
            ``SWML_BASIC_AUTH_USER`` and ``SWML_BASIC_AUTH_PASSWORD``, else the agent's name and
            a random password.
        token_expiry_secs: seconds for which a tool token is valid.
        secret_key: what tool tokens are signed with, at least 16 bytes; by default
            ``SIGNALWIRE_SWAIG_SECRET``, else random.
        settings: by default :meth:`Settings.from_env`, read now.
        auth: methods of authentication that are accepted beside Basic.
        secure_by_default: whether tools are secure that do not say.
        auto_answer: whether the document answers the call.
        record_call: whether the document records it.
        record_format: ``mp4``, ``mp3`` or ``wav``.
        record_stereo: whether each side has a channel.

    Raises:
        ConfigurationError: a setting is wrong; the message names the variable.
        ValueError: an argument is wrong, or PROMPT_SECTIONS is.
    """

    #: Sections that a subclass's prompt starts with: ``{title: body, list of bullets or
    #: dictionary}``, or a list of dictionaries.
    PROMPT_SECTIONS: Any = None

    def __init__(
        self,
        name: str,
        *,
        route: str = "/",
        host: str = "0.0.0.0",  # noqa: S104 - as in the seed
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
    ) -> None:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"an agent's name must be a non-empty string, not {name!r}")
        settings = Settings.from_env() if settings is None else settings
        check_types(settings, auth)
        self.name = name
        self.route = normal_route(route)
        self.host, self.port = listening(host, port, settings)
        self.settings = settings
        if settings.log_level is not None:
            set_log_level(settings.log_level)
        password, made_by = generated_password(name)
        self._credentials = resolve_credentials(
            name, basic_auth, settings.basic_auth, password=password
        )
        self.password_made_by = made_by if self._credentials.source == "generated" else None
        self.store = default_store(settings.storage_url)
        self.sessions = session_manager(name, settings, secret_key, token_expiry_secs, self.store)
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
        self.readiness = Readiness()
        self.readiness.add("store", self._try_store)
        self.routing_callbacks: dict[str, Callable[..., Any]] = {}
        self._dynamic_config: Callable[..., Any] | None = None
        self._auth = auth
        self._application = wire(self, self._auth)
        if self._credentials.source == "generated":
            log.warning(
                "agent %r: generated credentials, user %r, password ****; set "
                "SWML_BASIC_AUTH_USER and SWML_BASIC_AUTH_PASSWORD to choose them",
                name,
                self._credentials.user,
            )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._application(environ, start_response)

    def move(self, route: str) -> None:
        """Serve under another route from now on; a server does this when it registers an agent.

        Raises:
            ValueError: the route is malformed.
        """
        self.route = normal_route(route)
        self._application = wire(self, self._auth)

    def is_ready(self) -> bool:
        """Tell whether calls can be taken: whether every readiness check passes."""
        return not self.readiness.failures()

    add_readiness_check = forward("readiness", Readiness.add)

    def _try_store(self) -> None:
        self.store.get("ready")

    # -- the document

    def endpoints(self, base_url: str) -> Endpoints:
        """Return where the platform calls back, below the public URL `base_url` of the server."""
        base = with_credentials(base_url, *self.get_basic_auth_credentials())
        return Endpoints(
            *(
                join_url(base, f"{self.route}/{path}")
                for path in ("swaig", "post_prompt", "debug_events")
            )
        )

    def render_swml(
        self, call_id: str | None = None, *, base_url: str | None = None
    ) -> dict[str, Any]:
        """Return the SWML document of one call.

        Args:
            call_id: what the tokens in it are bound to; by default a fresh id.
            base_url: the public URL of the server; by default ``SWML_PROXY_URL_BASE``, else made
                of this agent's scheme, host and port.

        Raises:
            ValueError: the call id or the URL is malformed.
        """
        if call_id is None:
            call_id = str(uuid.uuid4())
        if base_url is not None:
            base_url = parse_base_url(base_url)
        return render_document(
            self.prompt,
            self.ai,
            self.call_flow,
            self.tools,
            self.endpoints(base_url or self._own_url()),
            lambda function_name: self.sessions.generate_token(function_name, call_id),
        )

    def _own_url(self) -> str:
        if self.settings.proxy_url_base is not None:
            return self.settings.proxy_url_base
        scheme = "https" if self.settings.ssl_enabled else "http"
        host = "localhost" if self.host in ("0.0.0.0", "::", "") else self.host  # noqa: S104
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    set_prompt_text = forward("prompt", Prompt.set_text)
    prompt_add_section = forward("prompt", Prompt.add_section)
    prompt_add_to_section = forward("prompt", Prompt.add_to_section)
    prompt_add_subsection = forward("prompt", Prompt.add_subsection)
    prompt_has_section = ask("prompt", Prompt.has_section)
    define_contexts = ask("prompt", Prompt.define_contexts)
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
    add_pronunciation = forward("ai", AISettings.add_pronunciation)
    set_global_data = forward("ai", AISettings.set_global_data)
    update_global_data = forward("ai", AISettings.update_global_data)
    set_native_functions = forward("ai", AISettings.set_native_functions)
    add_function_include = forward("ai", AISettings.add_function_include)
    set_internal_fillers = forward("ai", AISettings.set_internal_fillers)
    enable_debug_events = forward("ai", AISettings.enable_debug_events)

    add_pre_answer_verb = forward("call_flow", CallFlow.add_pre_answer)
    add_answer_verb = forward("call_flow", CallFlow.set_answer)
    add_post_answer_verb = forward("call_flow", CallFlow.add_post_answer)
    add_post_ai_verb = forward("call_flow", CallFlow.add_post_ai)
    clear_pre_answer_verbs = forward("call_flow", CallFlow.clear_pre_answer)
    clear_post_answer_verbs = forward("call_flow", CallFlow.clear_post_answer)
    clear_post_ai_verbs = forward("call_flow", CallFlow.clear_post_ai)

    # -- tools

    define_tool = forward("tools", ToolRegistry.define)
    register_swaig_function = forward("tools", ToolRegistry.register)

    @overload
    def tool(self, name: Handler, /) -> Handler: ...

    @overload
    def tool(
        self, name: str | None = None, description: str | None = None, **options: Any
    ) -> Callable[[Handler], Handler]: ...

    def tool(self, name: Any = None, description: str | None = None, **options: Any) -> Any:
        """Return a decorator that defines a tool and leaves the function as it is.

        Args:
            name: by default the function's name. The function itself where ``@app.tool`` stands
                without parentheses.
            description: by default the first paragraph of its docstring.
            options: as for :meth:`define_tool`; ``parameters`` are by default taken from the
                function's annotations and docstring.
        """
        own_name = None if callable(name) else name
        parameters = options.pop("parameters", None)

        def decorate(handler: Handler) -> Handler:
            self.tools.define(
                own_name or tool_name(handler), description or "", parameters, handler, **options
            )
            return handler

        return decorate(name) if callable(name) else decorate

    # -- each request

    @property
    def customises_requests(self) -> bool:
        """Whether a document depends on more of its request than the call id."""
        own = getattr(self.on_swml_request, "__func__", None) is AgentApp.on_swml_request
        return self._dynamic_config is not None or not own

    def set_dynamic_config_callback(self, callback: Callable[..., Any]) -> AgentApp:
        """Let ``callback(query, body, headers, agent)`` shape each document.

        It gets a copy of the agent that serves this document alone, and may call every method
        that shapes one. Headers that carry secrets are left out. A tool that it defines is told
        to the AI but cannot be called here: calls go to the agent itself.
        """
        if not callable(callback):
            raise ValueError(f"a dynamic configuration must be callable, not {callback!r}")
        self._dynamic_config = callback
        return self

    def configured_for(
        self, query: dict[str, str], body: dict[str, Any], headers: dict[str, str]
    ) -> AgentApp:
        """Return the agent that renders the document of a request: itself, or a copy."""
        if self._dynamic_config is None:
            return self
        own = with_own_parts(self)
        resolve(self._dynamic_config(query, body, headers, own))
        return own

    def register_routing_callback(
        self, callback_fn: Callable[..., Any], path: str = "/sip"
    ) -> AgentApp:
        """Let ``callback_fn(body, headers)`` decide who serves what is posted to `path`.

        Where it returns a path, the platform is redirected there (307), and has to bring the
        credentials of whoever answers; where it returns None, this agent's document is served.

        Raises:
            ValueError: the path is malformed, or taken by an endpoint or another callback.
        """
        self.routing_callbacks = with_callback(self.routing_callbacks, callback_fn, path)
        self._application = wire(self, self._auth)
        return self

    def unregister_routing_callback(self, path: str) -> bool:
        """Answer at `path` no more; tell whether there was a callback."""
        key = normal_route(path)
        if key not in self.routing_callbacks:
            return False
        self.routing_callbacks = {
            each: callback for each, callback in self.routing_callbacks.items() if each != key
        }
        self._application = wire(self, self._auth)
        return True

    # -- override points

    def on_swml_request(
        self, body: dict[str, Any], query: dict[str, str], headers: dict[str, str]
    ) -> Any:
        """Return changes to the ``ai`` verb of this document alone, or None.

        An object is merged with the one that is there, anything else replaces it. Headers that
        carry secrets are left out.
        """
        return None

    def on_function_call(self, name: str, args: dict[str, Any], raw_data: dict[str, Any]) -> Any:
        """Answer a call of the tool `name`, whose token was checked; by default its handler does.

        ``raw_data["verified_call_id"]`` is the id that the token proved; without it, nothing in
        `raw_data` says for sure which call this is.
        """
        tool = self.tools.get(name)
        if tool is None or tool.call is None:
            raise LookupError(f"there is no tool {name!r} to call")
        return tool.call(args, raw_data)

    def on_summary(self, summary: Any, raw_data: dict[str, Any]) -> Any:
        """Take the summary of a call that has ended; by default nothing is done."""

    def on_debug_event(self, event: dict[str, Any]) -> Any:
        """Take a debug event; by default nothing is done."""

    def validate_basic_auth(self, username: str, password: str) -> bool:
        """Decide on a request whose credentials matched; anything but True refuses it.

        By default this compares them once more. A subclass can only refuse more than was refused
        before it is asked.
        """
        handlers = [AuthHandler(basic_auth=self.get_basic_auth_credentials()), self._auth]
        return any(handler.verify_basic_auth(username, password) for handler in handlers if handler)

    # -- credentials

    @property
    def credential_validator(self) -> Callable[[str, str], Any] | None:
        """:meth:`validate_basic_auth` where somebody has overridden it, else None."""
        validate = self.validate_basic_auth
        own = getattr(validate, "__func__", None) is AgentApp.validate_basic_auth
        return None if own else validate

    @overload
    def get_basic_auth_credentials(self) -> tuple[str, str]: ...

    @overload
    def get_basic_auth_credentials(self, include_source: Literal[True]) -> tuple[str, str, str]: ...

    @overload
    def get_basic_auth_credentials(self, include_source: Literal[False]) -> tuple[str, str]: ...

    def get_basic_auth_credentials(
        self, include_source: bool = False
    ) -> tuple[str, str] | tuple[str, str, str]:
        """Return user and password, with their source if asked for.

        The source is ``"provided"``, ``"environment"`` or ``"generated"``.
        """
        user, password, source = self._credentials
        return (user, password, source) if include_source else (user, password)

    # -- a server for development

    def run(self, host: str | None = None, port: int | None = None) -> None:
        """Serve the agent with Werkzeug's development server, until interrupted.

        With TLS when ``SWML_SSL_ENABLED`` is set. For production use gunicorn.

        Raises:
            ConfigurationError: TLS is enabled, and certificate or key cannot be used.
        """
        host = self.host if host is None else host
        serve(self, self.settings, host, self.port if port is None else port)
