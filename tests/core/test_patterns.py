"""Patterns that are compiled when they are first used."""

from __future__ import annotations

import re

import pytest

from swaig_wsgi.core._patterns import lazy_pattern


def test_a_lazy_pattern_has_the_methods_and_attributes_of_a_compiled_one():
    for pattern, flags, text in (("(a)(b)?", re.IGNORECASE, "xAB"), (b"[0-9]+", 0, b"a12")):
        lazy, compiled = lazy_pattern(pattern, flags), re.compile(pattern, flags)
        for method in ("match", "fullmatch", "search"):
            for _ in range(2):
                found, expected = getattr(lazy, method)(text), getattr(compiled, method)(text)
                assert (found and found.groups()) == (expected and expected.groups())
        assert lazy.findall(text) == compiled.findall(text)
        assert lazy.sub(text[:0], text) == compiled.sub(text[:0], text)
        assert (lazy.pattern, lazy.flags) == (compiled.pattern, compiled.flags)


def test_a_lazy_pattern_has_no_other_attributes():
    with pytest.raises(AttributeError):
        lazy_pattern("a").other  # noqa: B018


def test_a_lazy_pattern_is_compiled_when_it_is_first_used():
    lazy = lazy_pattern("(")
    with pytest.raises(re.error):
        lazy.search("a")
