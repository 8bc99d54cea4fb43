"""Security headers and HSTS."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Callable

from ..core.headers import (
    PRELOAD_MIN_AGE,
    SECURITY_HEADERS,
    Headers,
    hsts_value,
    insert_nonce,
    is_nonce,
    missing_headers,
    security_headers,
    uses_nonce,
)
from ..core.hosts import HostError, parse_host
from ..wsgi import PAGE_FIELDS, REFUSAL
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._inner_app import InnerApp
from ._options import hint_for
from ._response_fields import ADDITIONS, FieldNames, Fields

__all__ = ["HSTSMiddleware", "SecurityHeadersMiddleware"]


#: In the environ of a request, the nonce of its Content-Security-Policy.
CSP_NONCE = "swaig_wsgi.csp_nonce"

#: What other layers send, and how to turn it off.
_ELSEWHERE = {
    "strict-transport-security": "HSTSMiddleware sends it; in harden, use_hsts=False turns it off",
    "x-request-id": "RequestIDMiddleware sends it, and harden always has one",
    "ratelimit": "RateLimitMiddleware sends it; in harden, rate_limit=None turns it off",
    "ratelimit-policy": "RateLimitMiddleware sends it; in harden, rate_limit=None turns it off",
}


class SecurityHeadersMiddleware:
    """Add the security headers that the application did not send itself.

    Place it outside every layer that may refuse, so that refusals carry the headers too
    ("Security Headers" in the SDK's guide).

    In a Content-Security-Policy, Report-Only or not, ``{nonce}`` in ``'nonce-{nonce}'`` is replaced
    with 128 random bits, different for each request (CSP Level 3, section 7.1). The application
    reads them from ``environ["swaig_wsgi.csp_nonce"]``. An inner layer uses the nonce of an outer
    one. A response with status 304 has no such policy: it would replace the one that was stored
    with the page, which contains an earlier nonce (RFC 9111 section 4.3.4).

    Args:
        app: the wrapped application.
        headers: changes to `defaults`. A value replaces a default or adds a header, None drops a
            default.
        defaults: the headers to change. By default those of the SDK's guide, which are for agents;
            around a site, pass :data:`~swaig_wsgi.core.headers.SITE_HEADERS`, as :func:`harden`
            does, which lack ``X-XSS-Protection``.
        keep_on_refusals: if True, refusals of this library have the defaults that `headers` drops:
            an application that sends such a header itself does not see them.

    Raises:
        TypeError: `headers` is not a mapping, or a name or value is not a string.
        ValueError: a header is malformed, a placeholder is misspelt, or None is given for what is
            not a default; the message names it.
    """

    app = InnerApp()
    _next: WSGIApplication

    #: See :func:`.merge_fields`.
    merged = False

    def __init__(
        self,
        app: WSGIApplication,
        headers: Mapping[str, str | None] | None = None,
        *,
        defaults: Headers = SECURITY_HEADERS,
        keep_on_refusals: bool = False,
    ) -> None:
        self.app = app
        self.headers = security_headers(headers, defaults)
        _check_dropped(headers or {}, defaults)
        kept = defaults if keep_on_refusals else ()
        self._refusal_headers = (*self.headers, *missing_headers(self.headers, kept))
        self._uses_nonce = uses_nonce(self.headers)
        self._not_modified_headers = tuple(
            field for field in self.headers if not uses_nonce((field,))
        )
        self._addition = (_add_missing, self.headers)

    def field_names(self) -> FieldNames | None:
        """Return the names for :func:`.merge_fields`, None if not all responses get the same."""
        same = self._refusal_headers == self.headers and not self._uses_nonce
        return _names(self.headers) if same else None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self.merged:
            getattr(start_response, ADDITIONS).append(self._addition)
            return self._next(environ, start_response)
        nonce = _nonce(environ) if self._uses_nonce else ""

        def choose(status: str) -> Headers:
            added = self.headers
            if REFUSAL in environ:
                added = self._refusal_headers
            elif status.startswith("304"):
                added = self._not_modified_headers
            return insert_nonce(added, nonce) if nonce else added

        return self._next(environ, _adding(environ, choose, start_response))


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

    app = InnerApp()
    _next: WSGIApplication

    #: See :func:`.merge_fields`.
    merged = False

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
        self._addition = (_add_missing, self.headers)

    def field_names(self) -> FieldNames:
        """Return the names for :func:`.merge_fields`."""
        return _names(self.headers)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self.enabled and environ["wsgi.url_scheme"] == "https" and self._matches_host(environ):
            if self.merged:
                getattr(start_response, ADDITIONS).append(self._addition)
            else:
                start_response = _adding(environ, lambda status: self.headers, start_response)
        return self._next(environ, start_response)

    def _matches_host(self, environ: WSGIEnvironment) -> bool:
        host = environ.get("HTTP_HOST", "")
        if self.host is None or host == self.host:
            return True
        try:
            return parse_host(host).name == self.host
        except HostError:
            return False


def _adding(
    environ: WSGIEnvironment, choose: Callable[[str], Headers], start_response: StartResponse
) -> StartResponse:
    """Return a ``start_response`` that adds what is missing of the fields for a status."""

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        return start_response(status, _add_missing(environ, headers, choose(status)), exc_info)

    return start


def _add_missing(environ: WSGIEnvironment, headers: Fields, added: Fields) -> list[tuple[str, str]]:
    """Return `headers` and what is missing of `added`.

    They replace those that the page of a refusal sends itself.
    """
    if PAGE_FIELDS in environ:
        replaced = environ[PAGE_FIELDS].intersection(name.lower() for name, _ in added)
        headers = [field for field in headers if field[0].lower() not in replaced]
    return [*headers, *missing_headers(headers, added)]


def _names(fields: Fields) -> FieldNames:
    names = frozenset(name.lower() for name, _ in fields)
    return FieldNames(names, names)


def _check_dropped(changes: Mapping[str, str | None], defaults: Headers) -> None:
    """Raise ValueError if None drops what is not sent: a misspelled name would drop nothing."""
    # Those of an agent may be dropped from the shorter list of a site.
    known = dict([*defaults, *SECURITY_HEADERS])
    for name in {each for each, value in changes.items() if value is None}:
        if name.lower() not in map(str.lower, known):
            hint = _ELSEWHERE.get(name.lower()) or hint_for(name, known)
            raise ValueError(f"header {name!r}: None drops a default, and this is not one: {hint}")


def _nonce(environ: WSGIEnvironment) -> str:
    """Return the nonce of a request; generate it unless an outer layer has set one."""
    # No header field of a request can have this key: theirs begin with HTTP_.
    given = environ.get(CSP_NONCE)
    if not is_nonce(given):
        given = environ[CSP_NONCE] = secrets.token_urlsafe(16)
    return str(given)


def _host_name(host: str) -> str:
    parsed = parse_host(host) if isinstance(host, str) else None
    if parsed is None or parsed.port is not None:
        raise ValueError(f"host must be a host name without a port, not {host!r}")
    return parsed.name
