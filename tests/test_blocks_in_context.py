"""Python blocks that cannot run alone run here, in the context that their page describes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"<!-- not run: ([^\n]+) -->\n```python\n(.*?)```", re.S)

APPLICATION = """
import os
from flask import Flask
os.environ["SIGNALWIRE_SIGNING_KEY"] = "a-signing-key"
app = Flask("app")
"""
CLIENTS = """
import ssl
from flask import Flask
from swaig_wsgi import AgentApp, AgentServer
from swaig_wsgi.testing import AgentClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware
agent = AgentApp("bank", route="/bank")
server = AgentServer()
server.register(AgentApp("sales"), "/sales")
server.register(AgentApp("other"), "/bank")
flask_app = Flask("app")
flask_app.wsgi_app = DispatcherMiddleware(flask_app.wsgi_app, {"/voice": agent})
user, password, context = "platform", "a-long-password", ssl.create_default_context()
"""
FETCHED = """
for client in (
    AgentClient(server, url="/bank", auth=server.get_agent("/bank").get_basic_auth_credentials()),
    AgentClient(flask_app, url="/voice/bank", auth=agent.get_basic_auth_credentials()),
):
    assert client.fetch_swml()["version"]
"""
ADMITTED = """
from support.wsgi import request
for given, status in (("a-new-token-of-june", 200), ("an-old-token-of-may", 200), ("a-guess", 401)):
    headers = {"HTTP_AUTHORIZATION": "Bearer " + given}
    assert request(app, **headers).status == status
"""
REFUSED = """
from support.wsgi import request
assert request(app).status == 401
assert request(app, auth=("platform", "a-long-old-password")).status == 404
"""
#: What the block needs before it, and what then holds, by page and reason.
CONTEXTS = {
    ("rotation.md", "it needs the file"): ("", ADMITTED),
    ("rotation.md", "it needs the variables"): (APPLICATION, REFUSED),
    ("testing.md", "it has no applications"): (CLIENTS, FETCHED),
    ("vendoring.md", "imports the copy that the commands above make"): (
        "",
        "assert harden.__module__.startswith('myproject._vendor.swaig.')\n",
    ),
}
#: Blocks that other tests run.
ELSEWHERE = {
    ("flask.md", "it needs the application above"): "tests/test_django_checks.py",
    ("testing.md", "it is a file of its own"): "tests/test_pytest_plugin.py",
    (
        "from-signalwire-sdk.md",
        "needs signalwire-sdk; run by tests/interop/test_swaig_test.py",
    ): "tests/interop/test_swaig_test.py",
}
BLOCKS = {
    (path.name, reason): code
    for path in sorted((ROOT / "docs").glob("*.md"))
    for reason, code in BLOCK.findall(path.read_text(encoding="utf-8"))
}


def test_every_block_has_a_context() -> None:
    assert BLOCKS.keys() == CONTEXTS.keys() | ELSEWHERE.keys()
    for name in ELSEWHERE.values():
        assert (ROOT / name).is_file()


@pytest.mark.parametrize("block", CONTEXTS, ids=": ".join)
def test_blocks_run_in_their_context(block: tuple[str, str], tmp_path: Path) -> None:
    before, after = CONTEXTS[block]
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "BEARER_TOKENS_FILE": str(tmp_path / "tokens"),
        "SWML_BASIC_AUTH_USER": "platform",
        "SWML_BASIC_AUTH_PASSWORD": "a-long-new-password",
        "SWML_BASIC_AUTH_PASSWORD_FALLBACKS": "a-long-old-password",
        "SIGNALWIRE_SWAIG_SECRET": "a-secret-of-32-random-characters",
    }
    (tmp_path / "tokens").write_text("a-new-token-of-june\nan-old-token-of-may\n")
    if block[0] == "vendoring.md":
        page = (ROOT / "docs" / "vendoring.md").read_text(encoding="utf-8")
        for arguments in re.findall(r"^swaig-wsgi (vendor [^#\n]*)", page, re.M):
            command = [sys.executable, "-m", "swaig_wsgi.cli", *arguments.split()]
            subprocess.run(command, cwd=tmp_path, env=env, check=True, stdout=subprocess.PIPE)
    (tmp_path / "program.py").write_text(before + BLOCKS[block] + after)
    done = subprocess.run(
        [sys.executable, "-W", "error", "program.py"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
