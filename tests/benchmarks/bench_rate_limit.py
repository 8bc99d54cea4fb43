"""Time rate limiting in memory.

Run by hand: ``python tests/benchmarks/bench_rate_limit.py``.

Targets: a decision of the memory store at most 1.5 µs; a flood of 100,000 addresses less than
32 MiB, and no request of it more than 10 ms.
"""

from __future__ import annotations

import logging
import statistics
import sys
import time
import timeit
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from swaig_wsgi.core.rate_limit import RateLimit, client_key
from swaig_wsgi.middleware.rate_limit import RateLimitMiddleware
from swaig_wsgi.stores.memory import MemoryStore

ADDRESSES = 100_000


def microseconds(call: Callable[[], Any]) -> float:
    return statistics.median(timeit.repeat(call, number=50_000, repeat=9)) / 50_000 * 1e6


def start_response(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> None:
    pass


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


def time_decisions() -> None:
    store = MemoryStore()
    policy = RateLimit(10**9)
    limited = RateLimitMiddleware(application, 10**9)
    v4 = {"REMOTE_ADDR": "192.0.2.1", "PATH_INFO": "/"}
    v6 = {"REMOTE_ADDR": "2001:db8:1:2::3", "PATH_INFO": "/"}
    # A new environ for each request: one that bears the mark of a request that was counted is not
    # counted again.
    bare = microseconds(lambda: application({**v4}, start_response))
    print("one decision, medians, in µs:")
    rows = {
        "MemoryStore.hit, same key": lambda: store.hit("rate:default:60:60:192.0.2.1", 60),
        "client_key, IPv4": lambda: client_key("192.0.2.1"),
        "client_key, IPv6": lambda: client_key("2001:db8:1:2::3"),
        "RateLimit.decide": lambda: policy.decide(3, 22.4),
    }
    for name, call in rows.items():
        print(f"  {name:<32} {microseconds(call):.2f}")
    for name, environ in (("IPv4", v4), ("IPv6", v6)):
        cost = microseconds(lambda environ=environ: limited({**environ}, start_response)) - bare
        print(f"  {'middleware, all of it, ' + name:<32} {cost:.2f}")


def addresses(kind: str) -> list[str]:
    if kind == "IPv4":
        return [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(ADDRESSES)]
    return [f"2001:db8:{n >> 16:x}:{n & 65535:x}::1" for n in range(ADDRESSES)]


def flood(kind: str) -> None:
    """Send the same flood twice, once to measure memory and once to measure time."""
    clients = addresses(kind)
    limited = RateLimitMiddleware(application, 60)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for client in clients:
        limited({"REMOTE_ADDR": client, "PATH_INFO": "/"}, start_response)
    held, peak = (size - before for size in tracemalloc.get_traced_memory())
    tracemalloc.stop()

    limited = RateLimitMiddleware(application, 60)
    times = []
    for client in clients:
        environ = {"REMOTE_ADDR": client, "PATH_INFO": "/"}
        started = time.perf_counter()
        limited(environ, start_response)
        times.append(time.perf_counter() - started)
    print(
        f"flood of {ADDRESSES:,} {kind} addresses: held {held / 2**20:.1f} MiB,"
        f" peak {peak / 2**20:.1f} MiB; slowest request {max(times) * 1e3:.2f} ms,"
        f" median {statistics.median(times) * 1e6:.2f} µs"
    )


if __name__ == "__main__":
    logging.getLogger("swaig_wsgi.security").disabled = True
    time_decisions()
    flood("IPv4")
    flood("IPv6")
