"""SQLite stores: processes, forks, killed writers, and damaged files."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import stat
import time

import pytest
from support.clock import Clock
from support.store_calls import HOUR, calls

from swaig_wsgi.stores import _connections as connections
from swaig_wsgi.stores import sqlite as module
from swaig_wsgi.stores._base import StoreBusyError, StoreError
from swaig_wsgi.stores.sqlite import SQLiteStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def store(path):
    store = SQLiteStore(path)
    yield store
    store.close()


@pytest.fixture
def other(path):
    """Return another connection to the file, as another process would have it."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=5)
    yield connection
    connection.close()


def rows(path, table):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - the names are constants
    finally:
        connection.close()


def is_whole(path):
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


# Many processes


HAMMER = """
import sys
from swaig_wsgi.stores.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1])
sys.stdin.readline()
counts = [store.hit("key", 3600).count for _ in range(300)]
for number in range(25):
    store.merge("merged", {f"{sys.argv[2]}.{number}": number}, 3600)
claims = sum(store.add(f"claim{number}", {}, 3600) for number in range(100))
print(*counts)
print(claims)
"""


def test_four_processes_count_merge_and_claim_exactly(path, start_python):
    # The file does not exist yet: they also race to create it.
    programs = [start_python(HAMMER, path, index) for index in range(4)]
    for program in programs:
        program.stdin.write("go\n")
        program.stdin.flush()
    seen, claims = [], 0
    for program in programs:
        out, _ = program.communicate(timeout=60)
        assert program.returncode == 0
        counts, won = out.splitlines()
        seen += map(int, counts.split())
        claims += int(won)
    assert sorted(seen) == list(range(1, 1201))
    assert claims == 100
    store = SQLiteStore(path)
    assert store.get("merged") == {f"{i}.{n}": n for i in range(4) for n in range(25)}
    store.close()
    assert is_whole(path)


WRITE_FOREVER = """
import sys
from swaig_wsgi.stores.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1])
number = 0
while True:
    number += 1
    store.merge("merged", {"number": number, "padding": "x" * (number % 20000)}, 3600)
    store.add(f"claim{number}", {}, 3600)
    print(store.hit("key", 3600).count, flush=True)
"""


def test_a_process_killed_while_writing_breaks_nothing(path, store, start_python):
    done = 0
    for _ in range(5):
        program = start_python(WRITE_FOREVER, path)
        for _ in range(40):
            done = int(program.stdout.readline())
        os.kill(program.pid, signal.SIGKILL)
        done = int((["", *program.stdout.read().split()])[-1] or done)
        program.wait(timeout=60)
        # Every hit that returned was counted, and no lock is left.
        count = store.hit("key", HOUR).count
        assert done < count <= done + 2
        assert store.get("merged").keys() == {"number", "padding"}
        assert store.add(f"claim{store.get('merged')['number'] - 1}", {}, HOUR) is False
    store.close()
    assert is_whole(path)


STOPPED = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


def test_a_stopped_writer_is_a_store_error_and_not_a_hang(path, store, start_python):
    store.hit("key", HOUR)
    program = start_python(STOPPED, path)
    assert program.stdout.readline() == "locked\n"
    for call in (
        lambda: store.hit("key", HOUR),
        lambda: store.set("key", {}, HOUR),
        lambda: store.add("key", {}, HOUR),
        lambda: store.delete("key"),
    ):
        with pytest.raises(StoreBusyError, match="locked"):
            call()
    # Readers do not wait for writers.
    assert store.get("key") is None
    assert store.peek("key").count == 1
    os.kill(program.pid, signal.SIGKILL)
    program.wait(timeout=60)
    assert store.hit("key", HOUR).count == 2


def test_a_busy_thread_is_a_store_error_and_not_a_hang(store):
    store.hit("key", HOUR)
    with connections.this_process().lock, pytest.raises(StoreBusyError, match="busy"):
        store.hit("key", HOUR)
    assert store.hit("key", HOUR).count == 2


# Forks


FORKS = """
import os, sqlite3, sys, threading
from swaig_wsgi.stores import _connections as connections
from swaig_wsgi.stores.sqlite import SQLiteStore

store = SQLiteStore(sys.argv[1])
assert store.hit("key", 3600).count == 1
store.set("key", {"by": "parent"}, 3600)
children = []
for index in range(3):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            assert not connections.this_process().connections
            for number in range(200):
                store.hit("key", 3600)
                store.merge("merged", {f"{index}.{number % 10}": 1}, 3600)
            assert store.get("key") == {"by": "parent"}
            status = 0
        finally:
            os._exit(status)
    children.append(pid)
for number in range(200):
    store.hit("key", 3600)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
assert store.hit("key", 3600).count == 802
assert len(store.get("merged")) == 30
store.close()
"""


@pytest.mark.threads
def test_forked_children_use_the_store_of_their_parent(path, run_python):
    run_python(FORKS, path)
    assert is_whole(path)


FORK_UNDER_LOAD = """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, from 3.12
from swaig_wsgi.stores.sqlite import SQLiteStore

store = SQLiteStore(sys.argv[1])
stop = threading.Event()
counted = []

def work():
    number = 0
    while not stop.is_set():
        store.hit("key", 3600)
        store.set("key", {"number": number}, 3600)
        number += 1
    counted.append(number)

threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for _ in range(10):
                store.hit("key", 3600)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
assert store.hit("key", 3600).count == 20 * 10 + sum(counted) + 1
store.close()
"""


@pytest.mark.threads
def test_a_fork_during_another_threads_call_loses_no_count(path, run_python):
    run_python(FORK_UNDER_LOAD, path)
    assert is_whole(path)


FOREIGN_FORK = """
import ctypes, os, sys
from swaig_wsgi.stores.sqlite import SQLiteStore

store = SQLiteStore(sys.argv[1])
store.hit("key", 3600)
pid = ctypes.PyDLL(None).fork()
if pid == 0:
    status = 1
    try:
        for _ in range(100):
            store.hit("key", 3600)
        status = 0
    finally:
        os._exit(status)
for _ in range(100):
    store.hit("key", 3600)
assert os.waitpid(pid, 0)[1] == 0
assert store.hit("key", 3600).count == 202
store.close()
"""


@pytest.mark.threads
def test_a_fork_outside_of_python_loses_no_count(path, run_python):
    run_python(FOREIGN_FORK, path)
    assert is_whole(path)


# The private file


PRIVATE = """
import os, stat, sys
from swaig_wsgi.stores.sqlite import SQLiteStore

store = SQLiteStore()
directory = os.path.dirname(store.path)
assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
assert os.listdir(directory) == []
assert store.private and store.pid == os.getpid()
pid = os.fork()
if pid == 0:
    assert store.private and store.pid == os.getppid()
    store.hit("key", 3600)
    sys.exit(0)  # runs what a process does at its end
assert os.waitpid(pid, 0)[1] == 0
assert os.path.isdir(directory)
assert store.hit("key", 3600).count == 2
assert stat.S_IMODE(os.stat(store.path).st_mode) == 0o600
print(directory)
"""


def test_the_private_directory_is_removed_with_the_process_that_created_it(run_python):
    directory = run_python(PRIVATE).strip()
    assert os.path.basename(directory).startswith("swaig-wsgi-")
    assert not os.path.exists(directory)


def test_two_private_stores_share_nothing():
    first, second = SQLiteStore(), SQLiteStore()
    assert first.hit("key", HOUR).count == 1
    assert second.hit("key", HOUR).count == 1
    for store in (first, second):
        store.close()
        shutil.rmtree(os.path.dirname(store.path))


# Files


def test_only_the_owner_can_read_the_files(path, store):
    previous = os.umask(0)
    try:
        store.set("key", {"secret": 1}, HOUR)
    finally:
        os.umask(previous)
    for name in os.listdir(path.parent):
        assert stat.S_IMODE(os.stat(path.parent / name).st_mode) == 0o600
    assert {"store.db", "store.db-wal"} <= set(os.listdir(path.parent))


def test_a_file_with_a_path_is_not_private(store):
    assert store.private is False
    assert store.pid == os.getpid()


def test_a_relative_path_is_kept_when_the_server_changes_its_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = SQLiteStore("relative.db")
    monkeypatch.chdir("/")
    store.hit("key", HOUR)
    store.close()
    assert (tmp_path / "relative.db").is_file()


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_rejects_an_invalid_path(path):
    with pytest.raises(ValueError, match="path"):
        SQLiteStore(path)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_rejects_an_invalid_timeout(path, timeout):
    with pytest.raises(ValueError, match="timeout"):
        SQLiteStore(path, timeout=timeout)


def assert_fails(store):
    for call in calls(store):
        with pytest.raises(StoreError, match=r"store\.db"):
            call()


def test_a_missing_directory_is_a_store_error_until_it_exists(tmp_path):
    store = SQLiteStore(tmp_path / "missing" / "store.db")
    assert_fails(store)
    (tmp_path / "missing").mkdir()
    assert store.hit("key", HOUR).count == 1
    store.close()


def test_a_directory_in_place_of_the_file_is_a_store_error(path, store):
    path.mkdir()
    assert_fails(store)
    path.rmdir()
    assert store.hit("key", HOUR).count == 1


@pytest.mark.parametrize(
    "content", [b"not a database" * 500, b"SQLite format 3\0" + b"\xff" * 8000]
)
def test_a_corrupt_file_is_a_store_error_until_it_is_replaced(path, store, content):
    path.write_bytes(content)
    assert_fails(store)
    assert path.read_bytes() == content
    path.unlink()
    assert store.hit("key", HOUR).count == 1


def test_a_damaged_file_is_a_store_error_until_it_is_replaced(path, store):
    for number in range(50):
        store.set(f"key{number}", {"padding": "x" * 3000}, HOUR)
    store.close()
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(1024)
        file.write(b"\xff" * (size - 1024))
    assert_fails(store)
    path.unlink()
    assert store.hit("key", HOUR).count == 1


def test_damage_anywhere_raises_nothing_but_store_errors(path):
    store = SQLiteStore(path)
    for number in range(20):
        store.hit(f"key{number}", HOUR)
        store.set(f"key{number}", {"number": number}, HOUR)
    store.close()
    whole = path.read_bytes()
    outcomes = set()
    for position in range(100, len(whole) - 4, 97):
        broken = bytearray(whole)
        for offset in range(4):
            broken[position + offset] ^= 0x5B
        path.write_bytes(broken)
        for number in (0, 7, 19):
            for call in (
                lambda key: store.hit(key, HOUR),
                lambda key: store.merge(key, {"a": 1}, HOUR),
                lambda key: store.get(key),
            ):
                try:
                    call(f"key{number}")
                    outcomes.add("works")
                except StoreError:
                    outcomes.add("fails")
        store.close()
        for name in ("store.db-wal", "store.db-shm"):
            (path.parent / name).unlink(missing_ok=True)
    assert outcomes == {"works", "fails"}


@pytest.mark.parametrize(
    ("text", "damaged"),
    [
        (b"indexswaig_values", b"index\xf2waig_values"),
        (b"tableswaig_counts", b"table\xf2waig_counts"),
        (b"CREATE TABLE swaig_counts", b"CREA\xf2E TABLE swaig_counts"),
    ],
)
def test_a_schema_that_is_not_text_is_a_store_error_until_the_file_is_replaced(
    path, store, text, damaged
):
    # sqlite3 cannot decode its own message, which quotes the schema.
    store.hit("key", HOUR)
    store.close()
    whole = path.read_bytes()
    assert text in whole
    path.write_bytes(whole.replace(text, damaged))
    assert_fails(store)
    path.unlink()
    assert store.hit("key", HOUR).count == 1


@pytest.mark.parametrize("damaged", ["5", "1e999", "x'ff'", "x'35'"])
def test_a_value_of_another_type_is_a_store_error(path, store, damaged):
    store.set("key", {"a": 1}, HOUR)
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        # A damaged row may contain any type, whatever the schema declares.
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'TEXT NOT NULL', 'BLOB')")
        connection.commit()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE swaig_values SET value = {damaged}")  # noqa: S608 - the names are constants
        connection.commit()
    for call in (lambda: store.get("key"), lambda: store.merge("key", {"b": 2}, HOUR)):
        with pytest.raises(StoreError):
            call()


def test_a_removed_file_is_noticed(path, store, monkeypatch):
    assert store.hit("key", HOUR).count == 1
    monkeypatch.setattr(module, "_IDENTITY_CHECK_INTERVAL", 0.0)
    path.unlink()
    assert store.hit("key", HOUR).count == 1
    assert path.is_file()
    assert store.hit("key", HOUR).count == 2


LEAVE_LATER = """
import sys
from swaig_wsgi.stores.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1])
print(store.hit("key", 3600).count, flush=True)
sys.stdin.readline()
store.close()
"""


def test_processes_agree_again_after_the_file_was_removed_while_open(
    path, store, start_python, monkeypatch
):
    monkeypatch.setattr(module, "_IDENTITY_CHECK_INTERVAL", 0.0)
    leaver = start_python(LEAVE_LATER, path)
    assert leaver.stdout.readline() == "1\n"
    assert store.hit("key", HOUR).count == 2
    path.unlink()
    assert store.hit("key", HOUR).count == 1
    leaver.communicate("leave\n", timeout=60)
    stayer = start_python(LEAVE_LATER, path)
    count = int(stayer.stdout.readline())
    assert store.hit("key", HOUR).count == count + 1
    stayer.communicate("leave\n", timeout=60)
    assert store.hit("key", HOUR).count == count + 2
    store.close()
    assert is_whole(path)


READ_ONLY = """
import os, sys
from swaig_wsgi.stores._base import StoreError
from swaig_wsgi.stores.sqlite import SQLiteStore

if os.geteuid() == 0:
    os.setuid(65534)  # root may write to anything
store = SQLiteStore(sys.argv[1])
for call in (
    lambda: store.hit("key", 3600),
    lambda: store.set("key", {}, 3600),
    lambda: store.add("key", {}, 3600),
):
    try:
        call()
    except StoreError as error:
        print(error)
"""


def test_a_read_only_directory_is_a_store_error(public_directory, run_python):
    os.chmod(public_directory, 0o555)  # noqa: S103 - the mode is part of the test
    out = run_python(READ_ONLY, public_directory / "store.db")
    assert len(out.splitlines()) == 3
    assert "Permission denied" in out


def test_a_read_only_file_is_a_store_error(public_directory, run_python):
    path = public_directory / "store.db"
    store = SQLiteStore(path)
    store.hit("key", HOUR)
    store.close()
    os.chmod(path, 0o444)
    os.chmod(public_directory, 0o555)  # noqa: S103 - the mode is part of the test
    assert len(run_python(READ_ONLY, path).splitlines()) == 3
    os.chmod(public_directory, 0o755)  # noqa: S103 - the mode is part of the test


FULL_DISK = """
import resource, sys
from swaig_wsgi.stores._base import StoreError
from swaig_wsgi.stores.sqlite import SQLiteStore

store = SQLiteStore(sys.argv[1])
store.hit("key", 3600)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
done = 0
try:
    for number in range(1000):
        store.set(f"key{number}", {"padding": "x" * 10_000}, 3600)
        done += 1
except StoreError as error:
    print(error)
assert 0 < done < 1000
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert store.hit("key", 3600).count == 2
assert store.get(f"key{done}") is None
for number in range(done):
    assert store.get(f"key{number}") == {"padding": "x" * 10_000}
store.close()
"""


def test_a_full_disk_is_a_store_error_until_there_is_room(path, run_python):
    assert str(path) in run_python(FULL_DISK, path)
    assert is_whole(path)


def test_rows_of_another_program_are_a_store_error(store, other):
    store.hit("key", HOUR)
    store.set("key", {"a": 1}, HOUR)
    other.execute("UPDATE swaig_values SET value = '[1]'")
    other.execute("UPDATE swaig_counts SET count = 'many', ends = 'never'")
    for call in (
        lambda: store.hit("key", HOUR),
        lambda: store.get("key"),
        lambda: store.merge("key", {}, HOUR),
    ):
        with pytest.raises(StoreError):
            call()
    store.set("key", {"b": 2}, HOUR)
    assert store.get("key") == {"b": 2}


# Time


def test_a_clock_set_back_locks_no_client_out_and_resets_no_count(path):
    clock = Clock(1.7e9)
    store = SQLiteStore(path, clock=clock)
    for _ in range(3):
        store.hit("key", 60)
    clock.now -= HOUR
    assert store.hit("key", 60) == (4, 60)
    clock.now += 59
    assert store.hit("key", 60) == (5, 1)
    clock.now += 1
    assert store.hit("key", 60) == (1, 60)
    store.close()


def test_a_shorter_window_applies_immediately(path):
    clock = Clock(1.7e9)
    store = SQLiteStore(path, clock=clock)
    store.hit("key", HOUR)
    assert store.hit("key", 60) == (2, 60)
    clock.now += 60
    assert store.hit("key", 60) == (1, 60)
    store.close()


def test_expired_rows_are_removed_in_small_steps(path):
    clock = Clock(1.7e9)
    store = SQLiteStore(path, clock=clock)
    for number in range(1000):
        store.hit(f"old{number}", 60)
        store.set(f"old{number}", {}, 60)
    clock.now += 60
    assert rows(path, "swaig_counts") == rows(path, "swaig_values") == 1000
    before = 2000
    for number in range(1000):
        store.hit(f"new{number}", 60)
        after = rows(path, "swaig_counts") + rows(path, "swaig_values") - number - 1
        assert before - after <= 2 * module._SWEEP_AT_MOST
        before = after
    assert before == 0
    store.close()


def test_a_flood_leaves_few_expired_rows(path):
    clock = Clock(1.7e9)
    store = SQLiteStore(path, clock=clock)
    for number in range(3000):
        store.hit(f"key{number}", 60)
        clock.now += 1
    assert rows(path, "swaig_counts") <= 60 + 2 * module._SWEEP_EVERY
    store.close()


# Resources


def test_a_garbage_collected_store_closes_its_connection(path):
    store = SQLiteStore(path)
    store.hit("key", HOUR)
    assert len(connections.this_process().connections) == 1
    del store
    assert not connections.this_process().connections


def test_an_interrupted_call_leaves_no_lock(path, store, other):
    def interrupt():
        raise SystemExit

    broken = SQLiteStore(path, clock=interrupt)
    with pytest.raises(SystemExit):
        broken.hit("key", HOUR)
    other.execute("BEGIN IMMEDIATE")
    other.execute("COMMIT")
    assert store.hit("key", HOUR).count == 1


class Machine:
    """A machine that a test boots, and whose time it sets."""

    def __init__(self, directory, monkeypatch):
        self.boot_id = directory / "boot_id"
        self.up = 0.0
        self.wall = 0.0
        self.boot("one", 1.7e9)
        monkeypatch.setattr(connections, "_BOOT_ID", str(self.boot_id))
        monkeypatch.setattr(time, "clock_gettime", lambda clock: self.up)
        monkeypatch.setattr(time, "time", lambda: self.wall)

    def boot(self, boot_id, wall):
        self.boot_id.write_text(f"{boot_id}\n")
        self.up, self.wall = 5.0, wall


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


@pytest.fixture(params=["private", "file"])
def stores(request, tmp_path, machine):
    """Return a store, and a function that opens its file in another process."""
    first = SQLiteStore(tmp_path / "own.db" if request.param == "file" else None)
    others = []

    def reopen():
        others.append(SQLiteStore(first.path))
        return others[-1]

    yield first, reopen
    for each in (first, *others):
        each.close()


def test_setting_the_systems_time_ends_no_window_and_no_claim(stores, machine):
    store, reopen = stores
    store.hit("key", 60)
    store.add("key", {"a": 1}, 60)
    for count, step in enumerate((120, 1e6, -2e6), 2):
        machine.wall += step
        machine.up += 10
        assert store.hit("key", 60) == (count, 60 - 10 * (count - 1))
        assert reopen().get("key") == {"a": 1}
        assert not reopen().add("key", {"b": 1}, 60)
    machine.up += 31
    assert reopen().hit("key", 60).count == 1
    assert store.add("key", {"b": 1}, 60)


def test_windows_and_claims_last_over_a_reboot(stores, machine):
    store, reopen = stores
    machine.up = 1e6
    store.hit("key", 600)
    store.add("key", {"a": 1}, 600)
    store.close()
    machine.boot("two", machine.wall + 300)
    assert reopen().hit("key", 600) == (2, 300)
    assert reopen().get("key") == {"a": 1}
    machine.up += 301
    assert reopen().hit("key", 600).count == 1
    assert reopen().get("key") is None


def test_a_file_of_an_earlier_release_gets_what_it_lacks(tmp_path, machine):
    store = SQLiteStore(tmp_path / "own.db")
    store.hit("key", 60)
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "own.db")) as connection:
        connection.execute("DROP TABLE swaig_boots")
    assert store.hit("key", 60).count == 2
    store.close()


def test_without_a_boot_id_the_systems_time_counts(tmp_path, machine):
    machine.boot_id.unlink()
    store = SQLiteStore(tmp_path / "own.db")
    assert [store.hit("key", 60).count for _ in range(2)] == [1, 2]
    machine.wall += 61
    assert store.hit("key", 60).count == 1
    store.close()


def test_a_boot_of_another_type_is_a_store_error(tmp_path, machine):
    store = SQLiteStore(tmp_path / "own.db")
    store.hit("key", 60)
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "own.db")) as connection, connection:
        connection.execute("UPDATE swaig_boots SET started = 'text'")
    for call in calls(store):
        with pytest.raises(StoreError):
            call()
    store.close()
