"""A limit on the requests of each client, as :mod:`..core.rate_limit` decides."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import Any, Callable

from ..core.caching import may_be_shared
from ..core.paths import request_scope
from ..core.rate_limit import Decision, RateLimit, site_key
from ..core.refusals import rate_limited, service_unavailable
from ..stores._base import Store
from ..wsgi import refuse
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._counting import Counting, LocalCount, client_address_key
from ._inner_app import InnerApp
from ._response_fields import ADDITIONS, SHARING_FIELDS, FieldNames, Fields
from ._scope import in_scope

__all__ = ["RateLimitMiddleware", "client_address_key"]

_FIELDS = frozenset({"ratelimit", "ratelimit-policy"})


class RateLimitMiddleware:
    """Limit each client to `limit` requests per window ("Rate Limiting" in the SDK's guide).

    Over the limit, the response is 429 with ``Retry-After``. Every response, refusal or not, shows
    the state of the limit in ``RateLimit`` and ``RateLimit-Policy``
    (draft-ietf-httpapi-ratelimit-headers), unless the application sends fields of these names
    itself, or shared caches may give the response to other clients
    (:func:`swaig_wsgi.core.caching.may_be_shared`).

    In a test suite, ``RateLimitMiddleware.enabled = False`` turns off all rate limits of the
    process; this is logged once for each.

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
        algorithm: "fixed", as in the SDK's guide, starts a window with a client's first request,
            and admits up to twice `limit` at once around its end. "sliding" does not
            (:meth:`.RateLimit.slide` has its error bound), with three operations of the store for
            each admitted request, instead of one; the store must have a method ``peek``.
        store: where to count; by default the store that the parent process shares among its
            workers, else the memory of this process. Rate limits in one store count separately if
            their `limit`, `window`, `name` or `algorithm` differ.
        protect: paths to limit, each with everything below it.
        exempt: paths that are not limited, matched exactly unless they end in ``/*``.
        methods: the methods to limit; None for all.
        key: a function of `environ` that returns the key under which a client is counted, a
            string, or None for a request that is not counted; by default the client's address. If
            it depends on a header that clients control, they can evade the limit. Limits with such
            functions share counters only with each other, so give each a `name` of its own.
        on_store_failure: if the store fails, "local" counts in this process, from the last count
            that it saw in the store (each process admits what was left of `limit` by then), "allow"
            admits every request, "deny" responds with 503.
        name: the name of the policy in the header fields. Several limits stack if their names
            differ.
        allow_per_process: serve even if each of several processes counts for itself, so that a
            client may make a multiple of `limit` requests; by default the response is 503.
        clock: monotonic clock in seconds, used for store failures.

    Raises:
        TypeError, ValueError: an argument is invalid.
    """

    app = InnerApp()
    _next: WSGIApplication

    #: Whether requests are limited, in all instances unless one has a value of its own.
    enabled = True
    #: See :func:`.merge_fields`.
    merged = False

    def __init__(
        self,
        app: WSGIApplication,
        limit: int,
        *,
        window: int = 60,
        algorithm: str = "fixed",
        store: Store | None = None,
        protect: Iterable[str] = ("/*",),
        exempt: Iterable[str] = (),
        methods: Iterable[str] | None = None,
        key: Callable[[WSGIEnvironment], str | None] | None = None,
        on_store_failure: str = "local",
        name: str = "default",
        allow_per_process: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app = app
        self.policy = RateLimit(limit, window, name, algorithm)
        self.scope = request_scope(protect, exempt, methods)
        self._site_policy = self.policy.for_sites()
        self._key = client_address_key if key is None else key
        self._prefix = self.policy.counter_prefix()
        if self._key is not client_address_key:
            # A user may choose the name "192.0.2.7".
            self._prefix += "key:"
        self._slides = algorithm == "sliding"
        self._policy_header = ("RateLimit-Policy", self.policy.policy_field)
        self._counting = Counting(
            "rate_limit",
            self.policy,
            2 * window if algorithm == "sliding" else window,
            store=store,
            key=self._key,
            on_store_failure=on_store_failure,
            allow_per_process=allow_per_process,
            clock=clock,
        )
        self._key_prefix = self._counting.prefix + self._prefix
        self.store = self._counting.store
        if self._slides and getattr(self.store, "peek", None) is None:
            raise ValueError("algorithm='sliding' requires a store with a method peek")
        self.on_store_failure = on_store_failure

    def field_names(self) -> FieldNames:
        """Return the names for :func:`.merge_fields`."""
        return FieldNames(_FIELDS | SHARING_FIELDS, _FIELDS)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self.enabled:
            self._counting.log_disabled()
            return self._next(environ, start_response)
        if not (self.scope.everything or in_scope(self.scope, environ)):
            return self._next(environ, start_response)
        if not self._counting.allows_per_process:
            unshared = self._counting.refuse_unshared(environ)
            if unshared is not None:
                return refuse(environ, start_response, unshared)
        client = self._counting.client(environ)
        if client is None:
            return self._next(environ, start_response)
        decision = self._decide(environ, self.policy, client)
        site = site_key(client)
        if site and decision is not None and decision.allowed:
            wider = self._decide(environ, self._site_policy, site)
            decision = None if wider is None else min(decision, wider)
        if decision is None:
            if self.on_store_failure == "allow":
                return self._next(environ, start_response)
            refusal = service_unavailable("rate_limit_unavailable", "store_failed")
            return refuse(environ, start_response, refusal)
        if decision.allowed:
            fields = self._fields(decision)
            if self.merged:
                getattr(start_response, ADDITIONS).append((_add_fields, fields))
                return self._next(environ, start_response)
            return self._next(environ, _adding_fields(environ, start_response, fields))
        refusal = rate_limited(decision.reset, self._fields(decision))
        return refuse(environ, start_response, refusal)

    def _decide(self, environ: WSGIEnvironment, policy: RateLimit, client: str) -> Decision | None:
        """Count `client`; return None if the store failed and counting here is off."""
        if self._slides:
            return self._slide(environ, policy, client)
        counted = self._counting.hit(environ, self._key_prefix + client)
        if counted is None:
            return None
        if not isinstance(counted, LocalCount):
            self._counting.record_counted(environ, client)
        return policy.decide(counted.count, counted.seconds_left)

    def _slide(self, environ: WSGIEnvironment, policy: RateLimit, client: str) -> Decision | None:
        # The first counter, or the second, which counts while the first fades, and so on.
        scope = self._counting.prefix
        keys = [f"{scope}{number}:{self._prefix}{client}" for number in (0, 1)]
        first, second = (self._counting.peek(environ, key) for key in keys)
        if first is None or second is None:
            return None
        left = (each.seconds_left if each.count else 0.0 for each in (first, second))
        current = policy.current_counter(*left)
        now, before = (second, first) if current else (first, second)
        decide = partial(policy.slide, before.count, before.seconds_left)
        decision = decide(now.count, now.seconds_left)
        if decision.allowed:
            # Refused requests are not counted: they would extend the refusal.
            counted = self._counting.hit(environ, keys[current])
            if counted is None:
                return None
            if not isinstance(counted, LocalCount):
                self._counting.record_counted(environ, client)
            # Others may have counted meanwhile; then the client waits for this request, too.
            decision = decide(counted.count - 1, counted.seconds_left)
            if not decision.allowed:
                decision = decide(counted.count, counted.seconds_left)
        return decision

    def _fields(self, decision: Decision) -> list[tuple[str, str]]:
        return [self._policy_header, ("RateLimit", self.policy.limit_field(decision))]


def _adding_fields(
    environ: WSGIEnvironment, start_response: StartResponse, fields: Fields
) -> StartResponse:
    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        headers = _add_fields(environ, headers, fields)
        if exc_info is None:
            return start_response(status, headers)
        return start_response(status, headers, exc_info)

    return start


def _add_fields(environ: WSGIEnvironment, headers: Fields, fields: Fields) -> list[tuple[str, str]]:
    own = _FIELDS.isdisjoint(map(str.lower, dict(headers)))
    return [*headers, *fields] if own and not may_be_shared(headers) else [*headers]
