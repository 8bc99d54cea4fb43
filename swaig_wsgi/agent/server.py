"""AgentServer: several agents under one WSGI application."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..config import Settings
from ..core.headers import AGENT_HEADERS
from ..middleware.answers import answer_json, refuse
from ..middleware.stack import stack
from .app import AgentApp, normal_route
from .health import HealthEndpoints

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class AgentServer:
    """Several agents, each under a route of its own, with its own credentials and tokens.

    A request goes to the agent with the longest route that it is under, and through that agent's
    stack alone. What no agent answers, ``/health``, ``/ready`` and the listing, is answered here,
    behind the layers that the environment asks for.

    Args:
        listing: whether ``GET /`` tells anyone the names and routes of the agents.
        settings: by default :meth:`Settings.from_env`, read now.

    Raises:
        ConfigurationError: a setting is wrong; the message names the variable.
    """

    def __init__(self, *, listing: bool = False, settings: Settings | None = None) -> None:
        settings = Settings.from_env() if settings is None else settings
        self._listing = listing
        self._agents: dict[str, AgentApp] = {}
        self._rest = stack(
            self._answer_rest,
            settings,
            headers=AGENT_HEADERS,
            open_to_all=lambda inner: HealthEndpoints(inner, "", self._is_ready),
        )

    def register(self, agent: AgentApp, route: str | None = None) -> None:
        """Serve `agent` under `route`, by default its own.

        Raises:
            ValueError: the route is taken or malformed, or the agent is registered already.
        """
        key = agent.route if route is None else normal_route(route)
        if key in self._agents:
            taken = self._agents[key].name
            raise ValueError(f"the route {key or '/'!r} is taken by the agent {taken!r}")
        if any(agent is each for each in self._agents.values()):
            raise ValueError(f"the agent {agent.name!r} is registered under {agent.route!r}")
        if key != agent.route:
            agent.move(key or "/")
        # A new dictionary: other threads go on with the one that they look into.
        self._agents = {**self._agents, key: agent}

    def unregister(self, route: str) -> bool:
        """Stop serving what is under `route`; tell whether there was anything."""
        key = normal_route(route)
        found = key in self._agents
        self._agents = {each: agent for each, agent in self._agents.items() if each != key}
        return found

    def get_agents(self) -> dict[str, AgentApp]:
        """Return the agents by route."""
        return {route or "/": agent for route, agent in self._agents.items()}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        agents = self._agents
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
        if path in _OWN_PATHS and "" not in agents:
            return self._rest(environ, start_response)
        prefix = path
        while True:
            agent = agents.get(prefix)
            if agent is not None:
                return agent(environ, start_response)
            if not prefix:
                return self._rest(environ, start_response)
            prefix = prefix.rpartition("/")[0]

    def _is_ready(self) -> bool:
        return all(agent.is_ready() for agent in self._agents.values())

    def _answer_rest(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if not self._listing or path not in ("", "/"):
            return refuse(
                environ,
                start_response,
                404,
                "Not found",
                event="request_refused",
                reason="not_found",
            )
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return refuse(
                environ,
                start_response,
                405,
                "Method not allowed",
                event="request_refused",
                reason="method_not_allowed",
                headers=[("Allow", "GET, HEAD")],
            )
        agents = [
            {"name": agent.name, "route": route} for route, agent in self.get_agents().items()
        ]
        return answer_json(
            environ, start_response, 200, {"service": "swaig-wsgi", "agents": agents}
        )


_OWN_PATHS = frozenset({"/health", "/health/", "/ready", "/ready/"})
