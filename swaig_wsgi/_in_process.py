"""Where to find an agent in an application, and what it expects of requests.

An application that is called in process is not told its public host, and a test knows no signing
key. Both are taken from the agent and from the layers around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ._transports import is_below, split_url
from .config import Settings
from .core.hosts import Host, HostPatterns, host_patterns
from .middleware._hardened import settings_of_outermost
from .wsgi._types import WSGIApplication

#: A bound, because an object may make up attributes without end.
_MAX_LAYERS = 50


class Target(NamedTuple):
    """Where to fetch the document, and the credentials and key of an agent in process."""

    url: str
    auth: tuple[str, str] | None = None
    signing_key: str | bytes | None = None


def local_target(app: WSGIApplication, url: str | None) -> tuple[Target, str]:
    """Return where to find the agent in `app`, and the URL of the root of `app`.

    Args:
        app: an agent, a server of agents, either in layers, or any other application.
        url: the URL or the path of the document; by default that of the only agent.

    Raises:
        ValueError: `url` is needed to choose an agent, or is not absolute.
    """
    layers = list(_layers(app))
    agent = _agent_in(layers, url)
    if agent is not None:
        layers.append(agent)
    base = local_base(layers)
    if url is None:
        url = "/" if agent is None else agent.route or "/"
    if url.startswith("/"):
        url = base + url
    elif not is_below(url, base):
        base = split_url(url)._replace(path="", query="", fragment="").geturl()
    base = split_url(base)._replace(netloc=split_url(base).netloc.rpartition("@")[2]).geturl()
    auth = None if agent is None else agent.get_basic_auth_credentials()
    return Target(url, auth, signing_key_of(layers)), base


def local_base(layers: Iterable[Any]) -> str:
    """Return a URL of the root of an application that its layers and its agent accept."""
    settings = [each for layer in layers for each in _settings_of(layer)]
    for each in settings:
        if each.proxy_url_base is not None:
            return str(each.proxy_url_base).rstrip("/")
    scheme = "https" if any(each.requires_https for each in settings) else "http"
    lists = [host_patterns(each.allowed_hosts) for each in settings if each.allowed_hosts]
    candidates = [Host("localhost"), *(host for each in lists for host in _examples(each))]
    allowed = (host for host in candidates if all(each.match(host) for each in lists))
    name = next(allowed, candidates[0]).name
    return f"{scheme}://{f'[{name}]' if ':' in name else name}"


def signing_key_of(layers: Iterable[Any]) -> bytes | None:
    """Return the first key with which a layer or an agent verifies signatures, or None."""
    for each in layers:
        keys = getattr(each, "_signing_keys", None)
        if keys:
            return keys[0]  # type: ignore[no-any-return]
    return None


def layers_and_agent(app: Any, agent: Any) -> list[Any]:
    """Return `app`, the layers in it, and `agent`, which may be mounted in another way."""
    return [*_layers(app), agent]


def _layers(app: Any) -> Iterator[Any]:
    """Yield `app` and the applications inside it, which every middleware keeps as ``app``."""
    for _ in range(_MAX_LAYERS):
        if app is None:
            break
        yield app
        app = getattr(app, "app", None)


def _agent_in(layers: list[Any], url: str | None) -> Any:
    from .agent.app import AgentApp
    from .agent.server import AgentServer

    for each in layers:
        if isinstance(each, AgentApp):
            return each
        if isinstance(each, AgentServer):
            agents = each.get_agents()
            if url is None and len(agents) != 1:
                listed = ", ".join(agents) or "none"
                raise ValueError(f"url= must choose one of the agents: {listed}")
            path = next(iter(agents)) if url is None else urlsplit(url).path
            return agents.get(path.rstrip("/") or "/")
    return None


def _settings_of(layer: Any) -> list[Settings]:
    found = (getattr(layer, name, None) for name in ("settings", "_settings"))
    applied = (*found, settings_of_outermost(layer))
    return [each for each in applied if isinstance(each, Settings)]


def _examples(patterns: HostPatterns) -> Iterator[Host]:
    yield from map(Host, sorted(patterns.names))
    yield from (Host(f"agent.{name}") for name in sorted(patterns.parents))
    yield from (Host(str(each), None, each) for each in patterns.addresses)
