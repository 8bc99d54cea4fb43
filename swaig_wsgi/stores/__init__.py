"""Shared state behind one small interface: in memory, in an SQLite file, in Redis."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..core.store_urls import check_store_url, sqlite_path
from ._base import Count, Store, StoreError
from .memory import MemoryStore

if TYPE_CHECKING:
    from .redis import RedisStore
    from .sqlite import SQLiteStore

__all__ = ["Count", "MemoryStore", "RedisStore", "SQLiteStore", "Store", "StoreError", "open_store"]


def open_store(url: str) -> Store:
    """Return the store that `url` names; it connects or opens its file when first used.

    Args:
        url: as described by :func:`~swaig_wsgi.core.store_urls.check_store_url`.

    Raises:
        ValueError: `url` is invalid. The message contains no part of it.
        ImportError: it names a Redis store, and the package ``redis`` is not installed.
    """
    check_store_url(url)
    if url.startswith("memory:"):
        return MemoryStore()
    if url.startswith("sqlite:"):
        from .sqlite import SQLiteStore

        return SQLiteStore(sqlite_path(url))
    from .redis import RedisStore

    return RedisStore(url)


# Imported when they are first used, with sqlite3 and the like: most processes use one store.
_HOMES = {"RedisStore": ".redis", "SQLiteStore": ".sqlite"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name], __name__), name)
    return value
