"""The system's own threads and locks; gevent is stood in for, as these tests run without it."""

import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor

import pytest

from swaig_wsgi.concurrency import _greenlets as greenlets


@pytest.fixture
def gevent(monkeypatch):
    """Give a stand-in for gevent's monkey, and what was called of the originals that it keeps."""
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


def test_without_gevent_everything_is_pythons_own(monkeypatch):
    without_gevent(monkeypatch)
    assert not greenlets.are_threads()
    with greenlets.thread_pool() as pool:
        assert type(pool) is ThreadPoolExecutor
        assert pool.submit(threading.get_ident).result() != threading.get_ident()
    assert type(greenlets.system_lock()) is type(threading.Lock())


def test_gevent_that_has_not_touched_threads(gevent):
    gevent.patched.clear()
    assert not greenlets.are_threads()
    with greenlets.thread_pool() as pool:
        assert type(pool) is ThreadPoolExecutor


def test_gevents_own_pool_and_the_originals_that_it_keeps(gevent):
    assert greenlets.are_threads()
    with greenlets.thread_pool() as pool:
        assert type(pool) is gevent.Pool
        assert pool.submit(threading.get_ident).result() != threading.get_ident()
    with greenlets.system_lock() as held:
        assert held
    greenlets.system_sleep(0.5)
    assert gevent.calls == ["lock", 0.5]


def test_where_greenlets_run(gevent):
    assert not greenlets.run_elsewhere()
    gevent.hub.main_hub = False
    assert greenlets.run_elsewhere()
    gevent.patched.clear()
    assert not greenlets.run_elsewhere()


@pytest.mark.parametrize("present", [False, True])
def test_a_lock_excludes_other_threads(monkeypatch, gevent, present):
    if not present:
        without_gevent(monkeypatch)
    lock = greenlets.system_lock()
    with lock, greenlets.thread_pool() as pool:
        assert pool.submit(lock.acquire, False).result() is False
    assert lock.acquire(False)


def test_sleep_without_gevent_is_pythons(monkeypatch):
    without_gevent(monkeypatch)
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    greenlets.system_sleep(3)
    assert slept == [3]
