"""The deployment with nginx and systemd: its units, started as by systemd, and a real nginx."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.deployments import PLATFORM, SECRET, is_served, settings_of, write_secrets
from support.nginx import NGINX, Nginx
from support.waiting import PATIENCE
from support.wsgi import basic

import swaig_wsgi.gunicorn as gunicorn_module

EXAMPLE = Path(__file__).parent.parent / "examples" / "deploy_nginx"
TOKEN = "dG9rZW4tb2YtYS1jYWxs"
TARGET = f"/swaig?__token={TOKEN}"

#: Do as systemd does: bind the unit's socket, and start the service with it.
ACTIVATE = """
import os, socket, sys
path, mode, *command = sys.argv[1:]
if path:
    listener = socket.socket(socket.AF_UNIX)
    os.umask(0o777 ^ int(mode, 8))
    listener.bind(path)
else:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
listener.listen()
os.umask(0o077)
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(command[0], command)
"""


#: An agent that closes connections without a response, or sends an invalid one.
BROKEN_AGENT = r"""
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        if b"junk" in self.rfile.readline():
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n")
socketserver.UnixStreamServer(sys.argv[1], Handler).serve_forever()
"""


class Unit(configparser.RawConfigParser):
    """A systemd unit; repeated keys are numbered."""

    def __init__(self, name: str) -> None:
        super().__init__(strict=True, delimiters=("=",), comment_prefixes=("#",))
        self.optionxform = str  # type: ignore[assignment]
        seen: dict[str, int] = {}
        lines = []
        for line in (EXAMPLE / name).read_text().splitlines():
            key, equals, _ = line.partition("=")
            if equals and key in ("Environment", "LoadCredential"):
                seen[key] = seen.get(key, 0) + 1
                line = f"{key}.{seen[key]}{line[len(key) :]}"
            lines.append(line)
        self.read_string("\n".join(lines))

    def all(self, key: str) -> list[str]:
        return [value for name, value in self["Service"].items() if name.startswith(f"{key}.")]


SERVICE = Unit("swaig-agent.service")
SOCKET_UNIT = Unit("swaig-agent.socket")
SOCKET = SOCKET_UNIT["Socket"]
ANALYZE = shutil.which("systemd-analyze")


def environment(directory: Path) -> dict[str, str]:
    """Return the service's variables, with secrets and store in `directory`."""
    write_secrets(directory)
    lines = [line.replace("%d", str(directory)) for line in SERVICE.all("Environment")]
    variables = dict(line.split("=", 1) for line in lines)
    return {**variables, "SWML_STORAGE_URL": f"sqlite:///{directory}/store.db"}


def command(path: str) -> list[str]:
    """Return the command that starts the service on the unix socket `path`, or a port if empty."""
    program, *arguments = shlex.split(SERVICE["Service"]["ExecStart"])
    assert program.endswith("/.venv/bin/gunicorn")
    gunicorn = [sys.executable, "-m", "gunicorn", *arguments]
    return [sys.executable, "-c", ACTIVATE, path, SOCKET["SocketMode"], *gunicorn]


@pytest.fixture
def start_agent(serve_command: Any, tmp_path: Path) -> Any:
    listening = r"Listening at: unix:\S+ \((\d+)\)"
    return lambda path: serve_command(command(path), environment(tmp_path), listening=listening)


def configuration() -> str:
    """Return nginx.conf without its comments."""
    return re.sub(r"^\s*#.*$", "", (EXAMPLE / "nginx.conf").read_text(), flags=re.MULTILINE)


# systemd


def test_the_service_drops_privileges_and_serves(serve_command: Any, tmp_path: Path) -> None:
    service = SERVICE["Service"]
    assert service["User"] not in ("root", "")
    assert service["NoNewPrivileges"] == "yes"
    names = [line.partition(":")[0] for line in SERVICE.all("LoadCredential")]
    assert names == ["password", "password-fallbacks", "secret", "secret-fallbacks"]
    variables = environment(tmp_path)
    settings = settings_of(variables)
    assert settings.trusted_proxies == ("unix",)
    assert settings.swaig_secret == SECRET
    is_served(serve_command(command(""), variables), "agent.example.com")


def test_the_service_and_nginx_use_the_socket() -> None:
    assert "swaig-agent.socket" in SERVICE["Unit"]["Requires"].split()
    assert "--bind" not in SERVICE["Service"]["ExecStart"]
    assert f"server unix:{SOCKET['ListenStream']};" in configuration()
    assert f"user {SOCKET['SocketGroup']};" in configuration()


def test_systemd_waits_until_a_restart_has_lost_nothing(tmp_path: Path) -> None:
    service = SERVICE["Service"]
    # The process to which systemd sends TERM tells the workers, and the socket unit holds the
    # socket meanwhile: it neither stops with the service nor removes the socket.
    assert service["KillMode"] == "mixed"
    assert not SOCKET.keys() & {"RemoveOnStop", "FlushPending"}
    assert "PartOf" not in SOCKET_UNIT["Unit"]
    drain = settings_of(environment(tmp_path)).drain_seconds
    assert drain >= gunicorn_module.keepalive > 0
    assert int(service["TimeoutStopSec"]) > drain + gunicorn_module.graceful_timeout
    assert SOCKET["SocketMode"] == "0660"


if ANALYZE is not None:

    def test_systemd_accepts_the_units(tmp_path: Path) -> None:
        for name in ("swaig-agent.service", "swaig-agent.socket"):
            text = (EXAMPLE / name).read_text()
            program = SERVICE["Service"]["ExecStart"].split()[0]
            (tmp_path / name).write_text(text.replace(program, sys.executable))
        units = [str(tmp_path / name) for name in ("swaig-agent.service", "swaig-agent.socket")]
        done = subprocess.run(
            [ANALYZE, "verify", *units], capture_output=True, text=True, timeout=PATIENCE
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_other_users_cannot_connect_to_the_socket(start_agent: Any) -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)  # noqa: S103 - the mode is part of the test
        path = os.path.join(directory, "agent.sock")
        start_agent(path)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        if os.getuid() != 0:
            return  # only root can connect as another user
        connect = (
            "import os, socket\n"
            "client = socket.socket(socket.AF_UNIX)\n"
            "os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
            f"client.connect({path!r})\n"
        )

        def as_nobody() -> str:
            arguments = [sys.executable, "-S", "-I", "-c", connect]
            completed = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE)
            return completed.stderr.strip().rpartition("\n")[2]

        assert as_nobody() == "PermissionError: [Errno 13] Permission denied"
        os.chmod(path, 0o777)  # noqa: S103 - the mode is part of the test
        assert as_nobody() == ""


# nginx


def test_nginx_overwrites_every_trusted_field() -> None:
    text = configuration()
    assert text.count("{") == text.count("}")
    fields = dict(re.findall(r"proxy_set_header\s+(\S+)\s+(\S+);", text))
    assert fields == {
        "Host": "$host",
        "X-Forwarded-For": "$remote_addr",
        "X-Forwarded-Proto": "$scheme",
        "X-Forwarded-Host": "$host",
        "X-Forwarded-Port": '""',
        "X-Forwarded-Prefix": '""',
        "Forwarded": '""',
    }
    assert "proxy_next_upstream off;" in text
    assert "$request_uri" not in text
    assert '"$request"' not in text


@pytest.fixture
def start_nginx(tmp_path: Path) -> Iterator[Any]:
    started: list[Nginx] = []

    def start(upstream: str, **options: str) -> Nginx:
        directory = tmp_path / f"nginx-{len(started)}"
        directory.mkdir()
        started.append(Nginx(directory, upstream, **options))
        return started[-1]

    yield start
    for nginx in started:
        nginx.stop()


if NGINX is not None:
    CREDENTIALS = basic(*PLATFORM)

    def test_the_agent_is_served_behind_nginx(
        start_nginx: Any, start_agent: Any, tmp_path: Path
    ) -> None:
        start_agent(f"{tmp_path}/agent.sock")
        nginx = start_nginx(f"{tmp_path}/agent.sock")
        forged = {
            "X_Forwarded_For": "203.0.113.66",
            "X_Forwarded_Proto": "http",
            "X_Forwarded_Host": "evil.example",
            "X_Forwarded_Prefix": "/evil",
            "X_Forwarded_Port": "1",
            "Forwarded": "host=evil.example;proto=http",
            "Authorization": CREDENTIALS,
        }
        response = nginx.request("POST", "/", {"call_id": "call-1"}, **forged)
        assert response.status == 200
        assert response.headers["Strict-Transport-Security"]
        document = json.loads(response.content)
        functions = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
        url = next(f["web_hook_url"] for f in functions if f["function"] == "transfer_funds")
        parts = urlsplit(url)
        assert (parts.scheme, parts.hostname, parts.port) == ("https", "agent.example.com", None)
        assert parts.path == "/swaig"
        call = {
            "function": "transfer_funds",
            "argument": {"parsed": [{"amount": 5, "toAccount": "A-1"}]},
            "call_id": "call-1",
        }
        called = nginx.request("POST", f"/swaig?{parts.query}", call, Authorization=CREDENTIALS)
        assert json.loads(called.content) == {"response": "Transfer completed."}
        assert nginx.request("GET", "/").status == 401
        evil = nginx.request("GET", "/", Authorization=CREDENTIALS, Host="evil.example")
        assert evil.status == 403
        # Guesses are limited, whatever address the client claims; nginx reports the real one.
        wrong = {**forged, "Authorization": basic(PLATFORM[0], "wrong")}
        statuses = [nginx.request("GET", "/", **wrong).status for _ in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        log = nginx.stop()
        assert '"POST /swaig" 200' in log
        assert "__token" not in log

    @pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
    def test_plain_http_is_refused_and_not_redirected(
        start_nginx: Any, tmp_path: Path, method: str
    ) -> None:
        nginx = start_nginx(f"{tmp_path}/none.sock")
        response = nginx.request(method, TARGET, over="http", Authorization=CREDENTIALS)
        assert response.status == 403
        assert response.headers["Location"] is None
        assert response.headers["Content-Type"] == "application/json"
        if method != "HEAD":
            assert json.loads(response.content) == {"error": "Forbidden: https required"}
        log = nginx.stop()
        assert f'"{method} /swaig" 403' in log
        assert TOKEN not in log

    def cause_failures(nginx: Nginx, path: str) -> None:
        """Send requests that fail, with a token: with no agent at `path`, then a broken one."""
        assert nginx.request("POST", TARGET, {}).status == 502
        with socket.socket(socket.AF_UNIX) as closed:
            closed.bind(path)
        assert nginx.request("POST", TARGET, {}).status == 502
        os.unlink(path)
        server = subprocess.Popen([sys.executable, "-c", BROKEN_AGENT, path])
        try:
            end = time.monotonic() + PATIENCE
            while not os.path.exists(path) and time.monotonic() < end:
                time.sleep(0.02)
            assert nginx.request("POST", TARGET, {}).status == 502
            assert nginx.request("POST", f"{TARGET}&junk", {}).status == 502
        finally:
            server.terminate()
            server.wait()
        assert nginx.request("POST", TARGET, b"x" * 2_000_000).status == 413
        line = f"GET {TARGET} HTTP"
        nginx.send(nginx.https, f"{line}/1.1\r\nHost: agent.example.com\r\n\r\n".encode())
        for port in (nginx.http, nginx.https):
            nginx.send(port, f"{line}/9.9\r\n\r\n".encode())

    @pytest.mark.parametrize("error_level", ["emerg", "info"])
    def test_failed_requests_log_no_token(
        start_nginx: Any, tmp_path: Path, error_level: str
    ) -> None:
        path = f"{tmp_path}/agent.sock"
        nginx = start_nginx(path, error_level=error_level)
        cause_failures(nginx, path)
        log = nginx.stop()
        assert log.count('"POST /swaig" 502') == 4
        assert 'upstream="502"' in log
        # At the level of a default configuration, these failures do log the token.
        assert (TOKEN in log) is (error_level == "info")
