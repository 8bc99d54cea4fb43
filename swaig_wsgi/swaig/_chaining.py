"""Methods made of functions that return an action."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar


class HasActions(Protocol):
    """An object that collects actions."""

    action: list[dict[str, Any]]


P = ParamSpec("P")
Owner = TypeVar("Owner", bound=HasActions)


def adds(make: Callable[P, dict[str, Any]]) -> Callable[Concatenate[Owner, P], Owner]:
    """Return a method that appends the result of `make` to ``action``, and returns its object.

    It has the parameters and the docstring of `make`.
    """

    @functools.wraps(make)
    def chained(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> Owner:
        self.action.append(make(*args, **kwargs))
        return self

    # Otherwise help() and editors would take the first parameter of `make` for self.
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    signature = inspect.signature(make)
    parameters = [own, *signature.parameters.values()]
    chained.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation="FunctionResult"
    )
    return chained
