"""A limit on the failed authentications of each client."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from functools import partial
from typing import Callable

from ..core._validation import check_items
from ..core.networks import NetworkSet, client_address, client_networks
from ..core.paths import request_scope
from ..core.rate_limit import RateLimit, site_key
from ..core.refusals import Refusal, rate_limited, service_unavailable
from ..stores._base import Store
from ..wsgi import log_security, refuse
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._counting import Counting, client_address_key
from ._inner_app import InnerApp
from ._scope import in_scope
from .auth import AUTH_FAILURE

__all__ = ["AuthFailureLimitMiddleware"]


class AuthFailureLimitMiddleware:
    """Refuse clients that have failed to authenticate `limit` times in a window, with 429.

    This limits guessing without limiting the platform: requests with valid credentials never
    count. Counted are the failures of an :class:`AuthMiddleware`, or of an agent, inside this
    layer: credentials that are wrong or malformed. A request without credentials, or with an empty
    field for them, does not count, nor does a 401 of the application itself, nor one whose
    credentials could not be checked because a validator raised.

    Once a client has reached the limit, its requests are refused before their credentials are read,
    until the window ends that started with its first failure. Valid credentials make no difference:
    responses would otherwise tell a guesser which ones are right. All processes that share a store
    admit `limit` failures together, and those of requests in flight at that moment. If the store
    has no method ``peek``, each of the other processes admits one more.

    Clients in `exempt_clients` are counted but never refused. When one reaches the limit, this is
    logged as an error, once a window: usually, one of the credentials in use is outdated.

    IPv6 clients are counted by /64, and with 16 times the limit by /48. A second layer with an
    equal limit in the same store does nothing.

    Security events: ``auth_failures``, with the reason ``limit_exceeded`` for each refusal and
    ``exempt_client`` for the error; ``auth_failure_limit_shared`` and
    ``auth_failure_limit_store_failed``, as for :class:`RateLimitMiddleware`.

    Args:
        app: the wrapped application.
        limit: failures per window.
        window: length of the window, in whole seconds.
        store: where to count, as for :class:`RateLimitMiddleware`.
        exempt_clients: addresses and networks that are never refused, such as the platform's.
            Behind a proxy, place ``TrustedProxyMiddleware`` outside this layer.
        protect: paths to limit, each with everything below it.
        exempt: paths that are not limited, matched exactly unless they end in ``/*``.
        methods: the methods to limit; None for all.
        key: a function of `environ` that returns the key under which a client is counted, or None
            for a request that is not limited; by default the client's address.
        on_store_failure: if the store fails, "local" counts in this process, from the last count in
            the store; "allow" does not limit; "deny" responds with 503.
        name: part of the keys of the counters; limits with different names count separately.
        allow_per_process: serve even if each of several processes counts for itself; by default
            the response is 503.
        clock: monotonic clock in seconds, used for store failures.

    Raises:
        TypeError, ValueError: an argument is invalid.
    """

    app = InnerApp()
    _next: WSGIApplication

    #: Whether clients are refused, as for :class:`RateLimitMiddleware`.
    enabled = True

    def __init__(
        self,
        app: WSGIApplication,
        limit: int,
        *,
        window: int = 60,
        store: Store | None = None,
        exempt_clients: Iterable[str] = (),
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
        self.policy = RateLimit(limit, window, name)
        self._site_policy = self.policy.for_sites()
        self._scope = request_scope(protect, exempt, methods)
        never = check_items("exempt_clients", exempt_clients, "('192.0.2.0/24',)")
        self._exempt_clients = NetworkSet(client_networks(never)) if never else None
        self._counting = Counting(
            "auth_failure_limit",
            self.policy,
            window,
            store=store,
            key=client_address_key if key is None else key,
            on_store_failure=on_store_failure,
            allow_per_process=allow_per_process,
            clock=clock,
        )
        self._prefix = f"{self._counting.prefix}auth-failures:{self.policy.counter_prefix()}"
        self.store = self._counting.store

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self.enabled:
            self._counting.log_disabled()
            return self._next(environ, start_response)
        if not (self._scope.everything or in_scope(self._scope, environ)):
            return self._next(environ, start_response)
        if not self._counting.allows_per_process:
            unshared = self._counting.refuse_unshared(environ)
            if unshared is not None:
                return refuse(environ, start_response, unshared)
        client = self._counting.client(environ)
        if client is None:
            return self._next(environ, start_response)
        exempt = self._exempt_clients is not None and self._is_exempt(environ)
        if not exempt:
            refusal = self._refusal(environ, self.policy, client, site_key(client))
            if refusal is not None:
                return refuse(environ, start_response, refusal)
        report = partial(self._count, client, exempt)
        self._counting.record_counted(environ, client)
        environ[AUTH_FAILURE] = [*environ.get(AUTH_FAILURE, ()), report]
        return self._next(environ, start_response)

    def _is_exempt(self, environ: WSGIEnvironment) -> bool:
        if self._exempt_clients is None:
            return False
        address = client_address(environ.get("REMOTE_ADDR") or "")
        return address is not None and address in self._exempt_clients

    def _refusal(
        self, environ: WSGIEnvironment, policy: RateLimit, key: str, site: str
    ) -> Refusal | None:
        """Return the refusal of a client that has reached its limit or its site's, or None."""
        counted = self._counting.peek(environ, self._prefix + key)
        if counted is None:
            if self._counting.on_store_failure == "allow":
                return None
            return service_unavailable("auth_failure_limit_unavailable", "store_failed")
        if counted.count >= policy.limit:
            reset = policy.decide(counted.count, counted.seconds_left).reset
            return rate_limited(reset, event="auth_failures")
        return self._refusal(environ, self._site_policy, site, "") if site else None

    def _count(self, client: str, exempt: bool, environ: WSGIEnvironment, reason: str) -> None:
        counted = self._counting.hit(environ, self._prefix + client)
        if counted is None:
            return
        if exempt:
            # Exactly one request of all processes reads this count.
            if counted.count == self.policy.limit:
                log_security(
                    environ,
                    "auth_failures",
                    "exempt_client",
                    f"{counted.count} failed authentications within {self.policy.window} s of a"
                    " client that is never refused; are its credentials up to date?",
                    logging.ERROR,
                )
            return
        site = site_key(client)
        # As for requests, one /64 cannot use up the limit of its neighbors.
        if site and counted.count <= self.policy.limit:
            self._counting.hit(environ, self._prefix + site)
