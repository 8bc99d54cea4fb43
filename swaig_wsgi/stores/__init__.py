"""Shared state behind one small interface: in memory, in an SQLite file, in Redis."""

from ._base import Count, Store, StoreError
from ._url import open_store
from .memory import MemoryStore
from .redis import RedisStore
from .sqlite import SQLiteStore

__all__ = ["Count", "MemoryStore", "RedisStore", "SQLiteStore", "Store", "StoreError", "open_store"]
