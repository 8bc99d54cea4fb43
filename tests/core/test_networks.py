"""Networks in settings."""

from __future__ import annotations

import pytest

from swaig_wsgi.core.networks import client_networks, parse_network


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
