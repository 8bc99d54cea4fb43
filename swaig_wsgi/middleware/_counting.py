"""Counting of clients in a store, and in this process while the store fails.

Shared by the limit on requests and the limit on failed authentications. Each result of the store is
also remembered in this process, so that local counting continues from it. The store may fail as
often as it likes: in one window, each process admits at most what was left of the limit by the last
count that it saw before it counted locally, in addition to what the store admits. A process that
saw none in this window admits `limit`.
"""

from __future__ import annotations

import logging
from typing import Any, Callable

from ..core._validation import ArgumentTypeError
from ..core.rate_limit import bounded_key, client_key
from ..core.refusals import Refusal
from ..processes import default_store, unshared_variables
from ..stores._base import Count, Store, StoreBusyError, StoreError
from ..stores._failure_log import FailureLog
from ..stores._scoped import ScopedStore
from ..stores.memory import MemoryStore
from ..wsgi import log, log_security
from ..wsgi._observer import observe_store_failure
from ..wsgi._types import WSGIEnvironment
from ._application import is_asynchronous
from ._per_process import log_unshared, refuse_unshared
from .proxies import PROXY_POLICY

KeyFunction = Callable[[WSGIEnvironment], "str | None"]

_FAILURE_MODES = ("local", "allow", "deny")
#: After a failure that took longer than this many seconds, the store is not used for
#: `_RETRY_AFTER` seconds, so that timeouts do not occupy every worker.
_SLOW = 0.05
_RETRY_AFTER = 1.0
#: In ``environ``, if a middleware for trusted proxies has run: ours, or Werkzeug's ``ProxyFix``.
_TRUST = frozenset({PROXY_POLICY, "werkzeug.proxy_fix.orig"})
#: In ``environ``: the causes of shared keys that a limit outside has reported.
_REPORTED = "swaig_wsgi.shared_limits_reported"

#: The errors by their reasons.
_SHARED = {
    "empty_key": (
        "empty key (no IP address in REMOTE_ADDR); all such requests share one limit."
        " Behind a proxy on a Unix socket, set SWML_TRUSTED_PROXIES{}."
    ),
    "untrusted_forwarding": (
        "this peer sends X-Forwarded-For or Forwarded, but no proxy is trusted, so everyone"
        " behind it shares one limit, and one client can lock out all others. If it is your"
        " proxy, set SWML_TRUSTED_PROXIES{}."
    ),
}


def client_address_key(environ: WSGIEnvironment) -> str:
    """Return the key of the client address that the server or TrustedProxyMiddleware set."""
    return client_key(environ.get("REMOTE_ADDR") or "")


class LocalCount(Count):
    """A count of this process alone, while the store fails."""

    __slots__ = ()


class Counting:
    """The counters of one limit, by client.

    Args:
        kind: the limit, as in the names of its events: ``rate_limit``.
        identity: tells the limit from others that count in the same store.
        window: of the counters, in seconds.
        store, key, on_store_failure, allow_per_process, clock: as for ``RateLimitMiddleware``.

    Raises:
        TypeError, ValueError: `key` or `on_store_failure` is invalid.
    """

    def __init__(
        self,
        kind: str,
        identity: object,
        window: int,
        *,
        store: Store | None,
        key: KeyFunction,
        on_store_failure: str,
        allow_per_process: bool,
        clock: Callable[[], float],
    ) -> None:
        if on_store_failure not in _FAILURE_MODES:
            modes = ", ".join(_FAILURE_MODES)
            raise ValueError(f"on_store_failure must be one of {modes}, not {on_store_failure!r}")
        if not callable(key):
            raise ArgumentTypeError(f"key must be a function of environ, not {key!r}")
        if is_asynchronous(key) or is_asynchronous(type(key).__call__):
            raise ArgumentTypeError(f"key must not be asynchronous: {key!r}")
        self.kind = kind
        self.store: Store = default_store() if store is None else store
        self.on_store_failure = on_store_failure
        self._window = window
        self._key = key
        self._has_own_key = key is not client_address_key
        #: Whether a request need not be passed to :meth:`refuse_unshared`.
        self.allows_per_process = allow_per_process
        self._clock = clock
        #: What keys begin with, for :attr:`_base`: the scope of `store`, if it has one.
        self.prefix, self._base = "", self.store
        while type(self._base) is ScopedStore:
            self.prefix, self._base = self._base.prefix + self.prefix, self._base.base
        self._peek: Callable[[str], Count | None] | None = getattr(self._base, "peek", None)
        self._local = MemoryStore(clock=clock)
        # A memory store does not fail; a subclass of it might.
        never_fails = type(self._base) is MemoryStore
        self._remembers = self._peek is None or (on_store_failure == "local" and not never_fails)
        # A request is recorded as counted only if the store worked, so `on_store_failure` makes no
        # difference to what was counted, and is not part of the identity.
        place = getattr(self.store, "place", None) or self.store
        self._zero = Count(0, window)
        self._identity = (identity, self._key, place)
        self._counted_key = f"swaig_wsgi.{kind}s"
        self._store_disabled_until = float("-inf")
        self._failure_log = FailureLog()
        self._reported: set[str] = set()
        log_unshared(self._find_unshared, allowed=allow_per_process)

    def log_disabled(self) -> None:
        """Log once that this limit is off; production must not inherit that from a test suite."""
        if "disabled" not in self._reported:
            self._reported.add("disabled")
            log.warning("%s: off, because `enabled` is False", self.kind.replace("_", " "))

    def refuse_unshared(self, environ: WSGIEnvironment) -> Refusal | None:
        """Return the refusal of a request that one of several processes counts alone, or None."""
        return refuse_unshared(environ, self._find_unshared, allowed=self.allows_per_process)

    def _find_unshared(self) -> frozenset[str]:
        return unshared_variables(store=self.store)

    def client(self, environ: WSGIEnvironment) -> str | None:
        """Return the key of the client, or None if it is not to be counted.

        That is up to the key function. Besides, an equal limit around this one may have dealt with
        the request. Log once, as an error, if clients share a key that should not.

        Raises:
            TypeError: the key function returned neither a string nor None.
        """
        client: str | None
        if not self._has_own_key:
            client = client_key(environ.get("REMOTE_ADDR") or "")
        else:
            client = self._key(environ)
            if client is None:
                return None
            if not isinstance(client, str):
                raise TypeError(f"key must return a string or None, not {type(client).__name__}")
            client = bounded_key(client)
        forwards = "HTTP_X_FORWARDED_FOR" in environ or "HTTP_FORWARDED" in environ
        if forwards or not client:
            self._report_shared(environ, client or "", forwards)
        counted = environ.get(self._counted_key)
        return None if counted is not None and (self._identity, client) in counted else client

    def record_counted(self, environ: WSGIEnvironment, client: str) -> None:
        """Record that this limit has dealt with the request."""
        counted = environ.get(self._counted_key, ())
        environ[self._counted_key] = (*counted, (self._identity, client))

    def hit(self, environ: WSGIEnvironment, key: str) -> Count | None:
        """Count `key`; return None if the store failed and counting here is off.

        If it failed, and counting here is on, the result is a :class:`LocalCount`.
        """
        count = self._ask(environ, self._base.hit, key, self._window)
        if count is None:
            if self.on_store_failure != "local":
                return None
            return LocalCount(*self._local.hit(key, self._window))
        if self._remembers:
            self._remember(key, count)
        return count

    def peek(self, environ: WSGIEnvironment, key: str) -> Count | None:
        """Return the count of `key` without counting; return None as :meth:`hit` does.

        With a store that cannot do this, it is the last count that this process has seen.
        """
        if self._peek is not None:
            count = self._ask(environ, self._peek_or_zero, key)
            if count is not None:
                # A window that ends later was damaged; the next hit repairs it.
                if count.seconds_left > self._window + 1:
                    return self._zero
                if self._remembers:
                    self._remember(key, count)
                return count
            if self.on_store_failure != "local":
                return None
        return LocalCount(*(self._local.peek(key) or self._zero))

    def _peek_or_zero(self, key: str) -> Count:
        peek = self._peek
        return (peek and peek(key)) or self._zero

    def _remember(self, key: str, count: Count) -> None:
        if count.count:
            self._local.adopt(key, count, self._window)

    def _ask(
        self, environ: WSGIEnvironment, operation: Callable[..., Count], *args: Any
    ) -> Count | None:
        started = self._clock()
        if started < self._store_disabled_until:
            return None
        try:
            try:
                return operation(*args)
            except StoreBusyError:
                # With scarce CPU, others are suspended while they hold the lock. To count here
                # would admit too many, so wait once more.
                return operation(*args)
        except StoreError as error:
            observe_store_failure()
            now = self._clock()
            # A lock that others held says nothing about the next call: with scarce CPU, they were
            # suspended while they held it.
            if now - started > _SLOW and not isinstance(error, StoreBusyError):
                self._store_disabled_until = now + _RETRY_AFTER
            if self._failure_log.is_due(error, now):
                mode = self.on_store_failure
                problem = f"the store failed, on_store_failure={mode}: {error}"
                self._log(environ, f"{self.kind}_store_failed", "store_failed", problem)
            return None

    def _report_shared(self, environ: WSGIEnvironment, client: str, forwards: bool) -> None:
        # Each cause has one error: of the outermost limit that counts the request, and for a proxy
        # on a Unix socket, of either kind.
        untrusted = forwards and environ.keys().isdisjoint(_TRUST)
        if not client and self._key is client_address_key:
            reason = "untrusted_forwarding" if untrusted else "empty_key"
            self._report_once(environ, "no_address", reason, " to unix")
            return
        if untrusted:
            self._report_once(environ, "peer", "untrusted_forwarding")
        if not client:
            self._report_once(environ, "key", "empty_key")

    def _report_once(
        self, environ: WSGIEnvironment, cause: str, reason: str, value: str = ""
    ) -> None:
        outer = environ.get(_REPORTED, ())
        if cause in outer:
            return
        environ[_REPORTED] = (*outer, cause)
        if cause not in self._reported:
            self._reported.add(cause)
            self._log(environ, f"{self.kind}_shared", reason, _SHARED[reason].format(value))

    def _log(self, environ: WSGIEnvironment, event: str, reason: str, problem: str) -> None:
        detail = f"{self.kind.replace('_', ' ')}: {problem}"
        log_security(environ, event, reason, detail, logging.ERROR)
