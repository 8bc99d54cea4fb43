"""The runbooks of docs/rotation.md, run as pasted, with clients that call all the time."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import select
import signal
import ssl
import subprocess
import textwrap
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from support.waiting import PATIENCE, wait_until
from support.wsgi import basic

from swaig_wsgi import AgentApp, Settings
from swaig_wsgi.core.signatures import sign_body

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "rotation.md").read_text()
CERTS = ROOT / "tests" / "certs"
CONFIG = ("-c", "python:swaig_wsgi.gunicorn", "-w2")
USER = "platform"
BASE = "https://agent.example.com"
CLIENTS = 6
#: Turns of each client in each phase: a document, and a call of each tool that it has a URL of.
TURNS = 5

#: The program of the page, with an API key and a tool.
PROGRAM = """
import os
from pathlib import Path

from swaig_wsgi import AgentApp, AuthHandler

tokens = Path(os.environ["BEARER_TOKENS_FILE"]).read_text().split()
keys = Path(os.environ["API_KEYS_FILE"]).read_text().split()
app = AgentApp("bank", auth=AuthHandler(bearer_token=tokens, api_key=keys))


@app.tool(secure=True)
def transfer(number: int) -> str:
    '''Transfer money.

    Args:
        number: Number of the transfer
    '''
    return f"transferred {number}"

print("loaded", flush=True)
"""


# -- the page


def section(title: str) -> str:
    match = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert match is not None, title
    return match[1]


def blocks(text: str) -> list[str]:
    return [textwrap.dedent(block) for block in re.findall(r"```sh\n(.*?)```", text, re.S)]


@dataclass
class Step:
    """A step of a runbook: its commands, and those with which to go back."""

    commands: str
    back: str


def runbook(title: str) -> list[Step]:
    steps = re.split(r"^\d+\. ", section(title), flags=re.M)[1:]
    found = []
    for step in steps:
        (commands,) = blocks(step)
        back = re.search(r"\*Back\*: `([^`]+)`", step)
        found.append(Step(commands, back[1] if back else ""))
    return found


# -- the platform


def tool_call(number: int) -> dict[str, Any]:
    arguments = {"parsed": [{"number": number}]}
    return {"function": "transfer", "argument": arguments, "call_id": "call-1"}


def signed(key: str, target: str, body: bytes) -> dict[str, str]:
    return {
        "Host": "agent.example.com",
        "Content-Type": "application/json",
        "X-SignalWire-Sha256-Signature": sign_body(key, BASE + target, body),
    }


class Call:
    """A call in progress: the URL of its tool, as the document had it."""

    def __init__(self, document: Any) -> None:
        (tool,) = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
        url = urlsplit(tool["web_hook_url"])
        assert url.username
        assert url.password
        self.target = f"{url.path}?{url.query}"
        self.authorization = basic(unquote(url.username), unquote(url.password))


@dataclass
class Platform:
    """Clients that fetch documents and call tools in turn, with what the platform is given."""

    port: int
    password: str
    bearer: str
    api_key: str
    signing_key: str
    context: ssl.SSLContext | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    #: Calls go on through all phases since this one.
    oldest: int = 0
    phase: int = 0

    def __post_init__(self) -> None:
        self._turns = [0] * CLIENTS
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=(number,)) for number in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def go_on(self) -> None:
        """Begin a phase, and return when each client has had some turns in it."""
        self.phase += 1
        end = [turns + TURNS for turns in self._turns]
        wait_until(
            lambda: self.failures or all(a >= b for a, b in zip(self._turns, end)), 5 * PATIENCE
        )
        assert self.failures == []

    def end_calls(self) -> None:
        """End all calls that began before this phase."""
        self.oldest = self.phase

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @property
    def failures(self) -> list[str]:
        return [outcome for outcome in list(self.outcomes) if outcome != "ok"]

    def _serve(self, number: int) -> None:
        # A half of them keeps its connection, a third each has Basic, a bearer token, an API key.
        client = Client(self.port, self.context, keep=number % 2 == 0)
        credential = ("password", "bearer", "api_key")[number % 3]
        calls: dict[int, Call] = {}
        with contextlib.closing(client):
            while not self._stopping.is_set():
                phase = self.phase
                try:
                    call = Call(self._fetch(client, credential))
                    calls.setdefault(phase, call)
                    calls = {begun: call for begun, call in calls.items() if begun >= self.oldest}
                    for each in (*calls.values(), call):
                        self._call(client, credential, each, number)
                except Exception as error:
                    with self._lock:
                        self.outcomes[f"phase {phase}, {credential}: {error!r}"] += 1
                    client.close()
                if phase == self.phase:
                    self._turns[number] += 1

    def _fetch(self, client: Client, credential: str) -> Any:
        return self._post(client, "/", {"call_id": "call-1"}, self._credentials(credential))

    def _call(self, client: Client, credential: str, call: Call, number: int) -> None:
        headers = self._credentials(credential)
        if credential == "password":
            headers = {"Authorization": call.authorization}
        result = self._post(client, call.target, tool_call(number), headers)
        assert result == {"response": f"transferred {number}"}

    def _credentials(self, kind: str) -> dict[str, str]:
        return {
            "password": {"Authorization": basic(USER, self.password)},
            "bearer": {"Authorization": f"Bearer {self.bearer}"},
            "api_key": {"X-Api-Key": self.api_key},
        }[kind]

    def _post(self, client: Client, target: str, value: Any, headers: dict[str, str]) -> Any:
        body = json.dumps(value).encode()
        headers = {**headers, **signed(self.signing_key, target, body)}
        status, raw = client.post(target, body, headers)
        assert status == 200, f"{status} {raw!r}"
        with self._lock:
            self.outcomes["ok"] += 1
        return json.loads(raw)


class Client:
    """An HTTP client that repeats nothing."""

    def __init__(self, port: int, context: ssl.SSLContext | None, *, keep: bool) -> None:
        self._port, self._context, self._keep = port, context, keep
        self._connection: Any = None

    def post(self, target: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        connection = self._open()
        connection.request("POST", target, body, headers)
        response = connection.getresponse()
        raw = response.read()
        if not self._keep:
            self.close()
        return response.status, raw

    def _open(self) -> Any:
        # As connection pools do: a connection that the server has closed is not used again.
        if self._connection is not None and self._connection.sock is not None:
            if not select.select([self._connection.sock], [], [], 0)[0]:
                return self._connection
            self.close()
        if self._context is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        else:
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self._port, context=self._context, timeout=PATIENCE
            )
        self._connection = connection
        return connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


# -- the server


class Deployment:
    """A server as the page prepares it, in a directory of its own."""

    def __init__(self, gunicorn: Any, directory: Path, **env: str) -> None:
        self.directory = directory
        self.server: Any = None
        (directory / "program.py").write_text(PROGRAM)
        self.files = {
            "password": "the-old-password",
            "secret": "the-old-secret-of-tools",
            "signing-key": "the-old-signing-key",
            "bearer-tokens": "the-old-bearer-token",
            "api-keys": "the-old-api-key",
        }
        for name, value in self.files.items():
            self.write(name, value + "\n")
        environment, preparation, functions = blocks(section("Preparation"))
        variables = dict(line.split("=", 1) for line in self._paths(environment).splitlines())
        self._functions = self._paths(functions)
        self.run(preparation)
        for path in directory.iterdir():
            path.chmod(0o600)
        self.server = gunicorn(
            "program:app",
            *CONFIG,
            SWML_BASIC_AUTH_PASSWORD="",
            SWML_PROXY_URL_BASE=BASE,
            BEARER_TOKENS_FILE=str(directory / "bearer-tokens"),
            API_KEYS_FILE=str(directory / "api-keys"),
            PYTHONPATH=str(directory),
            **{**variables, **env},
        )

        wait_until(lambda: self.server.lines.count("loaded\n") == 2)

    def _paths(self, text: str) -> str:
        for path in ("/etc/swaig-agent", "/run/swaig-agent"):
            text = text.replace(path, str(self.directory))
        return text

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    def read(self, name: str) -> str:
        return (self.directory / name).read_text()

    def signal(self) -> None:
        self.server.process.send_signal(signal.SIGHUP)

    def run(self, commands: str) -> str:
        """Run commands of the page, and wait for the reload if they end in one."""
        before = self.reloads
        script = f"set -eu\n{self._functions}\n{self._paths(commands)}"
        done = subprocess.run(
            ["sh", "-c", script],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if "reload" in commands:
            wait_until(lambda: self.reloads > before)
        return done.stdout

    def certificate(self) -> str:
        """Return the certificate that a new connection is served with."""
        return ssl.get_server_certificate(("127.0.0.1", self.server.port), timeout=PATIENCE)

    @property
    def reloads(self) -> int:
        if self.server is None:
            return 0
        return len(re.findall("reloaded; no earlier worker is left", self.server.log))

    def records(self, reason: str) -> int:
        pattern = rf" fallback_credential reason={reason} "
        return len(re.findall(pattern, self.server.log))

    def platform(self, **options: Any) -> Platform:
        values = {name.replace("-", "_"): value for name, value in self.files.items()}
        del values["secret"]
        return Platform(
            self.server.port,
            values["password"],
            values["bearer_tokens"],
            values["api_keys"],
            values["signing_key"],
            **options,
        )


@pytest.fixture
def deploy(gunicorn: Any, tmp_path: Path) -> Callable[..., Deployment]:
    def start(**env: str) -> Deployment:
        return Deployment(gunicorn, tmp_path, **env)

    return start


@contextlib.contextmanager
def under_load(platform: Platform) -> Iterator[Platform]:
    try:
        yield platform
    finally:
        platform.stop()
        print(f"{platform.outcomes.total()} requests: {dict(platform.outcomes)}")
    # Neither refused nor lost.
    assert set(platform.outcomes) == {"ok"}


@dataclass(frozen=True)
class Rotation:
    """What the tests need to know of a runbook."""

    title: str
    #: The file with the current value, and that with the fallbacks, which may be the same.
    current: str
    fallbacks: str
    #: Reason of the record of each use of the old one.
    reason: str
    #: Attribute of the platform that holds it, and the step in which that changes.
    attribute: str = ""
    changes_in: int = 0
    #: Status of a request with a value that is not accepted.
    refused: int = 401
    substitute: tuple[tuple[str, str], ...] = ()

    @property
    def steps(self) -> list[Step]:
        steps = runbook(self.title)
        for old, new in self.substitute:
            steps = [Step(s.commands.replace(old, new), s.back.replace(old, new)) for s in steps]
        return steps


API_KEY = (("bearer-tokens", "api-keys"), ("reason=bearer", "reason=api_key"))
ROTATIONS = [
    Rotation("Tool secret", "secret", "secret-fallbacks", "tool_secret"),
    Rotation("Password", "password", "password-fallbacks", "password", "password", 3),
    Rotation("Bearer token or API key", "bearer-tokens", "bearer-tokens", "bearer", "bearer", 2),
    Rotation(
        *("Bearer token or API key", "api-keys", "api-keys", "api_key", "api_key", 2),
        substitute=API_KEY,
    ),
    Rotation(
        *("Signing key", "signing-key", "signing-key-fallbacks", "signing_key", "signing_key", 3),
        refused=403,
    ),
]
all_rotations = pytest.mark.parametrize("rotation", ROTATIONS, ids=lambda each: each.reason)


def prepared(commands: str, journal: Path) -> str:
    """Return the commands of a step with what a test cannot wait for replaced."""
    commands = commands.replace("sleep 3600", "true")
    return re.sub(r"journalctl [^|]*\|", f"cat {journal} |", commands)


@pytest.mark.slow
@all_rotations
def test_a_runbook_refuses_and_loses_no_call(
    rotation: Rotation, deploy: Callable[..., Deployment], tmp_path: Path
) -> None:
    deployment = deploy()
    old = deployment.files[rotation.current]
    with under_load(deployment.platform()) as platform:
        platform.go_on()
        assert deployment.records(rotation.reason) == 0
        for number, step in enumerate(rotation.steps, 1):
            if "sleep" in step.commands or "journalctl" in step.commands:
                # The last call with the old value has ended.
                assert deployment.records(rotation.reason) > 0
                platform.end_calls()
                platform.go_on()
                deployment.run("reload")  # so that what is counted only is written
                seen = len(deployment.server.log)
                platform.go_on()
                journal = tmp_path / "journal"
                journal.write_text(deployment.server.log[seen:])
                assert "fallback_credential" not in journal.read_text()
                shown = deployment.run(prepared(step.commands, journal))
                assert shown == ("unused\n" if "journalctl" in step.commands else "")
            else:
                shown = deployment.run(step.commands)
            if number == rotation.changes_in:
                new = shown.strip()
                assert new not in ("", old)
                setattr(platform, rotation.attribute, new)
            platform.go_on()
            if number == 1:
                values = deployment.read(rotation.fallbacks).split()
                assert len(values) == 2
                assert old in values
            if number < len(rotation.steps):
                assert all(accepts(deployment, rotation, value) for value in values)
    (new,) = {*values} - {old}
    assert deployment.read(rotation.current).split() == [new]
    assert accepts(deployment, rotation, new)
    assert not accepts(deployment, rotation, old)


@pytest.mark.slow
@all_rotations
def test_going_back_refuses_and_loses_no_call(
    rotation: Rotation, deploy: Callable[..., Deployment]
) -> None:
    deployment = deploy()
    old = deployment.files[rotation.current]
    with under_load(deployment.platform()) as platform:
        platform.go_on()
        steps = rotation.steps
        last = rotation.changes_in or 2
        for number, step in enumerate(steps[:last], 1):
            shown = deployment.run(step.commands)
            if number == 1:
                values = deployment.read(rotation.fallbacks).split()
            if number == rotation.changes_in:
                setattr(platform, rotation.attribute, shown.strip())
            platform.go_on()
        # Calls that began with the new value go on while the old one comes back.
        for number in range(last, 1, -1):
            if number == rotation.changes_in:
                setattr(platform, rotation.attribute, old)
            else:
                deployment.run(steps[number - 1].back)
            platform.go_on()
        assert all(accepts(deployment, rotation, value) for value in values)
        platform.end_calls()
        platform.go_on()
        deployment.run(steps[0].back)
        platform.go_on()
    assert deployment.read(rotation.current).split() == [old]
    assert [accepts(deployment, rotation, value) for value in values] == [
        value == old for value in values
    ]


def new_value(deployment: Deployment, rotation: Rotation) -> str:
    return deployment.read(rotation.current).strip()


def accepts(deployment: Deployment, rotation: Rotation, value: str) -> bool:
    """Return whether the server accepts a value of the secret."""
    files = {name: deployment.read(name).partition("\n")[0] for name in deployment.files}
    files[rotation.current] = value
    target, body = "/", b'{"call_id": "call-1"}'
    if rotation.reason == "tool_secret":
        bank = AgentApp("bank", settings=Settings(swaig_secret=value))
        target = f"/swaig?__token={bank.sessions.generate_token('transfer', 'call-1')}"
        body = json.dumps(tool_call(1)).encode()
    headers = {"Authorization": basic(USER, files["password"])}
    if rotation.reason == "bearer":
        headers = {"Authorization": f"Bearer {value}"}
    elif rotation.reason == "api_key":
        headers = {"X-Api-Key": value}
    headers |= signed(files["signing-key"], target, body)
    response = deployment.server.request("POST", target, body, headers, auth=None)
    if rotation.reason == "tool_secret":
        assert response.status == 200
        return bool(response.json == {"response": "transferred 1"})
    assert response.status in (200, rotation.refused)
    return bool(response.status == 200)


@pytest.mark.slow
def test_a_certificate_is_replaced_without_a_lost_call(
    deploy: Callable[..., Deployment], tmp_path: Path
) -> None:
    (step,) = runbook("TLS certificate")
    (tmp_path / "new").mkdir()
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_bytes((CERTS / name).read_bytes())
    new_certificate(tmp_path / "new")
    deployment = deploy(
        SWML_SSL_ENABLED="true",
        SWML_SSL_CERT_PATH=str(tmp_path / "cert.pem"),
        SWML_SSL_KEY_PATH=str(tmp_path / "key.pem"),
    )
    old, new = deployment.read("cert.pem"), deployment.read("new/cert.pem")
    context = ssl.create_default_context()
    context.check_hostname = False
    for each in (old, new):
        context.load_verify_locations(cadata=each)
    with under_load(deployment.platform(context=context)) as platform:
        platform.go_on()
        assert same(deployment.certificate(), old)
        for commands, served in ((step.commands, new), (step.back, old), (step.commands, new)):
            deployment.run(commands)
            assert same(deployment.certificate(), served)
            platform.go_on()
    check = re.search(r"`(openssl s_client [^`]+)`", section("TLS certificate"))
    assert check is not None
    shown = deployment.run(
        check[1].replace("127.0.0.1:8000", f"127.0.0.1:{deployment.server.port}")
    )
    assert shown.startswith("notAfter=")
    # The key, as each secret, can be read by its owner alone.
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600


def same(one: str, other: str) -> bool:
    return ssl.PEM_cert_to_DER_cert(one) == ssl.PEM_cert_to_DER_cert(other)


def new_certificate(directory: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=new", "-days", "2"),
            *("-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )


# -- what is wrong


BROKEN = {
    "secret": ("SIGNALWIRE_SWAIG_SECRET", ["", "half-written"]),
    "secret-fallbacks": ("SIGNALWIRE_SWAIG_SECRET_FALLBACKS", ["half-written", "{secret}"]),
    "password": ("SWML_BASIC_AUTH_PASSWORD", ["", "a\ttab"]),
    "password-fallbacks": ("SWML_BASIC_AUTH_PASSWORD_FALLBACKS", ["{password}", "a\ttab"]),
    "signing-key": ("SIGNALWIRE_SIGNING_KEY", ["", "a\ttab"]),
    "signing-key-fallbacks": ("SIGNALWIRE_SIGNING_KEY_FALLBACKS", ["{signing-key}", "a\ttab"]),
}


@pytest.mark.slow
def test_a_broken_file_changes_nothing(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy()
    server, reloads = deployment.server, deployment.reloads
    expected = []
    for name, (variable, contents) in BROKEN.items():
        before = deployment.read(name)
        for content in (*contents, None):
            if content is None:
                (deployment.directory / name).unlink()
            else:
                deployment.write(name, content.format_map(deployment.files) + "\n")
            expected.append(variable)
            deployment.signal()
            wait_until(lambda: server.log.count("not reloaded") == len(expected))
            (deployment.directory / name).touch(mode=0o600)
        deployment.write(name, before)
    lines = [line for line in server.lines if "not reloaded" in line]
    for line, variable in zip(lines, expected):
        assert f" ERROR gunicorn.error: not reloaded, the running workers stay: {variable}" in line
    assert server.log.count("Booting worker") == 2
    for rotation in ROTATIONS:
        assert accepts(deployment, rotation, deployment.files[rotation.current])
    deployment.run("reload")
    assert deployment.reloads == reloads + 1


def test_empty_files_of_fallbacks_are_empty_lists(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy()
    for rotation in ROTATIONS:
        if rotation.fallbacks != rotation.current:
            assert deployment.read(rotation.fallbacks) == ""
        assert accepts(deployment, rotation, deployment.files[rotation.current])
        assert not accepts(deployment, rotation, "a-value-that-was-never-set")
    assert "fallback_credential" not in deployment.server.log


def test_a_worker_that_is_replaced_has_the_secrets_of_its_siblings(
    deploy: Callable[..., Deployment],
) -> None:
    """Files that change or break take effect with HUP, and not with a worker that crashes."""
    deployment = deploy()
    server, password = deployment.server, ROTATIONS[1]
    wait_until(lambda: server.log.count("Booting worker") == 2)
    pids = re.findall(r"Booting worker with pid: (\d+)", server.log)
    for pid, content in zip(pids, ("", "a-password-before-HUP")):
        deployment.write("password", content)
        os.kill(int(pid), signal.SIGKILL)
        server.wait_for_log(rf"Worker \(pid:{pid}\) was sent SIGKILL")
    wait_until(lambda: server.log.count("Booting worker") == 4)
    deployment.write("password", deployment.files["password"])
    for _ in range(10):
        assert accepts(deployment, password, deployment.files["password"])
        assert not accepts(deployment, password, "a-password-before-HUP")
    deployment.write("password", "a-password-after-HUP")
    deployment.run("reload")
    for _ in range(10):
        assert accepts(deployment, password, "a-password-after-HUP")
        assert not accepts(deployment, password, deployment.files["password"])


@pytest.mark.slow
def test_an_application_that_cannot_be_loaded_changes_nothing(
    deploy: Callable[..., Deployment], tmp_path: Path
) -> None:
    deployment = deploy(GUNICORN_CMD_ARGS=f"--timeout=8 --pid={tmp_path}/pid")
    server, bearer = deployment.server, ROTATIONS[2]
    old = deployment.files["bearer-tokens"]
    for content, program, expected in (
        ("", PROGRAM, "the application cannot be loaded: "),
        (old, "1 / 0", "ZeroDivisionError: division by zero"),
        (old, "import sys; sys.exit(3)", "SystemExit: 3"),
        (old, "import os; os._exit(3)", "the application ends its process"),
        (old, "import time; time.sleep(60)", "the application was not loaded within 8 s"),
        (old, PROGRAM + "\nAgentApp('x', basic_auth=('a:b', 'c'))", "a:b"),
    ):
        deployment.write("bearer-tokens", content)
        deployment.write("program.py", program)
        deployment.signal()
        server.wait_for_log(expected)
        assert accepts(deployment, bearer, old)
    assert server.log.count("Booting worker") == 2
    deployment.write("bearer-tokens", "a-new-token")
    deployment.write("program.py", PROGRAM)
    deployment.run("reload")
    assert accepts(deployment, bearer, "a-new-token")
    assert not accepts(deployment, bearer, old)
