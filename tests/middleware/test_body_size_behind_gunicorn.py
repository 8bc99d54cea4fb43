"""The body limit behind a real server, over sockets."""

from __future__ import annotations

import contextlib
import http.client
import socket
from pathlib import Path

import pytest

SERVED = """
from swaig_wsgi.middleware.body_size import BodySizeMiddleware

def application(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(len(body)).encode()]

application = BodySizeMiddleware(application, 100_000)
"""


def exchange(port, head, body=b""):
    """Send a request, which may be refused meanwhile, and return the status and the body."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            connection.sendall(body)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read()


def chunked(body):
    pieces = [body[n : n + 8000] for n in range(0, len(body), 8000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_behind_gunicorn_every_refusal_reaches_the_client(gunicorn, tmp_path, worker):
    (tmp_path / "served.py").write_text(SERVED)
    server = gunicorn(
        "served:application",
        f"--worker-class={worker}",
        f"--pythonpath={Path(__file__).parents[2]},{tmp_path}",
    )
    too_large = (413, b'{"error": "Request too large"}')
    unreadable = (400, b'{"error": "Bad request: unreadable body"}')
    te, big = b"Transfer-Encoding: chunked", b"x" * 204_800
    assert exchange(server.port, b"Content-Length: 204800", big) == too_large
    assert exchange(server.port, b"Content-Length: 204800") == too_large  # no body is sent
    assert exchange(server.port, te, chunked(big)) == too_large
    assert exchange(server.port, te, b"zz\r\nbad\r\n") == unreadable
    assert exchange(server.port, te, b"3\r\nabcd\r\n0\r\n\r\n") == unreadable
    assert exchange(server.port, te, chunked(big[:100_000])) == (200, b"100000")
    assert exchange(server.port, b"Content-Length: 100000", big[:100_000]) == (200, b"100000")
    assert "Traceback" not in server.log
