"""Time a secured tool call with and without SWML_METRICS, counted in memory and in files.

``python tests/benchmarks/bench_metrics.py``. The candidates take turns in each round;
each figure is the median over the rounds.
"""

from __future__ import annotations

import io
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __package__ != "benchmarks":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from benchmarks.bench_agent import compare
from support.wsgi import environ

from swaig_wsgi import AgentApp, Settings
from swaig_wsgi.wsgi import add_observer, remove_observer


def agent(metrics: bool) -> AgentApp:
    options = {"basic_auth": ("admin", "hunter2"), "secret_key": "k" * 32}
    app = AgentApp("bench", settings=Settings(metrics=metrics), **options)
    app.define_tool("pay", "Pay.", {}, lambda args, raw: "Paid.", secure=True)
    return app


def call(app: AgentApp) -> Callable[[], None]:
    """Return a function that calls the tool."""
    token = app.sessions.generate_token("pay", "call-1")
    body = json.dumps({"function": "pay", "call_id": "call-1"}).encode()
    auth = app.get_basic_auth_credentials()
    given = environ("POST", "/swaig", query=f"__token={token}", body=body, auth=auth)
    given["CONTENT_TYPE"] = "application/json"

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        assert status.startswith("200"), status
        return lambda data: None

    def once() -> None:
        b"".join(app({**given, "wsgi.input": io.BytesIO(body)}, start_response))

    return once


def both() -> tuple[float, float]:
    """Return the microseconds of a call that is not counted, and of one that is."""
    # The observer counts the calls of both agents from the moment that the second one is made.
    off_call, on_call = call(agent(False)), call(agent(True))
    from swaig_wsgi._metrics import _count

    found: dict[str, list[float]] = {"off": [], "on": []}
    for _ in range(10):
        remove_observer(_count)
        found["off"].append(compare(50, off=off_call)["off"])
        add_observer(_count)
        found["on"].append(compare(50, on=on_call)["on"])
    return statistics.median(found["off"]), statistics.median(found["on"])


def measure() -> dict[str, dict[str, float]]:
    """Return the figures of a process that counts in memory, and of one that counts in files."""
    found = {}
    with tempfile.TemporaryDirectory() as directory:
        shared = {"PROMETHEUS_MULTIPROC_DIR": directory}
        for where, added in (("counted in memory", {}), ("counted in files", shared)):
            # In a process of its own: prometheus_client reads the variable when it is imported.
            command = [sys.executable, __file__, "--json"]
            env = {**os.environ, **added}
            ran = subprocess.run(command, check=True, env=env, stdout=subprocess.PIPE)
            off, on = json.loads(ran.stdout)
            found[f"tool call, {where}"] = {
                "\xb5s": on,
                "not counted \xb5s": off,
                "added \xb5s": on - off,
            }
    return found


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    if "--json" in sys.argv:
        print(json.dumps(both()))
    else:
        for name, figures in measure().items():
            print(name, ", ".join(f"{unit} {value:.1f}" for unit, value in figures.items()))
