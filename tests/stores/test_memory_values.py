"""Values of a memory store: a full store, bounded memory, and a model."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.clock import Clock

from swaig_wsgi.stores._base import StoreError
from swaig_wsgi.stores.memory import MemoryStore


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    return MemoryStore(max_keys=4, max_bytes=400, clock=clock)


@pytest.mark.parametrize("method", ["set", "merge", "add"])
def test_a_full_store_raises_and_keeps_its_values(store, method):
    for n in range(4):
        assert store.add(f"claim{n}", {"n": n}, 60)
    with pytest.raises(StoreError, match="full"):
        getattr(store, method)("more", {}, 60)
    assert [store.get(f"claim{n}") for n in range(4)] == [{"n": n} for n in range(4)]
    assert store.get("more") is None
    # Existing values can still be changed and deleted.
    store.set("claim0", {"n": "changed"}, 60)
    assert store.add("claim1", {}, 60) is False
    store.delete("claim2")
    getattr(store, method)("more", {}, 60)


def test_a_flood_of_claims_never_frees_a_live_one(store):
    assert store.add("transfer", {}, 60)
    rejected = 0
    for n in range(1000):
        try:
            store.add(f"flood{n}", {}, 1)
        except StoreError:
            rejected += 1
    assert rejected == 997
    assert store.add("transfer", {}, 60) is False


def test_expired_values_make_room(store, clock):
    for n in range(4):
        store.set(f"old{n}", {}, 10)
    clock.now += 10
    for n in range(4):
        store.set(f"new{n}", {}, 10)
    assert store.get("new0") == {}


def test_many_expired_values_make_room_for_a_large_one(clock):
    store = MemoryStore(max_keys=100, max_bytes=400, clock=clock)
    for n in range(40):
        store.set(f"old{n}", {}, 10)
    clock.now += 10
    store.set("large", {"x": "x" * 380}, 10)
    assert store.get("large") == {"x": "x" * 380}


def test_bytes_are_bounded_and_freed(store):
    store.set("a", {"x": "x" * 300}, 60)
    with pytest.raises(StoreError, match="full"):
        store.set("b", {"x": "x" * 100}, 60)
    with pytest.raises(StoreError, match="full"):
        store.merge("a", {"y": "x" * 100}, 60)
    assert store.get("a") == {"x": "x" * 300}
    store.set("a", {"x": ""}, 60)
    store.set("b", {"x": "x" * 300}, 60)
    store.delete("b")
    store.set("c", {"x": "x" * 300}, 60)


def test_a_renewed_value_outlives_its_first_ttl(store, clock):
    store.set("a", {}, 10)
    store.merge("a", {"n": 1}, 100)
    clock.now += 50
    for n in range(3):
        store.set(f"other{n}", {}, 1000)
    assert store.get("a") == {"n": 1}
    clock.now += 50
    store.set("room", {}, 10)
    assert store.get("a") is None


def test_setting_and_deleting_forever_does_not_grow_memory(clock):
    store = MemoryStore(clock=clock)
    for n in range(1000):
        store.set(f"key{n}", {}, 3600)
        store.delete(f"key{n}")
        store.set("same", {}, 3600 - n)
    assert len(store._expiries) <= 2 * 2 + 64
    assert store._bytes == len("same{}")


class Model(RuleBasedStateMachine):
    """Compares the store with a dictionary."""

    keys = st.sampled_from("abcdef")
    times = st.sampled_from([1, 5, 20])

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.store = MemoryStore(max_keys=4, clock=self.clock)
        self.values = {}

    def live(self):
        return {k: v for k, (v, expiry) in self.values.items() if expiry > self.clock.now}

    def write(self, key, value, ttl, call):
        full = key not in self.live() and len(self.live()) >= 4
        if full:
            with pytest.raises(StoreError):
                call()
            return None
        self.values[key] = (value, self.clock.now + ttl)
        return call()

    @rule(key=keys, n=st.integers(0, 9), ttl=times)
    def set(self, key, n, ttl):
        self.write(key, {"n": n}, ttl, lambda: self.store.set(key, {"n": n}, ttl))

    @rule(key=keys, name=st.sampled_from("nm"), ttl=times)
    def merge(self, key, name, ttl):
        merged = {**self.live().get(key, {}), name: 0}
        result = self.write(key, merged, ttl, lambda: self.store.merge(key, {name: 0}, ttl))
        assert result in (None, merged)

    @rule(key=keys, ttl=times)
    def add(self, key, ttl):
        if key in self.live():
            assert self.store.add(key, {}, ttl) is False
        else:
            assert self.write(key, {}, ttl, lambda: self.store.add(key, {}, ttl)) in (None, True)

    @rule(key=keys)
    def delete(self, key):
        assert self.store.delete(key) == (key in self.live())
        self.values.pop(key, None)

    @rule(seconds=st.sampled_from([0.5, 1, 4, 19]))
    def wait(self, seconds):
        self.clock.now += seconds

    @invariant()
    def same(self):
        live = self.live()
        assert {key: self.store.get(key) for key in "abcdef"} == {k: live.get(k) for k in "abcdef"}


Model.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestModel = Model.TestCase
