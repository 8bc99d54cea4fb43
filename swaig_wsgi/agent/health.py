"""``/health`` and ``/ready``, and the checks behind them.

The checks of :class:`Readiness` run one at a time, each in a thread, and at most once a second.
Requests do not wait for one another: the endpoints are public, and a slow check would otherwise
occupy every thread of a worker.

The store is checked by a write: a server that is read-only, full or still loading, and a full disk,
can be read, but refuse every claim.
"""

from __future__ import annotations

import secrets
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable
from typing import Any

from ..concurrency import callback_errors, renew_in_children, resolve
from ..core.refusals import method_not_allowed
from ..middleware._inner_app import InnerApp
from ..processes import is_draining
from ..stores import MemoryStore, Store, StoreError
from ..stores._failure_log import FailureLog
from ..wsgi import log, refuse, respond_json
from ..wsgi._observer import observe_store_failure
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["HealthEndpoints", "Readiness", "accepts_writes", "readiness_details"]

#: Seconds for which a result is reused.
INTERVAL = 1.0
#: Timeout of one check, in seconds.
TIMEOUT = 2.0
#: Seconds that a request waits for the very first result while another request runs the checks.
FIRST_WAIT = 0.1

#: TTL of the value that a check of the store writes, in seconds.
PROBE_TTL = 10.0

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

    app = InnerApp()
    _next: WSGIApplication

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
        self._own = self._health | self._ready
        self._failures = failures
        self._details = details

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path not in self._own:
            return self._next(environ, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return refuse(environ, start_response, method_not_allowed(["GET", "HEAD"]))
        if path in self._health:
            return respond_json(environ, start_response, 200, {"status": "ok"})
        failures = (DRAINING,) if is_draining() else self._failures()
        if not failures:
            return respond_json(environ, start_response, 200, {"status": "ready"})
        if self._details and "HTTP_AUTHORIZATION" in environ:
            environ[_FAILURES] = failures
            return self._next(environ, start_response)
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
        optional: names of checks whose failures are logged, but not returned.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, optional: Collection[str] = ()
    ) -> None:
        self._clock = clock
        self._optional = frozenset(optional)
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
        """Return the names of failed checks, from a result at most `INTERVAL` seconds old.

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
        failed = tuple(name for name in checks if not self._passes(name, checks[name]))
        failures = tuple(name for name in failed if name not in self._optional)
        if failed != self._logged:
            self._log(failed, failures)
        self._logged = failed
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

    def _log(self, failed: tuple[str, ...], failures: tuple[str, ...]) -> None:
        if failed:
            state = "not ready" if failures else "ready, but some checks fail"
            log.error("%s: %s", state, ", ".join(map(repr, failed)))
        else:
            log.warning("ready again")


def _run(name: str, check: Callable[[], Any], outcome: list[bool]) -> None:
    try:
        outcome.append(resolve(check()) is not False)
    except callback_errors():
        log.exception("the readiness check %r raised", name)


class _Probe:
    """The writes of one process to one store."""

    def __init__(self) -> None:
        self.renew_locks()
        renew_in_children(self)

    def renew_locks(self) -> None:
        """Begin anew, in a forked child with a key of its own; see :func:`renew_in_children`."""
        self._lock = threading.Lock()
        self._key = f"ready:{secrets.token_hex(8)}"
        self._started_at = float("-inf")
        self._failure_log = FailureLog()
        self._succeeded = False

    def succeeds(self, store: Store) -> bool:
        with self._lock:
            now = time.monotonic()
            if now - self._started_at >= INTERVAL:
                self._started_at, self._succeeded = now, False
                try:
                    store.set(self._key, {}, PROBE_TTL)
                    self._succeeded = True
                except StoreError as error:
                    observe_store_failure()
                    if self._failure_log.is_due(error, now):
                        log.error("the store does not accept writes: %s", error)
            return self._succeeded


#: By the location of a store, or by the store itself.
_probes: weakref.WeakKeyDictionary[object, _Probe] = weakref.WeakKeyDictionary()


def accepts_writes(store: Store) -> bool:
    """Return whether a write to `store` succeeded within the last `INTERVAL` seconds.

    All agents of a process share its writes to one store, and their results. A failure is logged
    once a minute.
    """
    place = getattr(store, "place", None)
    # Memory stores have their limits each for itself.
    key = store if place is None or isinstance(store, MemoryStore) else place
    probe = _probes.get(key)
    if probe is None:
        probe = _probes.setdefault(key, _Probe())
    return probe.succeeds(store)
