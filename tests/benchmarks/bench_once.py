"""Time what ``max_runs`` and ``once`` add to a tool call, in each store.

``python tests/benchmarks/bench_once.py``. The reference is a tool call whose handler makes one
decision of the same store, a `hit`. A loop of nothing but hits has warmer caches; it is printed,
too, and for Redis a bare `INCR` of redis-py. Candidates take turns in blocks, so that a busy
machine slows all alike; the figures are medians over the blocks. A tool call with ``once`` starts a
thread for its heartbeats; "one step" are the operations of a claim that is not confirmed, `add` and
`set`.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
import logging
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis import Redis

if __package__ != "benchmarks":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from benchmarks.bench_limits import stores
from support.wsgi import environ

from swaig_wsgi import AgentApp
from swaig_wsgi.config import Settings

ROUNDS = 40
BLOCK = 50
TOOLS: dict[str, dict[str, Any]] = {
    "plain": {},
    "reference": {},
    "limited": {"max_runs": 10**9},
    "once": {"once": 60},
    "both": {"once": 60, "max_runs": 10**9},
}


def candidates(url: str) -> dict[str, Callable[[], object]]:
    """Return the calls to time, by name."""
    credentials = ("admin", "hunter2")
    agent = AgentApp("bench", basic_auth=credentials, settings=Settings(storage_url=url))
    amount = {"amount": {"type": "integer"}}
    numbers = itertools.count()
    store = agent._own_store
    claim, result = {"heartbeat": 0, "owner": "0" * 16}, {"result": '{"response": "Done."}'}

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        assert status.startswith("200"), status
        return lambda data: None

    def call(name: str, query: str) -> None:
        argument = {"parsed": [{"amount": next(numbers)}]}
        body = json.dumps({"function": name, "call_id": "c", "argument": argument}).encode()
        request = environ("POST", "/swaig", query=query, body=body, auth=credentials)
        request.update({"CONTENT_TYPE": "application/json", "wsgi.input_terminated": True})
        request["wsgi.input"] = io.BytesIO(body)
        b"".join(agent(request, start_response))

    def one_step() -> None:
        key = f"one:{next(numbers)}"
        store.add(key, claim, 3600)
        store.set(key, result, 60)

    def two_steps() -> None:
        key = f"two:{next(numbers)}"
        store.add(key, claim, 5)
        store.replace_if(key, claim["owner"], claim, 3600)
        store.replace_if(key, claim["owner"], result, 60)

    timed: dict[str, Callable[[], object]] = {"hit": lambda: store.hit("bench", 3600)}
    timed.update({"one step": one_step, "two steps": two_steps})

    def handler(args: dict[str, Any], raw_data: dict[str, Any]) -> str:
        if raw_data["function"] == "reference":
            store.hit("bench", 3600)
        return "Done."

    for name, options in TOOLS.items():
        agent.define_tool(name, "x", amount, handler, secure=True, **options)
        query = f"__token={agent.sessions.generate_token(name, 'c')}"
        timed[name] = functools.partial(call, name, query)
    if url.startswith("redis"):
        bare = Redis.from_url(url)
        timed["INCR"] = lambda: bare.incr("bare")
    return timed


def median_blocks(timed: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the microseconds that a call of each candidate takes, the median of its blocks."""
    taken: dict[str, list[float]] = {name: [] for name in timed}
    for call in timed.values():
        call()
    for _ in range(ROUNDS):
        for name, call in timed.items():
            start = time.perf_counter()
            for _ in range(BLOCK):
                call()
            taken[name].append((time.perf_counter() - start) / BLOCK * 1e6)
    return {name: statistics.median(each) for name, each in taken.items()}


def measure() -> dict[str, dict[str, float]]:
    """Return the microseconds that options of a tool add to its call, by row and store."""
    found: dict[str, dict[str, float]] = {}
    with stores() as urls:
        for kind, url in urls.items():
            taken = median_blocks(candidates(url))
            for name, row in (("limited", "tool with `max_runs`"), ("once", "tool with `once`")):
                found.setdefault(row, {})[kind] = taken[name] - taken["plain"]
    return found


def main() -> None:
    """Measure and print."""
    with stores() as urls:
        for kind, url in urls.items():
            found = median_blocks(candidates(url))
            bare = f", bare INCR {found['INCR']:.1f}" if "INCR" in found else ""
            print(
                f"{kind}, µs: secured tool call {found['plain']:.1f}, hit {found['hit']:.1f}{bare}"
            )
            ratio = found["limited"] / found["reference"]
            for name, taken in (
                ("tool call that counts in its handler", found["reference"]),
                ("tool call with max_runs", found["limited"]),
                ("tool call with once", found["once"]),
                ("tool call with once and max_runs", found["both"]),
                ("claim and result, in one step", found["one step"]),
                ("claim and result, in two steps", found["two steps"]),
            ):
                print(f"    {name:38} {taken:8.1f}")
            verdict = "yes" if ratio <= 1.15 else "NO"
            print(f"    max_runs: {ratio:.2f} x one decision, at most 1.15: {verdict}")


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main()
