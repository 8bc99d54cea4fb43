"""The agents in an application, and what only they know: tools, names, settings in code."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any
from urllib.parse import quote

from ..config import ConfigurationError, Settings
from ..core._strength import is_guessable
from ..core.redaction import escape_control
from ..core.urls import PATH_SAFE
from ..middleware._hardened import settings_of_outermost
from ..middleware.auth import AuthHandler, AuthMiddleware
from ..middleware.body_size import BodySizeMiddleware
from ..middleware.rate_limit import RateLimitMiddleware
from ..middleware.signatures import WebhookSignatureMiddleware
from ..sessions import SessionManager
from ._credentials import guessable_finding, handler_findings
from ._findings import Finding, finding
from ._sources import safe_reason

#: Objects that a search looks at: those nearest to the application first.
_MAX_SEARCHED = 20_000
_LEAVES = (type, ModuleType, str, bytes, int, float, Settings)


def find_agents(application: Any, module: str = "") -> list[Any]:
    """Return the agents that `application` serves, as far as its attributes show them.

    Args:
        application: a WSGI application, or middleware, a dispatcher or a framework's around one.
        module: the module of the application, whose global variables are searched, too.
    """
    return Parts.of(application, module).agents


@dataclass(frozen=True)
class Parts:
    """What is found in an application."""

    #: Every ``AgentApp``, by route.
    agents: list[Any]
    #: Outside of agents, the settings of ``harden``, and the layers that limit and authenticate.
    hardened: list[Settings]
    #: The settings of each ``AgentServer``, which hold for its own responses.
    servers: list[Settings]
    limits: list[RateLimitMiddleware]
    sizes: list[BodySizeMiddleware]
    handlers: list[AuthHandler]
    authenticated: list[AuthMiddleware]
    signed: list[WebhookSignatureMiddleware]
    sessions: list[SessionManager]

    @staticmethod
    def of(application: Any, module: str = "") -> Parts:
        """Search `application`, and the global variables of `module`."""
        # These exist only if their modules are loaded; imported here, they would need Werkzeug.
        agent_class, server_class = _loaded("app", "AgentApp"), _loaded("server", "AgentServer")
        found = list(_search(application, vars(sys.modules.get(module, object)), agent_class))

        def chosen(kind: Any) -> list[Any]:
            # Not isinstance(): of a proxy, that asks the object behind it.
            return [each for each in found if issubclass(type(each), kind)]

        def settings_in(objects: Iterable[Any]) -> list[Settings]:
            return [each for each in map(settings_of_outermost, objects) if each is not None]

        servers = settings_in(
            each
            for server in chosen(server_class)
            for each in _search(server._own, {}, agent_class)
        )
        return Parts(
            sorted(chosen(agent_class), key=lambda agent: (agent.route, agent.name)),
            [each for each in settings_in(found) if not any(each is own for own in servers)],
            servers,
            chosen(RateLimitMiddleware),
            chosen(BodySizeMiddleware),
            chosen(AuthHandler),
            chosen(AuthMiddleware),
            chosen(WebhookSignatureMiddleware),
            chosen(SessionManager),
        )

    def limits_platform(self, limit: int | None) -> bool:
        """Return whether a layer with this limit counts requests of the platform.

        These are requests to endpoints of agents, and to what asks for credentials.
        """
        paths = {"/swaig", *endpoint_paths(self.agents, "")}
        paths.update(
            path or "/" for each in self.authenticated for path in each._scope.paths.protect
        )
        return any(
            each.policy.limit == limit and each.scope.covers("POST", path)
            for each in self.limits
            for path in paths
        )


def _loaded(module: str, name: str) -> Any:
    """Return a class of agents, or what no object is an instance of if it is not loaded."""
    loaded = sys.modules.get(f"{__package__.rpartition('.')[0]}.agent.{module}")
    return () if loaded is None else getattr(loaded, name)


def _search(application: Any, variables: Mapping[str, Any], leaf: Any) -> Iterator[Any]:
    """Yield what `application` and `variables` refer to, without what a `leaf` does."""
    seen: dict[int, Any] = {}
    waiting = deque([application, *variables.values()])
    while waiting and len(seen) < _MAX_SEARCHED:
        each = waiting.popleft()
        if id(each) in seen or issubclass(type(each), _LEAVES):
            continue
        seen[id(each)] = each  # kept, so that no other object gets its id
        yield each
        if not issubclass(type(each), leaf):
            waiting.extend(_inside(each))


def _inside(value: Any) -> Iterator[Any]:
    kind = type(value)
    if issubclass(kind, dict):
        yield from list(value.values())
    elif issubclass(kind, (list, tuple, set, frozenset)):
        yield from list(value)
    elif kind is partial:
        yield from (value.func, value.args, value.keywords)
    elif kind is MethodType:
        yield from (value.__self__, value.__func__)
    elif kind is FunctionType:
        for cell in value.__closure__ or ():
            with contextlib.suppress(ValueError):  # not assigned yet
                yield cell.cell_contents
        yield from (value.__defaults__, value.__kwdefaults__)
        for name in value.__code__.co_names:
            yield value.__globals__.get(name)
    else:
        # Not getattr(): a proxy, such as Flask's, may fail outside of a request.
        with contextlib.suppress(AttributeError):
            yield from list(object.__getattribute__(value, "__dict__").values())


def agent_findings(agents: Iterable[Any]) -> Iterator[Finding]:
    """Yield the facts about the tools of agents, and a finding for each name of several."""
    by_name: dict[str, list[str]] = {}
    for agent in agents:
        by_name.setdefault(agent.name, []).append(agent.route or "/")
        here = [tool for tool in agent.tools if tool.call is not None]
        insecure = [tool.name for tool in here if not tool.secure]
        if insecure:
            text = f"The agent {agent.name!r} has tools that are not secure: {', '.join(insecure)}."
            yield finding("I002", text + " A request with the password needs no token of a call.")
        repeated = [tool.name for tool in here if tool.secure and tool.once is None]
        if repeated:
            text = f"The agent {agent.name!r} has secure tools that are not once: "
            yield finding(
                "I003", f"{text}{', '.join(repeated)}. A repeated request runs them again."
            )
        kept = [tool.name for tool in here if tool.once is not None or tool.max_runs is not None]
        if kept and (agent.settings.storage_url or "memory:").startswith("memory:"):
            text = f"The agent {agent.name!r} has tools with once or max_runs: {', '.join(kept)}. "
            yield finding("W034", text + "What they remember is lost when the server restarts.")
    for name, routes in by_name.items():
        if len(routes) > 1:
            where = f"at {', '.join(routes)}"
            text = f"{len(routes)} agents have the name {name!r}, {where}: with one secret, tokens "
            yield finding("E010", text + "and claims of one are valid for the other.")


def document_findings(agents: Iterable[Any], environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding for each agent whose document cannot be rendered.

    The application's callbacks are not called: they may have effects, or need a real request.
    """
    for agent in agents:
        try:
            agent.render_swml()
        except Exception as error:
            reason = escape_control(safe_reason(error, environ))
            text = f"The document of the agent {agent.name!r} cannot be rendered"
            if agent._customizes_requests:
                text += " without what configures it for each request"
            yield finding("E011", f"{text}: {reason}")


def effective_settings(agent: Any) -> tuple[Settings, set[str]]:
    """Return the settings of an agent with the credentials that it got in code.

    Also return the ids of findings that do not apply, because it got another secret in code.
    """
    settings, excluded = agent.settings, set()
    user, password, source = agent.get_basic_auth_credentials(True)
    if source == "provided":
        excluded.add("swaig.W001")
        # Not every password can be in a variable.
        with contextlib.suppress(ConfigurationError):
            settings = replace(settings, basic_auth_user=user, basic_auth_password=password)
    if not agent.sessions.generated:
        excluded.add("swaig.W021")
    if agent._signing_keys is not None:
        excluded.add("swaig.W023")
    return settings, excluded


def found_findings(agents: Iterable[Any]) -> Iterator[Finding]:
    """Yield how many agents were found: others would not be judged."""
    names = [f"{agent.name!r} at {agent.route or '/'}" for agent in agents]
    yield finding("I007", f"Agents found: {len(names)}{': ' if names else ''}{', '.join(names)}.")


def code_findings(parts: Parts) -> Iterator[Finding]:
    """Yield findings on credentials, secrets and keys that an application has in code."""
    handlers = [agent._auth for agent in parts.agents if agent._auth is not None]
    for handler in (*handlers, *parts.handlers):
        yield from handler_findings(handler)
    line = 'secret_key=os.environ["SIGNALWIRE_SWAIG_SECRET"]'
    for agent in parts.agents:
        if agent._secret_is_guessable:
            yield guessable_finding(f"secret_key of the agent {agent.name!r}", line)
    if any(sessions._guessable for sessions in parts.sessions):
        yield guessable_finding("A key of a SessionManager", line)
    owners = [(agent._signing_keys, f" of the agent {agent.name!r}") for agent in parts.agents]
    owners += [(layer._signing_keys, " of a WebhookSignatureMiddleware") for layer in parts.signed]
    for keys, owner in owners:
        if any(map(is_guessable, keys or ())):
            line = 'signing_key=os.environ["SIGNALWIRE_SIGNING_KEY"]'
            yield guessable_finding(f"signing_key{owner}", line)


def endpoint_paths(agents: Iterable[Any], url_path: str) -> list[str]:
    """Return the paths at which agents serve requests with credentials.

    Args:
        url_path: the path of a URL of one of the agents, or of the server of all.
    """
    agents = list(agents)
    prefix = url_path.rstrip("/")
    routes = [quote(agent.route, safe=PATH_SAFE) for agent in agents]
    prefix = prefix.removesuffix(max(filter(prefix.endswith, routes), key=len, default=""))
    paths = ("", "/swaig", "/post_prompt", "/debug_events", "/metrics")
    return [
        f"{prefix}{route}{path}" or "/"
        for agent, route in zip(agents, routes)
        for path in (*paths, *(quote(path, safe=PATH_SAFE) for path in agent._routing_callbacks))
    ]


def uses_store(agents: Iterable[Any]) -> bool:
    """Return whether an agent keeps in its store what must be kept once."""
    return any(
        agent.sessions.keeps_metadata
        or any(tool.once is not None or tool.max_runs is not None for tool in agent.tools)
        for agent in agents
    )
