"""The values of a memory store: time to live, claims, a full store."""

from __future__ import annotations

import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.clock import Clock

from swaig_wsgi.stores._base import MAX_VALUE_BYTES, StoreError
from swaig_wsgi.stores.memory import MemoryStore


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    return MemoryStore(max_keys=4, max_bytes=400, clock=clock)


def test_a_value_lives_for_its_time(store, clock):
    store.set("a", {"n": 1}, 60)
    clock.now += 59.9
    assert store.get("a") == {"n": 1}
    clock.now += 0.1
    assert store.get("a") is None
    assert store.delete("a") is False


def test_set_replaces_value_and_time(store, clock):
    store.set("a", {"n": 1}, 60)
    store.set("a", {"m": 2}, 10)
    assert store.get("a") == {"m": 2}
    clock.now += 10
    assert store.get("a") is None


def test_merge_updates_renews_and_returns_the_whole(store, clock):
    assert store.merge("a", {"n": 1, "m": {"x": 1}}, 60) == {"n": 1, "m": {"x": 1}}
    clock.now += 50
    assert store.merge("a", {"m": {"y": 2}}, 60) == {"n": 1, "m": {"y": 2}}
    clock.now += 50
    assert store.get("a") == {"n": 1, "m": {"y": 2}}
    clock.now += 10
    assert store.merge("a", {"z": 3}, 60) == {"z": 3}


def test_delete_tells_whether_there_was_a_value(store):
    store.set("a", {}, 60)
    assert store.delete("a") is True
    assert store.delete("a") is False
    assert store.get("a") is None


def test_a_claim_is_won_once_until_it_expires(store, clock):
    assert store.add("transfer", {"by": 1}, 60) is True
    assert store.add("transfer", {"by": 2}, 60) is False
    assert store.get("transfer") == {"by": 1}
    clock.now += 60
    assert store.add("transfer", {"by": 3}, 60) is True
    assert store.delete("transfer") is True
    assert store.add("transfer", {"by": 4}, 60) is True


def test_of_many_threads_one_wins_a_claim():
    store = MemoryStore()
    start = threading.Barrier(8)
    won = []

    def claim(by):
        start.wait()
        won.extend(key for key in range(200) if store.add(str(key), {"by": by}, 3600))

    threads = [threading.Thread(target=claim, args=(by,)) for by in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(200))


def test_merges_of_many_threads_lose_nothing():
    store = MemoryStore()
    start = threading.Barrier(8)

    def merge(by):
        start.wait()
        for n in range(50):
            store.merge("a", {f"{by}.{n}": n}, 3600)

    threads = [threading.Thread(target=merge, args=(by,)) for by in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.get("a")) == 400


def test_counters_and_values_of_one_key_never_meet(store):
    store.hit("a", 60)
    assert store.get("a") is None
    assert store.add("a", {}, 60) is True
    assert store.delete("a") is True
    assert store.hit("a", 60).count == 2


def test_nobody_shares_an_object_with_the_store(store):
    given = {"list": [1]}
    store.set("a", given, 60)
    given["list"].append("after set")
    store.get("a")["list"].append("after get")
    merged = store.merge("a", {"other": given}, 60)
    merged["list"].append("after merge")
    given["list"].append("after merge")
    assert store.get("a") == {"list": [1], "other": {"list": [1, "after set"]}}


BAD_VALUES = [
    ([1], TypeError),
    (None, TypeError),
    ({1: "a"}, TypeError),
    ({"a": object()}, TypeError),
    ({"a": b"x"}, TypeError),
    ({"a": float("nan")}, ValueError),
    ({"a": float("inf")}, ValueError),
    ({"a": "x" * MAX_VALUE_BYTES}, ValueError),
]


@pytest.mark.parametrize(("value", "error"), BAD_VALUES)
@pytest.mark.parametrize("method", ["set", "merge", "add"])
def test_what_json_cannot_say_is_refused_and_changes_nothing(store, method, value, error):
    store.set("a", {"n": 1}, 60)
    for key in ("a", "b"):
        with pytest.raises(error):
            getattr(store, method)(key, value, 60)
    assert store.get("a") == {"n": 1}
    assert store.get("b") is None


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), None])
@pytest.mark.parametrize("method", ["set", "merge", "add"])
def test_a_time_to_live_that_is_none_is_refused(store, method, ttl):
    with pytest.raises(ValueError, match="ttl"):
        getattr(store, method)("a", {}, ttl)
    assert store.get("a") is None


def test_a_merge_cannot_grow_a_value_over_its_bound(clock):
    store = MemoryStore(clock=clock)
    store.set("a", {"n": "x" * 60_000}, 60)
    with pytest.raises(ValueError, match="65536"):
        store.merge("a", {"m": "x" * 10_000}, 60)
    assert store.get("a") == {"n": "x" * 60_000}


# A full store


@pytest.mark.parametrize("method", ["set", "merge", "add"])
def test_a_full_store_says_so_and_keeps_what_it_holds(store, method):
    for n in range(4):
        assert store.add(f"claim{n}", {"n": n}, 60)
    with pytest.raises(StoreError, match="full"):
        getattr(store, method)("more", {}, 60)
    assert [store.get(f"claim{n}") for n in range(4)] == [{"n": n} for n in range(4)]
    assert store.get("more") is None
    # What is there can still change and go.
    store.set("claim0", {"n": "changed"}, 60)
    assert store.add("claim1", {}, 60) is False
    store.delete("claim2")
    getattr(store, method)("more", {}, 60)


def test_a_flood_of_claims_never_frees_a_live_one(store):
    assert store.add("transfer", {}, 60)
    refused = 0
    for n in range(1000):
        try:
            store.add(f"flood{n}", {}, 1)
        except StoreError:
            refused += 1
    assert refused == 997
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


def test_bytes_are_bounded_and_given_back(store):
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


def test_a_renewed_value_outlives_its_first_time(store, clock):
    store.set("a", {}, 10)
    store.merge("a", {"n": 1}, 100)
    clock.now += 50
    for n in range(3):
        store.set(f"other{n}", {}, 1000)
    assert store.get("a") == {"n": 1}
    clock.now += 50
    store.set("room", {}, 10)
    assert store.get("a") is None


def test_setting_and_deleting_without_end_holds_no_more_memory(clock):
    store = MemoryStore(clock=clock)
    for n in range(1000):
        store.set(f"key{n}", {}, 3600)
        store.delete(f"key{n}")
        store.set("same", {}, 3600 - n)
    assert len(store._expiries) <= 2 * 2 + 64
    assert store._bytes == len("same{}")


class Model(RuleBasedStateMachine):
    """The store against a model that is too simple to be wrong."""

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
