"""Sockets that stop waiting when the call that uses them has taken too long.

The timeout of a socket begins anew with each byte that arrives, so a peer that drips bytes would
hold a thread for as long as it likes.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

_deadline: ContextVar[float] = ContextVar("_deadline", default=float("inf"))


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Bound what this thread (or greenlet) waits in total by sockets of :class:`Bounded`."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


class Bounded:
    """A connected socket whose calls raise :class:`socket.timeout` at the deadline of `within`."""

    def __init__(self, connected: Any) -> None:
        self._socket = connected

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def recv(self, *args: Any) -> Any:
        """Receive; see :meth:`socket.socket.recv`."""
        return self._in_time(self._socket.recv, args)

    def recv_into(self, *args: Any) -> Any:
        """Receive; see :meth:`socket.socket.recv_into`."""
        return self._in_time(self._socket.recv_into, args)

    def sendall(self, *args: Any) -> Any:
        """Send; see :meth:`socket.socket.sendall`."""
        return self._in_time(self._socket.sendall, args)

    def _in_time(self, work: Any, args: tuple[Any, ...]) -> Any:
        timeout = self._socket.gettimeout()
        left = _deadline.get() - time.monotonic()
        if timeout == 0 or left >= (float("inf") if timeout is None else timeout):
            return work(*args)
        if left <= 0:
            raise socket.timeout("the call took too long")
        self._socket.settimeout(left)
        try:
            return work(*args)
        finally:
            self._socket.settimeout(timeout)


def bounded(connection_class: Any) -> Any:
    """Return a class of connections of redis-py whose sockets are :class:`Bounded`."""

    class BoundedConnection(connection_class):  # type: ignore[misc]
        def _connect(self) -> Bounded:
            return Bounded(super()._connect())

    return BoundedConnection
