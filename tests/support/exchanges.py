"""Raw requests over a socket, and all that comes back."""

from __future__ import annotations

import json
import socket
from typing import Any


class Received:
    """All that came back on one connection, until the server closed it or said no more."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        self.status = int(head.split(b" ")[1]) if head else 0
        self.head = head.lower()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def receive(connection: socket.socket, seconds: float) -> Received:
    connection.settimeout(seconds)
    raw = b""
    try:
        while piece := connection.recv(65_536):
            raw += piece
    except OSError:
        pass
    return Received(raw)


def exchange(address: int | str, request: bytes, seconds: float = 10) -> Received:
    with connect(address) as connection:
        connection.sendall(request)
        return receive(connection, seconds)


def connect(address: int | str) -> socket.socket:
    if isinstance(address, int):
        return socket.create_connection(("127.0.0.1", address), timeout=10)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    return connection
