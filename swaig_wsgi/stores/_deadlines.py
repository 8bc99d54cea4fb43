"""Sockets with a deadline for a whole call.

A socket's timeout restarts with each byte received, so a peer that drips bytes could block a
thread indefinitely, and a host with several addresses, or a list of hosts, takes a multiple of it
to connect.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

# The methods of a socket that redis-py calls and that block.
_BLOCKING = frozenset({"recv", "recv_into", "sendall"})

_deadline: ContextVar[float] = ContextVar("_deadline", default=float("inf"))


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Limit the total wait of this thread or greenlet on :class:`BoundedSocket` objects."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


class BoundedSocket:
    """A connected socket that raises :class:`socket.timeout` at the deadline of :func:`within`."""

    def __init__(self, connected: Any) -> None:
        self._socket = connected

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._socket, name)
        return partial(self._call, attribute) if name in _BLOCKING else attribute

    def _call(self, method: Any, *args: Any) -> Any:
        timeout = self._socket.gettimeout()
        left = _deadline.get() - time.monotonic()
        if timeout == 0 or left >= (float("inf") if timeout is None else timeout):
            return method(*args)
        if left <= 0:
            raise socket.timeout("the call took too long")
        self._socket.settimeout(left)
        try:
            return method(*args)
        finally:
            self._socket.settimeout(timeout)


def bounded(connection_class: Any) -> Any:
    """Return a subclass of a redis-py connection class that keeps to :func:`within`.

    Connecting and a TLS handshake keep to it as well as reading and writing.
    """

    class BoundedConnection(connection_class):  # type: ignore[misc]
        _connecting = False
        socket_connect_timeout = _timeout("_socket_connect_timeout")
        socket_timeout = _timeout("_socket_timeout")

        def _connect(self) -> BoundedSocket:
            if _deadline.get() <= time.monotonic():
                raise socket.timeout("the call took too long")
            self._connecting = True
            try:
                connected = super()._connect()
            finally:
                self._connecting = False
            connected.settimeout(self.socket_timeout)
            return BoundedSocket(connected)

    return BoundedConnection


def _timeout(name: str) -> Any:
    """Return a property for a timeout of a connection, shortened while it connects.

    redis-py reads it once for each address, and for the TLS handshake. `name` is the attribute in
    which releases that have such a property themselves keep the value.
    """

    def get(self: Any) -> Any:
        value = getattr(self, name, None)
        if not self._connecting:
            return value
        left = max(_deadline.get() - time.monotonic(), 0.001)  # 0 would mean not to block
        return left if value is None else min(value, left)

    return property(get, lambda self, value: setattr(self, name, value))
