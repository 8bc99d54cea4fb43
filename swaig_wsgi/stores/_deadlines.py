"""Sockets with a deadline for a whole call.

A socket's timeout restarts with each byte received, so a peer that drips bytes could block a
thread indefinitely.
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
    """Return a subclass of a redis-py connection class that uses :class:`BoundedSocket`."""

    class BoundedConnection(connection_class):  # type: ignore[misc]
        def _connect(self) -> BoundedSocket:
            return BoundedSocket(super()._connect())

    return BoundedConnection
