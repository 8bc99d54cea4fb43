"""Sums of repeated records: a flood of equal refusals must not fill a disk.

Equal records, those with the same event, reason, client and agent, share a window of a minute. For
``fallback_credential``, the user must be the same, too: no user of an old password may be
invisible. These users are authenticated, so clients cannot invent them.

The first ten are written, the others counted. When the minute is over, one record with ``repeated``
stands for those that were counted; it has the other fields of the last of them. If more than ten
were counted, the flood is still going on, and none of the next minute is written at once, except
the first error.

An IPv6 client is a /64, as for rate limits. Only so many windows are kept; while that many are
open, the records of further clients share one window for each event, reason and agent, whose sums
have the client ``*``.

There is no timer: a window that is over is found by the next record, whatever its kind, by the next
request to a layer that gives requests their ids, or when the process exits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from ..concurrency import renew_in_children
from ..core.rate_limit import client_key

Fields = Mapping[str, Any]

#: Seconds.
WINDOW = 60.0
#: Equal records that are written in one window.
ALLOWANCE = 10
MAX_WINDOWS = 1000
#: The client in the sums of many clients.
MANY = "*"


@dataclass
class _Window:
    end: float
    #: How many more records are written.
    left: int
    #: How many were counted.
    repeated: int = 0
    level: int = logging.NOTSET
    last: Fields | None = None


class Repeats:
    """What was recorded lately, in bounded memory.

    Args:
        clock: monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start()
        renew_in_children(self)

    def _start(self) -> None:
        self._lock = threading.Lock()
        #: In the order in which they end, since all last equally long.
        self._windows: OrderedDict[tuple[str, ...], _Window] = OrderedDict()
        #: No window ends earlier. Read without the lock, by every request.
        self._first_end = float("inf")

    def renew_locks(self) -> None:
        """Start over in a child. Its parent writes the sums of what the parent has counted."""
        self._start()

    def add(self, fields: Fields) -> list[Fields]:
        """Return the records to write now: sums that are due, and `fields` unless it is counted.

        `fields` are ``event``, ``reason``, ``client``, ``agent``, ``level`` and others.
        """
        client, event = fields["client"], fields["event"]
        kind: tuple[str, ...] = (event, fields["reason"], fields["agent"])
        if event == "fallback_credential":
            kind += (fields.get("user", ""),)
        key = (client_key(client) or client, *kind)
        with self._lock:
            now = self._clock()
            records = [] if now < self._first_end else self._close(now)
            window = self._windows.get(key)
            if window is None and len(self._windows) >= MAX_WINDOWS:
                key = (MANY, *kind)
                window = self._windows.get(key)
            if window is None:
                window = _Window(now + WINDOW, ALLOWANCE)
                self._first_end = min(self._first_end, window.end)
                if len(self._windows) < 2 * MAX_WINDOWS:
                    self._windows[key] = window
            if window.left > 0:
                window.left -= 1
                records.append(fields)
            else:
                window.repeated += 1
                window.level = max(window.level, fields["level"])
                window.last = fields
                if key[0] == MANY:
                    window.last = {**fields, "client": MANY}
        return records

    def due(self) -> list[Fields]:
        """Return the sums that are due."""
        if self._clock() < self._first_end:
            return []
        with self._lock:
            return self._close(self._clock())

    def flush(self) -> list[Fields]:
        """Return all sums, those of open windows included."""
        with self._lock:
            return self._close(float("inf"))

    def _close(self, now: float) -> list[Fields]:
        records: list[Fields] = []
        while self._windows:
            key, window = next(iter(self._windows.items()))
            if window.end > now:
                self._first_end = window.end
                break
            del self._windows[key]
            if window.last is None:
                continue
            last = {**window.last, "level": window.level, "repeated": window.repeated}
            records.append(last)
            if window.repeated > ALLOWANCE and now < float("inf"):
                left = 1 if window.level >= logging.ERROR else 0
                self._windows[key] = _Window(now + WINDOW, left)
        else:
            self._first_end = float("inf")
        return records
