"""Whether an agent can take calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ..concurrency import CALLBACK_ERRORS, resolve
from ..wsgi import log

#: Seconds for which an answer stands, however often it is asked for.
INTERVAL = 1.0
#: Seconds that one check may take.
TIMEOUT = 2.0
#: Seconds that an asker waits for the first answer of all, while another has the checks run.
FIRST_WAIT = 0.1

#: What is said to fail before anything is known.
STARTING = "starting"


class Readiness:
    """Named checks, run one at a time and at most once a second.

    A check passes unless it raises, returns False, or takes more than :data:`TIMEOUT` seconds.
    One that hangs is not started again before it has ended. Nobody waits for checks that run for
    somebody else.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._checks: dict[str, Callable[[], Any]] = {}
        self._hanging: dict[str, threading.Thread] = {}
        self._running = threading.Lock()
        self._reported: tuple[str, ...] = ()
        #: When the checks ended, and the names of those that failed.
        self._answer: tuple[float, tuple[str, ...]] | None = None

    def add(self, name: str, fn: Callable[[], Any]) -> None:
        """Add a check, which may be ``async``.

        Raises:
            ValueError: the name is empty or taken, or `fn` cannot be called.
        """
        if not isinstance(name, str) or not name or name in self._checks:
            raise ValueError(f"a readiness check needs a name of its own, not {name!r}")
        if not callable(fn):
            raise ValueError(f"the readiness check {name!r} must be callable")
        self._checks = {**self._checks, name: fn}
        self._answer = None

    def failures(self) -> tuple[str, ...]:
        """Return the names of the checks that fail, as they were at most a second ago.

        Whoever asks while the checks run for another gets the answer from before: strangers may
        ask, and would occupy every thread of a worker for as long as a slow check takes. Before
        the first answer that is :data:`STARTING`.
        """
        answer = self._answer
        if not self._running.acquire(timeout=FIRST_WAIT if answer is None else 0):
            return (STARTING,) if answer is None else answer[1]
        try:
            answer = self._answer
            if answer is None or self._clock() - answer[0] >= INTERVAL:
                answer = self._ask()
            return answer[1]
        finally:
            self._running.release()

    def _ask(self) -> tuple[float, tuple[str, ...]]:
        checks = self._checks
        failures = tuple(name for name in checks if not self._passes(name, checks[name]))
        if failures != self._reported:
            self._report(failures)
        self._reported = failures
        self._answer = answer = (self._clock(), failures)
        if self._checks is not checks:
            self._answer = None
        return answer

    def _passes(self, name: str, check: Callable[[], Any]) -> bool:
        hanging = self._hanging.get(name)
        if hanging is not None and hanging.is_alive():
            return False
        outcome: list[bool] = []
        thread = threading.Thread(
            target=_run, args=(name, check, outcome), name=f"ready-{name}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            log.exception("the readiness check %r found no thread to run in", name)
            return False
        self._hanging[name] = thread
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
    except CALLBACK_ERRORS:
        log.exception("the readiness check %r raised", name)
