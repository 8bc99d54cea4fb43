"""A view of a store, for one of several applications that share it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ._base import Count, Store, StoreLocation


class ScopedStore:
    """A store whose keys, in the store that it wraps, carry a scope.

    Views with equal scopes share their state; no key of another view, whatever its name, is theirs.

    Args:
        base: the store that keeps the state.
        scope: the name of the application.
    """

    def __init__(self, base: Store, scope: str) -> None:
        #: The store that keeps the state.
        self.base = base
        #: The location of `base`: a rate limit around and inside a scope counts a request once.
        self.place: StoreLocation | None = getattr(base, "place", None)
        #: What keys begin with in `base`. The quotes end the scope: no scope is the beginning of
        #: another.
        self.prefix = f"agent:{json.dumps(scope)}:"

    def hit(self, key: str, window: float) -> Count:
        """Count `key` once; see :meth:`Store.hit`."""
        return self.base.hit(self.prefix + key, window)

    @property
    def peek(self) -> Callable[[str], Count | None] | None:
        """The method `peek` of `base` (see :class:`Store`), or None if it has none."""
        peek = getattr(self.base, "peek", None)
        return None if peek is None else lambda key: peek(self.prefix + key)

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the value of `key`; see :meth:`Store.get`."""
        return self.base.get(self.prefix + key)

    def set(self, key: str, value: Mapping[str, Any], ttl: float) -> None:
        """Replace the value of `key`; see :meth:`Store.set`."""
        self.base.set(self.prefix + key, value, ttl)

    def merge(self, key: str, value: Mapping[str, Any], ttl: float) -> dict[str, Any]:
        """Update the value of `key`; see :meth:`Store.merge`."""
        return self.base.merge(self.prefix + key, value, ttl)

    def delete(self, key: str) -> bool:
        """Remove `key`; see :meth:`Store.delete`."""
        return self.base.delete(self.prefix + key)

    def add(self, key: str, value: Mapping[str, Any], ttl: float) -> bool:
        """Claim `key`; see :meth:`Store.add`."""
        return self.base.add(self.prefix + key, value, ttl)

    def replace_if(self, key: str, owner: str, value: Mapping[str, Any], ttl: float) -> bool:
        """Replace the value of `owner`; see :meth:`Store.replace_if`."""
        return self.base.replace_if(self.prefix + key, owner, value, ttl)

    def close(self) -> None:
        """Close `base`; see :meth:`Store.close`."""
        self.base.close()
