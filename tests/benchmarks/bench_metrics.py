"""Time a secured tool call with and without SWML_METRICS, counted in memory and in files.

Run by hand: ``python tests/benchmarks/bench_metrics.py``. The candidates take turns in each round;
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

sys.path.insert(0, str(Path(__file__).parents[1]))

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


def main(where: str) -> None:
    # The observer counts the calls of both agents from the moment that the second one is made.
    off_call, on_call = call(agent(False)), call(agent(True))
    from swaig_wsgi._metrics import _count

    found: dict[str, list[float]] = {"off": [], "on": []}
    for _ in range(10):
        remove_observer(_count)
        found["off"].append(compare(50, off=off_call)["off"])
        add_observer(_count)
        found["on"].append(compare(50, on=on_call)["on"])
    off, on = (statistics.median(found[name]) for name in ("off", "on"))
    print(f"{where:10} {off:6.1f} µs without, {on:6.1f} µs with: {on - off:.1f} µs more")


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        subprocess.run([sys.executable, __file__, "in memory"], check=True)
        with tempfile.TemporaryDirectory() as directory:
            env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": directory}
            subprocess.run([sys.executable, __file__, "in files"], check=True, env=env)
