"""SQLite connections: forks, busy files, and removed files."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time

import pytest

from swaig_wsgi.stores import _connections as connections
from swaig_wsgi.stores._connections import (
    MAX_LOG_BYTES,
    file_identity,
    forget,
    open_connection,
    retry_while_locked,
    shorten_log,
    this_process,
)


@pytest.fixture(autouse=True)
def process(monkeypatch):
    """Return a new Process, without the connections of other tests."""
    monkeypatch.setattr(connections, "_processes", {})
    monkeypatch.setattr(connections, "_inherited", [])
    process = this_process()
    yield process
    for token in list(process.connections):
        process.drop(token)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "store.db")


@pytest.fixture
def connect(process, path):
    """Return a function that opens the file, until the end of the test."""

    def connect(synchronous="OFF", deadline=None):
        token = object()
        deadline = time.monotonic() + 60 if deadline is None else deadline
        process.connections[token] = open_connection(path, synchronous, deadline)
        return token, process.connections[token]

    return connect


def is_closed(connection):
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return True
    return False


def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


# Garbage collection


def test_forget_closes_a_connection_even_while_the_lock_is_held(process, connect):
    token, connection = connect()
    other, kept = connect()
    with process.lock:
        forget(token)
    assert is_closed(connection)
    assert not is_closed(kept)
    assert list(process.connections) == [other]
    forget(object())


def test_forget_does_nothing_in_a_process_without_stores(monkeypatch, connect):
    token, connection = connect()
    monkeypatch.setattr(connections, "_processes", {})
    forget(token)
    assert not is_closed(connection)
    assert connections._processes == {}


# Forks


def test_a_fork_proceeds_if_another_threads_call_does_not_end(process, connect, monkeypatch):
    monkeypatch.setattr(connections, "_FORK_TIMEOUT", 0.01)
    token, connection = connect()
    with process.lock:
        connections._before_fork()
        # Another thread is using it.
        assert not is_closed(connection)
        assert process.forking is None
        connections._after_fork_in_parent()
        assert process.lock.locked()
    assert list(process.connections) == [token]


def test_a_thread_without_the_lock_does_not_release_it_after_a_fork(process, monkeypatch):
    monkeypatch.setattr(connections, "_FORK_TIMEOUT", 0.01)
    connections._before_fork()
    in_thread(lambda: (connections._before_fork(), connections._after_fork_in_parent()))
    assert process.lock.locked()
    assert process.forking == threading.get_ident()
    connections._after_fork_in_parent()
    assert not process.lock.locked()


def test_a_child_starts_anew_and_never_touches_a_connection_in_use(process, connect):
    token, connection = connect()
    with process.lock:
        connections._after_fork_in_child()
        child = this_process()
        assert child is not process
        assert not child.connections
        assert not child.lock.locked()
    forget(token)
    assert not is_closed(connection)
    assert connections._inherited == [process]


def test_after_a_fork_outside_of_python_idle_connections_are_closed(process, connect, monkeypatch):
    _, idle = connect()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert this_process() is not process
    assert is_closed(idle)
    assert not process.connections


def test_after_a_fork_outside_of_python_connections_in_use_are_kept(process, connect, monkeypatch):
    token, used = connect()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with process.lock:
        assert this_process() is not process
    assert not is_closed(used)
    assert list(process.connections) == [token]


FORK = """
import os, sys, time
from swaig_wsgi.stores._connections import open_connection, this_process

process = this_process()
process.connections["a"] = open_connection(sys.argv[1], "OFF", time.monotonic() + 60)
pid = os.fork()
if pid == 0:
    child = this_process()
    free = child is not process and not child.lock.locked() and child.forking is None
    os._exit(0 if free and not child.connections and not process.connections else 1)
assert os.waitpid(pid, 0)[1] == 0
assert this_process() is process
assert not process.lock.locked()
assert not process.connections
"""


@pytest.mark.threads
def test_neither_parent_nor_child_has_a_connection_after_a_fork(run_python, path):
    run_python(FORK, path)


# Busy files


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("disk I/O error"), sqlite3.DatabaseError("locked")]
)
def test_other_errors_are_raised_immediately(error, monkeypatch):
    monkeypatch.setattr(connections, "system_sleep", lambda _: pytest.fail("waited"))

    def step():
        raise error

    with pytest.raises(type(error)) as caught:
        retry_while_locked(step, time.monotonic() + 60)
    assert caught.value is error


def test_a_file_that_another_process_writes_can_be_opened_and_read(path, connect):
    connect()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    _, reader = connect(deadline=0)
    assert reader.execute("SELECT count(*) FROM swaig_values").fetchone() == (0,)
    other.close()


def test_a_connection_that_cannot_be_prepared_is_closed(path, monkeypatch):
    opened = []
    connect = sqlite3.connect

    def remember(*args, **options):
        opened.append(connect(*args, **options))
        return opened[0]

    monkeypatch.setattr(connections.sqlite3, "connect", remember)
    with open(path, "wb") as file:
        file.write(b"no database" * 500)
    with pytest.raises(sqlite3.DatabaseError):
        open_connection(path, "OFF", time.monotonic() + 60)
    assert [is_closed(connection) for connection in opened] == [True]


# The log


def log_size(path):
    return os.stat(f"{path}-wal").st_size


def fill_log(connection, path):
    """Write until the log should be shortened."""
    statement = "INSERT OR REPLACE INTO swaig_values VALUES ('key', zeroblob(1048576), 1)"
    for _ in range(9):
        connection.execute(statement)
    assert log_size(path) > MAX_LOG_BYTES


def test_the_log_is_truncated_only_when_it_is_long(path, connect):
    _, connection = connect()
    before = log_size(path)
    assert shorten_log(connection, f"{path}-wal", MAX_LOG_BYTES) == MAX_LOG_BYTES
    assert log_size(path) == before
    fill_log(connection, path)
    assert shorten_log(connection, f"{path}-wal", MAX_LOG_BYTES) == MAX_LOG_BYTES
    assert log_size(path) == 0
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (0,)


def test_while_a_program_reads_the_log_is_left_alone_until_it_has_grown(path, connect):
    _, connection = connect()
    log = f"{path}-wal"
    _, reader = connect()
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM swaig_values").fetchall()
    fill_log(connection, path)
    size = log_size(path)
    limit = shorten_log(connection, log, MAX_LOG_BYTES)
    assert limit == size + MAX_LOG_BYTES
    assert log_size(path) == size
    reader.execute("COMMIT")
    assert shorten_log(connection, log, limit) == limit
    assert log_size(path) == size
    fill_log(connection, path)
    assert shorten_log(connection, log, limit) == MAX_LOG_BYTES
    assert log_size(path) == 0
    # As when another process truncated it.
    assert shorten_log(connection, log, limit) == MAX_LOG_BYTES


def test_an_error_of_a_checkpoint_does_not_conceal_that_the_commit_succeeded(path, connect):
    _, connection = connect()
    fill_log(connection, path)
    size = log_size(path)
    connection.close()
    # Closing removed it. There is one again, but every statement fails now.
    with open(f"{path}-wal", "wb") as log:
        log.truncate(size)
    assert shorten_log(connection, f"{path}-wal", MAX_LOG_BYTES) == size + MAX_LOG_BYTES
    os.unlink(f"{path}-wal")
    assert shorten_log(connection, f"{path}-wal", MAX_LOG_BYTES) == MAX_LOG_BYTES


# Files


@pytest.mark.parametrize(("synchronous", "number"), [("OFF", 0), ("NORMAL", 1)])
def test_a_new_file_has_the_tables_and_modes_of_a_store(connect, synchronous, number):
    _, connection = connect(synchronous)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (number,)
    assert connection.execute("PRAGMA page_size").fetchone() == (1024,)
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    assert sorted(tables) == [("swaig_boots",), ("swaig_counts",), ("swaig_values",)]


def test_an_existing_file_keeps_its_content_and_mode(path, connect):
    _, first = connect()
    first.execute("INSERT INTO swaig_values VALUES ('key', '{}', 1)")
    os.chmod(path, 0o640)
    _, second = connect()
    assert second.execute("SELECT count(*) FROM swaig_values").fetchone() == (1,)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640


def test_a_new_file_does_not_read_the_log_of_a_removed_one(path, process, connect):
    _, old = connect()
    old.execute("INSERT INTO swaig_values VALUES ('key', '{}', 1)")
    before, index = file_identity(path), os.stat(f"{path}-shm").st_ino
    os.unlink(path)
    assert os.path.exists(f"{path}-wal")
    _, new = connect()
    assert new.execute("SELECT count(*) FROM swaig_values").fetchone() == (0,)
    after = file_identity(path)
    assert None not in after
    assert after[0] != before[0]
    assert after[1] != before[1]
    # The index is new, too: the old one would lead later connections to the wrong log.
    assert os.stat(f"{path}-shm").st_ino != index


def test_the_identity_changes_with_the_file_and_its_log(path, process, connect):
    assert file_identity(path) == (None, None)
    token, _ = connect()
    first = file_identity(path)
    assert None not in first
    assert file_identity(path) == first
    # The last connection to close removes the log.
    process.drop(token)
    assert file_identity(path) == (first[0], None)
    os.rename(path, f"{path}.old")
    assert file_identity(path) == (None, None)
