"""Forwarding headers: read as by ProxyFix, and never beyond what trusted proxies wrote."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from fuzz.strategies import HOSTS, IPV4, IPV6, OCTETS, listed, spoiled
from hypothesis import given
from hypothesis import strategies as st
from support.wsgi import Recorder, environ, send
from werkzeug.middleware.proxy_fix import ProxyFix

from swaig_wsgi.core.hosts import HostError, parse_host
from swaig_wsgi.middleware import TrustedProxyMiddleware

FIELDS = ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST", "SERVER_PORT", "SCRIPT_NAME")
ADDRESSES = IPV4 | IPV6 | IPV4.map("{}:8080".format) | IPV6.map("[{}]:443".format)
ENTRIES = {
    "HTTP_X_FORWARDED_FOR": ADDRESSES,
    "HTTP_X_FORWARDED_PROTO": st.sampled_from(["http", "https", "HTTPS", "ws"]),
    "HTTP_X_FORWARDED_HOST": HOSTS,
    "HTTP_X_FORWARDED_PORT": st.sampled_from(["80", "443", "8443", "0", "65536", "080"]),
    "HTTP_X_FORWARDED_PREFIX": st.sampled_from(["", "/", "/a", "/a/b/", "/a//b", "/../x", "/%2e"]),
}
PEER = {"REMOTE_ADDR": "10.0.0.1", "HTTP_HOST": "inner.example:8000"}


def read_by_us(claims: dict[str, str], policy: Any, **options: Any) -> dict[str, Any]:
    app = Recorder()
    send(
        TrustedProxyMiddleware(app, policy, **options),
        environ(**{**PEER, **claims}),
        validate=False,
    )
    return {name: app.environs[-1].get(name) for name in FIELDS}


def read_by_proxy_fix(claims: dict[str, str], count: int) -> dict[str, Any]:
    app = Recorder()
    send(ProxyFix(app, *[count] * 5), environ(**{**PEER, **claims}), validate=False)
    return {name: app.environs[-1].get(name) for name in FIELDS}


def well_formed(name: str, value: str) -> str | None:
    """Return a value of a proxy as we parse it, or None if we ignore it; ProxyFix takes any.

    - RFC 7239 section 6: a node is an IP address, perhaps with a port, which is not the client's
      address. An IPv4-mapped address is that of an IPv4 client.
    - RFC 9110 section 4.2: the scheme is http or https, in any case.
    - RFC 9110 section 7.2: a host is a name or an address, perhaps with a port; an empty one is no
      port.
    - RFC 6335 section 6: a port is from 1 to 65535.
    - RFC 3986 section 5.2.4: a prefix has no dot segments, and nothing that is decoded twice.
    """
    if name == "HTTP_X_FORWARDED_FOR":
        match = re.fullmatch(r"([0-9.]+)(?::[0-9]{1,5})?|\[([^]]*)\](?::[0-9]{1,5})?|(.*)", value)
        try:
            address = ipaddress.ip_address("%".join(filter(None, match.groups())) if match else "")
        except ValueError:
            return None
        if "%" in value:
            return None
        return str(getattr(address, "ipv4_mapped", None) or address)
    if name == "HTTP_X_FORWARDED_PROTO":
        return value.lower() if value.lower() in ("http", "https") else None
    if name == "HTTP_X_FORWARDED_HOST":
        try:
            parse_host(value)
        except HostError:
            return None
        return value.removesuffix(":")
    if name == "HTTP_X_FORWARDED_PORT":
        fits = re.fullmatch(r"[0-9]{1,5}", value) and 1 <= int(value) <= 65535
        return str(int(value)) if fits else None
    segments = value.split("/")
    if not re.fullmatch(r"/[0-9A-Za-z._~!$&'()*+;=:@/-]*", value) or "" in segments[1:-1]:
        return None
    return None if {".", ".."} & set(segments) else value.removesuffix("/")


@given(st.data(), st.integers(1, 3))
def test_fields_are_read_as_by_proxy_fix(data: st.DataObject, count: int) -> None:
    """Every proxy writes an entry; the values in them may be anything without commas and quotes.

    With quotes, ProxyFix joins entries, so that a client can hide those of the proxies; the next
    test has them.
    """
    written: dict[str, list[str]] = {}
    for name, values in ENTRIES.items():
        if name == "HTTP_X_FORWARDED_FOR" or data.draw(st.booleans()):
            entry = spoiled(values).map(lambda text: re.sub(r'[,"\\]', "", text).strip())
            entries = st.lists(entry.filter(bool), min_size=count, max_size=5)
            written[name] = data.draw(entries)
    claims = {name: ", ".join(entries) for name, entries in written.items()}
    addresses, place = written["HTTP_X_FORWARDED_FOR"], -count
    if any(well_formed("HTTP_X_FORWARDED_FOR", each) is None for each in addresses[-count:]):
        # Such a request has not passed all proxies: its address remains unknown, and the other
        # values are those of the nearest proxy, which is trusted in any case.
        del written["HTTP_X_FORWARDED_FOR"]
        place = -1
    parsed = {name: well_formed(name, each[place]) for name, each in written.items()}
    expected = read_by_proxy_fix({name: each for name, each in parsed.items() if each}, 1)
    # RFC 3986 section 6.2.3: the scheme's default port is equivalent to none. Browsers omit it from
    # Host and Origin, so URLs and comparisons made of the host must not have it either.
    port = parsed.get("HTTP_X_FORWARDED_PORT")
    if port == {"http": "80", "https": "443"}[expected["wsgi.url_scheme"]]:
        expected["HTTP_HOST"] = expected["HTTP_HOST"].removesuffix(f":{port}")
    assert read_by_us(claims, count) == expected


#: What a client may send, which each proxy appends to.
HEADS = spoiled(listed(ADDRESSES | HOSTS | st.text(OCTETS, max_size=5))) | st.sampled_from(
    ['"', '\\"', 'for="', "for=1.2.3.4;", '",', "a" * 40, "," * 40]
)


@given(st.data(), st.integers(1, 3))
def test_nothing_that_a_client_wrote_changes_what_the_proxies_wrote(
    data: st.DataObject, count: int
) -> None:
    claims = {
        name: ", ".join(data.draw(st.lists(values, min_size=count, max_size=count)))
        for name, values in ENTRIES.items()
    }
    forged = {name: f"{data.draw(HEADS)}, {value}" for name, value in claims.items()}
    # An entry without an address ends what is known.
    if all(
        well_formed("HTTP_X_FORWARDED_FOR", e) for e in claims["HTTP_X_FORWARDED_FOR"].split(", ")
    ):
        assert read_by_us(forged, count) == read_by_us(claims, count)


NODES = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map('"[{}]"'.format)
ELEMENTS = st.builds(
    'for={};proto={};host="{}"'.format,
    NODES,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["a.example", "b.example:8080", "[::1]"]),
)


@given(
    ELEMENTS, st.lists(ELEMENTS, max_size=2), HEADS | spoiled(listed(ELEMENTS)), st.integers(1, 3)
)
def test_nothing_that_a_client_wrote_changes_forwarded(
    element: str, more: list[str], head: str, count: int
) -> None:
    chain = [element, *more][-count:]
    written = ", ".join(chain)
    found = read_by_us({"HTTP_FORWARDED": written}, len(chain), family="forwarded")
    forged = {"HTTP_FORWARDED": f"{head}, {written}"}
    assert read_by_us(forged, len(chain), family="forwarded") == found
    # RFC 7239 section 4: what the farthest trusted proxy wrote is the client.
    address = re.match(r'for="?\[?([0-9a-f.:]+)', chain[0])
    assert address is not None
    mapped = getattr(ipaddress.ip_address(address[1]), "ipv4_mapped", None)
    assert found["REMOTE_ADDR"] == str(mapped or ipaddress.ip_address(address[1]))


CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        **{name: spoiled(listed(values)) for name, values in ENTRIES.items()},
        "HTTP_FORWARDED": spoiled(listed(ELEMENTS)),
        "HTTP_X_REAL_IP": spoiled(ADDRESSES),
    },
)
POLICIES = st.sampled_from([1, 2, 3, ("10.0.0.0/8",), ("10.0.0.1", "192.0.2.0/24"), ("unix",)])


@given(CLAIMS, POLICIES, st.sampled_from(["x-forwarded", "forwarded"]))
def test_whatever_is_sent_the_application_sees_well_formed_values(
    claims: dict[str, str], policy: Any, family: str
) -> None:
    found = read_by_us(claims, policy, family=family)
    ipaddress.ip_address(found["REMOTE_ADDR"])
    assert found["wsgi.url_scheme"] in ("http", "https")
    parse_host(found["HTTP_HOST"])
    assert re.fullmatch(r"(/[0-9A-Za-z._~!$&'()*+;=:@-]+)*", found["SCRIPT_NAME"])
    assert not {".", ".."} & set(found["SCRIPT_NAME"].split("/"))
    assert 1 <= int(found["SERVER_PORT"]) <= 65535


@given(CLAIMS, st.sampled_from(["203.0.113.9", "", "10.0.0.2%eth0", "::ffff:203.0.113.9"]))
def test_of_another_peer_nothing_is_read(claims: dict[str, str], peer: str) -> None:
    given_fields = {**claims, "REMOTE_ADDR": peer}
    assert read_by_us(given_fields, ("10.0.0.1",)) == read_by_us(
        {"REMOTE_ADDR": peer}, ("10.0.0.1",)
    )
