"""Schemas: arguments are valid exactly if `jsonschema` accepts them, but for the rules below."""

from __future__ import annotations

import contextlib
import re
from fractions import Fraction
from typing import Any

import jsonschema
from fuzz.strategies import NAMES_OF_MEMBERS, SCALARS, VALUES
from hypothesis import given
from hypothesis import strategies as st
from jsonschema.validators import extend

from swaig_wsgi.swaig._arguments import CompiledSchema, check_arguments, find_fault
from swaig_wsgi.swaig._keywords import KEYWORDS, check_schema
from swaig_wsgi.swaig._schema import object_schema

TYPES = ["string", "integer", "number", "boolean", "null", "array", "object"]
NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, -0.5, 0.1, 1.0, 2.5])
COUNTS = st.integers(0, 3)
PATTERNS = st.sampled_from(["^a", "a$", "b+", "^(a|b)*$", r"\d", r"^\w+$", "[0-9]{2}", "[$]", "^$"])


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return strategies of schemas whose parts are drawn from `inner`."""
    parts = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(TYPES)
            | st.lists(st.sampled_from(TYPES), min_size=1, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=3),
            "const": VALUES,
            **dict.fromkeys(
                ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), NUMBERS
            ),
            "multipleOf": st.sampled_from([1, 2, 0.5, 0.1, 3]),
            **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), COUNTS),
            **dict.fromkeys(("minProperties", "maxProperties"), COUNTS),
            "uniqueItems": st.booleans(),
            "pattern": PATTERNS,
            "items": inner,
            "properties": st.dictionaries(NAMES_OF_MEMBERS, inner, max_size=3),
            "additionalProperties": st.booleans() | inner,
            "required": st.lists(NAMES_OF_MEMBERS, max_size=2, unique=True),
            **dict.fromkeys(("anyOf", "oneOf", "allOf"), parts),
            "nullable": st.booleans(),
            "format": st.sampled_from(["date", "email", "uuid"]),
            "description": st.text(max_size=3),
        },
    )


SCHEMAS = st.recursive(st.just({}) | keywords(st.just({})), keywords, max_leaves=6)


def _multiple(validator: Any, divisor: Any, value: Any, schema: Any) -> Any:
    # JSON Schema Validation section 6.2.1 divides decimals: 0.3 is a multiple of 0.1. jsonschema
    # divides floats, to which it is not.
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and (Fraction(str(value)) / Fraction(str(divisor))).denominator != 1:
        yield jsonschema.ValidationError("not a multiple")


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Any:
    # JSON Schema Core section 6.4: patterns are those of ECMA-262, where $ matches at the very end
    # only, and \d and \w are ASCII. jsonschema reads them as Python's.
    written = {"$": r"\Z", r"\d": "[0-9]", r"\w": "[A-Za-z0-9_]", "[$]": "[$]"}
    python = re.sub(r"\[\$\]|\$|\\[dw]", lambda match: written[match[0]], pattern)
    if isinstance(value, str) and not re.search(python, value):
        yield jsonschema.ValidationError("does not match")


Validator = extend(jsonschema.Draft202012Validator, {"multipleOf": _multiple, "pattern": _pattern})


def without_nullable(schema: Any) -> Any:
    """Return a schema with OpenAPI's ``nullable``, which jsonschema ignores, in other words.

    OpenAPI 3.0.3, "Schema Object": null is allowed besides what the schema allows.
    """
    if not isinstance(schema, dict):
        return schema
    plain = {name: value for name, value in schema.items() if name != "nullable"}
    for name in ("items", "additionalProperties"):
        if name in plain:
            plain[name] = without_nullable(plain[name])
    for name in ("anyOf", "oneOf", "allOf"):
        if name in plain:
            plain[name] = [without_nullable(part) for part in plain[name]]
    if "properties" in plain:
        plain["properties"] = {
            name: without_nullable(part) for name, part in plain["properties"].items()
        }
    if schema.get("nullable") is True:
        return {"anyOf": [{"type": "null"}, plain]}
    return plain


@given(SCHEMAS, VALUES)
def test_a_value_is_valid_as_by_jsonschema(schema: dict[str, Any], value: Any) -> None:
    check_schema(schema)
    jsonschema.Draft202012Validator.check_schema(schema)
    expected = Validator(without_nullable(schema)).is_valid(value)
    assert (find_fault(schema, value) is None) is expected


@st.composite
def near_values(draw: Any, schema: Any) -> Any:
    """Return a value that follows a schema's types, and often fits."""
    if draw(st.integers(0, 5)) == 0 or not isinstance(schema, dict):
        return draw(SCALARS)
    parts = [part for name in ("anyOf", "oneOf", "allOf") for part in schema.get(name, ())]
    if parts and draw(st.booleans()):
        return draw(near_values(draw(st.sampled_from(parts))))
    if "const" in schema or "enum" in schema:
        return draw(st.sampled_from([schema.get("const"), *schema.get("enum", ())]))
    kind = schema.get("type", draw(st.sampled_from(TYPES)))
    kind = kind if isinstance(kind, str) else draw(st.sampled_from(kind))
    if kind == "array":
        return draw(st.lists(near_values(schema.get("items", {})), max_size=4))
    if kind == "object":
        names = [*schema.get("properties", {}), *schema.get("required", ()), "other"]
        chosen = draw(st.lists(st.sampled_from(names), max_size=4, unique=True))
        properties = schema.get("properties", {})
        return {name: draw(near_values(properties.get(name, {}))) for name in chosen}
    simple = {
        "string": st.text("ab0$\n\u0661", max_size=4),
        "integer": st.integers(-4, 4) | st.sampled_from([1.0, 10**16]),
        "number": NUMBERS,
        "boolean": st.booleans(),
        "null": st.none(),
    }
    return draw(simple[kind])


@given(st.data(), SCHEMAS)
def test_a_value_that_nearly_fits_is_valid_as_by_jsonschema(
    data: Any, schema: dict[str, Any]
) -> None:
    value = data.draw(near_values(schema))
    check_schema(schema)
    expected = Validator(without_nullable(schema)).is_valid(value)
    assert (find_fault(schema, value) is None) is expected


@given(st.dictionaries(st.sampled_from([*sorted(KEYWORDS), "$ref", "not", "x"]), VALUES | SCHEMAS))
def test_a_schema_that_is_accepted_is_one_to_jsonschema(schema: dict[str, Any]) -> None:
    try:
        check_schema(schema)
    except ValueError:
        return
    # JSON Schema Validation section 6.5.3 demands that required names differ, which means nothing.
    plain = {name: value for name, value in schema.items() if name != "required"}
    jsonschema.Draft202012Validator.check_schema(plain)
    check_arguments({"properties": {"it": schema}}, {"it": None})


@given(
    VALUES | st.dictionaries(st.sampled_from(["type", "properties", "required"]), VALUES | SCHEMAS)
)
def test_any_parameters_are_a_schema_or_rejected(parameters: Any) -> None:
    with contextlib.suppress(ValueError):
        schema = object_schema(parameters)
        assert schema["type"] == "object"
        assert set(schema["required"]) <= set(schema["properties"])


@given(SCHEMAS, VALUES)
def test_a_sentence_for_the_ai_is_short(schema: dict[str, Any], value: Any) -> None:
    compiled = CompiledSchema({"type": "object", "properties": {"it": schema}})
    sentence = check_arguments(compiled, {"it": value})
    assert sentence is None or (len(sentence) <= 500 and sentence.endswith("."))
