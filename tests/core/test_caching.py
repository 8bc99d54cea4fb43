"""Which responses shared caches may give to other clients."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core.caching import may_be_shared

TYPE = ("Content-Type", "text/css")


@pytest.mark.parametrize(
    "value",
    [
        "public",
        "Public",
        "max-age=60, public",
        "no-cache,public",
        "private, public",
        "max-age=60",
        "MAX-AGE=60,must-revalidate",
        's-maxage="60"',
        "s-maxage=60, private",
        'max-age=60, private="set-cookie"',
        'no-cache="set-cookie, x", max-age=60',
        r'ext="\", private", max-age=60',
        "max-age=0, s-maxage=60",
    ],
)
def test_responses_that_may_be_shared(value):
    assert may_be_shared([TYPE, ("Cache-Control", value)])
    assert may_be_shared([("cache-control", value), TYPE])
    assert may_be_shared([("Cache-Control", "private"), ("CDN-Cache-Control", value)])


@pytest.mark.parametrize(
    "value",
    [
        "",
        "private",
        "no-store",
        "no-cache",
        "max-age=60, private",
        "max-age=60, no-store",
        "no-cache, max-age=60",
        "max-age=0",
        "s-maxage=0",
        "must-revalidate",
        'ext="public, max-age=60"',
        "x-public, publicly",
    ],
)
def test_responses_that_may_not(value):
    assert not may_be_shared([TYPE, ("Cache-Control", value)])


def test_no_field_of_caches():
    assert not may_be_shared([TYPE])


def test_several_lines_of_one_field_are_one_list():
    assert not may_be_shared([("Cache-Control", "max-age=60"), ("Cache-Control", "private")])


def test_expires():
    expires = ("Expires", "Thu, 01 Jan 2099 00:00:00 GMT")
    assert may_be_shared([TYPE, expires])
    assert not may_be_shared([expires, ("Cache-Control", "private")])
    assert not may_be_shared([TYPE, ("Expires", "0")])


def test_content_delivery_networks_ignore_cache_control_if_they_have_a_field_of_their_own():
    assert may_be_shared([("Cache-Control", "no-store"), ("CDN-Cache-Control", "max-age=60")])
    assert not may_be_shared([("Cache-Control", "no-store"), ("CDN-Cache-Control", "no-store")])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["Cache-Control", "CACHE-control", "Expires", "CDN-Cache-Control", "X"]
            ),
            st.sampled_from(["no-store", "NO-STORE", "public", "private", "max-age=9", "0", ""]),
        )
    )
)
def test_what_agents_send_is_read_as_anything_else(headers):
    # Another field of the name, which says nothing, is read directive by directive.
    assert may_be_shared(headers) == may_be_shared([*headers, ("cache-control", "")])
    assert may_be_shared(iter(headers)) == may_be_shared(headers)
