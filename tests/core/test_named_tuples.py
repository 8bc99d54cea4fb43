"""Fast construction of named tuples."""

from __future__ import annotations

from typing import NamedTuple

from swaig_wsgi.core._named_tuples import constructor


class Point(NamedTuple):
    x: int
    y: int = 0


def test_a_constructor_makes_what_the_class_makes():
    made = constructor(Point)((1, 2))
    assert made == Point(1, 2)
    assert type(made) is Point
    assert (made.x, made.y) == (1, 2)
