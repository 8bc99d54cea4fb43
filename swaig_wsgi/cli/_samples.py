"""A value that fits a tool's parameter, for a command that can be pasted as it is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from ..swaig import check_arguments

#: Texts in the most common formats and patterns.
_TEXTS = (
    "text",
    "1",
    "123456",
    "A1",
    "+15555550100",
    "name@example.com",
    "https://example.com/",
    "2026-11-29",
    "10:30",
)
_FORMATS = {
    "date": "2026-11-29",
    "date-time": "2026-11-29T10:30:00Z",
    "time": "10:30:00Z",
    "uuid": "01234567-89ab-4cde-8f01-23456789abcd",
    "decimal": "1",
    "email": "name@example.com",
    "uri": "https://example.com/",
}


def sample_value(schema: dict[str, Any]) -> Any:
    """Return a JSON value that fits `schema`, or at least one of its type."""
    candidates = list(_candidates(schema))
    return next((each for each in candidates if _fits(schema, each)), candidates[0])


def _fits(schema: dict[str, Any], value: Any) -> bool:
    object_of_one = {"type": "object", "properties": {"it": schema}}
    return check_arguments(object_of_one, {"it": value}) is None


def _candidates(schema: dict[str, Any]) -> Iterator[Any]:
    for name in ("default", "const"):
        if name in schema:
            yield schema[name]
    yield from schema.get("examples") or schema.get("enum") or ()
    for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield sample_value(part)
    kinds = schema.get("type", "string")
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        yield from _OF_TYPE[kind](schema)


def _numbers(schema: dict[str, Any]) -> Iterator[float]:
    step = schema.get("multipleOf", 1)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    for start in (1, low, high):
        if start is not None:
            first = math.ceil(start / step) * step
            yield from (first, first + step, first - step)
    if low is not None and high is not None:
        yield (low + high) / 2


def _texts(schema: dict[str, Any]) -> Iterator[str]:
    if schema.get("format") in _FORMATS:
        yield _FORMATS[schema["format"]]
    yield from _TEXTS
    least = min(schema.get("minLength", 1), 1000)
    yield from (("text " * least)[:least], ("1" * least))
    # A pattern of fixed parts, such as ^[A-Z]{2}-\d{4}$: one character for each class.
    text = re.sub(r"^\^|\$$", "", schema.get("pattern", ""))
    text = re.sub(r"\[(.)[^]]*\]", r"\1", text.replace(r"\d", "1").replace(r"\w", "a"))
    yield re.sub(r"(.)\{(\d+)(?:,\d*)?\}", lambda part: part[1] * int(part[2]), text)


def _lists(schema: dict[str, Any]) -> Iterator[list[Any]]:
    yield [sample_value(schema.get("items", {}))] * schema.get("minItems", 0)


def _objects(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    known = schema.get("properties", {})
    yield {name: sample_value(known.get(name, {})) for name in schema.get("required", ())}


_OF_TYPE: dict[str, Any] = {
    "array": _lists,
    "boolean": lambda schema: [True],
    "integer": _numbers,
    "null": lambda schema: [None],
    "number": _numbers,
    "object": _objects,
    "string": _texts,
}
