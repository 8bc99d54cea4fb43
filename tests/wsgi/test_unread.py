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
    """A body as gunicorn offers it: what is read comes off the socket."""

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
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(60)
        yield ours, theirs


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
def test_when_a_body_is_left(
    pair: tuple[socket.socket, socket.socket], change: dict[str, Any], expected: bool
) -> None:
    environ = {**environ_of(pair[0]), **change}
    assert leaves_body(environ) is expected
    response = respond(environ, start, 200, b"x")
    assert isinstance(response, UnreadBodyResponse) is expected
    assert list(response) == [b"x"]


def test_a_file_is_closed_and_its_connection_ended(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    file = io.BytesIO(b"one\ntwo")
    response = end_unread_body(environ_of(ours), file)
    assert list(response) == [b"one\n", b"two"]
    response.close()  # type: ignore[attr-defined]
    assert file.closed
    assert theirs.recv(100) == b""
    assert end_unread_body(environ_of(ours, 0), file) is file


def test_other_servers_keep_their_bodies() -> None:
    assert not leaves_body({"CONTENT_LENGTH": "10", "SERVER_PROTOCOL": "HTTP/1.1"})


def test_a_body_that_has_arrived_keeps_the_connection(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    ours.settimeout(7)
    theirs.sendall(b"0123456789next")
    response = refuse(environ_of(ours), start, unauthorized("r", []))
    response.close()  # type: ignore[attr-defined]
    assert ours.gettimeout() == 7
    assert ours.recv(10) == b"next"
    theirs.sendall(b"more")
    assert ours.recv(10) == b"more"


def test_a_stalled_body_ends_the_connection_after_the_response(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.sendall(b"012")
    ours.sendall(b"the response")
    UnreadBodyResponse(environ_of(ours), []).close()
    ours.settimeout(60)
    assert ours.recv(10) == b""
    assert theirs.recv(100) == b"the response"
    assert theirs.recv(100) == b""


def test_the_client_sees_the_end_before_its_body_is_read(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    at_end = threading.Event()

    def finish() -> None:
        assert theirs.recv(1) == b""
        at_end.set()
        theirs.sendall(b"late")

    client = threading.Thread(target=finish)
    client.start()
    UnreadBodyResponse(environ_of(ours), []).close()
    client.join(60)
    assert at_end.is_set()


@pytest.mark.parametrize("arrived", [MAX_DRAIN + 1, 2 * MAX_DRAIN, 3 * MAX_DRAIN])
def test_nothing_is_left_to_be_parsed_as_a_request(arrived: int) -> None:
    """Over TCP, where shutting down the reading side alone keeps what arrives readable."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname(), timeout=60)
        ours, _ = listener.accept()
    with ours, theirs:
        ours.settimeout(60)
        sender = threading.Thread(target=theirs.sendall, args=(b"x" * arrived,))
        sender.start()
        environ = environ_of(ours, arrived)
        UnreadBodyResponse(environ, []).close()
        sender.join(60)
        with contextlib.suppress(ConnectionError):
            for _ in range(3):
                theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
        try:
            rest = ours.recv(100)
        except ConnectionError:
            rest = b""
        assert rest == b""


def test_a_dripping_body_does_not_extend_the_time(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    stop = threading.Event()
    dripped = []

    def drip() -> None:
        while not stop.wait(0.02) and len(dripped) < 500:
            try:
                dripped.append(theirs.send(b"x"))
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        UnreadBodyResponse(environ_of(ours, 1_000_000), []).close()
        # Each byte restarts the timeout of the socket, but not the total. That is enough for five
        # bytes; a busy machine may take several times as long.
        assert LINGER == 0.1
        assert len(dripped) < 100
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(("arrived", "failed"), [(65_535, False), (65_536, True), (70_000, True)])
def test_gunicorn_does_not_continue_behind_an_incomplete_body(
    pair: tuple[socket.socket, socket.socket], arrived: int, failed: bool
) -> None:
    ours, _ = pair
    body = io.BytesIO(b"x" * arrived)
    body_of_gunicorn: Any = type("Body", (), {"read": body.read, "failed": False})()
    UnreadBodyResponse(environ_of(ours, arrived, **{"wsgi.input": body_of_gunicorn}), []).close()
    assert body_of_gunicorn.failed is failed


def test_the_sender_of_a_long_body_receives_the_response(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    length = 20 * MAX_DRAIN
    received = []

    def upload() -> None:
        with contextlib.suppress(OSError):
            theirs.sendall(b"x" * length)
        received.append(theirs.recv(100))
        theirs.close()

    client = threading.Thread(target=upload)
    client.start()
    read: list[int] = []
    environ = environ_of(ours, length)
    reader = environ["wsgi.input"].read
    environ["wsgi.input"].read = lambda size: read.append(size) or reader(size)
    ours.sendall(b"the response")
    UnreadBodyResponse(environ, []).close()
    client.join(60)
    assert read == []
    assert received == [b"the response"]


def test_at_most_64_kib_of_an_endless_body_are_read() -> None:
    """What the kernel has queued beyond that is discarded, or it would be the next request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        theirs = socket.create_connection(listener.getsockname(), timeout=60)
        ours, _ = listener.accept()
    sent = 0

    def upload() -> None:
        nonlocal sent
        with contextlib.suppress(OSError):
            while sent < 2**30:
                sent += theirs.send(b"x" * 65_536)

    read: list[int] = []

    class Counted:
        """The socket, and how much was read from it before it was shut down for reading."""

        def recv(self, size: int) -> bytes:
            data = ours.recv(size)
            read.append(len(data))
            return data

        def shutdown(self, how: int) -> None:
            if how == socket.SHUT_RD:
                read.append(-1)
            ours.shutdown(how)

        def __getattr__(self, name: str) -> Any:
            return getattr(ours, name)

    with ours, theirs:
        client = threading.Thread(target=upload)
        client.start()
        connection: Any = Counted()
        environ = environ_of(connection, 2**31)
        ours.sendall(b"the response")
        UnreadBodyResponse(environ, []).close()
        client.join(60)
        assert not client.is_alive()
        end = read.index(-1)
        assert 0 < sum(read[:end]) <= MAX_DRAIN
        # What was queued: the kernel doubles the size that is set, for its own overhead.
        assert sum(read[end + 1 :]) <= 65_536


@pytest.mark.parametrize("error", [BlockingIOError(), ValueError("bad chunk"), OSError("gone")])
def test_a_body_that_cannot_be_read_ends_the_connection(
    pair: tuple[socket.socket, socket.socket], error: Exception
) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise error

    ours, _ = pair
    UnreadBodyResponse(environ_of(ours, **{"wsgi.input": Broken()}), []).close()
    assert ours.recv(1) == b""


def test_a_client_that_has_disconnected_is_not_an_error(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = pair
    ours.close()
    UnreadBodyResponse(environ_of(ours), []).close()
    assert ours.fileno() == -1
