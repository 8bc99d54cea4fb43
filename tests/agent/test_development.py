"""The server for development, over real sockets."""

from __future__ import annotations

import http.client
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

from swaig_wsgi import AgentApp, ConfigurationError

CERTS = Path(__file__).parent.parent / "certs"


def test_run_serves_and_says_where(serve_command: Any) -> None:
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
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=context)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        assert response.status == 200
        assert response.getheader("Strict-Transport-Security", "").startswith("max-age=")
        response.read()
    finally:
        connection.close()


def test_run_refuses_tls_without_a_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWML_SSL_ENABLED", "true")
    monkeypatch.setenv("SWML_SSL_CERT_PATH", "/nowhere/cert.pem")
    monkeypatch.setenv("SWML_SSL_KEY_PATH", str(CERTS / "key.pem"))
    with pytest.raises(ConfigurationError, match=r"SWML_SSL_CERT_PATH.*/nowhere/cert\.pem"):
        AgentApp("bank").run("127.0.0.1")
