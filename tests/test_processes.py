"""Keys, passwords and stores that a parent or each process creates."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import warnings

import pytest

from swaig_wsgi.processes import (
    EXPLANATIONS,
    PASSWORD,
    SECRET,
    STORAGE,
    SharedState,
    current,
    default_store,
    generated_key,
    generated_password,
    install,
    is_draining,
    is_shared,
    unshared_variables,
)
from swaig_wsgi.stores import MemoryStore, SQLiteStore


@pytest.fixture
def shared():
    state = SharedState()
    install(state)
    yield state
    install(None)


def in_child(function):
    """Return what `function` returns in a process forked from this one."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe()
    child = context.Process(target=lambda: sender.send(function()))
    with warnings.catch_warnings():
        # Python 3.12 and later warn of a fork while a thread of another test runs.
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    assert receiver.poll(20)
    result = receiver.recv()
    child.join()
    return result


def test_children_that_run_already_learn_that_the_server_drains(shared):
    assert not is_draining()
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def observe():
        theirs.send(is_draining())
        theirs.recv()
        theirs.send(is_draining())

    child = context.Process(target=observe)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    assert ours.poll(20)
    assert ours.recv() is False
    shared.start_draining()
    assert is_draining()
    ours.send(None)
    assert ours.poll(20)
    assert ours.recv() is True
    child.join()


def test_without_a_parent_each_process_generates_its_secrets():
    assert current() is None
    key, other = generated_key("sessions"), generated_key("sessions")
    assert key.key != other.key
    assert len(key.key) == 32
    assert key.pid == os.getpid()
    password, pid = generated_password("bank")
    assert len(password) == 32
    assert int(password, 16) >= 0
    assert pid == os.getpid()
    assert generated_password("bank")[0] != password
    assert isinstance(default_store(), MemoryStore)


def test_children_inherit_keys_and_passwords(shared):
    expected = (generated_key("agent bank"), generated_password("bank"))
    assert in_child(lambda: (generated_key("agent bank"), generated_password("bank"))) == expected
    assert expected[0].pid == expected[1][1] == os.getpid()
    assert expected[0].created_at == shared.created_at


def test_agents_have_different_keys_and_passwords(shared):
    names = ["bank", "sales", "", "bänk", "\ud800", "bank\0"]
    assert len({generated_key(name).key for name in names}) == len(names)
    assert len({generated_password(name)[0] for name in names}) == len(names)
    assert all(len(generated_password(name)[0]) == 32 for name in names)


def test_two_parents_generate_different_secrets(shared):
    other = SharedState()
    assert other.key("x").key != shared.key("x").key
    assert other.password("x") != shared.password("x")


def test_secrets_are_never_shown_exported_or_pickled(shared):
    before = dict(os.environ)
    key, password = generated_key("x").key, generated_password("x")[0]
    assert dict(os.environ) == before
    program = "import os; print(dict(os.environ))"
    seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    assert password not in seen
    for text in (repr(shared), str(shared), repr(generated_key("x"))):
        assert password not in text
        assert repr(key) not in text
    with pytest.raises(TypeError):
        pickle.dumps(shared)
    assert not hasattr(shared, "__dict__")


def test_the_store_is_created_once_and_shared_by_children(shared):
    assert isinstance(default_store(), MemoryStore)
    store = shared.open_store()
    assert shared.open_store() is store
    assert default_store() is store
    assert default_store("sqlite://") is store
    assert store.hit("a", 60).count == 1
    assert in_child(lambda: default_store().hit("a", 60).count) == 2
    assert store.hit("a", 60).count == 3


def test_a_configured_store_overrides_the_shared_one(shared, tmp_path):
    shared.open_store()
    store = default_store(f"sqlite:///{tmp_path}/store.db")
    assert store.path == f"{tmp_path}/store.db"
    assert isinstance(default_store("memory://"), MemoryStore)


def test_only_the_process_that_created_the_store_removes_it(run_python):
    out = run_python(
        "import os\n"
        "from swaig_wsgi.processes import SharedState\n"
        "store = SharedState().open_store()\n"
        "store.hit('a', 60)\n"
        "directory = os.path.dirname(store.path)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    store.hit('a', 60)\n"
        "    raise SystemExit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(os.path.exists(store.path), oct(os.stat(directory).st_mode)[-3:], directory)\n"
    )
    exists, mode, directory = out.split()
    assert (exists, mode) == ("True", "700")
    assert not os.path.exists(directory)


FORK = """
import os, signal, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, from 3.12
from swaig_wsgi import processes as shared
from swaig_wsgi.stores import sqlite

held, forked = threading.Event(), threading.Event()
made = sqlite.SQLiteStore

def make():
    if threading.current_thread() is not threading.main_thread():
        held.set()
        forked.wait(60)
    return made()

sqlite.SQLiteStore = make
state = shared.SharedState()
thread = threading.Thread(target=state.open_store)
thread.start()
held.wait(60)
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    # Runs exit handlers, such as the removal of a private file.
    raise SystemExit(0 if state.open_store().pid == os.getpid() else 1)
forked.set()
thread.join()
assert os.waitpid(pid, 0)[1] == 0
assert state.store.pid == os.getpid()
"""


@pytest.mark.threads
def test_a_child_forked_while_the_store_is_created_can_open_it(run_python):
    run_python(FORK)


def test_stores_in_memory_and_private_files_are_not_shared(tmp_path):
    private = SQLiteStore()
    assert not is_shared(MemoryStore())
    assert not is_shared(private)
    assert is_shared(SQLiteStore(tmp_path / "store.db"))
    assert is_shared(object())
    # A file created before the fork is shared; memory is copied.
    assert in_child(lambda: is_shared(private)) is True
    memory = MemoryStore()
    assert in_child(lambda: is_shared(memory)) is False


def test_unshared_variables_are_those_of_values_generated_by_this_process(tmp_path):
    own_pid, parent_pid = os.getpid(), os.getppid()
    assert unshared_variables() == frozenset()
    assert unshared_variables(key_pid=own_pid) == {SECRET}
    assert unshared_variables(password_pid=own_pid) == {PASSWORD}
    assert unshared_variables(store=MemoryStore()) == {STORAGE}
    shared_store = SQLiteStore(tmp_path / "store.db")
    assert not unshared_variables(key_pid=parent_pid, password_pid=parent_pid, store=shared_store)
    every = unshared_variables(key_pid=own_pid, password_pid=own_pid, store=MemoryStore())
    assert every == set(EXPLANATIONS)
