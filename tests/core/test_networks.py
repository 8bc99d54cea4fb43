"""Networks in settings."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core import networks
from swaig_wsgi.core.networks import (
    NetworkSet,
    client_address,
    client_networks,
    parse_address,
    parse_network,
)


@pytest.mark.parametrize(
    ("entry", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_addresses_and_networks_are_parsed(entry, network):
    assert [str(each) for each in client_networks([entry])] == [network]


@pytest.mark.parametrize("entry", ["", "unix", "a.example", "192.0.2.256", "10.0.0.0/33", "::1%lo"])
def test_anything_else_is_rejected_by_name(entry):
    with pytest.raises(ValueError, match=f"^allowed client {entry!r}: expected an IP address"):
        client_networks([entry])


def test_host_bits_are_rejected_with_the_network_that_was_meant():
    with pytest.raises(ValueError, match=r"has host bits set: expected '192\.0\.2\.0/24'"):
        client_networks(["192.0.2.7/24"])


@pytest.mark.parametrize("entries", ["192.0.2.7", [7], 7])
def test_only_a_sequence_of_strings_is_accepted(entries):
    with pytest.raises(TypeError):
        client_networks(entries)


def test_an_empty_list_is_rejected():
    with pytest.raises(ValueError, match="every request would be refused"):
        client_networks([])


def test_the_message_names_the_subject_and_the_expected_form():
    with pytest.raises(ValueError, match="^trusted proxy 'x': expected an address$"):
        parse_network("trusted proxy", "x", "an address")


NETWORKS = st.one_of(st.ip_addresses(), st.sampled_from(list(map(ip_address, ["10.0.0.1", "::1"]))))


@given(
    st.lists(st.tuples(NETWORKS, st.integers(0, 128)), max_size=20),
    st.lists(NETWORKS, min_size=1),
)
def test_an_address_is_in_the_set_if_it_is_in_a_network(networks, addresses):
    named = []
    for address, length in networks:
        size = address.max_prefixlen
        kept = size - min(length, size)
        named.append(type(address)(int(address) >> kept << kept).exploded + f"/{size - kept}")
    parsed = [parse_network("network", text, "a network") for text in named]
    found = NetworkSet(parsed)
    edges = [edge for n in parsed for edge in (n.network_address, n.broadcast_address)]
    for address in (*addresses, *edges):
        assert (address in found) == any(address in network for network in parsed)


def test_an_empty_set_contains_no_address():
    assert ip_address("192.0.2.7") not in NetworkSet([])
    assert ip_address("::1") not in NetworkSet([])


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("192.0.2.7%eth0", None),
        ("::ffff:192.0.2.7%eth0", None),
        ("0.0.0.0", None),  # noqa: S104 - only compared or bound by this test
        ("", None),
        ("localhost", None),
        ("unknown", None),
    ],
)
def test_the_address_of_a_peer(peer, address):
    assert client_address(peer) == (None if address is None else parse_address(address))


@pytest.mark.parametrize("peer", ["", "unix:", "localhost", "<local>", "0.0.0.0"])  # noqa: S104 - only compared by this test
def test_what_servers_say_of_a_unix_socket_is_no_address(peer):
    assert client_address(peer) is None
    assert peer in networks.UNIX_PEERS


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:8", "192.0.2.7"),
        ("192.0.2.7:65535", "192.0.2.7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:8", "2001:db8::7"),
        ("[2001:db8::7]:65535", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:80", "192.0.2.7"),
    ],
)
def test_an_address_may_have_brackets_and_a_port(text, address):
    assert parse_address(text) == ip_address(address)


@pytest.mark.parametrize(
    "text",
    [
        *("192.0.2.7:", "192.0.2.7:655350", "192.0.2.7:8x", "192.0.2.7 ", "192.0.2.7\n"),
        *("[2001:db8::7]:", "[2001:db8::7]:655350", "[192.0.2.7]", "[2001:db8::7", "2001:db8::7]"),
        *("192.0.2", "192.0.2.256", "a.example", "", "_hidden", "unknown"),
    ],
)
def test_nothing_else_is_an_address(text):
    assert parse_address(text) is None


def test_attack_memory_of_addresses_is_bounded():
    assert networks._parse_address.cache_info().maxsize == 1024
    before = networks._parse_address.cache_info()
    assert parse_address("1" * 65) is None
    assert networks._parse_address.cache_info() == before
    assert parse_address("1" * 64) is None
    assert networks._parse_address.cache_info().misses == before.misses + 1


def test_all_mapped_addresses_are_all_addresses():
    assert str(parse_network("proxy", "::ffff:0:0/96", "an address")) == "0.0.0.0/0"


def test_an_entry_that_is_no_text_is_named():
    with pytest.raises(TypeError, match="^proxy 7: expected an address$"):
        parse_network("proxy", 7, "an address")


def test_the_message_about_a_client_shows_an_example():
    with pytest.raises(ValueError, match=r"or a network such as '192\.0\.2\.0/24'$"):
        client_networks(["x"])
