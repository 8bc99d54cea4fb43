"""IP addresses of peers, and the networks that settings name: trusted proxies, allowed clients."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Union

from ._validation import ArgumentTypeError, check_items
from .hosts import Address

__all__ = [
    "UNIX_PEERS",
    "Network",
    "NetworkSet",
    "client_address",
    "client_networks",
    "parse_address",
    "parse_network",
]

#: A network of addresses.
Network = Union[IPv4Network, IPv6Network]

#: ``REMOTE_ADDR`` of a connection over a Unix socket in gunicorn, waitress, nginx (uwsgi_params),
#: Werkzeug's development server and uWSGI. None of these is the address of a TCP peer.
UNIX_PEERS = frozenset({"", "unix:", "localhost", "<local>", "0.0.0.0"})  # noqa: S104  # nosec B104 # how servers name a peer

_NODE = re.compile(
    r"([0-9.]+)(?::[0-9]{1,5})?|\[([0-9A-Fa-f]*:[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)"
)


class NetworkSet:
    """Networks as one set of addresses: ``address in NetworkSet(networks)``.

    A lookup takes one step for each length of prefix, however many networks there are. An
    IPv4-mapped IPv6 address must be converted before, as :func:`parse_address` does.
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        # By version and by the bits after the prefix: the prefixes, as numbers.
        self._prefixes: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
        for network in networks:
            rest = network.max_prefixlen - network.prefixlen
            prefixes = self._prefixes[network.version].setdefault(rest, set())
            prefixes.add(int(network.network_address) >> rest)

    def __contains__(self, address: Address) -> bool:
        number = int(address)
        prefixes = self._prefixes[address.version].items()
        return any(number >> rest in known for rest, known in prefixes)


def client_address(peer: str) -> Address | None:
    """Return the IP address in ``REMOTE_ADDR``, or None if it has none, as on a Unix socket.

    Only the zone identifier of an IPv6 address is ignored (RFC 4007).
    """
    if peer in UNIX_PEERS:
        return None
    text, zone, _ = peer.partition("%")
    address = parse_address(text)
    return None if zone and not isinstance(address, IPv6Address) else address


def parse_address(text: str) -> Address | None:
    """Parse an address in the forms of ``X-Forwarded-For``, or return None.

    IPv6 may be in brackets; a port may follow, and is ignored; an IPv4-mapped IPv6 address becomes
    the IPv4 address.
    """
    # Longer text is not an address, and must not fill the cache.
    return _parse_address(text) if len(text) <= 64 else None


@lru_cache(maxsize=1024)
def _parse_address(text: str) -> Address | None:
    match = _NODE.fullmatch(text)
    if match is None:
        return None
    try:
        address = ip_address(match.group(match.lastindex or 0))
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def client_networks(networks: Iterable[str]) -> tuple[Network, ...]:
    """Parse an allowlist of clients.

    Args:
        networks: addresses and networks of clients, of IPv4 or IPv6.

    Raises:
        TypeError: `networks` is not a sequence of strings.
        ValueError: the list is empty, or an entry does not parse or has host bits set.
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
