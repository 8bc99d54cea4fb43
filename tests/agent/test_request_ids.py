"""Request ids of an agent."""

from __future__ import annotations

import pytest
from support.wsgi import request

from swaig_wsgi import AgentApp, Settings, harden

SANE = [
    "12345678",
    "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "a" * 128,
    "edge:eu_west.1~a+b",
]
UNSAFE = [
    "",
    "1234567",
    "a" * 129,
    "two words",
    "first-id,second-id",
    "line\r\nbreak-break",
    "nul\x00nul-nul",
    "<script>alert(1)</script>",
    "reason=forged client=1.2.3.4",
    "../../etc/passwd",
    "ünïcödé-id",
    "12345678\n",
]


@pytest.mark.parametrize("wrap", [lambda app: app, harden], ids=["agent", "hardened agent"])
@pytest.mark.parametrize("path", ["/", "/swaig", "/health", "/ready", "/nothing", "//"])
def test_every_response_of_an_agent_has_one_id(wrap, path):
    agent = AgentApp("records", basic_auth=("user", "a-long-password"), settings=Settings())
    for auth in (None, ("user", "a-long-password")):
        for method in ("GET", "POST", "OPTIONS", "HEAD"):
            response = request(wrap(agent), method, path, auth=auth, HTTP_X_REQUEST_ID="12345678")
            assert response.headers.get_all("X-Request-Id") == ["12345678"]
