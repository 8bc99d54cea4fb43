"""Validation of a tool call's arguments against the tool's JSON schema.

Checked: ``type``, ``enum``, ``const``, ``minimum``, ``maximum``, ``exclusiveMinimum``,
``exclusiveMaximum``, ``multipleOf``, ``minLength``, ``maxLength``, ``pattern``, ``items``,
``minItems``, ``maxItems``, ``uniqueItems``, ``properties``, ``required``, ``additionalProperties``,
``minProperties``, ``maxProperties``, ``anyOf``, ``oneOf``, ``allOf`` and OpenAPI's ``nullable``.
Annotations and ``format`` are ignored. :func:`check_schema` rejects schemas with other keywords of
JSON Schema, which would allow or forbid more than these.
"""

from __future__ import annotations

import json
import math
import operator
import sys
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from ._keywords import TYPES, compiled_pattern, is_type

#: The longest text, in characters, to which a pattern is applied. The limit bounds the time that a
#: caller can make the search take.
MAX_PATTERN_TEXT = 10_000

_BOUNDS = (
    ("minimum", operator.ge, "at least"),
    ("maximum", operator.le, "at most"),
    ("exclusiveMinimum", operator.gt, "more than"),
    ("exclusiveMaximum", operator.lt, "less than"),
)


class Fault(NamedTuple):
    """A reason why a value does not fit a schema, and the path of the offending part."""

    path: str
    problem: str


def check_arguments(schema: Mapping[str, Any], args: Any) -> str | None:
    """Return None if `args` fit `schema`, else a sentence for the AI.

    The sentence names the argument, such as ``to.account`` or ``items[2]``, and the expected value.
    It has at most 500 characters and contains no value from `args`. Nothing is coerced: ``"5"`` is
    not a number.

    Args:
        schema: as accepted by :func:`check_schema`.
        args: the arguments as parsed from JSON.
    """
    if not isinstance(args, Mapping):
        return "The arguments must be an object."
    try:
        fault = find_fault(schema, args)
    except RecursionError:
        return "The arguments are nested too deeply."
    if fault is None:
        return None
    subject = f"argument '{_clipped(fault.path, 150)}'" if fault.path else "arguments"
    return f"The {subject} {_clipped(fault.problem, 320)}."


def find_fault(schema: Mapping[str, Any], value: Any) -> Fault | None:
    """Return the first reason why `value` does not fit `schema`, or None if it fits."""
    if value is None and schema.get("nullable") is True:
        return None
    problem = _wrong_value(schema, value)
    if problem is not None:
        return Fault("", problem)
    fault: Fault | None = None
    if isinstance(value, str):
        fault = _at_value(_wrong_text(schema, value))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        fault = _at_value(_wrong_number(schema, value))
    elif isinstance(value, list):
        fault = _at_value(_wrong_length(schema, value)) or _wrong_item(schema, value)
    elif isinstance(value, Mapping):
        fault = _wrong_member(schema, value)
    return fault or _wrong_combination(schema, value)


def canonical(value: Any) -> str:
    """Return text that is equal for equal JSON values: 1 equals 1.0, but not true."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # As text, because a caller can choose numbers with colliding hashes, but not strings.
    if isinstance(value, int) and not isinstance(value, bool):
        return format(value, "x")
    if isinstance(value, list):
        return f"[{','.join([canonical(item) for item in value])}]"
    if isinstance(value, Mapping):
        members = [f"{json.dumps(key)}:{canonical(value[key])}" for key in sorted(value)]
        return f"{{{','.join(members)}}}"
    return json.dumps(value)


def _at_value(problem: str | None) -> Fault | None:
    return None if problem is None else Fault("", problem)


def _below(step: str, fault: Fault) -> Fault:
    joint = "." if fault.path and not fault.path.startswith("[") else ""
    return Fault(f"{step}{joint}{fault.path}", fault.problem)


def _wrong_value(schema: Mapping[str, Any], value: Any) -> str | None:
    fits = _has_type(schema, value)
    for allowed in ([schema["const"]] if "const" in schema else None, schema.get("enum")):
        fits = fits and (allowed is None or canonical(value) in map(canonical, allowed))
    return None if fits else f"must be {_expected(schema)}"


def _has_type(schema: Mapping[str, Any], value: Any) -> bool:
    return "type" not in schema or any(is_type(name, value) for name in _types(schema))


def _types(schema: Mapping[str, Any]) -> list[str]:
    names = schema["type"]
    return [names] if isinstance(names, str) else names


def _wrong_text(schema: Mapping[str, Any], value: str) -> str | None:
    problem = _wrong_count(schema, len(value), "Length", "character")
    if problem is not None or "pattern" not in schema:
        return problem
    if len(value) > MAX_PATTERN_TEXT:
        return f"must have at most {MAX_PATTERN_TEXT} characters"
    if compiled_pattern(schema["pattern"]).search(value) is None:
        return f"must match the pattern {_clipped(schema['pattern'], 200)}"
    return None


def _wrong_number(schema: Mapping[str, Any], value: float) -> str | None:
    # Written so that NaN fails.
    if not abs(value) <= sys.float_info.max:
        return "must be a number of reasonable size"
    for keyword, fits, words in _BOUNDS:
        if keyword in schema and not fits(value, schema[keyword]):
            return f"must be {words} {schema[keyword]}"
    if "multipleOf" in schema:
        # Exact decimals: 0.3 is a multiple of 0.1.
        quotient = Fraction(str(value)) / Fraction(str(schema["multipleOf"]))
        if quotient.denominator != 1:
            return f"must be a multiple of {schema['multipleOf']}"
    return None


def _wrong_length(schema: Mapping[str, Any], value: list[Any]) -> str | None:
    problem = _wrong_count(schema, len(value), "Items", "item")
    if problem is None and schema.get("uniqueItems") is True:
        different = {canonical(item) for item in value}
        if len(different) < len(value):
            return "must not hold the same item twice"
    return problem


def _wrong_count(schema: Mapping[str, Any], count: int, what: str, unit: str) -> str | None:
    least, most = schema.get(f"min{what}", 0), schema.get(f"max{what}", math.inf)
    if least <= count <= most:
        return None
    bound, words = (least, "at least") if count < least else (most, "at most")
    if least == most:
        words = "exactly"
    return f"must have {words} {bound} {unit if bound == 1 else unit + 's'}"


def _wrong_item(schema: Mapping[str, Any], value: list[Any]) -> Fault | None:
    if "items" in schema:
        for index, item in enumerate(value):
            fault = find_fault(schema["items"], item)
            if fault is not None:
                return _below(f"[{index}]", fault)
    return None


def _wrong_member(schema: Mapping[str, Any], value: Mapping[str, Any]) -> Fault | None:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            expected = _expected(known.get(name, {}))
            return Fault(name, f"is missing; it must be {expected}" if expected else "is missing")
    problem = _wrong_count(schema, len(value), "Properties", "member")
    if problem is not None:
        return Fault("", problem)
    other = schema.get("additionalProperties", True)
    for name, member in value.items():
        if name in known:
            fault = find_fault(known[name], member)
        elif other is False:
            names = f"; there are {_listed(known)}" if known else ""
            fault = Fault("", f"is unknown{names}")
        else:
            fault = None if other is True else find_fault(other, member)
        if fault is not None:
            return _below(_named(name), fault)
    return None


def _wrong_combination(schema: Mapping[str, Any], value: Any) -> Fault | None:
    for part in schema.get("allOf", ()):
        fault = find_fault(part, value)
        if fault is not None:
            return fault
    for keyword in ("anyOf", "oneOf"):
        if keyword not in schema:
            continue
        faults = [find_fault(branch, value) for branch in schema[keyword]]
        if None not in faults:
            return _closest(schema[keyword], faults, value)
        if keyword == "oneOf" and faults.count(None) > 1:
            return Fault("", "must fit one of its alternatives only")
    return None


def _closest(branches: list[Any], faults: list[Fault | None], value: Any) -> Fault | None:
    """Return the fault in the only branch of the value's type; otherwise list the branches."""
    near = [fault for branch, fault in zip(branches, faults) if _has_type(branch, value)]
    if len(near) == 1:
        return near[0]
    expected = _either(branches)
    return Fault("", f"must be {expected}" if expected else "must fit one of its alternatives")


def _expected(schema: Mapping[str, Any]) -> str:
    """Describe what fits in a few words; return "" if the schema does not specify it."""
    if "const" in schema:
        return _as_json(schema["const"])
    if "enum" in schema:
        allowed = schema["enum"]
        return _as_json(allowed[0]) if len(allowed) == 1 else f"one of {_listed(allowed)}"
    if "type" in schema:
        return " or ".join([TYPES[name] for name in _types(schema)])
    return _either(schema.get("anyOf") or schema.get("oneOf") or [])


def _either(branches: list[Any]) -> str:
    expected = [_expected(branch) for branch in branches]
    return " or ".join(dict.fromkeys(expected)) if all(expected) else ""


def _listed(values: Any) -> str:
    shown: list[str] = []
    for value in values:
        if sum(map(len, shown)) > 150:
            return f"{', '.join(shown)} and {len(values) - len(shown)} more"
        shown.append(_as_json(value))
    return ", ".join(shown)


def _as_json(value: Any) -> str:
    return _clipped(json.dumps(value, ensure_ascii=False), 80)


def _named(name: str) -> str:
    # Clients choose the names of unknown members.
    return _clipped(name if name and name.isprintable() else json.dumps(name), 60)


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
