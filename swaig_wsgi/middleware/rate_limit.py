"""A limit on how often each client may ask."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..core.paths import path_scope
from ..core.rate_limit import Decision, RateLimit, bounded_key, client_key
from ..processes import default_store
from ..stores._base import Count, Store, StoreError
from ..stores.memory import MemoryStore
from ..wsgi import log_security, refuse
from ._marks import is_marked, leave_mark
from ._per_process import PerProcessState, unshared_store

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_MARKS = "swaig_wsgi.ran.rate_limit"
_FAILURE_MODES = ("local", "allow", "deny")
#: A store whose failure took longer than this is left alone for `_REST` seconds, so that timeouts
#: do not tie up every worker.
_SLOW = 0.05
_REST = 1.0
_LOG_EVERY = 60.0
_FIELDS = frozenset({"ratelimit", "ratelimit-policy"})


def client_address_key(environ: WSGIEnvironment) -> str:
    """Count by the client address, as the server or ``TrustedProxyMiddleware`` set it."""
    return client_key(environ.get("REMOTE_ADDR") or "")


class RateLimitMiddleware:
    """Let each client make `limit` requests in a window of `window` seconds (seed: Rate Limiting).

    A client's window starts with its first request. Beyond the limit it is answered 429 with
    ``Retry-After``. Every answer, refused or not, tells the client where it stands in ``RateLimit``
    and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers), unless the application sends
    fields of these names itself.

    Behind a proxy put ``TrustedProxyMiddleware`` outside: without it all clients have the proxy's
    address and share one limit. Clients without an IP address share one limit, too; this is logged
    once, as an error.

    A request is counted once: where an equal policy (`limit`, `window`, `name`, `key`) has counted
    it in the same store, or in one at the same place, this layer lets it through.

    Args:
        app: the application to guard.
        limit: requests per window.
        window: whole seconds.
        store: where to count; by default in what the parent of this process shares among its
            workers, else in the memory of this process. Middlewares that share a
            store count separately when their `limit`, `window` or `name` differ.
        exempt: paths that are not limited, each exactly as in ``PATH_INFO``.
        key: a function of `environ` that returns what a client is counted as, a string. One that
            trusts a header lets whoever writes that header out of the limit.
        on_store_failure: when the store fails, "local" counts in this process (in each process a
            full `limit`), "allow" lets everything through, "deny" answers 503.
        name: of the policy in the header fields.
        allow_per_process: limit, and do not answer 503, though several processes serve and each
            counts for itself, so that a client may make a multiple of `limit` requests.
        clock: a monotonic clock in seconds, for what is done about failures.

    Raises:
        ValueError: an argument is not as described.
    """

    def __init__(
        self,
        app: WSGIApplication,
        limit: int,
        *,
        window: int = 60,
        store: Store | None = None,
        exempt: Iterable[str] = (),
        key: Callable[[WSGIEnvironment], str] | None = None,
        on_store_failure: str = "local",
        name: str = "default",
        allow_per_process: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if on_store_failure not in _FAILURE_MODES:
            raise ValueError(
                f"on_store_failure must be one of {', '.join(_FAILURE_MODES)},"
                f" not {on_store_failure!r}"
            )
        if key is not None and not callable(key):
            raise ValueError(f"key must be a function of environ, not {key!r}")
        self.app = app
        self.policy = RateLimit(limit, window, name)
        self.scope = path_scope(exempt=exempt)
        self.store: Store = default_store() if store is None else store
        self._state = PerProcessState(lambda: unshared_store(self.store), allowed=allow_per_process)
        self.on_store_failure = on_store_failure
        self._key = client_address_key if key is None else key
        self._prefix = self.policy.counter_prefix()
        self._policy_header = ("RateLimit-Policy", self.policy.policy_field)
        # Without `on_store_failure`: the mark is left only where the store has not failed.
        self._mark = (self.policy, self._key, getattr(self.store, "place", None) or self.store)
        self._local = MemoryStore(clock=clock)
        self._clock = clock
        self._store_rests_until = float("-inf")
        self._failure_logged_at = float("-inf")
        self._nameless_logged = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self.scope.covers(environ.get("PATH_INFO", "")):
            return self.app(environ, start_response)
        if self._state.found(environ):
            return self._state.refuse(environ, start_response)
        client = self._client(environ)
        mark = (*self._mark, client)
        if is_marked(environ, _MARKS, mark):
            return self.app(environ, start_response)
        count = self._count(environ, client, mark)
        if count is None:
            if self.on_store_failure == "allow":
                return self.app(environ, start_response)
            return refuse(
                environ,
                start_response,
                503,
                "Service unavailable",
                event="rate_limit_unavailable",
                reason="store_failed",
            )
        decision = self.policy.decide(*count)
        if decision.allowed:
            return self.app(environ, self._announcing(start_response, decision))
        return refuse(
            environ,
            start_response,
            429,
            "Rate limit exceeded",
            event="rate_limited",
            reason="limit_exceeded",
            headers=[("Retry-After", str(decision.reset)), *self._fields(decision)],
        )

    def _client(self, environ: WSGIEnvironment) -> str:
        client = self._key(environ)
        if not isinstance(client, str):
            raise TypeError(f"the key of a rate limit is a string, not {type(client).__name__}")
        if not client and not self._nameless_logged:
            self._nameless_logged = True
            log_security(
                environ,
                "rate_limit_shared",
                "empty_key",
                "rate limit: a request with an empty key (no IP address in REMOTE_ADDR); all such"
                " requests share one limit. Behind a proxy on a unix socket, trust the proxy.",
                logging.ERROR,
            )
        return bounded_key(client)

    def _count(self, environ: WSGIEnvironment, client: str, mark: Any) -> Count | None:
        """Count `client`; None when that failed and the failure is not met by counting here."""
        key = self._prefix + client
        started = self._clock()
        if started >= self._store_rests_until:
            try:
                count = self.store.hit(key, self.policy.window)
            except StoreError as error:
                self._note_failure(environ, error, started)
            else:
                leave_mark(environ, _MARKS, mark)
                return count
        if self.on_store_failure == "local":
            return self._local.hit(key, self.policy.window)
        return None

    def _note_failure(self, environ: WSGIEnvironment, error: StoreError, started: float) -> None:
        now = self._clock()
        if now - started > _SLOW:
            self._store_rests_until = now + _REST
        if now - self._failure_logged_at >= _LOG_EVERY:
            self._failure_logged_at = now
            log_security(
                environ,
                "rate_limit_store_failed",
                "store_failed",
                f"rate limit: the store fails, on_store_failure={self.on_store_failure}: {error}",
                logging.ERROR,
            )

    def _fields(self, decision: Decision) -> list[tuple[str, str]]:
        return [self._policy_header, ("RateLimit", self.policy.limit_field(decision))]

    def _announcing(self, start_response: StartResponse, decision: Decision) -> StartResponse:
        fields = self._fields(decision)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if not any(name.lower() in _FIELDS for name, _ in headers):
                headers = [*headers, *fields]
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        return start
