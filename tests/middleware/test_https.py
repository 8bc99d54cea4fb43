from __future__ import annotations

import logging

import pytest
from support.wsgi import Recorder, check_delegates, environ, request

from swaig_wsgi import Settings, harden
from swaig_wsgi.middleware import HTTPSMiddleware, TrustedProxyMiddleware

PROXY = "10.0.0.1"


def fetch(app, scheme="http", path="/", method="GET", **extra):
    return request(app, method, path, wsgi_url_scheme=scheme, **extra)


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_plain_http_is_refused_and_never_redirected(method, caplog):
    response = fetch(HTTPSMiddleware(Recorder()), method=method)
    assert response.status == 403
    assert response.json == {"error": "Forbidden: https required"}
    assert "Location" not in response.headers
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("swaig_wsgi.security", logging.WARNING)
    assert (record.event, record.reason) == ("https_refused", "plain_http")
    for variable in ("SWML_TRUSTED_PROXIES", "SWML_SSL_CERT_PATH", "SWML_ENFORCE_HTTPS"):
        assert variable in record.getMessage()


def test_https_reaches_the_application():
    assert fetch(HTTPSMiddleware(Recorder(b"inner")), "https").body == b"inner"


def test_a_refusal_of_head_has_no_body():
    response = fetch(HTTPSMiddleware(Recorder()), method="HEAD")
    assert (response.status, response.body) == (403, b"")


@pytest.mark.parametrize("scheme", ["", "HTTP", "HTTPS", "wss", "https,http"])
def test_any_other_scheme_is_refused(scheme):
    assert (
        request(HTTPSMiddleware(Recorder()), validate=False, wsgi_url_scheme=scheme).status == 403
    )


FORGED = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Protocol": "ssl",
    "X-Forwarded-Ssl": "on",
    "X-Forwarded-Scheme": "https",
    "Forwarded": "for=192.0.2.7;proto=https",
    "X-Url-Scheme": "https",
    "Front-End-Https": "on",
}


def test_attack_no_field_of_an_untrusted_peer_counts_as_https():
    inner = HTTPSMiddleware(Recorder())
    for app in (inner, TrustedProxyMiddleware(inner, [PROXY])):
        assert fetch(app, headers=FORGED, REMOTE_ADDR="203.0.113.9").status == 403


def test_a_trusted_proxy_reports_the_scheme():
    app = TrustedProxyMiddleware(HTTPSMiddleware(Recorder()), [PROXY])

    def status(proto):
        headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": proto}
        return fetch(app, headers=headers, REMOTE_ADDR=PROXY).status

    assert status("https") == 200
    # The client may have sent the first entry, and the proxy appended the second.
    for proto in ("http", "https, http", "", "HTTPS-ish"):
        assert status(proto) == 403


def test_a_proxy_that_speaks_tls_to_us_passes_on_what_the_client_spoke():
    app = TrustedProxyMiddleware(HTTPSMiddleware(Recorder()), [PROXY])
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http"}
    assert fetch(app, "https", headers=headers, REMOTE_ADDR=PROXY).status == 403


def test_exempt_paths_are_served_over_plain_http():
    app = HTTPSMiddleware(Recorder(), exempt=("/health", "/.well-known/*"))
    assert fetch(app, path="/health").status == 200
    assert fetch(app, path="/.well-known/acme-challenge/x").status == 200
    for path in ("/health/", "//health", "/.well-known/../swaig", "/"):
        assert fetch(app, path=path).status == 403
    with pytest.raises(ValueError, match="'health'"):
        HTTPSMiddleware(Recorder(), exempt=("health",))


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_iterable_and_start_response_are_passed_through(scheme):
    made = environ("GET", "/open", wsgi_url_scheme=scheme)
    before = dict(made)
    check_delegates(lambda app: HTTPSMiddleware(app, exempt=("/open",)), made)
    assert made == before


@pytest.mark.installed
def test_health_of_an_agent_needs_neither_https_nor_an_allowed_client():
    from swaig_wsgi import AgentApp, AgentServer

    settings = Settings(ssl_enabled=True, allowed_clients=["192.0.2.0/24"])
    agent, server = AgentApp("a", settings=settings), AgentServer(settings=settings)
    for app in (agent, server):
        for path in ("/health", "/ready"):
            assert fetch(app, path=path, REMOTE_ADDR="203.0.113.9").status == 200
        for path in ("/", "/health/..", "//health"):
            response = fetch(app, path=path, REMOTE_ADDR="203.0.113.9")
            assert response.json == {"error": "Forbidden: https required"}
            response = fetch(app, "https", path=path, REMOTE_ADDR="203.0.113.9")
            assert response.json == {"error": "Forbidden: client not allowed"}


def test_enforced_https_is_refused_behind_a_proxy_that_is_not_trusted(caplog):
    app = harden(Recorder(), Settings(ssl_enabled=True))
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    assert fetch(app, headers=headers, REMOTE_ADDR=PROXY).status == 403
    assert "SWML_TRUSTED_PROXIES" in caplog.text
