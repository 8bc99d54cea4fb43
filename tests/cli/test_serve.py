"""Where ``serve`` listens, and with which settings; test_main.py serves for real."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from swaig_wsgi.agent import dev_server
from swaig_wsgi.agent.app import AgentApp
from swaig_wsgi.cli._errors import CommandError
from swaig_wsgi.cli._serve import serve


@pytest.fixture
def served(monkeypatch):
    calls = []

    def make_server(host, port, app, **options):
        calls.append((host, port, app, options["ssl_context"]))
        return SimpleNamespace(port=port, log_startup=lambda: None, serve_forever=lambda: None)

    monkeypatch.setattr(dev_server, "make_server", make_server)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return calls


@pytest.fixture
def application(monkeypatch):
    """Return the ``MODULE:APP`` of an application."""

    def name(app):
        monkeypatch.setitem(sys.modules, "served_module", SimpleNamespace(app=app))
        return "served_module:app"

    return name


def plain(environ, start_response):
    raise NotImplementedError


@pytest.mark.parametrize(
    ("options", "variables", "expected"),
    [
        ({}, {}, ("127.0.0.1", 3000)),
        ({}, {"PORT": "8080"}, ("127.0.0.1", 8080)),
        ({"host": "0.0.0.0", "port": 0}, {"PORT": "8080"}, ("0.0.0.0", 0)),  # noqa: S104 - only compared or bound by this test
    ],
)
def test_any_application_is_served_on_loopback_by_default(
    served, application, monkeypatch, options, variables, expected
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert serve(application(plain), **options) == 0
    assert served == [(*expected, plain, None)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, ("192.0.2.1", 4000)), ({"host": "127.0.0.1", "port": 0}, ("127.0.0.1", 0))],
)
def test_an_agent_serves_itself(served, application, options, expected):
    class Agent(AgentApp):
        def run(self, host=None, port=None):
            self.ran = True
            super().run(host, port)

    agent = Agent("a", host="192.0.2.1", port=4000)
    assert serve(application(agent), **options) == 0
    assert agent.ran
    assert served == [(*expected, agent, None)]


def test_nothing_is_served_under_invalid_settings(served, application, monkeypatch):
    monkeypatch.setenv("SWML_SSL_ENABLED", "true")
    with pytest.raises(CommandError, match="SWML_SSL_CERT_PATH"):
        serve(application(plain))
    assert served == []
