"""What an agent is built of: its keys, its routes, and the stack round its dispatcher."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..config import Settings
from ..core.headers import AGENT_HEADERS
from ..core.tokens import MIN_SECRET_BYTES, derive_key
from ..middleware._per_process import (
    PASSWORD,
    PerProcessGuard,
    PerProcessState,
    unshared_key,
    unshared_store,
)
from ..middleware.auth import AuthHandler
from ..middleware.harden import stack
from ..middleware.signatures import WebhookSignatureMiddleware
from ..processes import generated_key
from ..sessions import SessionManager
from .auth import AgentAuthenticator
from .endpoints import Dispatcher
from .health import HealthEndpoints

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from ..stores._base import Store
    from .app import AgentApp

DEFAULT_MAX_REQUEST_SIZE = 1_048_576
DEFAULT_PORT = 3000
#: What an agent answers itself, below its route.
OWN_PATHS = frozenset({"", "/swaig", "/post_prompt", "/debug_events", "/health", "/ready"})

_NOT_IN_ROUTES = re.compile(r"[<>?#%\\]")
_HOST = re.compile(r"[A-Za-z0-9._:%-]*")


def wire(agent: AgentApp, auth: AuthHandler | None) -> WSGIApplication:
    """Return the whole way of a request of `agent`, outermost layer first.

    Args:
        agent: with its route, settings and parts in place.
        auth: methods of authentication that are accepted beside Basic.
    """
    # An agent serves machines and holds nothing for browsers, so it may be stricter than a
    # site, and, as the seed, lets any origin read what comes without credentials of its own.
    default_origins = None if agent.settings.csrf_protection else ("*",)
    max_body = agent.settings.max_request_size or DEFAULT_MAX_REQUEST_SIZE
    settings = replace(
        agent.settings,
        cors_origins=agent.settings.cors_origins or default_origins,
        allowed_hosts=agent.settings.allowed_hosts or ("*",),
        max_request_size=max_body,
    )
    secret_headers = () if auth is None else (auth.api_key_header,)
    app: WSGIApplication = Dispatcher(agent, settings.proxy_url_base, max_body, secret_headers)
    if settings.signing_key is not None:
        app = WebhookSignatureMiddleware(
            app, settings.signing_key, base_url=settings.proxy_url_base, max_bytes=max_body
        )
    basic = AuthHandler(basic_auth=agent.get_basic_auth_credentials())
    state = PerProcessState(lambda: unshared(agent), allowed=settings.allow_per_process_state)
    return stack(
        app,
        settings,
        auth=AgentAuthenticator(basic, auth, lambda: agent.credential_validator),
        headers=AGENT_HEADERS,
        store=agent.store,
        open_to_all=lambda inner: PerProcessGuard(
            HealthEndpoints(inner, agent.route, agent.is_ready),
            state,
            exempt=(f"{agent.route}/health", f"{agent.route}/health/"),
        ),
    )


def unshared(agent: AgentApp) -> tuple[str, ...]:
    """Return the variables that would make shared what this process has of `agent` for itself."""
    found = unshared_key(agent.sessions)
    if agent.password_made_by == os.getpid():
        found += (PASSWORD,)
    lonely = unshared_store(agent.store)
    if lonely and (
        agent.settings.rate_limit is not None
        or agent.sessions.keeps_metadata
        or any(tool.once is not None for tool in agent.tools)
    ):
        found += lonely
    return found


def with_own_parts(agent: AgentApp) -> AgentApp:
    """Return a copy of `agent` whose document can be changed without changing that of `agent`.

    Parts never change in place what they hold, so shallow copies are cheap and complete.
    """
    own = copy.copy(agent)
    own.prompt = copy.copy(agent.prompt)
    own.ai = copy.copy(agent.ai)
    own.call_flow = copy.copy(agent.call_flow)
    own.tools = copy.copy(agent.tools)
    own.readiness = copy.copy(agent.readiness)
    return own


def check_types(settings: object, auth: object) -> None:
    """Check what an agent is given, before it is asked for anything.

    Raises:
        ValueError: `settings` is no Settings, or `auth` neither None nor an AuthHandler.
    """
    if not isinstance(settings, Settings):
        raise ValueError(f"settings must be a Settings, not {type(settings).__name__}")
    if auth is not None and not isinstance(auth, AuthHandler):
        raise ValueError(f"auth must be an AuthHandler, not {type(auth).__name__}")


def with_callback(
    callbacks: dict[str, Callable[..., Any]], callback: Callable[..., Any], path: str
) -> dict[str, Callable[..., Any]]:
    """Return `callbacks` and `callback`, by path.

    Raises:
        ValueError: the path is malformed or taken, or `callback` cannot be called.
    """
    key = normal_route(path)
    if not callable(callback):
        raise ValueError(f"a routing callback must be callable, not {callback!r}")
    if key in OWN_PATHS or key in callbacks:
        raise ValueError(f"the path {path!r} is taken")
    return {**callbacks, key: callback}


def listening(host: object, port: object, settings: Settings) -> tuple[str, int]:
    """Return where an agent listens: `port`, else that of the settings, else 3000.

    Raises:
        ValueError: `host` is no host name or address, or `port` no number from 0 to 65535; 0 is
            any that is free.
    """
    if not isinstance(host, str) or not _HOST.fullmatch(host):
        raise ValueError(f"host must be a host name or an address, not {host!r}")
    if port is None:
        port = settings.port or DEFAULT_PORT
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise ValueError(f"port must be a whole number from 0 to 65535, not {port!r}")
    return host, port


def normal_route(route: str) -> str:
    """Return `route` without its trailing slash; the root is the empty string.

    Raises:
        ValueError: `route` does not start with a slash, or has empty or dot segments.
    """
    if not isinstance(route, str) or not route.startswith("/"):
        raise ValueError(f"route must start with '/', which {route!r} does not")
    if any(segment in ("", ".", "..") for segment in route.strip("/").split("/")) and route != "/":
        raise ValueError(f"route {route!r} must have neither empty nor dot segments")
    if _NOT_IN_ROUTES.search(route) or not route.isprintable():
        raise ValueError(f"route {route!r} can hold neither placeholders nor any of ?#%\\")
    return route.rstrip("/")


def session_manager(
    name: str,
    settings: Settings,
    secret_key: str | bytes | None,
    token_expiry_secs: int,
    store: Store,
) -> SessionManager:
    """Return a manager whose keys serve this agent alone, though its secret may serve many.

    Raises:
        ValueError: the secret is too short, or the expiry is no number of seconds.
    """
    secret = settings.swaig_secret if secret_key is None else secret_key
    if isinstance(secret, str):
        secret = secret.encode("utf-8", "surrogatepass")
    if secret is not None and not isinstance(secret, bytes):
        raise ValueError(f"secret_key must be str or bytes, not {type(secret).__name__}")
    if secret is not None and len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"secret_key must have at least {MIN_SECRET_BYTES} bytes")
    return SessionManager(
        token_expiry_secs,
        generated_key(f"agent {name}") if secret is None else derive_key(secret, name),
        fallback_keys=[
            derive_key(fallback.encode("utf-8", "surrogatepass"), name)
            for fallback in settings.swaig_secret_fallbacks
        ],
        store=store,
    )
