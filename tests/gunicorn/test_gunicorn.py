"""The configuration module of gunicorn, in real servers."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from support.waiting import wait_until

import swaig_wsgi.gunicorn
from swaig_wsgi.processes import current, install

APP = "swaig_wsgi.examples.basic:app"
CONFIG = ("-c", "python:swaig_wsgi.gunicorn")
SECRET = {"SIGNALWIRE_SWAIG_SECRET": "a secret of some length"}
CERTS = Path(__file__).parents[1] / "certs"

# The request as the application sees it, behind the layers that the environment configures.
ECHO = """
import json
from swaig_wsgi import harden

def echo(environ, start_response):
    if environ["PATH_INFO"] == "/raise":
        raise RuntimeError("first line\\n2026-01-01T00:00:00.000Z [1] INFO x: forged")
    seen = [environ["wsgi.url_scheme"], environ["SCRIPT_NAME"], environ["PATH_INFO"]]
    seen += [name for name in environ if "FORWARDED" in name and "PROTO" not in name]
    body = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]

app = harden(echo)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "echo.py").write_text(ECHO)
    return tmp_path


def run(*options: str, app: str = APP, **env: str) -> subprocess.CompletedProcess[str]:
    """Run gunicorn until it exits by itself."""
    return subprocess.run(
        [sys.executable, "-m", "gunicorn", *CONFIG, "--bind=127.0.0.1:0", *options, app],
        env={**os.environ, **env},  # without our settings: see conftest.py
        capture_output=True,
        text=True,
        timeout=60,
    )


def print_config(*options: str, **env: str) -> dict[str, str]:
    done = run("--print-config", *options, **env)
    assert done.returncode == 0, done.stderr
    lines = (line.partition("=") for line in done.stdout.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


# -- settings


def test_attributes_named_like_settings_are_exactly_those_exported() -> None:
    """gunicorn reads every such attribute, so that no import and no helper may be among them."""
    program = (
        "import sys, swaig_wsgi.gunicorn as module\n"
        "assert not {'gunicorn', 'werkzeug', 'redis'} & set(sys.modules)\n"
        "from swaig_wsgi.processes import current\n"
        "assert current() is None\n"
        "print(*vars(module))\n"
        "print(*module.__all__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    attributes, exported = (set(line.split()) for line in done.stdout.splitlines())
    modules = {path.stem for path in Path(swaig_wsgi.gunicorn.__path__[0]).glob("*.py")}
    assert (attributes | modules) & set(Config().settings) == exported
    assert {"workers", "forwarder_headers", "ssl_context", "on_reload"} <= exported


def test_the_defaults_and_what_overrides_them() -> None:
    config = print_config()
    assert config["worker_class"] == "swaig_wsgi.gunicorn._worker.Worker"
    assert 2 <= int(config["workers"]) <= 8
    assert config["threads"] == "8"
    assert config["limit_request_fields"] == "64"
    assert config["forwarded_allow_ips"] == config["forwarder_headers"] == "[]"
    assert config["secure_scheme_headers"] == "{}"
    assert print_config("--workers=3", "--threads=2")["workers"] == "3"
    environment = print_config("--threads=2", GUNICORN_CMD_ARGS="--workers=5 --threads=7")
    assert (environment["workers"], environment["threads"]) == ("5", "2")
    assert print_config(WEB_CONCURRENCY="6")["workers"] == "6"


def test_a_custom_configuration_file_can_import_the_settings(gunicorn: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from swaig_wsgi.gunicorn import *\nworkers = 3\n")
    server = gunicorn(
        APP,
        "-c",
        "mine.py",
        cwd=str(tmp_path),
        SWML_BASIC_AUTH_USER="",
        SWML_BASIC_AUTH_PASSWORD="",
    )
    wait_until(lambda: server.log.count("generated credentials") == 3)
    assert server.request("GET", "/ready", auth=None).status == 200


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"SWML_RATE_LIMIT": "abc"}, ["SWML_RATE_LIMIT"]),
        ({"SWML_BASIC_AUTH_USER": "me"}, ["SWML_BASIC_AUTH_PASSWORD"]),
        ({"SIGNALWIRE_SWAIG_SECRET_FILE": "/no/such"}, ["SIGNALWIRE_SWAIG_SECRET_FILE"]),
        ({"SWML_SSL_ENABLED": "true"}, ["SWML_SSL_CERT_PATH"]),
        (
            {"SWML_SSL_ENABLED": "true", "SWML_SSL_CERT_PATH": "/no/such", **SECRET},
            ["SWML_SSL_CERT_PATH", "/no/such"],
        ),
        (
            {
                "SWML_SSL_ENABLED": "true",
                "SWML_SSL_CERT_PATH": str(CERTS / "cert.pem"),
                "SWML_SSL_KEY_PATH": str(CERTS / "other-key.pem"),
            },
            ["SWML_SSL_KEY_PATH", "other-key.pem"],
        ),
    ],
)
def test_errors_in_the_configuration_are_named_before_any_worker_starts(
    env: dict[str, str], named: list[str], tmp_path: Path
) -> None:
    pidfile = tmp_path / "pid"
    done = run(f"--pid={pidfile}", **env)
    assert done.returncode == 1
    for each in named:
        assert each in done.stderr
    for each in ("Traceback", "Booting worker", "Listening at"):
        assert each not in done.stderr
    assert not pidfile.exists()


def test_no_control_socket_unless_asked_for(gunicorn: Any, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    server = gunicorn(APP, *CONFIG, **home)
    assert server.request("GET", "/health", auth=None).status == 200
    asked = gunicorn(APP, *CONFIG, f"--control-socket={tmp_path}/asked.ctl", **home)
    wait_until((tmp_path / "asked.ctl").exists)
    assert asked.request("GET", "/health", auth=None).status == 200
    assert [path.name for path in tmp_path.rglob("*")] == ["asked.ctl"]


def test_the_private_store_is_removed_with_the_server(gunicorn: Any, tmp_path: Path) -> None:
    server = gunicorn(
        APP,
        *CONFIG,
        "-w2",
        TMPDIR=str(tmp_path),
        SWML_RATE_LIMIT="5",
    )
    (private,) = tmp_path.glob("swaig-wsgi-*")
    assert private.stat().st_mode & 0o777 == 0o700
    statuses = [server.request("GET", "/").status for _ in range(8)]
    assert statuses == [200] * 5 + [429] * 3
    assert "store fails" not in server.log
    # Workers that exit do not remove it.
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: server.log.count("Worker exiting") == 2)
    assert [server.request("GET", "/").status for _ in range(2)] == [429, 429]
    server.process.terminate()
    assert server.process.wait(60) == 0
    assert list(tmp_path.glob("swaig-wsgi-*")) == []


def test_the_private_store_belongs_to_the_user_of_the_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = swaig_wsgi.gunicorn
    changed: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "chown", lambda *given: changed.append(given))
    server = SimpleNamespace(cfg=SimpleNamespace(uid=os.geteuid() + 1, gid=7))
    try:
        module.nworkers_changed(server, 1, None)
        shared = current()
        assert shared is not None
        assert shared.store is None
        assert changed == []
        module.nworkers_changed(server, 2, None)
        assert current() is shared
        assert shared.store is not None
        assert changed == [(os.path.dirname(shared.store.path), os.geteuid() + 1, 7)]
    finally:
        install(None)


# -- what gunicorn trusts


class Unix(http.client.HTTPConnection):
    """A connection over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        """Open it."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self._path)


FORGED = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Protocol": "ssl",
    "X-Forwarded-Ssl": "on",
    "SCRIPT_NAME": "/forged",
    "PATH_INFO": "/forged",
    "REMOTE_USER": "forged",
    "X_FORWARDED_FOR": "192.0.2.9",
}


def seen_behind(connection: http.client.HTTPConnection) -> list[str]:
    connection.request("GET", "/forged/path", headers=FORGED)
    response = connection.getresponse()
    body = response.read()
    assert "Strict-Transport-Security" not in response.headers
    connection.close()
    seen: list[str] = json.loads(body)
    return seen


def over(kind: str, options: tuple[str, ...], fixtures: Any, directory: Path) -> list[str]:
    if kind == "tcp":
        server = fixtures("gunicorn")("echo:app", *options, cwd=str(directory))
        return seen_behind(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60))
    path = str(directory / "socket")
    command = [sys.executable, "-m", "gunicorn", *options, f"--bind=unix:{path}", "echo:app"]
    server = fixtures("serve_command")(
        command, listening=r"Listening at: unix:\S+ \((\d+)\)", cwd=str(directory)
    )
    server.wait_for_log("Booting worker")
    return seen_behind(Unix(path))


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_forged_headers_change_nothing(kind: str, request: Any, directory: Path) -> None:
    options = (*CONFIG, "-w1")
    seen = over(kind, options, request.getfixturevalue, directory)
    assert seen == ["http", "", "/forged/path", "HTTP_X_FORWARDED_SSL"]


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_gunicorn_alone_trusts_forged_headers(kind: str, request: Any, directory: Path) -> None:
    """Shows that the test above attacks something that exists."""
    scheme, script_name, *_ = over(kind, (), request.getfixturevalue, directory)
    assert (scheme, script_name) == ("https", "/forged")


def test_responses_do_not_contain_the_version_of_the_server(gunicorn: Any) -> None:
    response = gunicorn(APP, *CONFIG).request("GET", "/health", auth=None)
    assert not re.search(r"\d", response.headers.get("Server", ""))


# -- the log

TOKEN = "dG9rZW4tdGhhdC1tdXN0LW5vdC1iZS1zZWVu"
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[\d+\] [A-Z]+ [\w.]+: .*|    .*")


@pytest.mark.parametrize(
    "options",
    [
        ["--access-logfile=-"],
        ["--access-logfile=-", "--access-logformat=%(h)s %(r)s %(q)s %(f)s %({raw_uri}e)s"],
    ],
)
def test_each_record_is_one_line_without_tokens(
    options: list[str], gunicorn: Any, directory: Path
) -> None:
    server = gunicorn("echo:app", *CONFIG, "-w1", *options, cwd=str(directory))
    query = f"__token={TOKEN}&x=1"
    referer = {"Referer": f"https://a.example/?{query}", "User-Agent": f"agent {query}"}
    for path in (
        f"/swaig?{query}",
        f"/a%0A2026-01-01T00:00:00.000Z%20[1]%20INFO%20forged%1b[2J?{query}",
        f"/x?%5f_token={TOKEN}",
        f"/?a={'b' * 5000}&{query}",
        f"/raise?{query}",
    ):
        server.request("GET", path, headers=referer, auth=("forged\nuser", "x"))
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as bad:
        bad.sendall(f"GET /?{query}\x01 HTTP/1.1\r\n\r\n".encode())
        assert bad.recv(100)
    server.wait_for_log("Invalid request|Invalid HTTP")
    server.wait_for_log("RuntimeError: first line")
    assert TOKEN not in server.log
    assert "****" in server.log
    for line in server.lines:
        assert LINE.fullmatch(line.rstrip("\n")), line
        assert "\x1b" not in line
        assert not line.startswith("2026-01-01T00:00:00.000Z")
    assert "RuntimeError: first line" in server.log


LOG_CONFIG = """
[loggers]
keys=root,ours
[handlers]
keys=mine
[formatters]
keys=plain
[logger_root]
level=DEBUG
handlers=mine
[logger_ours]
qualname=gunicorn.error
level=DEBUG
propagate=0
handlers=mine
[handler_mine]
class=StreamHandler
formatter=plain
args=(sys.stdout,)
[formatter_plain]
format=%(message)s
"""


@pytest.mark.parametrize("kind", ["default", "debug", "log-config", "log-config-json"])
def test_attack_malformed_requests_reach_no_log(kind: str, gunicorn: Any, directory: Path) -> None:
    plain = {"format": "%(message)s"}
    handler = {"class": "logging.StreamHandler", "formatter": "plain"}
    config = {
        "version": 1,
        "formatters": {"plain": plain},
        "handlers": {"console": handler},
        "root": {"level": "DEBUG", "handlers": ["console"]},
        "loggers": {"gunicorn.error": {"level": "DEBUG", "handlers": ["console"]}},
    }
    (directory / "log.json").write_text(json.dumps(config))
    (directory / "log.ini").write_text(LOG_CONFIG)
    options = {
        "default": [],
        "debug": ["--log-level=debug"],
        "log-config": [f"--log-config={directory / 'log.ini'}"],
        "log-config-json": [f"--log-config-json={directory / 'log.json'}"],
    }[kind]
    # The fixture waits for "Listening at", which every format contains.
    server = gunicorn("echo:app", *CONFIG, "-w1", *options, cwd=str(directory))
    start = b"GET / HTTP/1.1\r\nHost: a\r\n"
    secret = b"c2VjcmV0LXMzY3JldA=="
    attacks = [
        start + b"Authorization Basic " + secret + b"\r\n\r\n",
        start + b"Authorization: Basic\r\n " + secret + b"\r\n\r\n",
        start + b"Authorization : Basic " + secret + b"\r\n\r\n",
        start + b"Cookie session=" + secret + b"\r\n\r\n",
        start + b"X-Api-Key " + secret + b"\r\n\r\n",
        start + b"X-Api-Key: a\r\n" + secret + b"\r\n\r\n",
        start + b'{"__token": "' + secret + b'"}\r\n\r\n',
        start + b"Content-Length: 0\r\n\r\n" + b'{"password": "' + secret + b'"}\r\n\r\n',
        start + b"Transfer-Encoding: " + secret + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + secret + b"\r\n\r\n",
        secret + b" / HTTP/1.1\r\n\r\n",
        b"GET / " + secret + b"\r\n\r\n",
        start + b"Authorization: Basic " + secret,  # and then the end
    ]
    for attack in attacks:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as bad:
            bad.sendall(attack)
            bad.shutdown(socket.SHUT_WR)
            while bad.recv(1000):
                pass
    server.wait_for_log("Invalid request from ip=127.0.0.1: Invalid HTTP Header ")
    assert server.request("GET", "/raise", auth=None).status == 500
    server.wait_for_log("RuntimeError: first line")
    assert secret[:10].decode() not in server.log


def test_the_default_line_has_no_query(gunicorn: Any) -> None:
    server = gunicorn(APP, *CONFIG, "-w1", "--access-logfile=-")
    server.request("GET", "/ready?secret=of-the-query", auth=None)
    line = server.wait_for_log("/ready")
    assert '127.0.0.1 - "GET /ready HTTP/1.1" 200 ' in line
    assert "of-the-query" not in server.log


def test_every_line_can_be_a_json_object(gunicorn: Any, directory: Path) -> None:
    env = {"SIGNALWIRE_LOG_FORMAT": "json"}
    server = gunicorn("echo:app", *CONFIG, "-w1", "--access-logfile=-", cwd=str(directory), **env)
    query = f"__token={TOKEN}&x=1"
    server.request("GET", f"/a%0Ab?{query}", headers={"X-Request-Id": "the-request"})
    server.request("GET", f"/raise?{query}")
    server.wait_for_log("RuntimeError")
    server.stop()
    server.wait()
    records = [json.loads(line) for line in server.lines]
    assert {"time", "level", "logger", "process", "message"} <= set.intersection(*map(set, records))
    assert [each for each in records if "RuntimeError: first line" in each.get("exception", "")]
    assert TOKEN not in server.log


def test_a_500_has_the_id_of_its_records_and_the_security_headers(
    gunicorn: Any, directory: Path
) -> None:
    server = gunicorn("echo:app", *CONFIG, "-w1", "--access-logfile=-", cwd=str(directory))
    response = server.request("GET", "/raise", auth=None)
    assert (response.status, response.json) == (500, {"error": "Internal server error"})
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    known = response.headers["X-Request-Id"]
    server.wait_for_log(f'GET /raise HTTP/1.1" 500 .* {known}$')
    assert f" request_failed reason=exception client=127.0.0.1 request_id={known} " in server.log
    assert f" ERROR swaig_wsgi: the application raised request_id={known}\n" in server.log
    assert "Error handling request" not in server.log


def test_what_was_summed_is_logged_when_a_worker_stops(gunicorn: Any) -> None:
    server = gunicorn("swaig_wsgi.examples.basic:app", *CONFIG, "-w1", "--access-logfile=-")
    ids = [server.request("GET", "/", auth=None).headers["X-Request-Id"] for _ in range(30)]
    server.stop()
    server.wait()
    lines = [line for line in server.lines if " auth_refused " in line]
    assert len(lines) == 11
    assert lines[10].endswith(" repeated=20\n")
    # The access log has the ids, too.
    assert all(f'" {each}\n' in server.log for each in ids)


@pytest.mark.slow
@pytest.mark.parametrize("worker", ["swaig_wsgi.gunicorn._worker.Worker", "gthread"])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
def test_attack_invalid_requests_are_summed_by_client(
    gunicorn: Any, worker: str, tls: bool
) -> None:
    env = {
        "SWML_SSL_ENABLED": str(tls).lower(),
        "SWML_SSL_CERT_PATH": str(CERTS / "cert.pem"),
        "SWML_SSL_KEY_PATH": str(CERTS / "key.pem"),
    }
    server = gunicorn(APP, *CONFIG, "-w1", "--worker-class", worker, **env)
    for _ in range(300):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as bad:
            bad.sendall(b"GET / HTTP/9.9\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                while bad.recv(1000):
                    pass
    server.stop()
    server.wait()
    lines = [line for line in server.lines if "Invalid request from ip=127.0.0.1: " in line]
    assert len(lines) == 11
    assert lines[10].endswith(" repeated=290\n")
    assert (
        lines[10]
        .split(" gunicorn.error: ")[1]
        .startswith(lines[9].split(" gunicorn.error: ")[1].rstrip("\n"))
    )


@pytest.mark.parametrize("worker", ["swaig_wsgi.gunicorn._worker.Worker", "sync"])
def test_attack_an_application_that_raises_late_does_not_fill_the_log(
    gunicorn: Any, worker: str, tmp_path: Path
) -> None:
    (tmp_path / "late.py").write_text(
        "from swaig_wsgi import harden\n"
        "def site(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    yield b'the beginning'\n"
        "    raise RuntimeError('x' * 3000)\n"
        "app = harden(site)\n"
    )
    server = gunicorn("late:app", *CONFIG, "-w1", "--worker-class", worker, cwd=str(tmp_path))
    for _ in range(60):
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            server.request("GET", "/")
    server.stop()
    server.wait()
    assert server.log.count("Traceback (most recent call last)") == 10
    first, *_, last = [line for line in server.lines if "Error handling request" in line]
    assert "repeated" not in first
    assert last.endswith(" repeated=50\n")
    failed = [line for line in server.lines if "request_failed reason=exception" in line]
    assert len(failed) == 11
    assert failed[-1].endswith(" repeated=50\n")


def test_all_records_go_to_the_error_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    # Not with the fixture, which waits for "Listening at" on standard error.
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", *CONFIG, "-w1", "--bind=127.0.0.1:0"),
            *(f"--error-logfile={log}", APP),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONDEVMODE": "1"},  # warns of files that are not closed
    )
    try:
        wait_until(lambda: log.exists() and "generated credentials" in log.read_text())
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: log.read_text().count("generated credentials") == 2)
    finally:
        process.terminate()
        out, _ = process.communicate(timeout=60)
    assert out == ""
    text = log.read_text()
    assert "WARNING swaig_wsgi: " in text
    assert "INFO gunicorn.error: Starting" in text
    assert all(LINE.fullmatch(line) for line in text.splitlines())


# -- TLS


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, str]:
    """Return the variables of TLS with files that the test may change."""
    for name in ("cert.pem", "key.pem"):
        shutil.copy(CERTS / name, tmp_path / name)
    return {
        "SWML_SSL_ENABLED": "true",
        "SWML_SSL_CERT_PATH": str(tmp_path / "cert.pem"),
        "SWML_SSL_KEY_PATH": str(tmp_path / "key.pem"),
    }


def handshake(server: Any, **versions: ssl.TLSVersion) -> tuple[bytes, str | None, str | None]:
    """Return the server's certificate, the version and the protocol above it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    for name, version in versions.items():
        setattr(context, name, version)
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as plain,
        context.wrap_socket(plain) as secure,
    ):
        certificate = secure.getpeercert(binary_form=True)
        assert certificate is not None
        version, protocol = secure.version(), secure.selected_alpn_protocol()
        secure.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head = b""
        while chunk := secure.recv(4096):
            head += chunk
        assert b'{"status": "ok"}' in head
        assert b"Strict-Transport-Security" in head
        return certificate, version, protocol


def new_certificate(directory: Path) -> bytes:
    """Replace the files with a new pair, and return the certificate in DER."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=new"),
            *("-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return ssl.PEM_cert_to_DER_cert((directory / "cert.pem").read_text())


def test_tls_from_the_variables(gunicorn: Any, tls: dict[str, str]) -> None:
    server = gunicorn(APP, *CONFIG, "-w1", **tls)
    certificate, version, protocol = handshake(server)
    assert certificate == ssl.PEM_cert_to_DER_cert((CERTS / "cert.pem").read_text())
    assert version == "TLSv1.3"
    assert protocol == "http/1.1"
    with pytest.raises((ssl.SSLError, ConnectionError)), pytest.warns(match="TLSv1_1"):
        handshake(
            server,
            minimum_version=ssl.TLSVersion.TLSv1_1,
            maximum_version=ssl.TLSVersion.TLSv1_1,
        )


def test_client_certificates_can_be_required(gunicorn: Any, tls: dict[str, str]) -> None:
    options = ("--cert-reqs=2", f"--ca-certs={CERTS / 'cert.pem'}")
    server = gunicorn(APP, *CONFIG, "-w1", *options, **tls)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(server)
    done = run("--ca-certs=/no/such", **tls)
    assert done.returncode == 1
    assert "ca_certs" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reload_reads_the_certificate_again(
    gunicorn: Any, tls: dict[str, str], tmp_path: Path
) -> None:
    server = gunicorn(APP, *CONFIG, "-w1", **tls)
    before, _, _ = handshake(server)
    after = new_certificate(tmp_path)
    assert handshake(server)[0] == before
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "Worker exiting" in server.log)
    assert handshake(server)[0] == after != before


@pytest.mark.parametrize("broken", ["junk", "gone", "mismatched"])
def test_a_reload_with_a_broken_certificate_changes_nothing(
    broken: str, gunicorn: Any, tls: dict[str, str], tmp_path: Path
) -> None:
    server = gunicorn(APP, *CONFIG, "-w1", **tls)
    before, _, _ = handshake(server)
    if broken == "gone":
        (tmp_path / "cert.pem").unlink()
    elif broken == "junk":
        (tmp_path / "cert.pem").write_text("junk")
    else:
        shutil.copy(CERTS / "other-key.pem", tmp_path / "key.pem")
    server.process.send_signal(signal.SIGHUP)
    line = server.wait_for_log("not reloaded")
    assert "SWML_SSL_" in line
    assert handshake(server)[0] == before
    # A worker that is replaced later has a certificate, too.
    (pid,) = re.findall(r"Booting worker with pid: (\d+)", server.log)
    os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: server.log.count("Booting worker") == 2)
    assert handshake(server)[0] == before
    after = new_certificate(tmp_path)
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: server.log.count("Booting worker") == 3)
    wait_until(lambda: handshake(server)[0] == after)


# -- reloads and upgrades


def test_a_reload_with_a_broken_secret_file_changes_nothing(gunicorn: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret of some length")
    (tmp_path / "loaded.py").write_text(
        "from swaig_wsgi.examples.basic import app\nprint('loaded', app.name, flush=True)\n"
    )
    server = gunicorn(
        *("loaded:app", *CONFIG, "-w2"),
        cwd=str(tmp_path),
        SIGNALWIRE_SWAIG_SECRET_FILE=str(secret),
    )
    wait_until(lambda: server.log.count("loaded basic-agent") == 2)
    secret.write_text("")
    server.process.send_signal(signal.SIGHUP)
    line = server.wait_for_log("not reloaded")
    assert "SIGNALWIRE_SWAIG_SECRET_FILE" in line
    assert server.log.count("Booting worker") == 2
    assert server.request("GET", "/ready", auth=None).status == 200


@pytest.fixture
def upgradable(serve_command: Any, tmp_path: Path) -> Any:
    """Start gunicorn as a script: as ``python -m gunicorn`` it cannot execute itself again."""
    script = tmp_path / "run.py"
    script.write_text("from gunicorn.app.wsgiapp import run\nrun()\n")

    def start(**env: str) -> Any:
        credentials = {"SWML_BASIC_AUTH_USER": "demo", "SWML_BASIC_AUTH_PASSWORD": "p@ss:w/ö"}
        command = [sys.executable, str(script), *CONFIG, "-w2", "--bind=127.0.0.1:0"]
        return serve_command([*command, f"--pid={tmp_path}/pid", APP], {**credentials, **env})

    return start


def test_no_upgrade_with_generated_secrets(upgradable: Any, tmp_path: Path) -> None:
    server = upgradable()
    server.process.send_signal(signal.SIGUSR2)
    line = server.wait_for_log("no upgrade")
    assert "SIGNALWIRE_SWAIG_SECRET" in line
    assert "SWML_BASIC_AUTH" not in line  # those are set
    wait_until(lambda: not (tmp_path / "pid.2").exists())
    assert "Traceback" not in server.log
    assert server.request("GET", "/ready", auth=None).status == 200
    assert server.process.poll() is None

    # The next attempt fails for the same reason, not because an upgrade is in progress.
    def refused_again() -> bool:
        server.process.send_signal(signal.SIGUSR2)
        time.sleep(0.3)
        return bool(server.log.count("no upgrade") >= 2)

    wait_until(refused_again)


def test_an_upgrade_with_configured_secrets(upgradable: Any, tmp_path: Path) -> None:
    server = upgradable(**SECRET)
    url = "/?call_id=x"
    before = server.request("GET", url)
    server.process.send_signal(signal.SIGUSR2)
    wait_until((tmp_path / "pid.2").exists)
    successor = int((tmp_path / "pid.2").read_text())
    try:
        wait_until(lambda: server.log.count("Booting worker") == 4)
        assert before.status == server.request("GET", url).status == 200
    finally:
        os.kill(successor, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{successor}").exists())
    assert server.request("GET", url).status == 200
