"""The options of a tool, by name: a misspelled one must not be ignored."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypedDict, TypeVar

P = ParamSpec("P")
Result = TypeVar("Result")


class ToolOptions(TypedDict, total=False):
    """The keyword arguments of ``tool``, for type checkers; see :meth:`ToolRegistry.define`."""

    parameters: Mapping[str, Any] | None
    secure: bool | None
    fillers: Mapping[str, Any] | None
    webhook_url: str | None
    required: Iterable[str] | None
    once: float | None
    max_runs: int | None
    active: bool | str | None
    meta_data: Mapping[str, Any] | None
    meta_data_token: str | None
    skip_fillers: bool | str | None
    wait_file: str | None
    wait_file_loops: int | str | None
    wait_for_fillers: bool | str | None
    gates: Sequence[Mapping[str, Any]] | None
    gate_fillers: Mapping[str, Any] | None
    extra: Mapping[str, Any] | None


def check_options(given: Iterable[str], known: Iterable[str] = ToolOptions.__annotations__) -> None:
    """Check the names of keyword arguments.

    Raises:
        TypeError: one is unknown. The message names the nearest known one.
    """
    known = list(known)
    for name in given:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            remedy = "other members of the definition go into extra={...}"
            raise TypeError(f"a tool has no option {name!r}; did you mean {nearest!r}? {remedy}")


def checks_options(function: Callable[P, Result]) -> Callable[P, Result]:
    """Decorate `function` to check the names of its keyword arguments first.

    Python itself would raise a TypeError, too, but name no remedy.
    """
    parameters = inspect.signature(function).parameters.values()
    known = [each.name for each in parameters if each.kind is not each.POSITIONAL_ONLY]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Result:
        check_options(kwargs, known)
        return function(*args, **kwargs)

    return checked
