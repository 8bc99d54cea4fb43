from __future__ import annotations

import os
import threading
import tracemalloc

import pytest
from support.clock import Clock

from swaig_wsgi.stores.memory import MemoryStore


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    return MemoryStore(max_keys=4, max_bytes=400, clock=clock)


def counts(store, key, times, window=60):
    return [store.hit(key, window).count for _ in range(times)]


# Counting


def test_a_window_starts_with_the_first_hit_and_ends_when_it_is_over(store, clock):
    assert store.hit("a", 60) == (1, 60)
    clock.now += 59.5
    assert store.hit("a", 60) == (2, 0.5)
    clock.now += 0.5
    assert store.hit("a", 60) == (1, 60)


def test_hits_do_not_prolong_a_window(store, clock):
    for _ in range(12):
        store.hit("a", 60)
        clock.now += 5
    assert store.hit("a", 60).count == 1


def test_each_key_has_its_own_window(store, clock):
    store.hit("a", 60)
    clock.now += 30
    assert store.hit("b", 60) == (1, 60)
    assert store.hit("a", 60) == (2, 30)
    clock.now += 30
    assert store.hit("a", 60).count == 1
    assert store.hit("b", 60).count == 2


def test_seconds_left_are_never_more_than_the_window(clock):
    store = MemoryStore(clock=clock)
    for step in range(200):
        clock.now = 0.1 * step
        left = store.hit(str(step), 0.7).seconds_left
        assert 0 < left <= 0.7


@pytest.mark.parametrize("window", [0, -1, float("nan"), float("inf"), "60", None])
def test_a_window_that_is_none_is_refused_and_counts_nothing(store, window):
    store.hit("a", 60)
    for key in ("a", "b"):
        with pytest.raises(ValueError, match="window"):
            store.hit(key, window)
    assert store.hit("a", 60).count == 2
    assert store.hit("b", 60).count == 1


def test_threads_hammering_one_key_are_counted_exactly():
    store = MemoryStore()
    start = threading.Barrier(8)
    seen = []

    def hammer():
        start.wait()
        seen.extend([store.hit("a", 3600).count for _ in range(500)])

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(1, 4001))


# A flood of new keys


def test_a_flood_never_evicts_a_live_counter(store, clock):
    counts(store, "victim", 3)
    for n in range(1000):
        clock.now += 0.01
        store.hit(f"flood{n}", 60)
    assert store.hit("victim", 60).count == 4


def test_at_the_cap_new_keys_share_one_counter(store):
    for n in range(4):
        assert store.hit(f"early{n}", 60).count == 1
    assert [store.hit(f"late{n}", 60).count for n in range(3)] == [1, 2, 3]
    assert store.hit("early0", 60).count == 2


def test_the_overflow_counter_keeps_a_window_like_any_other(store, clock):
    for n in range(4):
        store.hit(f"early{n}", 3600)
    assert store.hit("late0", 60) == (1, 60)
    clock.now += 59
    assert store.hit("late1", 60) == (2, 1)
    clock.now += 1
    assert store.hit("late2", 60) == (1, 60)


def test_each_window_length_overflows_by_itself(store):
    for n in range(4):
        store.hit(f"early{n}", 3600)
    assert store.hit("x", 60).count == 1
    assert store.hit("y", 10) == (1, 10)


def test_after_a_flood_new_keys_are_counted_alone_again(store, clock):
    for n in range(100):
        store.hit(f"flood{n}", 60)
    clock.now += 60
    for n in range(4):
        assert store.hit(f"new{n}", 60) == (1, 60)


def test_counters_of_another_window_length_make_room_when_they_expire(store, clock):
    for n in range(4):
        store.hit(f"short{n}", 1)
    clock.now += 1
    assert [store.hit(f"new{n}", 60).count for n in range(4)] == [1, 1, 1, 1]
    assert store.hit("one too many", 60).count == 1
    assert store.hit("two too many", 60).count == 2


def test_a_key_that_comes_back_keeps_its_own_counter_at_the_cap(store, clock):
    store.hit("a", 1)
    for n in range(3):
        store.hit(f"early{n}", 60)
    clock.now += 1
    assert store.hit("a", 1) == (1, 1)
    assert store.hit("a", 1).count == 2


def test_a_key_that_moves_to_another_window_length_is_not_forgotten_with_the_old_one(store, clock):
    store.hit("a", 10)
    clock.now += 10
    store.hit("a", 60)
    store.hit("b", 10)  # expires what is left of the first window
    assert store.hit("a", 60).count == 2


def test_each_request_expires_no_more_than_a_few_counters(clock):
    # One that paid for all the others would be slow for everybody.
    store = MemoryStore(max_keys=1000, clock=clock)
    for n in range(1000):
        store.hit(f"flood{n}", 60)
    clock.now += 60
    for n in range(10):
        before = len(store._counters)
        store.hit(f"new{n}", 60)
        assert len(store._counters) == before - 2 + 1


def test_a_hundred_thousand_addresses_stay_below_32_mib():
    store = MemoryStore()
    keys = [f"rate:default:60:60:2001:db8:{n >> 16:x}:{n & 65535:x}::/64" for n in range(100_000)]
    tracemalloc.start()
    try:
        for key in keys:
            # The store keeps a string that nobody else does.
            store.hit("".join(key), 60)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held <= peak < 32 * 2**20
    assert store.hit(keys[0], 60).count == 2
    assert store.hit("another", 60).count == 100_000 - 65_536 + 1


def test_old_windows_leave_nothing_behind(clock):
    store = MemoryStore(max_keys=10, clock=clock)
    for n in range(1000):
        store.hit(f"key{n % 25}", 60)
        clock.now += 10
    assert sum(map(len, store._queues.values())) <= 10
    assert len(store._counters) <= 10


# Forks


FORK = """
import os, signal, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, from 3.12
from swaig_wsgi.stores.memory import MemoryStore

held, forked = threading.Event(), threading.Event()

def clock():
    # The store asks for the time while it holds its lock.
    if threading.current_thread() is not threading.main_thread():
        held.set()
        forked.wait(60)
    return 1000.0

store = MemoryStore(clock=clock)
store.hit("key", 60)
store.set("key", {"a": 1}, 60)
for work in (lambda: store.hit("key", 60), lambda: store.set("key", {"a": 2}, 60)):
    held.clear()
    forked.clear()
    thread = threading.Thread(target=work)
    thread.start()
    held.wait(60)
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        status = 1
        try:
            store.hit("key", 60)
            assert store.get("key") == {"a": 1}
            store.set("key", {"a": 3}, 60)
            assert not store.add("key", {}, 60)
            status = 0
        finally:
            os._exit(status)
    forked.set()
    thread.join()
    assert os.waitpid(pid, 0)[1] == 0
assert store.hit("key", 60).count == 3
assert store.get("key") == {"a": 2}
"""


def test_a_fork_in_the_middle_of_another_threads_call(run_python):
    run_python(FORK)


class Torn(dict):
    """A dictionary at which a call breaks off, as it does in the child of a fork."""

    breaks = False

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        if self.breaks:
            raise SystemExit


def test_what_a_fork_tore_apart_is_whole_in_the_child(store, clock):
    store.set("claim", {"a": 1}, 60)
    store._values = torn = Torn(store._values)
    torn.breaks = True
    store._value_lock.acquire()
    for key in ("claim", "other"):
        with pytest.raises(SystemExit):
            store._put(key, '{"a":22}', 30, clock.now)
    store.renew_locks()
    torn.breaks = False
    assert store.get("claim") == {"a": 22}
    assert store._bytes == len("claim") + len("other") + 2 * len('{"a":22}')
    clock.now += 30
    store.set("third", {}, 60)
    assert set(store._values) == {"third"}
    assert store._bytes == len("third{}")


# The rest


def test_the_process_that_made_it_is_remembered(store):
    assert store.pid == os.getpid()


def test_a_closed_store_is_as_good_as_new(store):
    store.hit("a", 60)
    store.set("a", {"n": 1}, 60)
    store.close()
    store.close()
    assert store.hit("a", 60).count == 2
    assert store.get("a") == {"n": 1}


@pytest.mark.parametrize("bound", [0, -1, True, 1.5, "4", None])
def test_bounds_that_make_no_sense_are_refused(bound):
    with pytest.raises(ValueError, match="max_keys"):
        MemoryStore(max_keys=bound)
    with pytest.raises(ValueError, match="max_bytes"):
        MemoryStore(max_bytes=bound)


def test_the_real_clock_is_used_unless_another_is_given():
    store = MemoryStore()
    assert store.hit("a", 3600).count == 1
    second = store.hit("a", 3600)
    assert second.count == 2
    assert 3500 < second.seconds_left <= 3600
