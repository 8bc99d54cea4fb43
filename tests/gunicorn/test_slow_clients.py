"""Clients that send slowly, or read nothing, do not delay other clients."""

from __future__ import annotations

import contextlib
import socket
import ssl
import statistics
import threading
import time
from typing import Any

import pytest
from support.exchanges import receive
from support.slow_clients import APP, AUTH, CONFIG, HEALTH, TLS, client_hello, connect
from support.waiting import wait_until

ATTACKERS = 200


def response_time(port: int, tls: bool) -> float:
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


def served_as_usual(attacked: Any, control: Any, tls: bool) -> bool:
    """Compare the response times of two servers for four seconds, since the machine may be busy."""
    times: list[float] = []
    usual: list[float] = []
    end = time.monotonic() + 4
    while time.monotonic() < end or len(times) < 40:
        times.append(response_time(attacked.port, tls))
        usual.append(response_time(control.port, tls))
        time.sleep(0.02)
    median, longest = statistics.median(times), max(times)
    return median < 0.1 + statistics.median(usual) and longest < 1 + max(usual)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sources"),
    [*((name, 100) for name in ATTACKS), ("request line", 1), ("tls: half a hello", 1)],
)
def test_attack_slow_clients_delay_no_other_client(name: str, sources: int, gunicorn: Any) -> None:
    tls, handshake, first, rest = ATTACKS[name]
    server, control = (gunicorn(APP, *CONFIG, "-w2", **(TLS if tls else {})) for _ in range(2))
    for each in (server, control):
        wait_until(lambda each=each: each.log.count("generated") or response_time(each.port, tls))
    attack = Attack(server.port, handshake, first, rest, sources=sources)
    try:
        wait_until(lambda: served_as_usual(server, control, tls))
    finally:
        attack.stop()
    assert "Traceback" not in server.log
