"""Memory for functions of texts that clients choose."""

from __future__ import annotations

from functools import lru_cache, wraps
from typing import Callable, TypeVar

__all__ = ["remembered"]

_T = TypeVar("_T")


def remembered(
    maxsize: int, max_length: int
) -> Callable[[Callable[[str], _T]], Callable[[str], _T]]:
    """Return a decorator for a function of one text, whose last results are remembered.

    The function must depend on nothing else. What it raises is not remembered. Neither are results
    for longer texts, which would fill the memory, and for subclasses of ``str``, which could equal
    another text.

    Args:
        maxsize: number of results.
        max_length: number of characters.
    """

    def decorate(function: Callable[[str], _T]) -> Callable[[str], _T]:
        known = lru_cache(maxsize)(function)

        @wraps(function)
        def call(text: str) -> _T:
            if type(text) is str and len(text) <= max_length:
                return known(text)
            return function(text)

        vars(call)["cache_info"] = known.cache_info
        return call

    return decorate
