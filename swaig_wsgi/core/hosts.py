"""The ``Host`` of a request, and which hosts are allowed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import NoReturn, Union

Address = Union[IPv4Address, IPv6Address]

# DNS names only, of what RFC 3986 calls a reg-name: percent-encoding and sub-delims, the comma of
# joined Hosts among them, name no host. The underscore is there for Docker's service names.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z_.-]+)(?::([0-9]{0,5}))?")
_NAME = re.compile(r"[0-9a-z_-]{1,63}(?:\.[0-9a-z_-]{1,63})*")
_ABSOLUTE_FORM = re.compile(r"[A-Za-z][0-9A-Za-z+.-]*://([^/?#]*)")


class HostError(ValueError):
    """A host that is malformed."""


@dataclass(frozen=True)
class Host:
    """A host, in the one spelling that all spellings of it have in common.

    Attributes:
        name: lower case, without a trailing dot; an address in its canonical text, without
            brackets.
        port: the number, or None where none was written.
        address: the address that `name` is, if it is one. ``127.1`` and ``0x7f000001`` are none.
    """

    name: str
    port: int | None = None
    address: Address | None = None


def parse_host(value: str) -> Host:
    """Parse a ``Host`` field, or another ``host[:port]`` (RFC 9110 section 7.2, RFC 3986 3.2.2).

    The port may be empty (RFC 3986 section 6.2.3). Labels may begin and end with a hyphen, as
    some that are in use do.

    Raises:
        HostError: several hosts joined by a server, userinfo, a zone id, anything but ASCII, a
            label over 63 or a name over 253 characters, a port that is no number from 1 to
            65535, and whatever else is no DNS name and no address.
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
    # Nearly every target is in origin-form.
    if target.startswith("/"):
        return None
    match = _ABSOLUTE_FORM.match(target)
    return match.group(1) if match else None


@dataclass(frozen=True)
class HostPatterns:
    """The hosts that are allowed. Build it with :func:`host_patterns`."""

    names: frozenset[str]
    parents: frozenset[str]
    addresses: frozenset[Address]
    every: bool

    def match(self, host: Host) -> bool:
        """Tell whether `host` is allowed, on whatever port."""
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
        """Decide on a request: None to let it in, or the reason why not.

        Where the target is in absolute-form, RFC 9112 section 3.2.2 has its authority override
        the ``Host`` field, yet most servers go on with the field. Both have to be allowed, so
        that it does not matter which of them somebody else reads.

        Args:
            host: the ``Host`` field, or None where there is none.
            target: the request target as it was received, if the server tells.

        Returns:
            ``missing_host``, ``malformed_host``, ``host_not_allowed``, or None.
        """
        if host is None:
            return "missing_host"
        authority = target_authority(target)
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
            ``*`` for every host. Names beyond ASCII become A-labels.

    Raises:
        ValueError: there is no pattern, one is none of these, or they are a lone string.
    """
    if isinstance(patterns, (str, bytes)) or not isinstance(patterns, Iterable):
        raise ValueError(
            f"host patterns come as a sequence of strings, such as ('a.example',), not {patterns!r}"
        )
    names: set[str] = set()
    parents: set[str] = set()
    addresses: set[Address] = set()
    every = False
    count = 0
    for count, pattern in enumerate(patterns, 1):  # noqa: B007
        if pattern == "*":
            every = True
            continue
        prefix, host = _parse_pattern(pattern)
        if host.address is not None:
            addresses.add(host.address)
            continue
        if prefix != "*.":
            names.add(host.name)
        if prefix:
            parents.add(host.name)
    if not count:
        raise ValueError("no host patterns: name the allowed hosts, or '*' to allow every host")
    return HostPatterns(frozenset(names), frozenset(parents), frozenset(addresses), every)


def _parse_pattern(pattern: str) -> tuple[str, Host]:
    expected = (
        f"host pattern {pattern!r}: expected a host name, '*.example.com', '.example.com', an IP "
        "address or '*', without scheme, port, path or spaces"
    )
    if not isinstance(pattern, str):
        raise ValueError(expected)
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
    """Return the A-labels of `name`, which may be in any Unicode normalisation form.

    Refused is what IDNA 2003 and browsers read differently: the codec maps ``ß`` to ``ss`` where
    they do not, so allowing it would allow somebody else's domain.

    Raises:
        HostError: the name does not survive the way there and back, or is too long.
    """
    if name.isascii():
        return name
    # The codec takes quadratic time.
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
