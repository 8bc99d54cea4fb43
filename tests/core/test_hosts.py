from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core import hosts
from swaig_wsgi.core.hosts import (
    Host,
    HostError,
    a_labels,
    host_patterns,
    parse_host,
    target_authority,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("example.com", Host("example.com")),
        ("EXAMPLE.com", Host("example.com")),
        ("example.com.", Host("example.com")),
        ("example.com.:8080", Host("example.com", 8080)),
        ("example.com:", Host("example.com")),
        ("example.com:00080", Host("example.com", 80)),
        ("example.com:65535", Host("example.com", 65535)),
        ("localhost", Host("localhost")),
        ("tool_server:3000", Host("tool_server", 3000)),
        ("xn--bcher-kva.example", Host("xn--bcher-kva.example")),
        ("-a-.example", Host("-a-.example")),
        ("127.0.0.1", Host("127.0.0.1", None, IPv4Address("127.0.0.1"))),
        ("127.0.0.1.:80", Host("127.0.0.1", 80, IPv4Address("127.0.0.1"))),
        ("[::1]", Host("::1", None, IPv6Address("::1"))),
        ("[0:0::1]:3000", Host("::1", 3000, IPv6Address("::1"))),
        ("[2001:DB8::A]", Host("2001:db8::a", None, IPv6Address("2001:db8::a"))),
        ("a" * 63 + ".example", Host("a" * 63 + ".example")),
        (".".join(["a" * 49] * 5) + ".abc", Host(".".join(["a" * 49] * 5) + ".abc")),
    ],
)
def test_spellings_of_a_host_parse_to_one(value, expected):
    assert parse_host(value) == expected


@pytest.mark.parametrize(
    "value",
    ["2130706433", "0x7f.1", "0x7f000001", "127.1", "0177.0.0.1", "256.0.0.1", "127.0.0.0x1"],
)
def test_odd_spellings_of_ipv4_are_names(value):
    assert parse_host(value) == Host(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        ":80",
        ".example.com",
        "a..example",
        "example.com..",
        "a" * 64 + ".example",
        "example." + "a" * 64,
        ".".join(["a" * 50] * 5),
        "user@example.com",
        "user:password@example.com",
        "good.example,evil.example",
        "good.example, evil.example",
        "good.example evil.example",
        " good.example",
        "good.example ",
        "good.example\t",
        "good.example\n",
        "good.example\r\nX: y",
        "good.example\x00",
        "good.example\x7f",
        "good.example/path",
        "good.example?query",
        "good.example#fragment",
        "good.example\\evil.example",
        "http://good.example",
        "good%2eexample",
        "%67ood.example",
        "*",
        "*.example",
        "good.example:80:80",
        "good.example:0",
        "good.example:65536",
        "good.example:000080",
        "good.example:-1",
        "good.example:+80",
        "good.example: 80",
        "good.example:8_0",
        "good.example:http",
        "good.example:\uff18\uff10",
        "good.example:\u0668\u0660",
        "bücher.example",
        "b\xc3\xbccher.example",
        "\u212a.example",
        "good\u3002example",
        "\ud800",
        "::1",
        "[::1",
        "::1]",
        "[]",
        "[::1]]",
        "[::1]x",
        "[::1].",
        "[:::1]",
        "[1.2.3.4]",
        "[::1%25eth0]",
        "[fe80::1%eth0]",
        "[v1.fe80::a]",
    ],
)
def test_malformed_hosts_are_rejected(value):
    with pytest.raises(HostError):
        parse_host(value)


def test_an_empty_port_of_an_ipv6_address_is_no_port():
    assert parse_host("[::1]:").port is None


def test_the_error_is_a_value_error_of_bounded_length():
    with pytest.raises(ValueError, match="malformed host") as caught:
        parse_host("@" * 100_000)
    assert len(str(caught.value)) < 200


@given(st.text())
def test_parsing_raises_nothing_but_its_own_error(value):
    try:
        host = parse_host(value)
    except HostError:
        return
    assert value.isascii()
    assert host.name
    assert host.name == host.name.lower()


labels = st.from_regex(r"[a-z0-9_]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
names = st.lists(labels, min_size=1, max_size=5).map(".".join)
ports = st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format))


@given(names, ports, st.data())
def test_case_dot_and_port_do_not_change_the_name(name, port, data):
    upper = data.draw(st.lists(st.booleans(), min_size=len(name), max_size=len(name)))
    spelled = "".join(c.upper() if up else c for c, up in zip(name, upper))
    plain = parse_host(name)
    host = parse_host(spelled + data.draw(st.sampled_from(["", "."])) + port)
    assert (host.name, host.address) == (plain.name, plain.address)
    assert host.port == (int(port[1:]) if port else None)


@given(st.ip_addresses(v=6))
def test_every_spelling_of_an_ipv6_address_is_that_address(address):
    patterns = host_patterns([str(address)])
    for text in (address.compressed, address.exploded, address.exploded.upper()):
        host = parse_host(f"[{text}]:3000")
        assert host.address == address
        assert patterns.match(host)


@pytest.mark.parametrize(
    ("pattern", "value", "allowed"),
    [
        ("a.example", "a.example", True),
        ("a.example", "A.EXAMPLE.:8080", True),
        ("A.Example.", "a.example", True),
        ("a.example", "b.a.example", False),
        ("a.example", "a.example.evil", False),
        ("a.example", "xa.example", False),
        ("a.example", "example", False),
        ("*.a.example", "b.a.example", True),
        ("*.a.example", "c.b.a.example", True),
        ("*.a.example", "a.example", False),
        ("*.a.example", "xa.example", False),
        ("*.a.example", "b.a.example.evil", False),
        (".a.example", "b.a.example", True),
        (".a.example", "c.b.a.example", True),
        (".a.example", "a.example", True),
        (".a.example", "xa.example", False),
        (".a.example", "example", False),
        ("*", "anything.example", True),
        ("*", "[::1]:80", True),
        ("::1", "[::1]:3000", True),
        ("[::1]", "[0:0::1]", True),
        ("0:0:0::1", "[::1]", True),
        ("::1", "127.0.0.1", False),
        ("::1", "[::2]", False),
        ("127.0.0.1", "127.0.0.1:80", True),
        ("127.0.0.1", "127.0.0.1.", True),
        ("127.0.0.1", "127.1", False),
        ("127.0.0.1", "2130706433", False),
        ("127.0.0.1", "0x7f.1", False),
        ("127.0.0.1", "0177.0.0.1", False),
        ("127.0.0.1", "[::ffff:127.0.0.1]", False),
        (".1", "127.0.0.1", False),
        ("bücher.example", "xn--bcher-kva.example", True),
        # As file names of macOS and some editors have it: "u" with a combining diaeresis.
        ("bu\u0308cher.example", "xn--bcher-kva.example", True),
        ("BU\u0308CHER.example", "xn--bcher-kva.example", True),
        ("*.bücher.example", "a.xn--bcher-kva.example", True),
        ("BÜCHER.example", "XN--BCHER-KVA.example", True),
    ],
)
def test_patterns_match(pattern, value, allowed):
    assert host_patterns([pattern]).match(parse_host(value)) is allowed


def test_one_of_several_patterns_is_enough():
    patterns = host_patterns(iter(["a.example", "*.b.example", "127.0.0.1"]))
    assert [
        patterns.match(parse_host(value))
        for value in ("a.example", "x.b.example", "127.0.0.1", "b.example", "127.0.0.2")
    ] == [True, True, True, False, False]


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        ".",
        "*.",
        "a example",
        " a.example",
        "a.example ",
        "a.example,b.example",
        "http://a.example",
        "//a.example",
        "a.example/",
        "a.example:80",
        "a.example:",
        "127.0.0.1:80",
        "[::1]:80",
        "[::1]:",
        "*.*.example",
        "a.*.example",
        "a.*",
        "*a.example",
        "**",
        "..example",
        "*..example",
        ".127.0.0.1",
        "*.127.0.0.1",
        "*.::1",
        ".[::1]",
        "10.0.0.0/8",
        "fe80::1%eth0",
        "user@a.example",
        "a" * 64,
        "straße.example",
        "ü" * 300,
        "a\u3002example",
        "a\u200d.example",
        "\ud800",
        "ü" * 64 + ".example",
        "bücher.example:80",
        "http://bücher.example",
        None,
        42,
        b"a.example",
    ],
)
def test_the_error_about_a_malformed_pattern_names_it(pattern):
    with pytest.raises(ValueError, match=r"expected") as caught:
        host_patterns(["good.example", pattern])
    assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize("patterns", ["a.example", b"a.example", None, 42])
def test_patterns_must_be_a_sequence(patterns):
    with pytest.raises(ValueError, match="sequence of strings"):
        host_patterns(patterns)


JUNK = st.text() | st.text("ax-.*:[]%0", max_size=20) | st.none() | st.binary()


@given(JUNK | st.lists(JUNK) | st.integers())
def test_any_patterns_are_compiled_or_rejected(patterns):
    with contextlib.suppress(ValueError):
        assert host_patterns(patterns)


def test_every_pattern_is_checked_even_if_one_allows_every_host():
    for patterns in (["*", "a b"], ["a b", "*"]):
        with pytest.raises(ValueError, match="'a b'"):
            host_patterns(patterns)


def test_the_error_about_a_pattern_without_a_labels_explains_them():
    with pytest.raises(ValueError, match="write its A-labels"):
        host_patterns(["straße.example"])


def test_a_labels_are_in_lower_case():
    assert a_labels("BÜCHER.Example") == "xn--bcher-kva.example"
    assert a_labels("Plain.Example") == "Plain.Example"


def test_an_empty_allowlist_is_rejected():
    with pytest.raises(ValueError, match="no host patterns"):
        host_patterns([])


@given(names, names)
def test_a_wildcard_matches_subdomains_and_nothing_else(parent, name):
    host = parse_host(name)
    below = name != parent and f".{name}".endswith(f".{parent}")
    if parse_host(parent).address is None and host.address is None:
        assert host_patterns([f"*.{parent}"]).match(host) is below
        assert host_patterns([f".{parent}"]).match(host) is (below or name == parent)


@pytest.mark.parametrize(
    ("target", "authority"),
    [
        ("", None),
        ("*", None),
        ("/", None),
        ("//evil.example/", None),
        ("/http://evil.example/", None),
        ("evil.example:443", None),
        ("*http://evil.example/", None),
        ("?http://evil.example/", None),
        ("http:/a", None),
        ("http://evil.example/path", "evil.example"),
        ("HTTP://evil.example", "evil.example"),
        ("http://evil.example:80?query", "evil.example:80"),
        ("http://evil.example#fragment", "evil.example"),
        ("http://user@evil.example/", "user@evil.example"),
        ("http:///path", ""),
    ],
)
def test_only_a_target_in_absolute_form_has_an_authority(target, authority):
    assert target_authority(target) == authority


@pytest.mark.parametrize(
    ("host", "target", "reason"),
    [
        ("good.example", "", None),
        ("good.example", "/path", None),
        ("good.example", "http://good.example/path", None),
        ("good.example:3000", "http://GOOD.example./path", None),
        (None, "/", "missing_host"),
        (None, "http://good.example/", "missing_host"),
        ("", "/", "malformed_host"),
        ("good.example,good.example", "/", "malformed_host"),
        ("evil.example", "/", "host_not_allowed"),
        ("evil.example", "http://good.example/", "host_not_allowed"),
        ("good.example", "http://evil.example/", "host_not_allowed"),
        ("good.example", "http://good.example@evil.example/", "malformed_host"),
        ("good.example", "http:///", "malformed_host"),
    ],
)
def test_host_and_target_must_both_be_allowed(host, target, reason):
    assert host_patterns(["good.example"]).refusal(host, target) == reason


@given(st.text(), st.text())
def test_a_decision_never_raises(host, target):
    assert host_patterns(["good.example"]).refusal(host, target) in (
        None,
        "malformed_host",
        "host_not_allowed",
    )


@pytest.mark.parametrize(
    "text", ["localhost", "LOCALHOST.:80", "127.0.0.1", "127.9.9.9", "[::1]:80"]
)
def test_this_machine_is_local(text):
    assert parse_host(text).is_local


@pytest.mark.parametrize("text", ["localhost.example.com", "127.1", "10.0.0.1", "[::2]", "0.0.0.0"])  # noqa: S104 - only compared or bound by this test
def test_other_machines_are_not_local(text):
    assert not parse_host(text).is_local


def test_attack_memory_of_hosts_is_bounded():
    for number in range(3000):
        parse_host(f"h{number}.example")
        with pytest.raises(HostError):
            parse_host(f"h{number}.example,evil")
    before = hosts.parse_host.cache_info()
    assert before.currsize == before.maxsize == 1024
    assert parse_host(".".join(["a" * 60] * 4)).name == ".".join(["a" * 60] * 4)
    with pytest.raises(HostError):
        parse_host("a." * 50_000)
    assert hosts.parse_host.cache_info() == before
