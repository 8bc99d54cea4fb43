"""Limits and claims while the primary of a Redis store is killed and replaced by its replica."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from support.valkeys import Sentinels, client, make_cluster, replicate
from support.waiting import wait_until
from support.wsgi import Client

from swaig_wsgi import AgentApp
from swaig_wsgi.agent import health
from swaig_wsgi.agent.at_most_once import IN_PROGRESS, UNKNOWN
from swaig_wsgi.config import Settings
from swaig_wsgi.stores import RedisStore, StoreError
from swaig_wsgi.testing import AgentClient

pytestmark = pytest.mark.slow

LIMIT, WORKERS, BURST = 20, 2, 90

LIMITED = f"""
from swaig_wsgi.config import Settings
from swaig_wsgi.middleware import RateLimitMiddleware
from swaig_wsgi.stores import open_store

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]

app = RateLimitMiddleware(
    application,
    {LIMIT},
    store=open_store(Settings.from_env().storage_url),
    key=lambda environ: environ["HTTP_X_KEY"],
)
"""

PAYING = """
import os
import time

from swaig_wsgi import AgentApp

app = AgentApp("bank")


@app.tool(secure=True, once=600)
def pay(number: int) -> str:
    '''Pay a bill.

    Args:
        number: Number of the bill
    '''
    with open("runs", "a") as runs:
        runs.write(f"{number}\\n")
    while number == 0 and not os.path.exists("released"):
        time.sleep(0.02)
    return f"Paid {number}."
"""


@pytest.fixture
def sentinels(own_valkey: Any, tmp_path: Path) -> Iterator[Any]:
    """Yield the URL of three Sentinels, and their primary, which has a replica."""
    primary, replica = own_valkey(), own_valkey()
    replicate(replica.port, primary.port)
    watching = Sentinels(tmp_path, primary.port)
    yield f"redis+sentinel://{watching.hosts}/mymaster?db=0", primary
    watching.stop()


@pytest.fixture
def cluster(own_valkey: Any) -> Any:
    """Return the URL of a cluster of three primaries and three replicas, and one primary."""
    servers = make_cluster(own_valkey)
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers[:2])
    return f"redis+cluster://{hosts}", servers[0]


class Requests:
    """Sends requests, and counts the statuses of all of them."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._lock = threading.Lock()
        self.statuses: Counter[int] = Counter()
        self._bursts = 0

    def send(self, key: str) -> int:
        status: int = self._server.request("GET", "/", headers={"X-Key": key}).status
        with self._lock:
            self.statuses[status] += 1
        return status

    def burst(self) -> int:
        """Send simultaneous requests of a new client; return how many were admitted."""
        self._bursts += 1
        key = f"burst {self._bursts}"
        statuses: Counter[int] = Counter()

        def send() -> None:
            for _ in range(BURST // 6):
                statuses[self.send(key)] += 1

        threads = [threading.Thread(target=send) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses.keys() <= {200, 429}
        assert sum(statuses.values()) == BURST
        return statuses[200]


@pytest.mark.parametrize("kind", ["sentinels", "cluster"])
def test_limits_hold_while_a_primary_is_killed_and_are_exact_afterwards(
    kind: str, request: Any, gunicorn: Any, tmp_path: Path
) -> None:
    url, primary = request.getfixturevalue(kind)
    (tmp_path / "limited.py").write_text(LIMITED)
    options = ("-w", str(WORKERS), "--threads=8")
    server = gunicorn("limited:app", *options, cwd=str(tmp_path), SWML_STORAGE_URL=url)
    requests = Requests(server)
    stop = threading.Event()
    failed: list[BaseException] = []

    def load() -> None:
        try:
            while not stop.is_set():
                requests.send(f"load {random.randrange(1000)}")  # noqa: S311 - no secret
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert [requests.burst() for _ in range(10)] == [LIMIT] * 10

    primary.stop()
    # Each worker admits at most what was left when it began to count alone, which may have been
    # everything; then the replica, which may not know the key, as much again.
    during = [requests.burst() for _ in range(10)]
    assert min(during) >= LIMIT
    assert max(during) <= (WORKERS + 1) * LIMIT
    server.wait_for_log("rate limit: the store failed")

    # Keys of every server of the cluster.
    store = RedisStore(url, prefix="recovery:")
    wait_until(lambda: works(store))
    store.close()
    # A worker notices it within a second or two of its own.
    wait_until(lambda: [requests.burst() for _ in range(20)] == [LIMIT] * 20)
    assert [requests.burst() for _ in range(20)] == [LIMIT] * 20

    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert requests.statuses.keys() <= {200, 429}


def test_an_agent_is_unready_until_the_replica_is_the_primary(
    sentinels: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "INTERVAL", 0)
    url, primary = sentinels
    agent = AgentApp("bank", settings=Settings(storage_url=url))

    def ready() -> int:
        return Client(agent).get("/ready").status

    assert ready() == 200
    primary.stop()
    assert ready() == 503
    wait_until(lambda: ready() == 200)
    assert agent.store.add("claim", {}, 60)
    agent.store.close()


def test_attack_no_repeat_runs_twice_while_a_primary_is_killed(
    sentinels: Any, gunicorn: Any, tmp_path: Path
) -> None:
    url, primary = sentinels
    (tmp_path / "paying.py").write_text(PAYING)
    runs = tmp_path / "runs"
    runs.touch()
    options = ("--config=python:swaig_wsgi.gunicorn", f"--workers={WORKERS}", "--threads=8")
    server = gunicorn(
        "paying:app",
        *options,
        cwd=str(tmp_path),
        SWML_STORAGE_URL=url,
        SWML_BASIC_AUTH_USER="platform",
        SWML_BASIC_AUTH_PASSWORD="the-password",
    )
    platform = AgentClient(f"http://platform:the-password@127.0.0.1:{server.port}/")
    platform.fetch_swml("call-1")
    heard: set[tuple[int, str]] = set()

    def pay(number: int) -> str:
        result = platform.call_tool("pay", {"number": number}, call_id="call-1")
        heard.add((number, result["response"]))
        return str(result["response"])

    def ran() -> Counter[int]:
        return Counter(map(int, runs.read_text().split()))

    running, earlier, later = 0, range(1, 11), range(100, 10**6)
    over = threading.Event()

    def call_until_over(numbers: Iterable[int], times: int) -> None:
        """Make each call so many times."""
        for number in numbers:
            if over.is_set():
                break
            for _ in range(times):
                pay(number)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(pay, running)
        assert [pay(number) for number in earlier] == [f"Paid {number}." for number in earlier]
        wait_until(lambda: ran()[running] == 1)
        # A failover loses what the replica has not received: see docs/stores.md.
        with client(primary.port) as connected:
            connected.set("last", "written")
            assert connected.wait(1, 0) == 1
        primary.stop()
        calls = [
            pool.submit(call_until_over, later, 3),
            pool.submit(call_until_over, repeat(running), 1),
        ]
        for number in earlier:
            wait_until(lambda number=number: pay(number) == f"Paid {number}.")  # type: ignore[misc]
        # From now on new calls run, too.
        seen = ran().keys()
        wait_until(lambda: len(ran().keys() - seen) > 10)
        (tmp_path / "released").touch()
        assert first.result() == f"Paid {running}."
        pay(running)
        over.set()
        for call in calls:
            call.result()

    counts = ran()
    assert max(counts.values()) == 1
    assert any(message == UNKNOWN for _, message in heard)
    for number, message in heard:
        assert message in (f"Paid {number}.", UNKNOWN, IN_PROGRESS)
        assert counts[number] or message != f"Paid {number}."


def works(store: RedisStore) -> bool:
    try:
        for number in range(50):
            store.hit(f"key {number}", 60)
    except StoreError:
        return False
    return True
