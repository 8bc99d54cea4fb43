"""The worker class: what it serves, when it closes connections, and how it stops."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import gunicorn as gunicorn_package
import pytest
from support.exchanges import receive
from support.slow_clients import APP, AUTH, CONFIG, HEALTH, TLS, client_hello, connect
from support.waiting import PATIENCE, wait_until

from swaig_wsgi.gunicorn import _reading_worker as constants
from swaig_wsgi.gunicorn._worker import RELEASES, Worker

CALL = b'{"function": "transfer", "argument": {"parsed": [{}]}, "call_id": "x"}'


@pytest.fixture(params=["http", "https"])
def scheme(request: Any) -> Any:
    return request.param


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    """Return a function that writes a configuration with other constants of the worker."""

    def write(**changed: float) -> tuple[str, ...]:
        lines = ["from swaig_wsgi.gunicorn import *", "import swaig_wsgi.gunicorn._reading_worker"]
        lines += [
            f"swaig_wsgi.gunicorn._reading_worker.{name} = {value}"
            for name, value in changed.items()
        ]
        (tmp_path / "conf.py").write_text("\n".join(lines))
        return ("-c", str(tmp_path / "conf.py"), "-w1")

    return write


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False


def closed_after(connection: socket.socket) -> float:
    """Return the seconds until the server closes the connection."""
    started = time.monotonic()
    wait_until(lambda: not is_open(connection))
    return time.monotonic() - started


def statuses(connection: socket.socket) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 ([0-9]{3})", receive(connection).raw)


# -- requests


def test_attack_a_malformed_body_that_is_not_read_gets_no_second_response(gunicorn: Any) -> None:
    server = gunicorn(APP, *CONFIG, "-w1")
    head = b"POST /swaig HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    for body in (b"x\r\n", b"3\r\nabcde\r\n", b"1;\x01\r\na\r\n", b"0\r\nHost: a\r\n\r\n"):
        with connect(server.port, tls=False) as connection:
            connection.sendall(head + body + HEALTH)
            assert statuses(connection) == [b"401"]


def test_the_installed_release_is_supported() -> None:
    assert gunicorn_package.__version__ in RELEASES
    assert Worker is constants.Worker


def test_the_supported_releases_are_those_that_tox_tests() -> None:
    tox = (Path(__file__).parents[2] / "tox.ini").read_text()
    assert tuple(re.findall(r"^ *gunicorn-([0-9.]+): gunicorn==\1$", tox, re.M)) == RELEASES


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_requests_in_pieces_are_served(gunicorn: Any, scheme: str, size: int) -> None:
    server = gunicorn(APP, *CONFIG, "-w1", **(TLS if scheme == "https" else {}))
    fields = b"".join(b"X-%d: %s\r\n" % (number, b"v" * 100) for number in range(3))
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\n" + AUTH + fields
    head += b"Content-Type: application/json\r\n"
    requests = (
        HEALTH
        + head
        + b"Content-Length: 15\r\n\r\n"
        + b'{"call_id":"x"}'
        + head
        + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        + b'8\r\n{"call_i\r\n7\r\nd":"x"}\r\n0\r\n\r\n'
    )
    with connect(server.port, scheme == "https") as connection:
        for start in range(0, len(requests), size):
            connection.sendall(requests[start : start + size])
        assert statuses(connection) == [b"200"] * 3


def test_pipelined_requests_are_served_in_order(gunicorn: Any, scheme: str) -> None:
    server = gunicorn(APP, *CONFIG, "-w1", **(TLS if scheme == "https" else {}))
    last = HEALTH.replace(b"/health", b"/").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with connect(server.port, scheme == "https") as connection:
        connection.sendall(HEALTH * 500 + last)
        assert statuses(connection) == [b"200"] * 500 + [b"401"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"junk\r\n", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n", 400),
        (b"GET /" + b"a" * 5000, 414),
        (b"GET / HTTP/1.1\r\n" + b"A: " + b"a" * 600_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"A: a\r\n" * 65 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 8200 + b"\r\n\r\n", 431),
    ],
)
def test_invalid_heads_are_refused_at_once(gunicorn: Any, head: bytes, status: int) -> None:
    server = gunicorn(APP, *CONFIG, "-w1")
    with connect(server.port, False) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(head)
        started = time.monotonic()
        assert receive(connection).status == status
        assert time.monotonic() - started < constants.HEAD_TIMEOUT


def test_connections_are_kept_alive_and_closed_when_idle(gunicorn: Any, scheme: str) -> None:
    server = gunicorn(APP, *CONFIG, "-w1", "--keep-alive=1", **(TLS if scheme == "https" else {}))
    with connect(server.port, scheme == "https") as connection:
        for _ in range(3):
            connection.sendall(HEALTH)
            assert receive(connection, pause=0.2).status == 200
        assert closed_after(connection) < PATIENCE


@pytest.mark.parametrize(("fields", "status"), [(AUTH, 200), (b"", 401)], ids=["read", "unread"])
def test_a_thread_that_waits_for_a_processor_keeps_the_connection(
    gunicorn: Any, settings: Any, scheme: str, fields: bytes, status: int
) -> None:
    # The thread has no time left to wait for the body when it looks for the rest of it.
    config = settings(DRAIN_TIMEOUT=0)
    server = gunicorn(APP, *config, "--keep-alive=30", **(TLS if scheme == "https" else {}))
    fields += b"Content-Type: application/json\r\nContent-Length: 2\r\n"
    request = b"POST / HTTP/1.1\r\nHost: localhost\r\n" + fields + b"\r\n{}"
    with connect(server.port, scheme == "https") as connection:
        for _ in range(5):
            connection.sendall(request)
            assert receive(connection, pause=0.2).status == status
            assert is_open(connection)


@pytest.mark.parametrize("arrives", [b"", b"{"], ids=["nothing", "a part"])
def test_attack_the_rest_of_a_body_is_never_read_as_a_request(
    gunicorn: Any, settings: Any, scheme: str, arrives: bytes
) -> None:
    server = gunicorn(
        APP, *settings(DRAIN_TIMEOUT=0), "--keep-alive=30", **(TLS if scheme == "https" else {})
    )
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    length = b"Content-Length: %d\r\n\r\n" % len(arrives + HEALTH)
    with connect(server.port, scheme == "https") as connection:
        connection.sendall(head + length + arrives)
        response = receive(connection, pause=0.2)
        assert response.status == 401
        with contextlib.suppress(OSError):
            connection.sendall(HEALTH)
        assert statuses(connection) == []


def test_max_requests_replaces_the_worker(gunicorn: Any) -> None:
    server = gunicorn(APP, *CONFIG, "-w1", "--max-requests=5")
    for _ in range(12):
        assert server.request("GET", "/health", auth=None).status == 200
    wait_until(lambda: server.log.count("Booting worker") >= 3)


# -- deadlines


def test_the_default_deadlines() -> None:
    assert (constants.HEAD_TIMEOUT, constants.BODY_TIMEOUT) == (10, 30)


@pytest.mark.parametrize(
    ("tls", "first", "rest"),
    [
        (False, b"", b""),
        (False, b"GET /", b"a" * 999),
        (False, b"GET / HTTP/1.1\r\nA: ", b"a" * 999),
        (False, HEALTH + b"GET /", b"a" * 999),
        (True, client_hello()[:50], client_hello()[50:]),
    ],
    ids=["silence", "request line", "field", "second request", "hello"],
)
def test_a_head_has_one_deadline_however_it_drips(
    tls: bool, first: bytes, rest: bytes, gunicorn: Any, settings: Any
) -> None:
    server = gunicorn(APP, *settings(HEAD_TIMEOUT=1), **(TLS if tls else {}))
    with connect(server.port, False) as connection:
        connection.sendall(first)
        if first.startswith(HEALTH):
            assert receive(connection, pause=0.2).status == 200
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for sent in range(len(rest) or 999):
                if not is_open(connection):
                    break
                connection.send(rest[sent:][:1])
                time.sleep(0.1)
        assert 0.5 < time.monotonic() - started < PATIENCE
        assert not is_open(connection)


def test_a_body_has_one_deadline_however_it_drips(gunicorn: Any, settings: Any) -> None:
    server = gunicorn(APP, *settings(BODY_TIMEOUT=1), "--threads=1")
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\n" + AUTH
    head += b"Content-Type: application/json\r\nContent-Length: 90000\r\n\r\n"
    with connect(server.port, False) as connection:
        connection.sendall(head)
        connection.setblocking(False)
        received = b""
        end = time.monotonic() + PATIENCE
        while b"\r\n\r\n" not in received:
            assert time.monotonic() < end
            with contextlib.suppress(BlockingIOError):
                received += connection.recv(1000)
            with contextlib.suppress(OSError):
                connection.send(b" ")
            time.sleep(0.1)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert server.request("GET", "/health", auth=None).status == 200


def test_a_body_may_take_longer_while_it_arrives_quickly(gunicorn: Any, settings: Any) -> None:
    server = gunicorn(APP, *settings(BODY_TIMEOUT=1, BODY_RATE=1000))
    body = b'{"call_id":"x"}' + b" " * 30_000
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\n" + AUTH + b"Connection: close\r\n"
    head += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    with connect(server.port, False) as connection:
        connection.sendall(head)
        for start in range(0, len(body), 2000):
            connection.sendall(body[start : start + 2000])
            time.sleep(0.15)
        assert receive(connection).status == 200


# -- bounds


@pytest.mark.parametrize(
    ("env", "kept"), [({}, 16), ({"SWML_TRUSTED_PROXIES": "127.0.0.2"}, 20)], ids=["", "proxy"]
)
def test_waiting_connections_of_a_client_are_bounded(
    env: dict[str, str], kept: int, gunicorn: Any
) -> None:
    server = gunicorn(APP, *CONFIG, "-w1", "--worker-connections=128", **env)
    connections = [connect(server.port, False, "127.0.0.2") for _ in range(20)]
    other = connect(server.port, False, "127.0.0.3")
    try:
        wait_until(lambda: sum(map(is_open, connections)) <= kept)
        # The oldest are closed, and the others can still be used.
        for connection in connections[-kept:]:
            connection.settimeout(PATIENCE)
            connection.sendall(HEALTH)
            assert receive(connection, pause=0.1).status == 200
        assert is_open(other)
    finally:
        for connection in (*connections, other):
            connection.close()


def test_a_full_worker_closes_the_oldest_waiting_connections(gunicorn: Any) -> None:
    server = gunicorn(APP, *CONFIG, "-w1", "--worker-connections=20")
    connections = [connect(server.port, False, f"127.0.0.{2 + number}") for number in range(60)]
    try:
        started = time.monotonic()
        assert server.request("GET", "/health", auth=None).status == 200
        assert time.monotonic() - started < constants.HEAD_TIMEOUT
        assert not is_open(connections[0])
    finally:
        for connection in connections:
            connection.close()


def test_incomplete_heads_are_bounded_in_memory(gunicorn: Any, settings: Any) -> None:
    server = gunicorn(APP, *settings(MAX_BUFFERED=100_000))
    large, small = (connect(server.port, False) for _ in range(2))
    with large, small:
        small.sendall(HEALTH[:-2])
        large.sendall(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(OSError):
            for number in range(20):
                large.sendall(b"A-%d: " % number + b"a" * 8000 + b"\r\n")
        assert closed_after(large) < constants.HEAD_TIMEOUT
        small.sendall(b"\r\n")
        assert receive(small, pause=0.2).status == 200


# -- stopping


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGHUP])
def test_a_stopping_worker_serves_requests_that_are_arriving(
    gunicorn: Any, stop: signal.Signals
) -> None:
    server = gunicorn(APP, *CONFIG, "-w1")
    with connect(server.port, False) as arriving, connect(server.port, False) as silent:
        arriving.sendall(HEALTH[:-2])
        assert server.request("GET", "/health", auth=None).status == 200
        server.process.send_signal(stop)
        server.wait_for_log("Handling signal")
        arriving.sendall(b"\r\n")
        response = receive(arriving)
        assert response.status == 200
        # A client that sends nothing does not delay the worker until its deadline.
        started = time.monotonic()
        server.wait_for_log("Worker exiting")
        assert closed_after(silent) < constants.HEAD_TIMEOUT
        assert time.monotonic() - started < constants.HEAD_TIMEOUT


SLEEPER = """
import time


def app(environ, start_response):
    print("got", environ["PATH_INFO"], flush=True)
    time.sleep(float(environ["PATH_INFO"][1:]))
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGHUP])
def test_a_stopping_worker_serves_the_next_request_of_a_kept_connection(
    gunicorn: Any, stop: signal.Signals, tmp_path: Path
) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    server = gunicorn("sleeper:app", *CONFIG, "-w1", cwd=str(tmp_path))
    idle, busy = (http.client.HTTPConnection("127.0.0.1", server.port) for _ in range(2))
    with contextlib.closing(idle), contextlib.closing(busy):
        idle.request("GET", "/0")
        assert idle.getresponse().read() == b""
        # It takes longer than connections are kept.
        busy.request("GET", f"/{constants.STOP_TIMEOUT + 1}")
        server.wait_for_log("got /3")
        server.process.send_signal(stop)
        server.wait_for_log("Handling signal")
        idle.request("GET", "/0")
        for connection in (idle, busy):
            while True:
                response = connection.getresponse()
                assert (response.status, response.read()) == (200, b"")
                if response.headers["Connection"] == "close":
                    break
                connection.request("GET", "/0")


# -- other releases and workers


def test_an_unknown_release_has_a_warning_and_gunicorns_own_worker(
    serve_command: Any, tmp_path: Path
) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        "import gunicorn\n"
        "gunicorn.__version__ = '99.0.0'\n"
        "from gunicorn.app.wsgiapp import run\n"
        "run()\n"
    )
    server = serve_command([sys.executable, str(script), *CONFIG, "-w1", "--bind=127.0.0.1:0", APP])
    line = server.wait_for_log("99.0.0 is not one of the releases")
    assert " WARNING " in line
    assert server.request("GET", "/health", auth=None).status == 200


@pytest.mark.parametrize("name", ["sync", "gthread", "gevent"])
def test_other_worker_classes_can_be_chosen(gunicorn: Any, name: str) -> None:
    server = gunicorn(APP, *CONFIG, "-w1", f"--worker-class={name}")
    assert server.request("GET", "/health", auth=None).status == 200
    assert "not one of the releases" not in server.log


def test_connections_closed_for_others_are_counted_once(gunicorn: Any) -> None:
    """Many connections that send and are closed at the same time, more than the worker may have."""
    server = gunicorn(APP, *CONFIG, "-w1", "--worker-connections=32")
    for _ in range(10):
        connections = [connect(server.port, False, "127.0.0.2") for _ in range(40)]
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.sendall(b"GET")
        for connection in connections:
            connection.close()
    # If they were counted wrongly, the worker would wait for none of them to end, or forever.
    with connect(server.port, False) as arriving:
        arriving.sendall(HEALTH[:-2])
        assert server.request("GET", "/health", auth=None).status == 200
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("Handling signal")
        arriving.sendall(b"\r\n")
        assert receive(arriving).status == 200
    assert server.process.wait(PATIENCE) == 0
