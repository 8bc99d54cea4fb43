"""Stores by URL."""

from __future__ import annotations

import os
import shutil

import pytest

import swaig_wsgi.stores
from swaig_wsgi.stores import MemoryStore, RedisStore, SQLiteStore, open_store


def test_memory_stores_are_separate():
    first, second = open_store("memory://"), open_store("memory://")
    assert isinstance(first, MemoryStore)
    first.hit("key", 60)
    assert second.hit("key", 60).count == 1


def test_sqlite_paths_may_be_relative_or_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative, absolute = open_store("sqlite:///a b.db"), open_store(f"sqlite:///{tmp_path}/a b.db")
    assert isinstance(relative, SQLiteStore)
    assert relative.path == absolute.path == str(tmp_path / "a b.db")
    assert not os.path.exists(relative.path)
    assert relative.hit("key", 60).count == 1
    assert absolute.hit("key", 60).count == 2
    relative.close()
    absolute.close()


def test_sqlite_without_a_path_is_a_private_file():
    store = open_store("sqlite://")
    assert isinstance(store, SQLiteStore)
    assert store.hit("key", 60).count == 1
    store.close()
    shutil.rmtree(os.path.dirname(store.path))


def test_redis_urls_may_have_a_prefix(valkey):
    store = open_store(f"{valkey.url}?prefix=url:")
    assert isinstance(store, RedisStore)
    assert store.add("key", {}, 60) is True
    assert store.delete("key") is True
    store.close()


@pytest.mark.installed
def test_stores_connect_only_when_used():
    for url in ("redis://127.0.0.1:1", "rediss://127.0.0.1:1", "unix:///missing.sock"):
        assert isinstance(open_store(url), RedisStore)


def test_rejects_other_urls_without_repeating_them():
    with pytest.raises(ValueError, match="expected") as caught:
        open_store("postgres://user:hunter2@host/")
    assert "hunter2" not in str(caught.value)


def test_the_package_exports_its_public_names():
    assert sorted(swaig_wsgi.stores.__all__) == [
        "Count",
        "MemoryStore",
        "RedisStore",
        "SQLiteStore",
        "Store",
        "StoreError",
        "open_store",
    ]
    assert all(hasattr(swaig_wsgi.stores, name) for name in swaig_wsgi.stores.__all__)
