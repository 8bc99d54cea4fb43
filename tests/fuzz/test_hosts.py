"""Hosts: a host is allowed exactly if Django allows it, but for the rules below."""

from __future__ import annotations

import ipaddress
import re

from django.http.request import split_domain_port, validate_host
from fuzz.strategies import HOST_PATTERNS, HOSTS, IPV4, IPV6, LABELS, NAMES, OCTETS, PORTS, spoiled
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core.cors import parse_origin
from swaig_wsgi.core.hosts import HostError, HostPatterns, host_patterns, parse_host

#: What Django's names have in place of an underscore.
UNDERSCORE = "-underscore-"


def malformed(host: str) -> bool:
    """Return whether we refuse a host that is well-formed to Django.

    - RFC 9112 section 3.2, RFC 6335 section 6: a port is a number of 16 bits, and not 0.
    - RFC 1035 section 2.3.4: a label has 1 to 63 characters, a name 253 at most.
    - RFC 3986 section 3.2.2: in brackets is an IPv6 address.
    """
    name, port = re.fullmatch(r"(\[.*\]|[^:]*)(?::(.*))?", host, re.DOTALL).groups()
    if port and not 1 <= int(port) <= 65535:
        return True
    if name.startswith("["):
        return canonical(name) is None
    labels = name.removesuffix(".").split(".")
    return not all(1 <= len(label) <= 63 for label in labels) or len(".".join(labels)) > 253


def canonical(name: str) -> str | None:
    """Return an IPv6 address in its canonical form (RFC 5952), or None if it is malformed."""
    try:
        return f"[{ipaddress.IPv6Address(name.strip('[]'))}]"
    except ValueError:
        return None


def as_django_writes_it(host: str) -> str:
    """Return a host that Django refuses, and we do not, in the form in which it knows it.

    - RFC 3986 section 6.2.3: an empty port is no port.
    - RFC 3986 section 3.2.2: names may have underscores, as the services of Docker have.
    - RFC 4291 section 2.2: an IPv6 address has several forms, and is the same address in each.
    """
    host = host.removesuffix(":").replace("_", UNDERSCORE)
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\])(:[0-9]+)?", host)
    if match is None or canonical(match[1]) is None:
        return host
    return f"{canonical(match[1])}{match[2] or ''}"


def allowed_by_django(host: str, pattern: str) -> bool:
    # Django has no pattern for the subdomains alone, and compares text with what is before a
    # trailing dot.
    domain, _ = split_domain_port(as_django_writes_it(host))
    base = pattern.lower().removeprefix("*").removesuffix(".").replace("_", UNDERSCORE)
    if ":" in base:
        base = str(canonical(base))
    if pattern == "*":
        base = "*"
    elif is_ipv4(domain) and base.startswith("."):
        return False  # An address has no subdomains, whatever its text ends with.
    if pattern.startswith("*.") and domain == base[1:]:
        return False
    return domain != "" and validate_host(domain, [base])


def is_ipv4(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def compiled(patterns: list[str]) -> HostPatterns | None:
    try:
        return host_patterns(patterns)
    except ValueError:
        return None


@given(st.lists(HOST_PATTERNS, min_size=1, max_size=3), spoiled(HOSTS))
def test_a_host_is_allowed_as_by_django(patterns: list[str], host: str) -> None:
    known = compiled(patterns)
    if known is None:
        return
    expected = any(allowed_by_django(host, pattern) for pattern in patterns)
    if expected and malformed(host):
        expected = False
    assert (known.refusal(host) is None) is expected


@given(st.lists(HOST_PATTERNS, min_size=1, max_size=3), spoiled(HOSTS), spoiled(HOSTS))
def test_a_target_in_absolute_form_allows_no_other_host(
    patterns: list[str], host: str, other: str
) -> None:
    known = compiled(patterns)
    if known is None or known.refusal(host, f"http://{other}/path") is not None:
        return
    authority = re.split("[/?#]", other)[0]
    assert known.refusal(host) is None
    assert any(allowed_by_django(authority, pattern) for pattern in patterns)


@given(spoiled(HOSTS) | st.text(OCTETS))
def test_a_host_is_parsed_or_refused_and_has_one_meaning(text: str) -> None:
    try:
        host = parse_host(text)
    except HostError:
        return
    name = f"[{host.name}]" if ":" in host.name else host.name
    # What it means is a host again, of the same meaning.
    assert parse_host(name if host.port is None else f"{name}:{host.port}") == host
    assert re.fullmatch(r"[0-9a-z_.:-]+", host.name)


@given(
    st.sampled_from(["http", "https", "x"]), spoiled(NAMES | IPV4 | IPV6.map("[{}]".format)), PORTS
)
def test_an_origin_has_the_host_that_it_names(scheme: str, name: str, port: str) -> None:
    """An origin of the settings allows pages of the host in it, and of no other."""
    try:
        origin = parse_origin(f"{scheme}://{name}{port}")
    except ValueError:
        return
    given_host = parse_host(name if name.isascii() else name.encode("idna").decode())
    found = parse_host(origin.partition("://")[2])
    assert (found.name, found.address) == (given_host.name, given_host.address)


@given(spoiled(st.builds("{}{}".format, st.sampled_from(["", ".", "*."]), LABELS)) | st.text())
def test_a_pattern_is_compiled_or_rejected(pattern: str) -> None:
    known = compiled([pattern])
    assert known is None or known.every or len(known.names | known.addresses | known.parents) > 0
