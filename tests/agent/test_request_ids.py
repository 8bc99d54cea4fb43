"""Request ids of an agent."""

from __future__ import annotations

import pytest
from support.wsgi import request

from swaig_wsgi import AgentApp, Settings, harden


@pytest.mark.parametrize("wrap", [lambda app: app, harden], ids=["agent", "hardened agent"])
@pytest.mark.parametrize("path", ["/", "/swaig", "/health", "/ready", "/nothing", "//"])
def test_every_response_of_an_agent_has_one_id(wrap, path):
    agent = AgentApp("records", basic_auth=("user", "a-long-password"), settings=Settings())
    for auth in (None, ("user", "a-long-password")):
        for method in ("GET", "POST", "OPTIONS", "HEAD"):
            response = request(wrap(agent), method, path, auth=auth, HTTP_X_REQUEST_ID="12345678")
            assert response.headers.get_all("X-Request-Id") == ["12345678"]
