"""Health endpoints and readiness checks."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import pytest
from support.clock import Clock
from support.wsgi import Client
from werkzeug.wrappers import Response

from swaig_wsgi.agent import health
from swaig_wsgi.agent.health import HealthEndpoints, Readiness, readiness_details


def client(route: str = "", failures: tuple[str, ...] = (), details: bool = True) -> Client:
    def inside(environ: Any, start_response: Any) -> Any:
        response = Response(json.dumps(readiness_details(environ)), 503)
        return response(environ, start_response)

    app = HealthEndpoints(inside, route, lambda: failures, details=details)
    return Client(app)


@pytest.mark.parametrize("route", ["", "/bank"])
def test_both_need_no_credentials(route: str) -> None:
    for slash in ("", "/"):
        health = client(route).get(f"{route}/health{slash}")
        assert (health.status, health.json) == (200, {"status": "ok"})
        ready = client(route).get(f"{route}/ready{slash}")
        assert (ready.status, ready.json) == (200, {"status": "ready"})


def test_not_ready_is_503_and_still_healthy() -> None:
    result = client(failures=("store",)).get("/ready")
    assert (result.status, result.json) == (503, {"status": "not ready"})
    assert client(failures=("store",)).get("/health").status == 200


def test_details_are_for_requests_that_bring_credentials() -> None:
    options = {"headers": {"Authorization": "Basic x"}}
    result = client(failures=("store",)).get("/ready", **options)
    assert json.loads(result.body) == {"status": "not ready", "failed": ["store"]}
    result = client(failures=("store",), details=False).get("/ready", **options)
    assert (result.status, result.json) == (503, {"status": "not ready"})


def test_readiness_is_asked_once() -> None:
    states = [("store",), ()]
    app = HealthEndpoints(
        lambda environ, start_response: Response(json.dumps(readiness_details(environ)), 503)(
            environ, start_response
        ),
        "",
        lambda: states.pop(0),
        details=True,
    )
    result = Client(app).get("/ready", headers={"Authorization": "Basic x"})
    assert result.status == 503
    assert json.loads(result.body)["failed"] == ["store"]


def test_only_reading_is_allowed() -> None:
    assert client().head("/health").body == b""
    result = client().post("/ready")
    assert (result.status, result.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path", ["//health", "/./health", "/x/../health", "/health//", "/Health", "/health/x", "/", ""]
)
def test_every_other_spelling_goes_inside(path: str) -> None:
    seen = []

    def inside(environ, start_response):  # type: ignore[no-untyped-def]
        seen.append(environ["PATH_INFO"])
        return Response("inside")(environ, start_response)

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path}
    HealthEndpoints(inside, "", lambda: (), details=True)(environ, lambda *args: None)  # type: ignore[arg-type,return-value]
    assert seen == [path]


# Readiness checks


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


class Slow:
    """A check that runs until it is released."""

    def __init__(self) -> None:
        self.running, self.release = threading.Event(), threading.Event()
        self.passes = True

    def __call__(self) -> bool:
        self.running.set()
        self.release.wait(60)
        return self.passes


def ask(checks: Readiness) -> threading.Thread:
    thread = threading.Thread(target=checks.failures)
    thread.start()
    return thread


def test_no_request_waits_for_checks_that_another_one_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "TIMEOUT", 20)
    monkeypatch.setattr(health, "FIRST_WAIT", 0.01)
    clock, slow = Clock(), Slow()
    checks = Readiness(clock)
    checks.add("slow", slow)
    threads = [ask(checks)]
    try:
        assert slow.running.wait(60)
        # Nothing is known before the first result.
        assert [checks.failures() for _ in range(8)] == [("starting",)] * 8
        slow.passes = False
        slow.release.set()
        threads[0].join(60)
        assert checks.failures() == ("slow",)

        slow.running.clear()
        slow.release.clear()
        slow.passes = True
        clock.now += 2
        threads.append(ask(checks))
        assert slow.running.wait(60)
        assert [checks.failures() for _ in range(8)] == [("slow",)] * 8
        # What is new has not been asked yet.
        checks.add("fine", lambda: True)
        assert checks.failures() == ("starting",)
    finally:
        slow.release.set()
        for thread in threads:
            thread.join(60)
    # Although the last result is less than a second old.
    checks.add("new", lambda: False)
    assert checks.failures() == ("new",)


def test_a_check_that_is_added_while_others_run_is_asked_at_once() -> None:
    checks = Readiness(Clock())
    checks.add("adds", lambda: checks.add("added", lambda: False))
    assert checks.failures() == ()
    assert checks._checks.keys() == {"adds", "added"}
    checks._checks["adds"] = lambda: True
    assert checks.failures() == ("added",)


def test_the_first_requests_get_the_first_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FIRST_WAIT", 20)
    checks = Readiness()
    results: list[tuple[str, ...]] = []
    threads = [threading.Thread(target=lambda: results.append(checks.failures())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [()] * 8


def test_a_check_that_was_cancelled_fails_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    checks = Readiness(Clock())

    async def cancelled() -> None:
        raise asyncio.CancelledError

    checks.add("cancelled", cancelled)
    # What reached the thread's end would be a warning, which is an error here.
    assert checks.failures() == ("cancelled",)
    assert "the readiness check 'cancelled' raised" in caplog.text


def test_without_a_thread_for_it_a_check_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    clock = Clock()
    checks = Readiness(clock)
    checks.add("a", lambda: True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert checks.failures() == ("a",)
    assert "can't start new thread" in caplog.text
    clock.now += 2
    assert checks.failures() == ()


def test_a_check_that_hangs_fails_and_is_not_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "TIMEOUT", 0.05)
    clock = Clock()
    checks = Readiness(clock)
    release = threading.Event()
    started: list[int] = []

    def hangs() -> None:
        started.append(1)
        release.wait(60)

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
    thread.join(60)
    clock.now += 2
    assert checks.failures() == ()
    assert len(started) == 2


@pytest.mark.parametrize(("name", "check"), [("", print), (None, print), ("a", "x"), ("b", print)])
def test_wrong_checks_are_refused(name: Any, check: Any) -> None:
    checks = Readiness()
    checks.add("b", print)
    with pytest.raises(ValueError, match="readiness check"):
        checks.add(name, check)


def test_an_agent_that_is_not_ready_tells_authenticated_clients_why(
    make_agent: Any, client_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    agent = make_agent().add_readiness_check("database", lambda: False)
    client = client_of(agent)
    for slash in ("", "/"):
        anonymous = client.get(f"/ready{slash}", auth=None)
        assert (anonymous.status, anonymous.json) == (503, {"status": "not ready"})
        known = client.get(f"/ready{slash}")
        assert known.status == 503
        assert known.json == {"status": "not ready", "failed": ["database"]}
        assert client.get(f"/ready{slash}", auth=("admin", "guess")).status == 401
    assert client.get("/health", auth=None).status == 200
    assert "not ready: 'database'" in caplog.text


def test_the_store_is_one_of_the_checks(
    make_agent: Any, client_of: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWML_STORAGE_URL", f"sqlite:///{tmp_path}/missing/store.db")
    client = client_of(make_agent())
    assert client.get("/ready").json == {"status": "not ready", "failed": ["store"]}
