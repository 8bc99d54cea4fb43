"""Unread request bodies on a socket; with a real server in test_unread_behind_gunicorn.py."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from swaig_wsgi.core.refusals import unauthorized
from swaig_wsgi.wsgi import (
    BODY_READ,
    UnreadBodyResponse,
    end_unread_body,
    leaves_body,
    refuse,
    respond,
)
from swaig_wsgi.wsgi._unread import LINGER

#: Maximum number of bytes read from an unread body.
MAX_DRAIN = 65_536


class SocketInput:
    """A body as in gunicorn, which reads it from the socket."""

    def __init__(self, connection: socket.socket, length: int) -> None:
        self.connection = connection
        self.left = length

    def read(self, size: int) -> bytes:
        wanted = min(size, self.left)
        found = b""
        while len(found) < wanted:
            piece = self.connection.recv(wanted - len(found))
            if not piece:
                break
            found += piece
        self.left -= len(found)
        return found


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    server, client = socket.socketpair()
    with server, client:
        client.settimeout(60)
        yield server, client


def environ_of(connection: socket.socket, length: int = 10, **more: Any) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(length),
        "gunicorn.socket": connection,
        "wsgi.input": SocketInput(connection, length),
        **more,
    }


def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
    return lambda data: None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}, True),
        ({"CONTENT_LENGTH": ""}, False),
        ({"CONTENT_LENGTH": "0"}, False),
        ({BODY_READ: True}, False),
        ({"SERVER_PROTOCOL": "HTTP/2"}, False),
    ],
)
def test_leaves_body_is_true_for_unread_http_1_1_bodies(
    pair: tuple[socket.socket, socket.socket], change: dict[str, Any], expected: bool
) -> None:
    environ = {**environ_of(pair[0]), **change}
    assert leaves_body(environ) is expected
    response = respond(environ, start, 200, b"x")
    assert isinstance(response, UnreadBodyResponse) is expected
    assert list(response) == [b"x"]


def test_end_unread_body_closes_the_file_and_ends_the_connection(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    file = io.BytesIO(b"one\ntwo")
    response = end_unread_body(environ_of(server), file)
    assert list(response) == [b"one\n", b"two"]
    response.close()  # type: ignore[attr-defined]
    assert file.closed
    assert client.recv(100) == b""
    assert end_unread_body(environ_of(server, 0), file) is file


def test_bodies_of_other_servers_are_not_handled() -> None:
    assert not leaves_body({"CONTENT_LENGTH": "10", "SERVER_PROTOCOL": "HTTP/1.1"})


def test_the_connection_is_kept_if_the_body_has_arrived(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    server.settimeout(7)
    client.sendall(b"0123456789next")
    response = refuse(environ_of(server), start, unauthorized("r", []))
    response.close()  # type: ignore[attr-defined]
    assert server.gettimeout() == 7
    assert server.recv(10) == b"next"
    client.sendall(b"more")
    assert server.recv(10) == b"more"


def test_a_stalled_body_ends_the_connection_after_the_response(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    client.sendall(b"012")
    server.sendall(b"the response")
    UnreadBodyResponse(environ_of(server), []).close()
    server.settimeout(60)
    assert server.recv(10) == b""
    assert client.recv(100) == b"the response"
    assert client.recv(100) == b""


def test_the_client_receives_the_end_before_its_body_is_read(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    at_end = threading.Event()

    def finish() -> None:
        assert client.recv(1) == b""
        at_end.set()
        client.sendall(b"late")

    thread = threading.Thread(target=finish)
    thread.start()
    UnreadBodyResponse(environ_of(server), []).close()
    thread.join(60)
    assert at_end.is_set()


@pytest.mark.parametrize("arrived", [MAX_DRAIN + 1, 2 * MAX_DRAIN, 3 * MAX_DRAIN])
def test_no_part_of_an_unread_body_is_parsed_as_a_request(arrived: int) -> None:
    """Use TCP, where data that arrives after a shutdown of the reading side is still readable."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=60)
        server, _ = listener.accept()
    with server, client:
        server.settimeout(60)
        sender = threading.Thread(target=client.sendall, args=(b"x" * arrived,))
        sender.start()
        environ = environ_of(server, arrived)
        UnreadBodyResponse(environ, []).close()
        sender.join(60)
        with contextlib.suppress(ConnectionError):
            for _ in range(3):
                client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        try:
            rest = server.recv(100)
        except ConnectionError:
            rest = b""
        assert rest == b""


def test_a_slow_body_does_not_extend_the_time_limit(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    stop = threading.Event()
    dripped = []

    def drip() -> None:
        while not stop.wait(0.02) and len(dripped) < 500:
            try:
                dripped.append(client.send(b"x"))
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        UnreadBodyResponse(environ_of(server, 1_000_000), []).close()
        # Each byte restarts the timeout of the socket, but not the total time, in which about five
        # bytes arrive; a busy machine may take several times as long.
        assert LINGER == 0.1
        assert len(dripped) < 100
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(("arrived", "failed"), [(65_535, False), (65_536, True), (70_000, True)])
def test_an_incomplete_body_is_marked_as_failed_for_gunicorn(
    pair: tuple[socket.socket, socket.socket], arrived: int, failed: bool
) -> None:
    server, _ = pair
    body = io.BytesIO(b"x" * arrived)
    body_of_gunicorn: Any = type("Body", (), {"read": body.read, "failed": False})()
    UnreadBodyResponse(environ_of(server, arrived, **{"wsgi.input": body_of_gunicorn}), []).close()
    assert body_of_gunicorn.failed is failed


def test_the_sender_of_a_long_body_receives_the_response(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    length = 20 * MAX_DRAIN
    received = []

    def upload() -> None:
        with contextlib.suppress(OSError):
            client.sendall(b"x" * length)
        received.append(client.recv(100))
        client.close()

    thread = threading.Thread(target=upload)
    thread.start()
    read: list[int] = []
    environ = environ_of(server, length)
    reader = environ["wsgi.input"].read
    environ["wsgi.input"].read = lambda size: read.append(size) or reader(size)
    server.sendall(b"the response")
    UnreadBodyResponse(environ, []).close()
    thread.join(60)
    assert read == []
    assert received == [b"the response"]


def test_at_most_64_kib_of_an_endless_body_are_read() -> None:
    """Bytes that the kernel has queued beyond that are discarded, not parsed as a request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        client = socket.create_connection(listener.getsockname(), timeout=60)
        server, _ = listener.accept()
    sent = 0

    def upload() -> None:
        nonlocal sent
        with contextlib.suppress(OSError):
            while sent < 2**30:
                sent += client.send(b"x" * 65_536)

    read: list[int] = []

    class Counted:
        """A socket that records the sizes of its reads, and -1 for the end of reading."""

        def recv(self, size: int) -> bytes:
            data = server.recv(size)
            read.append(len(data))
            return data

        def shutdown(self, how: int) -> None:
            if how == socket.SHUT_RD:
                read.append(-1)
            server.shutdown(how)

        def __getattr__(self, name: str) -> Any:
            return getattr(server, name)

    with server, client:
        thread = threading.Thread(target=upload)
        thread.start()
        connection: Any = Counted()
        environ = environ_of(connection, 2**31)
        server.sendall(b"the response")
        UnreadBodyResponse(environ, []).close()
        thread.join(60)
        assert not thread.is_alive()
        end = read.index(-1)
        assert 0 < sum(read[:end]) <= MAX_DRAIN
        # Bytes that were queued: the kernel doubles the size that is set, for its own overhead.
        assert sum(read[end + 1 :]) <= 65_536


@pytest.mark.parametrize("error", [BlockingIOError(), ValueError("bad chunk"), OSError("gone")])
def test_a_body_that_cannot_be_read_ends_the_connection(
    pair: tuple[socket.socket, socket.socket], error: Exception
) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise error

    server, _ = pair
    UnreadBodyResponse(environ_of(server, **{"wsgi.input": Broken()}), []).close()
    assert server.recv(1) == b""


def test_a_client_that_has_disconnected_is_not_an_error(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, _ = pair
    server.close()
    UnreadBodyResponse(environ_of(server), []).close()
    assert server.fileno() == -1
