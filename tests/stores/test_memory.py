"""Counters of a memory store: floods of new keys, bounded memory, forks."""

from __future__ import annotations

import ipaddress
import os
import tracemalloc

import pytest
from support.clock import Clock

from swaig_wsgi.core.rate_limit import RateLimit, client_key
from swaig_wsgi.stores._base import Count
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


def addresses(network, number):
    """Yield client keys: the first addresses, or IPv6 /64, of a network."""
    network = ipaddress.ip_network(network)
    step = 2**64 if network.version == 6 else 1
    for index in range(number):
        yield client_key(str(network.network_address + index * step))


PREFIX = RateLimit(60).counter_prefix()


@pytest.mark.parametrize(
    ("flood", "neighbors", "others"),
    [
        ("2001:db8:1::/48", "2001:db8:1:ff00::/56", ["2001:db8:2::/48", "2001:db9::/48"]),
        ("2001:db8::/32", "2001:db8:1:ff00::/56", ["2001:db9::/48", "2002::/48"]),
        ("203.0.0.0/16", "203.0.99.0/24", ["203.1.0.0/24", "198.51.100.0/24"]),
    ],
)
def test_attack_a_flood_overflows_into_its_own_network(flood, neighbors, others):
    store = MemoryStore(max_keys=1024)
    clients = [*addresses(flood, 1100), *addresses(neighbors, 200)]
    if flood.endswith("/32"):
        clients[:1100] = [f"2001:db8:{number:x}::/64" for number in range(1100)]
    counts = [store.hit(PREFIX + client, 60).count for client in clients]
    assert counts[:1024] == [1] * 1024
    assert counts[-100:] == list(range(counts[-1] - 99, counts[-1] + 1))
    assert counts[-1] >= 200
    for network in [*others, "192.0.2.0/24"]:
        [other] = addresses(network, 1)
        assert [store.hit(PREFIX + other, 60).count for _ in range(3)] == [1, 2, 3]
    assert store.hit(PREFIX + clients[0], 60).count == 2


def test_attack_peek_finds_the_counters_that_new_clients_share_in_a_flood(clock):
    store = MemoryStore(max_keys=16, clock=clock)
    for client in addresses("203.0.0.0/16", 40):
        before = store.peek(PREFIX + client)
        count = store.hit(PREFIX + client, 60)
        after = store.peek(PREFIX + client)
        assert count.count == (before.count if before else 0) + 1
        assert after == count
    assert count.count >= 16
    assert store.peek(PREFIX + "192.0.2.1") is None
    for number in range(60):
        last = store.hit(f"{PREFIX}{number}.1.0.1", 60)
    assert last.count > 1
    assert store.peek(f"{PREFIX}99.1.0.1") == last
    assert store.peek("no client") == last
    clock.now += 60
    assert store.peek(f"{PREFIX}99.1.0.1") is None


def test_adopts_counts_of_another_store(clock):
    store = MemoryStore(max_keys=2, clock=clock)
    store.adopt("a", Count(7, 30.0), 60)
    assert store.peek("a") == (7, 30)
    assert store.hit("a", 60) == (8, 30)
    store.adopt("a", Count(5, 29.5), 60)
    assert store.hit("a", 60) == (9, 30)
    store.adopt("a", Count(20, 29.5), 60)
    assert store.hit("a", 60) == (21, 30)
    clock.now += 29
    # A new window of the other store.
    store.adopt("a", Count(1, 60.0), 60)
    assert store.hit("a", 60) == (2, 60)
    store.adopt("b", Count(1, 60.0), 60)
    store.adopt("c", Count(1, 60.0), 60)
    assert store.peek("b") == (1, 60)
    assert len(store._counters) == 2
    clock.now += 60
    assert store.peek("a") is None
    for number in range(100):
        store.adopt(str(number), Count(1, 30.0), 60)
        clock.now += 30
    assert len(store._counters) <= 2
    assert sum(map(len, store._queues.values())) <= 4


def test_in_a_flood_the_first_new_clients_of_a_network_are_counted_separately(clock):
    store = MemoryStore(max_keys=8192, clock=clock)
    for client in addresses("2001:db8:1::/48", 8192):
        store.hit(PREFIX + client, 60)
    clock.now += 30
    first = [store.hit(PREFIX + client, 60) for client in addresses("192.0.2.0/24", 8)]
    assert first == [(1, 60)] * 8
    clock.now += 1
    others = [store.hit(PREFIX + client, 60) for client in addresses("192.0.99.0/24", 3)]
    assert others == [(1, 59), (2, 59), (3, 59)]
    assert store.hit(PREFIX + "192.0.2.0", 60) == (2, 59)
    # A /48 of another /32 does not use up the counters of its neighbors.
    for client in addresses("2001:db9:1::/48", 100):
        store.hit(PREFIX + client, 60)
    for number in range(2, 9):
        assert store.hit(f"{PREFIX}2001:db9:{number}::/64", 60) == (1, 60)
    assert store.hit(f"{PREFIX}2001:db9:9::/64", 60).count == 1
    assert store.hit(f"{PREFIX}2001:db9:10::/64", 60).count == 2
    clock.now += 60
    assert store.hit(PREFIX + "192.0.99.1", 60) == (1, 60)


@pytest.mark.parametrize("max_keys", [1, 2, 4, 100])
def test_a_flood_from_everywhere_has_bounded_memory(max_keys):
    store = MemoryStore(max_keys=max_keys)
    for number in range(5000):
        store.hit(f"{PREFIX}{number % 250}.{number // 250}.0.1", 60)
        store.hit(f"{PREFIX}2001:{number:x}::/64", 60)
        store.hit(f"{PREFIX}2001:{number:x}::/48", 60)
    assert len(store._counters) <= 2 * max_keys
    assert sum(map(len, store._queues.values())) <= 2 * max_keys
    seen = [store.hit(f"{PREFIX}2002:{number:x}::/64", 60).count for number in range(3)]
    assert seen[1:] == [seen[0] + 1, seen[0] + 2]


def test_the_overflow_counter_has_a_window_like_any_other(store, clock):
    for n in range(4):
        store.hit(f"early{n}", 3600)
    assert store.hit("late0", 60) == (1, 60)
    clock.now += 59
    assert store.hit("late1", 60) == (2, 1)
    clock.now += 1
    assert store.hit("late2", 60) == (1, 60)


def test_each_window_length_has_its_own_overflow_counter(store):
    for n in range(4):
        store.hit(f"early{n}", 3600)
    assert store.hit("x", 60).count == 1
    assert store.hit("y", 10) == (1, 10)


def test_after_a_flood_new_keys_are_counted_separately_again(store, clock):
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


def test_a_returning_key_keeps_its_own_counter_at_the_cap(store, clock):
    store.hit("a", 1)
    for n in range(3):
        store.hit(f"early{n}", 60)
    clock.now += 1
    assert store.hit("a", 1) == (1, 1)
    assert store.hit("a", 1).count == 2


def test_a_counter_of_a_new_window_length_does_not_expire_with_the_old_one(store, clock):
    store.hit("a", 10)
    clock.now += 10
    store.hit("a", 60)
    store.hit("b", 10)  # expires what is left of the first window
    assert store.hit("a", 60).count == 2


def test_each_request_expires_no_more_than_a_few_counters(clock):
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
            # A copy of the string, so that the store holds the only reference to it.
            store.hit("".join(key), 60)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held <= peak < 32 * 2**20
    assert store.hit(keys[0], 60).count == 2
    assert store.hit("another", 60).count == 100_000 - 65_536 + 1


def test_expired_windows_leave_nothing_behind(clock):
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


@pytest.mark.threads
def test_a_fork_during_another_threads_call_leaves_a_working_store(run_python):
    run_python(FORK)


class Interrupting(dict):
    """A dictionary whose assignments interrupt the caller, as a fork does in the child."""

    interrupts = False

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        if self.interrupts:
            raise SystemExit


def test_a_write_interrupted_by_a_fork_is_completed_in_the_child(store, clock):
    store.set("claim", {"a": 1}, 60)
    store._values = values = Interrupting(store._values)
    values.interrupts = True
    store._value_lock.acquire()
    for key in ("claim", "other"):
        with pytest.raises(SystemExit):
            store._put(key, '{"a":22}', 30, clock.now)
    store.renew_locks()
    values.interrupts = False
    assert store.get("claim") == {"a": 22}
    assert store._bytes == len("claim") + len("other") + 2 * len('{"a":22}')
    clock.now += 30
    store.set("third", {}, 60)
    assert set(store._values) == {"third"}
    assert store._bytes == len("third{}")


# Construction


def test_the_process_that_created_it_is_recorded(store):
    assert store.pid == os.getpid()


@pytest.mark.parametrize("bound", [0, -1, True, 1.5, "4", None])
def test_invalid_bounds_are_rejected(bound):
    with pytest.raises(ValueError, match="max_keys"):
        MemoryStore(max_keys=bound)
    with pytest.raises(ValueError, match="max_bytes"):
        MemoryStore(max_bytes=bound)


def test_the_default_clock_is_real():
    store = MemoryStore()
    assert store.hit("a", 3600).count == 1
    second = store.hit("a", 3600)
    assert second.count == 2
    assert 3500 < second.seconds_left <= 3600
