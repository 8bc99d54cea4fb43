"""Security headers and HSTS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..core.headers import PRELOAD_MIN_AGE, hsts_value, missing_headers, security_headers
from ..core.hosts import HostError, parse_host
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["HSTSMiddleware", "SecurityHeadersMiddleware"]


class SecurityHeadersMiddleware:
    """Add the security headers that the application did not send itself.

    Place it outside every layer that may refuse, so that refusals carry the headers too
    ("Security Headers" in the SDK's guide).

    Args:
        app: the wrapped application.
        headers: changes to :data:`swaig_wsgi.core.headers.SECURITY_HEADERS`. A value replaces a
            default or adds a header, None drops a default.

    Raises:
        ValueError: a header is malformed; the message names it.
    """

    def __init__(
        self, app: WSGIApplication, headers: Mapping[str, str | None] | None = None
    ) -> None:
        self.app = app
        self.headers = security_headers(headers)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self.app(environ, _adding(self.headers, start_response))


class HSTSMiddleware:
    """Add ``Strict-Transport-Security`` to https responses, never to http (RFC 6797 section 7.2).

    ``wsgi.url_scheme`` decides, so where a proxy terminates TLS, place ``TrustedProxyMiddleware``
    outside. A value that the application sends itself takes precedence.

    Args:
        app: the wrapped application.
        max_age, include_subdomains, preload: see :func:`swaig_wsgi.core.headers.hsts_value`.
        host: send the header only to requests for this host name.
        enabled: if False, responses pass unchanged.

    Raises:
        ValueError: an argument is malformed; the message names it.
    """

    def __init__(
        self,
        app: WSGIApplication,
        max_age: int = PRELOAD_MIN_AGE,
        *,
        include_subdomains: bool = True,
        preload: bool = False,
        host: str | None = None,
        enabled: bool = True,
    ) -> None:
        self.app = app
        value = hsts_value(max_age, include_subdomains=include_subdomains, preload=preload)
        self.headers = (("Strict-Transport-Security", value),)
        self.host = None if host is None else _host_name(host)
        self.enabled = enabled

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self.enabled and environ["wsgi.url_scheme"] == "https" and self._matches_host(environ):
            start_response = _adding(self.headers, start_response)
        return self.app(environ, start_response)

    def _matches_host(self, environ: WSGIEnvironment) -> bool:
        host = environ.get("HTTP_HOST", "")
        if self.host is None or host == self.host:
            return True
        try:
            return parse_host(host).name == self.host
        except HostError:
            return False


def _adding(added: tuple[tuple[str, str], ...], start_response: StartResponse) -> StartResponse:
    """Return a ``start_response`` that adds those of the fields `added` that are missing."""

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        return start_response(status, [*headers, *missing_headers(headers, added)], exc_info)

    return start


def _host_name(host: str) -> str:
    parsed = parse_host(host) if isinstance(host, str) else None
    if parsed is None or parsed.port is not None:
        raise ValueError(f"host must be a host name without a port, not {host!r}")
    return parsed.name
