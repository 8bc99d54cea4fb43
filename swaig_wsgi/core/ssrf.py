"""Validation of URLs that clients choose, before a server fetches them (SSRF)."""

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

# Our own tables, from the IANA special-purpose address registries: the ipaddress module's notion of
# private addresses changes between Python releases.
_V4 = (
    "0.0.0.0/8",  # this network
    "10.0.0.0/8",
    "100.64.0.0/10",  # carrier-grade NAT
    "127.0.0.0/8",
    "168.63.129.16/32",  # Azure's host agent, despite its public address
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
)
_PRIVATE_V4 = [(int(net.network_address), int(net.netmask)) for net in map(ip_network, _V4)]
# All global unicast addresses. Everything else is private: mapped and compatible IPv4, NAT64,
# unique-local, link-local and site-local, multicast, unassigned.
_GLOBAL_V6 = ip_network("2000::/3")
_PRIVATE_V6 = (
    ip_network("2001::/23"),  # Teredo, ORCHID, benchmarks
    ip_network("2001:db8::/32"),  # documentation
    ip_network("2002::/16"),  # 6to4
    ip_network("3ffe::/16"),  # 6bone
    ip_network("3fff::/20"),  # documentation
)

_Address = Union[str, IPv4Address, IPv6Address]


def is_private_address(address: _Address) -> bool:
    """Return whether a fetch on behalf of a client must not reach `address`.

    True for

    - private, loopback, link-local, multicast, reserved, documentation and benchmark addresses,
      and carrier-grade NAT, with or without a zone. IPv4 may have one to four parts, in decimal,
      octal or hexadecimal; a leading zero is tried as octal and as decimal, and if either address
      is private, the result is True;
    - every IPv6 address that embeds an IPv4 address, even a public one (mapped, compatible, NAT64,
      6to4, Teredo);
    - everything that is not an address, such as a name: only :func:`validate_url` resolves names.
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
    """Parse `text` like inet_aton(): the last part fills the bytes that the others leave."""
    parts = text.split(".")
    if len(parts) > 4:
        return None
    *leading, last = (_read_part(part, zero_is_octal) for part in parts)
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
        host: in lower case, without brackets and trailing dot; send it as ``Host`` and verify the
            certificate against it.
        port: the port to connect to.
        addresses: the addresses to connect to, in the resolver's order.
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
    """Validate a URL that a client chose, before a server fetches it.

    Connect to the addresses in the result: another lookup may return other addresses, which the
    owner of the name chooses (DNS rebinding). Validate the target of a redirect in the same way.

    Args:
        url: the URL, in ASCII.
        resolver: called with host and port, returns the same as :func:`socket.getaddrinfo`; not
            called for a host that is an address.
        schemes: the schemes to accept, ``http`` or ``https`` or both, in lower case.
        allow_private: whether the addresses may be private ones.

    Raises:
        UrlError: the URL is malformed, has credentials, or does not resolve; or at least one of
            its addresses is private.
        ValueError: `schemes` is empty or contains another scheme.
    """
    schemes = tuple(schemes)
    if not schemes or not DEFAULT_PORTS.keys() >= set(schemes):
        raise ValueError("expected as schemes 'http' or 'https' or both")
    if not isinstance(url, str) or _VISIBLE_ASCII.fullmatch(url) is None or "\\" in url:
        # Browsers treat a backslash as a slash and drop tabs and newlines; other parsers do not.
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
        found = [str(entry[4][0]) for entry in resolver(host.name, port)]
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise UrlError("unresolvable", f"{host.name} does not resolve")
    return tuple(dict.fromkeys(found))
