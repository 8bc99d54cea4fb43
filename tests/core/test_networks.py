"""Networks in settings."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@pytest.mark.parametrize("networks", ["192.0.2.7", [7], 7])
def test_only_a_sequence_of_strings_is_accepted(networks):
    with pytest.raises(TypeError):
        client_networks(networks)


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
