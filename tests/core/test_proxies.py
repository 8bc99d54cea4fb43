from __future__ import annotations

import contextlib
import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from swaig_wsgi.core.proxies import (
    MAX_HOPS,
    Client,
    Hops,
    TrustedProxies,
    host_with_port,
    parse_address,
    parse_forwarded,
    parse_x_forwarded,
    resolve_client,
    split_host,
    trusted_proxies,
)

PEER = "10.0.0.1"
TEN = trusted_proxies(["10.0.0.0/8"])


def resolve(addresses=None, trusted=TEN, peer=PEER, **others):
    return resolve_client(peer, parse_x_forwarded(addresses=addresses, **others), trusted)


def resolve_forwarded(value, trusted=TEN, peer=PEER):
    return resolve_client(peer, parse_forwarded(value), trusted)


# The policy


@pytest.mark.parametrize(
    ("trusted", "peer", "believed"),
    [
        (["10.0.0.1"], "10.0.0.1", True),
        (["10.0.0.1"], "10.0.0.2", False),
        (["10.0.0.1"], "::ffff:10.0.0.1", True),
        (["10.0.0.0/8"], "10.255.0.1", True),
        (["10.0.0.0/8"], "11.0.0.1", False),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", True),
        (["10.0.0.0/8"], "::10.1.2.3", False),
        (["10.0.0.0/255.0.0.0"], "10.1.2.3", True),
        (["::ffff:10.0.0.0/104"], "10.1.2.3", True),
        (["::ffff:10.0.0.1"], "10.0.0.1", True),
        (["::/96"], "::1", True),
        (["2001:db8::/32"], "2001:DB8:0::7", True),
        (["2001:db8::/32"], "2001:db9::7", False),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["::1"], "0:0::1", True),
        (["10.0.0.0/8", "192.0.2.1"], "192.0.2.1", True),
        (["unix"], "", True),
        (["unix"], "unix:", True),
        (["unix"], "localhost", True),
        (["unix"], "<local>", True),
        (["unix"], "0.0.0.0", True),  # noqa: S104 - only compared or bound by this test
        (["0.0.0.0/8"], "0.0.0.0", False),  # noqa: S104 - only compared or bound by this test
        (["unix"], "10.0.0.1", False),
        (["unix"], "unknown", False),
        (["127.0.0.0/8"], "", False),
        (["127.0.0.0/8"], "localhost", False),
        (["10.0.0.0/8"], "10.0.0.1, 10.0.0.2", False),
        (["10.0.0.0/8"], "nonsense", False),
        (["10.0.0.0/8"], "10.0.0.256", False),
        (1, "192.0.2.1", True),
        (32, "", True),
    ],
)
def test_a_policy_trusts_its_peers_only(trusted, peer, believed):
    assert trusted_proxies(trusted).trusts_peer(peer) is believed


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "not True"),
        (False, "not False"),
        (0, "1 to 32, not 0"),
        (-1, "1 to 32, not -1"),
        (MAX_HOPS + 1, "1 to 32, not 33"),
        ("10.0.0.1", "sequence of strings.*not str"),
        (b"10.0.0.1", "sequence of strings"),
        (None, "sequence of strings.*not NoneType"),
        (1.0, "sequence of strings"),
        ([], "no trusted proxies"),
        ([""], "trusted proxy ''"),
        (["*"], r"trusted proxy '\*'"),
        (["proxy.example"], "'proxy.example': expected an IP address"),
        (["10.0.0.1:80"], "'10.0.0.1:80': expected"),
        (["10.0"], "'10.0': expected"),
        (["10.0.0.0/33"], "'10.0.0.0/33': expected"),
        (["fe80::1%eth0"], "'fe80::1%eth0': expected"),
        (["10.0.0.2 "], "'10.0.0.2 ': expected"),
        (["2"], "'2': expected"),
        ([2], "trusted proxy 2: expected"),
        ([b"10.0.0.1"], "expected an IP address"),
        (["10.0.0.1/8"], "'10.0.0.1/8' has host bits set: expected '10.0.0.0/8'"),
        (["2001:db8::1/32"], "host bits set: expected '2001:db8::/32'"),
        (["::ffff:10.0.0.1/104"], "host bits set"),
        (["0.0.0.0/0"], "more public addresses"),
        (["::/0"], "more public addresses"),
        (["10.0.0.1", "::/0"], "more public addresses"),
        (["::ffff:0:0/96"], "more public addresses"),
    ],
)
def test_the_error_about_an_invalid_policy_names_it(value, message):
    with pytest.raises(ValueError, match=message):
        trusted_proxies(value)


@pytest.mark.parametrize(
    "networks",
    [
        ["0.0.0.0/1", "128.0.0.0/1"],
        ["8.0.0.0/7"],
        ["8.0.0.0/8", "9.0.0.0/32"],
        [f"{first}.0.0.0/9" for first in (11, 12, 13)],
        ["::/1", "8000::/1"],
        ["2000::/3"],
        ["2001::/16", "2a00::/32"],
        ["::ffff:0.0.0.0/97", "::ffff:128.0.0.0/97"],
        ["10.0.0.0/7"],
        ["f000::/4"],
        ["64:ff9b::/96"],
        ["64:ff9b::/64"],
        ["64:ff9b::/97", "64:ff9b::8000:0/97"],
        ["2002::/16"],
        ["2002::/17"],
    ],
)
def test_attack_no_sum_of_networks_trusts_the_clients(networks):
    with pytest.raises(ValueError, match="more public addresses than an IPv"):
        trusted_proxies(networks)


@pytest.mark.parametrize(
    "networks",
    [
        ["8.0.0.0/8"],
        ["8.0.0.0/8", "8.8.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
        ["2001::/16", "fc00::/7"],
        ["64:ff9b::a00:0/104", "64:ff9b::808:0/112", "2002:808::/32"],
        ["173.245.48.0/20", "104.16.0.0/13", "2400:cb00::/32", "2a06:98c0::/29"],
    ],
)
def test_private_networks_and_those_of_a_provider_are_trusted(networks):
    assert trusted_proxies(networks).networks


JUNK = st.text() | st.text("0123456789abcdef.:/%-unix", max_size=20) | st.none() | st.binary()


@given(JUNK | st.lists(JUNK) | st.integers() | st.floats())
def test_any_policy_is_compiled_or_rejected(value):
    with contextlib.suppress(ValueError):
        assert trusted_proxies(value) == trusted_proxies(value)


def test_the_fields_of_an_untrusted_peer_are_ignored():
    everything = {"scheme": "https", "host": "evil.example", "port": "1", "prefix": "/evil"}
    assert resolve("192.0.2.66", peer="203.0.113.9", **everything) == Client()
    forwarded = "for=192.0.2.66;proto=https;host=evil.example"
    assert resolve_forwarded(forwarded, peer="203.0.113.9") == Client()
    assert resolve_forwarded(forwarded, peer="") == Client()


# Addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:1234", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ("[::ffff:c000:201]", "192.0.2.1"),
    ],
)
def test_addresses_are_canonical_and_ports_dropped(text, address):
    assert parse_address(text) == ip_address(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 192.0.2.1",
        "unknown",
        "_hidden",
        "unix:",
        "example.com",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.01",
        "3221225985",
        "0xc0.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:http",
        "192.0.2.1:123456",
        "192.0.2.1/32",
        "192.0.2.1\n",
        "192.0.2.1\x00",
        "[192.0.2.1]",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]80",
        "[2001:db8::1]:",
        "2001:db8::1::",
        "fe80::1%eth0",
        "[fe80::1%eth0]",
        '"192.0.2.1"',
        "\u0661.0.0.1",
        "\uff11.0.0.1",
        "\ud800",
        "1" * 100_000,
    ],
)
def test_anything_but_an_address_is_rejected(text):
    assert parse_address(text) is None


@given(st.text())
def test_parsing_an_address_never_raises(text):
    assert isinstance(parse_address(text), (IPv4Address, IPv6Address, type(None)))


# X-Forwarded-*


def test_lists_are_parsed_from_the_right_and_empty_entries_are_kept():
    hops = parse_x_forwarded(addresses="a,, b \t,c", scheme="https", prefix="")
    assert hops == Hops(addresses=("c", "b", "", "a"), schemes=("https",))


def test_entries_beyond_the_limit_are_ignored():
    hops = parse_x_forwarded(addresses="junk," * 100_000 + ",".join("abcdefgh" * 4))
    assert hops.addresses == tuple("hgfedcba" * 4)


@pytest.mark.parametrize(
    ("addresses", "client"),
    [
        (None, None),
        ("", None),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.66, 192.0.2.7", "192.0.2.7"),
        ("192.0.2.66,192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, 10.0.0.3", "192.0.2.7"),
        ("192.0.2.66, 192.0.2.7, 10.0.0.3, 10.0.0.2", "192.0.2.7"),
        ("192.0.2.7:1234, [::ffff:10.0.0.3]:80", "192.0.2.7"),
        ("10.0.0.66, 192.0.2.7", "192.0.2.7"),
        # Within the network of the proxies: the farthest one.
        ("10.0.0.3", "10.0.0.3"),
        ("10.0.0.4, 10.0.0.3", "10.0.0.4"),
        # The walk stops at a malformed entry; the client is the last valid one.
        ("unknown", None),
        ("192.0.2.66, ", None),
        (",", None),
        ("192.0.2.66, unknown", None),
        ("192.0.2.66, unknown, 10.0.0.3", "10.0.0.3"),
        ("192.0.2.66, , 10.0.0.3", "10.0.0.3"),
        ("192.0.2.66, 10.0.0.256, 10.0.0.4, 10.0.0.3", "10.0.0.4"),
        ("192.0.2.66, 192.0.2.7 10.0.0.4, 10.0.0.3", "10.0.0.3"),
    ],
)
def test_the_first_untrusted_address_from_the_right_is_the_client(addresses, client):
    assert resolve(addresses).address == client


@pytest.mark.parametrize(
    ("count", "addresses", "client"),
    [
        (1, "192.0.2.66, 192.0.2.7", "192.0.2.7"),
        (1, "192.0.2.7", "192.0.2.7"),
        (2, "192.0.2.66, 192.0.2.7, 198.51.100.2", "192.0.2.7"),
        (2, "192.0.2.7, 198.51.100.2", "192.0.2.7"),
        # Too short, or malformed within the count: unknown.
        (2, "198.51.100.2", None),
        (3, "192.0.2.7, 198.51.100.2", None),
        (1, "192.0.2.66, unknown", None),
        (2, "192.0.2.66, unknown, 198.51.100.2", None),
        (2, "192.0.2.66, 192.0.2.7, unknown", None),
        (2, "192.0.2.66, 192.0.2.7,", None),
        (1, None, None),
    ],
)
def test_a_count_selects_that_entry_from_the_right(count, addresses, client):
    assert resolve(addresses, trusted_proxies(count)).address == client


def test_a_unix_socket_trusts_its_peer_and_no_address_of_the_chain():
    unix = trusted_proxies(["unix"])
    assert resolve("192.0.2.66, 10.0.0.3", unix, peer="").address == "10.0.0.3"
    assert resolve("192.0.2.66, unix:", unix, peer="").address is None


@pytest.mark.parametrize(
    ("addresses", "schemes", "scheme"),
    [
        ("192.0.2.7", "https", "https"),
        ("192.0.2.7", "HTTPS", "https"),
        ("192.0.2.7", None, None),
        (None, "https", "https"),
        # At the client's distance ...
        ("192.0.2.7, 10.0.0.3", "https, http", "https"),
        ("192.0.2.7", "https, http", "http"),
        ("192.0.2.66, 192.0.2.7", "https, http", "http"),
        ("192.0.2.66, 192.0.2.7, 10.0.0.3", "https, http", "https"),
        ("192.0.2.7, 10.0.0.3", "http, https, http", "https"),
        # ... or the value of the nearest proxy.
        ("192.0.2.7, 10.0.0.3", "https", "https"),
        ("192.0.2.7, 10.0.0.4, 10.0.0.3", "http, https", "https"),
        (None, "https, http", "http"),
        ("unknown", "https, http", "http"),
        # Nothing stands in for a value that is malformed.
        ("192.0.2.7", "https,", None),
        ("192.0.2.7", "https, ftp", None),
        ("192.0.2.7", "https, wss", None),
        ("192.0.2.7", "http\x00", None),
        ("192.0.2.7", "on", None),
        ("192.0.2.7", "http\u017f", None),
    ],
)
def test_the_scheme_is_taken_at_the_distance_of_the_client(addresses, schemes, scheme):
    assert resolve(addresses, scheme=schemes).scheme == scheme


@pytest.mark.parametrize(
    ("given_host", "host"),
    [
        ("public.example", "public.example"),
        ("Public.Example.:8443", "Public.Example.:8443"),
        ("public.example:", "public.example"),
        ("[::1]:80", "[::1]:80"),
        ("evil.example, public.example", "public.example"),
        ("evil.example, ", None),
        ("evil.example, user@public.example", None),
        ("public.example/path", None),
        ("public example", None),
        ("public.example:0", None),
        ("public.example\r\nX: y", None),
        ("públic.example", None),
    ],
)
def test_a_malformed_host_is_ignored(given_host, host):
    assert resolve("192.0.2.7", host=given_host).host == host


@pytest.mark.parametrize(
    ("given_port", "port"),
    [
        ("443", 443),
        ("8443, 443", 443),
        ("65535", 65535),
        ("1", 1),
        ("0", None),
        ("00000", None),
        ("65536", None),
        ("", None),
        ("443,", None),
        ("+443", None),
        ("-1", None),
        ("4 43", None),
        ("4_43", None),
        ("\u0664", None),
        ("²", None),
        ("9" * 5000, None),
        ("000443", None),
    ],
)
def test_a_malformed_port_is_ignored(given_port, port):
    assert resolve("192.0.2.7", port=given_port).port == port


@pytest.mark.parametrize(
    ("given_prefix", "prefix"),
    [
        ("/agents", "/agents"),
        ("/agents/", "/agents"),
        ("/a/b.c/~d:@", "/a/b.c/~d:@"),
        ("/", ""),
        ("/evil, /agents", "/agents"),
        ("", None),
        ("agents", None),
        ("//agents", None),
        ("//", None),
        ("/agents//", None),
        ("/a//b", None),
        ("/.", None),
        ("/..", None),
        ("/../", None),
        ("/a/../b", None),
        ("/a/./b", None),
        ("/a\\b", None),
        ("/\\evil.example", None),
        ("/a%2e%2e", None),
        ("/a b", None),
        ("/a\x00", None),
        ("/a\n", None),
        ("/é", None),
        ("/a?b", None),
        ("/a#b", None),
        ("https://evil.example/", None),
    ],
)
def test_a_malformed_prefix_is_ignored(given_prefix, prefix):
    assert resolve("192.0.2.7", prefix=given_prefix).prefix == prefix


# Forwarded


@pytest.mark.parametrize(
    ("value", "hops"),
    [
        ("for=192.0.2.7", Hops(("192.0.2.7",), (None,), (None,))),
        ("For=192.0.2.7;PROTO=https", Hops(("192.0.2.7",), ("https",), (None,))),
        (
            'for="[2001:db8::7]:4711";by=_proxy;proto=https;host="public.example:8443"',
            Hops(("[2001:db8::7]",), ("https",), ("public.example:8443",)),
        ),
        (
            "for=192.0.2.7 ,\tfor=10.0.0.3",
            Hops(("10.0.0.3", "192.0.2.7"), (None, None), (None, None)),
        ),
        ("for=192.0.2.7; proto=https ;", Hops(("192.0.2.7",), ("https",), (None,))),
        ('for="192.0.2.7:80"', Hops(("192.0.2.7",), (None,), (None,))),
        ('for="192.0.2.7:_p"', Hops(("192.0.2.7",), (None,), (None,))),
        (r'for="19\2.0.2.7"', Hops(("192.0.2.7",), (None,), (None,))),
        ('x="a,b;c=\\"d\\\\";host=h', Hops((None,), (None,), ("h",))),
        ('x="\\\\",host="a"', Hops((None, None), (None, None), ("a", None))),
        ('x="\\",host=evil"', Hops((None,), (None,), (None,))),
        ("for=unknown", Hops((None,), (None,), (None,))),
        ('for="_hidden:_port"', Hops((None,), (None,), (None,))),
        ("proto=https", Hops((None,), ("https",), (None,))),
        ('host=""', Hops((None,), (None,), ("",))),
        ("", Hops((None,), (None,), (None,))),
        ("for=192.0.2.7,", Hops((None, "192.0.2.7"), (None, None), (None, None))),
        # Nodes that RFC 7239 does not allow.
        ('for="::1"', Hops((None,), (None,), (None,))),
        ('for="[::1]x"', Hops((None,), (None,), (None,))),
        ('for="192.0.2.7:123456"', Hops((None,), (None,), (None,))),
        ('for=" 192.0.2.7"', Hops((None,), (None,), (None,))),
    ],
)
def test_forwarded_is_parsed_from_the_right(value, hops):
    assert parse_forwarded(value) == hops


@pytest.mark.parametrize(
    "element",
    [
        "for",
        "for=",
        "=192.0.2.7",
        "for = 192.0.2.7",
        "for=192.0.2.7:80",
        "for=[::1]",
        "for=192.0.2.7;for=192.0.2.7",
        "for=192.0.2.7;FOR=192.0.2.8",
        "for=192.0.2.7;x=1;X=2",
        "for=192.0.2.7 proto=https",
        "for=192.0.2.7;proto",
        'for="192.0.2.7',
        'for=192.0.2.7"',
        'for="192.0.2.7"x',
        'for="192.0.2.7""x"',
        'for="192.0.2.7\\"',
        'for="192.0.2.7\\\\"x"',
        'for="192.0.2.7\x00"',
        'for="192.0.2.7\\\x7f"',
        'for="\u0661"',
        "f\u00f6r=192.0.2.7",
        "\\",
        '"',
        '"for=192.0.2.7"',
    ],
)
def test_parsing_stops_at_a_malformed_element(element):
    assert parse_forwarded(element) == Hops()
    assert parse_forwarded(f"for=192.0.2.66, {element}, for=10.0.0.3").addresses == ("10.0.0.3",)


def test_elements_beyond_the_limit_are_ignored():
    assert len(parse_forwarded("for=192.0.2.7," * 1000 + "for=192.0.2.7").addresses) == MAX_HOPS


@pytest.mark.parametrize(
    "junk",
    [
        'for="',
        'for="\\',
        '"',
        '""',
        "\\",
        'for="x\\\\',
        'for=evil;host="evil.example',
        "for=192.0.2.66;proto=https;host=evil.example",
        'for="a, for=192.0.2.66;x="',
        ",",
        " ",
    ],
)
@pytest.mark.parametrize("separator", [",", ", ", " , "])
def test_no_quotation_mark_of_the_client_swallows_what_proxies_wrote(junk, separator):
    honest = 'for="[2001:db8::7]";proto=http;host="public.example:80", for=10.0.0.3;proto=http'
    expected = Client("2001:db8::7", "http", "public.example:80")
    assert resolve_forwarded(honest) == expected
    assert resolve_forwarded(junk + separator + honest) == expected


@pytest.mark.parametrize(
    "hostile",
    [
        "," * 65536,
        '"' * 65536,
        '\\"' * 32768,
        '"\\' * 32768,
        'a="' + "," * 65536,
        'for="' + "\\a" * 32768,
        "; " * 32768 + "@",
        ";" + " " * 65536 + "@",
        "a=b;" * 16384 + "a",
    ],
)
def test_hostile_fields_are_parsed_quickly_and_name_no_client(hostile):
    assert resolve_forwarded(hostile) == Client()
    assert resolve(hostile, scheme=hostile, host=hostile, port=hostile, prefix=hostile) == Client()


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("for=192.0.2.66, for=192.0.2.7;proto=https", Client("192.0.2.7", "https")),
        (
            "for=192.0.2.7;proto=https;host=public.example, for=10.0.0.3;proto=http;host=inner",
            Client("192.0.2.7", "https", "public.example"),
        ),
        # The nearer proxy may supply what the farther one omitted; the client may not.
        ("for=192.0.2.7, for=10.0.0.3;proto=https", Client("192.0.2.7", "https")),
        ("for=192.0.2.66;proto=https;host=evil.example, for=192.0.2.7", Client("192.0.2.7")),
        ("proto=https;host=public.example", Client(None, "https", "public.example")),
        ("for=_hidden;proto=https", Client(None, "https")),
        ("for=192.0.2.66;proto=https, for=unknown;proto=http", Client(None, "http")),
        ("for=192.0.2.66, for=unknown, for=10.0.0.3", Client("10.0.0.3")),
        ('for=192.0.2.7;proto=ftp;host="user@h"', Client("192.0.2.7")),
        ('for=192.0.2.7;host=""', Client("192.0.2.7")),
        ('for=192.0.2.7;port=1;prefix="/evil"', Client("192.0.2.7")),
    ],
)
def test_forwarded_elements_are_walked_from_the_right(value, client):
    assert resolve_forwarded(value) == client


def test_a_count_of_elements():
    two = trusted_proxies(2)
    chain = "for=192.0.2.66, for=192.0.2.7;host=public.example, for=198.51.100.2"
    assert resolve_forwarded(chain, two) == Client("192.0.2.7", None, "public.example")
    assert resolve_forwarded('for=192.0.2.66, for="x, for=198.51.100.2', two) == Client()


# For any client


def honest_address(trusted):
    return (
        st.one_of(
            st.ip_addresses(v=4, network="10.0.0.0/8"), st.ip_addresses(v=6, network="fd00::/8")
        )
        if trusted
        else st.ip_addresses().filter(lambda address: not named(address))
    )


def named(address):
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped in ip_network("10.0.0.0/8") or mapped in ip_network("fd00::/8")


HONEST = trusted_proxies(["10.0.0.0/8", "fd00::/8"])

schemes = st.sampled_from(["http", "https"])
hosts = st.from_regex(r"[a-z]{1,9}\.example(:[1-9][0-9]{0,3})?", fullmatch=True)
junk = st.one_of(
    st.text(max_size=60),
    st.text(alphabet='",;=\\ \tfor1.[]:', max_size=60),
    st.lists(st.ip_addresses().map(str), max_size=5).map(", ".join),
    st.sampled_from(["for=1.2.3.4;proto=https;host=evil.example", 'for="', '"\\', "https, https"]),
)


@st.composite
def chains(draw):
    """What the trusted proxies wrote, outermost first: a client, then the proxies it passed."""
    client = draw(honest_address(False))
    proxies = draw(st.lists(honest_address(True), max_size=3))
    hops = [client, *proxies]
    return [(str(hop), draw(schemes), draw(hosts)) for hop in hops]


@given(chains(), junk, junk, junk)
def test_nothing_that_a_client_sends_changes_what_is_resolved(
    chain, for_junk, proto_junk, host_junk
):
    addresses, protos, names = (", ".join(values) for values in zip(*chain))
    expected = resolve(addresses, HONEST, scheme=protos, host=names)
    client = parse_address(chain[0][0])
    assert expected == Client(str(client), chain[0][1], chain[0][2])
    for trusted in (HONEST, trusted_proxies(len(chain))):
        assert expected == resolve(
            f"{for_junk}, {addresses}",
            trusted,
            scheme=f"{proto_junk}, {protos}",
            host=f"{host_junk},{names}",
        )
        # A proxy that overwrites instead of appending leaves one value.
        assert resolve(f"{for_junk},{addresses}", trusted, scheme="http").scheme == "http"


@given(chains(), junk, st.sampled_from([",", ", ", "\t,"]))
def test_nothing_that_a_client_sends_changes_the_result_of_forwarded(chain, sent, separator):
    honest = ", ".join(
        (f'for="[{address}]:80"' if ":" in address else f"for={address}")
        + f';proto={proto};host="{host}"'
        for address, proto, host in chain
    )
    expected = Client(str(parse_address(chain[0][0])), chain[0][1], chain[0][2])
    for trusted in (HONEST, trusted_proxies(len(chain))):
        assert resolve_forwarded(honest, trusted) == expected
        assert resolve_forwarded(sent + separator + honest, trusted) == expected


quoted = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(st.lists(st.dictionaries(st.sampled_from(["by", "host", "proto", "x"]), quoted), min_size=1))
def test_any_quoted_strings_survive_the_round_trip(elements):
    assume(len(elements) <= MAX_HOPS)
    value = ",".join(
        ";".join('{}="{}"'.format(k, re.sub(r'(["\\])', r"\\\1", v)) for k, v in e.items())
        for e in elements
    )
    hops = parse_forwarded(value)
    assert hops.hosts == tuple(e.get("host") for e in reversed(elements))
    assert hops.schemes == tuple(e.get("proto") for e in reversed(elements))


@given(st.text(), st.text(alphabet='",;=\\ for1.[]:'), st.integers(1, MAX_HOPS))
def test_no_junk_raises_or_resolves_to_anything_malformed(one, other, count):
    for trusted in (TEN, trusted_proxies(count)):
        for client in (
            resolve_forwarded(one, trusted),
            resolve_forwarded(other, trusted),
            resolve(one, trusted, scheme=other, host=one, port=other, prefix=one),
            resolve(other, trusted, scheme=one, host=other, port=one, prefix=other),
        ):
            assert client.address is None or ip_address(client.address)
            assert client.scheme in (None, "http", "https")
            assert client.host is None or host_with_port(client.host, 80)
            assert client.port is None or 1 <= client.port <= 65535
            assert client.prefix is None or re.fullmatch(r"(/[!-~]+)*", client.prefix)


# Hosts and ports


@pytest.mark.parametrize(
    ("host", "result"),
    [
        ("a.example", "a.example:8443"),
        ("a.example:", "a.example:8443"),
        ("A.example.:80", "A.example.:8443"),
        ("[::1]", "[::1]:8443"),
        ("[::1]:80", "[::1]:8443"),
        ("", None),
        ("evil@a.example:80", None),
    ],
)
def test_a_port_replaces_another(host, result):
    assert host_with_port(host, 8443) == result


@pytest.mark.parametrize(
    ("host", "port", "scheme", "result"),
    [
        ("a.example", 443, "https", "a.example"),
        ("a.example:8443", 443, "https", "a.example"),
        ("[::1]:8443", 443, "https", "[::1]"),
        ("[2001:db8::1]", 80, "http", "[2001:db8::1]"),
        ("a.example", 80, "https", "a.example:80"),
        ("a.example", 443, "http", "a.example:443"),
    ],
)
def test_the_default_port_of_the_scheme_is_left_out(host, port, scheme, result):
    assert host_with_port(host, port, scheme) == result


@pytest.mark.parametrize(
    ("host", "parts"),
    [
        ("a.example", ("a.example", "")),
        ("a.example:80", ("a.example", "80")),
        ("[::1]", ("[::1]", "")),
        ("[::1]:80", ("[::1]", "80")),
    ],
)
def test_a_host_splits_into_name_and_port(host, parts):
    assert split_host(host) == parts


def test_the_strictest_of_several_policies_decides():
    hops = parse_x_forwarded(addresses="203.0.113.66, 192.0.2.7, 10.0.0.2", scheme="https")
    near, far = trusted_proxies(["10.0.0.1"]), trusted_proxies(["10.0.0.0/8"])
    assert resolve_client("10.0.0.1", hops, near, far).address == "10.0.0.2"
    assert resolve_client("10.0.0.1", hops, far, near).address == "10.0.0.2"
    assert resolve_client("10.0.0.1", hops, far, trusted_proxies(3)).address == "192.0.2.7"
    assert resolve_client("10.0.0.9", hops, far, near) == Client()
    assert resolve_client("10.0.0.1", hops, far, trusted_proxies(4)).address is None


# -- bounds and shapes


def test_policies_are_compared_by_what_they_trust():
    assert trusted_proxies(["10.0.0.0/8"]) == trusted_proxies(("10.0.0.0/8",))
    assert TrustedProxies() == TrustedProxies(frozenset(), (), unix=False, count=0)
    assert TrustedProxies().trusts_peer("") is False
    shown = "TrustedProxies(addresses=frozenset(), networks=(), unix=False, count=0)"
    assert repr(TrustedProxies()) == shown


def test_the_message_about_a_proxy_shows_the_forms():
    expected = r"an IP address, a network such as '10\.0\.0\.0/8' or 'unix'$"
    with pytest.raises(ValueError, match=expected):
        trusted_proxies(["x"])


@pytest.mark.parametrize("node", ["192.0.2.7:8", "192.0.2.7:65535", "192.0.2.7:_a", "192.0.2.7"])
def test_a_node_may_have_a_port_of_any_length(node):
    assert parse_forwarded(f'for="{node}"').addresses == ("192.0.2.7",)


def test_a_quoted_string_is_bounded():
    for length, elements in ((1000, 1), (1001, 0)):
        assert len(parse_forwarded(f'for=192.0.2.7;x="{"a" * length}"').addresses) == elements
    assert parse_forwarded('for=192.0.2.7;x="\xe9\xff~"').addresses == ("192.0.2.7",)


def test_only_blanks_around_an_entry_are_dropped():
    assert parse_x_forwarded(host="X, aX,\tb ").hosts == ("b", "aX", "X")
    for name in ("X", "aX", "Xa"):
        assert parse_forwarded(f"host={name}").hosts == (name,)


def test_elements_without_a_node_have_no_address():
    assert parse_forwarded("proto=https").addresses == (None,)
    assert parse_forwarded(";proto=https;;host=a;").schemes == ("https",)
    assert parse_forwarded(";proto=https;;host=a;").hosts == ("a",)


def test_nothing_left_of_an_unclosed_quotation_mark_is_parsed():
    for value in ('for=192.0.2.1, for="', 'for="a, for=192.0.2.7"b"'):
        assert len(parse_forwarded(value).addresses) < 2


def test_too_few_entries_for_a_number_of_proxies_leave_the_nearest_values():
    hops = parse_x_forwarded(addresses="192.0.2.7", scheme="https, http", host="a, b")
    client = resolve_client(PEER, hops, trusted_proxies(2))
    assert (client.address, client.scheme, client.host) == (None, "http", "b")


@pytest.mark.parametrize(
    ("network", "accepted"),
    [
        # The IPv4 networks in them are 8.0.0.0/8 and /7, and all.
        ("64:ff9b::800:0/104", True),
        ("64:ff9b::800:0/103", False),
        ("2002:800::/24", True),
        ("2002:800::/23", False),
        ("64:ff9b::808:808/128", True),
        ("2002:808:808::/64", True),
        ("64:ff9b::/96", False),
        ("2002::/16", False),
        # Private ones are no public addresses, however embedded.
        ("64:ff9b::a00:0/104", True),
        ("2002:a00::/24", True),
    ],
)
def test_embedded_ipv4_networks_count_as_such(network, accepted):
    if accepted:
        assert trusted_proxies([network])
    else:
        with pytest.raises(ValueError, match="more public addresses than an IPv4 /8"):
            trusted_proxies([network])


def test_a_port_is_shown_unless_the_scheme_is_known_to_have_it():
    assert host_with_port("a.example", 80) == "a.example:80"
    assert host_with_port("a.example", 80, "http") == "a.example"


def test_embedded_private_networks_leave_room_for_public_ones():
    assert trusted_proxies(["64:ff9b::a00:0/104", "2002:a00::/24", "8.0.0.0/8"])
    with pytest.raises(ValueError, match="more public addresses"):
        trusted_proxies(["64:ff9b::900:0/104", "8.0.0.0/8"])


def test_a_chain_that_is_too_short_for_one_policy_has_no_client_for_any():
    hops = parse_x_forwarded(addresses="192.0.2.7")
    for policies in ((TEN, trusted_proxies(2)), (trusted_proxies(2), TEN)):
        assert resolve_client(PEER, hops, *policies).address is None
