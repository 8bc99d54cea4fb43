"""Reloads by HUP: what they change, and what changes nothing."""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.platform import Call, Client
from support.rotation import (
    PROGRAM,
    ROTATIONS,
    Deployment,
    accepts,
    lines_of,
    runbook,
    section,
)
from support.waiting import wait_until

from swaig_wsgi.gunicorn._trial import load_problem


@pytest.fixture
def deploy(gunicorn: Any, tmp_path: Path) -> Callable[..., Deployment]:
    def start(**env: str) -> Deployment:
        return Deployment(gunicorn, tmp_path, **env)

    return start


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
    (shown,) = lines_of("rotation.md", "Not reloaded")
    assert f" {shown}\n" in server.log
    assert server.log.count("Booting worker") == 2
    for rotation in ROTATIONS:
        assert accepts(deployment, rotation, deployment.files[rotation.current])
    deployment.run("reload")
    assert deployment.reloads == reloads + 1


def test_a_reload_names_what_has_changed(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy()
    deployment.run("reload")
    assert " INFO gunicorn.error: reloading; changed: no variable\n" in deployment.server.log
    deployment.run(runbook("Tool secret")[0].commands)
    for line in lines_of("rotation.md", "Preparation"):
        assert f" {line}\n" in deployment.server.log
    for rotation in ROTATIONS:
        # The line of each step that changes a variable.
        checks = re.findall(r"\*Check\*: `(reloading; [^`]+)`", section(rotation.title))
        assert len(checks) == (3 if rotation.current != rotation.fallbacks else 0)


def test_empty_files_of_fallbacks_are_empty_lists(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy()
    for rotation in ROTATIONS:
        if rotation.fallbacks != rotation.current:
            assert deployment.read(rotation.fallbacks) == ""
        assert accepts(deployment, rotation, deployment.files[rotation.current])
        assert not accepts(deployment, rotation, "a-value-that-was-never-set")
    assert "fallback_credential" not in deployment.server.log


def test_attack_a_worker_that_is_replaced_has_the_secrets_of_its_siblings(
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
        (
            old,
            PROGRAM + "\nAgentApp('x', basic_auth=('a:b', 'c'))",
            "the user name must not contain a colon",
        ),
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


def test_a_password_that_was_changed_in_one_step_is_accepted_as_a_fallback(
    deploy: Callable[..., Deployment],
) -> None:
    deployment, password = deploy(), ROTATIONS[1]
    old = deployment.files["password"]
    deployment.run("printf '%s\\n' the-new-password | replace password; reload")
    assert not accepts(deployment, password, old)
    assert "generated credentials" not in deployment.server.log
    deployment.run(f"echo {old} | replace password-fallbacks; reload")
    assert accepts(deployment, password, old)
    assert accepts(deployment, password, "the-new-password")


@pytest.mark.slow
def test_a_reload_waits_for_requests_and_names_workers_that_take_longer(
    deploy: Callable[..., Deployment], tmp_path: Path
) -> None:
    sleep = "    import time; print('sleeping', flush=True); time.sleep(number)\n"
    slow = PROGRAM.replace("    return", f"{sleep}    return")
    options = f"--graceful-timeout=1 --pid={tmp_path}/pid"
    deployment = deploy(program=slow, GUNICORN_CMD_ARGS=options)
    wait_until(lambda: len(deployment.server.worker_pids()) == 2)
    workers = {*deployment.server.worker_pids()}
    platform = deployment.platform(clients=0)
    client = Client(deployment.server.port, None, keep=False)
    call = Call(platform._fetch(client, "password"))
    caller = threading.Thread(target=platform._call, args=(client, "password", call, 5))
    caller.start()
    deployment.server.wait_for_log("sleeping")
    deployment.signal()
    line = deployment.server.wait_for_log(
        "reloaded; earlier workers that still serve requests: [12]"
    )
    assert " WARNING " in line
    caller.join()
    assert set(platform.outcomes) == {"ok"}
    # The call has ended, and with it the worker.
    wait_until(lambda: not workers.intersection(deployment.server.worker_pids()))


def test_the_process_that_tries_the_application_leaves_no_metrics(
    deploy: Callable[..., Deployment], tmp_path: Path
) -> None:
    gauge = "Gauge('g', 'G', multiprocess_mode='liveall').set(1)"
    program = f"from prometheus_client import Gauge\n{gauge}\n{PROGRAM}"
    metrics = tmp_path / "metrics"
    metrics.mkdir(mode=0o700)
    options = {"SWML_METRICS": "true", "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
    options["TMPDIR"] = str(tmp_path)
    deployment = deploy(program=program, **options)
    for _ in range(2):
        deployment.run("reload")
    wait_until(lambda: deployment.server.lines.count("loaded\n") == 6)
    workers = set(re.findall(r"Booting worker with pid: (\d+)", deployment.server.log))
    counted = {re.sub(r"\D", "", path.stem) for path in metrics.glob("*.db")}
    assert counted <= workers | {str(deployment.server.process.pid)}
    live = {re.sub(r"\D", "", path.stem) for path in metrics.glob("gauge_live*.db")}
    assert live
    assert live <= workers
    assert not list(tmp_path.glob("swaig-wsgi-trial-*"))


def test_a_trial_without_a_process_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fail)
    server = SimpleNamespace(cfg=SimpleNamespace(uid=os.geteuid(), gid=os.getegid(), timeout=30))
    problem = load_problem(server)
    assert problem is not None
    assert re.fullmatch("the application cannot be tried: .*temporarily unavailable", problem)
