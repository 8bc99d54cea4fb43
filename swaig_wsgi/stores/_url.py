"""Stores by URL."""

from __future__ import annotations

from ..core.store_urls import check_store_url, sqlite_path
from ._base import Store
from .memory import MemoryStore
from .redis import RedisStore
from .sqlite import SQLiteStore


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
        return SQLiteStore(sqlite_path(url))
    return RedisStore(url)
