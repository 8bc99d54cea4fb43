"""Absolute URLs: parsing base URLs, building public ones and those that the platform calls."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

from ._credential_checks import check_basic_pair
from ._memo import remembered
from ._validation import ArgumentTypeError
from .hosts import Host, HostError, parse_host
from .tokens import TokenError, token_from_query

__all__ = [
    "DEFAULT_PORTS",
    "PATH_SAFE",
    "BaseUrl",
    "UrlError",
    "as_configured",
    "ends_in_number",
    "format_authority",
    "join_url",
    "parse_authority",
    "parse_base_url",
    "split_url",
    "tool_url",
    "with_credentials",
]

#: The port of each scheme.
DEFAULT_PORTS = {"http": 80, "https": 443}

#: The punctuation that RFC 3986 section 3.3 allows in a path, and the slash.
PATH_SAFE = "/:@!$&'()*+,;=-._~"

_SPLIT = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(.*)", re.DOTALL)
_NOT_IN_A_URI = re.compile(r"[^A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]|%(?![0-9A-Fa-f]{2})")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")


class UrlError(ValueError):
    """A rejected URL.

    Attributes:
        reason: ``malformed``, ``bad_scheme``, ``has_credentials``, ``bad_host``,
            ``unresolvable`` or ``private_address``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def split_url(url: str, schemes: Iterable[str]) -> tuple[str, str, str, str]:
    """Return scheme (lower case), authority, path, and the rest from ``?`` or ``#`` on.

    Raises:
        UrlError: `url` is not absolute, has another scheme, or contains credentials.
    """
    match = _SPLIT.fullmatch(url)
    if match is None:
        raise UrlError("malformed", "expected an absolute URL such as https://agent.example.com")
    scheme, authority, path, rest = match.groups()
    scheme = scheme.lower()
    if scheme not in schemes:
        expected = " or ".join(f"{each}://" for each in schemes)
        raise UrlError("bad_scheme", f"expected a URL that starts with {expected}")
    if "@" in authority:
        raise UrlError("has_credentials", "expected a URL without user and password")
    return scheme, authority, path, rest


def parse_authority(authority: str) -> Host:
    """Parse ``host[:port]``, with a host that every resolver interprets alike.

    Raises:
        UrlError: it is malformed, or ends in a number without being a canonical address.
    """
    try:
        host = parse_host(authority)
    except HostError:
        host = None
    if host is None or (host.address is None and ends_in_number(host.name)):
        raise UrlError(
            "bad_host",
            "expected a host name in ASCII (an IDN in its xn-- form), an IPv4 address in dotted "
            "decimal or an IPv6 address in brackets, with at most a port from 1 to 65535",
        )
    return host


def ends_in_number(name: str) -> bool:
    """Return whether the last label of `name` (lower case, no trailing dot) is a number.

    Resolvers parse such a name as an IPv4 address, each by its own rules (URL Standard, "ends in a
    number").
    """
    return _NUMERIC_LABEL.fullmatch(name.rpartition(".")[2]) is not None


def format_authority(scheme: str, host: Host) -> str:
    """Return ``host[:port]``, an IPv6 address in brackets, without the scheme's default port."""
    name = f"[{host.name}]" if ":" in host.name else host.name
    return name if host.port in (None, DEFAULT_PORTS[scheme]) else f"{name}:{host.port}"


@remembered(maxsize=256, max_length=256)
def parse_base_url(text: str) -> str:
    """Return the base URL `text` as ``scheme://host[:port][/path]``, without a trailing slash.

    Scheme and host become lower case, the scheme's default port is dropped.

    Raises:
        UrlError: `text` is not an absolute http or https URL, or contains credentials, a query, a
            fragment, dot segments, or a character that must be percent-encoded. The message never
            contains `text`, which may hold a password.
    """
    if not isinstance(text, str) or _NOT_IN_A_URI.search(text):
        raise UrlError("malformed", "expected a URL in ASCII, everything else percent-encoded")
    scheme, authority, path, rest = split_url(text, ("https", "http"))
    if rest:
        raise UrlError("malformed", "expected a base URL without query and fragment")
    if any(segment in (".", "..") for segment in path.split("/")):
        raise UrlError("malformed", "expected a base URL without dot segments")
    host = parse_authority(authority)
    return f"{scheme}://{format_authority(scheme, host)}{path.rstrip('/')}"


class BaseUrl(str):
    """A base URL, normalized by :func:`parse_base_url`, that knows its spelling.

    The platform signs the URL that its user typed, perhaps with upper-case letters in the host.
    """

    #: The URL as configured, without slashes at its end.
    spelled: str

    def __new__(cls, text: str) -> BaseUrl:
        """Parse `text`; raise UrlError as :func:`parse_base_url`."""
        url = super().__new__(cls, parse_base_url(text))
        url.spelled = as_configured(text)
        return url


def as_configured(url: str) -> str:
    """Return a valid base URL in its original spelling, without slashes at its end."""
    return url.spelled if isinstance(url, BaseUrl) else url.rstrip("/")


def join_url(base: str, path: str) -> str:
    """Append `path` to `base`, with one slash between them.

    Args:
        base: a URL without query, as from :func:`parse_base_url`.
        path: plain text; characters not allowed in a path, and ``?``, ``#`` and ``%``, are
            percent-encoded as UTF-8.
    """
    return base.rstrip("/") + "/" + quote(path.lstrip("/"), safe=PATH_SAFE)


def with_credentials(url: str, user: str, password: str) -> str:
    """Return `url` with `user` and `password` in it, both percent-encoded as UTF-8.

    Every reserved character is encoded, so that ``p@ss:w/ö`` changes neither host nor path.

    Raises:
        UrlError: `url` is not absolute or has credentials already, or `user` or `password`
            contains a lone surrogate. The message contains neither.
    """
    match = _SPLIT.fullmatch(url)
    if match is None:
        raise UrlError("malformed", "credentials need an absolute URL to go into")
    if "@" in match[2]:
        raise UrlError("has_credentials", "the URL has credentials already")
    try:
        userinfo = f"{quote(user, safe='')}:{quote(password, safe='')}"
    except UnicodeEncodeError:
        # The original error carries the password.
        raise UrlError("malformed", "user or password is not valid Unicode text") from None
    return f"{match[1]}://{userinfo}@{match[2]}{match[3]}{match[4]}"


def tool_url(url: str, token: str, basic_auth: tuple[str, str] | None = None) -> str:
    """Return the URL at which the platform calls a tool.

    The platform sends no headers of your choice, so the URL itself carries the secrets: the token
    in its query, the user name and password before its host. Take the host of `url` from
    ``SWML_PROXY_URL_BASE`` or an allowlist: a client that can choose it would get these secrets.

    Args:
        url: absolute URL of the endpoint, with or without a query.
        token: the token of this tool in this call, as ``SessionManager.generate_token`` returns it.
        basic_auth: user name and password, as ``AuthHandler`` takes them; None if `url` has
            credentials already.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the Basic scheme cannot carry `basic_auth`.
        UrlError: `url` is not an absolute http or https URL in ASCII, or has a fragment, a token
            or other credentials already; or `token` is not base64url. No message contains a secret.
    """
    # The messages name types: the values may be secrets.
    for name, value in (("url", url), ("token", token)):
        if not isinstance(value, str):
            raise ArgumentTypeError(f"{name} must be a string, not {type(value).__name__}")
    if "#" in url:
        raise UrlError("malformed", "a URL with a fragment cannot carry a token")
    if _NOT_IN_A_URI.search(url):
        raise UrlError("malformed", "expected a URL in ASCII, everything else percent-encoded")
    base, _, query = url.partition("?")
    match = _SPLIT.fullmatch(base)
    if match is None:
        raise UrlError("malformed", "expected an absolute URL")
    if match[1].lower() not in DEFAULT_PORTS:
        raise UrlError("bad_scheme", "expected a URL that starts with https:// or http://")
    parse_authority(match[2].rpartition("@")[2])
    if _BASE64URL.fullmatch(token) is None:
        raise UrlError("malformed", "expected a token in base64url, from generate_token()")
    try:
        present = token_from_query(query)
    except TokenError:
        present = ""
    if present is not None:
        raise UrlError("malformed", "the URL has a token already")
    if basic_auth is not None:
        base = with_credentials(base, *check_basic_pair(basic_auth, "basic_auth"))
    return f"{base}?{query}{'&' if query else ''}__token={token}"
