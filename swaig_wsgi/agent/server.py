"""AgentServer: several agents under one WSGI application."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..config import Settings
from ..core.headers import AGENT_HEADERS
from ..middleware._per_process import PerProcessGuard, PerProcessState, unshared_store
from ..middleware.harden import stack
from ..processes import default_store
from ..swaig import sip_username
from ..wsgi import refuse, respond_json
from ._static import StaticFiles
from .app import AgentApp
from .health import HealthEndpoints
from .wiring import OWN_PATHS, normal_route, unshared

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class AgentServer:
    """Several agents, each under a route of its own, with its own credentials and tokens.

    A request goes to the agent with the longest route that it is under, and through that agent's
    stack alone. What no agent answers, ``/health``, ``/ready``, files and the listing, is answered
    here, behind the layers that the environment asks for.

    Args:
        listing: whether ``GET /`` tells anyone the names and routes of the agents.
        settings: by default :meth:`Settings.from_env`, read now.

    Raises:
        ConfigurationError: a setting is wrong; the message names the variable.
    """

    def __init__(self, *, listing: bool = False, settings: Settings | None = None) -> None:
        self._settings = Settings.from_env() if settings is None else settings
        self._store = default_store(self._settings.storage_url)
        self._listing = listing
        self._agents: dict[str, AgentApp] = {}
        self._callbacks: dict[str, Callable[..., Any]] = {}
        self._usernames: dict[str, str] | None = None
        self._auto_map = False
        self._directories: dict[str, str] = {}
        self._rest = self._stacked()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._find(environ.get("PATH_INFO", ""))(environ, start_response)

    def _find(self, path_info: str) -> WSGIApplication:
        path = path_info.encode("latin-1").decode("utf-8", "replace")
        agents = self._agents
        prefix = path
        while prefix:
            if prefix in agents:
                return agents[prefix]
            if prefix in self._directories:
                return self._rest
            prefix = prefix.rpartition("/")[0]
        return agents.get("", self._rest)

    # -- agents

    def register(self, agent: AgentApp, route: str | None = None) -> None:
        """Serve `agent` under `route`, by default its own.

        Raises:
            ValueError: the route or the agent's name is taken, the route is malformed, or the
                agent is registered already.
        """
        key = agent.route if route is None else normal_route(route)
        if key in self._agents:
            taken = self._agents[key].name
            raise ValueError(f"the route {key or '/'!r} is taken by the agent {taken!r}")
        if key in self._directories or (key and key in OWN_PATHS):
            raise ValueError(f"the route {key!r} is taken by the server itself")
        if any(agent is each for each in self._agents.values()):
            raise ValueError(f"the agent {agent.name!r} is registered under {agent.route!r}")
        if any(agent.name == each.name for each in self._agents.values()):
            raise ValueError(
                f"there is an agent named {agent.name!r} already, and the name is what tells the "
                "tokens of two agents apart"
            )
        self._check_paths_free(self._callbacks, [agent])
        if key != agent.route:
            agent.move(key or "/")
        for path, callback in self._callbacks.items():
            agent.register_routing_callback(callback, path)
        # A new dictionary: other threads go on with the one that they look into.
        self._agents = {**self._agents, key: agent}
        if self._auto_map:
            self._map_usernames(agent)

    def unregister(self, route: str) -> bool:
        """Stop serving what is under `route`; tell whether there was anything."""
        key = normal_route(route)
        if key not in self._agents:
            return False
        gone = self._agents[key]
        self._agents = {each: agent for each, agent in self._agents.items() if each != key}
        for path in self._callbacks:
            gone.unregister_routing_callback(path)
        if self._usernames is not None:
            self._usernames = {
                name: target for name, target in self._usernames.items() if target != key
            }
        return True

    def get_agents(self) -> dict[str, AgentApp]:
        """Return the agents by route."""
        return {route or "/": agent for route, agent in self._agents.items()}

    # -- who serves a call

    def register_global_routing_callback(self, callback: Callable[..., Any], path: str) -> None:
        """Let every agent, also those to come, ask ``callback(body, headers)`` at `path`.

        See :meth:`AgentApp.register_routing_callback`.

        Raises:
            ValueError: the path is malformed, or taken at one of the agents.
        """
        key = normal_route(path)
        if key in self._callbacks:
            raise ValueError(f"the path {path!r} is taken")
        self._check_paths_free([key], self._agents.values())
        for agent in self._agents.values():
            agent.register_routing_callback(callback, key)
        self._callbacks = {**self._callbacks, key: callback}

    def setup_sip_routing(self, route: str = "/sip", auto_map: bool = True) -> None:
        """Let every agent redirect, at ``route`` below its own, SIP calls to whom they are for.

        Args:
            route: where the platform posts calls that came in by SIP.
            auto_map: whether each agent gets its name and its route as user names, in lower case
                and without what is no letter, digit or underscore.

        Raises:
            ValueError: SIP routing is set up already, or the route is malformed or taken.
        """
        if self._usernames is not None:
            raise ValueError("SIP routing is set up already")
        self.register_global_routing_callback(self._route_of_call, route)
        self._usernames = {}
        self._auto_map = auto_map
        if auto_map:
            for agent in self._agents.values():
                self._map_usernames(agent)

    def register_sip_username(self, username: str, route: str) -> None:
        """Send SIP calls for `username`, in any letter case, to the agent under `route`.

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
        """Look before anything is changed, so that what is refused has changed nothing."""
        for path in paths:
            if path in OWN_PATHS:
                raise ValueError(f"the path {path!r} is taken")
            for agent in agents:
                if path in agent.routing_callbacks:
                    raise ValueError(f"the path {path!r} is taken at the agent {agent.name!r}")

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

    # -- what is no agent's

    def serve_static_files(self, directory: str | os.PathLike[str], route: str = "/") -> None:
        """Serve the files of `directory` to anyone, below `route`.

        See :class:`.static.StaticFiles` for what is never served.

        Raises:
            ValueError: there is no such directory, or the route is malformed or taken.
        """
        key = normal_route(route)
        if key in self._directories or key in self._agents or (key and key in OWN_PATHS):
            raise ValueError(f"the route {route!r} is taken")
        before, self._directories = (
            self._directories,
            {
                **self._directories,
                key: os.fspath(directory),
            },
        )
        try:
            self._rest = self._stacked()
        except ValueError:
            self._directories = before
            raise

    def _stacked(self) -> WSGIApplication:
        app: WSGIApplication = self._answer_rest
        for route, directory in sorted(self._directories.items()):
            app = StaticFiles(app, directory, route)
        state = PerProcessState(self._unshared, allowed=self._settings.allow_per_process_state)
        return stack(
            app,
            self._settings,
            headers=AGENT_HEADERS,
            store=self._store,
            open_to_all=lambda inner: PerProcessGuard(
                HealthEndpoints(inner, "", self._is_ready), state, exempt=("/health", "/health/")
            ),
        )

    def _unshared(self) -> set[str]:
        found = {each for agent in self._agents.values() for each in unshared(agent)}
        if self._settings.rate_limit is not None:
            found.update(unshared_store(self._store))
        return found

    def _is_ready(self) -> bool:
        return all(agent.is_ready() for agent in self._agents.values())

    def _answer_rest(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path in ("/ready", "/ready/") and not self._is_ready():
            return respond_json(environ, start_response, 503, {"status": "not ready"})
        if not self._listing or path not in ("", "/"):
            status, error, reason, headers = 404, "Not found", "not_found", []
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status, error, reason = 405, "Method not allowed", "method_not_allowed"
            headers = [("Allow", "GET, HEAD")]
        else:
            agents = [
                {"name": agent.name, "route": route} for route, agent in self.get_agents().items()
            ]
            listing = {"service": "swaig-wsgi", "agents": agents}
            return respond_json(environ, start_response, 200, listing)
        return refuse(
            environ,
            start_response,
            status,
            error,
            event="request_refused",
            reason=reason,
            headers=headers,
        )
