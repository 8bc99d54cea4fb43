"""The interface of every store, and the JSON encoding of values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ..core._validation import ArgumentTypeError

#: The maximum size of a value, in bytes of JSON text. It bounds what a client that chooses the
#: members of a value can store under one key.
MAX_VALUE_BYTES = 65_536

# About 300 years. In milliseconds, and added to the current time, it fits every store.
_MAX_SECONDS = 10**10

_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


class StoreError(Exception):
    """A store is unreachable or cannot complete an operation.

    Whether anything was changed is unknown: a server may execute an operation whose reply is lost.

    Args:
        message: for the log.
        cause: tells causes apart, such as ``ReadOnlyError``: each is logged once a minute.
    """

    def __init__(self, message: str = "", *, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause


class StoreBusyError(StoreError):
    """Others of this machine held a lock of the store for too long; the next call may succeed."""


class Count(NamedTuple):
    """The result of :meth:`Store.hit`."""

    #: Hits of the key in its window, including this one.
    count: int  # type: ignore[assignment]  # hides tuple.count()
    #: Seconds until the window ends; more than 0, at most the window.
    seconds_left: float


@dataclass(frozen=True)
class StoreLocation:
    """Where a store keeps its state; stores at equal locations share their counters."""

    #: May contain a password, so the representation omits it.
    url: str = field(repr=False)


@runtime_checkable
class Store(Protocol):
    """Shared state: counters, small JSON values with a TTL, and claims.

    Every operation is atomic, and raises :class:`StoreError` if it fails. Keys are arbitrary
    strings, times are in seconds. Counters and values have separate namespaces, so they may use
    the same keys.

    Before anything is changed, TypeError is raised for a value that is not a mapping with string
    names or is not JSON-serializable, and ValueError for NaN and infinities, for a value longer
    than :data:`MAX_VALUE_BYTES` (after merging, for `merge`), and for a window or TTL that is not
    a positive number.

    A store whose state other objects share may have an attribute `place`, a
    :class:`StoreLocation`.

    A store may also have a method ``peek(key)``, which returns the :class:`Count` of the window in
    which the next hit of `key` would count, without counting, or None if that hit would start one.
    It is optional, so use :func:`getattr`. Without it, a limit on failures learns of those in other
    processes only when it counts one itself.
    """

    def hit(self, key: str, window: float) -> Count:
        """Count `key` once, in a fixed window that starts with its first hit."""

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the value of `key`, or None if there is none or it expired."""

    def set(self, key: str, value: Mapping[str, Any], ttl: float) -> None:
        """Replace the value of `key` with a JSON object that expires after `ttl` seconds."""

    def merge(self, key: str, value: Mapping[str, Any], ttl: float) -> dict[str, Any]:
        """Update the value of `key` with `value`, renew its TTL, and return the merged value."""

    def delete(self, key: str) -> bool:
        """Remove the value of `key`, and return whether there was one."""

    def add(self, key: str, value: Mapping[str, Any], ttl: float) -> bool:
        """Set `key` if it has no value, and return whether this call set it: a claim."""

    def replace_if(self, key: str, owner: str, value: Mapping[str, Any], ttl: float) -> bool:
        """Replace the value of `key` and its TTL if its member ``"owner"`` is the string `owner`.

        Return whether it was replaced: False if there is no value, it has expired, or its owner
        is another one. Raise TypeError also if `owner` is not a string. Only tools with ``once``
        need this method.
        """

    def close(self) -> None:
        """Close files and connections. The next operation opens them again."""


def encode_members(value: Mapping[str, Any]) -> dict[str, str]:
    """Return the members of a value; both names and values are JSON text in ASCII.

    Raises:
        TypeError: `value` is not a mapping with string names, or is not JSON-serializable.
        ValueError: it contains NaN, an infinity or itself, is nested too deeply, or its JSON text
            is longer than :data:`MAX_VALUE_BYTES`.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"a stored value must be a mapping, not {type(value).__name__}")
    if not all(isinstance(name, str) for name in value):
        raise TypeError("the names in a stored value must be strings")
    encode = _ENCODER.encode
    try:
        members = {encode(name): encode(member) for name, member in value.items()}
    except RecursionError:
        raise ValueError("a stored value is nested too deeply") from None
    # Braces, a colon in each member, and commas between members.
    size = 2 + max(0, sum(len(name) + len(text) + 2 for name, text in members.items()) - 1)
    if size > MAX_VALUE_BYTES:
        raise value_too_large()
    return members


def join_members(members: Mapping[str, str]) -> str:
    """Return the JSON object of `members`, the result of :func:`encode_members`."""
    return "{" + ",".join(f"{name}:{text}" for name, text in members.items()) + "}"


def encode_value(value: Mapping[str, Any]) -> str:
    """Return `value` as JSON text in ASCII; raise as :func:`encode_members` does."""
    return join_members(encode_members(value))


def decode_value(text: str) -> dict[str, Any]:
    """Return the value of a text of :func:`encode_value`.

    Raises:
        StoreError: `text` is not a JSON object, so another program wrote it.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise StoreError("the store contains something other than a JSON object")
    return value


def value_too_large() -> ValueError:
    """Return the error for a value longer than :data:`MAX_VALUE_BYTES`."""
    return ValueError(f"a stored value must not be longer than {MAX_VALUE_BYTES} bytes of JSON")


def check_owner(owner: str) -> None:
    """Raise TypeError unless `owner`, an argument of :meth:`Store.replace_if`, is a string."""
    if not isinstance(owner, str):
        raise ArgumentTypeError(f"owner must be a string, not {type(owner).__name__}")


def check_seconds(name: str, seconds: float) -> None:
    """Raise ValueError unless `seconds` is a positive number that fits every store."""
    if not (isinstance(seconds, (int, float)) and 0 < seconds <= _MAX_SECONDS):
        raise ValueError(f"{name} must be a positive number of seconds, not {seconds!r}")
