from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core import tokens
from swaig_wsgi.core.tokens import TokenError, token_from_query


@given(st.text("_token=&;%+a-1 \xe9\n") | st.sampled_from(["__token=a-_9", "__token=a\n"]))
def test_the_usual_query_is_read_as_any_other(query):
    def read():
        try:
            return token_from_query(query)
        except TokenError as error:
            return error.reason

    found = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "_USUAL_QUERY", re.compile("(?!)"))
        assert read() == found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", None),
        ("a=1&b=2", None),
        ("a=%41", None),
        ("__token=abc", "abc"),
        ("__token=abc%3D%3D", "abc=="),
        ("a=1&__token=abc&b=2", "abc"),
        ("a=1&__token=abc;b=2", "abc;b=2"),
        ("%5F_token=abc", "abc"),
        ("%5f%5ftoken=abc", "abc"),
        ("%5F%5F%74%6F%6B%65%6E=abc", "abc"),
        ("%255F_token=abc", None),
        ("__token", ""),
        ("__token=", ""),
        ("__token=a=b", "a=b"),
        ("__token=a+b", "a b"),
        ("__token=%FF", "\ufffd"),
        ("__token=%", "%"),
        ("x__token=abc", None),
        ("__token%00=abc", None),
        ("__TOKEN=abc", None),
        ("__token[]=abc", None),
        ("+__token=abc", None),
        ("a=__token=abc", None),
        ("a=1;__token=abc", None),
        ("a=\xe9&__token=abc", "abc"),
    ],
)
def test_the_token_of_a_query_string(query, expected):
    assert token_from_query(query) == expected


@pytest.mark.parametrize(
    "query",
    [
        "__token=a&__token=b",
        "__token=a&__token=a",
        "__token&__token=a",
        "__token=a&%5F_token=b",
        "%5F_token=a&_%5Ftoken=b",
        "__token=a&x=1&__token=b",
        "__token=a;__token=b",
        "__token=a&x=1;__token=b",
        "x=1;__token=b&__token=a",
        "x=1;%5F_token=b&__token=a",
        "x;__token=a;__token=b",
    ],
)
def test_two_tokens_in_a_query_string_are_rejected(query):
    with pytest.raises(TokenError) as caught:
        token_from_query(query)
    assert caught.value.reason == "repeated"


@given(st.text())
def test_parsing_a_query_string_raises_nothing_else(query):
    try:
        found = token_from_query(query)
    except TokenError as error:
        found = error.reason
    assert found is None or isinstance(found, str)
