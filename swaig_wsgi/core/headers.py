"""The set of security headers, its validation, and the HSTS value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ._patterns import lazy_pattern
from ._validation import ArgumentTypeError, check_bool, check_int, check_match, shorten

__all__ = [
    "AGENT_HEADERS",
    "PRELOAD_MIN_AGE",
    "SECURITY_HEADERS",
    "SITE_HEADERS",
    "Headers",
    "hsts_value",
    "insert_nonce",
    "is_nonce",
    "is_token",
    "missing_headers",
    "security_headers",
    "uses_nonce",
]

#: Names and values of fields.
Headers = tuple[tuple[str, str], ...]

#: The headers of every response (the SDK's guide, "Security Headers").
SECURITY_HEADERS: Headers = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("X-XSS-Protection", "1; mode=block"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
)

#: The headers of a site's responses. ``X-XSS-Protection`` is not one: it configures a filter that
#: current browsers do not have, and with which other sites could disable a page's own scripts.
SITE_HEADERS: Headers = tuple(field for field in SECURITY_HEADERS if field[0] != "X-XSS-Protection")

#: Further headers of an agent's own responses, as overrides for :func:`security_headers`. These are
#: machine-readable documents with credentials: browsers need not render them, caches must not
#: store them.
AGENT_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": (
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        ),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": (
            "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
        ),
        "Cache-Control": "no-store",
    }
)

#: The minimum ``max-age`` that browsers' preload lists accept, in seconds.
PRELOAD_MIN_AGE = 31_536_000

_TOKEN = lazy_pattern(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = lazy_pattern(r"(?! )[\x20-\x7e\xa0-\xff]+(?<! )")
# Fields about one message or one connection, which the server sends.
_SERVER_FIELD = lazy_pattern(
    "connection|content-length|keep-alive|proxy-authenticate|proxy-authorization|proxy-connection"
    "|status|te|trailers?|transfer-encoding|upgrade",
    re.IGNORECASE,
)
# The source expression that stands for the nonce of each request, and the headers that allow it.
_NONCE_SOURCE = "'nonce-{nonce}'"
_POLICIES = frozenset({"content-security-policy", "content-security-policy-report-only"})
# 128 bits or more, in base64url.
_NONCE = lazy_pattern(r"[\w-]{22,128}", re.ASCII)


def is_token(text: object) -> bool:
    """Return whether `text` is a token (RFC 9110 section 5.6.2), as field names and methods are."""
    return isinstance(text, str) and _TOKEN.fullmatch(text) is not None


def security_headers(
    overrides: Mapping[str, str | None] | None = None, defaults: Headers = SECURITY_HEADERS
) -> Headers:
    """Return `defaults` with `overrides` applied, validated.

    A name in `overrides`, in any case, replaces the value of a default, drops the default if its
    value is None, or adds a field.

    Raises:
        TypeError: `overrides` is not a mapping, or a name or value is not a string.
        ValueError: a name is not a token, is repeated, or is for the server to send; or a value is
            empty or contains a character that might end the line and inject a header or response:
            CR, LF, NUL, any other control character, anything outside Latin-1.
    """
    if not isinstance(overrides, (Mapping, type(None))):
        raise ArgumentTypeError(
            f'headers must be a mapping, such as {{"X-Frame-Options": None}}, '
            f"not {shorten(overrides)}"
        )
    headers = {name.lower(): (name, value) for name, value in defaults}
    seen: set[str] = set()
    for name, value in (overrides or {}).items():
        _check_name(name)
        key = name.lower()
        if key in seen:
            raise ValueError(f"header {name!r} is given twice")
        seen.add(key)
        if value is None:
            headers.pop(key, None)
            continue
        if key == "strict-transport-security":
            raise ValueError(f"header {name!r} is for https only; use HSTSMiddleware")
        headers[key] = (name, value)
    for name, value in headers.values():
        _check_name(name)
        expected = "Latin-1 text without control characters and spaces at its ends, or None"
        check_match(f"header {name!r}", value, _VALUE, expected)
    return tuple(headers.values())


def _check_name(name: str) -> None:
    check_match("header name", name, _TOKEN, "a token (RFC 9110 section 5.1)")
    if _SERVER_FIELD.fullmatch(name):
        raise ValueError(f"header {name!r} is for the server to send")


def uses_nonce(headers: Headers) -> bool:
    """Return whether a policy in `headers` contains ``'nonce-{nonce}'``.

    Raises:
        ValueError: a Content-Security-Policy has another placeholder, another spelling of this one,
            or a nonce that would be the same in every response; or another header contains
            ``{nonce}``.
    """
    found = False
    for name, value in headers:
        if name.lower() not in _POLICIES:
            if "{nonce}" in value:
                raise ValueError(f"header {name!r}: a nonce is for Content-Security-Policy")
            continue
        for source in re.split("[ ;,]+", value):
            if source == _NONCE_SOURCE:
                found = True
            elif re.search("[{}]|^[\"']nonce|^nonce-", source, re.IGNORECASE):
                raise ValueError(
                    f"header {name!r}: a nonce is written {_NONCE_SOURCE}, with the single quotes "
                    f"and the braces, not {shorten(source)[1:-1]}; each request has its own"
                )
    return found


def insert_nonce(headers: Headers, nonce: str) -> Headers:
    """Return `headers` with `nonce` for each ``{nonce}``."""
    return tuple((name, value.replace("{nonce}", nonce)) for name, value in headers)


def is_nonce(value: object) -> bool:
    """Return whether `value` may be a nonce: base64url, and long enough for 128 random bits.

    Anything else could end the policy, or be guessed (CSP Level 3, section 7.1).
    """
    return isinstance(value, str) and _NONCE.fullmatch(value) is not None


def hsts_value(
    max_age: int = PRELOAD_MIN_AGE, *, include_subdomains: bool = True, preload: bool = False
) -> str:
    """Return the value of ``Strict-Transport-Security`` (RFC 6797 section 6.1).

    Args:
        max_age: seconds for which browsers refuse plain http; 0 makes them forget the host, with
            its subdomains, and is sent alone.
        include_subdomains: cover all subdomains, each of which must then support https.
        preload: consent to inclusion in browsers' built-in lists. Hard to undo.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `max_age` is negative; or `preload` is set without `include_subdomains` and a
            `max_age` of at least a year, which the lists require.
    """
    check_int("max_age", max_age, 0)
    check_bool("include_subdomains", include_subdomains)
    check_bool("preload", preload)
    if preload and not (include_subdomains and max_age >= PRELOAD_MIN_AGE):
        raise ValueError(f"preload needs include_subdomains, and a max_age from {PRELOAD_MIN_AGE}")
    subdomains = "; includeSubDomains" if include_subdomains and max_age else ""
    return f"max-age={max_age}{subdomains}{'; preload' if preload else ''}"


def missing_headers(
    existing: Iterable[tuple[str, str]], wanted: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return the fields of `wanted` whose names, in any case, are not in `existing`."""
    # The names in lower case without a loop in Python: each response passes here.
    wanted, present = tuple(wanted), set(map(str.lower, dict(existing)))
    if present.isdisjoint(map(str.lower, dict(wanted))):
        return list(wanted)
    return [pair for pair in wanted if pair[0].lower() not in present]
