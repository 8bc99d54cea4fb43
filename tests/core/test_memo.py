"""What is remembered of functions of texts that clients choose."""

from __future__ import annotations

import contextlib

import pytest

from swaig_wsgi.core._memo import remembered
from swaig_wsgi.core.hosts import parse_host
from swaig_wsgi.core.rate_limit import client_key
from swaig_wsgi.core.urls import parse_base_url


class Impostor(str):
    """A text that equals another one, and has its hash."""

    def __eq__(self, other):
        return other == "admin"

    def __hash__(self):
        return hash("admin")


def counted(**bounds):
    calls = []

    @remembered(**bounds)
    def upper(text):
        calls.append(text)
        if not text:
            raise ValueError("empty")
        return str.upper(text)

    return upper, calls


def test_the_last_results_are_remembered():
    upper, calls = counted(maxsize=2, max_length=8)
    assert [upper(text) for text in ("a", "a", "b", "c", "b", "a")] == list("AABCBA")
    assert calls == ["a", "b", "c", "a"]
    assert upper.cache_info()[:3] == (2, 4, 2)


def test_attack_long_texts_fill_no_memory():
    upper, calls = counted(maxsize=2, max_length=8)
    for text in ("a" * 8, "b" * 9, "b" * 9, "a" * 8):
        assert upper(text) == text.upper()
    assert calls == ["a" * 8, "b" * 9, "b" * 9]


def test_attack_a_subclass_does_not_get_the_result_of_another_text():
    upper, _ = counted(maxsize=2, max_length=8)
    assert upper("admin") == "ADMIN"
    assert upper(Impostor("guest")) == "GUEST"
    assert upper("admin") == "ADMIN"


def test_exceptions_are_not_remembered():
    upper, calls = counted(maxsize=2, max_length=8)
    for _ in range(2):
        with pytest.raises(ValueError, match="empty"):
            upper("")
    assert calls == ["", ""]


@pytest.mark.parametrize(
    ("function", "maxsize", "max_length", "text"),
    [
        (parse_host, 1024, 64, "a."),
        (client_key, 1024, 64, "::"),
        (parse_base_url, 256, 256, "https://a.example/b/"),
    ],
)
def test_attack_what_is_remembered_of_a_client_is_bounded(function, maxsize, max_length, text):
    text += text[-2:] * max_length
    assert function.cache_info().maxsize == maxsize
    for length, more in ((max_length, 1), (max_length + 1, 0)):
        before = function.cache_info().misses
        with contextlib.suppress(ValueError):
            function(text[:length])
        assert function.cache_info().misses == before + more
