"""SQLite connections that survive forks, busy files, and files removed while open.

SQLite must not use a connection that was open during a fork: it would believe that the child holds
the parent's locks. So each process has one :class:`Process`, with all its connections and one lock
for all its calls:

- Before a fork, the forking thread takes the lock and closes all connections. After it, the parent
  releases the lock, and the child starts with a new :class:`Process`. Both reopen on their next
  call.
- If another thread's call does not end within :data:`_FORK_TIMEOUT`, the fork proceeds. The child
  keeps the connections it inherits in :data:`_inherited`, so that they are never used, nor closed
  by the garbage collector.
- A fork outside of Python, for example in C, runs no hooks. The child notices its new process id
  on its first call and closes the connections that were idle; it never touches those in use.

The lock also serializes the threads of a process. SQLite admits one writer at a time anyway, and
waiting for a lock is fair, unlike polling a file. Closing any descriptor of a file drops all POSIX
locks that the process holds on it, so none may be opened and closed while another call runs.

SQLite appends what is written to a log, and a checkpoint copies the log into the file. The log
begins anew only if a writer finds it copied as a whole, which never happens while several
processes write without a pause: SQLite's own checkpoints let others write meanwhile, and so the log
grows without end. :func:`shorten_log` replaces them. After a commit that left the log too long, it
excludes other writers for a checkpoint and truncates the log.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from ..concurrency import system_lock, system_sleep
from ._file_access import check_access

_T = TypeVar("_T")
FileID = tuple[int, int]

# Seconds between attempts. Another process holds the write lock for tens of microseconds, but
# SQLite's own busy handler backs off to 0.1 s, which starves latecomers.
_BUSY_PAUSE = 0.0005

# Each row that is written adds a whole page to the log, and rows are small. With SQLite's 4096
# bytes the log is four times as long, and shortened four times as often. A file keeps its page
# size.
_PAGE_SIZE = 1024

#: Size of the log from which it is shortened, in bytes. While it is, all writers wait for the
#: disk, for about 6 ms on an SSD.
MAX_LOG_BYTES = 8 * 2**20

# Milliseconds that a checkpoint waits for readers, which read for tens of microseconds.
_CHECKPOINT_PAUSE = 10

# Seconds that a fork waits for another thread's call to end.
_FORK_TIMEOUT = 1.0

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS swaig_counts"
    " (key BLOB PRIMARY KEY, count INTEGER NOT NULL, ends REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS swaig_values"
    " (key BLOB PRIMARY KEY, value TEXT NOT NULL, ends REAL NOT NULL)",
    "CREATE INDEX IF NOT EXISTS swaig_counts_ends ON swaig_counts (ends)",
    "CREATE INDEX IF NOT EXISTS swaig_values_ends ON swaig_values (ends)",
    "CREATE TABLE IF NOT EXISTS swaig_boots (id TEXT PRIMARY KEY, started REAL NOT NULL)",
)
_HAS_SCHEMA = "SELECT count(*) FROM sqlite_master WHERE name = 'swaig_boots'"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Process:
    """The lock and the open connections of all stores of one process."""

    def __init__(self) -> None:
        self.lock = system_lock()
        self.connections: dict[object, sqlite3.Connection] = {}
        #: The thread that holds the lock during a fork.
        self.forking: int | None = None

    def drop(self, token: object) -> None:
        """Close the connection of `token`, if there is one."""
        connection = self.connections.pop(token, None)
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


_processes: dict[int, Process] = {}
_inherited: list[Process] = []


def this_process() -> Process:
    """Return the :class:`Process` of this process; never keep it, a fork replaces it."""
    process = _processes.get(os.getpid())
    return _enter_process() if process is None else process


def _enter_process() -> Process:
    # The process is new, or was forked outside of Python: close inherited idle connections.
    for inherited in list(_processes.values()):
        if not inherited.lock.locked():
            for token in list(inherited.connections):
                inherited.drop(token)
    return _processes.setdefault(os.getpid(), Process())


def _before_fork() -> None:
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
    # Keep the connections that were not closed in time from being collected, which closes them.
    _inherited.extend(_processes.values())
    _processes.clear()


def forget(token: object) -> None:
    """Close the connection of `token`, whose store is being garbage-collected.

    Take no lock: collection may happen while this thread holds it, and nothing can use the
    connection anymore.
    """
    process = _processes.get(os.getpid())
    if process is not None:
        process.drop(token)


def open_connection(path: str, synchronous: str, deadline: float) -> sqlite3.Connection:
    """Return a connection in autocommit mode to the file at `path`.

    The caller holds the lock of :func:`this_process`. A missing file is created, readable by its
    owner only; the log of a removed predecessor is not read. An existing one keeps its mode. In a
    directory where others may create files, they could supply the log that SQLite reads.

    Args:
        path: an absolute path.
        synchronous: ``OFF`` or ``NORMAL``, see SQLite's pragma.
        deadline: by ``time.monotonic()``; how long to wait for other processes.

    Raises:
        OSError: the file cannot be created, or other users may write it or to its directory.
        sqlite3.Error: it is not a database, or was locked until the deadline.
    """
    for directory in {os.path.dirname(path), os.path.dirname(os.path.realpath(path))}:
        check_access(f"the directory {directory}", os.stat(directory))
    _create_file(path)
    for name in (path, f"{path}-wal", f"{path}-shm"):
        with contextlib.suppress(FileNotFoundError):
            check_access(f"the file {name}", os.stat(name))
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        for statement in (
            f"PRAGMA page_size = {_PAGE_SIZE}",
            "PRAGMA journal_mode = WAL",
            f"PRAGMA synchronous = {synchronous}",
            "PRAGMA wal_autocheckpoint = 0",
        ):
            retry_while_locked(partial(fetch, connection, statement), deadline)
        # Only if missing: writing it would make readers wait for a writer.
        if retry_while_locked(partial(fetch, connection, _HAS_SCHEMA), deadline) == (0,):
            for statement in ("BEGIN IMMEDIATE", *_SCHEMA, "COMMIT"):
                retry_while_locked(partial(fetch, connection, statement), deadline)
    except BaseException:
        connection.close()
        raise
    return connection


def fetch(
    connection: sqlite3.Connection, statement: str, parameters: tuple[object, ...] = ()
) -> Any:
    """Execute a statement and return its first row, or None if it has none.

    The cursor is closed, and not left to the garbage collector: an unfinished statement reads on,
    which keeps the log from being shortened.
    """
    cursor = connection.execute(statement, parameters)
    try:
        return cursor.fetchone()
    finally:
        cursor.close()


def shorten_log(connection: sqlite3.Connection, log: str, limit: int) -> int:
    """Truncate the log if it is longer than `limit`, and return the next limit.

    Called after a commit, whose success no error may conceal: a full disk or a damaged file is
    noticed by the next operation.

    Args:
        connection: not in a transaction.
        log: the path of its log.
        limit: in bytes; at first :data:`MAX_LOG_BYTES`, then what the last call returned.
    """
    try:
        size = os.stat(log).st_size
    except OSError:
        return limit
    if size <= limit:
        # It may have been truncated since by another process.
        return limit if size > MAX_LOG_BYTES else MAX_LOG_BYTES
    with contextlib.suppress(sqlite3.Error):
        # SQLite's own waiting, because it keeps other writers out meanwhile.
        fetch(connection, f"PRAGMA busy_timeout = {_CHECKPOINT_PAUSE}")
        try:
            if fetch(connection, "PRAGMA wal_checkpoint(TRUNCATE)")[0] == 0:
                return MAX_LOG_BYTES
        finally:
            fetch(connection, "PRAGMA busy_timeout = 0")
    # Another process is doing it, the disk is full, or a program reads in one long transaction. Do
    # not try at each write: that would stop all writers.
    return size + MAX_LOG_BYTES


def steady_clock(connection: sqlite3.Connection, deadline: float) -> Callable[[], float]:
    """Return the clock of an open file: seconds since the epoch, unaffected by changes of the time.

    An administrator or NTP may set the system's time forward, and no claim may expire by that. So
    this is the time since boot, plus the time of the boot. The file records the latter by the
    boot's id when it is first used, for all processes, so that the times in it remain comparable
    after a reboot. On systems other than Linux it is the system's time.

    Raises:
        sqlite3.Error: the file is damaged, or was locked until the deadline.
    """
    try:
        with open(_BOOT_ID) as file:
            boot = file.read().strip()
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):
        return time.time
    select = "SELECT started FROM swaig_boots WHERE id = ?"
    row = retry_while_locked(partial(fetch, connection, select, (boot,)), deadline)
    if row is None:
        insert = "INSERT OR IGNORE INTO swaig_boots VALUES (?, ?)"
        values = (boot, time.time() - now)
        retry_while_locked(partial(fetch, connection, insert, values), deadline)
        row = retry_while_locked(partial(fetch, connection, select, (boot,)), deadline)
    started = row[0]
    return lambda: started + time.clock_gettime(time.CLOCK_BOOTTIME)


def _create_file(path: str) -> None:
    leftovers = [name for name in (f"{path}-wal", f"{path}-shm") if os.path.exists(name)]
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    # The log of a removed file. Unlink it: another process may still be using it.
    for name in leftovers:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def retry_while_locked(step: Callable[[], _T], deadline: float) -> _T:
    """Return the result of `step`, retried until the deadline while others lock the file."""
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if not is_locked(error) or time.monotonic() >= deadline:
                raise
        # Not gevent's sleep: other greenlets of this thread would wait for the lock held here.
        system_sleep(_BUSY_PAUSE)


def is_locked(error: Exception) -> bool:
    """Return whether `error` reports that another connection holds a lock of the file."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def file_identity(path: str) -> tuple[FileID | None, FileID | None]:
    """Return device and inode of the file at `path`, and of its log; None for a missing file.

    If they have changed since a connection was opened, it works on a removed file that no other
    process sees.
    """
    return _file_id(path), _file_id(f"{path}-wal")


def _file_id(path: str) -> FileID | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
