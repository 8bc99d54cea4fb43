"""What becomes of request bodies that nobody reads; the real thing is in test_end_to_end."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from swaig_wsgi.middleware.answers import answer, refuse
from swaig_wsgi.middleware.unread import BODY_READ, MAX_DRAIN, UnreadAnswer, leaves_body


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
        theirs.settimeout(10)
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
    made = answer(environ, start, 200, b"x")
    assert isinstance(made, UnreadAnswer) is expected
    assert list(made) == [b"x"]


def test_other_servers_are_left_alone() -> None:
    assert not leaves_body({"CONTENT_LENGTH": "10", "SERVER_PROTOCOL": "HTTP/1.1"})


def test_a_body_that_has_arrived_keeps_the_connection(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    ours.settimeout(7)
    theirs.sendall(b"0123456789next")
    made = refuse(environ_of(ours), start, 401, "Unauthorized", event="e", reason="r")
    made.close()  # type: ignore[attr-defined]
    assert ours.gettimeout() == 7
    assert ours.recv(10) == b"next"
    theirs.sendall(b"more")
    assert ours.recv(10) == b"more"


def test_a_stalled_body_is_given_up(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"012")
    UnreadAnswer(environ_of(ours), []).close()
    ours.settimeout(10)
    assert ours.recv(10) == b""
    ours.sendall(b"the answer is not lost")
    assert theirs.recv(100) == b"the answer is not lost"


def test_a_dripping_body_is_given_up_as_soon(
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
        UnreadAnswer(environ_of(ours, 1_000_000), []).close()
        # Each byte restarts a timeout of the socket, but not the time that it is given.
        assert len(dripped) < 250
    finally:
        stop.set()
        thread.join()


def test_no_more_than_64_kib_are_drained(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.setblocking(False)
    sent = 0
    try:
        while sent < 8 * MAX_DRAIN:
            sent += theirs.send(b"x" * 16_384)
    except BlockingIOError:
        pass
    read: list[int] = []
    environ = environ_of(ours, 10_000_000)
    reader = environ["wsgi.input"].read
    environ["wsgi.input"].read = lambda size: read.append(size) or reader(size)
    assert sent > 2 * MAX_DRAIN
    UnreadAnswer(environ, []).close()
    assert read == [MAX_DRAIN]
    ours.settimeout(10)
    rest = 0
    while piece := ours.recv(65_536):
        rest += len(piece)
    assert sent - 2 * MAX_DRAIN <= rest < sent


@pytest.mark.parametrize("error", [BlockingIOError(), ValueError("bad chunk"), OSError("gone")])
def test_what_cannot_be_read_is_given_up(
    pair: tuple[socket.socket, socket.socket], error: Exception
) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise error

    ours, _ = pair
    UnreadAnswer(environ_of(ours, **{"wsgi.input": Broken()}), []).close()
    assert ours.recv(1) == b""


def test_a_client_that_is_gone_is_no_error(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    ours.close()
    UnreadAnswer(environ_of(ours), []).close()
    assert ours.fileno() == -1
