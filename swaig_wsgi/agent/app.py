"""AgentApp: a voice agent as a WSGI application."""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from werkzeug.serving import run_simple

from ..config import MIN_SECRET_BYTES, Settings
from ..core.auth import resolve_credentials
from ..core.headers import AGENT_HEADERS
from ..core.tokens import derive_key
from ..core.urls import join_url, with_credentials
from ..middleware.auth import AuthHandler
from ..middleware.signatures import WebhookSignatureMiddleware
from ..middleware.stack import stack
from ..sessions import SessionManager
from ..stores import open_store
from ..swaig.ai import AISettings
from ..swaig.call_flow import CallFlow
from ..swaig.document import Endpoints, render_document
from ..swaig.prompt import Prompt
from ..swaig.tools import ToolRegistry, tool_name
from ..tls import SslConfig
from .credentials import AgentAuthenticator
from .dispatch import Dispatcher
from .forwards import forward
from .health import HealthEndpoints

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("swaig_wsgi")

DEFAULT_PORT = 3000
DEFAULT_MAX_REQUEST_SIZE = 1_048_576

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
        ValueError: an argument is wrong.
    """

    def __init__(
        self,
        name: str,
        *,
        route: str = "/",
        host: str = "0.0.0.0",  # noqa: S104 - the contract's default, as in the seed
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
        self.name = name
        self.route = normal_route(route)
        self.host = host
        self.port = port or settings.port or DEFAULT_PORT
        self.settings = settings
        if settings.log_level is not None:
            log.setLevel(settings.log_level)
        self._credentials = resolve_credentials(
            name, basic_auth, settings.basic_auth, password=secrets.token_hex(8)
        )
        self.store = open_store(settings.storage_url or "memory://")
        self.sessions = _session_manager(name, settings, secret_key, token_expiry_secs, self.store)
        self.prompt = Prompt(f"You are {name}, a helpful AI assistant.")
        self.ai = AISettings()
        self.call_flow = CallFlow(
            auto_answer=auto_answer,
            record_call=record_call,
            record_format=record_format,
            record_stereo=record_stereo,
        )
        self.tools = ToolRegistry(secure_by_default=secure_by_default)
        self._auth = auth
        self._application = self._stacked()
        self._report()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._application(environ, start_response)

    def move(self, route: str) -> None:
        """Serve under another route from now on; a server does this when it registers an agent.

        Raises:
            ValueError: the route is malformed.
        """
        self.route = normal_route(route)
        self._application = self._stacked()

    def is_ready(self) -> bool:
        """Tell whether calls can be taken."""
        return True

    def _stacked(self) -> WSGIApplication:
        # An agent serves machines and holds nothing for browsers, so it may be stricter than a
        # site, and, as the seed, lets any origin read what comes without credentials of its own.
        default_origins = None if self.settings.csrf_protection else ("*",)
        settings = replace(
            self.settings,
            cors_origins=self.settings.cors_origins or default_origins,
            allowed_hosts=self.settings.allowed_hosts or ("*",),
            max_request_size=self.settings.max_request_size or DEFAULT_MAX_REQUEST_SIZE,
        )
        max_body = settings.max_request_size or DEFAULT_MAX_REQUEST_SIZE
        app: WSGIApplication = Dispatcher(self, settings.proxy_url_base, max_body)
        if settings.signing_key is not None:
            app = WebhookSignatureMiddleware(
                app,
                settings.signing_key,
                base_url=settings.proxy_url_base,
                max_bytes=max_body,
            )
        basic = AuthHandler(basic_auth=(self._credentials.user, self._credentials.password))
        return stack(
            app,
            settings,
            auth=AgentAuthenticator(basic, self._auth, self._validate),
            headers=AGENT_HEADERS,
            store=self.store,
            open_to_all=lambda inner: HealthEndpoints(inner, self.route, self.is_ready),
        )

    def _validate(self, username: str, password: str) -> Any:
        return self.validate_basic_auth(username, password)

    def _report(self) -> None:
        if self._credentials.source == "generated":
            log.warning(
                "agent %r: generated credentials, user %r, password ****; set "
                "SWML_BASIC_AUTH_USER and SWML_BASIC_AUTH_PASSWORD to choose them",
                self.name,
                self._credentials.user,
            )

    # -- the document

    def endpoints(self, base_url: str) -> Endpoints:
        """Return where the platform calls back, below the public URL `base_url` of the server."""
        base = with_credentials(base_url, self._credentials.user, self._credentials.password)
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
    set_prompt_llm_params = forward("prompt", Prompt.set_llm_params)
    set_post_prompt = forward("prompt", Prompt.set_post_prompt)
    set_post_prompt_llm_params = forward("prompt", Prompt.set_post_prompt_llm_params)

    def prompt_has_section(self, title: str) -> bool:
        """Tell whether the prompt has a section of this title."""
        return self.prompt.has_section(title)

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

    def tool(
        self,
        name: str | None = None,
        description: str | None = None,
        *,
        parameters: Mapping[str, Any] | None = None,
        secure: bool | None = None,
        **options: Any,
    ) -> Callable[[Handler], Handler]:
        """Return a decorator that defines a tool and leaves the function as it is.

        Args:
            name: by default the function's name.
            description: by default the first paragraph of its docstring.
            parameters: by default taken from its annotations and docstring.
            secure: whether a call needs a token.
            options: as for :meth:`define_tool`.
        """

        def decorate(handler: Handler) -> Handler:
            self.tools.define(
                name or tool_name(handler),
                description or "",
                parameters,
                handler,
                secure=secure,
                **options,
            )
            return handler

        return decorate

    # -- override points

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

        A subclass can only refuse more than the comparison did.
        """
        return True

    # -- credentials

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
        context = None
        if self.settings.ssl_enabled:
            context = SslConfig(settings=self.settings).create_context()
        run_simple(host or self.host, port or self.port, self, threaded=True, ssl_context=context)


def normal_route(route: str) -> str:
    """Return `route` without its trailing slash; the root is the empty string.

    Raises:
        ValueError: `route` does not start with a slash, or has empty or dot segments.
    """
    if not isinstance(route, str) or not route.startswith("/"):
        raise ValueError(f"route must start with '/', which {route!r} does not")
    if any(segment in ("", ".", "..") for segment in route.strip("/").split("/")) and route != "/":
        raise ValueError(f"route {route!r} must have neither empty nor dot segments")
    if "<" in route or ">" in route:
        raise ValueError(f"route {route!r} cannot hold placeholders")
    return route.rstrip("/")


def _session_manager(
    name: str,
    settings: Settings,
    secret_key: str | bytes | None,
    token_expiry_secs: int,
    store: Any,
) -> SessionManager:
    """Return a manager whose keys serve this agent alone, though its secret may serve many."""
    secret = settings.swaig_secret if secret_key is None else secret_key
    if secret is None:
        return SessionManager(token_expiry_secs, store=store)
    if isinstance(secret, str):
        secret = secret.encode("utf-8", "surrogatepass")
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"secret_key must have at least {MIN_SECRET_BYTES} bytes")
    return SessionManager(
        token_expiry_secs,
        derive_key(secret, name),
        fallback_keys=[
            derive_key(fallback.encode("utf-8", "surrogatepass"), name)
            for fallback in settings.swaig_secret_fallbacks
        ],
        store=store,
    )
