"""The interface of stores, tested with each of them, and their common helpers."""

from __future__ import annotations

import json
import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.stores._base import (
    MAX_VALUE_BYTES,
    StoreError,
    check_seconds,
    decode_value,
    encode_members,
    encode_value,
)
from swaig_wsgi.stores._scoped import ScopedStore
from swaig_wsgi.stores.memory import MemoryStore

HOUR = 3600.0

ODD_KEYS = [
    "",
    "key",
    "a:b",
    "nul\0inside",
    "new\nline",
    "käse",
    "\ud800",
    "\udcff",
    "\x80",
    "%s*?[a]",
    "k" * 5000,
]
ODD_VALUES = [
    {},
    {"": ""},
    {"a": []},
    {"a": {}},
    {"a": {"b": [{}, [[]]]}},
    {"a": None, "b": True, "c": False},
    {"a": 2**63, "b": -(2**200), "c": 0.1, "d": 1e300, "e": 12345678901234567},
    {"a": "\ud800", "\udfff": "nul\0", 'quote"': "back\\slash", "ü": "\u2028"},
    {str(number): number for number in range(5000)},
]
NOT_VALUES = [None, [], "text", 1, {1: 2}, {b"a": 1}, {"a": b"bytes"}, {"a": object()}, {"a": {1}}]
BAD_SECONDS = [0, -1, -0.5, math.nan, math.inf, -math.inf, 1e300, "1", None]


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return {"a": value}


def writes(store):
    """Return the methods that store a value, as functions of key, value and TTL."""

    def replace_if(key, value, ttl):
        return store.replace_if(key, "owner", value, ttl)

    return store.set, store.merge, store.add, replace_if


BAD_VALUES = [
    {"a": math.nan},
    {"a": math.inf},
    {"a": "x" * MAX_VALUE_BYTES},
    {"x" * MAX_VALUE_BYTES: 1},
    {str(number): number for number in range(10_000)},
    nested(100_000),
]


def test_counts_a_key_within_its_window(kit):
    counts = [kit.store.hit("key", HOUR) for _ in range(5)]
    assert [count for count, _ in counts] == [1, 2, 3, 4, 5]
    assert all(0 < count.seconds_left <= HOUR for count in counts)


def test_a_window_starts_with_its_first_hit_and_no_later_hit_prolongs_it(kit):
    kit.store.hit("key", HOUR)
    kit.pass_time(HOUR / 2)
    assert kit.store.hit("key", HOUR).seconds_left <= HOUR / 2
    kit.pass_time(HOUR / 2)
    assert kit.store.hit("key", HOUR).count == 1


def test_peek_returns_the_live_counter_without_counting(kit):
    assert kit.store.peek("key") is None
    for number in (1, 2, 3):
        kit.store.hit("key", HOUR)
        for _ in range(2):
            count = kit.store.peek("key")
            assert count.count == number
            assert 0 < count.seconds_left <= HOUR
    kit.store.set("value", {}, HOUR)
    assert kit.store.peek("value") is None
    kit.pass_time(HOUR / 2)
    assert 0 < kit.store.peek("key").seconds_left <= HOUR / 2
    kit.pass_time(HOUR / 2)
    assert kit.store.peek("key") is None
    assert kit.store.hit("key", HOUR).count == 1


@pytest.mark.parametrize("key", ODD_KEYS)
def test_peek_finds_any_key(store, key):
    store.hit(key, HOUR)
    assert store.peek(key).count == 1
    assert store.peek(key + "x") is None


def test_a_view_of_a_store_peeks_at_its_own_counters_if_the_store_can():
    class Blind(MemoryStore):
        peek = None

    base = MemoryStore()
    view, other = ScopedStore(base, "a"), ScopedStore(base, "b")
    view.hit("key", HOUR)
    assert view.peek("key").count == 1
    assert other.peek("key") is None
    assert ScopedStore(Blind(), "a").peek is None


def test_counts_each_key_separately(store):
    for key in ODD_KEYS:
        assert store.hit(key, HOUR).count == 1
    for key in ODD_KEYS:
        assert store.hit(key, HOUR).count == 2


@pytest.mark.parametrize("seconds", BAD_SECONDS)
def test_rejects_an_invalid_window_or_ttl(store, seconds):
    with pytest.raises(ValueError, match="window"):
        store.hit("key", seconds)
    assert store.hit("key", HOUR).count == 1
    store.set("key", {"a": 1}, HOUR)
    for write in writes(store):
        with pytest.raises(ValueError, match="ttl"):
            write("key", {"b": 2}, seconds)
    assert store.get("key") == {"a": 1}


def test_no_client_waits_longer_than_a_window_that_was_shortened(store):
    store.hit("key", 100 * HOUR)
    count = store.hit("key", HOUR)
    assert count.count == 2
    assert count.seconds_left <= HOUR


def test_a_shortened_window_ends_on_time(kit):
    kit.store.hit("key", HOUR)
    assert kit.store.hit("key", 60).count == 2
    kit.pass_time(59)
    assert kit.store.hit("key", HOUR).count == 3
    kit.pass_time(2)
    assert [kit.store.hit("key", HOUR).count for _ in range(2)] == [1, 2]


def test_the_shortest_window_counts(store):
    count = store.hit("key", 1e-7)
    assert count.count == 1
    assert 0 < count.seconds_left <= 1e-7


@pytest.mark.parametrize("value", ODD_VALUES)
def test_returns_the_value_that_was_set(store, value):
    store.set("key", value, HOUR)
    assert store.get("key") == value
    assert store.merge("merged", value, HOUR) == value
    assert store.get("merged") == value
    assert store.add("added", value, HOUR) is True
    assert store.get("added") == value


def test_keeps_the_value_of_each_key_separately(store):
    for number, key in enumerate(ODD_KEYS):
        store.set(key, {"number": number}, HOUR)
    for number, key in enumerate(ODD_KEYS):
        assert store.get(key) == {"number": number}
        assert store.delete(key) is True


def test_a_missing_value_is_none_and_an_empty_one_is_not(store):
    assert store.get("key") is None
    assert store.delete("key") is False
    store.set("key", {}, HOUR)
    assert store.get("key") == {}
    assert store.delete("key") is True
    assert store.get("key") is None


def test_set_replaces_the_whole_value_and_its_ttl(kit):
    kit.store.set("key", {"a": 1, "b": 2}, HOUR)
    kit.pass_time(HOUR / 2)
    kit.store.set("key", {"b": 3}, HOUR)
    kit.pass_time(HOUR * 0.75)
    assert kit.store.get("key") == {"b": 3}
    kit.pass_time(HOUR / 4)
    assert kit.store.get("key") is None
    assert kit.store.delete("key") is False


def test_merge_updates_members_and_renews_the_ttl(kit):
    assert kit.store.merge("key", {"a": 1, "b": [1]}, HOUR) == {"a": 1, "b": [1]}
    kit.pass_time(HOUR / 2)
    assert kit.store.merge("key", {"b": {}, "c": 3}, HOUR) == {"a": 1, "b": {}, "c": 3}
    kit.pass_time(HOUR * 0.75)
    assert kit.store.merge("key", {}, HOUR) == {"a": 1, "b": {}, "c": 3}
    kit.pass_time(HOUR)
    assert kit.store.merge("key", {"d": 4}, HOUR) == {"d": 4}


def test_merge_keeps_an_empty_value(store):
    assert store.merge("key", {}, HOUR) == {}
    assert store.get("key") == {}


def test_a_claim_is_made_once_until_it_expires(kit):
    assert kit.store.add("key", {"by": 1}, HOUR) is True
    assert kit.store.add("key", {"by": 2}, 10 * HOUR) is False
    assert kit.store.get("key") == {"by": 1}
    kit.pass_time(HOUR)
    assert kit.store.add("key", {"by": 3}, HOUR) is True
    assert kit.store.get("key") == {"by": 3}
    assert kit.store.delete("key") is True
    assert kit.store.add("key", {"by": 4}, HOUR) is True


def test_an_empty_value_is_a_claim(store):
    assert store.add("key", {}, HOUR) is True
    assert store.add("key", {}, HOUR) is False


def test_an_owner_replaces_the_value_and_its_ttl(kit):
    kit.store.add("key", {"owner": "me", "state": 1}, 5)
    kit.pass_time(4)
    assert kit.store.replace_if("key", "me", {"owner": "me", "more": []}, HOUR) is True
    kit.pass_time(HOUR - 1)
    assert kit.store.get("key") == {"owner": "me", "more": []}
    assert kit.store.replace_if("key", "me", {"result": 1}, HOUR) is True
    assert kit.store.replace_if("key", "me", {"owner": "me"}, HOUR) is False
    kit.pass_time(HOUR - 1)
    assert kit.store.get("key") == {"result": 1}
    kit.pass_time(1)
    assert kit.store.get("key") is None


def test_nothing_is_replaced_for_another_owner_or_without_a_value(kit):
    assert kit.store.replace_if("key", "me", {"owner": "me"}, HOUR) is False
    assert kit.store.get("key") is None
    for value in ({}, {"owner": "you"}, {"owner": ["me"]}, {"owner": None}, {"name": "me"}):
        kit.store.set("key", value, HOUR)
        assert kit.store.replace_if("key", "me", {"owner": "me"}, 2 * HOUR) is False
        assert kit.store.get("key") == value
    kit.store.set("key", {"owner": "me"}, HOUR)
    kit.pass_time(HOUR)
    assert kit.store.replace_if("key", "me", {"owner": "me"}, HOUR) is False
    assert kit.store.get("key") is None


@pytest.mark.parametrize("owner", ["", "ü", "\ud800", "nul\0", 'quote"\\', "%s", "o" * 5000])
def test_an_owner_is_any_string(store, owner):
    store.set("key", {"owner": owner}, HOUR)
    assert store.replace_if("key", owner + "x", {}, HOUR) is False
    assert store.replace_if("key", owner, {"owner": 1}, HOUR) is True
    assert store.get("key") == {"owner": 1}


@pytest.mark.parametrize("owner", [None, 1, True, b"me", ["me"]])
def test_rejects_an_owner_that_is_not_a_string_and_changes_nothing(store, owner):
    value = {"owner": None if isinstance(owner, bytes) else owner}
    store.set("key", value, HOUR)
    with pytest.raises(TypeError, match="owner must be a string"):
        store.replace_if("key", owner, {}, HOUR)
    assert store.get("key") == value


@pytest.mark.threads
def test_one_of_many_threads_takes_over_from_an_owner(store):
    store.set("key", {"owner": "0"}, HOUR)
    won = []

    def take_over(index):
        for number in range(20):
            new = {"owner": str(number + 1), "by": index}
            if store.replace_if("key", str(number), new, HOUR):
                won.append(number)

    in_threads(8, take_over)
    # Each once, whichever thread recorded it first.
    assert sorted(won) == list(range(len(won)))
    assert store.get("key")["owner"] == str(len(won))


def test_counters_and_values_have_separate_namespaces(store):
    store.hit("key", HOUR)
    assert store.get("key") is None
    assert store.add("key", {"a": 1}, HOUR) is True
    assert store.hit("key", HOUR).count == 2
    assert store.delete("key") is True
    assert store.hit("key", HOUR).count == 3


def test_changes_of_passed_and_returned_objects_do_not_reach_the_store(store):
    inner = ["a"]
    store.set("key", {"list": inner}, HOUR)
    inner.append("b")
    store.get("key")["list"].append("c")
    store.merge("key", {}, HOUR)["list"].append("d")
    assert store.get("key") == {"list": ["a"]}


@pytest.mark.parametrize("value", NOT_VALUES)
def test_rejects_a_value_that_is_not_a_json_object_and_changes_nothing(store, value):
    store.set("key", {"a": 1}, HOUR)
    for write in writes(store):
        with pytest.raises(TypeError):
            write("key", value, HOUR)
        with pytest.raises(TypeError):
            write("other", value, HOUR)
    assert store.get("key") == {"a": 1}
    assert store.get("other") is None


@pytest.mark.parametrize("value", BAD_VALUES, ids=range(len(BAD_VALUES)))
def test_rejects_a_value_out_of_bounds_and_changes_nothing(store, value):
    store.set("key", {"a": 1}, HOUR)
    for write in writes(store):
        with pytest.raises(ValueError, match=r"stored value|JSON"):
            write("key", value, HOUR)
        with pytest.raises(ValueError, match=r"stored value|JSON"):
            write("other", value, HOUR)
    assert store.get("key") == {"a": 1}
    assert store.get("other") is None


def test_merges_cannot_exceed_the_maximum_size(store):
    piece = "x" * (MAX_VALUE_BYTES // 2 - len('"a":"",') - 1)
    store.merge("key", {"a": piece}, HOUR)
    full = store.merge("key", {"b": piece}, HOUR)
    assert len(json.dumps(full, separators=(",", ":"))) in (MAX_VALUE_BYTES - 1, MAX_VALUE_BYTES)
    for more in ({"c": 1}, {"a": piece + "xx"}):
        with pytest.raises(ValueError, match="longer"):
            store.merge("key", more, HOUR)
    assert store.get("key") == full
    assert store.merge("key", {"a": "", "c": 1}, HOUR) == {"a": "", "b": piece, "c": 1}


def test_works_again_after_close(store):
    assert store.hit("key", HOUR).count == 1
    store.set("key", {"a": 1}, HOUR)
    store.close()
    store.close()
    assert store.hit("key", HOUR).count == 2
    assert store.get("key") == {"a": 1}


def in_threads(number, work):
    threads = [threading.Thread(target=work, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.threads
def test_threads_count_exactly(store):
    seen = []
    in_threads(8, lambda _: seen.extend(store.hit("key", HOUR).count for _ in range(25)))
    assert sorted(seen) == list(range(1, 201))


@pytest.mark.threads
def test_concurrent_merges_lose_no_member(store):
    in_threads(8, lambda index: [store.merge("key", {f"{index}.{n}": n}, HOUR) for n in range(10)])
    assert store.get("key") == {f"{index}.{n}": n for index in range(8) for n in range(10)}


@pytest.mark.threads
def test_one_of_many_threads_makes_the_claim(store):
    won = []

    def claim(index):
        for number in range(20):
            if store.add(f"key{number}", {"by": index}, HOUR):
                won.append(number)

    in_threads(8, claim)
    assert sorted(won) == list(range(20))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(categories=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
json_objects = st.dictionaries(st.text(st.characters(categories=None)), json_values)


@given(json_objects)
def test_encoding_is_compact_json_and_decoding_reverses_it(value):
    text = encode_value(value)
    assert text.isascii()
    assert decode_value(text) == value
    assert text == json.dumps(value, separators=(",", ":"))


@given(json_objects, json_objects)
def test_each_member_has_one_encoding(first, second):
    members = {**encode_members(first), **encode_members(second)}
    assert len(members) == len({**first, **second})


def test_the_maximum_size_is_exact():
    encode_value({"a": "x" * (MAX_VALUE_BYTES - len('{"a":""}'))})
    with pytest.raises(ValueError, match="longer"):
        encode_value({"a": "x" * (MAX_VALUE_BYTES - len('{"a":""}') + 1)})


@pytest.mark.parametrize("text", ["", "[]", "1", "null", "{", '{"a":1}x', "[" * 100_000])
def test_decoding_other_text_is_a_store_error(text):
    with pytest.raises(StoreError):
        decode_value(text)


def test_the_error_about_seconds_names_the_argument_and_its_value():
    with pytest.raises(ValueError, match="ttl must be a positive number of seconds, not -1"):
        check_seconds("ttl", -1)
    check_seconds("ttl", 10**10)
