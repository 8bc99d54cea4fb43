"""Connections whose clients decide what to send, and when, to our configuration of gunicorn."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path

from support.waiting import PATIENCE
from support.wsgi import basic

APP = "swaig_wsgi.examples.basic:app"
CONFIG = ("-c", "python:swaig_wsgi.gunicorn")
CERTS = Path(__file__).parents[1] / "certs"
TLS = {
    "SWML_SSL_ENABLED": "true",
    "SWML_SSL_CERT_PATH": str(CERTS / "cert.pem"),
    "SWML_SSL_KEY_PATH": str(CERTS / "key.pem"),
}
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
AUTH = f"Authorization: {basic('demo', 'p@ss:w/ö')}\r\n".encode()


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def connect(port: int, tls: bool, source: str = "127.0.0.1") -> socket.socket:
    plain = socket.create_connection(
        ("127.0.0.1", port), timeout=PATIENCE, source_address=(source, 0)
    )
    return client_context().wrap_socket(plain) if tls else plain


def client_hello() -> bytes:
    """Return what a TLS client sends first."""
    outgoing = ssl.MemoryBIO()
    connection = client_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()
