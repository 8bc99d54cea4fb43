"""Methods of an agent that forward to one of its parts."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

P = ParamSpec("P")
Owner = TypeVar("Owner")
Result = TypeVar("Result")

#: Python 3.10 has no Self.
_SELF = getattr(typing, "Self", Owner)


@overload
def forward(
    part: str, method: Callable[Concatenate[Any, P], None]
) -> Callable[Concatenate[Owner, P], Owner]: ...
@overload
def forward(
    part: str, method: Callable[Concatenate[Any, P], Result]
) -> Callable[Concatenate[Owner, P], Result]: ...
def forward(part: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that calls `method` on the attribute `part`, with its name and docstring.

    It returns what `method` returns, or the object itself instead of None, so that calls chain.
    """

    @functools.wraps(method)
    def forwarding(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = method(getattr(self, part), *args, **kwargs)
        return self if result is None else result

    # functools.wraps() would show the None of `method`.
    signature = inspect.signature(method)
    if signature.return_annotation in (None, "None"):
        shown: Any = forwarding
        shown.__signature__ = signature.replace(return_annotation=_SELF)
        shown.__annotations__ = {**method.__annotations__, "return": _SELF}
    return forwarding
