from __future__ import annotations

import pytest

from swaig_wsgi.agent import dev_server as development
from swaig_wsgi.agent import serving
from swaig_wsgi.agent.app import AgentApp
from swaig_wsgi.config import ConfigurationError


@pytest.fixture
def served(monkeypatch):
    calls = []

    def run_simple(host, port, app, **options):
        calls.append((host, port, app, options["ssl_context"]))

    monkeypatch.setattr(development, "run_simple", run_simple)
    return calls


def plain(environ, start_response):
    raise NotImplementedError


@pytest.mark.parametrize(
    ("asked", "variables", "expected"),
    [
        ((), {}, ("127.0.0.1", 3000)),
        ((), {"PORT": "8080"}, ("127.0.0.1", 8080)),
        (("0.0.0.0", 0), {"PORT": "8080"}, ("0.0.0.0", 0)),
    ],
)
def test_any_application_is_served_on_loopback_unless_asked(
    served, monkeypatch, asked, variables, expected
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    serving.serve_application(plain, *asked)
    assert served == [(*expected, plain, None)]


@pytest.mark.parametrize(
    ("asked", "expected"), [((), ("192.0.2.1", 4000)), (("127.0.0.1", 0), ("127.0.0.1", 0))]
)
def test_an_agent_serves_itself(served, asked, expected):
    class Agent(AgentApp):
        def run(self, host=None, port=None):
            self.ran = True
            super().run(host, port)

    agent = Agent("a", host="192.0.2.1", port=4000)
    serving.serve_application(agent, *asked)
    assert agent.ran
    assert served == [(*expected, agent, None)]


def test_nothing_is_served_under_wrong_settings(served, monkeypatch):
    monkeypatch.setenv("SWML_SSL_ENABLED", "true")
    with pytest.raises(ConfigurationError, match="SWML_SSL_CERT_PATH"):
        serving.serve_application(plain)
    assert served == []
