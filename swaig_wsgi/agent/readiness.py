"""Whether an agent can take calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ..core.awaiting import resolve
from ..middleware.answers import log

#: Seconds for which an answer stands, however often it is asked for.
INTERVAL = 1.0
#: Seconds that one check may take.
TIMEOUT = 2.0


class Readiness:
    """Named checks, run one at a time and at most once a second.

    A check passes unless it raises, returns False, or takes more than :data:`TIMEOUT` seconds.
    One that hangs is not started again before it has ended.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._checks: dict[str, Callable[[], Any]] = {}
        self._hanging: dict[str, threading.Thread] = {}
        self._running = threading.Lock()
        self._failures: tuple[str, ...] = ()
        self._asked: float | None = None

    def add(self, name: str, check: Callable[[], Any]) -> None:
        """Add a check, which may be ``async``.

        Raises:
            ValueError: the name is empty or taken, or `check` cannot be called.
        """
        if not isinstance(name, str) or not name or name in self._checks:
            raise ValueError(f"a readiness check needs a name of its own, not {name!r}")
        if not callable(check):
            raise ValueError(f"the readiness check {name!r} must be callable")
        self._checks = {**self._checks, name: check}
        self._asked = None

    def failures(self) -> tuple[str, ...]:
        """Return the names of the checks that fail, as they were at most a second ago."""
        with self._running:
            now = self._clock()
            if self._asked is None or now - self._asked >= INTERVAL:
                failures = tuple(name for name in self._checks if not self._passes(name))
                if failures != self._failures:
                    self._report(failures)
                self._failures = failures
                self._asked = self._clock()
            return self._failures

    def _passes(self, name: str) -> bool:
        hanging = self._hanging.get(name)
        if hanging is not None and hanging.is_alive():
            return False
        outcome: list[bool] = []
        thread = threading.Thread(
            target=_run, args=(name, self._checks[name], outcome), name=f"ready-{name}", daemon=True
        )
        self._hanging[name] = thread
        thread.start()
        thread.join(TIMEOUT)
        return outcome == [True]

    def _report(self, failures: tuple[str, ...]) -> None:
        if failures:
            log.error("not ready: %s", ", ".join(repr(name) for name in failures))
        else:
            log.warning("ready again")


def _run(name: str, check: Callable[[], Any], outcome: list[bool]) -> None:
    try:
        outcome.append(resolve(check()) is not False)
    except Exception:
        log.exception("the readiness check %r raised", name)
