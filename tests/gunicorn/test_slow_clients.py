"""Clients that send slowly, or read nothing, do not delay other clients."""

from __future__ import annotations

import contextlib
import socket
import ssl
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.exchanges import receive
from support.waiting import PATIENCE, wait_until
from support.wsgi import basic

APP = "swaig_wsgi.examples.basic:app"
CONFIG = ("-c", "python:swaig_wsgi.gunicorn")
CERTS = Path(__file__).parents[1] / "certs"
TLS = {
    "SWML_SSL_ENABLED": "true",
    "SWML_SSL_CERT_PATH": str(CERTS / "cert.pem"),
    "SWML_SSL_KEY_PATH": str(CERTS / "key.pem"),
}
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
AUTH = f"Authorization: {basic('demo', 'p@ss:w/ö')}\r\n".encode()
ATTACKERS = 200


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def connect(port: int, tls: bool, source: str = "127.0.0.1") -> socket.socket:
    plain = socket.create_connection(
        ("127.0.0.1", port), timeout=PATIENCE, source_address=(source, 0)
    )
    return client_context().wrap_socket(plain) if tls else plain


def client_hello() -> bytes:
    """Return what a TLS client sends first."""
    outgoing = ssl.MemoryBIO()
    connection = client_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def answer_time(port: int, tls: bool) -> float:
    """Return the seconds that an honest client's request takes on a new connection."""
    started = time.monotonic()
    with connect(port, tls) as connection:
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\n" + AUTH + b"Connection: close\r\n\r\n"
        )
        assert receive(connection).status == 200
    return time.monotonic() - started


class Attack:
    """Connections that send `first` and then a byte of `rest` each second."""

    def __init__(
        self, port: int, tls: bool, first: bytes, rest: bytes, *, sources: int = 1
    ) -> None:
        self.connections: list[socket.socket] = []
        self._stop = threading.Event()
        self._rest = rest
        self._new = lambda number: connect(port, tls, f"127.0.0.{2 + number % sources}")
        for number in range(ATTACKERS):
            self._open(number, first)
        self._thread = threading.Thread(target=self._drip, args=(first,))
        self._thread.start()

    def _open(self, number: int, first: bytes) -> None:
        connection = self._new(number)
        connection.setblocking(False)
        # As much as the server takes.
        with contextlib.suppress(OSError):
            while first:
                first = first[connection.send(first) :]
        self.connections.append(connection)

    def _drip(self, first: bytes) -> None:
        sent = 0
        while not self._stop.wait(1):
            for number, connection in enumerate(self.connections):
                if not self._rest:
                    continue
                try:
                    connection.send(self._rest[sent % len(self._rest) :][:1])
                except (BlockingIOError, ssl.SSLWantWriteError):
                    pass
                except OSError:
                    # The server has ended it: attack again.
                    connection.close()
                    with contextlib.suppress(OSError):
                        fresh = self._new(number)
                        fresh.setblocking(False)
                        fresh.send(first[:4096])
                        self.connections[number] = fresh
            sent += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        for connection in self.connections:
            connection.close()


ATTACKS: dict[str, tuple[bool, bool, bytes, bytes]] = {
    # whether the server uses TLS, whether the attackers complete the handshake, first, rest
    "silence": (False, False, b"", b""),
    "request line": (False, False, b"G", b"ET /" + b"a" * 1000),
    "header fields": (False, False, HEALTH[:-2] + b"A: ", b"a" * 1000),
    "second request": (False, False, HEALTH + b"GET", b" /" + b"a" * 1000),
    "stalled body": (False, False, b"POST / HTTP/1.1\r\nContent-Length: 9000\r\n\r\n", b"a"),
    "endless body": (
        False,
        False,
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n",
        b"a",
    ),
    "malformed request": (False, False, b"junk\r\n\r\n", b"a"),
    "nothing read": (False, False, HEALTH * 30_000, b"G"),
    "tls: silence": (True, False, b"", b""),
    "tls: half a hello": (True, False, client_hello()[:100], client_hello()[100:]),
    "tls: request line": (True, True, b"G", b"ET /" + b"a" * 1000),
    "tls: second request": (True, True, HEALTH + b"GET", b" /" + b"a" * 1000),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sources"),
    [*((name, 100) for name in ATTACKS), ("request line", 1), ("tls: half a hello", 1)],
)
def test_honest_requests_are_fast_during_an_attack(name: str, sources: int, gunicorn: Any) -> None:
    """Measured beside a server that is not attacked, since the machine may be busy."""
    tls, handshake, first, rest = ATTACKS[name]
    server, control = (gunicorn(APP, *CONFIG, "-w2", **(TLS if tls else {})) for _ in range(2))
    for each in (server, control):
        wait_until(lambda each=each: each.log.count("generated") or answer_time(each.port, tls))
    attack = Attack(server.port, handshake, first, rest, sources=sources)
    try:
        attacked, usual = [], []
        end = time.monotonic() + 4
        while time.monotonic() < end or len(attacked) < 40:
            attacked.append(answer_time(server.port, tls))
            usual.append(answer_time(control.port, tls))
            time.sleep(0.02)
    finally:
        attack.stop()
    assert statistics.median(attacked) < 0.1 + 2 * statistics.median(usual)
    assert max(attacked) < 1 + 2 * max(usual)
    assert "Traceback" not in server.log
