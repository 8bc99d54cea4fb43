"""A limit on the requests of each client, as :mod:`..core.rate_limit` decides."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from ..core._validation import ArgumentTypeError
from ..core.paths import path_scope
from ..core.rate_limit import Decision, RateLimit, bounded_key, client_key, site_key
from ..core.refusals import rate_limited, service_unavailable
from ..processes import default_store, unshared_variables
from ..stores._base import Store, StoreError
from ..stores.memory import MemoryStore
from ..wsgi import log_security, refuse
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._per_process import log_unshared, refuse_unshared

__all__ = ["RateLimitMiddleware", "client_address_key"]

#: In ``environ``: the limits, with their clients, by which this request has been counted.
_COUNTED = "swaig_wsgi.rate_limits"
_FAILURE_MODES = ("local", "allow", "deny")
#: After a failure that took longer than this many seconds, the store is not used for
#: `_RETRY_AFTER` seconds, so that timeouts do not occupy every worker.
_SLOW = 0.05
_RETRY_AFTER = 1.0
_LOG_INTERVAL = 60.0
_FIELDS = frozenset({"ratelimit", "ratelimit-policy"})


def client_address_key(environ: WSGIEnvironment) -> str:
    """Return the key of the client address that the server or TrustedProxyMiddleware set."""
    return client_key(environ.get("REMOTE_ADDR") or "")


class RateLimitMiddleware:
    """Limit each client to `limit` requests per window ("Rate Limiting" in the SDK's guide).

    A client's window starts with its first request. Over the limit, the response is 429 with
    ``Retry-After``. Every response, refusal or not, shows the state of the limit in ``RateLimit``
    and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers), unless the application sends
    fields of these names itself.

    Behind a proxy, place ``TrustedProxyMiddleware`` in an outer layer: otherwise all clients have
    the proxy's address and share one limit. Clients without an IP address also share one limit;
    this is logged once, as an error.

    A client with an IPv6 network of its own, whose key is a /64, also counts for its /48, which may
    make 16 times as many requests. Only requests within the limit of the /64 count there, so that
    one /64 cannot use up the limit of its neighbors.

    A request is counted once: if an equal policy (`limit`, `window`, `name`, `key`) has counted
    it in the same store, or in one at the same location, this layer does nothing.

    Args:
        app: the wrapped application.
        limit: requests per window.
        window: length of the window, in whole seconds.
        store: where to count; by default the store that the parent process shares among its
            workers, else the memory of this process. Rate limits in one store count separately if
            their `limit`, `window` or `name` differ.
        exempt: paths that are not limited, matched exactly unless they end in ``/*``.
        key: a function of `environ` that returns the key under which a client is counted, a
            string. If it depends on a header that clients control, they can evade the limit.
        on_store_failure: if the store fails, "local" counts in this process (each process admits
            the full `limit`), "allow" admits every request, "deny" responds with 503.
        name: the name of the policy in the header fields.
        allow_per_process: serve even if each of several processes counts for itself, so that a
            client may make a multiple of `limit` requests; by default the response is 503.
        clock: monotonic clock in seconds, used for store failures.

    Raises:
        TypeError, ValueError: an argument is invalid.
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
            modes = ", ".join(_FAILURE_MODES)
            raise ValueError(f"on_store_failure must be one of {modes}, not {on_store_failure!r}")
        if key is not None and not callable(key):
            raise ArgumentTypeError(f"key must be a function of environ, not {key!r}")
        self.app = app
        self.policy = RateLimit(limit, window, name)
        self.scope = path_scope(exempt=exempt)
        self.store: Store = default_store() if store is None else store
        self._allow_per_process = allow_per_process
        self.on_store_failure = on_store_failure
        self._site_policy = self.policy.for_sites()
        self._key = client_address_key if key is None else key
        self._prefix = self.policy.counter_prefix()
        self._policy_header = ("RateLimit-Policy", self.policy.policy_field)
        # A request is recorded as counted only if the store worked, so `on_store_failure` makes no
        # difference to what was counted, and is not part of the identity.
        self._identity = (self.policy, self._key, getattr(self.store, "place", None) or self.store)
        self._local = MemoryStore(clock=clock)
        self._clock = clock
        self._store_disabled_until = float("-inf")
        self._failure_logged_at = float("-inf")
        self._empty_key_logged = False
        log_unshared(lambda: unshared_variables(store=self.store), allowed=allow_per_process)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self.scope.covers(environ.get("PATH_INFO", "")):
            return self.app(environ, start_response)
        unshared = refuse_unshared(
            environ, lambda: unshared_variables(store=self.store), allowed=self._allow_per_process
        )
        if unshared is not None:
            return refuse(environ, start_response, unshared)
        client = self._client(environ)
        if (*self._identity, client) in environ.get(_COUNTED, ()):
            return self.app(environ, start_response)
        decision = self._decide(environ, self.policy, client)
        site = site_key(client)
        if site and decision is not None and decision.allowed:
            wider = self._decide(environ, self._site_policy, site)
            decision = None if wider is None else min(decision, wider)
        if decision is None:
            if self.on_store_failure == "allow":
                return self.app(environ, start_response)
            refusal = service_unavailable("rate_limit_unavailable", "store_failed")
            return refuse(environ, start_response, refusal)
        if decision.allowed:
            return self.app(environ, self._adding_fields(start_response, decision))
        refusal = rate_limited(decision.reset, self._fields(decision))
        return refuse(environ, start_response, refusal)

    def _client(self, environ: WSGIEnvironment) -> str:
        client = self._key(environ)
        if not isinstance(client, str):
            raise TypeError(f"key must return a string, not {type(client).__name__}")
        if not client and not self._empty_key_logged:
            self._empty_key_logged = True
            log_security(
                environ,
                "rate_limit_shared",
                "empty_key",
                "rate limit: empty key (no IP address in REMOTE_ADDR); all such requests share one"
                " limit. Behind a proxy on a unix socket, trust the proxy.",
                logging.ERROR,
            )
        return bounded_key(client)

    def _decide(self, environ: WSGIEnvironment, policy: RateLimit, client: str) -> Decision | None:
        """Count `client`; return None if the store failed and counting here is off."""
        key = self._prefix + client
        started = self._clock()
        if started >= self._store_disabled_until:
            try:
                count = self.store.hit(key, self.policy.window)
            except StoreError as error:
                self._handle_failure(environ, error, started)
            else:
                environ[_COUNTED] = (*environ.get(_COUNTED, ()), (*self._identity, client))
                return policy.decide(*count)
        if self.on_store_failure == "local":
            return policy.decide(*self._local.hit(key, policy.window))
        return None

    def _handle_failure(self, environ: WSGIEnvironment, error: StoreError, started: float) -> None:
        now = self._clock()
        if now - started > _SLOW:
            self._store_disabled_until = now + _RETRY_AFTER
        if now - self._failure_logged_at >= _LOG_INTERVAL:
            self._failure_logged_at = now
            log_security(
                environ,
                "rate_limit_store_failed",
                "store_failed",
                f"rate limit: the store failed, on_store_failure={self.on_store_failure}: {error}",
                logging.ERROR,
            )

    def _fields(self, decision: Decision) -> list[tuple[str, str]]:
        return [self._policy_header, ("RateLimit", self.policy.limit_field(decision))]

    def _adding_fields(self, start_response: StartResponse, decision: Decision) -> StartResponse:
        fields = self._fields(decision)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if not any(name.lower() in _FIELDS for name, _ in headers):
                headers = [*headers, *fields]
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        return start
