from __future__ import annotations

import json
import logging
import ssl
import urllib.request
from pathlib import Path

import pytest
from support.wsgi import request

from swaig_wsgi import Settings, harden
from swaig_wsgi.middleware import TrustedProxyMiddleware

APP = "swaig_wsgi.examples.basic:app"
CERTS = Path(__file__).parents[1] / "certs"
PROXY = "127.0.0.1"
ALARM = "SWML_SSL_ENABLED is set, but a request came over plain HTTP"


def site(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.url_scheme"].encode()]


def ask(app, scheme="http", **extra):
    response = request(app, "GET", "/health", wsgi_url_scheme=scheme, REMOTE_ADDR=PROXY, **extra)
    assert response.status == 200
    return response.body


def alarms(caplog):
    return [record for record in caplog.records if record.getMessage().startswith(ALARM)]


def hardened(settings):
    return harden(site, settings)


def agent(settings):
    from swaig_wsgi import AgentApp

    return AgentApp("a", settings=settings)


@pytest.mark.parametrize("make", [hardened, pytest.param(agent, marks=pytest.mark.installed)])
def test_plain_http_is_an_alarm_where_the_service_is_to_speak_tls(caplog, make):
    app = make(Settings(ssl_enabled=True))
    ask(app, "https")
    assert alarms(caplog) == []
    for _ in range(3):
        ask(app)
    (alarm,) = alarms(caplog)
    assert alarm.levelno == logging.ERROR
    assert "SWML_SSL_CERT_PATH" in alarm.getMessage()


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(ssl_domain="agent.example.com"),
        Settings(ssl_enabled=True, trusted_proxies=(PROXY,)),
    ],
    ids=["without TLS", "TLS that ends elsewhere", "behind a trusted proxy"],
)
def test_plain_http_is_no_alarm_elsewhere(caplog, settings):
    assert ask(hardened(settings)) == b"http"
    assert alarms(caplog) == []


def test_a_proxy_that_is_trusted_outside_counts(caplog):
    app = TrustedProxyMiddleware(harden(site, Settings(ssl_enabled=True)), [PROXY])
    assert ask(app, HTTP_X_FORWARDED_PROTO="https", HTTP_X_FORWARDED_FOR="192.0.2.7") == b"https"
    assert alarms(caplog) == []


def test_a_server_without_its_tls_options_logs_an_alarm(gunicorn):
    missing = {"SWML_SSL_CERT_PATH": "/nowhere/cert.pem", "SWML_SSL_KEY_PATH": "/nowhere/key.pem"}
    server = gunicorn(APP, SWML_SSL_ENABLED="true", **missing)
    for _ in range(2):
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health") as response:
            assert json.load(response) == {"status": "ok"}
    server.wait_for_log(ALARM)
    assert server.log.count(ALARM) == 1


def test_a_server_with_its_tls_options_does_not(gunicorn):
    server = gunicorn(
        APP,
        "--config=python:swaig_wsgi.gunicorn",
        SWML_SSL_ENABLED="true",
        SWML_SSL_CERT_PATH=str(CERTS / "cert.pem"),
        SWML_SSL_KEY_PATH=str(CERTS / "key.pem"),
    )
    context = ssl.create_default_context(cafile=CERTS / "cert.pem")
    url = f"https://localhost:{server.port}/health"
    with urllib.request.urlopen(url, context=context) as response:
        assert json.load(response) == {"status": "ok"}
    assert ALARM not in server.log
