"""The runbooks of docs/rotation.md, and a deployment as that page prepares it."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.platform import BASE, USER, Platform, signed, tool_call
from support.waiting import PATIENCE, wait_until
from support.wsgi import basic

from swaig_wsgi import AgentApp, Settings

PAGE = (Path(__file__).parents[2] / "docs" / "rotation.md").read_text()
CONFIG = ("-c", "python:swaig_wsgi.gunicorn", "-w2")

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


def lines_of(page: str, title: str) -> list[str]:
    """Return the lines of the log that a section shows."""
    assert page == "rotation.md"
    (block,) = re.findall(r"^ *```text\n(.*?)```", section(title), re.M | re.S)
    return [line.strip() for line in block.strip().splitlines()]


@dataclass
class Step:
    """A step of a runbook: its commands, the line they log, and the commands to go back."""

    commands: str
    check: str
    back: str


def runbook(title: str) -> list[Step]:
    steps = re.split(r"^\d+\. ", section(title), flags=re.M)[1:]
    found = []
    for step in steps:
        (commands,) = blocks(step)
        back = re.search(r"\*Back\*: `([^`]+)`", step)
        check = re.search(r"\*Check\*: `(reload[^`]+)`", step)
        found.append(Step(commands, check[1] if check else "", back[1] if back else ""))
    return found


# -- the server


class Deployment:
    """A server as the page prepares it, in a directory of its own."""

    def __init__(self, gunicorn: Any, directory: Path, program: str = PROGRAM, **env: str) -> None:
        self.directory = directory
        self.server: Any = None
        (directory / "program.py").write_text(program)
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
        #: What ``journalctl`` shows.
        self.journal = directory / "journal"
        self.functions = f"journalctl() {{ cat {self.journal}; }}\n{functions}"
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
        script = f"set -eu\n{self._paths(self.functions)}\n{self._paths(commands)}"
        done = subprocess.run(
            ["sh", "-c", script],  # noqa: S607 - found on PATH
            cwd=self.directory,
            env={**os.environ, "PATH": f"{self.directory}/bin:{os.environ['PATH']}"},
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


#: What the page needs of ``kubectl``, for a Deployment whose only pod is the server: its Secret are
#: files, and a rollout is HUP. It notes its arguments, which other users of a machine can read.
KUBECTL = """
import base64, json, os, re, shlex, signal, sys
from pathlib import Path

cluster, names = Path({cluster!r}), {names!r}
command = shlex.join(sys.argv[1:])
with (cluster / "arguments").open("a") as file:
    print(command, file=file)
if found := re.fullmatch(r"get secret shop-agent '--output=go-template=(.*)'", command):
    if found[1] == "{{range $key, $value := .data}}{{$key}} {{end}}":
        print(*names)
    else:
        name = re.fullmatch(r'{{index .data "([a-z-]+)" [|] base64decode}}', found[1])[1]
        print((cluster / name).read_text(), end="")
elif command == (
    "create secret generic shop-agent --from-file=. --dry-run=client --output=yaml"
):
    files = [path for path in Path().iterdir()]
    print(json.dumps({path.name: base64.b64encode(path.read_bytes()).decode() for path in files}))
elif command == "replace --filename=-":
    data = json.load(sys.stdin)
    assert sorted(data) == sorted(names)
    for name, value in data.items():
        (cluster / "new").write_bytes(base64.b64decode(value))
        (cluster / "new").replace(cluster / name)
elif command == "rollout restart deployment/shop-agent":
    os.kill(int((cluster / "pid").read_text()), signal.SIGHUP)
elif command == "logs --selector=app=shop-agent --since=10m --tail=-1":
    print((cluster / "journal").read_text(), end="")
else:
    assert command == "rollout status deployment/shop-agent", command
"""


def use_kubernetes(deployment: Deployment) -> None:
    """Run the commands of the page as its section about Kubernetes describes from now on."""
    copy, functions, _ = blocks(section("Kubernetes"))
    names = list(deployment.files) + [
        path.name for path in deployment.directory.glob("*-fallbacks")
    ]
    program = deployment.directory / "bin" / "kubectl"
    program.parent.mkdir()
    code = KUBECTL.replace("{cluster!r}", repr(str(deployment.directory)))
    program.write_text(f"#!{sys.executable}{code.replace('{names!r}', repr(names))}")
    program.chmod(0o700)
    deployment.run(copy)
    deployment.functions = f"cd {deployment.directory}/shop-agent\n{functions}"


# -- the secrets


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
            steps = [
                Step(each.commands.replace(old, new), each.check, each.back.replace(old, new))
                for each in steps
            ]
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
