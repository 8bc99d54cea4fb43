"""A store in the memory of one process, bounded in time and space.

A counter is a tuple ``(count, expiry)``: tuples of numbers are not tracked by the garbage
collector, however many there are. All counters of one window length expire in the order in which
they started, so one queue per length finds expired ones in O(1). Each new counter removes up to two
expired ones, which keeps up with any load, and no request pays for all the others.

When `max_keys` counters are live, new clients are rationed by network, so that a flood overflows
into its own networks (:func:`.core.rate_limit.wider_keys`). Each network then has a counter of its
new members: clients, or the /48 networks of a /32. The first members get counters of their own. All
later ones share what the network's counter exceeds the ration by. From 3/2 `max_keys` counters on,
only networks get new ones, and from 2 `max_keys` on, none do. New clients then share one overflow
counter per window length, as keys that are not clients do from `max_keys` on.

A value is a tuple ``(JSON text, expiry)``, and each has at least one entry in a heap of expiries
that is due no later than the value. When an entry is due, :meth:`MemoryStore._expire_value`
removes its value, or pushes a new entry if the value's TTL was renewed. Deleted values leave their
entries behind; the heap is rebuilt when they outnumber the values. Values have their own lock, so
counting never waits for them.

A forked child may inherit an operation of another thread that was interrupted anywhere. Counters
change in an order that tolerates it; for values, size and heap are recomputed from the values.
"""

from __future__ import annotations

import heapq
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ..concurrency import renew_in_children, system_lock
from ..core._named_tuples import constructor
from ..core._validation import check_int
from ..core.rate_limit import wider_keys
from ._base import (
    Count,
    StoreError,
    StoreLocation,
    check_owner,
    check_seconds,
    decode_value,
    encode_value,
)

__all__ = ["MemoryStore"]

_NEVER = (0, float("-inf"))
_count = constructor(Count)


class MemoryStore:
    """Counters and values for the threads of one process; other processes do not see them.

    Memory is bounded, and live entries are never evicted: a flood of new keys cannot reset a
    counter or undo a claim. When `max_keys` counters are live, new clients share the counters of
    their IPv6 /48 or /32 or their IPv4 /16, except for the first of each (one in 1,024 of
    `max_keys`, at least 8), so a flood limits itself and its neighbors until the window ends.
    Other new keys share one counter per window length. When values reach `max_keys` or
    `max_bytes`, storing more raises :class:`StoreError`.

    Args:
        max_keys: maximum number of live values, and of live counters before new clients share
            them; at most twice as many.
        max_bytes: maximum size of all values, in characters of keys and JSON text.
        clock: a monotonic clock, in seconds.

    Raises:
        TypeError: a bound is not an integer.
        ValueError: a bound is not positive.
    """

    def __init__(
        self,
        *,
        max_keys: int = 65_536,
        max_bytes: int = 33_554_432,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_keys = check_int("max_keys", max_keys, 1)
        #: New keys with counters of their own in each network, while the store is full.
        self._ration = max(8, max_keys // 1024)
        self._max_bytes = check_int("max_bytes", max_bytes, 1)
        #: The process that created the store.
        self.pid = os.getpid()
        #: Set for default stores, which count as one store.
        self.place: StoreLocation | None = None
        self._clock = clock
        self._lock = system_lock()
        self._counters: dict[str, tuple[int, float]] = {}
        self._queues: dict[float, deque[tuple[float, str]]] = {}
        self._overflows: dict[float, tuple[int, float]] = {}
        self._value_lock = system_lock()
        self._values: dict[str, tuple[str, float]] = {}
        self._expiries: list[tuple[float, str]] = []
        self._bytes = 0
        renew_in_children(self)

    def renew_locks(self) -> None:
        """Replace the locks in a forked child; see :func:`.concurrency.renew_in_children`."""
        self._lock = system_lock()
        if self._value_lock.locked():
            # The fork interrupted another thread's operation.
            self._bytes = sum(len(key) + len(text) for key, (text, _) in self._values.items())
            self._rebuild_expiries()
        self._value_lock = system_lock()

    def hit(self, key: str, window: float) -> Count:
        """Count `key` once; see :meth:`Store.hit`."""
        check_seconds("window", window)
        with self._lock:
            now = self._clock()
            count, expiry = self._counters.get(key, _NEVER)
            if expiry <= now:
                return self._start(key, window, now)
            count, left = count + 1, expiry - now
            if left > window:
                left = window
                if expiry > now + window:  # else it was rounded
                    # The window was shortened: no client waits longer than one.
                    expiry = now + window
                    self._queues.setdefault(window, deque()).append((expiry, key))
            self._counters[key] = (count, expiry)
            return _count((count, left))

    def peek(self, key: str) -> Count | None:
        """Return the live counter that a hit of `key` would increase; see :class:`Store`."""
        if key not in self._counters and len(self._counters) < self._max_keys:
            return None  # as for most clients, which have not failed
        with self._lock:
            now = self._clock()
            count, expiry = self._counters.get(key, _NEVER)
            if expiry <= now and len(self._counters) >= self._max_keys:
                count, expiry = self._shared_in_a_flood(key, now)
        return Count(count, expiry - now) if count > 0 and expiry > now else None

    def adopt(self, key: str, shared: Count, window: float) -> None:
        """Count on from `shared`, the counter of `key` in another store, which may fail later.

        A counter of the same window here never decreases. While `max_keys` counters are live, keys
        without a counter are ignored.
        """
        with self._lock:
            now = self._clock()
            count, expiry = self._counters.get(key, _NEVER)
            ends = now + min(shared.seconds_left, window)
            # Replies take time, so the ends of one window differ a little.
            if expiry > now and ends - expiry < window / 2:
                self._counters[key] = (max(count, shared.count), expiry)
                return
            queue = self._queues.setdefault(window, deque())
            self._expire_counters(queue, now)
            if key in self._counters or len(self._counters) < self._max_keys:
                queue.append((ends, key))
                self._counters[key] = (shared.count, ends)

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the value of `key`; see :meth:`Store.get`."""
        with self._value_lock:
            text = self._live(key, self._clock())
        return None if text is None else decode_value(text)

    def set(self, key: str, value: Mapping[str, Any], ttl: float) -> None:
        """Replace the value of `key`; see :meth:`Store.set`.

        Raises:
            StoreError: the store is full.
            TypeError, ValueError: see :class:`Store`.
        """
        text = encode_value(value)
        check_seconds("ttl", ttl)
        with self._value_lock:
            self._put(key, text, ttl, self._clock())

    def merge(self, key: str, value: Mapping[str, Any], ttl: float) -> dict[str, Any]:
        """Update the value of `key`; see :meth:`Store.merge`. Raise as :meth:`set` does."""
        members = decode_value(encode_value(value))
        check_seconds("ttl", ttl)
        with self._value_lock:
            now = self._clock()
            old = self._live(key, now)
            merged: dict[str, Any] = {} if old is None else decode_value(old)
            merged.update(members)
            self._put(key, encode_value(merged), ttl, now)
        return merged

    def delete(self, key: str) -> bool:
        """Remove `key`; see :meth:`Store.delete`."""
        with self._value_lock:
            found = self._live(key, self._clock()) is not None
            self._discard(key)
            return found

    def add(self, key: str, value: Mapping[str, Any], ttl: float) -> bool:
        """Claim `key`; see :meth:`Store.add`. Raise as :meth:`set` does."""
        text = encode_value(value)
        check_seconds("ttl", ttl)
        with self._value_lock:
            now = self._clock()
            if self._live(key, now) is not None:
                return False
            self._put(key, text, ttl, now)
            return True

    def replace_if(self, key: str, owner: str, value: Mapping[str, Any], ttl: float) -> bool:
        """Replace the value of `owner`; see :meth:`Store.replace_if`. Raise as :meth:`set` does."""
        check_owner(owner)
        text = encode_value(value)
        check_seconds("ttl", ttl)
        with self._value_lock:
            now = self._clock()
            old = self._live(key, now)
            if old is None or decode_value(old).get("owner") != owner:
                return False
            self._put(key, text, ttl, now)
            return True

    def close(self) -> None:
        """Do nothing: there are no files or connections."""

    def _start(self, key: str, window: float, now: float) -> Count:
        counters = self._counters
        queue = self._queues.setdefault(window, deque())
        self._expire_counters(queue, now)
        if key not in counters and len(counters) >= self._max_keys:
            # Expired counters of other window lengths make room, too.
            for other in self._queues.values():
                self._expire_counters(other, now)
            if len(counters) >= self._max_keys:
                return self._start_in_a_flood(key, window, now)
        return self._create(key, window, now)

    def _create(self, key: str, window: float, now: float) -> Count:
        # In this order, so that an interruption leaves no counter that never expires.
        self._queues[window].append((now + window, key))
        self._counters[key] = (1, now + window)
        return Count(1, window)

    def _start_in_a_flood(self, key: str, window: float, now: float) -> Count:
        policy, quote, client = key.rpartition('":')
        counters = self._counters
        missing = [key]
        for network in wider_keys(client):
            # With the length of the member: a request may count for a /64 and for a /48.
            wider = f"new{client.partition('/')[2]}:{policy}{quote}{network}"
            count, expiry = counters.get(wider, _NEVER)
            if expiry > now:
                break
            missing.append(wider)
        else:
            if len(missing) == 1 or len(counters) >= 2 * self._max_keys:
                return self._overflow(window, now)
            self._create(missing.pop(), window, now)
            count, expiry = 0, now + window
        if len(counters) > self._max_keys * 3 // 2:
            count = max(count, self._ration)
        counters[wider] = (count + 1, expiry)
        if count >= self._ration:
            return Count(count + 1 - self._ration, min(expiry - now, window))
        # The widest network first, so that an interruption leaves no key without its network.
        return [self._create(each, window, now) for each in reversed(missing)][-1]

    def _shared_in_a_flood(self, key: str, now: float) -> tuple[int, float]:
        """Return the counter that `_start_in_a_flood` would let `key` share, without counting."""
        policy, quote, client = key.rpartition('":')
        counters = self._counters
        for network in wider_keys(client):
            wider = f"new{client.partition('/')[2]}:{policy}{quote}{network}"
            count, expiry = counters.get(wider, _NEVER)
            if expiry > now:
                return count - self._ration, expiry
        if wider_keys(client) and len(counters) < 2 * self._max_keys:
            return _NEVER
        # Which window the next hit would have is unknown: return the highest count.
        return max((each for each in self._overflows.values() if each[1] > now), default=_NEVER)

    def _expire_counters(self, queue: deque[tuple[float, str]], now: float) -> None:
        for _ in range(2):
            if not queue or queue[0][0] > now:
                return
            key = queue[0][1]
            if self._counters.get(key, _NEVER)[1] <= now:  # else it restarted
                self._counters.pop(key, None)
            queue.popleft()

    def _overflow(self, window: float, now: float) -> Count:
        count, expiry = self._overflows.get(window, _NEVER)
        if expiry <= now:
            count, expiry = 0, now + window
        self._overflows[window] = (count + 1, expiry)
        return Count(count + 1, min(expiry - now, window))

    def _live(self, key: str, now: float) -> str | None:
        value = self._values.get(key)
        return value[0] if value is not None and value[1] > now else None

    def _put(self, key: str, text: str, ttl: float, now: float) -> None:
        for _ in range(8):
            if not self._expire_value(now):
                break
        while not self._fits(key, text):
            if not self._expire_value(now):
                size = f"{len(self._values)} values of {self._bytes} bytes"
                raise StoreError(f"the memory store is full, with {size}")
        old = self._values.get(key)
        expiry = now + ttl
        # Replaced in one step, so that a claim is never absent.
        self._values[key] = (text, expiry)
        self._bytes += len(key) + len(text) if old is None else len(text) - len(old[0])
        if old is None or expiry < old[1]:
            heapq.heappush(self._expiries, (expiry, key))
            # Values deleted before their expiry leave entries behind.
            if len(self._expiries) > 2 * len(self._values) + 64:
                self._rebuild_expiries()

    def _fits(self, key: str, text: str) -> bool:
        old = self._values.get(key)
        if old is None:
            size = len(key) + len(text)
            return len(self._values) < self._max_keys and self._bytes + size <= self._max_bytes
        return self._bytes + len(text) - len(old[0]) <= self._max_bytes

    def _expire_value(self, now: float) -> bool:
        """Process the first entry of the heap that is due; return False if none is."""
        if not self._expiries or self._expiries[0][0] > now:
            return False
        _, key = heapq.heappop(self._expiries)
        value = self._values.get(key)
        if value is not None and value[1] > now:
            heapq.heappush(self._expiries, (value[1], key))  # its TTL was renewed
        else:
            self._discard(key)
        return True

    def _rebuild_expiries(self) -> None:
        self._expiries = [(expiry, key) for key, (_, expiry) in self._values.items()]
        heapq.heapify(self._expiries)

    def _discard(self, key: str) -> None:
        value = self._values.pop(key, None)
        if value is not None:
            self._bytes -= len(key) + len(value[0])
