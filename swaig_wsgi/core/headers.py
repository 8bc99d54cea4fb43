"""The security header set, its checks, and the HSTS value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

Headers = tuple[tuple[str, str], ...]

#: What every answer carries (seed, "Security Headers").
SECURITY_HEADERS: Headers = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("X-XSS-Protection", "1; mode=block"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
)

#: What an agent's own answers carry besides, as overrides for :func:`security_headers`: documents
#: for machines, with credentials in them, that no browser has to render and no cache may keep.
AGENT_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Permissions-Policy": (
            "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
        ),
        "Cache-Control": "no-store",
    }
)

#: The least ``max-age`` that browsers' preload lists accept, in seconds.
PRELOAD_MIN_AGE = 31_536_000

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x20-\x7e\xa0-\xff]+")
#: Fields about one message or one connection: the server's, never those of every answer.
_SERVER_FIELDS = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "status",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    }
)


def is_token(text: object) -> bool:
    """Tell whether `text` is a token (RFC 9110 section 5.6.2), as field names and methods are."""
    return isinstance(text, str) and _TOKEN.fullmatch(text) is not None


def security_headers(
    overrides: Mapping[str, str | None] | None = None, defaults: Headers = SECURITY_HEADERS
) -> Headers:
    """Return `defaults` changed by `overrides`, checked.

    A name in `overrides`, in any case spelling, replaces a default's value, drops the default when
    its value is None, or adds a field.

    Raises:
        ValueError: a name is no token, stands twice, or is the server's to send; or a value is
            empty, or holds a character that could end the line and start a header (or an answer)
            of an attacker's choice: CR, LF, NUL, any other control, anything beyond Latin-1.
    """
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
            raise ValueError(f"header {name!r} is for https alone; use HSTSMiddleware")
        headers[key] = (name, value)
    for name, value in headers.values():
        _check_name(name)
        _check_value(name, value)
    return tuple(headers.values())


def _check_name(name: str) -> None:
    if not is_token(name):
        raise ValueError(f"header name {name!r} is not a token (RFC 9110 section 5.1)")
    if name.lower() in _SERVER_FIELDS:
        raise ValueError(f"header {name!r} is for the server to send")


def _check_value(name: str, value: str) -> None:
    if not isinstance(value, str) or not _VALUE.fullmatch(value) or value != value.strip(" "):
        raise ValueError(
            f"header {name!r}: expected Latin-1 text without control characters and without"
            " spaces at its ends; None drops the header"
        )


def hsts_value(
    max_age: int = PRELOAD_MIN_AGE, *, include_subdomains: bool = True, preload: bool = False
) -> str:
    """Return the value of ``Strict-Transport-Security`` (RFC 6797 section 6.1).

    Args:
        max_age: seconds for which browsers refuse plain http; 0 makes them forget the host.
        include_subdomains: all subdomains, too: check that each of them speaks https.
        preload: agree to the lists that browsers ship. Hard to undo.

    Raises:
        ValueError: `max_age` is not a whole number from 0; or `preload` without what the lists
            ask for: `include_subdomains` and a `max_age` of a year at least.
    """
    if isinstance(max_age, bool) or not isinstance(max_age, int) or max_age < 0:
        raise ValueError(f"max_age: expected a whole number of seconds, not {max_age!r}")
    for what, flag in (("include_subdomains", include_subdomains), ("preload", preload)):
        if not isinstance(flag, bool):
            raise ValueError(f"{what}: expected True or False, not {flag!r}")
    if preload and not (include_subdomains and max_age >= PRELOAD_MIN_AGE):
        raise ValueError(
            f"preload needs include_subdomains and a max_age of at least {PRELOAD_MIN_AGE}"
        )
    subdomains = "; includeSubDomains" if include_subdomains else ""
    return f"max-age={max_age}{subdomains}{'; preload' if preload else ''}"


def missing_headers(
    existing: Iterable[tuple[str, str]], wanted: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return those of `wanted` whose names `existing` does not have in any case spelling."""
    present = {name.lower() for name, _ in existing}
    return [pair for pair in wanted if pair[0].lower() not in present]
