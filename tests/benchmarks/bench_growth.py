"""Measure whether a request takes longer with more tools, hosts, origins, networks or keys.

``python tests/benchmarks/bench_growth.py``. A tool call should take the same time with 1,000 of
each as with one; the document grows with its tools, by the time that it takes to write them.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
from pathlib import Path
from typing import Any

if __package__ != "benchmarks":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from benchmarks import scenarios
from benchmarks.bench_layers import microseconds, repetitions

SIZES = (1, 10, 100, 1000)
ROUNDS = 15


def call_of(agent: Any, **options: Any) -> scenarios.Call:
    """Return a function that sends a tool call to `agent`."""
    token = agent.sessions.generate_token("tool_0", scenarios.CALL_ID)
    options = {
        "auth": (scenarios.USER, scenarios.PASSWORD),
        "query": f"__token={token}",
        **options,
    }
    return scenarios.request(agent, "POST", "/swaig", scenarios.tool_call(), **options)


def with_tools(size: int) -> scenarios.Call:
    return call_of(scenarios.agent_with(1, size - 1, **scenarios.LAYERS))


def with_hosts(size: int) -> scenarios.Call:
    hosts = [*(f"h{n}.example.net" for n in range(size - 1)), scenarios.HOST]
    return call_of(scenarios.agent_with(**{**scenarios.LAYERS, "allowed_hosts": hosts}))


def with_origins(size: int) -> scenarios.Call:
    origins = [f"https://o{n}.example.com" for n in range(size)]
    agent = scenarios.agent_with(**scenarios.LAYERS, cors_origins=origins)
    return call_of(agent, HTTP_ORIGIN=origins[-1])


def with_networks(size: int) -> scenarios.Call:
    networks = [*(f"10.{n >> 8}.{n & 255}.0/24" for n in range(1, size)), "10.0.0.0/24"]
    agent = scenarios.agent_with(**{**scenarios.LAYERS, "trusted_proxies": networks})
    return call_of(agent, **scenarios.FORWARDED)


def with_clients(size: int) -> scenarios.Call:
    clients = [*(f"198.51.{n >> 8}.{n & 255}" for n in range(size - 1)), "203.0.113.0/24"]
    return call_of(scenarios.agent_with(**scenarios.LAYERS, allowed_clients=clients))


def with_keys(size: int) -> scenarios.Call:
    secrets = [f"an earlier secret, number {n:04}" for n in range(size - 1)]
    return call_of(scenarios.agent_with(**scenarios.LAYERS, swaig_secret_fallbacks=secrets))


def document(size: int) -> scenarios.Call:
    agent = scenarios.agent_with(size, 0, **scenarios.LAYERS)
    body = json.dumps({"call_id": scenarios.CALL_ID}).encode()
    auth = (scenarios.USER, scenarios.PASSWORD)
    return scenarios.request(agent, "POST", "/", body, auth=auth)


ROWS = {
    "tool call, by tools": with_tools,
    "tool call, by hosts": with_hosts,
    "tool call, by origins": with_origins,
    "tool call, by networks": with_networks,
    "tool call, by allowed clients": with_clients,
    "tool call, by signing keys": with_keys,
    "document, by secure tools": document,
}


def measure() -> dict[str, dict[str, float]]:
    """Return the microseconds of a request, by row and size."""
    found: dict[str, dict[str, float]] = {}
    for name, make in ROWS.items():
        calls = {size: make(size) for size in SIZES}
        number = {size: repetitions(call) for size, call in calls.items()}
        taken: dict[int, list[float]] = {size: [] for size in SIZES}
        for _ in range(ROUNDS):
            for size, call in calls.items():
                taken[size].append(microseconds(call, number[size]))
        found[name] = {f"{size}": statistics.median(times) for size, times in taken.items()}
    return found


def main() -> None:
    """Print the figures."""
    log = logging.getLogger("swaig_wsgi")
    log.propagate = False
    log.addHandler(logging.NullHandler())
    print(f"{'microseconds':30}", *(f"{size:>8}" for size in SIZES))
    for name, figures in measure().items():
        print(f"{name:30}", *(f"{value:8.1f}" for value in figures.values()))


if __name__ == "__main__":
    main()
