"""The ``Host`` of a request, and the allowlist of hosts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import NoReturn, Union

from ._memo import remembered
from ._validation import ArgumentTypeError, check_items

__all__ = [
    "Address",
    "Host",
    "HostError",
    "HostPatterns",
    "a_labels",
    "host_patterns",
    "parse_host",
    "target_authority",
]

#: An address.
Address = Union[IPv4Address, IPv6Address]

# RFC 3986 allows more in a reg-name, but percent-encoding and sub-delims, such as the comma that
# joins several Hosts, are not part of DNS names. Docker's service names have underscores.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z_.-]+)(?::([0-9]{0,5}))?")
_NAME = re.compile(r"[0-9a-z_-]{1,63}(?:\.[0-9a-z_-]{1,63})*")
_ABSOLUTE_FORM = re.compile(r"[A-Za-z][0-9A-Za-z+.-]*://([^/?#]*)")


class HostError(ValueError):
    """A malformed host."""


@dataclass(frozen=True)
class Host:
    """A host in canonical spelling.

    Attributes:
        name: lower case, without a trailing dot; an address in its canonical text, without
            brackets.
        port: the number, or None without a port.
        address: the address if `name` is one, else None. ``127.1`` and ``0x7f000001`` are names.
    """

    name: str
    port: int | None = None
    address: Address | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is this machine: ``localhost``, or a loopback address."""
        return self.name == "localhost" or (self.address is not None and self.address.is_loopback)


@remembered(maxsize=1024, max_length=64)
def parse_host(value: str) -> Host:
    """Parse a ``Host`` field, or another ``host[:port]`` (RFC 9110 section 7.2, RFC 3986 3.2.2).

    The port may be empty (RFC 3986 section 6.2.3). Labels may begin and end with a hyphen, as
    some existing names do.

    Raises:
        HostError: it is neither a DNS name nor an address: several hosts joined by a server,
            userinfo, a zone id, non-ASCII characters, a label over 63 or a name over 253
            characters, a port that is not a number from 1 to 65535.
    """
    match = _HOST.fullmatch(value)
    if match is None:
        _malformed(value)
    text, digits = match.groups()
    port = int(digits) if digits else None
    if port is not None and not 1 <= port <= 65535:
        _malformed(value)
    if text[0] == "[":
        try:
            address = IPv6Address(text[1:-1])
        except ValueError:
            _malformed(value)
        return Host(str(address), port, address)
    name = text.lower()
    if name[-1] == ".":
        name = name[:-1]
    if len(name) > 253 or _NAME.fullmatch(name) is None:
        _malformed(value)
    return Host(name, port, _ipv4(name))


def _malformed(value: str) -> NoReturn:
    raise HostError(f"malformed host {value[:100]!r}") from None


def _ipv4(name: str) -> IPv4Address | None:
    if name.count(".") != 3 or not name[-1].isdigit():
        return None
    try:
        return IPv4Address(name)
    except ValueError:
        return None


def target_authority(target: str) -> str | None:
    """Return the authority of a request target in absolute-form, else None (RFC 9112 3.2.2)."""
    # A shortcut for origin-form, which nearly all targets have.
    if target.startswith("/"):
        return None
    match = _ABSOLUTE_FORM.match(target)
    return match.group(1) if match else None


@dataclass(frozen=True)
class HostPatterns:
    """The allowed hosts. Build it with :func:`host_patterns`."""

    names: frozenset[str]
    parents: frozenset[str]
    addresses: frozenset[Address]
    every: bool

    def match(self, host: Host) -> bool:
        """Return whether `host` is allowed, on any port."""
        if self.every:
            return True
        if host.address is not None:
            return host.address in self.addresses
        if host.name in self.names:
            return True
        if not self.parents:
            return False
        _, dot, parent = host.name.partition(".")
        while dot:
            if parent in self.parents:
                return True
            _, dot, parent = parent.partition(".")
        return False

    def refusal(self, host: str | None, target: str = "") -> str | None:
        """Return the reason to refuse a request, or None to allow it.

        The reasons are ``missing_host``, ``malformed_host`` and ``host_not_allowed``.

        By RFC 9112 section 3.2.2, the authority of a target in absolute-form overrides the
        ``Host`` field, yet most servers use the field. Both must be allowed, so that it does not
        matter which one the application uses.

        Args:
            host: the ``Host`` field, None if missing.
            target: the request target as received, if the server provides it.
        """
        if host is None:
            return "missing_host"
        # Nearly all targets have origin-form.
        authority = None if target[:1] in ("", "/") else target_authority(target)
        try:
            allowed = self.match(parse_host(host))
            if authority is not None:
                allowed = self.match(parse_host(authority)) and allowed
        except HostError:
            return "malformed_host"
        return None if allowed else "host_not_allowed"


def host_patterns(patterns: Iterable[str]) -> HostPatterns:
    """Compile an allowlist.

    Args:
        patterns: each a name, an IPv4 or IPv6 address (in brackets or not), ``*.example.com``
            for the subdomains of a name, ``.example.com`` for the name and its subdomains, or
            ``*`` for every host. Non-ASCII names become A-labels.

    Raises:
        TypeError: `patterns` is a lone string or not iterable, or a pattern is not a string.
        ValueError: `patterns` is empty, or a pattern is malformed.
    """
    given = check_items("host patterns", patterns, "('a.example',)")
    if not given:
        raise ValueError("no host patterns: name the allowed hosts, or '*' to allow every host")
    names: set[str] = set()
    parents: set[str] = set()
    addresses: set[Address] = set()
    for pattern in given:
        if pattern == "*":
            continue
        prefix, host = _parse_pattern(pattern)
        if host.address is not None:
            addresses.add(host.address)
        elif prefix != "*.":
            names.add(host.name)
        if prefix:
            parents.add(host.name)
    return HostPatterns(frozenset(names), frozenset(parents), frozenset(addresses), "*" in given)


def _parse_pattern(pattern: str) -> tuple[str, Host]:
    expected = (
        f"host pattern {pattern!r}: expected a host name, '*.example.com', '.example.com', an IP "
        "address or '*', without scheme, port, path or spaces"
    )
    if not isinstance(pattern, str):
        raise ArgumentTypeError(expected)
    prefix = "*." if pattern.startswith("*.") else "." if pattern.startswith(".") else ""
    base = pattern[len(prefix) :]
    if base.count(":") > 1 and "[" not in base:
        base = f"[{base}]"
    try:
        base = a_labels(base)
    except HostError as error:
        raise ValueError(f"host pattern {pattern!r} is not as expected: {error}") from None
    try:
        host = parse_host(base)
    except HostError:
        raise ValueError(expected) from None
    if ":" in base.rpartition("]")[2] or (prefix and host.address is not None):
        raise ValueError(expected)
    return prefix, host


def a_labels(name: str) -> str:
    """Return the A-labels of `name`, which may be in any Unicode normalization form.

    Names that IDNA 2003 and browsers map differently are rejected: the codec maps ``ß`` to
    ``ss``, browsers do not, so allowing such a name would allow a foreign domain.

    Raises:
        HostError: the name does not survive a round trip through the codec, or is too long.
    """
    if name.isascii():
        return name
    # The codec needs quadratic time.
    if len(name) > 253:
        raise HostError("longer than a domain name can be")
    name = unicodedata.normalize("NFC", name.lower())
    try:
        encoded = name.encode("idna")
        faithful = encoded.decode("idna") == name
    except UnicodeError:
        faithful = False
    if not faithful:
        raise HostError("not plain IDNA; write its A-labels ('xn--...')")
    return encoded.decode("ascii").lower()
