"""Measure what stores keep: counters of a flood of addresses, and results of a ``once`` tool.

``python tests/benchmarks/bench_sizes.py``. Memory is what Python has allocated and still holds; of
SQLite, the file after its log has been copied into it.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import sys
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

if __package__ != "benchmarks":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from benchmarks import bench_once
from support.rates import application
from support.wsgi import environ

from swaig_wsgi.middleware import RateLimitMiddleware
from swaig_wsgi.stores import MemoryStore, SQLiteStore, Store

ADDRESSES = 100_000
CALLS = 5_000


def flood(store: Store) -> None:
    """Send a request from each of many addresses."""
    limited: Any = RateLimitMiddleware(application, 60, store=store)
    request = environ("GET", "/")
    for number in range(ADDRESSES):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        limited({**request, "REMOTE_ADDR": address}, lambda *args: None)


def size_of(path: Path) -> int:
    """Return the bytes of a file of SQLite, with its log copied into it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


def measure() -> dict[str, dict[str, float]]:
    """Return megabytes, and bytes for each counter or result."""
    found = {}
    tracemalloc.start()
    memory = MemoryStore()
    before = tracemalloc.get_traced_memory()[0]
    flood(memory)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    addresses = f"a flood from {ADDRESSES:,} addresses"
    found[f"memory, {addresses}"] = {"MB": held / 1e6}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "counters.db")
        flood(SQLiteStore(path))
        size = size_of(path)
        found[f"SQLite, {addresses}"] = {"MB": size / 1e6, "bytes each": size / ADDRESSES}
        path = Path(directory, "results.db")
        call = bench_once.candidates(f"sqlite:///{path}")["once"]
        for _ in range(CALLS):
            call()
        size = size_of(path)
        row = f"SQLite, {CALLS:,} short results of `once`"
        found[row] = {"MB": size / 1e6, "bytes each": size / CALLS}
    return found


def main() -> None:
    """Print the figures."""
    for name, figures in measure().items():
        print(name, ", ".join(f"{unit} {value:.1f}" for unit, value in figures.items()))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main()
