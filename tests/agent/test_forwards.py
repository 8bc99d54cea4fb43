"""Methods that forward to an attribute."""

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


class Owner:
    def __init__(self) -> None:
        self.part = Part()

    put = forward("part", Part.put)
    count = forward("part", Part.count)


def test_a_forwarded_method_without_a_result_returns_self() -> None:
    owner = Owner()
    assert owner.put(1).put(3, second=4) is owner
    assert owner.part.seen == [(1, 2), (3, 4)]


def test_a_forwarded_method_returns_its_result() -> None:
    owner = Owner().put(1).put(2).put(1, second=3)
    assert owner.count(1) == 2
    assert Owner.count.__doc__ == "Count."


def test_exceptions_propagate() -> None:
    with pytest.raises(ValueError, match="negative"):
        Owner().put(-1)


def test_a_forwarded_method_has_the_signature_and_docstring() -> None:
    assert Owner.put.__doc__ == "Put two."
    assert list(inspect.signature(Owner.put).parameters) == ["self", "first", "second"]
