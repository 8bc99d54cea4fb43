"""The client behind trusted proxies: ``Forwarded`` and ``X-Forwarded-*``.

Each proxy appends to the values it receives, so these fields are parsed from the right, where the
nearest proxy wrote, and only as far as trusted proxies wrote. Everything further left may be
forged by the client and is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any, Optional

from ._patterns import lazy_pattern
from ._validation import check_int, check_items
from .hosts import Address, HostError, parse_host
from .networks import (
    UNIX_PEERS,
    Network,
    NetworkSet,
    client_address,
    parse_address,
    parse_network,
)
from .urls import DEFAULT_PORTS

__all__ = [
    "MAX_HOPS",
    "Address",
    "Client",
    "Hops",
    "Network",
    "TrustedProxies",
    "Values",
    "host_with_port",
    "parse_address",
    "parse_forwarded",
    "parse_x_forwarded",
    "resolve_client",
    "split_host",
    "trusted_proxies",
]

#: The values of a forwarded field.
Values = tuple[Optional[str], ...]

#: The maximum length of a chain: real ones are shorter, and the bound limits the work that a field
#: full of commas causes.
MAX_HOPS = 32

_FORWARDED_NODE = lazy_pattern(
    r"([0-9.]+|\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]+\])(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]+))?"
)
# Quoted-strings are bounded, since each repetition of a group needs 120 bytes while it matches.
_PAIR = lazy_pattern(
    r"[ \t]*(?:"
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)="
    r"(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|"
    r'"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff]){0,1000})")'
    r"[ \t]*)?(;|\Z)"
)
_QUOTED_PAIR = lazy_pattern(r"\\(.)")
_DELIMITER = lazy_pattern(r"[\",]")
_PREFIX = lazy_pattern(r"/[0-9A-Za-z._~!$&'()*+;=:@/-]*")
_SCHEMES = {"http": "http", "https": "https"}


_EMBEDDINGS = (IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16"))
# Networks that may be trusted whole, however large: no client outside reaches us from them.
_PRIVATE = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "::1/128",
            "fc00::/7",
            "fe80::/10",
        ),
    )
)


@dataclass(frozen=True)
class TrustedProxies:
    """The proxies to trust. Build it with :func:`trusted_proxies`."""

    addresses: frozenset[Address] = frozenset()
    networks: tuple[Network, ...] = ()
    unix: bool = False
    count: int = 0
    _set: NetworkSet = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_set", NetworkSet(self.networks))

    def trusts_peer(self, peer: str) -> bool:
        """Return whether the peer of the connection is trusted.

        Args:
            peer: its address (``REMOTE_ADDR``), empty for a Unix socket.
        """
        if self.count:
            return True
        if peer in UNIX_PEERS:
            return self.unix
        address = client_address(peer)
        return address is not None and self.trusts_address(address)

    def trusts_address(self, address: Address) -> bool:
        """Return whether `address` is one of the named proxies."""
        return address in self.addresses or address in self._set


def trusted_proxies(value: Iterable[str] | int) -> TrustedProxies:
    """Compile the policy on trusted proxies.

    Args:
        value: addresses and networks of the proxies, and ``"unix"`` for peers on a Unix socket;
            or the number of proxies that every request passes, where 1 trusts every peer. A
            number is safe only if clients cannot connect except through the proxies.

    Raises:
        TypeError: `value` is neither a number nor a sequence of strings.
        ValueError: no proxy is named, an address or network does not parse, a network has host
            bits set, the networks contain more public addresses than an IPv4 /8 or an IPv6 /16,
            or the number is not from 1 to 32.
    """
    if isinstance(value, int):
        return TrustedProxies(count=check_int("number of trusted proxies", value, 1, MAX_HOPS))
    named = check_items("trusted proxies", value, "('10.0.0.0/8', 'unix'), or their number")
    if not named:
        raise ValueError("no trusted proxies: name their addresses, networks or 'unix'")
    expected = "an IP address, a network such as '10.0.0.0/8' or 'unix'"
    networks = [parse_network("trusted proxy", n, expected) for n in named if n != "unix"]
    _check_share(networks)
    return TrustedProxies(
        frozenset(n.network_address for n in networks if n.prefixlen == n.max_prefixlen),
        tuple(n for n in networks if n.prefixlen != n.max_prefixlen),
        "unix" in named,
    )


def _check_share(networks: list[Network]) -> None:
    """Raise ValueError if `networks` contain so many public addresses that clients are among them.

    The limit holds for their sum: two halves of the address space trust as much as the whole.
    """
    counted = [*networks, *map(_ipv4_part, networks)]
    for version, size, limit in ((4, 32, 8), (6, 128, 16)):
        public: list[Any] = [n for n in counted if n.version == version and not _is_private(n)]
        if sum(n.num_addresses for n in collapse_addresses(public)) > 2 ** (size - limit):
            raise ValueError(
                f"trusted proxies contain more public addresses than an IPv{version} /{limit}, so "
                "that clients could forge the whole chain: expected the proxies' own addresses, "
                "or their number"
            )


def _ipv4_part(network: Network) -> Network:
    """Return the IPv4 network in one of NAT64 (RFC 6052) or 6to4 (RFC 3056), else `network`."""
    for embedding in _EMBEDDINGS:
        if isinstance(network, IPv6Network) and network.overlaps(embedding):
            length = min(max(network.prefixlen - embedding.prefixlen, 0), 32)
            address = int(network.network_address) >> (96 - embedding.prefixlen)
            return IPv4Network((address & 0xFFFFFFFF, length), strict=False)
    return network


def _is_private(network: Network) -> bool:
    return any(
        network.version == private.version and network.subnet_of(private)  # type: ignore[arg-type]
        for private in _PRIVATE
    )


@dataclass(frozen=True)
class Hops:
    """The fields that proxies wrote about the requests they received, nearest proxy first.

    Values are as written; None marks a value that a proxy did not write.
    """

    addresses: Values = ()
    schemes: Values = ()
    hosts: Values = ()
    ports: Values = ()
    prefixes: Values = ()


def parse_x_forwarded(
    *,
    addresses: str | None = None,
    scheme: str | None = None,
    host: str | None = None,
    port: str | None = None,
    prefix: str | None = None,
) -> Hops:
    """Split ``X-Forwarded-For``, ``-Proto``, ``-Host``, ``-Port`` and ``-Prefix``.

    Empty entries keep their position. Only the 32 right-most entries are parsed.
    """
    return Hops(*map(_entries, (addresses, scheme, host, port, prefix)))


def _entries(value: str | None) -> Values:
    if not value:
        return ()
    entries = value.rsplit(",", MAX_HOPS)[-MAX_HOPS:]
    return tuple(entry.strip(" \t") for entry in reversed(entries))


def parse_forwarded(value: str) -> Hops:
    """Parse ``Forwarded`` (RFC 7239) from the right, up to the first malformed element.

    If it were parsed from the left, an unclosed quotation mark of the client would turn
    everything that the proxies wrote into one quoted string. White space around a semicolon is
    allowed. Only the 32 right-most elements are parsed.
    """
    backwards = value[::-1]
    elements: list[dict[str, str]] = []
    start = 0
    while len(elements) < MAX_HOPS:
        end = _element_end(backwards, start)
        element = _parse_element(backwards[start:end][::-1].strip(" \t"))
        if element is None or end < 0:
            break
        elements.append(element)
        if end == len(backwards):
            break
        start = end + 1
    return Hops(
        tuple(_bare_node(element.get("for", "")) for element in elements),
        tuple(element.get("proto") for element in elements),
        tuple(element.get("host") for element in elements),
    )


def _element_end(backwards: str, start: int) -> int:
    """Return the end of the element in reverse, or -1 within an unclosed quoted-string."""
    quoted = False
    for match in _DELIMITER.finditer(backwards, start):
        end = match.end()
        if match[0] == '"':
            # With a backslash before it, here after it, it is part of the quoted-string.
            quoted = not quoted or backwards.startswith("\\", end)
        elif not quoted:
            return match.start()
    return -1 if quoted else len(backwards)


def _parse_element(text: str) -> dict[str, str] | None:
    pairs: dict[str, str] = {}
    position = 0
    more = ";"
    while more:
        match = _PAIR.match(text, position)
        if match is None:
            return None
        name, token, quoted, more = match.groups()
        position = match.end()
        if name is None:
            continue
        name = name.lower()
        if name in pairs:
            return None
        pairs[name] = token if token is not None else _QUOTED_PAIR.sub(r"\1", quoted)
    return pairs


def _bare_node(node: str) -> str | None:
    match = _FORWARDED_NODE.fullmatch(node)
    return match.group(1) if match else None


@dataclass(frozen=True)
class Client:
    """The client's own request, as far as trusted proxies described it; else None.

    Attributes:
        address: the client's IP address, in canonical text.
        scheme: ``http`` or ``https``.
        host: a well-formed ``host[:port]``, in the proxy's spelling.
        port: from 1 to 65535, if sent separately from the host.
        prefix: the path that the proxy removed, ``""`` or of the form ``/a/b``.
    """

    address: str | None = None
    scheme: str | None = None
    host: str | None = None
    port: int | None = None
    prefix: str | None = None


def resolve_client(peer: str, hops: Hops, *trusted: TrustedProxies) -> Client:
    """Determine the client of a request, and the URL that it requested.

    The walk starts at the peer and goes left through the addresses of trusted proxies. The first
    untrusted address is the client. At a malformed, obfuscated or missing entry the walk stops,
    and the client is the last proxy reached, since no trusted proxy names another address.

    With a number of proxies, the client is that entry from the right. It is unknown if there are
    fewer entries or one of them is malformed: such a request did not pass all proxies.

    The other values are taken at the client's distance from the right. A shorter list was not
    written by all proxies; then the right-most value counts, the nearest proxy's. A malformed
    value is ignored, not replaced by another.

    A client cannot influence any of this as long as each trusted proxy overwrites these fields or
    appends to them. A field that a proxy passes unchanged is under the client's control.

    Args:
        peer: the address of the peer (``REMOTE_ADDR``), empty for a Unix socket. If it is not
            trusted, all fields are ignored.
        hops: the parsed fields.
        trusted: one policy, or several, all of which must trust a hop.
    """
    if not all(policy.trusts_peer(peer) for policy in trusted):
        return Client()
    walks = [_walk(hops.addresses, policy) for policy in trusted]
    address, distance = min(walks, key=lambda walk: walk[1])
    distance = max(distance, 1)
    scheme = _at(hops.schemes, distance)
    return Client(
        None if address is None else str(address),
        None if scheme is None else _SCHEMES.get(scheme.lower()),
        _valid_host(_at(hops.hosts, distance)),
        _valid_port(_at(hops.ports, distance)),
        _valid_prefix(_at(hops.prefixes, distance)),
    )


def _walk(entries: Values, trusted: TrustedProxies) -> tuple[Address | None, int]:
    reached: Address | None = None
    distance = 0
    for entry in entries:
        address = None if entry is None else parse_address(entry)
        if address is None:
            break
        reached = address
        distance += 1
        known = distance < trusted.count if trusted.count else trusted.trusts_address(address)
        if not known:
            return address, distance
    return (None, 0) if trusted.count else (reached, distance)


def _at(values: Sequence[str | None], distance: int) -> str | None:
    if len(values) >= distance and values[distance - 1] is not None:
        return values[distance - 1]
    # Values beyond `distance` may come from the client.
    return next((value for value in values[:distance] if value is not None), None)


def _valid_host(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        parse_host(value)
    except HostError:
        return None
    return value[:-1] if value.endswith(":") else value


def _valid_port(value: str | None) -> int | None:
    if value is None or not 1 <= len(value) <= 5 or not (value.isascii() and value.isdigit()):
        return None
    return int(value) if 1 <= int(value) <= 65535 else None


def _valid_prefix(value: str | None) -> str | None:
    # Without "%": SCRIPT_NAME is decoded, and a prefix decoded here might be decoded again.
    if value is None or _PREFIX.fullmatch(value) is None or "//" in value:
        return None
    prefix = value[:-1] if value.endswith("/") else value
    return None if {".", ".."} & set(prefix.split("/")) else prefix


def host_with_port(host: str, port: int, scheme: str = "") -> str | None:
    """Return `host` with its port replaced by `port`, or None if `host` is malformed.

    The default port of `scheme` is left out, as browsers leave it out of ``Host`` and ``Origin``.
    """
    try:
        parse_host(host)
    except HostError:
        return None
    name = split_host(host)[0]
    return name if DEFAULT_PORTS.get(scheme) == port else f"{name}:{port}"


def split_host(host: str) -> tuple[str, str]:
    """Split a well-formed ``host[:port]``; an IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and not host.endswith("]") else (host, "")
