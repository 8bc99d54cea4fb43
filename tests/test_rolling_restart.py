"""Restarts behind a real nginx, under load: no call is lost, and none runs twice."""

from __future__ import annotations

import contextlib
import getpass
import http.client
import itertools
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.deployments import PLATFORM, SECRET
from support.exchanges import connect, receive
from support.nginx import NGINX, Nginx
from support.ports import free_port
from support.waiting import PATIENCE, wait_until
from support.wsgi import basic

CALLS = 5000
CLIENTS = 12
CONFIG = ("-c", "python:swaig_wsgi.gunicorn", "-w2")

#: A tool that takes a moment and appends the number of its call to a file, atomically.
PROGRAM = """
import os, time
from swaig_wsgi import AgentApp

app = AgentApp("bank")
record = os.open(os.environ["RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@app.tool(secure=True)
def transfer(number: int) -> str:
    '''Transfer money.

    Args:
        number: Number of the call
    '''
    time.sleep(0.01)
    os.write(record, b"%d\\n" % number)
    return f"transferred {number}"
"""

#: Start the service with a listening socket, as systemd does.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""

#: Without TLS and forwarded fields, which are the subject of test_deploy_nginx.py.
TWO_INSTANCES = """
user {user}; daemon off; worker_processes 1; pid nginx.pid; error_log error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    upstream agent {{ include servers.conf; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://agent;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_next_upstream off;
        }}
    }}
}}
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "program.py").write_text(PROGRAM)
    return {
        "RECORD": str(tmp_path / "record"),
        "PYTHONPATH": str(tmp_path),
        "SIGNALWIRE_SWAIG_SECRET": SECRET,
        "SWML_BASIC_AUTH_USER": PLATFORM[0],
        "SWML_BASIC_AUTH_PASSWORD": PLATFORM[1],
        "SWML_STORAGE_URL": f"sqlite:///{tmp_path}/store.db",
    }


class Load:
    """Clients that call the tool one call after the other, until they are stopped."""

    def __init__(self, connect: Any, target: str, number_of: Any) -> None:
        self._connect, self._target = connect, target
        self._numbers = number_of
        self.outcomes: Counter[str] = Counter()
        self.succeeded: set[int] = set()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._call_on) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _call_on(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                number = next(self._numbers)
            outcome = self._call(number)
            with self._lock:
                self.outcomes[outcome] += 1
                if outcome == "ok":
                    self.succeeded.add(number)

    def _call(self, number: int) -> str:
        call = {
            "function": "transfer",
            "argument": {"parsed": [{"number": number}]},
            "call_id": "call-1",
        }
        headers = {
            "Host": "agent.example.com",
            "Content-Type": "application/json",
            "Authorization": basic(*PLATFORM),
        }
        connection = self._connect()
        try:
            connection.request("POST", self._target, json.dumps(call), headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            return repr(error)
        finally:
            connection.close()
        if response.status == 200 and json.loads(body) == {"response": f"transferred {number}"}:
            return "ok"
        return f"{response.status} {body[:80]!r}"

    def stop_after(self, calls: int) -> None:
        wait_until(lambda: self.outcomes.total() >= calls, 10 * PATIENCE)
        self.stop()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def under_load(connect: Any, environment: dict[str, str]) -> Iterator[Load]:
    """Call the tool until the block has ended, at least `CALLS` times, and check the outcomes."""
    connection = connect()
    headers = {"Host": "agent.example.com", "Authorization": basic(*PLATFORM)}
    connection.request("GET", "/?call_id=call-1", headers=headers)
    document = json.loads(connection.getresponse().read())
    connection.close()
    (tool,) = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
    parts = urlsplit(tool["web_hook_url"])
    load = Load(connect, f"{parts.path}?{parts.query}", itertools.count())
    started = time.monotonic()
    try:
        yield load
        load.stop_after(CALLS)
    finally:
        load.stop()
    seconds = time.monotonic() - started
    print(f"{load.outcomes.total()} calls in {seconds:.1f} s: {dict(load.outcomes)}")
    assert set(load.outcomes) == {"ok"}
    assert load.outcomes["ok"] >= CALLS
    ran = [int(line) for line in Path(environment["RECORD"]).read_text().split()]
    assert len(ran) == len(set(ran))
    assert set(ran) == load.succeeded


class TwoInstances:
    """An nginx in front of two addresses, told by a health check which of them to use.

    The check is what an ingress controller or a load balancer does; this nginx has none.
    """

    def __init__(self, directory: Path, upstreams: list[int]) -> None:
        self.port = free_port()
        self._servers = directory / "servers.conf"
        self._upstreams = upstreams
        self._used: tuple[int, ...] = ()
        self._write(tuple(upstreams))
        text = TWO_INSTANCES.format(user=getpass.getuser(), port=self.port)
        (directory / "nginx.conf").write_text(text)
        self._command = [str(NGINX), "-e", "stderr", "-p", str(directory), "-c", "nginx.conf"]
        with (directory / "stderr.log").open("w") as errors:
            self._process = subprocess.Popen(self._command, stderr=errors, start_new_session=True)
        wait_until(self._responds)
        self._stopping = threading.Event()
        self._checker = threading.Thread(target=self._check)
        self._checker.start()

    def _responds(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _write(self, used: tuple[int, ...]) -> None:
        self._used = used
        lines = [f"server 127.0.0.1:{port} max_fails=0;\n" for port in used]
        self._servers.write_text("".join(lines))

    def _check(self) -> None:
        while not self._stopping.wait(0.1):
            used = tuple(port for port in self._upstreams if is_ready(port))
            if used and used != self._used:
                self._write(used)
                reload = [*self._command, "-s", "reload"]
                subprocess.run(reload, check=True, capture_output=True, timeout=PATIENCE)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def stop(self) -> None:
        self._stopping.set()
        self._checker.join()
        self._process.terminate()
        self._process.wait(PATIENCE)


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@pytest.fixture
def start_activated(serve_command: Any, environment: dict[str, str]) -> Any:
    """Return a function that starts the service with a Unix socket, as systemd does."""

    def start(listener: socket.socket, drain: int) -> Any:
        gunicorn = [sys.executable, "-m", "gunicorn", *CONFIG, "program:app"]
        settings = {"SWML_TRUSTED_PROXIES": "unix", "SWML_DRAIN_SECONDS": str(drain)}
        return serve_command(
            [sys.executable, "-c", ACTIVATE, str(listener.fileno()), *gunicorn],
            {**environment, **settings},
            listening=r"Listening at: unix:\S+ \((\d+)\)",
            pass_fds=(listener.fileno(),),
        )

    return start


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """Return a listening Unix socket, which outlives the service."""
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(tmp_path / "agent.sock"))
        held.listen(4096)
        yield held


def test_connections_wait_in_the_queue_while_a_service_restarts(
    start_activated: Any, listener: socket.socket
) -> None:
    server = start_activated(listener, 0)
    server.process.terminate()
    server.wait_for_log("Shutting down: Master")
    assert server.process.wait(PATIENCE) == 0
    request = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    waiting = [connect(listener.getsockname()) for _ in range(100)]
    for connection in waiting:
        connection.sendall(request)
    start_activated(listener, 0)
    assert {receive(connection).status for connection in waiting} == {200}
    for connection in waiting:
        connection.close()


if NGINX is not None:

    @pytest.mark.slow
    def test_a_rolling_restart_of_two_instances_loses_no_call(
        serve_command: Any, environment: dict[str, str], tmp_path: Path
    ) -> None:
        ports = [free_port(), free_port()]

        def start(port: int) -> Any:
            command = [sys.executable, "-m", "gunicorn", *CONFIG, f"--bind=127.0.0.1:{port}"]
            # Long enough for the health check to notice, on a busy machine, too.
            drain = {"SWML_DRAIN_SECONDS": "8"}
            server = serve_command([*command, "program:app"], {**environment, **drain})
            wait_until(lambda: is_ready(port))
            return server

        servers = [start(port) for port in ports]
        nginx = TwoInstances(tmp_path, ports)
        try:
            with under_load(nginx.connect, environment):
                for number, port in enumerate(ports):
                    servers[number].process.terminate()
                    assert servers[number].process.wait(PATIENCE) == 0
                    servers[number] = start(port)
        finally:
            nginx.stop()

    @pytest.mark.slow
    def test_restarts_of_a_service_with_a_socket_unit_lose_no_call(
        start_activated: Any,
        listener: socket.socket,
        environment: dict[str, str],
        tmp_path: Path,
    ) -> None:
        """The test holds the socket, as systemd does, and nginx has the example's configuration."""
        server = start_activated(listener, 1)
        (tmp_path / "nginx").mkdir()
        nginx = Nginx(tmp_path / "nginx", listener.getsockname())
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        def connect() -> http.client.HTTPSConnection:
            return http.client.HTTPSConnection(
                "127.0.0.1", nginx.https, context=context, timeout=PATIENCE
            )

        try:
            with under_load(connect, environment):
                for _ in range(3):
                    server.process.terminate()
                    assert server.process.wait(PATIENCE) == 0
                    server = start_activated(listener, 1)
        finally:
            nginx.stop()
