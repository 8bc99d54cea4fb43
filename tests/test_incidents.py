"""The incidents in the documentation happen as described, with the lines that it shows."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from support import rates
from support.clock import Clock
from support.deployments import PLATFORM
from support.nginx import NGINX
from support.ports import free_port
from support.waiting import PATIENCE

from swaig_wsgi.agent.run_limit import LIMITED
from swaig_wsgi.middleware import RateLimitMiddleware
from swaig_wsgi.stores import MemoryStore

DOCS = Path(__file__).parent.parent / "docs"
APP = "swaig_wsgi.examples.basic:app"
CONFIG = ("-c", "python:swaig_wsgi.gunicorn", "-w2")
#: What differs between the log of a test and the documentation.
PLACES = {"TIME": r"\S+", "REQUEST": r"\S+", "bank": ".*", ":6379": r":\d+"}


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
    lines = [re.escape(line) for line in lines]
    for name, pattern in PLACES.items():
        lines = [line.replace(name, pattern) for line in lines]
    return lines


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


def test_the_burst_at_the_end_of_a_window_is_as_documented() -> None:
    text = (DOCS / "limits.md").read_text()
    row = re.search(
        r"^\| .* at 0 s, many at 59\.8 s, and many at 60\.2 s.*: \| (.*) \| (.*) \|$", text, re.M
    )
    assert row is not None
    for algorithm, documented in zip(("fixed", "sliding"), row.groups()):
        clock = Clock()
        store = MemoryStore(clock=clock)
        limited = RateLimitMiddleware(rates.application, 50, algorithm=algorithm, store=store)
        start, burst = clock.now, 0
        assert rates.statuses(limited, 1) == [200]
        for clock.now in (start + 59.8, start + 60.2):
            burst += rates.statuses(limited, 60).count(200)
        assert documented == str(burst)


GUESS = ("platform", "a guess")
BANK = """
from swaig_wsgi import AgentApp

app = AgentApp("bank")

def transfer(args, raw_data):
    return "Transfer completed."

app.define_tool("transfer_funds", "Move money", {}, transfer, secure=True, max_runs=3)
"""


@pytest.fixture
def agent(gunicorn: Any) -> Any:
    """Return a function that starts the example with the platform's credentials."""
    chosen = {"SWML_BASIC_AUTH_USER": PLATFORM[0], "SWML_BASIC_AUTH_PASSWORD": PLATFORM[1]}
    return lambda **env: gunicorn(APP, *CONFIG, **chosen, **env)


def statuses(server: Any, times: int, auth: Any = PLATFORM, client: str = "") -> list[int]:
    headers = {"X-Forwarded-For": client} if client else {}
    return [server.request("GET", "/", auth=auth, headers=headers).status for _ in range(times)]


def test_a_rate_limit_stops_the_platform(agent: Any) -> None:
    (pattern,) = lines_of("limits.md", "The platform gets 429")
    server = agent(SWML_RATE_LIMIT="120")
    assert statuses(server, 121) == [200] * 120 + [429]
    server.wait_for_log(pattern)
    server = agent(SWML_AUTH_FAILURE_LIMIT="10")
    assert statuses(server, 125) == [200] * 125
    assert statuses(server, 11, GUESS) == [401] * 10 + [429]


def test_a_client_locks_out_everybody_behind_an_untrusted_proxy(agent: Any) -> None:
    patterns = lines_of("limits.md", "One client locks everybody out behind a proxy")
    limit = {"SWML_AUTH_FAILURE_LIMIT": "10"}
    server = agent(**limit)
    assert statuses(server, 10, GUESS, "203.0.113.9") == [401] * 10
    assert statuses(server, 1, PLATFORM, "192.0.2.10") == [429]
    for pattern in patterns:
        server.wait_for_log(pattern)
    server = agent(**limit, SWML_TRUSTED_PROXIES="127.0.0.1")
    assert statuses(server, 11, GUESS, "203.0.113.9") == [401] * 10 + [429]
    assert statuses(server, 1, PLATFORM, "192.0.2.10") == [200]
    assert "untrusted_forwarding" not in server.log


def test_a_stale_password_of_one_tenant(agent: Any) -> None:
    (refused, reported) = lines_of("limits.md", "One tenant's stale password stops the others")
    server = agent(SWML_AUTH_FAILURE_LIMIT="10")
    assert statuses(server, 10, GUESS) == [401] * 10
    assert statuses(server, 1) == [429]
    server.wait_for_log(refused)
    server = agent(SWML_AUTH_FAILURE_LIMIT="10", SWML_ALLOWED_CLIENTS="127.0.0.0/8")
    assert statuses(server, 15, GUESS) == [401] * 15
    assert statuses(server, 1) == [200]
    server.wait_for_log(reported)
    assert len(re.findall(reported, server.log)) == 1


def test_an_ai_in_a_loop_runs_a_tool_no_more(gunicorn: Any, tmp_path: Path) -> None:
    (pattern,) = lines_of("limits.md", "An AI calls a tool in a loop")
    (tmp_path / "bank.py").write_text(BANK)
    chosen = {"SWML_BASIC_AUTH_USER": PLATFORM[0], "SWML_BASIC_AUTH_PASSWORD": PLATFORM[1]}
    server = gunicorn("bank:app", *CONFIG, cwd=str(tmp_path), **chosen)
    target = tool_target(server, PLATFORM)
    heard = [call(server, target, PLATFORM).json["response"] for _ in range(4)]
    assert heard == ["Transfer completed."] * 3 + [LIMITED]
    server.wait_for_log(pattern)


def test_limits_go_on_while_the_store_is_away(agent: Any, own_valkey: Any) -> None:
    timed_out, refused = lines_of(
        "limits.md", "Limits drift while the store is away, or CPU is scarce"
    )
    valkey = own_valkey()
    server = agent(SWML_STORAGE_URL=valkey.url, SWML_AUTH_FAILURE_LIMIT="10")
    assert statuses(server, 6, GUESS) == [401] * 6
    os.kill(valkey.process.pid, signal.SIGSTOP)
    # Each of two workers goes on from the last count that it saw, if it saw one.
    seen = Counter(statuses(server, 40, GUESS))
    assert 4 <= seen[401] <= 4 + 10
    assert seen[429] == 40 - seen[401]
    server.wait_for_log(timed_out)
    os.kill(valkey.process.pid, signal.SIGCONT)
    valkey.stop()
    server = agent(SWML_STORAGE_URL=valkey.url, SWML_AUTH_FAILURE_LIMIT="10")
    assert statuses(server, 1, GUESS) == [401]
    server.wait_for_log(refused)
