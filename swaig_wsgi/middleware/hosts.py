"""The host allowlist, as :mod:`..core.hosts` decides."""

from __future__ import annotations

from collections.abc import Iterable

from ..core.hosts import host_patterns
from ..core.paths import request_scope
from ..core.refusals import host_not_allowed, malformed_host
from ..wsgi import HOST_ALLOWED, refuse
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._inner_app import InnerApp
from ._scope import in_scope

__all__ = ["AllowedHostsMiddleware"]


class AllowedHostsMiddleware:
    """Admit only requests for hosts of an allowlist ("Host Validation" in the SDK's guide).

    Without it, a client that forges ``Host`` controls the URLs that the application builds from
    it, and a web page can use DNS rebinding to send requests here under its own host name.

    A missing or malformed ``Host`` is refused with 400, in HTTP/1.0 too, any other host with 403.
    Behind a proxy that passes the host in another field, place ``TrustedProxyMiddleware``
    outside this layer.

    Sets ``environ["swaig_wsgi.host_allowed"]`` to the ``Host`` if it matched an entry of the list
    other than ``"*"``.

    Args:
        app: the wrapped application.
        allowed_hosts: ``"a.example"``, ``"*.example"`` (subdomains), ``".example"`` (the domain
            and its subdomains), addresses, ``"*"``; see
            :func:`swaig_wsgi.core.hosts.host_patterns`.
        protect: paths to protect, each with everything below it.
        exempt: paths that any host may request, matched exactly unless they end in ``/*``.
        methods: the methods to protect, in any case; None for all.

    Raises:
        ValueError: a pattern, a path or a method is malformed, or there is no pattern.
    """

    app = InnerApp()
    _next: WSGIApplication

    def __init__(
        self,
        app: WSGIApplication,
        allowed_hosts: Iterable[str],
        *,
        protect: Iterable[str] = ("/*",),
        exempt: Iterable[str] = (),
        methods: Iterable[str] | None = None,
    ) -> None:
        self.app = app
        self._patterns = host_patterns(allowed_hosts)
        self._scope = request_scope(protect, exempt, methods)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ.pop(HOST_ALLOWED, None)
        if self._scope.everything or in_scope(self._scope, environ):
            host = environ.get("HTTP_HOST")
            # A target in absolute form names a host, too (RFC 9112 section 3.2.2).
            target = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
            reason = self._patterns.refusal(host, target)
            if reason == "host_not_allowed":
                return refuse(environ, start_response, host_not_allowed())
            if reason is not None:
                return refuse(environ, start_response, malformed_host(reason))
            if not self._patterns.every:
                # Inner layers may rely on a host from a list, but not on any host.
                environ[HOST_ALLOWED] = host
        return self._next(environ, start_response)
