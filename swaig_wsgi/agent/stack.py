"""The layers around one agent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from ..config import Settings
from ..core.headers import AGENT_HEADERS
from ..middleware._per_process import PerProcessGuard
from ..middleware.auth import AuthHandler
from ..middleware.harden import stack
from ..middleware.signatures import WebhookSignatureMiddleware
from ..processes import unshared_variables
from ..stores import Store
from ..wsgi._types import WSGIApplication
from .agent import Agent
from .auth import AgentAuthenticator
from .endpoints import Endpoints
from .health import HealthEndpoints, Readiness
from .metrics import AGENT_ENDPOINTS, ROUTING, MeasuredRequests
from .routes import raw_path

__all__ = ["DEFAULT_MAX_REQUEST_SIZE", "agent_stack", "stack_with_health", "unshared_state"]

#: The size limit of a request body in bytes, if none is configured.
DEFAULT_MAX_REQUEST_SIZE = 1_048_576


def agent_stack(agent: Agent, auth: AuthHandler | None, readiness: Readiness) -> WSGIApplication:
    """Return the WSGI application of `agent`, with all of its layers.

    The methods of `auth` are accepted in addition to Basic.
    """
    # An agent serves machines, not browsers, so it can be stricter than a site. As in the SDK, any
    # origin may read responses, but never with credentials that the browser adds.
    default_origins = None if agent.settings.csrf_protection else ("*",)
    max_body = agent.settings.max_request_size or DEFAULT_MAX_REQUEST_SIZE
    settings = replace(
        agent.settings,
        cors_origins=agent.settings.cors_origins or default_origins,
        allowed_hosts=agent.settings.allowed_hosts or ("*",),
        max_request_size=max_body,
    )
    secret_headers = () if auth is None else (auth.api_key_header,)
    app: WSGIApplication = Endpoints(agent, settings.proxy_url_base, max_body, secret_headers)
    if agent._signing_keys is not None:
        app = WebhookSignatureMiddleware(
            app, agent._signing_keys, base_url=settings.proxy_url_base, max_bytes=max_body
        )
    basic = AuthHandler(basic_auth=agent._accepted_pairs)
    return stack_with_health(
        app,
        settings,
        agent.route,
        readiness.failures,
        lambda: unshared_state(agent),
        auth=AgentAuthenticator(basic, auth, agent._credential_validator),
        store=agent._own_store,
        failure_store=agent._failure_store,
        endpoints={**dict.fromkeys(agent._routing_callbacks, ROUTING), **AGENT_ENDPOINTS},
    )


def stack_with_health(
    app: WSGIApplication,
    settings: Settings,
    route: str,
    failures: Callable[[], tuple[str, ...]],
    find_unshared: Callable[[], Iterable[str]],
    *,
    auth: AgentAuthenticator | None = None,
    store: Store,
    failure_store: Store | None = None,
    endpoints: Mapping[str, str],
) -> WSGIApplication:
    """Return `app` in the layers of `settings`, with ``/health`` and ``/ready`` below `route`.

    With metrics, each request is measured; `endpoints` are the labels by path.
    """
    allowed = settings.allow_per_process_state
    path = raw_path(route)
    exempt = (f"{path}/health", f"{path}/health/")
    app = stack(
        app,
        settings,
        auth=auth,
        headers=AGENT_HEADERS,
        store=store,
        failure_store=failure_store,
        public=lambda inner: PerProcessGuard(
            HealthEndpoints(inner, path, failures, details=auth is not None),
            find_unshared,
            allowed=allowed,
            exempt=exempt,
        ),
        # PerProcessGuard also checks the store.
        allow_per_process=True,
    )
    return MeasuredRequests(app, route, endpoints) if settings.metrics else app


def unshared_state(agent: Agent) -> frozenset[str]:
    """Return the variables to set so that all processes share the state of `agent`."""
    uses_store = (
        agent.settings.counts_requests or agent.sessions.keeps_metadata or agent.tools.keeps_state
    )
    return unshared_variables(
        key_pid=agent.sessions.key_made_by,
        password_pid=agent._password_made_by,
        store=agent.store if uses_store else None,
    )
