"""The supported keywords of JSON Schema, and their valid values."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from ..core._patterns import lazy_pattern

#: The greatest depth of a schema, which also bounds the recursion when checking an argument.
MAX_SCHEMA_DEPTH = 64

#: Descriptions of the types, for the AI.
TYPES = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_UNSUPPORTED = lazy_pattern(
    r"\$ref|\$dynamicRef|\$recursiveRef|additionalItems|contains|dependencies|dependentRequired"
    "|dependentSchemas|else|if|maxContains|minContains|not|patternProperties|prefixItems"
    "|propertyNames|then|unevaluatedItems|unevaluatedProperties"
)


def check_schema(schema: Mapping[str, Any]) -> None:
    """Check that arguments can be validated against `schema`.

    Raises:
        ValueError: a keyword has an invalid value, or is unsupported, so that ignoring it would
            accept invalid arguments. The message starts with the keyword's path, such as
            ``properties.city.pattern``.
    """
    _check_schema(schema, "", 0)


def is_type(name: str, value: Any) -> bool:
    """Return whether a JSON value is of a type: 1.0 is an integer, and true is not a number."""
    if name == "string":
        return isinstance(value, str)
    if name == "array":
        return isinstance(value, list)
    if name == "object":
        return isinstance(value, Mapping)
    if name == "null":
        return value is None
    if name == "boolean" or isinstance(value, bool):
        return name == "boolean" and isinstance(value, bool)
    if isinstance(value, float):
        return value.is_integer() if name == "integer" else math.isfinite(value)
    return isinstance(value, int)


@lru_cache(maxsize=512)
def compiled_pattern(pattern: str) -> re.Pattern[str]:
    r"""Compile a pattern of JSON Schema, which uses the syntax of ECMAScript.

    There, ``$`` does not match before a final newline, and ``\d`` is 0 to 9. With Python's meaning,
    a pattern would accept text that handlers do not expect.
    """
    return re.compile(_ANCHORS.sub(_python_anchor, pattern), re.ASCII)


# Escapes and character classes are matched too, because a dollar in them is not an anchor.
_ANCHORS = lazy_pattern(r"\\.|\[\^?\]?[^\]\\]*(?:\\.[^\]\\]*)*\]|\$", re.DOTALL)


def _python_anchor(match: re.Match[str]) -> str:
    return r"\Z" if match[0] == "$" else match[0]


def _check_schema(schema: Any, path: str, depth: int) -> None:
    if not isinstance(schema, Mapping):
        raise ValueError(f"{path or 'a schema'} must be a dictionary, not {reprlib.repr(schema)}")
    if depth > MAX_SCHEMA_DEPTH:
        raise ValueError(f"a schema must not be nested deeper than {MAX_SCHEMA_DEPTH} levels")
    prefix = f"{path}." if path else ""
    for keyword, value in schema.items():
        if _UNSUPPORTED.fullmatch(keyword):
            problem = "is not supported: arguments cannot be validated against it"
            raise ValueError(f"{prefix}{keyword} {problem}")
        fits, expected = _KEYWORDS.get(keyword, (None, ""))
        if fits is not None and not fits(value):
            raise ValueError(f"{prefix}{keyword} must be {expected}, not {reprlib.repr(value)}")
        for step, part in subschemas(keyword, value):
            _check_schema(part, f"{prefix}{keyword}{step}", depth + 1)


def subschemas(keyword: str, value: Any) -> list[tuple[str, Any]]:
    """Return the schemas in the value of a keyword, each with the rest of its path."""
    if keyword == "items" or (keyword == "additionalProperties" and not isinstance(value, bool)):
        return [("", value)]
    if keyword == "properties":
        return [(f".{name}", part) for name, part in value.items()]
    if keyword in ("anyOf", "oneOf", "allOf"):
        return [(f"[{index}]", part) for index, part in enumerate(value)]
    return []


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_filled_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _is_types(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    return _is_filled_list(names) and all(isinstance(n, str) and n in TYPES for n in names)


def _is_pattern(value: Any) -> bool:
    try:
        compiled_pattern(value)
    except (TypeError, ValueError, re.error, OverflowError, RecursionError):
        return False
    return True


_NUMBER = (partial(is_type, "number"), "a number")
_COUNT = (_is_count, "an integer from 0")
_SCHEMAS = (_is_filled_list, "a list of schemas")
_KEYWORDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "type": (_is_types, f"one or a list of {', '.join(TYPES)}"),
    "enum": (_is_filled_list, "a list with at least one value"),
    "required": (
        lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
        "a list of names",
    ),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _NUMBER),
    "multipleOf": (lambda value: is_type("number", value) and value > 0, "a number above 0"),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), _COUNT),
    **dict.fromkeys(("minProperties", "maxProperties"), _COUNT),
    "uniqueItems": (lambda value: isinstance(value, bool), "true or false"),
    "pattern": (_is_pattern, "a regular expression"),
    "properties": (lambda value: isinstance(value, Mapping), "a dictionary of schemas"),
    **dict.fromkeys(("anyOf", "oneOf", "allOf"), _SCHEMAS),
}
#: All keywords against which values are validated.
KEYWORDS = frozenset({*_KEYWORDS, "const", "items", "additionalProperties", "nullable"})
