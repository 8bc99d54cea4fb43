"""Stopping the master: the drain, what is accepted and finished, and what ends it at once."""

from __future__ import annotations

import http.client
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.exchanges import connect, receive
from support.waiting import PATIENCE, wait_until

CONFIG = ("-c", "python:swaig_wsgi.gunicorn", "-w2")

#: An agent, and a page that responds once the test creates a file.
PROGRAM = """
import os, time
from swaig_wsgi import AgentApp

agent = AgentApp("bank")

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/wait":
        print("waiting", flush=True)
        while not os.path.exists("release"):
            time.sleep(0.05)
    if path not in ("/wait", "/pid"):
        return agent(environ, start_response)
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
PID = b"GET /pid HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture
def start(gunicorn: Any, tmp_path: Path) -> Any:
    """Return a function that starts the program with so many seconds to drain."""
    (tmp_path / "program.py").write_text(PROGRAM)

    def start(seconds: int) -> Any:
        env = {"SWML_DRAIN_SECONDS": str(seconds), "SIGNALWIRE_SWAIG_SECRET": "of some length!!"}
        server = gunicorn("program:app", *CONFIG, cwd=str(tmp_path), **env)
        wait_until(lambda: len(workers(server)) == 2)
        assert server.request("GET", "/ready").status == 200
        return server

    return start


def workers(server: Any) -> set[int]:
    """Return the ids of the running workers."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    return {int(each) for each in children.split()}


def in_flight(server: Any, pool: ThreadPoolExecutor, path: str = "/wait") -> Any:
    """Return the future response to a request that is being served."""
    future = pool.submit(server.request, "GET", path)
    server.wait_for_log("^waiting")
    return future


def drain(server: Any) -> None:
    server.process.terminate()
    server.wait_for_log("draining")


def test_ready_is_503_at_once_while_requests_are_served(start: Any) -> None:
    server = start(3600)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    with closing(connection):
        connection.request("GET", "/pid")
        kept = connection.getresponse()
        kept.read()
        assert kept.headers["Connection"] == "keep-alive"
        drain(server)
        connection.request("GET", "/pid")
        last = connection.getresponse()
        assert (last.status, last.headers["Connection"]) == (200, "close")
    # Whichever worker responds, and although it was ready less than a second ago.
    for _ in range(20):
        response = server.request("GET", "/ready", auth=None)
        assert (response.status, response.json) == (503, {"status": "not ready"})
    assert server.request("GET", "/ready").json == {"status": "not ready", "failed": ["draining"]}
    assert server.request("GET", "/health", auth=None).status == 200
    assert server.request("GET", "/").status == 200


def test_a_worker_that_crashes_during_the_drain_is_replaced(start: Any) -> None:
    server = start(3600)
    drain(server)
    before = workers(server)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(workers(server) - {victim}) == 2)
    (replacement,) = workers(server) - before

    def responds() -> bool:
        return server.request("GET", "/pid").body == str(replacement).encode()

    wait_until(responds)
    assert {server.request("GET", "/ready", auth=None).status for _ in range(10)} == {503}


def test_a_reload_during_the_drain_is_ignored(start: Any) -> None:
    server = start(3600)
    before = workers(server)
    drain(server)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("not reloaded")
    assert workers(server) == before
    assert server.process.poll() is None


@pytest.mark.parametrize("seconds", [0, 1])
def test_requests_in_flight_are_finished_and_the_server_ends(
    start: Any, tmp_path: Path, seconds: int
) -> None:
    server = start(seconds)
    with ThreadPoolExecutor() as pool:
        response = in_flight(server, pool)
        server.process.terminate()

        def refuses() -> bool:
            try:
                connect(server.port).close()
            except OSError:
                return True
            return False

        wait_until(refuses)
        assert not response.done()
        (tmp_path / "release").touch()
        assert response.result().status == 200
    assert server.process.wait(PATIENCE) == 0
    assert ("draining" in server.log) is bool(seconds)


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("seconds", [0, 3600])
@pytest.mark.slow
def test_a_second_signal_ends_the_server_at_once(
    start: Any, seconds: int, again: signal.Signals
) -> None:
    server = start(seconds)
    with ThreadPoolExecutor() as pool:
        response = in_flight(server, pool)
        server.process.terminate()
        server.wait_for_log("Handling signal: term")
        server.process.send_signal(again)
        # The request never ends, and `graceful_timeout` would allow it 30 seconds.
        assert server.process.wait(20) == 0
        assert isinstance(response.exception(), (OSError, http.client.HTTPException))


def test_ready_is_503_for_what_is_served_without_a_drain(start: Any, tmp_path: Path) -> None:
    """Connections that were accepted before the signal are served after it."""
    server = start(0)
    stopped = workers(server)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    # A thread that still runs would take the next signal.
    wait_until(lambda: all(all_stopped(pid) for pid in stopped))
    connections = [connect(server.port) for _ in range(40)]
    for connection in connections:
        connection.sendall(PID.replace(b"/pid", b"/ready"))
    server.process.terminate()
    server.wait_for_log("Handling signal: term")
    wait_until(lambda: all_pending(stopped, signal.SIGTERM))
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    # None of the queued connections is reset.
    assert [receive(connection).status for connection in connections] == [503] * 40
    for connection in connections:
        connection.close()
    assert server.process.wait(PATIENCE) == 0


def all_stopped(pid: int) -> bool:
    """Return whether every thread of the process is stopped."""
    threads = Path(f"/proc/{pid}/task").glob("*/status")
    return all("State:\tT" in thread.read_text() for thread in threads)


def all_pending(pids: set[int], number: int) -> bool:
    """Return whether the signal waits for each of these stopped processes."""
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        (pending,) = (line for line in status.splitlines() if line.startswith("ShdPnd:"))
        if not int(pending.split()[1], 16) >> (number - 1) & 1:
            return False
    return True


@pytest.mark.slow
def test_a_master_that_was_upgraded_does_not_drain(serve_command: Any, tmp_path: Path) -> None:
    """Both masters accept from one socket, so that /ready would change from call to call."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "run.py").write_text("from gunicorn.app.wsgiapp import run\nrun()\n")
    command = [sys.executable, "run.py", *CONFIG, "--bind=127.0.0.1:0", "--pid=pid", "program:app"]
    env = {
        "SWML_DRAIN_SECONDS": "3600",
        "SIGNALWIRE_SWAIG_SECRET": "a secret of some length",
        "SWML_BASIC_AUTH_USER": "demo",
        "SWML_BASIC_AUTH_PASSWORD": "a password",
    }
    server = serve_command(command, env, cwd=str(tmp_path))
    wait_until(lambda: server.log.count("Booting worker") == 2)
    server.process.send_signal(signal.SIGUSR2)
    wait_until((tmp_path / "pid.2").exists)
    successor = int((tmp_path / "pid.2").read_text())
    try:
        wait_until(lambda: server.log.count("Booting worker") == 4)
        server.process.terminate()
        # The successor holds the pipe of the log, so that `wait` would wait for it.
        wait_until(lambda: server.process.poll() is not None)
        assert {server.request("GET", "/ready", auth=None).status for _ in range(10)} == {200}
        assert "draining" not in server.log
    finally:
        os.kill(successor, signal.SIGQUIT)
    wait_until(lambda: not Path(f"/proc/{successor}").exists())
