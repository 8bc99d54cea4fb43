"""Who the client really is: trusted proxies, ``Forwarded`` and ``X-Forwarded-*``.

Each proxy appends to what it received, so these fields are read from the right, where the nearest
proxy wrote, and no further than trusted proxies wrote. What stands left of that is a client's
own invention, and nothing here depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Optional, Union

from .hosts import HostError, parse_host

Address = Union[IPv4Address, IPv6Address]
Network = Union[IPv4Network, IPv6Network]
Values = tuple[Optional[str], ...]

# No real chain is longer, and a field full of commas must not buy much work.
MAX_HOPS = 32

# REMOTE_ADDR of a connection over a Unix socket: gunicorn's, nginx's (by uwsgi_params), waitress's,
# that of Werkzeug's development server, and uWSGI's. None is the address of a peer by TCP.
_UNIX_PEERS = frozenset({"", "unix:", "localhost", "<local>", "0.0.0.0"})  # noqa: S104

_NODE = re.compile(
    r"([0-9.]+)(?::[0-9]{1,5})?|\[([0-9A-Fa-f]*:[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)"
)
_FORWARDED_NODE = re.compile(
    r"([0-9.]+|\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]+\])(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]+))?"
)
_PAIR = re.compile(
    r"[ \t]*(?:"
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)="
    r"(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|"
    r'"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*)")'
    r"[ \t]*)?(;|\Z)"
)
_QUOTED_PAIR = re.compile(r"\\(.)")
# An element read backwards, up to a comma outside quotation marks. Only the one that opens a
# quoted-string is without a backslash before it, which is after it here.
_REVERSED_ELEMENT = re.compile(r'(?:[^",]|"(?:[^"]|"(?=\\))*"(?!\\))*')
_PREFIX = re.compile(r"(?:/[0-9A-Za-z._~!$&'()*+;=:@-]+)*/?")
_SCHEMES = {"http": "http", "https": "https"}


@dataclass(frozen=True)
class TrustedProxies:
    """Whom to believe. Build it with :func:`trusted_proxies`."""

    addresses: frozenset[Address] = frozenset()
    networks: tuple[Network, ...] = ()
    unix: bool = False
    count: int = 0

    def trusts_peer(self, peer: str) -> bool:
        """Tell whether to believe the peer of the connection.

        Args:
            peer: its address (``REMOTE_ADDR``), empty for a Unix socket.
        """
        if self.count:
            return True
        if peer in _UNIX_PEERS:
            return self.unix
        address = parse_address(peer.partition("%")[0])
        return address is not None and self.trusts_address(address)

    def trusts_address(self, address: Address) -> bool:
        """Tell whether `address` is one of the named proxies."""
        return address in self.addresses or any(address in network for network in self.networks)


def trusted_proxies(value: Iterable[str] | int) -> TrustedProxies:
    """Compile the policy on which proxies to believe.

    Args:
        value: addresses and networks of the proxies, and ``"unix"`` for peers on a Unix socket;
            or the number of proxies that every request passes, where 1 means to believe
            whoever connects. A number is safe only if nobody can connect except through them.

    Raises:
        ValueError: no proxy is named, an address or network does not parse, a network has host
            bits set or takes in every address, or the number is not from 1 to 32.
    """
    if isinstance(value, bool):
        raise ValueError(f"trusted proxies: expected addresses or a number, not {value!r}")
    if isinstance(value, int):
        if not 1 <= value <= MAX_HOPS:
            raise ValueError(f"number of trusted proxies: expected 1 to {MAX_HOPS}, not {value}")
        return TrustedProxies(count=value)
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ValueError(
            "trusted proxies come as a sequence of strings, such as ('10.0.0.0/8', 'unix'), or as "
            f"their number, not as {value!r}"
        )
    named = list(value)
    if not named:
        raise ValueError("no trusted proxies: name their addresses, networks or 'unix'")
    networks = [_parse_network(entry) for entry in named if entry != "unix"]
    return TrustedProxies(
        frozenset(n.network_address for n in networks if n.prefixlen == n.max_prefixlen),
        tuple(n for n in networks if n.prefixlen != n.max_prefixlen),
        "unix" in named,
    )


def _parse_network(entry: str) -> Network:
    expected = f"trusted proxy {entry!r}: expected an IP address, a network such as '10.0.0.0/8'"
    if not isinstance(entry, str) or "%" in entry:
        raise ValueError(f"{expected} or 'unix'")
    try:
        network = ip_network(entry, strict=False)
    except ValueError:
        raise ValueError(f"{expected} or 'unix'") from None
    if ip_address(entry.partition("/")[0]) != network.network_address:
        raise ValueError(f"trusted proxy {entry!r} has host bits set: expected '{network}'")
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            network = ip_network(f"{mapped}/{network.prefixlen - 96}")
    if network.prefixlen == 0:
        raise ValueError(
            f"trusted proxy {entry!r} takes in every address, so that any client could write the "
            "whole chain: expected the proxies' own addresses, or their number"
        )
    return network


def parse_address(text: str) -> Address | None:
    """Parse an address as ``X-Forwarded-For`` holds them, or return None.

    IPv6 may be in brackets, a port may follow, and is ignored; an IPv4-mapped IPv6 address is
    the IPv4 address.
    """
    # Longer ones are none, and would only fill the cache.
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


@dataclass(frozen=True)
class Hops:
    """What proxies said about the requests that they received, the nearest proxy first.

    Every value is as it was written. None stands for what a proxy did not say.
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

    An empty entry keeps its place. Entries beyond the 32 right-most are left out.
    """
    return Hops(
        _entries(addresses), _entries(scheme), _entries(host), _entries(port), _entries(prefix)
    )


def _entries(value: str | None) -> Values:
    if not value:
        return ()
    entries = value.rsplit(",", MAX_HOPS)[-MAX_HOPS:]
    return tuple(entry.strip(" \t") for entry in reversed(entries))


def parse_forwarded(value: str) -> Hops:
    """Parse ``Forwarded`` (RFC 7239) from the right, up to the first malformed element.

    Parsing from the left, as a grammar would, an open quotation mark of the client's would make
    a quoted string of all that the proxies wrote. White space is let pass round a semicolon.
    Elements beyond the 32 right-most are left out.
    """
    backwards = value[::-1]
    elements: list[dict[str, str]] = []
    start = 0
    while len(elements) < MAX_HOPS:
        match = _REVERSED_ELEMENT.match(backwards, start)
        end = match.end() if match else start
        element = _parse_element(backwards[start:end][::-1].strip(" \t"))
        if element is None or backwards[end : end + 1] == '"':
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
    """What is known of the client's own request. None is what trusted proxies did not tell.

    Attributes:
        address: the client's IP address, in canonical text.
        scheme: ``http`` or ``https``.
        host: a well-formed ``host[:port]``, spelled as the proxy spelled it.
        port: from 1 to 65535, where it was told apart from the host.
        prefix: the path that the proxy took off, ``""`` or of the form ``/a/b``.
    """

    address: str | None = None
    scheme: str | None = None
    host: str | None = None
    port: int | None = None
    prefix: str | None = None


def resolve_client(peer: str, hops: Hops, *trusted: TrustedProxies) -> Client:
    """Work out who sent a request, and to which URL.

    The walk begins at the peer and goes left through the addresses of trusted proxies. The first
    that is not one is the client. Where an entry is malformed, obfuscated or missing, the walk
    stops and the client is the proxy that was reached, since nobody trusted names another.

    With a number of proxies, the client is that entry from the right, or nobody where there
    are fewer entries or one of them is malformed: such a request did not come by all of them.

    The rest is taken as far from the right as the client's address is. A list that does not
    reach so far has not been written by all proxies; there it is the right-most, the nearest
    proxy's. Values that are malformed are not replaced by others.

    A client can choose none of this, whatever it sends, as long as each trusted proxy overwrites
    these fields or appends to them. A field that one of them passes on as it came is the
    client's to write.

    Args:
        peer: the address of the peer (``REMOTE_ADDR``), empty for a Unix socket. Nothing is
            believed of one that is not trusted.
        trusted: a policy; or several, and then nothing is believed but what each would believe.
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
    # Never beyond `distance`: those are the client's.
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
    # Without "%": SCRIPT_NAME is decoded, and who decodes here decodes once too often elsewhere.
    if value is None or not value or _PREFIX.fullmatch(value) is None:
        return None
    prefix = value[:-1] if value.endswith("/") else value
    return None if {".", ".."} & set(prefix.split("/")) else prefix


def host_with_port(host: str, port: int) -> str | None:
    """Return `host` with `port` in place of its own, or None where `host` is malformed."""
    try:
        parse_host(host)
    except HostError:
        return None
    return f"{split_host(host)[0]}:{port}"


def split_host(host: str) -> tuple[str, str]:
    """Split a well-formed ``host[:port]``; an IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and not host.endswith("]") else (host, "")
