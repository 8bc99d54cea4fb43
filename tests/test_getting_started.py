"""A reader who pastes the blocks of docs/getting-started.md gets what the page shows."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
HOST = "abcd-1234.example.net"


def block(mark: str, page: str = PAGE) -> str:
    match = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", page, re.S)
    assert match is not None, mark
    return match[1]


def sh(script: str, directory: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],  # noqa: S607 - found on PATH
        cwd=directory,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a directory with the page's agent, and the commands of this installation."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    (tmp_path / "app.py").write_text(program)
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, module in (("swaig-wsgi", "swaig_wsgi.cli"), ("gunicorn", "gunicorn")):
        command = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {module} "$@"\n'
        (commands / name).write_text(command)
        (commands / name).chmod(0o755)
    return tmp_path


@pytest.fixture
def env(project: Path) -> dict[str, str]:
    """Return the environment of the reader's shell after the page's exports."""
    kept = {"HOME": str(project), "PYTHONPATH": str(ROOT)}
    kept["PATH"] = f"{project / 'bin'}:{os.environ['PATH']}"
    show = (
        f"{shlex.quote(sys.executable)} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    )
    done = sh(f"{block('step: secrets')}\n{show}", project, kept)
    assert (done.returncode, done.stderr) == (0, "")
    exported: dict[str, str] = json.loads(done.stdout)
    return exported


def serve(serve_command: Any, command: str, project: Path, env: dict[str, str]) -> Any:
    bound = {**env, "GUNICORN_CMD_ARGS": "--bind=127.0.0.1:0 --workers=2"}
    return serve_command(["bash", "-c", command], bound, cwd=str(project))


def test_the_page_from_its_secrets_to_the_attacks(
    serve_command: Any, project: Path, env: dict[str, str]
) -> None:
    assert len({env["SWML_BASIC_AUTH_PASSWORD"], env["SIGNALWIRE_SWAIG_SECRET"]}) == 2
    server = serve(serve_command, block("serve with two workers"), project, env)
    shown = re.findall(
        r"^\$ (.*)\n((?:[^$].*\n)*)", block("step: calls") + block("step: attacks"), re.M
    )
    assert len(shown) == 4
    for command, expected in shown:
        done = sh(command.replace(":8000", f":{server.port}"), project, env)
        assert (done.returncode, done.stdout.rstrip("\n")) == (0, expected.rstrip("\n")), command
    server.wait_for_log("tool_token_refused reason=missing")


def test_a_request_id_leads_to_the_line_of_the_log(
    serve_command: Any, project: Path, env: dict[str, str]
) -> None:
    page = (ROOT / "docs" / "incidents.md").read_text(encoding="utf-8")
    server = serve(serve_command, block("serve with two workers"), project, env)
    refused = server.request("GET", "/", auth=None)
    server.wait_for_log("auth_refused reason=missing_credentials")
    (project / "log").write_text(server.log)
    find = block("step: find", page).replace("REQUEST", refused.headers["X-Request-Id"])
    done = sh(f"journalctl() {{ cat log; }}\n{find}", project, env)
    (line,) = done.stdout.splitlines()
    assert "auth_refused reason=missing_credentials" in line


def test_the_url_for_the_platform_works_behind_a_tunnel(
    serve_command: Any, project: Path, env: dict[str, str]
) -> None:
    server = serve(serve_command, block("step: tunnel"), project, env)
    user, password = env["SWML_BASIC_AUTH_USER"], env["SWML_BASIC_AUTH_PASSWORD"]
    assert f"https://{user}:THE-PASSWORD@{HOST}/" in PAGE
    forwarded = {"Host": HOST, "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    document = server.request("GET", "/", headers=forwarded, auth=(user, password))
    assert document.status == 200
    found = re.search(r'"web_hook_url": ?"([^"]+)"', document.body.decode())
    assert found is not None
    url = urlsplit(found[1])
    assert (url.scheme, url.username, url.password) == ("https", user, password)
    assert (url.hostname, url.path) == (HOST, "/swaig")
    # What the page says of the three variables.
    other = server.request("GET", "/", headers={"Host": "evil.example"}, auth=(user, password))
    assert other.status == 403
    for _ in range(11):
        last = server.request("GET", "/", headers=forwarded, auth=(user, "a guess"))
    assert last.status == 429
    platform = {**forwarded, "X-Forwarded-For": "192.0.2.8"}
    assert server.request("GET", "/", headers=platform, auth=(user, password)).status == 200


def test_the_agent_of_the_page_passes_the_check(project: Path, env: dict[str, str]) -> None:
    done = sh("swaig-wsgi check app:app", project, env)
    assert done.returncode == 0, done.stdout
    assert "\n0 errors" in done.stdout
