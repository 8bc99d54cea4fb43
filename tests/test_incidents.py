"""The incidents in the documentation happen as described, with the lines that it shows."""

from __future__ import annotations

import re
import socket
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from support.deployments import PLATFORM
from support.nginx import NGINX
from support.ports import free_port
from support.waiting import PATIENCE

DOCS = Path(__file__).parent.parent / "docs"
APP = "swaig_wsgi.examples.basic:app"
CONFIG = ("-c", "python:swaig_wsgi.gunicorn", "-w2")


def lines_of(page: str, title: str) -> list[str]:
    """Return the lines of the log that a section on an incident shows, as patterns."""
    text = (DOCS / page).read_text()
    section = re.search(rf"^### {re.escape(title)}\n(.*?)(?=^##)", text + "\n## ", re.M | re.S)
    assert section is not None, title
    for part in ("Symptom", "Log", "Cause", "Remedy"):
        assert section[1].count(f"- **{part}**:") == 1
    blocks = re.findall(r"^  ```text\n(.*?)^  ```", section[1], re.M | re.S)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    assert lines
    return [
        re.escape(line).replace("TIME", r"\S+").replace("REQUEST", r"\S+").replace("bank", ".*")
        for line in lines
    ]


def call(server: Any, target: str, auth: Any) -> Any:
    body = {
        "function": "transfer_funds",
        "argument": {"parsed": [{"amount": 5, "toAccount": "A-1"}]},
        "call_id": "call-1",
    }
    return server.request("POST", target, body, auth=auth)


def tool_target(server: Any, auth: Any) -> str:
    document = server.request("GET", "/?call_id=call-1", auth=auth).json
    functions = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
    url = next(f["web_hook_url"] for f in functions if f["function"] == "transfer_funds")
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def test_a_restart_without_a_drain_says_so(gunicorn: Any) -> None:
    server = gunicorn(APP, *CONFIG)
    server.process.terminate()
    (pattern,) = lines_of("deployment.md", "502 during a restart")
    server.wait_for_log(pattern)
    assert server.process.wait(PATIENCE) == 0
    assert "draining" not in server.log
    drained = gunicorn(APP, *CONFIG, SWML_DRAIN_SECONDS="1")
    drained.process.terminate()
    drained.wait_for_log("draining: /ready responds 503")


def test_a_generated_password_is_401_after_a_restart(gunicorn: Any) -> None:
    none = {"SWML_BASIC_AUTH_USER": "", "SWML_BASIC_AUTH_PASSWORD": ""}
    server = gunicorn(APP, *CONFIG, **none)
    assert server.request("GET", "/", auth=PLATFORM).status == 401
    for pattern in lines_of("deployment.md", "401 after a deploy"):
        server.wait_for_log(pattern)
    chosen = {"SWML_BASIC_AUTH_USER": PLATFORM[0], "SWML_BASIC_AUTH_PASSWORD": PLATFORM[1]}
    for _ in range(2):
        server = gunicorn(APP, *CONFIG, **chosen)
        assert server.request("GET", "/", auth=PLATFORM).status == 200
        assert "generated credentials" not in server.log


def test_a_generated_secret_refuses_the_tokens_of_the_previous_process(gunicorn: Any) -> None:
    chosen = {"SWML_BASIC_AUTH_USER": PLATFORM[0], "SWML_BASIC_AUTH_PASSWORD": PLATFORM[1]}
    secret = {"SIGNALWIRE_SWAIG_SECRET": "a secret of some length"}
    done = "Transfer completed."
    target = tool_target(gunicorn(APP, *CONFIG, **chosen), PLATFORM)
    server = gunicorn(APP, *CONFIG, **chosen)
    assert call(server, target, PLATFORM).json["response"] != done
    (pattern,) = lines_of("deployment.md", "Tools apologize after a deploy")
    server.wait_for_log(pattern)
    target = tool_target(gunicorn(APP, *CONFIG, **chosen, **secret), PLATFORM)
    server = gunicorn(APP, *CONFIG, **chosen, **secret)
    assert call(server, target, PLATFORM).json["response"] == done


def test_replicas_are_unready_while_the_store_fails(gunicorn: Any, own_valkey: Any) -> None:
    valkey = own_valkey()
    store = {"SWML_STORAGE_URL": valkey.url}
    with closing(redis.Redis(port=valkey.port)) as client:
        client.replicaof("127.0.0.1", str(free_port()))
    for _ in range(2):
        server = gunicorn(APP, *CONFIG, **store)
        assert server.request("GET", "/ready", auth=None).status == 503
        assert server.request("GET", "/health", auth=None).status == 200
        for pattern in lines_of("deployment.md", "All pods unready"):
            server.wait_for_log(pattern)
    server = gunicorn(APP, *CONFIG, SWML_READY_WITHOUT_STORE="true", **store)
    assert server.request("GET", "/ready", auth=None).status == 200


def test_plain_workers_are_misconfigured_from_the_start(gunicorn: Any) -> None:
    none = {"SWML_BASIC_AUTH_USER": "", "SWML_BASIC_AUTH_PASSWORD": ""}
    server = gunicorn(APP, "-w2", **none)
    (pattern,) = lines_of("workers.md", "503 Service misconfigured")
    server.wait_for_log(pattern.removeprefix(re.escape("ERROR swaig_wsgi: ")))
    response = server.request("GET", "/ready", auth=None)
    assert (response.status, response.json) == (503, {"error": "Service misconfigured"})
    assert server.request("GET", "/health", auth=None).status == 200
    # The remedy.
    server = gunicorn(APP, *CONFIG, **none)
    assert {server.request("GET", "/ready", auth=None).status for _ in range(10)} == {200}


@pytest.mark.slow
def test_one_silent_client_stops_plain_gunicorn_only(gunicorn: Any) -> None:
    (pattern,) = lines_of("workers.md", "The service hangs for 30 seconds")
    for options, hangs in (("--timeout=3",), True), ((*CONFIG, "--timeout=3"), False):
        server = gunicorn(APP, *options)
        assert server.request("GET", "/health", auth=None).status == 200
        with socket.create_connection(("127.0.0.1", server.port)):
            assert server.request("GET", "/health", auth=None).status == 200
            if hangs:
                server.wait_for_log(pattern)
        assert (re.search(pattern, server.log) is not None) is hangs


def test_the_environment_of_a_replica_serves(gunicorn: Any, tmp_path: Path) -> None:
    text = (DOCS / "workers.md").read_text()
    block = re.search(r"environment of each replica:\n\n```sh\n(.*?)```", text, re.S)
    assert block is not None
    variables = dict(line.split("=", 1) for line in block[1].splitlines())
    (tmp_path / "swaig").write_text("a secret of some length\n")
    (tmp_path / "basic").write_text(PLATFORM[1] + "\n")
    for name in ("SIGNALWIRE_SWAIG_SECRET_FILE", "SWML_BASIC_AUTH_PASSWORD_FILE"):
        variables[name] = variables[name].replace("/run/secrets", str(tmp_path))
    variables["SWML_STORAGE_URL"] = f"sqlite:///{tmp_path}/store.db"
    server = gunicorn(APP, *CONFIG, SWML_BASIC_AUTH_PASSWORD="", **variables)
    host = {"Host": variables["SWML_ALLOWED_HOSTS"]}
    assert server.request("GET", "/", auth=PLATFORM, headers=host).status == 200


if NGINX is not None:

    def test_nginx_accepts_the_configuration_for_many_machines(tmp_path: Path) -> None:
        text = (DOCS / "workers.md").read_text()
        block = re.search(r"```nginx\n(.*?)```", text, re.S)
        assert block is not None
        upstream, location = re.split(r"(?=^location)", block[1], maxsplit=1, flags=re.M)
        configuration = (
            f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off;"
            f"{upstream} server {{ listen 127.0.0.1:{free_port()}; {location} }} }}"
        )
        (tmp_path / "nginx.conf").write_text(configuration)
        done = subprocess.run(
            [NGINX, "-e", "stderr", "-p", str(tmp_path), "-c", "nginx.conf", "-t"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
