"""Validation of URLs that a client chose, before a server fetches them (SSRF)."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any, Callable, Union

from .hosts import Host
from .urls import DEFAULT_PORTS, UrlError, parse_authority, split_url

__all__ = ["CheckedUrl", "UrlError", "is_private_address", "validate_url"]

_VISIBLE_ASCII = re.compile(r"[!-~]*")

# Tables of our own: what the ipaddress module calls private changes between Python releases.
# From the IANA special-purpose address registries.
_PRIVATE_V4 = tuple(
    (int(net.network_address), int(net.netmask))
    for net in map(
        ip_network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",
            "168.63.129.16/32",  # the host agent of Azure: a public address that is not
            "169.254.0.0/16",  # link-local, with the metadata service of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
# All global unicast is in here, and everything else is refused: mapped and compatible IPv4,
# NAT64, unique and link- and site-local, multicast, and what nobody has assigned yet.
_GLOBAL_V6 = ip_network("2000::/3")
_PRIVATE_V6 = tuple(
    map(
        ip_network,
        (
            "2001::/23",  # Teredo, ORCHID, benchmarks
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "3ffe::/16",  # 6bone
            "3fff::/20",  # documentation
        ),
    )
)

_Address = Union[str, IPv4Address, IPv6Address]


def is_private_address(address: _Address) -> bool:
    """Tell whether `address` is one that a fetch for a stranger must not reach.

    True for every private, loopback, link-local, multicast, reserved, documentation and
    benchmark address, for carrier-grade NAT, for every IPv6 form that carries an IPv4 address
    (mapped, compatible, NAT64, 6to4, Teredo; whichever it carries), with or without a zone; in
    decimal, octal and hexadecimal spelling, with one to four parts; an octal-looking part is
    read both ways, and either makes it private. True, too, for whatever is not an address: a
    name says nothing about where it leads; :func:`validate_url` looks.
    """
    if isinstance(address, IPv4Address):
        return _is_private_v4(int(address))
    if isinstance(address, IPv6Address):
        address = str(address)
    if not isinstance(address, str) or not address.isascii():
        return True
    if ":" in address:
        return _is_private_v6(address.partition("%")[0])
    readings = [_read_v4(address, zero_is_octal) for zero_is_octal in (True, False)]
    known = [number for number in readings if number is not None]
    return not known or any(map(_is_private_v4, known))


def _is_private_v4(number: int) -> bool:
    return any(number & mask == network for network, mask in _PRIVATE_V4)


def _is_private_v6(text: str) -> bool:
    try:
        address = IPv6Address(text)
    except ValueError:
        return True
    if int(address) >> 32 & 0xFCFFFFFF == 0x00005EFE:
        return True  # ISATAP (RFC 5214 section 6.1): an IPv4 address behind any prefix
    return address not in _GLOBAL_V6 or any(address in network for network in _PRIVATE_V6)


def _read_v4(text: str, zero_is_octal: bool) -> int | None:
    """Read `text` as inet_aton does: the last part fills the bytes that the others leave."""
    parts = text.split(".")
    if len(parts) > 4:
        return None
    numbers = [_read_part(part, zero_is_octal) for part in parts]
    *leading, last = numbers
    value = 0
    for number in leading:
        if number is None or number > 255:
            return None
        value = value << 8 | number
    free_bits = 8 * (5 - len(parts))
    if last is None or last >> free_bits:
        return None
    return value << free_bits | last


def _read_part(part: str, zero_is_octal: bool) -> int | None:
    if len(part) > 32:
        return None
    if re.fullmatch(r"0[xX][0-9a-fA-F]+", part):
        return int(part, 16)
    if zero_is_octal and re.fullmatch(r"0[0-7]+", part):
        return int(part, 8)
    return int(part) if re.fullmatch(r"[0-9]+", part) else None


@dataclass(frozen=True)
class CheckedUrl:
    """A URL that passed :func:`validate_url`.

    Attributes:
        url: the URL as given.
        scheme: in lower case.
        host: in lower case, without brackets and trailing dot: what to send as ``Host`` and to
            check the certificate against.
        port: the port to connect to.
        addresses: where to connect, in the resolver's order; none needs another look-up.
    """

    url: str
    scheme: str
    host: str
    port: int
    addresses: tuple[str, ...]


def validate_url(
    url: str,
    *,
    resolver: Callable[..., Iterable[Any]] = socket.getaddrinfo,
    schemes: Iterable[str] = ("https", "http"),
    allow_private: bool = False,
) -> CheckedUrl:
    """Check a URL that a stranger chose before a server fetches it.

    Connect to the addresses in the result. Whoever looks the name up again may get another
    answer, which the owner of the name chooses (DNS rebinding). A redirect is a new URL, to be
    checked as this one was.

    Args:
        url: in ASCII.
        resolver: called with host and port, answers as :func:`socket.getaddrinfo` does; not
            called for a host that is an address.
        schemes: the schemes to accept, ``http`` or ``https`` or both, in lower case.
        allow_private: whether the addresses may be private ones.

    Raises:
        UrlError: the URL is malformed, has credentials, or does not resolve; or one of its
            addresses, be it one of many, is private.
        ValueError: `schemes` names none or another scheme.
    """
    schemes = tuple(schemes)
    if not schemes or not DEFAULT_PORTS.keys() >= set(schemes):
        raise ValueError("expected as schemes 'http' or 'https' or both")
    if not isinstance(url, str) or _VISIBLE_ASCII.fullmatch(url) is None or "\\" in url:
        # Browsers take a backslash for a slash and drop tabs and newlines; others do neither.
        raise UrlError("malformed", "expected a URL in visible ASCII, without backslashes")
    scheme, authority, _, _ = split_url(url, schemes)
    host = parse_authority(authority)
    port = host.port or DEFAULT_PORTS[scheme]
    addresses = _addresses(host, port, resolver)
    if not allow_private and any(map(is_private_address, addresses)):
        raise UrlError("private_address", f"{host.name} is or resolves to a private address")
    return CheckedUrl(url, scheme, host.name, port, addresses)


def _addresses(host: Host, port: int, resolver: Callable[..., Iterable[Any]]) -> tuple[str, ...]:
    if host.address is not None:
        return (str(host.address),)
    try:
        answers = [str(entry[4][0]) for entry in resolver(host.name, port)]
    except (OSError, UnicodeError):
        answers = []
    if not answers:
        raise UrlError("unresolvable", f"{host.name} does not resolve")
    return tuple(dict.fromkeys(answers))
