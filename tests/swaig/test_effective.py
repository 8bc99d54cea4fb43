"""Keywords that would restrict less than their author expects."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional, Union

import pytest

from swaig_wsgi.swaig import ToolRegistry
from swaig_wsgi.swaig._annotations import describe


def define(schema: Any) -> None:
    ToolRegistry().define("pay", "Pay", {"amount": schema}, lambda args, raw_data: "")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": ["number", "string"], "minimum": 5},
        {"minimum": 5},
        {"type": "string", "minimum": 5},
        {"type": "string", "format": "decimal", "minimum": 5},
        {"type": "integer", "pattern": "^[0-9]+$"},
        {"enum": [5, "6"], "maximum": 5},
        {"type": ["array", "object"], "maxItems": 2},
        {"properties": {"a": {}}},
        {"anyOf": [{"type": "number"}, {"type": "string"}], "multipleOf": 5},
        {"anyOf": [{"type": "number"}, {"minimum": 5}]},
        {"type": "array", "items": {"maximum": 5}},
        {"type": "object", "additionalProperties": {"maxLength": 5}},
        {"allOf": [{"type": ["number", "string"]}, {"minimum": 5}]},
    ],
)
def test_attack_no_keyword_is_ignored_for_another_type(schema: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"^properties\.amount\..* does not apply to all values"):
        define(schema)


def test_the_message_says_what_would_pass() -> None:
    with pytest.raises(ValueError, match="minimum does not apply to all values: a string would"):
        define({"type": ["number", "string", "null"], "minimum": 5})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 5},
        {"type": ["number", "integer", "null"], "minimum": 5},
        {"type": "number", "nullable": True, "minimum": 5},
        {"enum": [1, 2.5], "minimum": 1},
        {"const": "abc", "minLength": 3},
        {"allOf": [{"type": "number"}, {"minimum": 5}]},
        {"type": "number", "anyOf": [{"maximum": 1}, {"minimum": 5}]},
        {"anyOf": [{"type": "number"}, {"type": "integer"}], "minimum": 5},
        {"oneOf": [{"type": "number", "minimum": 5}, {"type": "string", "pattern": "^x"}]},
        {"type": "object", "properties": {"minimum": {}, "ge": {"type": "string"}}},
        {"type": "array", "items": {"type": "string", "maxLength": 5}, "uniqueItems": True},
        {"title": "Amount", "examples": [5], "example": 5, "x-minimun": 5, "$comment": "c"},
        {"propertyOrdering": ["a"], "strict": True},
    ],
)
def test_keywords_that_hold_for_all_values(schema: dict[str, Any]) -> None:
    define(schema)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("minimun", "minimum"),
        ("Maximum", "maximum"),
        ("max", "maximum"),
        ("ge", "minimum"),
        ("lt", "exclusiveMaximum"),
        ("exclusive_minimum", "exclusiveMinimum"),
        ("exlusiveMaximum", "exclusiveMaximum"),
        ("max_length", "maxLength"),
        ("minlength", "minLength"),
        ("patern", "pattern"),
        ("regex", "pattern"),
        ("multiple_of", "multipleOf"),
        ("enums", "enum"),
        ("additionalProperty", "additionalProperties"),
        ("unique-items", "uniqueItems"),
    ],
)
def test_attack_a_misspelled_keyword_opens_no_bound(written: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"{written} is unknown; did you mean '{meant}'"):
        define({written: 5})
    with pytest.raises(TypeError, match=f"{written} is unknown; did you mean '{meant}'"):
        describe(Annotated[int, {written: 5}], "it")


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[Decimal, {"pattern": "^5"}],
        Annotated[Decimal, {"maxLength": 5}],
        Annotated[date, {"minimum": 5}],
        Annotated[str, {"maximum": 5}],
        Annotated[bool, {"minimum": 1}],
        Annotated[list[int], {"minimum": 5}],
        Annotated[Union[int, str], {"minimum": 5}],
        Annotated[Literal[5, "6"], {"maximum": 5}],
        Annotated[Any, {"minimum": 5}],
        Annotated[Decimal, {"anyOf": [{"minimum": 5}]}],
        Annotated[Decimal, {"anyOf": [{}], "minimum": 5}],
        Annotated[Decimal, {"allOf": [{"minimum": 5}]}],
    ],
)
def test_attack_annotated_keywords_hold_for_all_values(annotation: Any) -> None:
    with pytest.raises(TypeError, match=r"^it: .* does not apply to all values"):
        describe(annotation, "it")


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[Optional[Decimal], {"minimum": 5}],
        Annotated[Any, {"type": "integer", "minimum": 5}],
        Annotated[Union[int, float], {"minimum": 5}],
        Annotated[Union[int, str], {"anyOf": [{"type": "integer", "minimum": 5}]}],
        Annotated[Decimal, {"type": "string", "pattern": "^5"}],
        Annotated[date, {"pattern": "^2026"}],
    ],
)
def test_annotated_keywords_that_hold(annotation: Any) -> None:
    describe(annotation, "it")
