"""The write-ahead log of SQLite stores."""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
import time

import pytest
from support.store_calls import HOUR

from swaig_wsgi.stores import _connections as connections
from swaig_wsgi.stores import sqlite as module
from swaig_wsgi.stores.sqlite import SQLiteStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


WRITE_WITHOUT_PAUSE = """
import sys, threading, time
from swaig_wsgi.stores import StoreError
from swaig_wsgi.stores.sqlite import SQLiteStore

store = SQLiteStore(sys.argv[1])
sys.stdin.readline()
end = time.monotonic() + float(sys.argv[2])
results = []

def work(thread):
    done = failed = 0
    while time.monotonic() < end:
        try:
            store.hit("one", 3600)
            store.hit(f"{thread} {done % 2000}", 3600)
            store.set(f"{done % 2000}", {"padding": "x" * 200}, 3600)
            store.get(f"{done * 7 % 2000}")
        except StoreError as error:
            failed += 1
            print(error, file=sys.stderr)
        done += 1
    results.append((4 * done, failed))

threads = [threading.Thread(target=work, args=(thread,)) for thread in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*map(sum, zip(*results)))
"""


def write_without_pause(path, start_python):
    """Return the largest size of the log, the number of operations, and that of failed ones."""
    programs = [start_python(WRITE_WITHOUT_PAUSE, path, 15) for _ in range(4)]
    for program in programs:
        program.stdin.write("go\n")
        program.stdin.flush()
    largest = 0
    while any(program.poll() is None for program in programs):
        with contextlib.suppress(FileNotFoundError):
            largest = max(largest, os.path.getsize(f"{path}-wal"))
        time.sleep(0.02)
    results = [tuple(map(int, program.communicate()[0].split())) for program in programs]
    done, failed = map(sum, zip(*results))
    return largest, done, failed


@pytest.mark.slow
@pytest.mark.threads
def test_the_log_stays_short_while_writers_never_pause(path, start_python):
    # With SQLite's own checkpoints it grows to more than a GiB.
    for _ in range(3):
        largest, done, failed = write_without_pause(path, start_python)
        assert connections.MAX_LOG_BYTES < largest < 64 * 2**20
        # On a busy machine, processes may be suspended while they hold a lock: try again.
        if failed * 10_000 <= done:
            break
    assert failed * 10_000 <= done
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_the_log_of_a_file_behind_a_symbolic_link_stays_short(path, tmp_path):
    link = tmp_path / "link.db"
    link.symlink_to(path)
    store = SQLiteStore(link)
    for number in range(600):
        store.set(f"{number % 10}", {"padding": "x" * 60_000}, HOUR)
    assert os.path.getsize(f"{path}-wal") < 2 * connections.MAX_LOG_BYTES
    store.close()


def test_every_cursor_is_closed(path, monkeypatch):
    # PyPy does not close the unreachable ones, and cannot commit while one is open.
    cursors = []

    class Connection(sqlite3.Connection):
        def execute(self, *args):
            cursors.append(super().execute(*args))
            return cursors[-1]

    connect = functools.partial(sqlite3.connect, factory=Connection)
    monkeypatch.setattr(connections.sqlite3, "connect", connect)
    store = SQLiteStore(path)
    for number in range(2 * module._CHECK_LOG_EVERY):
        store.hit("key", HOUR)
        store.peek("key")
        store.set("key", {"owner": "me", "padding": "x" * 60_000}, HOUR)
        store.replace_if("key", "me", {"padding": "x" * 60_000}, HOUR)
        store.merge("key", {"a": number}, HOUR)
        store.get("key")
        store.delete("key")
        store.add("key", {}, HOUR)
    store.close()
    assert len(cursors) > 10 * module._CHECK_LOG_EVERY
    for cursor in cursors:
        with pytest.raises(sqlite3.ProgrammingError, match="closed cursor"):
            cursor.fetchone()
