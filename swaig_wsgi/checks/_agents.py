"""The agents in an application, and what only they know: tools, names, settings in code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ..config import ConfigurationError, Settings
from ._findings import Finding, finding

#: Where middleware, dispatchers, servers and frameworks keep the applications inside.
_INNER = ("app", "_app", "wsgi_app", "application", "_application", "_wsgi_app", "_agents")
_DISPATCHED = "mounts"


def find_agents(application: Any, module: str = "") -> list[Any]:
    """Return the agents that `application` serves, as far as its attributes show them.

    Args:
        application: a WSGI application, or middleware, a dispatcher or a framework's around one.
        module: the module of the application, whose global variables are searched, too.
    """
    # An agent exists only if this module is loaded; imported here, it would need Werkzeug.
    agents = sys.modules.get(f"{__package__.rpartition('.')[0]}.agent.app")
    if agents is None:
        return []
    found: dict[int, Any] = {}
    seen: set[int] = set()
    waiting = [application, *vars(sys.modules.get(module, object)).values()]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, agents.AgentApp):
            found[id(each)] = each
        else:
            waiting += _inside(each)
    return sorted(found.values(), key=lambda agent: (agent.route, agent.name))


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, (type, str, bytes)):
        return
    # Of a function, its closure; of a bound method, its object.
    for cell in getattr(value, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:
            continue  # not assigned yet
    members = getattr(value, "__dict__", None)
    if isinstance(members, dict):
        for name in (*_INNER, _DISPATCHED):
            inner = members.get(name)
            yield from inner.values() if isinstance(inner, dict) else [inner]
    yield getattr(value, "__self__", None)


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
    for name, routes in by_name.items():
        if len(routes) > 1:
            where = f"at {', '.join(routes)}"
            text = f"{len(routes)} agents have the name {name!r}, {where}: with one secret, tokens "
            yield finding("E010", text + "and claims of one are valid for the other.")


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


def endpoint_paths(agents: Iterable[Any], url_path: str) -> list[str]:
    """Return the paths at which agents serve requests with credentials.

    Args:
        url_path: the path of a URL of one of the agents, or of the server of all.
    """
    agents = list(agents)
    prefix = url_path.rstrip("/")
    route = max((a.route for a in agents if prefix.endswith(a.route)), key=len, default="")
    prefix = prefix.removesuffix(route)
    paths = ("", "/swaig", "/post_prompt", "/debug_events", "/metrics")
    return [
        f"{prefix}{agent.route}{path}" or "/"
        for agent in agents
        for path in (*paths, *agent._routing_callbacks)
    ]


def uses_store(agents: Iterable[Any]) -> bool:
    """Return whether an agent keeps in its store what must be kept once."""
    return any(
        agent.sessions.keeps_metadata
        or any(tool.once is not None or tool.max_runs is not None for tool in agent.tools)
        for agent in agents
    )
