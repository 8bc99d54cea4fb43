"""Allowed clients, enforced HTTPS and HSTS behind gunicorn, over sockets and real TLS."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from support.waiting import PATIENCE
from support.wsgi import basic

APP = "swaig_wsgi.examples.basic:app"
CONFIG = "--config=python:swaig_wsgi.gunicorn"
CERTS = Path(__file__).parent / "certs"
TLS = {
    "SWML_SSL_ENABLED": "true",
    "SWML_SSL_CERT_PATH": str(CERTS / "cert.pem"),
    "SWML_SSL_KEY_PATH": str(CERTS / "key.pem"),
}
HSTS = "Strict-Transport-Security"
PLATFORM = {"SWML_ALLOWED_CLIENTS": "192.0.2.0/24,2001:db8::/32"}
NOT_ALLOWED = (403, {"error": "Forbidden: client not allowed"})
NOT_HTTPS = (403, {"error": "Forbidden: https required"})

HARDENED = """
from swaig_wsgi import harden

def site(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b'{"scheme": "%s"}' % environ["wsgi.url_scheme"].encode()]

app = harden(site)
"""


@pytest.fixture(params=["agent", "hardened"])
def application(request: Any, tmp_path: Path) -> tuple[str, str | None]:
    """Return an application, an agent or a hardened one, and its directory."""
    if request.param == "agent":
        return APP, None
    (tmp_path / "hardened.py").write_text(HARDENED)
    return "hardened:app", str(tmp_path)


def outcome(response: Any) -> tuple[int, Any]:
    return response.status, response.json


class UnixConnection(http.client.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("agent.example.com", timeout=PATIENCE)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self.path))


def get(connection: http.client.HTTPConnection, path: str = "/", **headers: str) -> int:
    with contextlib.closing(connection):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers={"Authorization": CREDENTIALS, **named})
        return connection.getresponse().status


CREDENTIALS = basic("demo", "p@ss:w/ö")

FORGED_ADDRESSES = [
    {"X-Forwarded-For": "192.0.2.7"},
    {"X-Real-IP": "192.0.2.7"},
    {"Forwarded": "for=192.0.2.7"},
    {"X-Client-IP": "192.0.2.7"},
    {"CF-Connecting-IP": "192.0.2.7"},
    {"True-Client-IP": "192.0.2.7"},
    {"Remote-Addr": "192.0.2.7"},
    {"X-Forwarded-For": "2001:db8::1"},
    {"X-Forwarded-For": "::ffff:192.0.2.7"},
]


@pytest.mark.parametrize("trust", [{}, {"SWML_TRUSTED_PROXIES": "10.0.0.1"}], ids=["none", "other"])
def test_attack_forged_addresses_do_not_pass_the_allowlist(
    gunicorn: Any, application: tuple[str, str | None], trust: dict[str, str]
) -> None:
    app, cwd = application
    server = gunicorn(app, CONFIG, cwd=cwd, **PLATFORM, **trust)
    for forged in FORGED_ADDRESSES:
        assert outcome(server.request("GET", "/", headers=forged)) == NOT_ALLOWED
    assert outcome(server.request("POST", "/swaig", {"function": "x"})) == NOT_ALLOWED
    assert "client_refused reason=client_not_allowed client=127.0.0.1" in server.log
    if cwd is None:
        assert server.request("GET", "/health", auth=None).status == 200
        assert server.request("GET", "/ready", auth=None).status == 200


def test_an_allowlist_behind_a_trusted_proxy(gunicorn: Any) -> None:
    server = gunicorn(APP, CONFIG, SWML_TRUSTED_PROXIES="127.0.0.1", **PLATFORM)

    def status(chain: str) -> int:
        code: int = server.request("GET", "/", headers={"X-Forwarded-For": chain}).status
        return code

    assert status("192.0.2.7") == 200
    assert status("203.0.113.9, 192.0.2.7") == 200
    assert status("2001:DB8::1") == 200
    assert status("::ffff:192.0.2.7") == 200
    for chain in ("192.0.2.7, 203.0.113.9", "192.0.2.7, unknown", "192.0.2.7%eth0", "192.0.2.7,"):
        assert status(chain) == 403
    # The proxy's own requests, and those without the field.
    assert server.request("GET", "/").status == 403


def test_an_ipv4_client_of_an_ipv6_socket_counts_as_ipv4(gunicorn: Any) -> None:
    # Its REMOTE_ADDR is "::ffff:127.0.0.1", as on a socket that serves both versions.
    mapped = "--bind=[::ffff:127.0.0.1]:0"
    server = gunicorn(APP, CONFIG, mapped, SWML_ALLOWED_CLIENTS="127.0.0.1")
    assert server.request("GET", "/").status == 200
    found = re.search(r"ffff:127\.0\.0\.1\]:(\d+)", server.log)
    assert found is not None
    port = int(found[1])
    assert get(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) == 200


def test_clients_behind_a_unix_socket_are_refused_unless_it_is_trusted(
    gunicorn: Any, tmp_path: Path
) -> None:
    for number, trust in enumerate(({}, {"SWML_TRUSTED_PROXIES": "unix"})):
        path = tmp_path / f"{number}.sock"
        server = gunicorn(APP, CONFIG, f"--bind=unix:{path}", **PLATFORM, **trust)
        expected = 200 if trust else 403
        assert get(UnixConnection(path), X_Forwarded_For="192.0.2.7") == expected
        assert get(UnixConnection(path), X_Forwarded_For="203.0.113.9") == 403
        assert get(UnixConnection(path)) == 403
        assert get(UnixConnection(path), "/health") == 200
        assert "client_refused reason=unknown_client" in server.log


FORGED_SCHEMES = [
    {"X-Forwarded-Proto": "https"},
    {"X-Forwarded-Protocol": "ssl"},
    {"X-Forwarded-Ssl": "on"},
    {"X-Forwarded-Scheme": "https"},
    {"X-Url-Scheme": "https"},
    {"Front-End-Https": "on"},
    {"Forwarded": "for=192.0.2.7;proto=https"},
]


@pytest.mark.parametrize("trust", [{}, {"SWML_TRUSTED_PROXIES": "10.0.0.1"}], ids=["none", "other"])
def test_attack_a_forged_scheme_does_not_pass_as_https(
    gunicorn: Any, application: tuple[str, str | None], trust: dict[str, str]
) -> None:
    app, cwd = application
    server = gunicorn(app, CONFIG, cwd=cwd, SWML_ENFORCE_HTTPS="true", **trust)
    for forged in FORGED_SCHEMES:
        response = server.request("GET", "/", headers=forged)
        assert outcome(response) == NOT_HTTPS
        assert "Location" not in response.headers
        assert HSTS not in response.headers
    assert "SWML_TRUSTED_PROXIES" in server.wait_for_log("https_refused reason=plain_http")
    if cwd is None:
        assert server.request("GET", "/health", auth=None).json == {"status": "ok"}
        assert server.request("GET", "/ready", auth=None).status == 200


def test_a_trusted_proxy_terminates_tls(gunicorn: Any, application: tuple[str, str | None]) -> None:
    app, cwd = application
    variables = {
        "SWML_TRUSTED_PROXIES": "127.0.0.1",
        "SWML_ENFORCE_HTTPS": "true",
        "SWML_USE_HSTS": "true",
        "SWML_HSTS_MAX_AGE": "0",
    }
    server = gunicorn(app, CONFIG, cwd=cwd, **variables)

    def respond(proto: str) -> Any:
        headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": proto}
        return server.request("GET", "/", headers=headers)

    assert respond("https").status == 200
    assert respond("https").headers[HSTS] == "max-age=0"
    for proto in ("http", "https, http", ""):
        assert outcome(respond(proto)) == NOT_HTTPS
        assert HSTS not in respond(proto).headers
    assert outcome(server.request("GET", "/")) == NOT_HTTPS


def test_a_server_without_tls_refuses_everything_but_health(gunicorn: Any) -> None:
    server = gunicorn(APP, **TLS)
    assert outcome(server.request("GET", "/")) == NOT_HTTPS
    assert server.request("GET", "/health", auth=None).json == {"status": "ok"}
    line = server.wait_for_log("https_refused")
    assert "SWML_SSL_CERT_PATH" in line
    assert "SWML_TRUSTED_PROXIES" in line


def test_plain_http_can_be_admitted_where_tls_is_enabled(gunicorn: Any) -> None:
    server = gunicorn(APP, SWML_ENFORCE_HTTPS="false", **TLS)
    response = server.request("GET", "/")
    assert response.status == 200
    assert HSTS not in response.headers


@pytest.mark.parametrize(
    ("variables", "hsts"),
    [
        ({}, "max-age=31536000; includeSubDomains"),
        ({"SWML_HSTS_MAX_AGE": "60"}, "max-age=60; includeSubDomains"),
        ({"SWML_HSTS_MAX_AGE": "0"}, "max-age=0"),
        ({"SWML_USE_HSTS": "false"}, None),
        ({"SWML_USE_HSTS": "false", "SWML_SSL_DOMAIN": "localhost"}, None),
        ({"SWML_SSL_DOMAIN": "localhost"}, "max-age=31536000; includeSubDomains"),
        ({"SWML_SSL_DOMAIN": "other.example", "SWML_USE_HSTS": "true"}, None),
    ],
)
def test_hsts_over_tls(
    gunicorn: Any,
    application: tuple[str, str | None],
    variables: dict[str, str],
    hsts: str | None,
) -> None:
    app, cwd = application
    server = gunicorn(app, CONFIG, cwd=cwd, **TLS, **variables)
    context = ssl.create_default_context(cafile=CERTS / "cert.pem")
    url = f"https://localhost:{server.port}/"
    request = urllib.request.Request(url, headers={"Authorization": CREDENTIALS})
    with urllib.request.urlopen(request, context=context, timeout=PATIENCE) as response:  # noqa: S310 - the test's own server
        assert response.status == 200
        assert response.headers[HSTS] == hsts
    # A refusal has it, too.
    request = urllib.request.Request(url, b"{}", {"Authorization": "Basic x"})
    if app == APP:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, context=context, timeout=PATIENCE)  # noqa: S310 - the test's own server
        with refused.value as response:
            assert (response.status, response.headers[HSTS]) == (401, hsts)
