"""Patterns of origins: what they match, and that nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core.cors import (
    Preflight,
    cors_policy,
    parse_origin,
    parse_origin_pattern,
    preflight,
    refuses_origin,
    response_headers,
)

PATTERN = "https://*.example.com"
SUBDOMAINS = [
    "https://app.example.com",
    "https://a.b.example.com",
    "https://a.b.c.d.e.example.com",
    "https://xn--mnchen-3ya.example.com",
    "https://my_app.example.com",
    "https://1.2.3.4.example.com",
    "https://com.example.com",
    "https://example.com.example.com",
    "https://" + "a" * 63 + ".example.com",
]
IMPOSTORS = [
    # The apex, and other domains that start or end alike.
    "https://example.com",
    "https://.example.com",
    "https://..example.com",
    "https://xexample.com",
    "https://evil-example.com",
    "https://app.example.com.evil.net",
    "https://app.example.com.attacker.example",
    "https://evil.example.com.attacker.net",
    "https://app.example.comx",
    "https://app.example.co",
    "https://appxexample.com",
    "https://app.examplexcom",
    # Another scheme or port.
    "http://app.example.com",
    "wss://app.example.com",
    "app.example.com",
    "//app.example.com",
    "https:app.example.com",
    "https:/app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com:443",
    "https://app.example.com:80",
    "https://app.example.com:",
    "https://evil.net:443.example.com",
    # The same in a form that no browser sends.
    "https://app.example.com.",
    "https://app..example.com",
    "https://.app.example.com",
    "https://APP.example.com",
    "https://app.EXAMPLE.com",
    "HTTPS://app.example.com",
    "https://" + "a" * 64 + ".example.com",
    "https://*.example.com",
    "https://münchen.example.com",
    "https://m\u00fcnchen.example.com".encode().decode("latin-1"),
    "https://app\u3002example.com",
    "https://app\uff0eexample.com",
    "https://\u0430pp.example.com",
    "https://app.ex\u0430mple.com",
    "https://app%2eexample.com",
    "https://app%2e.example.com",
    # Another authority, path, query or fragment in front.
    "https://user@app.example.com",
    "https://user:password@app.example.com",
    "https://@.example.com",
    "https://evil.net@app.example.com",
    "https://evil.net/.example.com",
    "https://evil.net/app.example.com",
    "https://evil.net?.example.com",
    "https://evil.net#.example.com",
    "https://evil.net\\.example.com",
    "https://evil.net;.example.com",
    "https://evil.net,https://app.example.com",
    "https://evil.net https://app.example.com",
    "https://app.example.com, https://app.example.com",
    "https://app.example.com/",
    "https://app.example.com/x.example.com",
    # Spaces and control characters.
    " https://app.example.com",
    "https://app.example.com ",
    "https://app.example.com\n",
    "\nhttps://app.example.com",
    "https://evil.net\n.example.com",
    "https://evil.net\r\nX-Evil: 1\r\n.example.com",
    "https://evil.net\0.example.com",
    "https://app .example.com",
    "https://a\tb.example.com",
    # Addresses, and what is no host.
    "https://127.0.0.1",
    "https://127.0.0.1.",
    "https://[::1]",
    "https://[::1].example.com",
    "https://[::ffff:127.0.0.1]",
    "https://2130706433",
    "null",
    "NULL",
    "null.example.com",
    "file://",
    "*",
    "",
]


@pytest.mark.parametrize("origin", SUBDOMAINS)
def test_a_pattern_allows_one_or_more_whole_leading_labels(origin):
    policy = cors_policy([PATTERN])
    assert dict(response_headers(policy, origin)) == {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
    }
    decision = preflight(policy, origin, "POST")
    assert (decision.refused, dict(decision.headers)["Access-Control-Allow-Origin"]) == ("", origin)


@pytest.mark.parametrize("origin", IMPOSTORS)
def test_attack_an_origin_that_resembles_a_pattern_gets_nothing(origin):
    policy = cors_policy([PATTERN, "https://*.example.com:9443", "https://exact.example"])
    assert not policy.allows(origin)
    assert response_headers(policy, origin) == ()
    assert preflight(policy, origin, "GET") == Preflight((), "origin_not_allowed")
    assert refuses_origin(policy, "POST", origin, "https", "service.example")


def test_the_apex_is_listed_by_itself():
    policy = cors_policy([PATTERN, "https://example.com"])
    assert policy.allows("https://example.com")
    assert policy.allows("https://app.example.com")
    assert not policy.allows("http://example.com")
    assert not policy.allows(None)


def test_every_response_depends_on_the_origin():
    policy = cors_policy([PATTERN])
    assert policy.vary == ("Origin",)
    assert policy.origins == frozenset()
    assert not policy.any_origin


@pytest.mark.parametrize(
    ("text", "pattern", "matching", "other"),
    [
        ("https://*.example.com:8443", None, "https://a.example.com:8443", "https://a.example.com"),
        (
            "https://*.example.com:443",
            PATTERN,
            "https://a.example.com",
            "https://a.example.com:443",
        ),
        ("http://*.example.com:80", "http://*.example.com", "http://a.example.com", "https://a.x"),
        ("HTTPS://*.Example.COM", PATTERN, "https://a.example.com", "https://A.Example.COM"),
        (
            "https://*.münchen.example",
            "https://*.xn--mnchen-3ya.example",
            "https://a.xn--mnchen-3ya.example",
            "https://a.münchen.example",
        ),
        (
            "https://*.staging.example.com",
            None,
            "https://a.b.staging.example.com",
            "https://a.example.com",
        ),
        ("https://*.example.com.", None, "https://a.example.com.", "https://a.example.com"),
        # Whether others can register such names, only the user knows.
        ("https://*.co.uk", None, "https://anyone.co.uk", "https://co.uk"),
        ("http://*.app.localhost:3000", None, "http://a.app.localhost:3000", "http://a.localhost"),
    ],
)
def test_a_pattern_has_the_form_of_an_origin(text, pattern, matching, other):
    assert parse_origin_pattern(text) == (pattern or text)
    assert parse_origin_pattern(pattern or text) == (pattern or text)
    policy = cors_policy([text])
    assert policy.allows(matching)
    assert not policy.allows(other)


def test_without_a_star_it_is_an_origin():
    assert parse_origin_pattern("HTTPS://App.Example.com:443") == "https://app.example.com"
    assert cors_policy([PATTERN, "https://*.example.com:443"]) == cors_policy([PATTERN])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("https://*", "first label"),
        ("https://*.", "not a domain name"),
        ("https://*.com", "at least two labels"),
        ("https://*.com.", "at least two labels"),
        ("https://*.com:8443", "at least two labels"),
        ("http://*.localhost:3000", "at least two labels"),
        ("https://a.*.com", "first label"),
        ("https://a.*.example.com", "first label"),
        ("https://*.*.example.com", "first label"),
        ("https://*example.com", "first label"),
        ("https://a*.example.com", "first label"),
        ("https://*a.example.com", "first label"),
        ("https://**.example.com", "first label"),
        ("https://example.*", "first label"),
        ("https://*.example.*", "first label"),
        ("https://*.example.com:*", "first label"),
        ("*://*.example.com", "first label"),
        ("http*://*.example.com", "first label"),
        ("://*.example.com", "no scheme"),
        ("*.example.com", "first label"),
        ("*null", "first label"),
        ("https://*.example.com/", "trailing '/'"),
        ("https://*.example.com/a", "no path"),
        ("https://*.example.com?q", "query"),
        ("https://*.evil.net#.example.com", "fragment"),
        ("https://*.example..com", "not a domain name"),
        ("https://*..example.com", "not a domain name"),
        ("https://*.example.com:0", "port"),
        ("https://*.example.com ", "space"),
        ("https://*.example.com\n", "space"),
        ("https://*.a.example,https://b.example", "path"),
        ("https://*.127.0.0.1", "address"),
        ("https://*.0.0.1", "https://"),
        ("https://*.1.2", "https://"),
        ("https://*.example.0x7f", "https://"),
        ("https://*.[::1]", "address"),
        ("https://*.straße.example", "A-labels"),
    ],
)
def test_attack_no_wider_pattern_is_accepted(text, what):
    for parse in (parse_origin_pattern, lambda given: cors_policy(["https://a.example", given])):
        with pytest.raises(ValueError, match=what) as caught:
            parse(text)
        assert repr(text) in str(caught.value)
        assert "such as 'https://*.example.com'" in str(caught.value)


@pytest.mark.parametrize("value", [None, 5, b"https://*.example.com"])
def test_a_pattern_must_be_a_string(value):
    with pytest.raises(TypeError, match="not a string"):
        parse_origin_pattern(value)


@pytest.mark.parametrize("text", ["https://u:hunter2@*.example.com", "https://*.u:hunter2@a.com"])
def test_a_password_in_a_pattern_is_not_echoed(text):
    with pytest.raises(ValueError, match="user information") as caught:
        parse_origin_pattern(text)
    assert "hunter2" not in str(caught.value)


def test_any_origin_is_not_combined_with_a_pattern():
    with pytest.raises(ValueError, match="cannot be combined"):
        cors_policy(["*", PATTERN])


labels = st.from_regex(r"[a-z0-9_-]{1,12}", fullmatch=True)


@given(st.lists(labels, min_size=1, max_size=4).map(".".join))
def test_what_a_pattern_allows_is_an_origin_as_browsers_send_it(names):
    origin = f"https://{names}.example.com"
    assert cors_policy([PATTERN]).allows(origin)
    assert parse_origin(origin) == origin


@given(st.text(), st.text(), st.text(max_size=3))
def test_attack_no_text_around_a_pattern_makes_another_host_match(front, middle, end):
    """A browser takes the host from what stands before the first of ``/?#\\``, without user."""
    for origin in (
        f"https://{middle}.example.com{end}",
        f"{front}https://{middle}.example.com",
        f"https://{front}/{middle}.example.com",
    ):
        if cors_policy([PATTERN]).allows(origin):
            assert parse_origin(origin) == origin
            assert origin.endswith(".example.com")


# forged requests


@pytest.mark.parametrize("origin", SUBDOMAINS)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_attack_a_pattern_admits_no_unsafe_request(origin, method):
    policy = cors_policy([PATTERN, "https://exact.example.com"])
    for fetch_site in (None, "same-site", "cross-site", "same-origin", "none"):
        assert refuses_origin(policy, method, origin, "https", "service.example", fetch_site)
        assert refuses_origin(policy, method, origin, "https", None, fetch_site)
    assert not refuses_origin(policy, "GET", origin, "https", None)


def test_an_exact_origin_beside_a_pattern_is_admitted():
    policy = cors_policy([PATTERN, "https://exact.example.com"])
    exact = "https://exact.example.com"
    assert not refuses_origin(policy, "POST", exact, "https", "service.example", "same-site")
    # So is the service itself, below the domain of the pattern or not.
    own = "https://service.example.com"
    assert not refuses_origin(policy, "POST", own, "https", "service.example.com")
    assert refuses_origin(policy, "POST", own, "https", "other.example.com")
