"""Waiting and timing that holds on a busy machine, too."""

from __future__ import annotations

import time
from typing import Any, Callable

#: Seconds to wait for what must happen, however busy the machine is.
PATIENCE = 60


def wait_until(condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Return as soon as `condition` returns something true, and fail if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def fastest(call: Callable[[], Any], tries: int = 5, enough: float = 0.0) -> float:
    """Return the seconds that the fastest of some calls takes; stop at one below `enough`.

    A bound on the time of a call is about what the call waits for. On a busy machine a call may
    be suspended for longer than that, but hardly each of them.
    """
    best = float("inf")
    for _ in range(tries):
        started = time.monotonic()
        call()
        best = min(best, time.monotonic() - started)
        if best < enough:
            break
    return best
