"""Ports for servers that cannot choose one themselves."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on.

    Not from the ports that the system gives to clients and to port 0, so that nothing takes it
    by chance before the server does, or while that restarts.
    """
    while True:
        port = random.randrange(10_000, 32_000)  # noqa: S311 - no secret
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
