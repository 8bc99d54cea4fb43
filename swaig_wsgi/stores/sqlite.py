"""A store in an SQLite file, shared by the processes of one machine."""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ._base import (
    Count,
    StoreBusyError,
    StoreError,
    StoreLocation,
    check_owner,
    check_seconds,
    decode_value,
    encode_value,
)
from ._connections import (
    MAX_LOG_BYTES,
    FileID,
    Process,
    fetch,
    file_identity,
    forget,
    is_locked,
    open_connection,
    retry_while_locked,
    shorten_log,
    steady_clock,
    this_process,
)

__all__ = ["SQLiteStore"]

_T = TypeVar("_T")

_FILE_NAME = "store.db"

# After every 16 new rows, delete up to 32 expired ones of each table: twice the growth, at a
# bounded cost.
_SWEEP_EVERY = 16
_SWEEP_AT_MOST = 32

# Writes between checks of the log's size, which take two microseconds.
_CHECK_LOG_EVERY = 16

# Seconds between checks whether the open file is still the one at the path. If it was removed, the
# next process that closes the old one removes the log of the new one, by name.
_IDENTITY_CHECK_INTERVAL = 1.0

_TABLES = ("swaig_counts", "swaig_values")
_SWEEP = tuple(
    f"DELETE FROM {table} WHERE key IN"  # noqa: S608  # nosec B608 # the names are constants
    f" (SELECT key FROM {table} WHERE ends <= ? ORDER BY ends LIMIT {_SWEEP_AT_MOST})"
    for table in _TABLES
)


class SQLiteStore:
    """Counters and values in one SQLite file, for all threads and processes of one machine.

    Counts are exact under contention, and the file stays consistent if a process is killed while
    writing. Without a `path` the file is private: it lies in a directory that only this user can
    enter and that is removed when the process that created the store ends. Processes forked from
    that one share it.

    The file must be on a local disk, should contain nothing else, and must not be removed while a
    process uses it. It is created readable by its owner only: an attacker who can write to it can
    reset counters and claims.

    Args:
        path: the file, created when first used.
        timeout: maximum seconds that a call waits for other threads and processes before it
            raises :class:`StoreError`.
        clock: returns the time in seconds, the same for all processes; by default a clock that
            does not change when the system's time is set.

    Raises:
        ValueError: `path` is empty or contains a NUL, or `timeout` is not positive.
        OSError: the directory of a private file cannot be created.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        timeout: float = 0.25,
        clock: Callable[[], float] | None = None,
    ) -> None:
        check_seconds("timeout", timeout)
        self._timeout = timeout
        # The default clock is chosen with each connection, because the file takes part in it.
        self._clock = time.time if clock is None else clock
        self._default_clock = clock is None
        #: Whether only the process that created the store and its forks use the file.
        self.private = path is None
        #: The process that created the store.
        self.pid = os.getpid()
        # A private file does not outlive the server, so it need not survive a power failure.
        self._synchronous = "OFF" if path is None else "NORMAL"
        if path is None:
            path = os.path.join(_private_directory(), _FILE_NAME)
        elif not os.fspath(path) or "\0" in os.fspath(path):
            raise ValueError("path must name a file")
        #: The file; absolute, because a server may change its working directory.
        self.path = os.path.abspath(path)
        self.place = StoreLocation(f"sqlite:///{self.path}")
        self._identity: tuple[FileID | None, FileID | None] = (None, None)
        self._checked_at = 0.0
        self._new_rows = 0
        self._log = ""
        self._writes = 0
        self._log_limit = MAX_LOG_BYTES
        self._token = object()
        weakref.finalize(self, forget, self._token)

    def hit(self, key: str, window: float) -> Count:
        """Count `key` once; see :meth:`Store.hit`."""
        check_seconds("window", window)
        name = _encode_key(key)

        def count(connection: sqlite3.Connection, now: float) -> Count:
            select = "SELECT count, ends FROM swaig_counts WHERE key = ?"
            hits, ends = fetch(connection, select, (name,)) or (0, now)
            left = ends - now
            if 0 < left <= window:
                # Not a REPLACE, which would write the index, too.
                update = "UPDATE swaig_counts SET count = ? WHERE key = ?"
                fetch(connection, update, (hits + 1, name))
                return Count(hits + 1, left)
            if left <= 0:
                self._sweep(connection, now)
                hits = 0
            # Else the clock was set back or the window shortened: no client waits longer than one.
            insert = "INSERT OR REPLACE INTO swaig_counts VALUES (?, ?, ?)"
            fetch(connection, insert, (name, hits + 1, now + window))
            return Count(hits + 1, window)

        return self._write(count)

    def peek(self, key: str) -> Count | None:
        """Return the live counter of `key` without counting; see :class:`Store`."""
        name = _encode_key(key)

        def peek(connection: sqlite3.Connection, now: float) -> Count | None:
            select = "SELECT count, ends - ? FROM swaig_counts WHERE key = ? AND ends > ?"
            row = fetch(connection, select, (now, name, now))
            # Adding raises TypeError for a damaged count, as in hit().
            return None if row is None else Count(row[0] + 0, row[1])

        return self._read(peek)

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the value of `key`; see :meth:`Store.get`."""
        name = _encode_key(key)

        def get(connection: sqlite3.Connection, now: float) -> dict[str, Any] | None:
            text = _live(connection, name, now)
            return None if text is None else decode_value(text)

        return self._read(get)

    def set(self, key: str, value: Mapping[str, Any], ttl: float) -> None:
        """Replace the value of `key`; see :meth:`Store.set`."""
        check_seconds("ttl", ttl)
        name, text = _encode_key(key), encode_value(value)
        self._write(lambda connection, now: self._put(connection, name, text, now, ttl))

    def merge(self, key: str, value: Mapping[str, Any], ttl: float) -> dict[str, Any]:
        """Update the value of `key`; see :meth:`Store.merge`."""
        check_seconds("ttl", ttl)
        name, members = _encode_key(key), decode_value(encode_value(value))

        def merge(connection: sqlite3.Connection, now: float) -> dict[str, Any]:
            text = _live(connection, name, now)
            merged = {**({} if text is None else decode_value(text)), **members}
            self._put(connection, name, encode_value(merged), now, ttl)
            return merged

        return self._write(merge)

    def delete(self, key: str) -> bool:
        """Remove `key`; see :meth:`Store.delete`."""
        name = _encode_key(key)

        def delete(connection: sqlite3.Connection, now: float) -> bool:
            found = _live(connection, name, now) is not None
            fetch(connection, "DELETE FROM swaig_values WHERE key = ?", (name,))
            return found

        return self._write(delete)

    def add(self, key: str, value: Mapping[str, Any], ttl: float) -> bool:
        """Claim `key`; see :meth:`Store.add`."""
        check_seconds("ttl", ttl)
        name, text = _encode_key(key), encode_value(value)

        def add(connection: sqlite3.Connection, now: float) -> bool:
            if _live(connection, name, now) is not None:
                return False
            self._put(connection, name, text, now, ttl)
            return True

        return self._write(add)

    def replace_if(self, key: str, owner: str, value: Mapping[str, Any], ttl: float) -> bool:
        """Replace the value of `owner`; see :meth:`Store.replace_if`."""
        check_owner(owner)
        check_seconds("ttl", ttl)
        name, text = _encode_key(key), encode_value(value)

        def replace_if(connection: sqlite3.Connection, now: float) -> bool:
            old = _live(connection, name, now)
            if old is None or decode_value(old).get("owner") != owner:
                return False
            self._put(connection, name, text, now, ttl)
            return True

        return self._write(replace_if)

    def close(self) -> None:
        """Close this process's connection; the next call opens one again."""
        process = this_process()
        with process.lock:
            process.drop(self._token)

    def _put(
        self, connection: sqlite3.Connection, name: bytes, text: str, now: float, ttl: float
    ) -> None:
        self._sweep(connection, now)
        statement = "INSERT OR REPLACE INTO swaig_values VALUES (?, ?, ?)"
        fetch(connection, statement, (name, text, now + ttl))

    def _sweep(self, connection: sqlite3.Connection, now: float) -> None:
        if self._new_rows % _SWEEP_EVERY == 0:
            for statement in _SWEEP:
                fetch(connection, statement, (now,))
        self._new_rows += 1

    def _read(self, work: Callable[[sqlite3.Connection, float], _T]) -> _T:
        def read(connection: sqlite3.Connection, deadline: float) -> _T:
            return retry_while_locked(lambda: work(connection, self._clock()), deadline)

        return self._run(read)

    def _write(self, work: Callable[[sqlite3.Connection, float], _T]) -> _T:
        def write(connection: sqlite3.Connection, deadline: float) -> _T:
            retry_while_locked(lambda: fetch(connection, "BEGIN IMMEDIATE"), deadline)
            # Read the time only now, while no other process writes: no window starts in the future.
            result = work(connection, self._clock())
            retry_while_locked(lambda: fetch(connection, "COMMIT"), deadline)
            self._writes += 1
            if self._writes % _CHECK_LOG_EVERY == 0:
                self._log_limit = shorten_log(connection, self._log, self._log_limit)
            return result

        return self._run(write)

    def _run(self, work: Callable[[sqlite3.Connection, float], _T]) -> _T:
        deadline = time.monotonic() + self._timeout
        process = this_process()
        if not process.lock.acquire(timeout=self._timeout):
            raise StoreBusyError(f"the SQLite store {self.path} is busy")
        done = False
        try:
            result = work(self._connection(process, deadline), deadline)
            done = True
            return result
        except (sqlite3.Error, OSError, TypeError, OverflowError, UnicodeError) as error:
            # The last three are raised for a damaged file: a row contains another type, or sqlite3
            # cannot decode its own message, which quotes a name from the schema.
            failure = StoreBusyError if is_locked(error) else StoreError
            message = f"the SQLite store {self.path} failed: {error}"
            raise failure(message, cause=str(error)) from error
        finally:
            # After any interruption, even by the server's own timeout, release the locks of the
            # file and let the next call open it again.
            if not done:
                process.drop(self._token)
            process.lock.release()

    def _connection(self, process: Process, deadline: float) -> sqlite3.Connection:
        connection = process.connections.get(self._token)
        now = time.monotonic()
        if connection is not None and now - self._checked_at >= _IDENTITY_CHECK_INTERVAL:
            self._checked_at = now
            if file_identity(self.path) != self._identity:
                process.drop(self._token)
                connection = None
        if connection is None:
            connection = open_connection(self.path, self._synchronous, deadline)
            if self._default_clock:
                self._clock = steady_clock(connection, deadline)
            process.connections[self._token] = connection
            # SQLite puts the log beside the file itself, not beside a symbolic link to it.
            self._log = f"{os.path.realpath(self.path)}-wal"
            self._identity = file_identity(self.path)
            self._checked_at = now
        return connection


def _live(connection: sqlite3.Connection, name: bytes, now: float) -> str | None:
    select = "SELECT value FROM swaig_values WHERE key = ? AND ends > ?"
    row = fetch(connection, select, (name, now))
    return None if row is None else row[0]


def _encode_key(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _private_directory() -> str:
    directory = tempfile.mkdtemp(prefix="swaig-wsgi-")
    atexit.register(_remove, directory, os.getpid())
    return directory


def _remove(directory: str, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(directory, ignore_errors=True)
