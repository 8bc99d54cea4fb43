"""Security headers and HSTS round any WSGI application."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..core.headers import PRELOAD_MIN_AGE, hsts_value, missing_headers, security_headers
from ..core.hosts import HostError, parse_host
from ._marks import is_marked, leave_mark, lift_mark

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_MARKS = "swaig_wsgi.ran.headers"


class SecurityHeadersMiddleware:
    """Adds the security headers that the application did not send itself.

    Stands outside everything that may refuse, so that refusals carry them, too.

    Args:
        app: the application.
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
        return _call_adding(self.headers, self.app, environ, start_response)


class HSTSMiddleware:
    """Adds ``Strict-Transport-Security`` to answers on https, never on http (RFC 6797 section 7.2).

    ``wsgi.url_scheme`` decides: where TLS ends at a proxy, ``TrustedProxyMiddleware`` has to stand
    outside. A value that the application sends itself wins.

    Args:
        app: the application.
        max_age, include_subdomains, preload: see :func:`swaig_wsgi.core.headers.hsts_value`.
        host: send it only on requests for this host name.
        enabled: False passes every answer on as it is.

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
        if not (
            self.enabled and environ["wsgi.url_scheme"] == "https" and self._is_for_host(environ)
        ):
            return self.app(environ, start_response)
        return _call_adding(self.headers, self.app, environ, start_response)

    def _is_for_host(self, environ: WSGIEnvironment) -> bool:
        host = environ.get("HTTP_HOST", "")
        if self.host is None or host == self.host:
            return True
        try:
            return parse_host(host).name == self.host
        except HostError:
            return False


def _call_adding(
    wanted: tuple[tuple[str, str], ...],
    app: WSGIApplication,
    environ: WSGIEnvironment,
    start_response: StartResponse,
) -> Iterable[bytes]:
    if is_marked(environ, _MARKS, wanted):
        return app(environ, start_response)
    leave_mark(environ, _MARKS, wanted)
    try:
        return app(environ, _adding(wanted, start_response))
    finally:
        lift_mark(environ, _MARKS)


def _adding(wanted: tuple[tuple[str, str], ...], start_response: StartResponse) -> StartResponse:
    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        return start_response(status, [*headers, *missing_headers(headers, wanted)], exc_info)

    return start


def _host_name(host: str) -> str:
    parsed = parse_host(host) if isinstance(host, str) else None
    if parsed is None or parsed.port is not None:
        raise ValueError(f"host {host!r}: expected a host name without a port")
    return parsed.name
