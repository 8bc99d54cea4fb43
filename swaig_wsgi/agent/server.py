"""AgentServer: several agents under one WSGI application."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from .._missing import SERVER_CONSTRUCTOR, check_names, checks_arguments, missing_in_server
from ..config import Settings
from ..core.refusals import method_not_allowed, not_found
from ..middleware._agent_name import ServesAgents
from ..middleware.auth import AuthHandler
from ..middleware.metrics import MetricsMiddleware
from ..processes import default_store, unshared_variables
from ..swaig import sip_username
from ..wsgi import REFUSAL_APP, log, refuse, respond_json
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from .app import AgentApp
from .metrics import SERVER_ENDPOINTS
from .routes import normal_route, own_paths
from .stack import stack_with_health, unshared_state

__all__ = ["AgentServer"]


_check_parameters = partial(
    check_names, "AgentServer() has no parameter", remedies=SERVER_CONSTRUCTOR
)


class AgentServer:
    """Several agents, each with its own route, credentials and tokens.

    A request goes to the agent with the longest matching route, through that agent's layers
    alone. Agents with the same ``SWML_STORAGE_URL`` count failed authentications together, because
    they usually have the same password, and a client must not get the guesses of each.

    The server itself responds to ``/health``, ``/ready``, static files and the listing, behind the
    layers that the settings configure. With ``SWML_METRICS`` it also responds to ``/metrics`` with
    the figures of all agents, if ``SWML_BASIC_AUTH_USER`` and ``SWML_BASIC_AUTH_PASSWORD`` are set,
    which this endpoint requires.

    Args:
        listing: whether ``GET /`` returns the names and routes of the agents, to anyone.
        settings: by default :meth:`Settings.from_env`, read now.

    Raises:
        ConfigurationError: a setting is invalid; the message names the variable.
    """

    @checks_arguments("AgentServer()", _check_parameters)
    def __init__(self, *, listing: bool = False, settings: Settings | None = None) -> None:
        self._settings = Settings.from_env() if settings is None else settings
        self._own_paths = own_paths(metrics=self._settings.metrics)
        self._store = default_store(self._settings.storage_url)
        self._listing = listing
        self._agents: dict[str, AgentApp] = {}
        self._callbacks: dict[str, Callable[..., Any]] = {}
        self._usernames: dict[str, str] | None = None
        self._auto_map = False
        self._directories: dict[str, str] = {}
        #: The most segments that a route has had.
        self._depth = 0
        self._own = self._build()
        if self._settings.metrics and self._settings.basic_auth is None:
            log.warning(
                "SWML_METRICS: only the agents have /metrics; set SWML_BASIC_AUTH_USER and "
                "SWML_BASIC_AUTH_PASSWORD for a page of the server with the figures of all"
            )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # As for an agent.
        environ.pop(REFUSAL_APP, None)
        return self._find(environ.get("PATH_INFO", ""))(environ, start_response)

    def _find(self, path_info: str) -> WSGIApplication:
        path = path_info.encode("latin-1").decode("utf-8", "replace")
        agents = self._agents
        # No more segments than routes have: clients choose the path, and nothing was checked yet.
        segments = path.split("/", self._depth + 1)[: self._depth + 1]
        while len(segments) > 1:
            prefix = "/".join(segments)
            if prefix in agents:
                return agents[prefix]
            if prefix in self._directories:
                return self._own
            segments.pop()
        return agents.get("", self._own)

    # Agents

    def register(self, agent: AgentApp, route: str | None = None) -> None:
        """Serve `agent` under `route`, by default its own.

        Raises:
            ValueError: the route or the agent's name is taken, the route is malformed, the agent
                is registered already, or one agent would hide an endpoint of another.
        """
        key = agent.route if route is None else normal_route(route)
        if key in self._agents:
            taken = self._agents[key].name
            raise ValueError(f"the route {key or '/'!r} is taken by the agent {taken!r}")
        if key in self._directories or (key and key in self._own_paths):
            raise ValueError(f"the route {key!r} is taken by the server itself")
        if any(agent is each for each in self._agents.values()):
            where = f"already registered under {agent.route!r}"
            raise ValueError(f"the agent {agent.name!r} is {where}")
        if any(agent.name == each.name for each in self._agents.values()):
            reason = "tokens are bound to the name of their agent, so it must be unique"
            raise ValueError(f"there is already an agent named {agent.name!r}; {reason}")
        self._check_paths_free(self._callbacks, [agent])
        agents = {**self._agents, key: agent}
        self._check_endpoints(agents, self._directories, self._callbacks)
        # Without a URL, a store may be in memory, one for each agent.
        shares = agent.settings.storage_url == self._settings.storage_url
        agent._failure_store = self._store if shares else agent.store
        agent._move(key or "/")
        for path, callback in self._callbacks.items():
            agent.register_routing_callback(callback, path)
        agent._is_hidden = lambda path: key + path in (self._agents.keys() | self._directories)
        # A new dictionary: other threads may be reading the old one.
        self._agents = agents
        self._depth = max(self._depth, key.count("/"))
        if self._auto_map:
            self._map_usernames(agent)

    def unregister(self, route: str) -> bool:
        """Stop serving the agent under `route`; return whether there was one."""
        key = normal_route(route)
        if key not in self._agents:
            return False
        removed = self._agents[key]
        self._agents = {each: agent for each, agent in self._agents.items() if each != key}
        for path in self._callbacks:
            removed.unregister_routing_callback(path)
        removed._failure_store = None
        removed._is_hidden = None
        removed._build()
        if self._usernames is not None:
            names = self._usernames.items()
            self._usernames = {name: target for name, target in names if target != key}
        return True

    def get_agents(self) -> dict[str, AgentApp]:
        """Return the agents by route."""
        return {route or "/": agent for route, agent in self._agents.items()}

    def get_agent(self, route: str) -> AgentApp | None:
        """Return the agent under `route`, or None; the leading slash is optional."""
        return self._agents.get(normal_route(route if route.startswith("/") else f"/{route}"))

    if not TYPE_CHECKING:  # or type checkers would accept any name

        def __getattr__(self, name):
            raise missing_in_server(self, name)

    # Routing of calls

    def register_global_routing_callback(self, callback: Callable[..., Any], path: str) -> None:
        """Register a routing callback with every agent, present and future.

        See :meth:`AgentApp.register_routing_callback`.

        Raises:
            ValueError: the path is malformed, or taken at one of the agents or by another route.
        """
        key = normal_route(path)
        if key in self._callbacks:
            raise ValueError(f"the path {path!r} is taken")
        self._check_paths_free([key], self._agents.values())
        self._check_endpoints(self._agents, self._directories, [key])
        for agent in self._agents.values():
            agent.register_routing_callback(callback, key)
        self._callbacks = {**self._callbacks, key: callback}

    def setup_sip_routing(self, route: str = "/sip", auto_map: bool = True) -> None:
        """Redirect SIP calls, posted to ``route`` below any agent, to the agent they are for.

        Args:
            route: the path, below an agent's route, to which the platform posts SIP calls.
            auto_map: whether the name and the route of each agent become user names, in lower
                case and reduced to letters, digits and underscores.

        Raises:
            ValueError: SIP routing is already set up, or the route is malformed or taken.
        """
        if self._usernames is not None:
            raise ValueError("SIP routing is already set up")
        self.register_global_routing_callback(self._route_of_call, route)
        self._usernames = {}
        self._auto_map = auto_map
        if auto_map:
            for agent in self._agents.values():
                self._map_usernames(agent)

    def register_sip_username(self, username: str, route: str) -> None:
        """Redirect SIP calls for `username`, in any case, to the agent under `route`.

        Raises:
            ValueError: SIP routing is not set up, there is no such agent, or the name is empty.
        """
        key = normal_route(route)
        if self._usernames is None:
            raise ValueError("call setup_sip_routing() first")
        if key not in self._agents:
            raise ValueError(f"there is no agent under {route!r}")
        if not isinstance(username, str) or not username:
            raise ValueError(f"a SIP user name must be a non-empty string, not {username!r}")
        self._usernames = {**self._usernames, username.lower(): key}

    @staticmethod
    def _check_paths_free(paths: Iterable[str], agents: Iterable[AgentApp]) -> None:
        """Raise ValueError if a path is taken, before anything is changed."""
        for path in paths:
            if path in own_paths(metrics=False):
                raise ValueError(f"the path {path!r} is taken")
            for agent in agents:
                if path in agent._own_paths or path in agent._routing_callbacks:
                    raise ValueError(f"the path {path!r} is taken at the agent {agent.name!r}")

    @staticmethod
    def _check_endpoints(
        agents: Mapping[str, AgentApp], directories: Container[str], callbacks: Iterable[str]
    ) -> None:
        """Raise ValueError if a route would hide an endpoint of an agent above it."""
        for route, agent in agents.items():
            for path in agent._own_paths.union(agent._routing_callbacks, callbacks) - {""}:
                if route + path in agents or route + path in directories:
                    raise ValueError(f"{route + path!r} is an endpoint of the agent {agent.name!r}")

    def _map_usernames(self, agent: AgentApp) -> None:
        for name in (agent.name, agent.route):
            username = re.sub("[^a-z0-9_]", "", name.lower())
            if username and username not in (self._usernames or {}):
                self.register_sip_username(username, agent.route or "/")

    def _route_of_call(self, body: dict[str, Any], headers: dict[str, str]) -> str | None:
        username = sip_username(body)
        if username is None or self._usernames is None:
            return None
        route = self._usernames.get(username.lower())
        return None if route is None else route or "/"

    # The server's own responses

    def serve_static_files(self, directory: str | os.PathLike[str], route: str = "/") -> None:
        """Serve the files of `directory` below `route`, without authentication.

        See :class:`~swaig_wsgi.agent.static.StaticFiles` for the files that are never served.

        Raises:
            ValueError: there is no such directory, or the route is malformed, taken, or an
                endpoint of an agent.
        """
        key = normal_route(route)
        if key in self._directories or key in self._agents or (key and key in self._own_paths):
            raise ValueError(f"the route {route!r} is taken")
        self._check_endpoints(self._agents, {key}, self._callbacks)
        previous = self._directories
        self._directories = {**previous, key: os.fspath(directory)}
        try:
            self._own = self._build()
        except ValueError:
            self._directories = previous
            raise
        self._depth = max(self._depth, key.count("/"))

    def _build(self) -> WSGIApplication:
        app: WSGIApplication = self._respond
        for route, directory in sorted(self._directories.items()):
            from .static import StaticFiles  # imports Werkzeug

            app = StaticFiles(app, directory, route)
        if self._settings.metrics:
            app = self._with_metrics(app)
        # Nothing here reads a body, and a limit would: it waits for chunked bodies.
        settings = replace(self._settings, max_request_size=None)
        return stack_with_health(
            app,
            settings,
            "",
            self._failures,
            self._unshared,
            store=self._store,
            endpoints=SERVER_ENDPOINTS,
        )

    def _with_metrics(self, app: WSGIApplication) -> WSGIApplication:
        settings = self._settings
        if settings.basic_auth_pairs is None:
            # The server itself has no password, and those of the agents are for their own figures.
            return app
        return MetricsMiddleware(
            app,
            AuthHandler(basic_auth=settings.basic_auth_pairs),
            allow_per_process=settings.allow_per_process_state,
        )

    def _unshared(self) -> set[str]:
        store = self._store if self._settings.counts_requests else None
        found = set(unshared_variables(store=store))
        return found.union(*(unshared_state(agent) for agent in self._agents.values()))

    def _failures(self) -> tuple[str, ...]:
        return tuple(agent.name for agent in self._agents.values() if not agent._is_ready())

    def _respond(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self._listing or environ.get("PATH_INFO", "") not in ("", "/"):
            return refuse(environ, start_response, not_found())
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return refuse(environ, start_response, method_not_allowed(["GET", "HEAD"]))
        agents = self.get_agents().items()
        listed = [{"name": agent.name, "route": route} for route, agent in agents]
        listing = {"service": "swaig-wsgi", "agents": listed}
        return respond_json(environ, start_response, 200, listing)


ServesAgents.register(AgentServer)
