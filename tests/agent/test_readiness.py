"""Readiness checks: few, one at a time, and bounded."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from swaig_wsgi.agent import readiness
from swaig_wsgi.agent.readiness import Readiness


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_without_checks_it_is_ready() -> None:
    assert Readiness().failures() == ()


def test_what_fails(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    checks = Readiness(clock)

    async def later() -> bool:
        return False

    def raises() -> None:
        raise OSError("s3cret database")

    checks.add("none", lambda: None)
    checks.add("true", lambda: True)
    checks.add("false", lambda: False)
    checks.add("later", later)
    checks.add("raises", raises)
    assert checks.failures() == ("false", "later", "raises")
    assert "not ready: 'false', 'later', 'raises'" in caplog.text


def test_the_log_tells_changes_alone(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    checks = Readiness(clock)
    state = [False]
    checks.add("a", lambda: state[0])
    for _ in range(3):
        assert checks.failures() == ("a",)
        clock.now += 2
    assert caplog.text.count("not ready") == 1
    state[0] = True
    assert checks.failures() == ()
    assert caplog.text.count("ready again") == 1


def test_checks_run_at_most_once_a_second() -> None:
    clock = Clock()
    checks = Readiness(clock)
    runs: list[float] = []
    checks.add("a", lambda: runs.append(clock.now))
    for _ in range(50):
        checks.failures()
        clock.now += 0.1
    assert len(runs) == 5


def test_a_new_check_is_asked_at_once() -> None:
    checks = Readiness(Clock())
    assert checks.failures() == ()
    checks.add("a", lambda: False)
    assert checks.failures() == ("a",)


def test_one_at_a_time_however_many_ask() -> None:
    checks = Readiness()
    running: list[int] = []
    most: list[int] = []

    def check() -> None:
        running.append(1)
        most.append(len(running))
        time.sleep(0.02)
        running.pop()

    checks.add("a", check)
    checks.add("b", check)
    threads = [threading.Thread(target=checks.failures) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert len(most) == 2


def test_a_check_that_hangs_fails_and_is_not_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness, "TIMEOUT", 0.05)
    clock = Clock()
    checks = Readiness(clock)
    release = threading.Event()
    started: list[int] = []

    def hangs() -> None:
        started.append(1)
        release.wait(20)

    checks.add("hangs", hangs)
    checks.add("fine", lambda: True)
    try:
        for _ in range(4):
            assert checks.failures() == ("hangs",)
            clock.now += 2
        assert len(started) == 1
    finally:
        release.set()
    thread = checks._hanging["hangs"]
    thread.join(20)
    clock.now += 2
    assert checks.failures() == ()
    assert len(started) == 2


@pytest.mark.parametrize(("name", "check"), [("", print), (None, print), ("a", "x"), ("b", print)])
def test_wrong_checks_are_refused(name: Any, check: Any) -> None:
    checks = Readiness()
    checks.add("b", print)
    with pytest.raises(ValueError, match="readiness check"):
        checks.add(name, check)


def test_an_agent_that_is_not_ready_says_why_to_those_who_may_know(
    make_agent: Any, client_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    agent = make_agent().add_readiness_check("database", lambda: False)
    client = client_of(agent)
    for slash in ("", "/"):
        stranger = client.get(f"/ready{slash}", auth=None)
        assert (stranger.status_code, stranger.json) == (503, {"status": "not ready"})
        known = client.get(f"/ready{slash}")
        assert known.status_code == 503
        assert known.json == {"status": "not ready", "failed": ["database"]}
        assert client.get(f"/ready{slash}", auth=("admin", "guess")).status_code == 401
    assert client.get("/health", auth=None).status_code == 200
    assert "not ready: 'database'" in caplog.text


def test_the_store_is_one_of_the_checks(
    make_agent: Any, client_of: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWML_STORAGE_URL", f"sqlite:///{tmp_path}/missing/store.db")
    client = client_of(make_agent())
    assert client.get("/ready").json == {"status": "not ready", "failed": ["store"]}
