"""The interface that every store offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol


class StoreError(Exception):
    """A store could not be reached or could not do what was asked; nothing was changed."""


class Count(NamedTuple):
    """What :meth:`Store.hit` counted."""

    #: How often the key was counted in its window, this time included.
    count: int
    #: Seconds until the window ends; more than 0, at most the window.
    seconds_left: float


class Store(Protocol):
    """Shared state: counters, small JSON values with a time to live, and claims.

    Every operation is atomic, and each raises :class:`StoreError` when it could not be done.
    Keys are text, times are seconds.
    """

    def hit(self, key: str, window: float) -> Count:
        """Count `key` once in a fixed window that starts with its first hit."""

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the value of `key`, or None when it has none or it expired."""

    def set(self, key: str, value: Mapping[str, Any], ttl: float) -> None:
        """Replace the value of `key` with a JSON object that lives for `ttl` seconds."""

    def merge(self, key: str, value: Mapping[str, Any], ttl: float) -> dict[str, Any]:
        """Update the members of `key` by those of `value`, renew its time, return the whole."""

    def delete(self, key: str) -> bool:
        """Remove `key`, and tell whether it was there."""

    def add(self, key: str, value: Mapping[str, Any], ttl: float) -> bool:
        """Set `key` only if it has no value, and tell whether it was this call that set it."""

    def close(self) -> None:
        """Let go of files and connections. The store opens them again when used again."""
