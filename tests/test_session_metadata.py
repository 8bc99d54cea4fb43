from __future__ import annotations

import pytest
from support.clock import Clock

from swaig_wsgi.sessions import SessionManager
from swaig_wsgi.stores._base import StoreError
from swaig_wsgi.stores.memory import MemoryStore

SECRET = "a shared secret of the operators"


@pytest.fixture
def sessions():
    return SessionManager(secret_key=SECRET)


def test_metadata_is_merged(sessions):
    assert sessions.get_session_metadata("s") == {}
    sessions.set_session_metadata("s", {"a": 1, "b": {"c": 1}})
    sessions.set_session_metadata("s", {"b": {"d": 2}})
    assert sessions.get_session_metadata("s") == {"a": 1, "b": {"d": 2}}
    assert sessions.get_session_metadata("other") == {}


def test_metadata_can_be_forgotten(sessions):
    assert sessions.delete_session_metadata("s") is False
    sessions.set_session_metadata("s", {"a": 1})
    assert sessions.delete_session_metadata("s") is True
    assert sessions.get_session_metadata("s") == {}
    assert sessions.delete_session_metadata("s") is False


def test_metadata_lives_as_long_as_a_token_after_its_last_change():
    clock = Clock()
    sessions = SessionManager(60, SECRET, store=MemoryStore(clock=clock))
    sessions.set_session_metadata("s", {"a": 1})
    clock.now += 50
    sessions.set_session_metadata("s", {"b": 2})
    clock.now += 59
    assert sessions.get_session_metadata("s") == {"a": 1, "b": 2}
    clock.now += 1
    assert sessions.get_session_metadata("s") == {}


def test_metadata_is_a_copy(sessions):
    given_ = {"a": [1]}
    sessions.set_session_metadata("s", given_)
    given_["a"].append(2)
    sessions.get_session_metadata("s")["a"].append(3)
    assert sessions.get_session_metadata("s") == {"a": [1]}


def test_metadata_keeps_out_of_the_way_of_other_values():
    store = MemoryStore()
    store.set("s", {"mine": True}, 60)
    sessions = SessionManager(store=store)
    assert sessions.get_session_metadata("s") == {}
    sessions.set_session_metadata("s", {"a": 1})
    assert store.get("s") == {"mine": True}
    assert store.get("meta:s") == {"a": 1}


def test_managers_share_metadata_through_a_store():
    store = MemoryStore()
    SessionManager(store=store).set_session_metadata("s", {"a": 1})
    assert SessionManager(store=store).get_session_metadata("s") == {"a": 1}
    assert SessionManager().get_session_metadata("s") == {}


@pytest.mark.parametrize("session_id", ["", None, 1, b"s", ["s"]])
def test_session_ids_that_are_none(sessions, session_id):
    for method, args in (
        (sessions.set_session_metadata, ({"a": 1},)),
        (sessions.get_session_metadata, ()),
        (sessions.delete_session_metadata, ()),
    ):
        with pytest.raises(ValueError, match="session id"):
            method(session_id, *args)


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        (None, TypeError),
        ([("a", 1)], TypeError),
        ("a", TypeError),
        ({1: "a"}, TypeError),
        ({"a": object()}, TypeError),
        ({"a": b"bytes"}, TypeError),
        ({"a": float("nan")}, ValueError),
        ({"a": float("inf")}, ValueError),
        ({"a": "x" * 1_000_000}, ValueError),
    ],
)
def test_metadata_that_is_none(sessions, metadata, error):
    sessions.set_session_metadata("s", {"a": 1})
    with pytest.raises(error):
        sessions.set_session_metadata("s", metadata)
    assert sessions.get_session_metadata("s") == {"a": 1}


def test_a_store_that_fails_is_not_hidden():
    class Broken(MemoryStore):
        def merge(self, key, value, ttl):
            raise StoreError("down")

        def get(self, key):
            raise StoreError("down")

        def delete(self, key):
            raise StoreError("down")

    sessions = SessionManager(store=Broken())
    with pytest.raises(StoreError):
        sessions.set_session_metadata("s", {})
    with pytest.raises(StoreError):
        sessions.get_session_metadata("s")
    with pytest.raises(StoreError):
        sessions.delete_session_metadata("s")
