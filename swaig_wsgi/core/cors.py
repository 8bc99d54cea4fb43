"""The origins that may read responses: decisions of the Fetch standard's CORS protocol.

CORS only tells a browser what its pages may *read*. It does not prevent requests from being sent;
:func:`refuses_origin` is the separate, opt-in check that rejects forged ones.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ._validation import ArgumentTypeError, check_bool, check_int, check_items
from .headers import Headers, is_token
from .hosts import HostError, a_labels
from .urls import ends_in_number

__all__ = [
    "PREFLIGHT_VARY",
    "CORSPolicy",
    "Headers",
    "Preflight",
    "cors_policy",
    "parse_origin",
    "parse_origin_pattern",
    "preflight",
    "refuses_origin",
    "replace_cors_headers",
    "response_headers",
]

#: Request fields that a response to a preflight depends on.
PREFLIGHT_VARY = ("Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers")

_ORIGIN = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[^:]*))?"
)
_DOMAIN = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
#: What `*` in a pattern matches. Browsers send every host in this form.
_LABELS = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}
# Browsers send these in upper case, however a script spells them (Fetch, "normalize").
_NORMALIZED_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"})
# RFC 9110 section 9.2.1.
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_EXPECTED = "expected scheme://host or scheme://host:port, such as 'https://app.example.com'"
_EXPECTED_PATTERN = "expected scheme://*.domain, such as 'https://*.example.com'"


def parse_origin(text: str) -> str:
    """Return a configured origin as browsers serialize it in ``Origin`` (RFC 6454 section 6.2).

    Scheme and host are in lower case, the scheme's default port is dropped, an international name
    becomes A-labels, an IPv6 address gets its shortest form. A trailing dot of the host stays: to
    a browser that is another origin.

    Raises:
        TypeError: `text` is not a string.
        ValueError: `text` is not exactly one origin, or it is ``null``. Every sandboxed frame and
            local file sends ``null``, so allowing it would allow every page.
    """
    if not isinstance(text, str):
        raise ArgumentTypeError(f"origin {text!r} is not a string: {_EXPECTED}")
    if "@" in text:  # The message omits the value: a password may precede the "@".
        raise ValueError(f"an origin contains no user information: {_EXPECTED}")
    if text.strip().lower() == "null":
        reason = "any page can make a browser send it from a sandboxed frame"
        raise ValueError(f"origin 'null' cannot be allowed: {reason}; {_EXPECTED}")
    try:
        return _serialize(text)
    except ValueError as error:
        raise ValueError(f"origin {text!r}: {error}; {_EXPECTED}") from None


def parse_origin_pattern(text: str) -> str:
    """Return a configured origin, or a pattern of origins, in the form of :func:`parse_origin`.

    In a pattern, ``https://*.example.com``, ``*`` stands for one or more whole labels: it matches
    ``https://a.example.com`` and ``https://a.b.example.com``, but not ``https://example.com``.
    Scheme and port match exactly. At least two labels must follow ``*``; whether anyone can
    register names below them, as below ``co.uk``, is not checked.

    Raises:
        TypeError, ValueError: as for :func:`parse_origin`; or ``*`` stands elsewhere, before an
            address, or before fewer than two labels.
    """
    if not isinstance(text, str) or "*" not in text or "@" in text:
        return parse_origin(text)
    try:
        return _serialize_pattern(text)
    except ValueError as error:
        raise ValueError(f"origin {text!r}: {error}; {_EXPECTED_PATTERN}") from None


def _serialize_pattern(text: str) -> str:
    scheme, separator, rest = text.partition("://*.")
    if not separator or "*" in scheme + rest:
        raise ValueError("'*' can only be the first label of a host")
    origin = _serialize(f"{scheme}://{rest}")
    scheme, _, rest = origin.partition("://")
    host = rest.partition(":")[0].rstrip(".")
    if rest.startswith("[") or ends_in_number(host):
        raise ValueError("an address has no subdomains")
    if "." not in host:
        raise ValueError("at least two labels must follow '*'")
    return f"{scheme}://*.{rest}"


def _serialize(text: str) -> str:
    if any(char.isspace() or not char.isprintable() for char in text):
        raise ValueError("contains a space or a control character")
    scheme, separator, rest = text.partition("://")
    if not separator or not scheme:
        raise ValueError("has no scheme")
    if rest.endswith("/") and not re.search(r"[/?#\\]", rest[:-1]):
        raise ValueError("an origin has no path; leave out the trailing '/'")
    if re.search(r"[/?#\\]", rest):
        raise ValueError("an origin has no path, query or fragment")
    if "*" in rest:
        raise ValueError("a host cannot contain '*'; name each origin, or allow '*' alone")
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise ValueError("is malformed")
    scheme = match["scheme"].lower()
    port = "" if match["port"] is None else _port(match["port"], scheme)
    return f"{scheme}://{_host(match['host'])}{port}"


def _port(digits: str, scheme: str) -> str:
    if not re.fullmatch(r"[0-9]{1,5}", digits) or not 0 < int(digits) < 65536:
        raise ValueError("the port is not a number from 1 to 65535")
    return "" if _DEFAULT_PORTS.get(scheme) == int(digits) else f":{int(digits)}"


def _host(host: str) -> str:
    if host.startswith("["):
        return f"[{_ipv6(host[1:-1])}]"
    try:
        name = a_labels(host).lower()
    except HostError as error:
        raise ValueError(f"the host is {error}") from None
    if not _DOMAIN.fullmatch(name) or len(name.rstrip(".")) > 253:
        raise ValueError("the host is not a domain name or an address")
    if ends_in_number(name.rstrip(".")):
        # Browsers parse any such name as an IPv4 address and send only its canonical form.
        return str(ipaddress.IPv4Address(name))
    return name


def _ipv6(text: str) -> str:
    if "%" in text:
        raise ValueError("an IPv6 zone is not part of an origin")
    address = ipaddress.IPv6Address(text)
    if address.ipv4_mapped is not None:
        # Browsers write hexadecimal here; Python's spelling depends on its version.
        low = int(address) & 0xFFFFFFFF
        return f"::ffff:{low >> 16:x}:{low & 0xFFFF:x}"
    return address.compressed


@dataclass(frozen=True)
class CORSPolicy:
    """A compiled policy; build one with :func:`cors_policy`."""

    #: Allowed origins as browsers serialize them; empty with `any_origin`.
    origins: frozenset[str]
    #: ``*``: every page may read responses, without credentials.
    any_origin: bool
    allow_methods: frozenset[str]
    #: Header names in lower case; None allows all well-formed names.
    allow_headers: frozenset[str] | None
    #: Fields of responses to an allowed origin, besides ``Access-Control-Allow-Origin``.
    answer_headers: Headers
    preflight_headers: Headers
    #: Request fields that every response depends on.
    vary: tuple[str, ...]
    #: What the origins of each pattern start and end with: ``("https://", ".example.com")``.
    patterns: tuple[tuple[str, str], ...] = ()

    def allows(self, origin: str | None) -> bool:
        """Return whether a page of `origin`, the value of ``Origin``, may read responses.

        The comparison is exact, as the Fetch standard requires: a prefix, a suffix, another case,
        a list or a trailing dot is another origin. The ``*`` of a pattern stands for whole labels.
        """
        if self.any_origin or origin in self.origins:
            return True
        return origin is not None and any(_matches(origin, *pattern) for pattern in self.patterns)


def _matches(origin: str, start: str, end: str) -> bool:
    if not (origin.startswith(start) and origin.endswith(end)):
        return False
    # Without the labels between them, `start` and `end` may overlap; then nothing matches.
    return _LABELS.fullmatch(origin, len(start), len(origin) - len(end)) is not None


def cors_policy(
    origins: Iterable[str],
    *,
    allow_credentials: bool = True,
    allow_methods: Iterable[str] = ("GET", "POST"),
    allow_headers: Iterable[str] | None = None,
    expose_headers: Iterable[str] = (),
    max_age: int = 600,
) -> CORSPolicy:
    """Compile a policy.

    Args:
        origins: allowed origins and patterns, as :func:`parse_origin_pattern` accepts them; or
            ``("*",)`` for all; empty for none.
        allow_credentials: let pages send cookies and passwords. Ignored with ``*``, since any
            website could then act as its visitor.
        allow_methods: methods that a preflight may ask for, case-sensitive.
        allow_headers: request headers that it may ask for; None for all.
        expose_headers: response headers that scripts may read.
        max_age: seconds for which a browser may cache a preflight.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is malformed; the message names it.
    """
    allowed = check_items("origins", origins, "('https://app.example.com',)")
    any_origin = "*" in allowed
    if any_origin and len(set(allowed)) > 1:
        raise ValueError("origins: '*' allows every origin and cannot be combined with others")
    check_bool("allow_credentials", allow_credentials)
    check_int("max_age", max_age, 0)
    methods = _tokens("allow_methods", allow_methods)
    for method in methods:
        if method.upper() in _NORMALIZED_METHODS and not method.isupper():
            raise ValueError(f"allow_methods: browsers send {method!r} as {method.upper()!r}")
    parsed = () if any_origin else tuple(dict.fromkeys(map(parse_origin_pattern, allowed)))
    patterns = (each.split("*") for each in parsed if "*" in each)
    headers = None if allow_headers is None else _tokens("allow_headers", allow_headers)
    exposed = _tokens("expose_headers", expose_headers)

    credentials: Headers = ()
    if allow_credentials and not any_origin:
        credentials = (("Access-Control-Allow-Credentials", "true"),)
    answer_headers = credentials
    if exposed:
        answer_headers += (("Access-Control-Expose-Headers", ", ".join(exposed)),)
    preflight_headers = (
        *credentials,
        ("Access-Control-Allow-Methods", ", ".join(methods)),
        ("Access-Control-Max-Age", str(max_age)),
    )
    return CORSPolicy(
        origins=frozenset(each for each in parsed if "*" not in each),
        any_origin=any_origin,
        allow_methods=frozenset(methods),
        allow_headers=None if headers is None else frozenset(map(str.lower, headers)),
        answer_headers=answer_headers,
        preflight_headers=preflight_headers,
        vary=() if any_origin else ("Origin",),
        patterns=tuple((start, end) for start, end in patterns),
    )


def _tokens(what: str, values: Iterable[str]) -> tuple[str, ...]:
    names = check_items(what, values, "('X-One', 'X-Two')")
    for name in names:
        if not is_token(name):
            raise ValueError(f"{what}: {name!r} is not a token (RFC 9110 section 5.6.2)")
        if name == "*":
            raise ValueError(f"{what}: '*' is not supported, name each")
    return tuple(dict.fromkeys(names))


class Preflight(NamedTuple):
    """The decision on a preflight: the fields of its response, or the reason of its refusal."""

    headers: Headers
    #: ``origin_not_allowed``, ``method_not_allowed``, ``header_not_allowed``, or "" when allowed.
    refused: str


def preflight(
    policy: CORSPolicy, origin: str, method: str, request_headers: str | None = None
) -> Preflight:
    """Decide a CORS-preflight request (Fetch, "CORS protocol").

    A refused preflight gets no ``Access-Control-*`` header, so the browser sends no request.

    Args:
        origin: the value of ``Origin``.
        method: the value of ``Access-Control-Request-Method``.
        request_headers: the value of ``Access-Control-Request-Headers``, None if missing.
    """
    if not policy.allows(origin):
        return Preflight((), "origin_not_allowed")
    # HEAD is GET without the content, and CORS-safelisted as GET is (Fetch, "Methods").
    if method not in policy.allow_methods and not (
        method == "HEAD" and "GET" in policy.allow_methods
    ):
        return Preflight((), "method_not_allowed")
    names = [name.strip(" \t").lower() for name in (request_headers or "").split(",")]
    names = list(dict.fromkeys(filter(None, names)))
    allowed = policy.allow_headers
    if not all(is_token(name) if allowed is None else name in allowed for name in names):
        return Preflight((), "header_not_allowed")
    headers = (_allow_origin(policy, origin), *policy.preflight_headers)
    if names:
        headers += (("Access-Control-Allow-Headers", ", ".join(names)),)
    return Preflight(headers, "")


def response_headers(policy: CORSPolicy, origin: str | None) -> Headers:
    """Return the CORS fields of a response to a request with this ``Origin`` (None if missing)."""
    if not policy.allows(origin):
        return ()
    return (_allow_origin(policy, origin or ""), *policy.answer_headers)


def _allow_origin(policy: CORSPolicy, origin: str) -> tuple[str, str]:
    return ("Access-Control-Allow-Origin", "*" if policy.any_origin else origin)


def replace_cors_headers(
    existing: Iterable[tuple[str, str]], ours: Iterable[tuple[str, str]], vary: tuple[str, ...]
) -> list[tuple[str, str]]:
    """Return an application's response headers with its CORS decision replaced by `ours`.

    Every ``Access-Control-*`` field of the application is dropped: an application that reflects
    any ``Origin`` would override the policy. `vary` is merged into ``Vary``.
    """
    headers: list[tuple[str, str]] = []
    varies: list[tuple[str, str]] = []
    existing = list(existing)
    # Nearly all responses have neither, which one search in all names finds out.
    names = "\n".join(dict(existing)).lower()
    if "access-control-" not in names and "vary" not in names:
        return [*existing, *_merge_vary(varies, vary), *ours]
    for pair in existing:
        name = pair[0].lower()
        if name == "vary":
            varies.append(pair)
        elif not name.startswith("access-control-"):
            headers.append(pair)
    return [*headers, *_merge_vary(varies, vary), *ours]


def _merge_vary(varies: list[tuple[str, str]], vary: tuple[str, ...]) -> list[tuple[str, str]]:
    if not vary:
        return varies
    if not varies:
        return [("Vary", ", ".join(vary))]
    members = [member.strip(" \t") for _, value in varies for member in value.split(",")]
    known = {member.lower() for member in members}
    missing = [name for name in vary if name.lower() not in known]
    if not missing or "*" in known:
        return varies
    return [("Vary", ", ".join([*filter(None, members), *missing]))]


def refuses_origin(
    policy: CORSPolicy,
    method: str,
    origin: str | None,
    scheme: str,
    host: str | None,
    fetch_site: str | None = None,
) -> bool:
    """Return whether to refuse a request as forged by another site (CSRF).

    A request with an unsafe method (RFC 9110 section 9.2.1) is refused if its ``Origin`` is
    neither allowed nor the service's own, ``scheme://host``; or, unless its ``Origin`` is allowed,
    if ``Sec-Fetch-Site`` names another site or origin. Browsers send both with every such request,
    and pages cannot choose them. Clients other than browsers send neither and pass: they have no
    ambient credentials that a page could abuse.

    An origin that only a pattern allows is refused, too: one subdomain that was taken over could
    act as every visitor.

    Args:
        host: the host of the service, or None if only the client vouches for it: a page whose
            name resolves to this service (DNS rebinding) sends a matching pair.
        fetch_site: the value of ``Sec-Fetch-Site`` (Fetch Metadata), None if missing. It only
            refuses: ``same-origin`` may also be the result of DNS rebinding.
    """
    if method in _SAFE_METHODS or policy.any_origin or origin in policy.origins:
        return False
    if fetch_site not in (None, "same-origin", "none"):
        return True
    if origin is None:
        return False
    if host is None:
        return True
    try:
        return parse_origin(f"{scheme}://{host}") != origin
    except ValueError:
        return True
