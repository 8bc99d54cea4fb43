"""The store that a URL chooses."""

from __future__ import annotations

from ..core.store_urls import check_store_url, sqlite_path
from ._base import Store
from .memory import MemoryStore
from .redis import RedisStore
from .sqlite import SQLiteStore


def open_store(url: str) -> Store:
    """Return the store that `url` chooses; nothing is connected to or opened before it is used.

    The forms of `url` are those of :func:`~swaig_wsgi.core.store_urls.check_store_url`.

    Raises:
        ValueError: `url` chooses none. The text holds nothing of the URL.
        ImportError: it is one of Redis, and the package ``redis`` is not installed.
    """
    check_store_url(url)
    if url.startswith("memory:"):
        return MemoryStore()
    if url.startswith("sqlite:"):
        return SQLiteStore(sqlite_path(url))
    return RedisStore(url)
