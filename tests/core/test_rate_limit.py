from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core import rate_limit
from swaig_wsgi.core.rate_limit import (
    Decision,
    RateLimit,
    bounded_key,
    client_key,
    site_key,
    wider_keys,
)


def test_a_policy_is_for_a_minute_in_fixed_windows_by_default():
    assert RateLimit(5) == RateLimit(limit=5, window=60, name="default", algorithm="fixed")


@pytest.mark.parametrize("address", ["192.0.2.1", "0.0.0.0", "255.255.255.255", "10.0.0.10"])  # noqa: S104 - only compared or bound by this test
def test_ipv4_counts_by_itself(address):
    assert client_key(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:192.0.2.1",
        "::FFFF:c000:201",
        "0:0:0:0:0:ffff:192.0.2.1",
        "64:ff9b::192.0.2.1",
        "64:ff9b::c000:201",
    ],
)
def test_a_mapped_or_translated_address_is_the_ipv4_client(address):
    assert client_key(address) == "192.0.2.1"


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:0001:0002::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("fe80::2%25", "fe80::/64"),
    ],
)
def test_ipv6_counts_by_its_64(address, key):
    assert client_key(address) == key


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_no_address_within_a_64_escapes_its_count(prefix, one, other):
    keys = {client_key(str(ipaddress.IPv6Address(prefix << 64 | host))) for host in (one, other)}
    if prefix:
        assert len(keys) == 1


NAT64 = ipaddress.ip_network("64:ff9b::/96")
ADDRESSES = st.ip_addresses() | st.ip_addresses(network="64:ff9b::/92")


@given(ADDRESSES, ADDRESSES)
def test_only_the_same_client_has_the_same_key(one, other):
    def network(address):
        if address in NAT64:
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.version == 6 and address.ipv4_mapped:
            address = address.ipv4_mapped
        return ipaddress.ip_network((address, 64 if address.version == 6 else 32), strict=False)

    assert (client_key(str(one)) == client_key(str(other))) == (network(one) == network(other))


@pytest.mark.parametrize(
    "address",
    [
        "", "unknown", "unix:", "192.0.2", "192.0.2.1.5", "192.0.2.256", "192.0.2.01", "3221225985",
        "0xc0000201", "192.0.2.1:80", "192.0.2.1, 198.51.100.7", " 192.0.2.1", "192.0.2.1\n",
        "192.0.2.1\x00", "192.0.2.1%eth0", "[::1]", "::1/64", ":::1", "1:2:3:4:5:6:7", "%eth0",
        "192.0.2.１", "\ud800", "2001:db8::g", "-1", "9" * 10_000,
    ],
)  # fmt: skip
def test_anything_but_an_address_has_no_key(address):
    assert client_key(address) == ""


@given(st.text())
def test_any_text_gives_an_address_or_no_key(address):
    key = client_key(address)
    if key:
        ipaddress.ip_network(key)


@pytest.mark.parametrize(
    ("key", "site", "wider"),
    [
        ("2001:db8:1:2::/64", "2001:db8:1::/48", ("2001:db8:1::/48", "2001:db8::/32")),
        ("2001:db8:1::/48", "", ("2001:db8::/32",)),
        ("::/64", "::/48", ("::/48", "::/32")),
        ("192.0.2.1", "", ("192.0.0.0/16",)),
        ("192.0.2.0/24", "", ()),
        ("192.0.2.0/64", "", ()),
        ("2001:db8::/32", "", ()),
        ("2001:db8::1", "", ()),
        ("user/64", "", ()),
        ("\0/64", "", ()),
        ("", "", ()),
    ],
)
def test_the_networks_of_a_client(key, site, wider):
    assert (site_key(key), wider_keys(key)) == (site, wider)


@given(st.ip_addresses(v=6))
def test_a_client_lies_in_each_of_its_networks(address):
    key = client_key(str(address))
    for wider in wider_keys(key):
        assert ipaddress.ip_network(key).subnet_of(ipaddress.ip_network(wider))


def test_a_site_has_sixteen_times_the_limit():
    assert RateLimit(60, 10, "x").for_sites() == RateLimit(960, 10, "x")
    assert RateLimit(999_999_999_999_999).for_sites() == RateLimit(999_999_999_999_999)


@given(st.integers(1, 1000), st.integers(1, 2000), st.floats(0, 3600, exclude_min=True))
def test_decisions(limit, count, seconds_left):
    decision = RateLimit(limit, 3600).decide(count, seconds_left)
    assert decision.allowed == (count <= limit)
    assert decision.remaining == max(0, limit - count)
    assert isinstance(decision.reset, int)
    assert max(1, seconds_left) <= decision.reset < seconds_left + 1 or decision.reset == 1


def test_the_limit_itself_passes_and_the_next_does_not():
    policy = RateLimit(3)
    assert policy.decide(3, 12.2) == Decision(True, 0, 13)
    assert policy.decide(4, 12.2) == Decision(False, 0, 13)


@pytest.mark.parametrize(("left", "reset"), [(1e-9, 1), (0, 1), (-5, 1), (60.00000001, 60)])
def test_a_reset_is_a_whole_second_within_the_window(left, reset):
    assert RateLimit(3, 60).decide(1, left).reset == reset


def test_fields_of_the_draft():
    policy = RateLimit(60, 60)
    assert policy.policy_field == '"default";q=60;w=60'
    assert policy.limit_field(policy.decide(1, 59.5)) == '"default";r=59;t=60'
    assert policy.limit_field(policy.decide(61, 0.5)) == '"default";r=0;t=1'
    assert RateLimit(5, 10, "per login").policy_field == '"per login";q=5;w=10'


def test_the_keys_of_counters_stay_the_same():
    """Servers of several versions share a store during a rolling restart."""
    assert RateLimit(60, 10, "x").counter_prefix() == 'rate:60:10:"x":'
    assert RateLimit(60, 10, "x", "sliding").counter_prefix() == 'sliding:60:10:"x":'


def test_policies_that_differ_never_share_a_counter():
    policies = [RateLimit(60), RateLimit(6, 60), RateLimit(60, 6), RateLimit(60, 60, "login")]
    policies.append(RateLimit(60, algorithm="sliding"))
    assert len({policy.counter_prefix() + "192.0.2.1" for policy in policies}) == 5


@given(
    st.tuples(st.integers(1, 99), st.integers(1, 99), st.text("a:1", min_size=1), st.text("a:1")),
    st.tuples(st.integers(1, 99), st.integers(1, 99), st.text("a:1", min_size=1), st.text("a:1")),
)
def test_different_policies_and_clients_have_different_counters(one, other):
    def counter(limit, window, name, client):
        return RateLimit(limit, window, name).counter_prefix() + client

    assert (counter(*one) == counter(*other)) == (one == other)


@pytest.mark.parametrize("number", [0, -1, True, 1.0, "60", None, 10**15])
def test_limits_and_windows_are_positive_integers(number):
    with pytest.raises(ValueError, match="limit must be an integer from 1"):
        RateLimit(number)
    with pytest.raises(ValueError, match="window must be an integer from 1"):
        RateLimit(1, number)


@pytest.mark.parametrize("name", ["", 'a"b', "a\\b", "a\r\nb", "a\n", "ü", None, 5])
def test_names_that_would_break_the_field_are_rejected(name):
    with pytest.raises(ValueError, match="name must be printable ASCII"):
        RateLimit(1, name=name)


@pytest.mark.parametrize("algorithm", ["", "Fixed", "moving", None, 1, []])
def test_unknown_algorithms_are_rejected(algorithm):
    with pytest.raises(ValueError, match="algorithm must be 'fixed' or 'sliding', not "):
        RateLimit(1, algorithm=algorithm)


# The sliding window, against the exact log of times


class SlidingLimit:
    """A sliding window with two counters: a count and the time at which the counter ends."""

    def __init__(self, limit, window):
        self.policy = RateLimit(limit, window, algorithm="sliding")
        self.counters = [(0, 0.0), (0, 0.0)]

    def request(self, now):
        left = [max(ends - now, 0.0) for _, ends in self.counters]
        counts = [count if left else 0 for (count, _), left in zip(self.counters, left)]
        window = self.policy.window
        current = self.policy.current_counter(*left)
        before = 1 - current
        decision = self.policy.slide(
            counts[before], left[before], counts[current], left[current] or 2 * window
        )
        if decision.allowed:
            ends = now + (left[current] or 2 * window)
            self.counters[current] = (counts[current] + 1, ends)
        return decision


# Eighths of a second, which binary fractions represent exactly. Bursts and pauses alternate.
GAPS = st.lists(st.sampled_from([0, 0, 0, 1, 2, 8, 72, 79, 80, 81, 160]), max_size=120)


@given(st.integers(1, 8), st.lists(st.integers(0, 90), max_size=120) | GAPS)
def test_attack_no_interval_admits_more_than_the_stated_bound(limit, gaps):
    window, now, admitted = 10, 0.0, []
    sliding = SlidingLimit(limit, window)
    for gap in gaps:
        now += gap / 8
        recent = [time for time in admitted if time > now - 2 * window]
        decision = sliding.request(now)
        assert decision.allowed or len(recent) >= limit
        if decision.allowed:
            admitted.append(now)
            for number, start in enumerate(reversed(admitted), 1):
                if now - start >= window:
                    break
                assert number <= limit + (limit - 1) * (now - start) / window
        assert 1 <= decision.reset <= window
        assert 0 <= decision.remaining < limit


@given(st.integers(1, 8), GAPS)
def test_a_client_that_waits_for_the_reset_is_admitted(limit, gaps):
    now = 0.0
    sliding = SlidingLimit(limit, 10)
    for gap in gaps:
        now += gap / 8
        decision = sliding.request(now)
        if not decision.allowed:
            # The least time that is a whole second: one less is refused.
            for wait in range(1, decision.reset):
                assert not sliding.request(now + wait).allowed
            now += decision.reset + 2**-20  # thirds of a window are not exact
            assert sliding.request(now).allowed


@given(st.integers(1, 8), st.integers(0, 200))
def test_as_many_as_remain_are_admitted_at_once(limit, later):
    sliding = SlidingLimit(limit, 10)
    for now in (0.0, 0.0, 9.5, later / 8):
        remaining = sliding.request(now).remaining
    assert [sliding.request(now).allowed for _ in range(remaining + 1)] == [True] * remaining + [
        False
    ]


def test_a_limit_of_one_admits_one_in_each_window():
    sliding = SlidingLimit(1, 10)
    admitted = [now for now in range(50) if sliding.request(float(now)).allowed]
    assert admitted == [0, 10, 20, 30, 40]


def test_requests_that_were_counted_at_once_do_not_extend_a_refusal():
    policy = RateLimit(5, 10, algorithm="sliding")
    assert policy.slide(0, 0.0, 9, 14.0) == Decision(False, 0, 4)
    assert policy.slide(9, 10.0, 0, 20.0) == Decision(True, 0, 10)


def test_short_keys_stay_readable():
    assert bounded_key("k" * 64) == "k" * 64


@given(st.text(st.characters(codec=None), min_size=65), st.text(min_size=65))
def test_long_keys_become_distinct_digests(one, other):
    assert re.fullmatch("sha256:[0-9a-f]{64}", bounded_key(one))
    assert (bounded_key(one) == bounded_key(other)) == (one == other)


def test_a_lone_surrogate_in_a_long_key_is_digested_too():
    assert bounded_key("\ud800" * 65) != bounded_key("\ud801" * 65)


def test_attack_memory_of_client_keys_is_bounded():
    for number in range(3000):
        client_key(f"2001:db8::{number:x}")
    before = rate_limit.client_key.cache_info()
    assert before.currsize == before.maxsize == 1024
    assert client_key("fe80::1%" + "z" * 10_000) == "fe80::/64"
    assert client_key("1" * 10_000) == ""
    assert rate_limit.client_key.cache_info() == before
