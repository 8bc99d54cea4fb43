"""At most once under load, while the store is killed or paused again and again."""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.waiting import wait_until

from swaig_wsgi.agent.at_most_once import IN_PROGRESS, UNKNOWN
from swaig_wsgi.stores import RedisStore

PROGRAM = """
import os, time
from swaig_wsgi import AgentApp
app = AgentApp("bank")
runs = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_APPEND)
def pay(args, raw_data):
    os.write(runs, b"%d\\n" % args["amount"])
    time.sleep(0.02)
    return "Paid."
amount = {"amount": {"type": "integer"}}
app.define_tool("pay_once", "x", amount, pay, secure=True, once=60)
"""
#: How long the store fails, in seconds.
OUTAGES = 12.0
CLIENTS = 6


def kill(valkey: Any) -> None:
    """Kill the server and start it again after half a second; it has lost nothing."""
    time.sleep(1.5)
    valkey.stop()
    time.sleep(0.5)
    valkey.start()


def pause(valkey: Any) -> None:
    """Stop the server for longer than its clients wait; then it executes what they sent."""
    time.sleep(0.9)
    os.kill(valkey.process.pid, signal.SIGSTOP)
    time.sleep(0.6)
    os.kill(valkey.process.pid, signal.SIGCONT)


@contextlib.contextmanager
def in_the_background(work: Callable[[], None], threads: int) -> Iterator[None]:
    """Repeat `work` in threads until the block ends, and raise what it raises."""
    stopped = threading.Event()
    errors: list[BaseException] = []

    def repeat() -> None:
        try:
            while not stopped.is_set():
                work()
        except BaseException as error:
            errors.append(error)

    started = [threading.Thread(target=repeat) for _ in range(threads)]
    for thread in started:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in started:
            thread.join()
    assert errors == []


@pytest.mark.slow
@pytest.mark.parametrize("outage", [kill, pause])
def test_attack_no_outage_of_the_store_runs_a_call_twice_or_denies_that_it_ran(
    gunicorn: Any, own_valkey: Any, tmp_path: Path, outage: Callable[[Any], None]
) -> None:
    # Only such a server forgets no claim when it is killed; see docs/stores.md.
    valkey = own_valkey(appendonly="yes", appendfsync="always")
    (tmp_path / "paying.py").write_text(PROGRAM)
    runs = tmp_path / "runs"
    runs.touch()
    server = gunicorn(
        "paying:app",
        *("--config=python:swaig_wsgi.gunicorn", "--workers=2", "--threads=8"),
        cwd=str(tmp_path),
        RUNS=str(runs),
        SIGNALWIRE_SWAIG_SECRET="a secret that all workers share",
        SWML_STORAGE_URL=valkey.url,
    )
    store = RedisStore(valkey.url)
    store.set("kept", {}, 3600)
    document = server.request("POST", "/", {"call_id": "c"}).json
    hook = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"][0]["web_hook_url"]
    path = "/swaig?" + hook.partition("?")[2]
    numbers = itertools.count()
    messages: list[tuple[int, int, str]] = []

    def pay(number: int) -> str:
        argument = {"parsed": [{"amount": number}]}
        body = {"function": "pay_once", "call_id": "c", "argument": argument}
        response = server.request("POST", path, body)
        assert response.status == 200
        return str(response.json["response"])

    def call_and_repeat() -> None:
        number = next(numbers)
        for attempt in range(3):
            messages.append((number, attempt, pay(number)))
            if messages[-1][2] != "Paid.":
                time.sleep(0.2)

    with in_the_background(call_and_repeat, CLIENTS):
        end = time.monotonic() + OUTAGES
        while time.monotonic() < end:
            outage(valkey)
    valkey_works_again = next(numbers)
    wait_until(lambda: pay(valkey_works_again) == "Paid.")

    assert store.get("kept") == {}
    store.close()

    ran = collections.Counter(map(int, runs.read_text().split()))
    heard = collections.Counter(message for _, _, message in messages)
    denied = [
        (number, attempt)
        for number, attempt, message in messages
        if ran[number] and attempt and message not in ("Paid.", UNKNOWN, IN_PROGRESS)
    ]
    print(f"{len(messages)} tool calls, {dict(heard)}")
    print(f"{len(ran)} ran, {sum(ran.values()) - len(ran)} twice, denied to {len(denied)} repeats")
    assert set(heard) >= {"Paid.", UNKNOWN}
    assert set(heard) <= {"Paid.", UNKNOWN, IN_PROGRESS}
    assert max(ran.values()) == 1
    assert denied == []
    # Nor is one told of a payment that was not made.
    assert all(ran[number] for number, _, message in messages if message == "Paid.")
