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
from swaig_wsgi.processes import SharedState, install


def client(route: str = "", failures: tuple[str, ...] = (), details: bool = True) -> Client:
    def application(environ: Any, start_response: Any) -> Any:
        response = Response(json.dumps(readiness_details(environ)), 503)
        return response(environ, start_response)

    app = HealthEndpoints(application, route, lambda: failures, details=details)
    return Client(app)


@pytest.mark.parametrize("route", ["", "/bank"])
def test_health_and_ready_need_no_credentials(route: str) -> None:
    for slash in ("", "/"):
        health = client(route).get(f"{route}/health{slash}")
        assert (health.status, health.json) == (200, {"status": "ok"})
        ready = client(route).get(f"{route}/ready{slash}")
        assert (ready.status, ready.json) == (200, {"status": "ready"})


def test_ready_is_503_and_health_is_200_while_a_check_fails() -> None:
    result = client(failures=("store",)).get("/ready")
    assert (result.status, result.json) == (503, {"status": "not ready"})
    assert client(failures=("store",)).get("/health").status == 200


def test_failed_checks_are_listed_only_with_credentials() -> None:
    options = {"headers": {"Authorization": "Basic x"}}
    result = client(failures=("store",)).get("/ready", **options)
    assert json.loads(result.body) == {"status": "not ready", "failed": ["store"]}
    result = client(failures=("store",), details=False).get("/ready", **options)
    assert (result.status, result.json) == (503, {"status": "not ready"})


def test_ready_is_503_as_soon_as_the_server_drains() -> None:
    state = SharedState()
    install(state)
    try:
        assert client().get("/ready").status == 200
        state.start_draining()
        assert client().get("/ready").status == 503
        options = {"headers": {"Authorization": "Basic x"}}
        result = client().get("/ready", **options)
        assert json.loads(result.body) == {"status": "not ready", "failed": ["draining"]}
        assert client().get("/health").status == 200
    finally:
        install(None)


def test_readiness_is_evaluated_once_per_request() -> None:
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


def test_only_get_and_head_are_allowed() -> None:
    assert client().head("/health").body == b""
    result = client().post("/ready")
    assert (result.status, result.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path", ["//health", "/./health", "/x/../health", "/health//", "/Health", "/health/x", "/", ""]
)
def test_other_paths_reach_the_application(path: str) -> None:
    seen = []

    def application(environ, start_response):  # type: ignore[no-untyped-def]
        seen.append(environ["PATH_INFO"])
        return Response("inside")(environ, start_response)

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path}
    HealthEndpoints(application, "", lambda: (), details=True)(environ, lambda *args: None)  # type: ignore[arg-type,return-value]
    assert seen == [path]


# Readiness checks


def test_an_agent_without_checks_is_ready() -> None:
    assert Readiness().failures() == ()


def test_checks_fail_if_they_raise_or_return_false(caplog: pytest.LogCaptureFixture) -> None:
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


def test_only_changes_of_readiness_are_logged(caplog: pytest.LogCaptureFixture) -> None:
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


def test_a_new_check_runs_at_the_next_request() -> None:
    checks = Readiness(Clock())
    assert checks.failures() == ()
    checks.add("a", lambda: False)
    assert checks.failures() == ("a",)


@pytest.mark.threads
def test_checks_run_one_at_a_time_for_concurrent_requests() -> None:
    checks = Readiness()
    running: list[int] = []
    concurrent: list[int] = []

    def check() -> None:
        running.append(1)
        concurrent.append(len(running))
        time.sleep(0.02)
        running.pop()

    checks.add("a", check)
    checks.add("b", check)
    threads = [threading.Thread(target=checks.failures) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(concurrent) == {1}
    assert len(concurrent) == 2


class Slow:
    """A check that runs until it is released."""

    def __init__(self) -> None:
        self.running, self.release = threading.Event(), threading.Event()
        self.passes = True

    def __call__(self) -> bool:
        self.running.set()
        self.release.wait(60)
        return self.passes


def start_checks(checks: Readiness) -> threading.Thread:
    thread = threading.Thread(target=checks.failures)
    thread.start()
    return thread


def test_requests_do_not_wait_for_checks_started_by_another_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "TIMEOUT", 20)
    monkeypatch.setattr(health, "FIRST_WAIT", 0.01)
    clock, slow = Clock(), Slow()
    checks = Readiness(clock)
    checks.add("slow", slow)
    threads = [start_checks(checks)]
    try:
        assert slow.running.wait(60)
        # There is no result yet.
        assert [checks.failures() for _ in range(8)] == [("starting",)] * 8
        slow.passes = False
        slow.release.set()
        threads[0].join(60)
        assert checks.failures() == ("slow",)

        slow.running.clear()
        slow.release.clear()
        slow.passes = True
        clock.now += 2
        threads.append(start_checks(checks))
        assert slow.running.wait(60)
        assert [checks.failures() for _ in range(8)] == [("slow",)] * 8
        # The new check has not run yet.
        checks.add("fine", lambda: True)
        assert checks.failures() == ("starting",)
    finally:
        slow.release.set()
        for thread in threads:
            thread.join(60)
    # A new check runs although the last result is less than a second old.
    checks.add("new", lambda: False)
    assert checks.failures() == ("new",)


def test_a_check_added_while_others_run_runs_at_the_next_request() -> None:
    checks = Readiness(Clock())
    checks.add("adds", lambda: checks.add("added", lambda: False))
    assert checks.failures() == ()
    assert checks._checks.keys() == {"adds", "added"}
    checks._checks["adds"] = lambda: True
    assert checks.failures() == ("added",)


@pytest.mark.threads
def test_concurrent_first_requests_wait_for_the_first_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "FIRST_WAIT", 20)
    checks = Readiness()
    results: list[tuple[str, ...]] = []
    threads = [threading.Thread(target=lambda: results.append(checks.failures())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [()] * 8


def test_a_cancelled_check_fails_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    checks = Readiness(Clock())

    async def cancelled() -> None:
        raise asyncio.CancelledError

    checks.add("cancelled", cancelled)
    # An exception that escapes from the thread is a warning, which pytest turns into an error.
    assert checks.failures() == ("cancelled",)
    assert "the readiness check 'cancelled' raised" in caplog.text


def test_a_check_fails_if_no_thread_can_be_started(
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


def test_a_check_that_times_out_fails_and_is_not_started_again(
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
def test_invalid_checks_are_rejected(name: Any, check: Any) -> None:
    checks = Readiness()
    checks.add("b", print)
    with pytest.raises(ValueError, match="readiness check"):
        checks.add(name, check)


def test_an_agent_lists_failed_checks_to_authenticated_clients(
    make_agent: Any, client_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    agent = make_agent().add_readiness_check("database", lambda: False)
    client = client_of(agent)
    for slash in ("", "/"):
        anonymous = client.get(f"/ready{slash}", auth=None)
        assert (anonymous.status, anonymous.json) == (503, {"status": "not ready"})
        authenticated = client.get(f"/ready{slash}")
        assert authenticated.status == 503
        assert authenticated.json == {"status": "not ready", "failed": ["database"]}
        assert client.get(f"/ready{slash}", auth=("admin", "guess")).status == 401
    assert client.get("/health", auth=None).status == 200
    assert "not ready: 'database'" in caplog.text


def test_the_store_is_checked(
    make_agent: Any, client_of: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWML_STORAGE_URL", f"sqlite:///{tmp_path}/missing/store.db")
    client = client_of(make_agent())
    assert client.get("/ready").json == {"status": "not ready", "failed": ["store"]}
