"""Methods that forward to a part."""

from __future__ import annotations

import inspect

import pytest

from swaig_wsgi.agent._forwards import forward


class Part:
    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def put(self, first: int, *, second: int = 2) -> None:
        """Put two."""
        if first < 0:
            raise ValueError("negative")
        self.seen.append((first, second))

    def count(self, first: int) -> int:
        """Count."""
        return sum(seen == first for seen, _ in self.seen)


class Whole:
    def __init__(self) -> None:
        self.part = Part()

    put = forward("part", Part.put)
    count = forward("part", Part.count)


def test_it_forwards_and_returns_its_own_object() -> None:
    whole = Whole()
    assert whole.put(1).put(3, second=4) is whole
    assert whole.part.seen == [(1, 2), (3, 4)]


def test_what_is_asked_for_is_returned() -> None:
    whole = Whole().put(1).put(2).put(1, second=3)
    assert whole.count(1) == 2
    assert Whole.count.__doc__ == "Count."


def test_errors_pass() -> None:
    with pytest.raises(ValueError, match="negative"):
        Whole().put(-1)


def test_it_looks_like_the_method_of_the_part() -> None:
    assert Whole.put.__doc__ == "Put two."
    assert list(inspect.signature(Whole.put).parameters) == ["self", "first", "second"]
