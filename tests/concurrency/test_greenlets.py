"""System threads and locks; gevent is faked, because these tests run without it."""

import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import pytest

from swaig_wsgi.concurrency import _greenlets as greenlets


@pytest.fixture
def gevent(monkeypatch):
    """Return a fake of gevent's monkey module that records calls of the saved originals."""
    calls = []
    originals = {
        ("_thread", "allocate_lock"): lambda: calls.append("lock") or threading.Lock(),
        ("time", "sleep"): lambda seconds: calls.append(seconds),
    }
    monkey = types.SimpleNamespace(
        patched={"threading"},
        calls=calls,
        is_module_patched=lambda name: name in monkey.patched,
        get_original=lambda module, name: originals[module, name],
    )

    class Pool(ThreadPoolExecutor):
        pass

    monkey.Pool = Pool
    monkey.hub = types.SimpleNamespace(main_hub=True)
    monkeypatch.setitem(sys.modules, "gevent", types.SimpleNamespace(get_hub=lambda: monkey.hub))
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
    monkeypatch.setitem(
        sys.modules, "gevent.threadpool", types.SimpleNamespace(ThreadPoolExecutor=Pool)
    )
    return monkey


def without_gevent(monkeypatch):
    monkeypatch.delitem(sys.modules, "gevent.monkey", raising=False)


def test_without_gevent_threads_and_locks_are_those_of_python(monkeypatch):
    without_gevent(monkeypatch)
    assert not greenlets.threads_are_greenlets()
    with greenlets.thread_pool() as pool:
        assert type(pool) is ThreadPoolExecutor
        assert pool.submit(threading.get_ident).result() != threading.get_ident()
    assert type(greenlets.system_lock()) is type(threading.Lock())


def test_gevent_without_patched_threads_changes_nothing(gevent):
    gevent.patched.clear()
    assert not greenlets.threads_are_greenlets()
    with greenlets.thread_pool() as pool:
        assert type(pool) is ThreadPoolExecutor


def test_gevents_own_pool_and_saved_originals_are_used(gevent):
    assert greenlets.threads_are_greenlets()
    with greenlets.thread_pool() as pool:
        assert type(pool) is gevent.Pool
        assert pool.submit(threading.get_ident).result() != threading.get_ident()
    with greenlets.system_lock() as held:
        assert held
    greenlets.system_sleep(0.5)
    assert gevent.calls == ["lock", 0.5]


def test_outside_main_hub_is_true_only_in_other_threads_under_gevent(gevent):
    assert not greenlets.outside_main_hub()
    gevent.hub.main_hub = False
    assert greenlets.outside_main_hub()
    gevent.patched.clear()
    assert not greenlets.outside_main_hub()


@pytest.mark.parametrize("present", [False, True])
def test_a_lock_excludes_other_threads(monkeypatch, gevent, present):
    if not present:
        without_gevent(monkeypatch)
    lock = greenlets.system_lock()
    with lock, greenlets.thread_pool() as pool:
        assert pool.submit(lock.acquire, False).result() is False
    assert lock.acquire(False)
