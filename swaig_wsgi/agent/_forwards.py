"""Methods of an agent that only hand on to one of its parts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
Owner = TypeVar("Owner")
Result = TypeVar("Result")


def forward(
    part: str, method: Callable[Concatenate[Any, P], None]
) -> Callable[Concatenate[Owner, P], Owner]:
    """Return a method that calls `method` on the attribute `part`, and returns its own object.

    Signature and docstring are those of `method`.
    """

    @functools.wraps(method)
    def chained(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> Owner:
        method(getattr(self, part), *args, **kwargs)
        return self

    return chained


def ask(
    part: str, method: Callable[Concatenate[Any, P], Result]
) -> Callable[Concatenate[Owner, P], Result]:
    """Return a method that calls `method` on the attribute `part`, and returns what it returns.

    Signature and docstring are those of `method`.
    """

    @functools.wraps(method)
    def asked(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        return method(getattr(self, part), *args, **kwargs)

    return asked
