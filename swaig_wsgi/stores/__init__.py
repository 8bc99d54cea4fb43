"""Shared state behind one small interface: in memory, in an SQLite file, in Redis."""

from .base import Count, Store, StoreError
from .memory import MemoryStore
from .redis import RedisStore
from .sqlite import SQLiteStore
from .url import open_store

__all__ = [
    "Count",
    "MemoryStore",
    "RedisStore",
    "SQLiteStore",
    "Store",
    "StoreError",
    "open_store",
]
