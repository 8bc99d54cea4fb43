"""The interface that every store offers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

#: The most bytes that one value takes as JSON text. It bounds what a caller who chooses the
#: members of a value can make a store hold under one key.
MAX_VALUE_BYTES = 65_536

# Some three hundred years: in milliseconds, and added to the time, it still fits every store.
_MAX_SECONDS = 10**10

_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


class StoreError(Exception):
    """A store could not be reached or could not do what was asked; nothing was changed."""


class Count(NamedTuple):
    """What :meth:`Store.hit` counted."""

    #: How often the key was counted in its window, this time included.
    count: int  # type: ignore[assignment]  # hides tuple.count()
    #: Seconds until the window ends; more than 0, at most the window.
    seconds_left: float


@dataclass(frozen=True)
class Place:
    """Where a store keeps its state: stores at equal places count in the same counters."""

    #: May hold a password, so nothing shows it.
    url: str = field(repr=False)


class Store(Protocol):
    """Shared state: counters, small JSON values with a time to live, and claims.

    Every operation is atomic, and each raises :class:`StoreError` when it could not be done.
    Keys are any text, times are seconds. Counters and values are apart: a counter and a value of
    the same key never meet.

    Before anything is changed, TypeError is raised for a value that is not a mapping with text as
    names or that JSON cannot say, and ValueError for NaN and the infinities, for a value that would
    be longer than :data:`MAX_VALUE_BYTES` (merged with what is there, for `merge`), and for a
    window or time to live that is not a positive number.

    A store whose state other objects share, too, may tell so by an attribute `place`, a
    :class:`Place`.
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


def encode_members(value: Mapping[str, Any]) -> dict[str, str]:
    """Return the members of a value, names and values both as JSON text, in ASCII.

    Raises:
        TypeError: `value` is not a mapping with text as names, or JSON cannot say what it holds.
        ValueError: it holds NaN, an infinity or itself, is nested too deeply, or its JSON text is
            longer than :data:`MAX_VALUE_BYTES`.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"a stored value must be a mapping, not {type(value).__name__}")
    if not all(isinstance(name, str) for name in value):
        raise TypeError("the names in a stored value must be text")
    encode = _ENCODER.encode
    try:
        members = {encode(name): encode(member) for name, member in value.items()}
    except RecursionError:
        raise ValueError("a stored value must not be nested so deeply") from None
    # Braces, a colon for each member, and a comma between two.
    size = 2 + max(0, sum(len(name) + len(text) + 2 for name, text in members.items()) - 1)
    if size > MAX_VALUE_BYTES:
        raise too_large()
    return members


def join_members(members: Mapping[str, str]) -> str:
    """Return the JSON object that consists of `members`, as :func:`encode_members` gives them."""
    return "{" + ",".join(f"{name}:{text}" for name, text in members.items()) + "}"


def encode_value(value: Mapping[str, Any]) -> str:
    """Return `value` as JSON text in ASCII. Raises like :func:`encode_members`."""
    return join_members(encode_members(value))


def decode_value(text: str) -> dict[str, Any]:
    """Return what :func:`encode_value` encoded.

    Raises:
        StoreError: `text` is not a JSON object, so something else wrote it.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise StoreError("the store holds something else than a JSON object")
    return value


def too_large() -> ValueError:
    """Return the error for a value that is too large."""
    return ValueError(f"a stored value must not be longer than {MAX_VALUE_BYTES} bytes of JSON")


def check_seconds(name: str, seconds: float) -> None:
    """Refuse a window or a time to live that is none.

    Raises:
        ValueError: `seconds` is not a positive number, or is longer than any store can count.
    """
    if not (isinstance(seconds, (int, float)) and 0 < seconds <= _MAX_SECONDS):
        raise ValueError(f"{name} must be a positive number of seconds, not {seconds!r}")
