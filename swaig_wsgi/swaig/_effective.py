"""Rejection of keywords that JSON Schema ignores, although their author relies on them.

``minimum`` says nothing about text, and an unknown keyword says nothing at all. So ``{"type":
["number", "string"], "minimum": 5}`` allows ``"-5"``, and ``{"type": "number", "minimun": 5}``
allows -5: a handler would get what the published schema seems to rule out. As in the strict mode of
other validators, such a schema is an error when the tool is defined.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._missing import nearest
from ..core._validation import ArgumentTypeError
from ._formats import CheckedFormat
from ._keywords import KEYWORDS, TYPES, is_type, subschemas

#: The only type of value that a keyword restricts.
APPLIES_TO = {
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), "number"),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), "number"),
    **dict.fromkeys(("minLength", "maxLength", "pattern"), "string"),
    **dict.fromkeys(("items", "minItems", "maxItems", "uniqueItems"), "array"),
    **dict.fromkeys(("properties", "required", "additionalProperties"), "object"),
    **dict.fromkeys(("minProperties", "maxProperties"), "object"),
}

_ALL = frozenset(TYPES) - {"integer"}

#: The keywords of other libraries, and abbreviations too short to resemble what they stand for.
_FOREIGN = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "min": "minimum",
    "max": "maximum",
    "regex": "pattern",
}
#: Keywords that only describe, though some of them resemble one that restricts.
_DESCRIPTIVE = frozenset(
    (
        *("title", "description", "default", "example", "examples", "format", "deprecated"),
        *("readOnly", "writeOnly", "definitions", "discriminator", "externalDocs"),
        *("contentEncoding", "contentMediaType", "contentSchema"),
    )
)


def check_effective(schema: Mapping[str, Any]) -> None:
    """Check that each keyword of `schema` restricts every value, except null, that it allows.

    Args:
        schema: accepted by :func:`check_schema`.

    Raises:
        TypeError: a keyword does not apply to some of the values, or is misspelled. The message
            starts with its path. Also a ValueError.
    """
    _check(schema, "", _ALL)


def _check(schema: Mapping[str, Any], path: str, inherited: frozenset[str]) -> None:
    allowed = _allowed_types(schema) & inherited
    for keyword, value in schema.items():
        where = f"{path}.{keyword}" if path else keyword
        meant = _meant(keyword)
        if meant is not None:
            raise ArgumentTypeError(f"{where} is unknown; did you mean {meant!r}?")
        target = APPLIES_TO.get(keyword)
        exempt = {target, "null"}
        if target == "number" and _is_decimal(schema):
            exempt.add("string")
        others = allowed - exempt
        if target is not None and others:
            listed = " or ".join(TYPES[name] for name in TYPES if name in others)
            remedy = "give a narrower type, or a schema for each type in anyOf"
            problem = f"does not apply to all values: {listed} would pass unchecked"
            raise ArgumentTypeError(f"{where} {problem}; {remedy}")
        for step, part in subschemas(keyword, value):
            same_value = keyword in ("anyOf", "oneOf", "allOf")
            _check(part, f"{where}{step}", allowed if same_value else _ALL)


def _allowed_types(schema: Mapping[str, Any]) -> frozenset[str]:
    """Return the types of the values that `schema` may allow; integers are numbers."""
    given = schema.get("type", list(TYPES))
    names = {given} if isinstance(given, str) else set(given)
    allowed = _ALL & {"number" if name == "integer" else name for name in names}
    for values in ([schema["const"]] if "const" in schema else None, schema.get("enum")):
        if values is not None:
            allowed &= {name for name in _ALL for value in values if is_type(name, value)}
    for part in schema.get("allOf", ()):
        allowed &= _allowed_types(part)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            allowed &= frozenset().union(*map(_allowed_types, schema[keyword]))
    return allowed


def _is_decimal(schema: Mapping[str, Any]) -> bool:
    text_format = schema.get("format")
    return isinstance(text_format, CheckedFormat) and text_format == "decimal"


def _meant(keyword: str) -> str | None:
    """Return the keyword that an unknown one seems to stand for, or None."""
    if keyword in KEYWORDS or keyword in _DESCRIPTIVE or keyword.startswith(("x-", "$")):
        return None
    known = {name.lower(): name for name in KEYWORDS}
    written = keyword.lower().replace("_", "").replace("-", "")
    near = nearest(written, known, cutoff=0.75)
    return _FOREIGN.get(written) or (None if near is None else known[near])
