"""Fixtures for tests of an agent; see the guide's page on testing.

Enable them in the ``conftest.py`` at the root of your tests::

    pytest_plugins = ["swaig_wsgi.pytest_plugin"]
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ._in_process import local_target
from ._transports import over_http
from .core.hosts import host_patterns, parse_host
from .testing import AgentClient

__all__ = ["agent", "agent_client", "live_agent_client"]


@pytest.fixture
def agent() -> Any:
    """Override it to return the agent under test, or its URL."""
    raise pytest.UsageError("define a fixture `agent` that returns your AgentApp or its URL")


@pytest.fixture
def agent_client(agent: Any) -> AgentClient:
    """Return an :class:`AgentClient` of the fixture ``agent``."""
    return AgentClient(agent)


@pytest.fixture
def live_agent_client(agent: Any) -> Iterator[AgentClient]:
    """Serve the fixture ``agent`` on a free port of 127.0.0.1, and return a client of that URL.

    The agent must be an AgentApp without ``SWML_PROXY_URL_BASE``: with it, the document leads to
    that place.
    """
    from werkzeug.serving import make_server

    if not hasattr(agent, "settings"):
        kind = type(agent).__name__
        raise pytest.UsageError(f"live_agent_client needs an AgentApp as `agent`, not a {kind}")
    if agent.settings.proxy_url_base is not None:
        raise pytest.UsageError("live_agent_client needs an agent without SWML_PROXY_URL_BASE")
    server = make_server("127.0.0.1", 0, agent, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}{agent.route or '/'}"
    target, _ = local_target(agent, None)
    hosts = agent.settings.allowed_hosts
    is_allowed = not hosts or host_patterns(hosts).match(parse_host("127.0.0.1"))
    try:
        client = AgentClient(
            url if is_allowed else target.url, auth=target.auth, signing_key=target.signing_key
        )
        if not is_allowed:  # a host of the agent's own, which does not lead here
            client._send = over_http(None, 60, ("127.0.0.1", server.server_port))
        yield client
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
