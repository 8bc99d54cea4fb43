"""At most once: sequential and concurrent repeats, failing stores, and killed processes."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from support.clock import Clock
from support.waiting import wait_until

from swaig_wsgi.agent import at_most_once as once
from swaig_wsgi.agent.at_most_once import IN_PROGRESS, NOT_KEPT, UNCLAIMED, UNKNOWN, Once, call_key
from swaig_wsgi.core.tokens import ToolToken
from swaig_wsgi.stores import MemoryStore, RedisStore, SQLiteStore, StoreError
from swaig_wsgi.stores._scoped import ScopedStore


class Counted:
    """A handler that counts its runs, and may block."""

    def __init__(self, hold: threading.Event | None = None) -> None:
        self.runs = 0
        self.started = threading.Event()
        self._hold = hold

    def __call__(self) -> bytes:
        self.runs += 1
        self.started.set()
        if self._hold is not None:
            assert self._hold.wait(60)
        return b'{"response": "Paid."}'


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, clock: Clock, tmp_path: Any) -> Any:
    if request.param == "memory":
        yield MemoryStore(clock=clock)
    else:
        sqlite = SQLiteStore(str(tmp_path / "store.db"), clock=clock)
        yield sqlite
        sqlite.close()


def message(result: bytes) -> Any:
    return json.loads(result)["response"]


def test_a_repeat_gets_the_first_result(store: Any) -> None:
    handler = Counted()
    first = Once(store).run("once:a", 60, handler)
    assert Once(store).run("once:a", 60, handler) == first == b'{"response": "Paid."}'
    assert handler.runs == 1
    assert message(Once(store).run("once:b", 60, handler)) == "Paid."
    assert handler.runs == 2


def test_after_the_window_a_repeat_runs_again(store: Any, clock: Clock) -> None:
    handler = Counted()
    Once(store).run("once:a", 60, handler)
    clock.now += 59
    Once(store).run("once:a", 60, handler)
    assert handler.runs == 1
    clock.now += 2
    Once(store).run("once:a", 60, handler)
    assert handler.runs == 2


@pytest.mark.threads
def test_a_concurrent_repeat_waits_for_the_result(store: Any) -> None:
    hold = threading.Event()
    handler = Counted(hold)
    results: list[bytes] = []
    first = threading.Thread(target=lambda: results.append(Once(store).run("once:a", 60, handler)))
    first.start()
    assert handler.started.wait(60)
    repeats = [
        threading.Thread(target=lambda: results.append(Once(store).run("once:a", 60, handler)))
        for _ in range(4)
    ]
    for repeat in repeats:
        repeat.start()
    hold.set()
    for thread in (first, *repeats):
        thread.join(60)
    assert [message(result) for result in results] == ["Paid."] * 5
    assert handler.runs == 1


@pytest.mark.threads
def test_a_repeat_of_a_running_call_returns_in_progress_after_the_wait(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "WAIT", 0.5)
    monkeypatch.setattr(once, "HEARTBEAT", 0.05)
    hold = threading.Event()
    handler = Counted(hold)
    first = threading.Thread(target=Once(store).run, args=("once:a", 60, handler))
    first.start()
    try:
        assert handler.started.wait(60)
        assert message(Once(store).run("once:a", 60, handler)) == IN_PROGRESS
    finally:
        hold.set()
        first.join(60)
    assert handler.runs == 1


def test_a_repeat_after_a_killed_process_returns_unknown(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "WAIT", 0.3)
    assert store.add("once:a", {"beat": 3}, 60)
    handler = Counted()
    assert message(Once(store).run("once:a", 60, handler)) == UNKNOWN
    assert handler.runs == 0


@pytest.mark.parametrize("died", [0.5, 1.5, 2.5, 3.2, 4.9, 60.0])
def test_attack_no_repeat_hears_that_a_call_is_in_progress_after_its_process_died(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, died: float
) -> None:
    # Time passes only while a repeat sleeps.
    monkeypatch.setattr(time, "monotonic", clock)
    monkeypatch.setattr(time, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))
    store = MemoryStore(clock=clock)
    began = clock.now

    def read(key: str) -> dict[str, Any]:
        return {"heartbeat": int(min(clock.now - began, died)), "owner": "first"}

    monkeypatch.setattr(store, "get", read)
    store.add("once:a", {}, 60)
    heard = []
    for _ in range(3):
        repeated = clock.now
        sentence = message(Once(store).run("once:a", 60, Counted()))
        assert clock.now - repeated <= once.WAIT + 0.1
        # A heartbeat that the repeat just read may be as old as its polling interval.
        heard.append((sentence, clock.now - began <= died + 0.1))
    expected = {(IN_PROGRESS, True)} if died == 60.0 else {(UNKNOWN, False), (IN_PROGRESS, True)}
    assert set(heard) <= expected
    assert heard[-1] == ((IN_PROGRESS, True) if died == 60.0 else (UNKNOWN, False))


def test_the_claim_of_another_owner_is_no_heartbeat(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "WAIT", 0.2)
    claims = [{"heartbeat": 3, "owner": "first"}, {"heartbeat": 0, "owner": "second"}]
    monkeypatch.setattr(store, "get", lambda key: claims.pop(0) if len(claims) > 1 else claims[0])
    store.add("once:a", {}, 60)
    assert message(Once(store).run("once:a", 60, Counted())) == UNKNOWN


def test_a_running_call_keeps_its_claim_beyond_the_window(
    store: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "WAIT", 0.5)
    monkeypatch.setattr(once, "HEARTBEAT", 0.02)
    hold = threading.Event()
    handler = Counted(hold)
    first = threading.Thread(target=Once(store).run, args=("once:a", 1, handler))
    first.start()
    try:
        assert handler.started.wait(60)
        for _ in range(5):
            clock.now += 40
            end = time.monotonic() + 60
            before = store.get("once:a")
            while store.get("once:a") == before and time.monotonic() < end:
                time.sleep(0.01)
        assert message(Once(store).run("once:a", 1, handler)) == IN_PROGRESS
    finally:
        hold.set()
        first.join(60)
    assert handler.runs == 1


@pytest.fixture(params=["memory", "private", "file", "redis"])
def real_store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Return a store of each kind, with the clock that it has in production."""
    if request.param == "redis":
        made: Any = RedisStore(request.getfixturevalue("valkey").url, prefix=f"{tmp_path}:")
    elif request.param == "memory":
        made = MemoryStore()
    else:
        made = SQLiteStore(tmp_path / "store.db" if request.param == "file" else None)
    yield made
    made.close()


def running(store: Any, hold: threading.Event) -> tuple[Counted, threading.Thread]:
    """Return the handler of a call that runs until `hold`, and its thread."""
    handler = Counted(hold)
    thread = threading.Thread(target=Once(store).run, args=("once:a", 60, handler))
    thread.start()
    assert handler.started.wait(60)
    return handler, thread


def test_attack_a_step_of_the_systems_time_lets_no_call_run_twice(
    real_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "WAIT", 0.2)
    wall = Clock(time.time())
    monkeypatch.setattr(time, "time", wall)
    hold = threading.Event()
    handler, first = running(real_store, hold)
    try:
        for step in (121.0, 100_000.0, -200_000.0):
            wall.now += step
            real_store.close()  # The next call opens it as another process would.
            assert message(Once(real_store).run("once:a", 60, handler)) in (IN_PROGRESS, UNKNOWN)
    finally:
        hold.set()
        first.join(60)
    for step in (121.0, 100_000.0, -200_000.0):
        wall.now += step
        assert message(Once(real_store).run("once:a", 60, handler)) == "Paid."
    assert handler.runs == 1


def test_a_claim_that_the_store_lost_is_made_again(
    real_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "HEARTBEAT", 0.02)
    monkeypatch.setattr(once, "WAIT", 0.2)
    hold = threading.Event()
    handler, first = running(real_store, hold)
    try:
        for _ in range(3):
            assert real_store.delete("once:a")
            wait_until(lambda: real_store.get("once:a"))
            assert message(Once(real_store).run("once:a", 60, handler)) == IN_PROGRESS
    finally:
        hold.set()
        first.join(60)
    assert handler.runs == 1


def test_a_heartbeat_leaves_the_result_of_another_call_alone(
    real_store: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(once, "HEARTBEAT", 0.02)
    hold = threading.Event()
    _, first = running(real_store, hold)
    try:
        # A heartbeat that is under way may still write once.
        other = {"result": '{"response": "Paid by another."}'}
        wait_until(lambda: real_store.set("once:a", other, 60) or "lost its claim" in caplog.text)
        assert real_store.get("once:a") == other
    finally:
        hold.set()
        first.join(60)


def test_a_repeat_after_an_aborted_handler_returns_unknown(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "WAIT", 0.2)

    def fails() -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Once(store).run("once:a", 60, fails)
    handler = Counted()
    assert message(Once(store).run("once:a", 60, handler)) == UNKNOWN
    assert handler.runs == 0


class Failing:
    """A store that fails in one operation, in some or all of its calls.

    `executed` says whether it carries them out nevertheless, as a server does whose reply is lost.
    """

    def __init__(
        self,
        operation: str,
        *,
        calls: Iterable[int] = range(1, 10**6),
        executed: bool = False,
        store: Any = None,
    ) -> None:
        self.inner = MemoryStore() if store is None else store
        self._operation = operation
        self._calls = calls
        self._executed = executed
        self._count = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if name != self._operation:
            return method

        def fails(*args: Any) -> Any:
            self._count += 1
            if self._count not in self._calls:
                return method(*args)
            if self._executed:
                method(*args)
            raise StoreError("s3cret host is down")

        return fails


def test_the_handler_does_not_run_without_a_claim(caplog: pytest.LogCaptureFixture) -> None:
    handler = Counted()
    assert message(Once(Failing("add")).run("once:a", 60, handler)) == UNKNOWN  # type: ignore[arg-type]
    assert handler.runs == 0
    assert "could not be claimed" in caplog.text


def test_attack_no_failure_of_the_store_denies_that_a_call_has_run(
    store: Any,
) -> None:
    handler = Counted()
    assert message(Once(store).run("once:a", 60, handler)) == "Paid."
    for operation, executed in (("add", False), ("add", True), ("get", False)):
        failing: Any = Failing(operation, executed=executed, store=store)
        assert message(Once(failing).run("once:a", 60, handler)) == UNKNOWN
    assert handler.runs == 1
    assert "unknown" in UNKNOWN
    for sentence in (UNKNOWN, IN_PROGRESS, NOT_KEPT):
        assert "been done" not in sentence


def test_a_claim_whose_reply_was_lost_frees_itself(
    store: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "WAIT", 0.1)
    handler = Counted()
    runner = Once(Failing("add", calls=(1,), executed=True, store=store))  # type: ignore[arg-type]
    assert message(runner.run("once:a", 60, handler, lifetime=3600)) == UNKNOWN
    assert store.get("once:a") is not None
    assert message(runner.run("once:a", 60, handler, lifetime=3600)) == UNKNOWN
    assert handler.runs == 0
    clock.now += 5
    assert message(runner.run("once:a", 60, handler, lifetime=3600)) == "Paid."
    assert handler.runs == 1


@pytest.mark.parametrize("executed", [True, False])
def test_a_call_whose_confirmation_is_unknown_does_not_run(
    store: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch, executed: bool
) -> None:
    monkeypatch.setattr(once, "WAIT", 0.1)
    handler = Counted()
    failing: Any = Failing("replace_if", calls=(1,), executed=executed, store=store)
    runner = Once(failing)
    assert message(runner.run("once:a", 60, handler, lifetime=3600)) == UNKNOWN
    assert message(runner.run("once:a", 60, handler, lifetime=3600)) == UNKNOWN
    assert handler.runs == 0
    clock.now += 5
    # A claim that was confirmed in time looks like that of a process that died.
    later = message(runner.run("once:a", 60, handler, lifetime=3600))
    assert (later, handler.runs) == ((UNKNOWN, 0) if executed else ("Paid.", 1))
    clock.now += 3600
    assert message(runner.run("once:a", 60, handler)) == "Paid."


class Delayed:
    """A store that executes some writes only later, as a server does that was stopped."""

    def __init__(self, inner: Any, operation: str, calls: Iterable[int]) -> None:
        self.inner = inner
        self.delayed: list[Any] = []
        self._operation = operation
        self._calls = calls
        self._count = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if name != self._operation:
            return method

        def delay(*args: Any) -> Any:
            self._count += 1
            if self._count not in self._calls:
                return method(*args)
            self.delayed.append(lambda: method(*args))
            raise StoreError("timeout")

        return delay


def test_a_late_confirmation_or_claim_changes_no_other_call(store: Any, clock: Clock) -> None:
    handler = Counted()
    confirmation = Delayed(store, "replace_if", (1,))
    assert message(Once(confirmation).run("once:a", 60, handler)) == UNKNOWN  # type: ignore[arg-type]
    claim = Delayed(store, "add", (1,))
    assert message(Once(claim).run("once:a", 60, handler)) == UNKNOWN  # type: ignore[arg-type]
    clock.now += 5
    late = [*confirmation.delayed, *claim.delayed]
    assert len(late) == 2

    def meanwhile() -> bytes:
        assert [write() for write in late] == [False, False]
        return handler()

    assert message(Once(store).run("once:a", 60, meanwhile)) == "Paid."
    assert [write() for write in late] == [False, False]
    assert message(Once(store).run("once:a", 60, handler)) == "Paid."
    assert handler.runs == 1


def test_a_late_heartbeat_leaves_the_result_alone(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "HEARTBEAT", 0.02)
    handler = Counted()
    delayed = Delayed(store, "replace_if", (2,))

    def runs() -> bytes:
        wait_until(lambda: delayed.delayed)
        return handler()

    assert message(Once(delayed).run("once:a", 60, runs)) == "Paid."  # type: ignore[arg-type]
    (heartbeat,) = delayed.delayed
    assert heartbeat() is False
    assert message(Once(store).run("once:a", 60, handler)) == "Paid."
    assert handler.runs == 1


def test_a_process_suspended_between_claim_and_confirmation_returns_the_result_of_another(
    store: Any, clock: Clock
) -> None:
    handler, other = Counted(), Counted()

    def suspended() -> None:
        clock.now += 5
        assert message(Once(store).run("once:a", 60, other)) == "Paid."

    assert message(Once(store).run("once:a", 60, handler, admit=suspended)) == "Paid."
    assert (handler.runs, other.runs) == (0, 1)


def test_a_process_suspended_beyond_its_claim_does_not_run(store: Any, clock: Clock) -> None:
    handler = Counted()

    def suspended() -> None:
        clock.now += 5

    assert message(Once(store).run("once:a", 60, handler, admit=suspended)) == UNKNOWN
    assert handler.runs == 0
    assert message(Once(store).run("once:a", 60, handler)) == "Paid."


def test_a_call_that_is_not_admitted_leaves_neither_claim_nor_result(store: Any) -> None:
    handler = Counted()
    refusal = b'{"response": "No."}'
    for _ in range(2):
        assert Once(store).run("once:a", 60, handler, admit=lambda: refusal) == refusal
        assert store.get("once:a") is None
    assert message(Once(store).run("once:a", 60, handler)) == "Paid."
    assert Once(store).run("once:a", 60, handler, admit=lambda: refusal) != refusal
    assert handler.runs == 1


def test_a_store_without_replace_if_is_rejected() -> None:
    class Old:
        def add(self, key: str, value: Any, ttl: float) -> bool:
            return True

    for store in (Old(), ScopedStore(Old(), "bank")):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="need a store with replace_if, not Old"):
            Once(store)  # type: ignore[arg-type]


def test_an_outage_is_logged_once_a_minute_without_tracebacks(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Once(Failing("add"))  # type: ignore[arg-type]
    for number in range(20):
        runner.run(f"once:{number}", 60, Counted())
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("ERROR", None)
    assert record.getMessage().endswith("a call could not be claimed: s3cret host is down")
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    runner.run("once:a", 60, Counted())
    assert len(caplog.records) == 2


@pytest.mark.parametrize("step", ["claim", "confirmation"])
def test_a_locked_file_lets_nothing_run_and_frees_itself(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(once, "WAIT", 0.1)
    store = SQLiteStore(tmp_path / "store.db", clock=clock)
    store.get("once:a")
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    handler = Counted()

    def lock() -> None:
        other.execute("BEGIN IMMEDIATE")

    if step == "claim":
        lock()
    admit = lock if step == "confirmation" else lambda: None
    result = Once(store).run("once:a", 60, handler, admit=admit)
    assert message(result) == UNKNOWN
    other.execute("ROLLBACK")
    other.close()
    if step == "confirmation":
        assert message(Once(store).run("once:a", 60, handler)) == UNKNOWN
    clock.now += 5
    assert handler.runs == 0
    assert message(Once(store).run("once:a", 60, handler)) == "Paid."
    store.close()


FORK = """
import json, os, sys, threading
from swaig_wsgi.agent import at_most_once as once
from swaig_wsgi.stores import SQLiteStore

once.WAIT, once.HEARTBEAT = 1.5, 0.1
store = SQLiteStore()
runner = once.Once(store)
started, forked = threading.Event(), threading.Event()
runs = []

def pay():
    runs.append(os.getpid())
    started.set()
    assert forked.wait(60)
    return b'{"response": "Paid."}'

first = threading.Thread(target=runner.run, args=("once:a", 60, pay))
first.start()
assert started.wait(60)
children = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        started.clear()
        forked.set()
        message = json.loads(runner.run("once:a", 60, pay))["response"]
        runner.run("once:b", 60, pay)
        os._exit(0 if message == once.IN_PROGRESS and len(runs) <= 2 else 1)
    children.append(pid)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
forked.set()
first.join(60)
print(codes, len(runs), json.loads(runner.run("once:b", 60, pay))["response"])
"""


@pytest.mark.threads
def test_a_forked_child_repeats_no_call_of_its_parent(run_python: Any) -> None:
    assert run_python(FORK).strip() == "[0, 0] 1 Paid."


def refuse_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


def test_a_call_without_a_heartbeat_thread_leaves_no_claim(
    store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Counted()
    with pytest.MonkeyPatch.context() as patch:
        refuse_threads(patch)
        assert message(Once(store).run("once:a", 60, handler)) == UNCLAIMED
    assert handler.runs == 0
    assert store.get("once:a") is None
    assert "can't start new thread" in caplog.text
    assert message(Once(store).run("once:a", 60, handler)) == "Paid."
    assert handler.runs == 1


def test_the_handler_does_not_run_if_its_claim_cannot_be_released(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(once, "WAIT", 0.2)
    handler = Counted()
    failing = Failing("replace_if", calls=(2,))
    runner = Once(failing)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        refuse_threads(patch)
        assert message(runner.run("once:a", 60, handler)) == UNCLAIMED
    assert "could not be released" in caplog.text
    assert message(runner.run("once:a", 60, handler)) == UNKNOWN
    assert handler.runs == 0


def test_a_result_that_cannot_be_stored_is_still_returned(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(once, "WAIT", 0.2)
    handler = Counted()
    runner = Once(Failing("replace_if", calls=(2,)))  # type: ignore[arg-type]
    assert message(runner.run("once:a", 60, handler)) == "Paid."
    assert "could not be stored" in caplog.text
    assert message(runner.run("once:a", 60, handler)) == UNKNOWN
    assert handler.runs == 1


def test_a_result_too_large_to_store_is_still_returned(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "WAIT", 0.2)
    large = json.dumps({"response": "x" * 100_000}).encode()
    assert Once(store).run("once:a", 60, lambda: large) == large
    assert message(Once(store).run("once:a", 60, lambda: large)) == NOT_KEPT


def test_the_claim_of_an_aborted_call_lasts_for_its_lifetime(
    store: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "WAIT", 0.1)

    def dies() -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Once(store).run("once:a", 5, dies, lifetime=3600)
    handler = Counted()
    clock.now += 3500
    assert message(Once(store).run("once:a", 5, handler, lifetime=100)) == UNKNOWN
    assert handler.runs == 0


def test_a_repeat_that_cannot_read_the_store_returns_unknown() -> None:
    failing = Failing("get")
    failing.inner.add("once:a", {"beat": 0}, 60)
    handler = Counted()
    assert message(Once(failing).run("once:a", 60, handler)) == UNKNOWN  # type: ignore[arg-type]
    assert handler.runs == 0


def test_a_failing_heartbeat_does_not_stop_the_handler(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(once, "HEARTBEAT", 0.01)

    def slow() -> bytes:
        end = time.monotonic() + 60
        while "heartbeat" not in caplog.text and time.monotonic() < end:
            time.sleep(0.01)
        return b'{"response": "Paid."}'

    failing = Failing("replace_if", calls=range(2, 10**6))
    assert message(Once(failing).run("once:a", 60, slow)) == "Paid."  # type: ignore[arg-type]
    assert "a heartbeat failed" in caplog.text


def test_the_key_depends_on_agent_token_and_arguments() -> None:
    token = ToolToken("call-1", "pay", 2_000_000_000, "0a1b2c3d", "f" * 16)
    key = call_key("bank", token, {"amount": 5, "to": "A"})
    assert key == call_key("bank", token._replace(expiry=1), {"to": "A", "amount": 5.0})
    others = {
        call_key("shop", token, {"amount": 5, "to": "A"}),
        call_key("bank", token._replace(call_id="call-2"), {"amount": 5, "to": "A"}),
        call_key("bank", token._replace(function_name="pay2"), {"amount": 5, "to": "A"}),
        call_key("bank", token._replace(nonce="0a1b2c3e"), {"amount": 5, "to": "A"}),
        call_key("bank", token, {"amount": 6, "to": "A"}),
        call_key("bank", token, {"amount": "5", "to": "A"}),
        call_key("bank", token, {}),
    }
    assert len(others | {key}) == 8
