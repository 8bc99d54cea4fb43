"""Metadata of sessions."""

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


def test_metadata_can_be_deleted(sessions):
    assert sessions.delete_session_metadata("s") is False
    sessions.set_session_metadata("s", {"a": 1})
    assert sessions.delete_session_metadata("s") is True
    assert sessions.get_session_metadata("s") == {}
    assert sessions.delete_session_metadata("s") is False


def test_metadata_expires_a_token_lifetime_after_its_last_change():
    clock = Clock()
    sessions = SessionManager(60, SECRET, store=MemoryStore(clock=clock))
    sessions.set_session_metadata("s", {"a": 1})
    clock.now += 50
    sessions.set_session_metadata("s", {"b": 2})
    clock.now += 59
    assert sessions.get_session_metadata("s") == {"a": 1, "b": 2}
    clock.now += 1
    assert sessions.get_session_metadata("s") == {}


def test_metadata_does_not_collide_with_other_values():
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
def test_invalid_session_ids_are_rejected(sessions, session_id):
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
        ({"a": object()}, TypeError),
        ({"a": float("nan")}, ValueError),
        ({"a": "x" * 1_000_000}, ValueError),
    ],
)
def test_invalid_metadata_is_rejected_and_changes_nothing(sessions, metadata, error):
    sessions.set_session_metadata("s", {"a": 1})
    with pytest.raises(error):
        sessions.set_session_metadata("s", metadata)
    assert sessions.get_session_metadata("s") == {"a": 1}


def test_errors_of_a_failing_store_propagate():
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
