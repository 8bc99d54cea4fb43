"""Whom a rate limit counts, and what a count means (seed: Rate Limiting)."""

from __future__ import annotations

import hashlib
import math
import re
import socket
from dataclasses import dataclass
from typing import NamedTuple

#: The largest integer of a structured field (RFC 9651 section 3.3.1).
_MAX_INTEGER = 999_999_999_999_999
#: Longer client keys are counted by their digest, so that no client chooses how long a key is.
_MAX_KEY = 64

_NAME = re.compile(r"[ !#-\[\]-~]+")
_MAPPED = b"\0" * 10 + b"\xff\xff"


class Decision(NamedTuple):
    """What a count means for a request."""

    allowed: bool
    #: How many more requests the window lets through.
    remaining: int
    #: Whole seconds until the window ends, 1 or more; on a refusal the ``Retry-After``.
    reset: int


@dataclass(frozen=True)
class RateLimit:
    """A policy: `limit` requests in each window of `window` seconds.

    Args:
        limit: requests per window.
        window: whole seconds.
        name: of the policy, in the header fields and in the keys of its counters.

    Raises:
        ValueError: `limit` or `window` is not a positive integer (``True`` is none), or `name` is
            empty or holds anything but printable ASCII without ``"`` and backslash.
    """

    limit: int
    window: int = 60
    name: str = "default"

    def __post_init__(self) -> None:
        for field, value in (("limit", self.limit), ("window", self.window)):
            if (
                not isinstance(value, int)
                or isinstance(value, bool)
                or not 1 <= value <= _MAX_INTEGER
            ):
                raise ValueError(f"{field} must be a positive integer, not {value!r}")
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(
                f"name must be printable ASCII without quotes and backslashes, not {self.name!r}"
            )

    @property
    def policy_field(self) -> str:
        """The value of ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers)."""
        return f'"{self.name}";q={self.limit};w={self.window}'

    def counter_prefix(self) -> str:
        """Return what the key of each of this policy's counters begins with.

        Policies that differ never share a counter, even in one store: the quotes, which no name
        holds, keep a name and a client key apart.
        """
        return f'rate:{self.limit}:{self.window}:"{self.name}":'

    def decide(self, count: int, seconds_left: float) -> Decision:
        """Judge a request.

        Args:
            count: how often its client was counted in this window, this request included.
            seconds_left: until the window ends.
        """
        return Decision(
            count <= self.limit,
            max(self.limit - count, 0),
            min(max(math.ceil(seconds_left), 1), self.window),
        )

    def limit_field(self, decision: Decision) -> str:
        """Return the value of ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers)."""
        return f'"{self.name}";r={decision.remaining};t={decision.reset}'


def client_key(address: str) -> str:
    """Return what a client at `address` is counted as, or "" when it is not an IP address.

    An IPv4 address counts by itself, in its IPv4-mapped IPv6 form, too. An IPv6 one counts by its
    /64: whoever has one address there has 2**64 of them, and would never meet a limit by address.
    Zone identifiers are dropped.
    """
    # socket.inet_pton() is strict and, unlike the ipaddress module, costs next to nothing.
    try:
        socket.inet_pton(socket.AF_INET, address)
    except (OSError, ValueError):
        return _ipv6_key(address)
    return address


def _ipv6_key(address: str) -> str:
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):
        return ""
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed[:8] + bytes(8)) + "/64"


def bounded_key(key: str) -> str:
    """Return `key`, or its digest when it is long.

    The keys of a custom key function may come from the client, and each is held in memory.
    """
    if len(key) <= _MAX_KEY:
        return key
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"sha256:{digest}"
