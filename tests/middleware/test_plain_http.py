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
MESSAGE = "SWML_SSL_ENABLED is set, but a request came over plain HTTP"


def site(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.url_scheme"].encode()]


def fetch(app, scheme="http", **extra):
    response = request(app, "GET", "/health", wsgi_url_scheme=scheme, REMOTE_ADDR=PROXY, **extra)
    assert response.status == 200
    return response.body


def errors(caplog):
    return [record for record in caplog.records if record.getMessage().startswith(MESSAGE)]


def hardened(settings):
    return harden(site, settings)


def agent(settings):
    from swaig_wsgi import AgentApp

    return AgentApp("a", settings=settings)


@pytest.mark.parametrize("make", [hardened, pytest.param(agent, marks=pytest.mark.installed)])
def test_plain_http_is_logged_once_where_tls_is_enabled(caplog, make):
    app = make(Settings(ssl_enabled=True))
    fetch(app, "https")
    assert errors(caplog) == []
    for _ in range(3):
        fetch(app)
    (error,) = errors(caplog)
    assert error.levelno == logging.ERROR
    assert "SWML_SSL_CERT_PATH" in error.getMessage()


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(ssl_domain="agent.example.com"),
        Settings(ssl_enabled=True, trusted_proxies=(PROXY,)),
    ],
    ids=["without TLS", "TLS that ends elsewhere", "behind a trusted proxy"],
)
def test_plain_http_is_not_logged_elsewhere(caplog, settings):
    assert fetch(hardened(settings)) == b"http"
    assert errors(caplog) == []


def test_https_reported_by_a_trusted_proxy_is_not_logged(caplog):
    app = TrustedProxyMiddleware(harden(site, Settings(ssl_enabled=True)), [PROXY])
    assert fetch(app, HTTP_X_FORWARDED_PROTO="https", HTTP_X_FORWARDED_FOR="192.0.2.7") == b"https"
    assert errors(caplog) == []


def test_a_server_without_tls_options_logs_an_error(gunicorn):
    missing = {"SWML_SSL_CERT_PATH": "/nowhere/cert.pem", "SWML_SSL_KEY_PATH": "/nowhere/key.pem"}
    server = gunicorn(APP, SWML_SSL_ENABLED="true", **missing)
    for _ in range(2):
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health") as response:
            assert json.load(response) == {"status": "ok"}
    server.wait_for_log(MESSAGE)
    assert server.log.count(MESSAGE) == 1


def test_a_server_with_tls_options_logs_no_error(gunicorn):
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
    assert MESSAGE not in server.log
