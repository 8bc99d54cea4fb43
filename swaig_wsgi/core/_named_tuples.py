"""Fast construction of named tuples, of which each request makes several."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Callable, TypeVar

__all__ = ["constructor"]

_T = TypeVar("_T", bound="tuple[Any, ...]")


def constructor(named_tuple: type[_T]) -> Callable[[Iterable[Any]], _T]:
    """Return a function that makes a named tuple of a sequence with *all* of its values.

    It takes a third of the time of `named_tuple` itself, whose constructor is a function in Python.
    """
    return partial(tuple.__new__, named_tuple)
