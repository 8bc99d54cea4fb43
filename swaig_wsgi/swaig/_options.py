"""The options of a tool, by name: a misspelled one must not be ignored."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypedDict

from .._missing import OPTIONS, check_names


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


def check_options(
    given: Iterable[str],
    known: Collection[str] = ToolOptions.__annotations__,
    remedies: Mapping[str, str] = OPTIONS,
) -> None:
    """Check the names of keyword arguments of a tool's definition.

    Raises:
        TypeError: one is unknown. The message says what to use instead.
    """
    hint = "other members of the definition go into extra={...}"
    check_names("a tool has no option", given, known, remedies, hint)
