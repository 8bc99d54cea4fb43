"""IP networks in settings: trusted proxies, and the clients that may connect."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Union

from ._validation import ArgumentTypeError, check_items

__all__ = ["Network", "client_networks", "parse_network"]

Network = Union[IPv4Network, IPv6Network]


def client_networks(networks: Iterable[str]) -> tuple[Network, ...]:
    """Parse an allowlist of clients.

    Args:
        networks: addresses and networks of clients, of IPv4 or IPv6.

    Raises:
        TypeError: `networks` is not a sequence of strings.
        ValueError: there is none, an entry does not parse, or it has host bits set.
    """
    named = check_items("allowed clients", networks, "('192.0.2.0/24',)")
    if not named:
        raise ValueError("no allowed clients: every request would be refused")
    expected = "an IP address or a network such as '192.0.2.0/24'"
    return tuple(parse_network("allowed client", entry, expected) for entry in named)


def parse_network(subject: str, entry: str, form: str) -> Network:
    """Parse an address or a network; an IPv4-mapped IPv6 network becomes the IPv4 network.

    Args:
        subject: what `entry` names, the beginning of an error message.
        entry: the address or network.
        form: the expected form, for error messages.

    Raises:
        TypeError: `entry` is not a string.
        ValueError: it does not parse, has host bits set or a zone identifier.
    """
    expected = f"{subject} {entry!r}: expected {form}"
    if not isinstance(entry, str):
        raise ArgumentTypeError(expected)
    if "%" in entry:  # A zone identifier is local to one host.
        raise ValueError(expected)
    try:
        network = ip_network(entry, strict=False)
    except ValueError:
        raise ValueError(expected) from None
    if ip_address(entry.partition("/")[0]) != network.network_address:
        raise ValueError(f"{subject} {entry!r} has host bits set: expected '{network}'")
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            network = ip_network(f"{mapped}/{network.prefixlen - 96}")
    return network
