"""The development server, over real sockets."""

from __future__ import annotations

import http.client
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

from swaig_wsgi import AgentApp, ConfigurationError

CERTS = Path(__file__).parent.parent / "certs"


def test_run_serves_and_prints_its_address(serve_command: Any) -> None:
    program = (
        "from swaig_wsgi import AgentApp\n"
        "app = AgentApp('bank', basic_auth=('a', 'b'))\n"
        "app.run('127.0.0.1', port=0)\n"
    )
    server = serve_command(
        [sys.executable, "-c", program], listening=r"Running on http://127\.0\.0\.1:(\d+)"
    )
    assert server.request("GET", "/", auth=("a", "b")).status == 200
    assert server.request("GET", "/", auth=None).status == 401
    assert (
        server.request(
            "POST",
            "/",
            [b'{"call_', b'id": "x"}'],
            {"Content-Type": "application/json"},
            auth=("a", "b"),
            chunked=True,
        ).status
        == 200
    )


def test_run_serves_tls(serve_command: Any) -> None:
    program = (
        "from swaig_wsgi import AgentApp\n"
        "app = AgentApp('bank', basic_auth=('a', 'b'))\n"
        "app.run('127.0.0.1', port=0)\n"
    )
    server = serve_command(
        [sys.executable, "-c", program],
        {
            "SWML_SSL_ENABLED": "true",
            "SWML_SSL_CERT_PATH": str(CERTS / "cert.pem"),
            "SWML_SSL_KEY_PATH": str(CERTS / "key.pem"),
        },
        listening=r"Running on https://127\.0\.0\.1:(\d+)",
    )
    context = ssl.create_default_context(cafile=str(CERTS / "cert.pem"))
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=60, context=context)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        assert response.status == 200
        assert response.getheader("Strict-Transport-Security", "").startswith("max-age=")
        response.read()
    finally:
        connection.close()


def test_run_raises_for_a_missing_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWML_SSL_ENABLED", "true")
    monkeypatch.setenv("SWML_SSL_CERT_PATH", "/nowhere/cert.pem")
    monkeypatch.setenv("SWML_SSL_KEY_PATH", str(CERTS / "key.pem"))
    with pytest.raises(ConfigurationError, match=r"SWML_SSL_CERT_PATH.*/nowhere/cert\.pem"):
        AgentApp("bank").run("127.0.0.1")


@pytest.mark.parametrize(
    "line",
    [
        b"GET /swaig?__token=c2VjcmV0 HTTP/1.1",
        b"GET /swaig?a=1&%5f%5Ftoken=c2VjcmV0 HTTP/1.1",
        b"GET /swaig?__%74oken=c2VjcmV0 HTTP/1.1",
        b"GET http://a:c2VjcmV0@127.0.0.1/ HTTP/1.1",
        b"GET /swaig?__token=c2VjcmV0 and more HTTP/1.1",
        b"GET /swaig?__token=c2VjcmV0 HTTP/7.5",
        b"GET /swaig?__token=c2VjcmV0",
    ],
)
def test_the_log_contains_no_token(serve_command: Any, line: bytes) -> None:
    program = (
        "from swaig_wsgi import AgentApp\n"
        "AgentApp('bank', basic_auth=('a', 'b')).run('127.0.0.1', port=0)\n"
    )
    server = serve_command(
        [sys.executable, "-c", program], listening=r"Running on http://127\.0\.0\.1:(\d+)"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(line + b"\r\nHost: 127.0.0.1\r\n\r\n")
        while connection.recv(4096):
            pass
    server.request("GET", "/the-end")
    server.wait_for_log("the-end")
    assert "****" in server.log
    assert "c2VjcmV0" not in server.log
