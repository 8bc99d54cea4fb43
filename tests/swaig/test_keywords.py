import re

import pytest

from swaig_wsgi.swaig._keywords import MAX_SCHEMA_DEPTH, check_schema, compiled_pattern, is_type


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "properties": {}, "required": []},
        {"type": ["string", "null"], "nullable": True},
        {"enum": [1, None, {"a": []}], "const": None},
        {"minimum": -1.5, "maximum": 2, "exclusiveMinimum": 0, "exclusiveMaximum": 1e9},
        {"multipleOf": 0.01, "minLength": 0, "maxLength": 5, "pattern": "^a+$"},
        {"items": {"type": "string"}, "minItems": 1, "maxItems": 2, "uniqueItems": True},
        {"properties": {"$ref": {"type": "string"}, "not": {}, "minimum": {}}},
        {"additionalProperties": False},
        {"additionalProperties": {"type": "integer"}, "minProperties": 1, "maxProperties": 2},
        {"anyOf": [{}], "oneOf": [{}, {}], "allOf": [{}]},
        {"format": "date", "description": 5, "default": {}, "examples": 1, "x-mine": object()},
    ],
)
def test_supported_keywords_are_accepted(schema):
    check_schema(schema)


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ([], "a schema must be a dictionary"),
        ({"type": "text"}, "type must be one or a list of string, integer"),
        ({"type": []}, "type must be"),
        ({"type": ["string", 5]}, "type must be"),
        ({"type": None}, "type must be"),
        ({"required": True}, "required must be a list of names, not True"),
        ({"required": [1]}, "required must be"),
        ({"required": "a"}, "required must be"),
        ({"enum": []}, "enum must be a list with at least one value"),
        ({"enum": "ab"}, "enum must be"),
        ({"minimum": "5"}, "minimum must be a number, not '5'"),
        ({"maximum": True}, "maximum must be a number"),
        ({"exclusiveMinimum": True}, "exclusiveMinimum must be a number"),
        ({"exclusiveMaximum": float("nan")}, "exclusiveMaximum must be a number"),
        ({"multipleOf": 0}, "multipleOf must be a number above 0"),
        ({"multipleOf": float("inf")}, "multipleOf must be a number above 0"),
        ({"minLength": -1}, "minLength must be an integer from 0"),
        ({"maxLength": 1.5}, "maxLength must be an integer from 0"),
        ({"minItems": True}, "minItems must be"),
        ({"maxItems": None}, "maxItems must be"),
        ({"minProperties": "1"}, "minProperties must be"),
        ({"maxProperties": -1}, "maxProperties must be"),
        ({"uniqueItems": 1}, "uniqueItems must be true or false"),
        ({"pattern": "("}, r"pattern must be a regular expression, not '\('"),
        ({"pattern": 5}, "pattern must be a regular expression"),
        ({"pattern": ["a"]}, "pattern must be a regular expression"),
        ({"pattern": r"\p{L}"}, "pattern must be a regular expression"),
        ({"pattern": "a{99999999999999999999}"}, "pattern must be a regular expression"),
        ({"properties": []}, "properties must be a dictionary of schemas"),
        ({"properties": {"a": {"minimum": "x"}}}, r"properties\.a\.minimum must be"),
        ({"properties": {"a": "string"}}, r"properties\.a must be a dictionary"),
        ({"items": [{"type": "string"}]}, "items must be a dictionary"),
        ({"items": {"items": {"type": "x"}}}, r"items\.items\.type must be"),
        ({"additionalProperties": {"type": "x"}}, r"additionalProperties\.type must be"),
        ({"additionalProperties": None}, "additionalProperties must be a dictionary"),
        ({"anyOf": []}, "anyOf must be a list of schemas"),
        ({"oneOf": {}}, "oneOf must be a list of schemas"),
        ({"allOf": [{}, {"type": "x"}]}, r"allOf\[1\]\.type must be"),
    ],
)
def test_an_invalid_value_of_a_keyword_is_reported_with_its_path(schema, complaint):
    with pytest.raises(ValueError, match=rf"^{complaint}"):
        check_schema(schema)


@pytest.mark.parametrize(
    "keyword",
    [
        "$ref",
        "$dynamicRef",
        "$recursiveRef",
        "not",
        "if",
        "then",
        "else",
        "patternProperties",
        "propertyNames",
        "contains",
        "minContains",
        "maxContains",
        "prefixItems",
        "additionalItems",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "unevaluatedItems",
        "unevaluatedProperties",
    ],
)
def test_unsupported_keywords_are_rejected(keyword):
    with pytest.raises(ValueError, match=re.escape(f"properties.a.{keyword} is not supported")):
        check_schema({"properties": {"a": {keyword: {}}}})


def nested(levels):
    schema = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


def test_depth_is_bounded():
    check_schema(nested(MAX_SCHEMA_DEPTH))
    for levels in (MAX_SCHEMA_DEPTH + 1, 100_000):
        with pytest.raises(ValueError, match="nested deeper than 64 levels"):
            check_schema(nested(levels))


def test_messages_are_short_for_any_value():
    with pytest.raises(ValueError, match="must be") as caught:
        check_schema({"minimum": "x" * 100_000})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("", {"string"}),
        (1, {"integer", "number"}),
        (1.0, {"integer", "number"}),
        (1.5, {"number"}),
        (10**400, {"integer", "number"}),
        (float("nan"), set()),
        (float("inf"), set()),
        (True, {"boolean"}),
        (None, {"null"}),
        ([], {"array"}),
        ({}, {"object"}),
        ((), set()),
        (b"", set()),
    ],
)
def test_types(value, names):
    every = ("string", "integer", "number", "boolean", "null", "array", "object")
    assert {name for name in every if is_type(name, value)} == names


@pytest.mark.parametrize(
    ("pattern", "found", "not_found"),
    [
        ("b", ["abc"], ["ac"]),
        ("^b", ["bc"], ["ab", "a\nb"]),
        ("b$", ["ab"], ["ba", "ab\n", "b\na"]),
        (r"^\d{3}$", ["123"], ["12", "123\n", "\u0661\u0662\u0663", "\uff11\uff12\uff13"]),
        (r"^\w+$", ["a_1"], ["é", "a b"]),
        (r"^[$]$", ["$"], ["", "$\n", "a"]),
        (r"^[^$]$", ["a"], ["$"]),
        (r"^[]$]$", ["]", "$"], ["a"]),
        (r"^[\]$]$", ["]", "$"], ["\\"]),
        (r"^\$5$", ["$5"], ["5", "$5\n"]),
        (r"^\\$", ["\\"], ["\\\n", "$"]),
        ("^(a|b$)", ["ax", "b"], ["b\n"]),
        ("(?i)^straße$", ["STRAßE"], ["strasse"]),
    ],
)
def test_patterns_have_the_meaning_of_ecmascript(pattern, found, not_found):
    for text in found:
        assert compiled_pattern(pattern).search(text)
    for text in not_found:
        assert not compiled_pattern(pattern).search(text)
