"""Unread bodies behind a real gunicorn: no part of them is served as a request."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

HEAD = b"POST /swaig HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
SMUGGLED = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
#: Below, at and above the number of bytes read from an unread body, once and twice.
LENGTHS = (65_535, 65_536, 70_000, 100_000, 131_072, 140_000, 1_000_000)
CERTS = Path(__file__).parent.parent / "certs"
SERVERS = {
    "gthread": ["--worker-class=gthread", "--threads=4"],
    "gevent": ["--worker-class=gevent"],
    "ours": ["--worker-class=swaig_wsgi.gunicorn._worker.Worker", "--threads=4"],
    "ours-tls": [
        "--worker-class=swaig_wsgi.gunicorn._worker.Worker",
        "--threads=4",
        f"--certfile={CERTS / 'cert.pem'}",
        f"--keyfile={CERTS / 'key.pem'}",
    ],
    "gthread-tls": [
        "--threads=4",
        f"--certfile={CERTS / 'cert.pem'}",
        f"--keyfile={CERTS / 'key.pem'}",
    ],
}


def request(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def connect(port: int, *, tls: bool) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    if not tls:
        return connection
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection)


def read_statuses(connection: socket.socket) -> list[bytes]:
    received = b""
    with contextlib.suppress(OSError):
        while data := connection.recv(65_536):
            received += data
    return re.findall(rb"HTTP/1\.1 ([0-9]{3})", received)


@pytest.mark.parametrize("kind", SERVERS)
def test_no_request_is_served_after_a_response_that_ends_the_connection(
    gunicorn: Any, tmp_path: Path, kind: str
) -> None:
    """Otherwise a request pipelined behind a refused body is served and its response lost."""
    (tmp_path / "half_open.py").write_text(
        "from swaig_wsgi import AuthHandler\n"
        "def site(environ, start_response):\n"
        "    print('reached', environ['PATH_INFO'], flush=True)\n"
        "    start_response('200 OK', [('Content-Length', '2')])\n"
        "    return [b'ok']\n"
        "app = AuthHandler(bearer_token='t').middleware(site, protect=('/x',))\n"
    )
    options = ("--keep-alive=2", *SERVERS[kind])
    server = gunicorn("half_open:app", *options, cwd=str(tmp_path))
    head = b"POST /x HTTP/1.1\r\nHost: localhost\r\n"
    piece = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    behind = b"GET /behind HTTP/1.1\r\nHost: localhost\r\n\r\n"
    served = 0
    for pieces in (15, 16, 17):
        with connect(server.port, tls=kind.endswith("tls")) as connection:
            chunked = b"Transfer-Encoding: chunked\r\n\r\n" + piece * pieces + b"0\r\n\r\n"
            connection.sendall(head + chunked + behind)
            statuses = read_statuses(connection)
        assert statuses in ([b"401"], [b"401", b"200"])
        served += statuses.count(b"200")
    # Once this request on another connection is served, the others have been served or dropped.
    with connect(server.port, tls=kind.endswith("tls")) as connection:
        connection.sendall(b"GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert read_statuses(connection) == [b"200"]
    server.wait_for_log("reached /last")
    assert server.log.count("reached /behind") == served


@pytest.mark.parametrize("kind", SERVERS)
def test_the_body_of_the_next_request_is_never_parsed_as_a_request(
    gunicorn: Any, kind: str
) -> None:
    """A server that reads the head of the next request as part of a body parses its body next.

    An attacker could then smuggle a request whose response another client receives, through a
    proxy that shares connections or through a browser that runs a page of the attacker.
    """
    server = gunicorn("swaig_wsgi.examples.basic:app", "--keep-alive=2", *SERVERS[kind])
    for length in LENGTHS:
        with connect(server.port, tls=kind.endswith("tls")) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(request(b"x" * length))
                response = http.client.HTTPResponse(connection)
                response.begin()
                assert response.status == 401
                assert response.read() == b'{"error": "Unauthorized"}'
                connection.sendall(request(SMUGGLED * 3000))
            # A body that arrived completely may leave the connection open, for one more refusal.
            assert read_statuses(connection) in ([], [b"401"]), length
    assert "Invalid" not in server.log


STALLED = {
    "file": "GET /static/page.html",
    "file without body": "HEAD /static/page.html",
    "unsatisfiable range": "GET /static/page.html|Range: bytes=99999999-",
    "unchanged file": "GET /static/page.html|If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
    "missing file": "GET /static/missing.html",
    "health": "GET /health",
    "readiness": "GET /ready",
    "listing": "GET /",
    "document": "GET /bank|Authorization: Basic dTpw",
    "missing page": "GET /bank/nothing|Authorization: Basic dTpw",
    "wrong method": "PUT /bank/swaig|Authorization: Basic dTpw",
    "no credentials": "POST /bank/swaig",
    "preflight": "OPTIONS /bank|Origin: https://a.example|Access-Control-Request-Method: POST",
}


@pytest.mark.slow
def test_attack_no_response_waits_for_a_body_that_stalls(gunicorn: Any, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("x" * 200_000)
    (tmp_path / "stalled.py").write_text(
        "from swaig_wsgi import AgentApp, AgentServer\n"
        "app = AgentServer(listing=True)\n"
        "app.register(AgentApp('bank', basic_auth=('u', 'p')), '/bank')\n"
        "app.serve_static_files('.', '/static')\n"
    )
    options = ("--threads=2", "--keep-alive=9")
    server = gunicorn("stalled:app", *options, cwd=str(tmp_path), SWML_MAX_REQUEST_SIZE="1000000")
    for framing in (
        "Content-Length: 60000",
        "Content-Length: 900000",
        "Transfer-Encoding: chunked",
    ):
        for name, line in STALLED.items():
            if "chunked" in framing and "Authorization" in line:
                continue  # Read once the client is authenticated.
            target, *headers = line.split("|")
            head = [f"{target} HTTP/1.1", "Host: localhost", framing, *headers, "", "1"]
            with contextlib.ExitStack() as stack:
                stalled = [stack.enter_context(connect(server.port, tls=False)) for _ in range(6)]
                for connection in stalled:
                    connection.sendall("\r\n".join(head).encode())
                started = time.monotonic()
                for connection in stalled:
                    assert len(read_statuses(connection)) == 1, (framing, name)
                assert server.request("GET", "/health").status == 200
                # Each ends after 0.1 seconds, two at a time.
                assert time.monotonic() - started < 3, (framing, name)
