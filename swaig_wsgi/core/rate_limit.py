"""Rate limits: the key of a client, and the decision on a count.

Implements the "Rate Limiting" section of the SDK's guide.
"""

from __future__ import annotations

import hashlib
import math
import re
import socket
from dataclasses import dataclass, replace
from typing import NamedTuple

from ._memo import remembered
from ._named_tuples import constructor
from ._validation import check_int, check_match

__all__ = ["Decision", "RateLimit", "bounded_key", "client_key", "site_key", "wider_keys"]

_ALGORITHMS = ("fixed", "sliding")

# The largest integer of a structured field (RFC 9651 section 3.3.1).
_MAX_INTEGER = 999_999_999_999_999
# A site gets an IPv6 /48 with 65,536 networks of one client each.
_CLIENTS_PER_SITE = 16
_WIDER = {"64": (48, 32), "48": (32,)}
# Longer client keys are replaced by their digest, so that clients cannot choose their length.
_MAX_KEY = 64

_NAME = re.compile(r"[ !#-\[\]-~]+")
#: Prefixes of IPv6 addresses that contain an IPv4 address: mapped, and of NAT64 (RFC 6052).
_EMBEDS_IPV4 = (b"\0" * 10 + b"\xff\xff", b"\0\x64\xff\x9b" + b"\0" * 8)


class Decision(NamedTuple):
    """The decision on a request."""

    allowed: bool
    #: The number of further requests allowed in the window.
    remaining: int
    #: Seconds until the window ends or another request is admitted, 1 or more; the
    #: ``Retry-After`` of a refusal.
    reset: int


_decision = constructor(Decision)


@dataclass(frozen=True)
class RateLimit:
    """A policy: `limit` requests in each window of `window` seconds.

    Args:
        limit: requests per window.
        window: length of the window, in seconds.
        name: the name of the policy in header fields and in the keys of its counters.
        algorithm: "fixed" (:meth:`decide`) or "sliding" (:meth:`slide`).

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `limit` or `window` is not from 1 to 999,999,999,999,999, `name` is empty or
            contains anything but printable ASCII without ``"`` and backslash, or there is no such
            `algorithm`.
    """

    limit: int
    window: int = 60
    name: str = "default"
    algorithm: str = "fixed"

    def __post_init__(self) -> None:
        check_int("limit", self.limit, 1, _MAX_INTEGER)
        check_int("window", self.window, 1, _MAX_INTEGER)
        check_match("name", self.name, _NAME, "printable ASCII without quotes and backslashes")
        if self.algorithm not in _ALGORITHMS:
            raise ValueError(f"algorithm must be 'fixed' or 'sliding', not {self.algorithm!r}")

    def for_sites(self) -> RateLimit:
        """Return the policy for an IPv6 /48: 16 times the limit."""
        return replace(self, limit=min(self.limit * _CLIENTS_PER_SITE, _MAX_INTEGER))

    @property
    def policy_field(self) -> str:
        """The value of ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers)."""
        return f'"{self.name}";q={self.limit};w={self.window}'

    def counter_prefix(self) -> str:
        """Return the prefix of the keys of this policy's counters.

        Different policies never share a counter, even in one store: names contain no quotes, so
        the quotes separate name and client key.
        """
        kind = "rate" if self.algorithm == "fixed" else self.algorithm
        return f'{kind}:{self.limit}:{self.window}:"{self.name}":'

    def decide(self, count: int, seconds_left: float) -> Decision:
        """Decide on a request, with a fixed window.

        Args:
            count: the number of the client's requests in this window, including this one.
            seconds_left: seconds until the window ends.
        """
        limit, reset = self.limit, math.ceil(seconds_left)
        if count <= limit and 1 <= reset <= self.window:
            return _decision((True, limit - count, reset))
        return Decision(count <= limit, max(limit - count, 0), min(max(reset, 1), self.window))

    def current_counter(self, first: float, second: float) -> int:
        """Return which counter of a sliding window counts: 0 or 1.

        Args:
            first, second: the seconds that each has left, or 0.
        """
        last = int(second > first)
        # When the last one fades, the one before it has ended and can start again.
        return last if max(first, second) > self.window else 1 - last

    def slide(self, previous: int, fading: float, count: int, seconds_left: float) -> Decision:
        """Decide on a request that is not counted yet, with a sliding window.

        Each counter lives for two windows: it counts admitted requests in the first, and fades in
        the second. This approximation, the `sliding window counter
        <https://blog.cloudflare.com/counting-things-a-lot-of-different-things/>`_, takes the
        requests of the previous window to be spread evenly. Its error, where they are not:

        * In any `d` seconds, less than a window, at most ``limit + (limit - 1) * d / window``
          requests are admitted, plus those in flight when a window ends.
        * A request is refused only if `limit` were admitted in the two windows before it, and no
          longer than a window.

        Args:
            previous: the count of the counter that fades, or 0.
            fading: seconds that it has left.
            count: the current counter, without this request.
            seconds_left: seconds that it has left, one window longer than it counts.
        """
        # A window starts with a request, which has left the sliding window when the counter begins
        # to fade. Beyond `limit`, requests were counted at once and refused.
        faded = min(max(previous, 1), self.limit) - 1
        weighted = faded * min(fading / self.window, 1.0)
        room = self.limit - count - 1
        allowed = weighted <= room
        if allowed or room < 0:
            wait = seconds_left - self.window
        else:
            wait = fading - room * self.window / faded
        remaining = max(math.floor(room - weighted), 0)
        return Decision(allowed, remaining, min(max(math.ceil(wait), 1), self.window))

    def limit_field(self, decision: Decision) -> str:
        """Return the value of ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers)."""
        return f'"{self.name}";r={decision.remaining};t={decision.reset}'


@remembered(maxsize=1024, max_length=64)
def client_key(address: str) -> str:
    """Return the key under which to count a client, or "" if `address` is not an IP address.

    The key is the IPv4 address (also of its IPv4-mapped IPv6 form, and behind NAT64) or the IPv6
    /64: a client has all 2**64 addresses of its network and could evade a limit by address. Zone
    identifiers are dropped.
    """
    # socket.inet_pton() only parses, strictly, and much faster than the ipaddress module.
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
    if packed.startswith(_EMBEDS_IPV4):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed[:8] + bytes(8)) + "/64"


def site_key(key: str) -> str:
    """Return the /48 of a client key that is an IPv6 /64, or "" for another key."""
    return next(iter(wider_keys(key)), "") if key.endswith("/64") else ""


def wider_keys(key: str) -> tuple[str, ...]:
    """Return the networks that contain a client, narrowest first.

    They are the /48 and /32 of an IPv6 /64, the /32 of a /48, and the /16 of an IPv4 address;
    empty for another key.
    """
    address, slash, length = key.partition("/")
    lengths = _WIDER.get(length, ()) if slash else (16,)
    family = socket.AF_INET6 if slash else socket.AF_INET
    try:
        packed = socket.inet_pton(family, address)
    except (OSError, ValueError):
        return ()
    return tuple(
        socket.inet_ntop(family, packed[: bits // 8].ljust(len(packed), b"\0")) + f"/{bits}"
        for bits in lengths
    )


def bounded_key(key: str) -> str:
    """Return `key`, or its digest if it is long.

    A custom key function may return keys that clients choose, and each is kept in memory.
    """
    if len(key) <= _MAX_KEY:
        return key
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"sha256:{digest}"
