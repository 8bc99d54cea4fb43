"""The figures of all workers, in real servers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.metrics import series_of
from support.waiting import wait_until

from swaig_wsgi.gunicorn import _metrics_files

CONFIG = ("-c", "python:swaig_wsgi.gunicorn")
AGENT = """
import os
from swaig_wsgi import AgentApp

app = AgentApp("bank")
app.define_tool("pid", "Tell the process.", {}, lambda args, raw: str(os.getpid()))
"""
CALL = {"function": "pid", "call_id": "call-1", "argument": {"parsed": [{}]}}
RAN = ("swaig_tool_calls_total", "bank", "ran", "pid")
REFUSED = ("swaig_refusals_total", "bank", "auth_refused", "bad_credentials")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "app"
    directory.mkdir()
    (directory / "bank.py").write_text(AGENT)
    return directory


@pytest.fixture
def start(gunicorn: Any, directory: Path, tmp_path: Path) -> Any:
    def start(*options: str, app: str = "bank:app", **env: str) -> Any:
        options = (*CONFIG, "-w2", "--threads=2", *options)
        env = {"SWML_METRICS": "true", "TMPDIR": str(tmp_path), **env}
        server = gunicorn(app, *options, cwd=str(directory), **env)
        wait_until(lambda: server.log.count("Booting worker") >= 2)
        return server

    return start


def call(server: Any, times: int) -> set[str]:
    """Call the tool, in four threads, and return the processes that ran it."""
    pids: list[str] = []

    def some() -> None:
        for _ in range(times // 4):
            pids.append(server.request("POST", "/swaig", CALL).json["response"])
            assert server.request("GET", "/", auth=("demo", "wrong")).status == 401

    threads = [threading.Thread(target=some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == times
    return set(pids)


def counted(server: Any) -> dict[tuple[Any, ...], float]:
    response = server.request("GET", "/metrics")
    assert response.status == 200, response.body
    return series_of(response.text)


def check(server: Any, times: int) -> None:
    """Check that each worker knows the sums of all."""
    for _ in range(6):
        series = counted(server)
        assert series[RAN] == series[REFUSED] == times
        assert series[("swaig_tool_seconds_count", "bank", "pid")] == times
        assert series[("swaig_requests_total", "bank", "swaig", "200")] == times
        assert series[("swaig_requests_total", "bank", "document", "401")] == times


@pytest.mark.slow
@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["", "preload"])
def test_the_sums_are_exact_across_workers_restarts_and_hup(
    start: Any, preload: list[str], tmp_path: Path
) -> None:
    server = start(*preload)
    (private,) = tmp_path.glob("swaig-wsgi-metrics-*")
    assert private.stat().st_mode & 0o777 == 0o700
    pids: set[str] = set()
    times = 0
    while len(pids) < 2:
        pids |= call(server, 40)
        times += 40
        check(server, times)
    for restart in (signal.SIGKILL, signal.SIGTERM):
        booted = server.log.count("Booting worker")
        for pid in pids:
            os.kill(int(pid), restart)
        wait_until(lambda expected=booted + 2: server.log.count("Booting worker") >= expected)
        check(server, times)
        pids = set()
        while len(pids) < 2:
            pids |= call(server, 40)
            times += 40
        check(server, times)
    server.process.send_signal(signal.SIGHUP)
    # All workers that served before HUP have exited.
    wait_until(lambda: all(f"Worker exiting (pid: {pid})" in server.log for pid in pids))
    check(server, times)
    call(server, 40)
    check(server, times + 40)
    server.process.terminate()
    assert server.process.wait(60) == 0
    assert list(tmp_path.glob("swaig-wsgi-*")) == []
    assert "Traceback" not in server.log


def test_a_directory_of_the_operator_is_emptied_and_kept(start: Any, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    for name in ("counter_1.db", "notes.txt"):
        (own / name).write_text("of an earlier run")
    server = start(PROMETHEUS_MULTIPROC_DIR=str(own))
    # As a worker creates it when it starts.
    (own / "counter_999999.db").touch()
    call(server, 4)
    check(server, 4)
    assert not (own / "counter_1.db").exists()
    assert (own / "notes.txt").exists()
    assert list(tmp_path.glob("swaig-wsgi-metrics-*")) == []
    server.process.terminate()
    assert server.process.wait(60) == 0
    assert len(list(own.glob("counter_*.db"))) >= 1


def test_a_directory_in_raw_env_is_created(start: Any, tmp_path: Path) -> None:
    server = start(f"--env=PROMETHEUS_MULTIPROC_DIR={tmp_path}/new/own")
    call(server, 4)
    check(server, 4)
    assert (tmp_path / "new/own").stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.glob("swaig-wsgi-metrics-*")) == []


def test_the_live_gauges_of_a_worker_end_with_it(start: Any, directory: Path) -> None:
    gauge = (
        "from prometheus_client import Gauge\n"
        "Gauge('open_calls', 'Calls', multiprocess_mode='livesum').set(1)\n"
    )
    (directory / "bank.py").write_text(AGENT + gauge)
    server = start()

    def open_calls() -> float:
        response = server.request("GET", "/metrics")
        return series_of(response.text, "open_calls")[("open_calls",)]

    wait_until(lambda: open_calls() == 2)
    pid = server.request("POST", "/swaig", CALL).json["response"]
    os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: server.log.count("Booting worker") >= 3)
    wait_until(lambda: open_calls() == 2)


def test_without_the_configuration_several_workers_do_not_pretend(
    gunicorn: Any, directory: Path, tmp_path: Path
) -> None:
    options = {"cwd": str(directory), "SWML_METRICS": "true"}
    options["SIGNALWIRE_SWAIG_SECRET"] = "a secret of some length"
    server = gunicorn("bank:app", "-w2", "--threads=2", **options)
    assert server.request("GET", "/metrics").status == 503
    server.wait_for_log("PROMETHEUS_MULTIPROC_DIR")
    assert server.request("GET", "/").status == 200
    own = gunicorn(
        "bank:app", "-w2", "--threads=2", **options, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)
    )
    call(own, 8)
    check(own, 8)


CONFIGURATION = "import prometheus_client\nfrom swaig_wsgi.gunicorn import *\n"


@pytest.mark.parametrize(
    ("error", "mode", "config", "env"),
    [
        ("do not import it in the configuration file", 0o700, "mine.py", {}),
        ("PROMETHEUS_MULTIPROC_DIR: the directory", 0o777, CONFIG[1], {"own": "true"}),
        ("pip install 'swaig-wsgi[metrics]'", 0o700, "without.py", {}),
    ],
)
def test_what_cannot_work_is_refused_before_any_worker_starts(
    directory: Path, error: str, mode: int, config: str, env: dict[str, str]
) -> None:
    (directory / "mine.py").write_text(CONFIGURATION)
    missing = "import sys, importlib.util\nfind = importlib.util.find_spec\n"
    missing += (
        "importlib.util.find_spec = lambda name, *a: None if 'prom' in name else find(name)\n"
    )
    (directory / "without.py").write_text(missing + CONFIGURATION.partition("\n")[2])
    own = directory / "own"
    own.mkdir()
    own.chmod(mode)
    variables = {"PROMETHEUS_MULTIPROC_DIR": str(own)} if env else {}
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", config, "--bind=127.0.0.1:0", "bank:app"],
        env={**os.environ, "SWML_METRICS": "true", **variables},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert error in done.stderr
    assert "Booting worker" not in done.stderr
    assert not re.search("Traceback", done.stderr)


def test_a_site_exposes_the_refusals_of_all_workers(start: Any, directory: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    code = page.read_text().partition("```python\n")[2].partition("```")[0]
    (directory / "site_of_flask.py").write_text(code)
    scraper = ("prometheus", "a-password-for-prometheus")
    server = start(
        app="site_of_flask:app",
        SWML_ALLOWED_HOSTS="127.0.0.1",
        METRICS_PASSWORD=scraper[1],
    )
    refused = ("swaig_refusals_total", "-", "host_refused", "host_not_allowed")
    for number in range(1, 21):
        evil = {"Host": "evil.example"}
        assert server.request("GET", "/", headers=evil, auth=None).status == 403
        response = server.request("GET", "/metrics", auth=scraper)
        assert series_of(response.text)[refused] == number
    assert server.request("GET", "/metrics", auth=None).status == 401


def test_a_second_master_keeps_the_files_of_the_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(_metrics_files, "_prepared", False)
    cfg = SimpleNamespace(env={}, uid=os.geteuid(), gid=os.getegid())
    (tmp_path / "counter_1.db").touch()
    monkeypatch.setenv("GUNICORN_PID", "1")
    _metrics_files.prepare(cfg)
    assert (tmp_path / "counter_1.db").exists()
    monkeypatch.delenv("GUNICORN_PID")
    _metrics_files.prepare(cfg)
    assert (tmp_path / "counter_1.db").exists()
    monkeypatch.setattr(_metrics_files, "_prepared", False)
    _metrics_files.prepare(cfg)
    assert not (tmp_path / "counter_1.db").exists()


def test_attack_a_directory_of_another_user_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(_metrics_files, "_prepared", False)
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    cfg = SimpleNamespace(env={}, uid=owner + 1, gid=7)
    if owner == 0:
        os.chown(tmp_path, 4711, 4711)
    with pytest.raises(RuntimeError, match="belongs to another user"):
        _metrics_files.prepare(cfg)
