"""The allowlist of clients, by their addresses."""

from __future__ import annotations

from collections.abc import Iterable

from ..core.networks import NetworkSet, client_address, client_networks
from ..core.paths import request_scope
from ..core.refusals import client_not_allowed
from ..wsgi import refuse
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._inner_app import InnerApp
from ._scope import in_scope

__all__ = ["AllowedClientsMiddleware"]

_UNKNOWN = client_not_allowed(
    "unknown_client",
    "REMOTE_ADDR is not an IP address, as on a Unix socket; if a proxy sends the client's address, "
    "set SWML_TRUSTED_PROXIES",
)
_NOT_ALLOWED = client_not_allowed("client_not_allowed")


class AllowedClientsMiddleware:
    """Admit only clients of an allowlist of networks; refuse others with 403.

    The client is ``REMOTE_ADDR``. Behind a proxy, place ``TrustedProxyMiddleware`` outside this
    layer; otherwise every client has the proxy's address. An IPv4-mapped IPv6 address counts as the
    IPv4 address, and the zone identifier of an IPv6 address is ignored. An address of NAT64
    (``64:ff9b::/96``) is admitted only if it is listed as such, unlike in the keys of limits: what
    grants access must not be read into an address. A client without an IP
    address is refused: a peer on a Unix socket, and one whose address does not parse.

    Args:
        app: the wrapped application.
        networks: addresses and networks of the clients, of IPv4 or IPv6.
        protect: paths to protect, each with everything below it.
        exempt: paths that any client may request, matched exactly unless they end in ``/*``.
        methods: the methods to protect, in any case; None for all.

    Raises:
        TypeError: `networks` is not a sequence of strings.
        ValueError: an address, a network, a path or a method is malformed, or there is no network.
    """

    app = InnerApp()
    _next: WSGIApplication

    def __init__(
        self,
        app: WSGIApplication,
        networks: Iterable[str],
        *,
        protect: Iterable[str] = ("/*",),
        exempt: Iterable[str] = (),
        methods: Iterable[str] | None = None,
    ) -> None:
        self.app = app
        self._networks = NetworkSet(client_networks(networks))
        self._scope = request_scope(protect, exempt, methods)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if in_scope(self._scope, environ):
            address = client_address(environ.get("REMOTE_ADDR") or "")
            if address is None:
                return refuse(environ, start_response, _UNKNOWN)
            if address not in self._networks:
                return refuse(environ, start_response, _NOT_ALLOWED)
        return self._next(environ, start_response)
