"""SQLite connections that no fork inherits, and files that may be removed under them."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ..concurrency import system_lock, system_sleep

_T = TypeVar("_T")
FileID = tuple[int, int]

# Another process may hold the write lock for some dozen microseconds; SQLite's own waiting backs
# off to a tenth of a second and starves whoever came late.
_BUSY_PAUSE = 0.0005

# How long a fork waits for another thread's call to end.
_FORK_TIMEOUT = 1.0

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS swaig_counts"
    " (key BLOB PRIMARY KEY, count INTEGER NOT NULL, ends REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS swaig_values"
    " (key BLOB PRIMARY KEY, value TEXT NOT NULL, ends REAL NOT NULL)",
    "CREATE INDEX IF NOT EXISTS swaig_counts_ends ON swaig_counts (ends)",
    "CREATE INDEX IF NOT EXISTS swaig_values_ends ON swaig_values (ends)",
)
_HAS_SCHEMA = "SELECT count(*) FROM sqlite_master WHERE name = 'swaig_values_ends'"


class Process:
    """What the stores of one process share.

    One lock for all of them: SQLite lets one writer in at a time anyway, waiting for a lock is fair
    where polling a file is not, and a file that is made here may be closed (which drops every lock
    that the process has on it) before anybody opens it.
    """

    def __init__(self) -> None:
        self.lock = system_lock()
        self.connections: dict[object, sqlite3.Connection] = {}
        #: The thread that holds the lock because it forks.
        self.forking: int | None = None

    def drop(self, token: object) -> None:
        connection = self.connections.pop(token, None)
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


_processes: dict[int, Process] = {}
_inherited: list[Process] = []


def this_process() -> Process:
    """Return what the stores share in the process that asks, anew in each that was forked.

    It is asked for with every call and kept by nobody: after a fork it is another one.
    """
    process = _processes.get(os.getpid())
    return _enter_process() if process is None else process


def _enter_process() -> Process:
    """Begin anew in a process that just started, or that something other than Python forked.

    SQLite must not work beside a connection that was open before a fork: it would believe the
    parent's locks to be held in the child. An idle one can be closed; one that was in use in
    another thread must never be touched again.
    """
    for inherited in list(_processes.values()):
        if not inherited.lock.locked():
            for token in list(inherited.connections):
                inherited.drop(token)
    return _processes.setdefault(os.getpid(), Process())


def _before_fork() -> None:
    """Close every connection, so that no child inherits one, and keep it so until the fork."""
    process = this_process()
    if process.lock.acquire(timeout=_FORK_TIMEOUT):
        process.forking = threading.get_ident()
        for token in list(process.connections):
            process.drop(token)


def _after_fork_in_parent() -> None:
    process = this_process()
    if process.forking == threading.get_ident():
        process.forking = None
        process.lock.release()


def _after_fork_in_child() -> None:
    # Kept, so that what could not be closed in time is not collected and closed here.
    _inherited.extend(_processes.values())
    _processes.clear()


def forget(token: object) -> None:
    """Close the connection that this process keeps under `token`, if it has one.

    For a store that is garbage: it takes no lock, since garbage is collected anywhere, also while
    the lock is held, and nobody can use the connection any more.
    """
    process = _processes.get(os.getpid())
    if process is not None:
        process.drop(token)


def open_connection(path: str, synchronous: str, deadline: float) -> sqlite3.Connection:
    """Return a connection in autocommit mode to the file at `path`, which is made if need be.

    The caller holds the lock of :func:`this_process`. A new file is its owner's alone, and does
    not read what is left of the log of one that was removed. One that is there keeps its mode.

    Args:
        path: absolute.
        synchronous: ``OFF`` or ``NORMAL``, as of SQLite's pragma.
        deadline: by ``time.monotonic()``; until then it waits for other processes.

    Raises:
        OSError: the file could not be made.
        sqlite3.Error: it is no database, or another process had it locked until the deadline.
    """
    _make(path)
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        for statement in ("PRAGMA journal_mode = WAL", f"PRAGMA synchronous = {synchronous}"):
            insist(partial(connection.execute, statement), deadline)
        # Not on every opening: a reader need not wait for a writer.
        if not insist(lambda: connection.execute(_HAS_SCHEMA).fetchone()[0], deadline):
            for statement in ("BEGIN IMMEDIATE", *_SCHEMA, "COMMIT"):
                insist(partial(connection.execute, statement), deadline)
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: str) -> None:
    leftovers = [name for name in (f"{path}-wal", f"{path}-shm") if os.path.exists(name)]
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    # They belong to a file that was removed, and another process may still work with them.
    for name in leftovers:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def insist(step: Callable[[], _T], deadline: float) -> _T:
    """Take `step` until nobody else has the file locked, or until the deadline."""
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= deadline:
                raise
        # Others of this thread would wait for the lock that this one holds.
        system_sleep(_BUSY_PAUSE)


def identity(path: str) -> tuple[FileID | None, FileID | None]:
    """Return which file is at `path` and which is its log: device and inode, None for none.

    Where it has changed since a connection was opened, that one works on a file that was removed,
    which nobody else sees.
    """
    return _file_id(path), _file_id(f"{path}-wal")


def _file_id(path: str) -> FileID | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
