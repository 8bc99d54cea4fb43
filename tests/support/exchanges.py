"""Raw requests over a socket, and everything that comes back."""

from __future__ import annotations

import json
import socket
from typing import Any

from support.waiting import PATIENCE


class Received:
    """Everything that a server sent on one connection, with its first response parsed."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        self.status = int(head.split(b" ")[1]) if head else 0
        self.head = head.lower()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def receive(
    connection: socket.socket, pause: float = PATIENCE, first: float = PATIENCE
) -> Received:
    """Return what comes until the server closes the connection or pauses.

    Wait for `first` seconds until it begins, and then for `pause` seconds at a time.
    """
    raw = b""
    try:
        connection.settimeout(first)
        while piece := connection.recv(65_536):
            connection.settimeout(pause)
            raw += piece
    except OSError:
        pass
    return Received(raw)


def exchange(address: int | str, request: bytes, pause: float = PATIENCE) -> Received:
    """Send a request and return what comes back; see `receive`."""
    with connect(address) as connection:
        connection.sendall(request)
        return receive(connection, pause)


def connect(address: int | str) -> socket.socket:
    if isinstance(address, int):
        return socket.create_connection(("127.0.0.1", address), timeout=PATIENCE)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    return connection
