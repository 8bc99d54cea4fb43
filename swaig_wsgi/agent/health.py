"""``/health`` and ``/ready``, and the checks behind them.

The checks of :class:`Readiness` run one at a time, each in a thread, and at most once a second.
Requests do not wait for one another: the endpoints are public, and a slow check would otherwise
occupy every thread of a worker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from ..concurrency import CALLBACK_ERRORS, resolve
from ..core.refusals import method_not_allowed
from ..processes import is_draining
from ..wsgi import log, refuse, respond_json
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["HealthEndpoints", "Readiness", "readiness_details"]

#: Seconds for which a result is reused.
INTERVAL = 1.0
#: Timeout of one check, in seconds.
TIMEOUT = 2.0
#: Seconds that a request waits for the very first result while another request runs the checks.
FIRST_WAIT = 0.1

#: The failure that is reported before the first result.
STARTING = "starting"
#: The failure that is reported while the server is about to stop.
DRAINING = "draining"

#: In ``environ``: the failed checks, for :func:`readiness_details`.
_FAILURES = "swaig_wsgi.readiness_failures"


class HealthEndpoints:
    """Respond to ``/health`` and ``/ready`` below `route`, and pass on other requests.

    Load balancers use the server's address, send no credentials and poll often, so this stands
    outside the checks of hosts, rates and credentials. Both paths are compared byte for byte, so
    that no other spelling evades those checks. The responses contain only a status. With
    `details`, if the service is not ready, a request with credentials is passed to `app`, which
    authenticates it and responds with :func:`readiness_details`.

    Args:
        app: the wrapped application.
        route: the path of the service as in ``PATH_INFO``, without a trailing slash.
        failures: returns the names of the failed checks; ``/ready`` is 503 if there are any.
        details: whether `app` responds to ``/ready`` with details.
    """

    def __init__(
        self,
        app: WSGIApplication,
        route: str,
        failures: Callable[[], tuple[str, ...]],
        *,
        details: bool,
    ) -> None:
        self.app = app
        self._health = frozenset({f"{route}/health", f"{route}/health/"})
        self._ready = frozenset({f"{route}/ready", f"{route}/ready/"})
        self._failures = failures
        self._details = details

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path not in self._health and path not in self._ready:
            return self.app(environ, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return refuse(environ, start_response, method_not_allowed(["GET", "HEAD"]))
        if path in self._health:
            return respond_json(environ, start_response, 200, {"status": "ok"})
        failures = (DRAINING,) if is_draining() else self._failures()
        if not failures:
            return respond_json(environ, start_response, 200, {"status": "ready"})
        if self._details and "HTTP_AUTHORIZATION" in environ:
            environ[_FAILURES] = failures
            return self.app(environ, start_response)
        return respond_json(environ, start_response, 503, {"status": "not ready"})


def readiness_details(environ: WSGIEnvironment) -> dict[str, Any]:
    """Return the body of a 503 for an authenticated ``/ready``."""
    return {"status": "not ready", "failed": environ.get(_FAILURES, ())}


class Readiness:
    """Named readiness checks.

    A check fails if it raises, returns False, or takes more than :data:`TIMEOUT` seconds. A check
    that timed out is not started again until it has ended.

    Args:
        clock: monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._checks: dict[str, Callable[[], Any]] = {}
        self._hanging: dict[str, threading.Thread] = {}
        self._running = threading.Lock()
        self._logged: tuple[str, ...] = ()
        #: When the checks ended, and the names of those that failed.
        self._result: tuple[float, tuple[str, ...]] | None = None

    def add(self, name: str, fn: Callable[[], Any]) -> None:
        """Add a check, which may be ``async``.

        Raises:
            ValueError: the name is empty or taken, or `fn` is not callable.
        """
        if not isinstance(name, str) or not name or name in self._checks:
            raise ValueError(f"a readiness check needs a unique, non-empty name, not {name!r}")
        if not callable(fn):
            raise ValueError(f"the readiness check {name!r} must be callable")
        self._checks = {**self._checks, name: fn}
        self._result = None

    def failures(self) -> tuple[str, ...]:
        """Return the names of the failed checks, from a result at most `INTERVAL` seconds old.

        While another thread runs the checks, return those of the previous result, whatever its
        age; before the first result, return :data:`STARTING`.
        """
        result = self._result
        if not self._running.acquire(timeout=FIRST_WAIT if result is None else 0):
            return (STARTING,) if result is None else result[1]
        try:
            result = self._result
            if result is None or self._clock() - result[0] >= INTERVAL:
                result = self._run_checks()
            return result[1]
        finally:
            self._running.release()

    def _run_checks(self) -> tuple[float, tuple[str, ...]]:
        checks = self._checks
        failures = tuple(name for name in checks if not self._passes(name, checks[name]))
        if failures != self._logged:
            self._log(failures)
        self._logged = failures
        self._result = result = (self._clock(), failures)
        if self._checks is not checks:  # One was added meanwhile.
            self._result = None
        return result

    def _passes(self, name: str, check: Callable[[], Any]) -> bool:
        hanging = self._hanging.get(name)
        if hanging is not None and hanging.is_alive():
            return False
        outcome: list[bool] = []
        args, label = (name, check, outcome), f"ready-{name}"
        thread = threading.Thread(target=_run, args=args, name=label, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            log.exception("the readiness check %r could not start a thread", name)
            return False
        self._hanging[name] = thread
        thread.join(TIMEOUT)
        return outcome == [True]

    def _log(self, failures: tuple[str, ...]) -> None:
        if failures:
            log.error("not ready: %s", ", ".join(map(repr, failures)))
        else:
            log.warning("ready again")


def _run(name: str, check: Callable[[], Any], outcome: list[bool]) -> None:
    try:
        outcome.append(resolve(check()) is not False)
    except CALLBACK_ERRORS:
        log.exception("the readiness check %r raised", name)
