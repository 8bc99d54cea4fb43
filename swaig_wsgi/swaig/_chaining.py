"""Methods that are functions with a place to put what they return."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar


class HasActions(Protocol):
    """Something that collects actions."""

    action: list[dict[str, Any]]


P = ParamSpec("P")
Owner = TypeVar("Owner", bound=HasActions)


def adds(make: Callable[P, dict[str, Any]]) -> Callable[Concatenate[Owner, P], Owner]:
    """Return a method that appends what `make` returns to ``action``, and returns its object.

    Parameters and docstring are those of `make`.
    """

    @functools.wraps(make)
    def chained(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> Owner:
        self.action.append(make(*args, **kwargs))
        return self

    # help() and editors would take the first parameter of `make` for self.
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    signature = inspect.signature(make)
    parameters = [own, *signature.parameters.values()]
    chained.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation="FunctionResult"
    )
    return chained
