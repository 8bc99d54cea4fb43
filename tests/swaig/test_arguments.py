import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.swaig import _arguments, check_arguments, unreadable_arguments
from swaig_wsgi.swaig._arguments import (
    MAX_PATTERN_TEXT,
    MAX_STEPS,
    CompiledSchema,
    Steps,
    canonical,
    unexpected_arguments,
)
from swaig_wsgi.swaig._keywords import TYPES, check_schema

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
names = st.sampled_from("abc")
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)
)


def tool(**properties):
    return {"type": "object", "properties": properties, "required": list(properties)}


def complaint_about(schema, value):
    """The sentence about the argument "it", without its beginning and its end."""
    schema = tool(it=schema)
    check_schema(schema)
    sentence = check_arguments(schema, {"it": value})
    if sentence is None:
        return None
    assert sentence.startswith("The argument 'it")
    assert sentence.endswith(".")
    return sentence[len("The argument 'it") : -1].replace("' ", "", 1)


def test_arguments_that_fit():
    schema = tool(
        city={"type": "string", "minLength": 1},
        days={"type": "integer", "minimum": 1, "maximum": 7},
        to={"type": "object", "properties": {"account": {"type": "string", "pattern": "^[0-9]+$"}}},
        items={"type": "array", "items": {"type": "number"}, "uniqueItems": True},
    )
    fitting = {"city": "Oslo", "days": 7.0, "to": {"account": "12"}, "items": [1, 2.5], "more": 1}
    assert check_arguments(schema, fitting) is None


@pytest.mark.parametrize("args", [None, [], "text", 5, True])
def test_arguments_must_be_an_object(args):
    assert check_arguments({}, args) == "The arguments must be an object."


@pytest.mark.parametrize(
    ("schema", "good", "bad", "problem"),
    [
        ({"type": "string"}, ["", "a"], [1, None, True, [], {}], "must be a string"),
        (
            {"type": "integer"},
            [1, 1.0, -0.0, 1e300],
            [1.5, "1", True, None],
            "must be a whole number",
        ),
        ({"type": "number"}, [1, 1.5], ["1", False, None, math.nan, math.inf], "must be a number"),
        ({"type": "boolean"}, [True, False], [0, 1, "true", None], "must be true or false"),
        ({"type": "array"}, [[], [1]], [{}, "a", None], "must be a list"),
        ({"type": "object"}, [{}], [[], "a", None], "must be an object"),
        ({"type": "null"}, [None], [0, "", False], "must be null"),
        ({"type": ["string", "null"]}, ["", None], [0], "must be a string or null"),
        ({"type": "string", "nullable": True}, ["", None], [0], "must be a string"),
        ({"type": "string", "nullable": "${x}"}, [""], [None], "must be a string"),
        ({"enum": ["c", "f"]}, ["c"], ["k", "C", 1, None], 'must be one of "c", "f"'),
        ({"enum": ["c"]}, ["c"], ["k"], 'must be "c"'),
        (
            {"enum": [1, [True], None]},
            [1, 1.0, [True], None],
            [True, [1], "1"],
            "must be one of 1, [true], null",
        ),
        ({"enum": ["a"], "nullable": True}, ["a", None], ["b"], 'must be "a"'),
        (
            {"const": {"a": 1, "b": 2}},
            [{"b": 2.0, "a": 1}],
            [{"a": 1}, {"a": True, "b": 2}],
            'must be {"a": 1, "b": 2}',
        ),
        ({"const": False}, [False], [0, None], "must be false"),
        ({"minimum": 1}, [1, 1.5, 10**300, "text"], [0, 0.99, -(10**300)], "must be at least 1"),
        ({"maximum": 1.5}, [1.5, -1], [1.51, 2], "must be at most 1.5"),
        ({"exclusiveMinimum": 0}, [0.1, 5e-324], [0, 0.0, -1], "must be more than 0"),
        ({"exclusiveMaximum": 0}, [-1], [0, 1], "must be less than 0"),
        ({"multipleOf": 5}, [0, 10, 10.0, -5], [1, 5.5], "must be a multiple of 5"),
        (
            {"multipleOf": 0.01},
            [0.07, 19.99, 1e300, 3],
            [0.001, 5e-324],
            "must be a multiple of 0.01",
        ),
        (
            {"minimum": 0},
            [0],
            [10**400, -(10**5000), math.nan, math.inf],
            "must be a number of reasonable size",
        ),
        ({"minLength": 1}, ["a", 5], [""], "must have at least 1 character"),
        (
            {"maxLength": 2},
            ["", "ab", "\U0001f600\U0001f600"],
            ["abc"],
            "must have at most 2 characters",
        ),
        ({"minLength": 2, "maxLength": 2}, ["ab"], ["a", "abc"], "must have exactly 2 characters"),
        (
            {"pattern": "^[A-Z]{3}$"},
            ["EUR", 5],
            ["EU", "EURO", "EUR\n", "\nEUR"],
            "must match the pattern ^[A-Z]{3}$",
        ),
        ({"minItems": 1}, [[1], "text"], [[]], "must have at least 1 item"),
        ({"maxItems": 1}, [[1], []], [[1, 2]], "must have at most 1 item"),
        (
            {"uniqueItems": True},
            [[], [1, "1", True, None, [1], {}]],
            [[1, 1.0], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], [[], []]],
            "must not hold the same item twice",
        ),
        ({"uniqueItems": False}, [[1, 1]], [], ""),
        ({"minProperties": 1}, [{"a": 1}, []], [{}], "must have at least 1 member"),
        ({"maxProperties": 0}, [{}], [{"a": 1}], "must have exactly 0 members"),
        (
            {"items": {"type": "string"}},
            [[], ["a"], {"a": 1}],
            [["a", 1, 2]],
            "[1]must be a string",
        ),
        ({"items": {"items": {"enum": [1]}}}, [[[1]]], [[[1], [1, 2]]], "[1][1]must be 1"),
        (
            {"properties": {"a": {"type": "string"}}},
            [{}, {"a": "", "b": 1}],
            [{"a": 1}],
            ".amust be a string",
        ),
        ({"required": ["a"]}, [{"a": None}, []], [{}, {"b": 1}], ".ais missing"),
        (
            {"required": ["a"], "properties": {"a": {"type": "integer"}}},
            [{"a": 1}],
            [{}],
            ".ais missing; it must be a whole number",
        ),
        ({"additionalProperties": False}, [{}], [{"x": 1}], ".xis unknown"),
        (
            {"properties": {"a": {}, "b": {}}, "additionalProperties": False},
            [{"a": 1}],
            [{"x": 1}],
            '.xis unknown; there are "a", "b"',
        ),
        (
            {"properties": {"a": {}}, "additionalProperties": {"type": "null"}},
            [{"a": 1, "x": None}],
            [{"x": 1}],
            ".xmust be null",
        ),
        ({"additionalProperties": True}, [{"x": 1}], [], ""),
        (
            {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]},
            ["a", 1],
            [None, 1.5, []],
            "must be a string or a whole number",
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]},
            ["a", 1],
            [0],
            "must be at least 1",
        ),
        (
            {"anyOf": [{"type": "string", "minLength": 2}, {"type": "string", "maxLength": 0}]},
            ["", "ab"],
            ["a"],
            "must be a string",
        ),
        (
            {"anyOf": [{"minimum": 5}, {"enum": [1]}]},
            [1, 5],
            [2],
            "must fit one of its alternatives",
        ),
        (
            {"anyOf": [{"type": "object", "required": ["a"]}, {"type": "null"}]},
            [{"a": 1}, None],
            [{}],
            ".ais missing",
        ),
        (
            {"oneOf": [{"type": "integer"}, {"type": "number", "maximum": 5}]},
            [6, 1.5],
            [5],
            "must fit one of its alternatives only",
        ),
        ({"oneOf": [{"const": 1}, {"const": "a"}]}, [1, "a"], [2], 'must be 1 or "a"'),
        (
            {"allOf": [{"type": "string"}, {"minLength": 2}]},
            ["ab"],
            ["a"],
            "must have at least 2 characters",
        ),
        ({"format": "date", "x-mine": 1}, ["no date", 5, None], [], ""),
    ],
)
def test_keywords(schema, good, bad, problem):
    for value in good:
        assert complaint_about(schema, value) is None, value
    for value in bad:
        assert complaint_about(schema, value) == problem, value


def test_sentences_name_the_argument_by_its_path():
    schema = tool(
        to={"type": "object", "properties": {"account": {"type": "string"}}},
        items={"type": "array", "items": {"type": "object", "properties": {"n": {"minimum": 1}}}},
    )
    assert (
        check_arguments(schema, {"to": {"account": 5}, "items": []})
        == "The argument 'to.account' must be a string."
    )
    assert (
        check_arguments(schema, {"to": {}, "items": [{}, {"n": 1}, {"n": 0}]})
        == "The argument 'items[2].n' must be at least 1."
    )
    assert (
        check_arguments(schema, {"to": {}}) == "The argument 'items' is missing; it must be a list."
    )


def test_a_missing_argument_is_reported_with_the_expected_value():
    schema = tool(unit={"anyOf": [{"const": "c"}, {"type": "integer"}, {"type": "integer"}]})
    assert (
        check_arguments(schema, {})
        == "The argument 'unit' is missing; it must be \"c\" or a whole number."
    )


def test_faults_of_the_whole_object():
    assert (
        check_arguments({"type": "object", "maxProperties": 1}, {"a": 1, "b": 2})
        == "The arguments must have at most 1 member."
    )


def test_null_is_not_a_missing_argument():
    assert complaint_about({"type": "string"}, None) == "must be a string"
    schema = {"type": "object", "properties": {"it": {"type": "string"}}}
    assert check_arguments(schema, {"it": None}) == "The argument 'it' must be a string."
    assert check_arguments(schema, {}) is None


def test_nothing_is_coerced_or_changed():
    args = {"it": [{"a": 1.0}, "5", None]}
    before = json.dumps(args)
    check_arguments(tool(it={"items": {"type": "string"}}), args)
    assert json.dumps(args) == before


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer"},
        {"enum": ["a"]},
        {"const": 5},
        {"maxLength": 3},
        {"pattern": "^a$"},
        {"anyOf": [{"const": 1}, {"const": 2}]},
    ],
)
def test_sentences_never_contain_a_value(schema):
    secret = "4111111111111111"
    assert secret not in check_arguments(tool(it=schema), {"it": secret})


def test_sentences_are_short_for_any_schema_and_value():
    long = "x" * 100_000
    for schema, args in [
        (tool(it={"enum": [f"value {i}" for i in range(10_000)]}), {"it": 1}),
        (tool(it={"enum": [long, long]}), {"it": 1}),
        (tool(it={"const": long}), {"it": 1}),
        (tool(it={"pattern": f"^{long}$"}), {"it": "y"}),
        (tool(**{long: {"type": "string"}}), {}),
        (tool(it={"type": "string"}) | {"additionalProperties": False}, {"it": "", long: 1}),
        ({"additionalProperties": {"additionalProperties": False}}, {long: {long: 1}}),
        (
            {"properties": {f"p{i}": {} for i in range(999)}, "additionalProperties": False},
            {"x": 1},
        ),
        (tool(it={"minimum": 10**300}), {"it": 1}),
        (tool(it={"anyOf": [{"const": i} for i in range(999)]}), {"it": "x"}),
    ]:
        sentence = check_arguments(schema, args)
        assert 20 < len(sentence) <= 500
        assert sentence.endswith(".")


def test_a_long_list_of_options_is_shortened():
    complaint = complaint_about({"enum": [f"value {i}" for i in range(100)]}, 1)
    assert complaint.startswith('must be one of "value 0", "value 1", ')
    assert complaint.endswith(" and 83 more")


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[31m", "\u202e", "\ud800"])
def test_unprintable_names_are_escaped_in_the_sentence(name):
    sentence = check_arguments({"additionalProperties": False}, {name: 1})
    assert sentence == f"The argument '{json.dumps(name)}' is unknown."
    assert sentence.isprintable()


def test_attack_long_text_is_not_matched_against_a_pattern():
    # This pattern takes quadratic time: more than a minute for text of this length.
    schema = {"pattern": "[a]*b"}
    assert complaint_about(schema, "a" * 1_000_000) == "must have at most 10000 characters"
    assert complaint_about({"pattern": "^a*$"}, "a" * MAX_PATTERN_TEXT) is None


def test_attack_items_with_colliding_hashes():
    # As numbers in a set, 40,000 of these need almost a billion comparisons.
    modulus = 2**61 - 1
    value = [index * modulus for index in range(40_000)]
    assert len({hash(number) for number in value}) == 1
    assert complaint_about({"uniqueItems": True}, value) is None


TOO_LARGE = "The arguments are too large to be checked; pass fewer or shorter values."


def alternatives(depth):
    return {"anyOf": [alternatives(depth - 1)] * 5 if depth else [{"const": 1}, {"maxLength": 2}]}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"items": {"enum": [f"account {i}" for i in range(200)]}}, ["account 199"] * 170_000),
        ({"items": {"enum": list(range(200))}}, [199] * 170_000),
        ({"items": {"anyOf": [{"items": alternatives(3)}, {}]}}, [["text"]] * 170_000),
        ({"items": {"anyOf": [alternatives(3), {}]}}, ["text"] * 10_000),
        ({"anyOf": [{"required": list("abcde") * 100}] * 200}, {"a": 1}),
        ({"anyOf": [{"const": [1]}] * 20}, [[str(i) for i in range(10_000)]]),
        ({"anyOf": [{"enum": [{}]}] * 200}, {"x": "long" * 10_000}),
        ({"items": {"oneOf": [{"pattern": "[a]*b"}, {}]}}, ["a" * 10_000] * 170),
        ({"items": {"oneOf": [{"pattern": "[a]*b"}, {}]}}, ["a" * 400] * 4_000),
        ({"items": {"items": {"multipleOf": 0.1}}}, [[1.7e308] * 1_000] * 170),
        ({"uniqueItems": True}, [str(i) for i in range(170_000)]),
        ({"additionalProperties": True}, dict.fromkeys(map(str, range(170_000)))),
    ],
)
def test_attack_work_does_not_grow_with_arguments_times_schema(schema, value):
    compiled = CompiledSchema(tool(it=schema))
    started = time.process_time()
    sentence = check_arguments(compiled, {"it": value})
    assert time.process_time() - started < 1.5
    assert sentence == TOO_LARGE


def test_large_arguments_within_the_budget_are_checked():
    schema = {"items": {"enum": [f"account {i}" for i in range(200)]}}
    value = ["account 199"] * 20_000
    assert complaint_about(schema, value) is None
    assert complaint_about(schema, [*value, "x"]).startswith("[20000]must be one of ")


def test_a_compiled_schema_does_not_change_with_its_source():
    schema = tool(it={"enum": ["a"]}, to={"type": ["string"], "minLength": 1})
    compiled = CompiledSchema(schema)
    schema["properties"]["it"]["enum"].append("b")
    schema["properties"]["to"].update(type="integer", minLength=0)
    schema["required"].clear()
    assert check_arguments(compiled, {"it": "b"}) == (
        "The argument 'to' is missing; it must be a string."
    )
    assert check_arguments(compiled, {"it": "b", "to": "x"}) == "The argument 'it' must be \"a\"."
    assert check_arguments(compiled, {"it": "a", "to": ""}) == (
        "The argument 'to' must have at least 1 character."
    )


def test_attack_depth():
    deep = None
    for _ in range(100_000):
        deep = [deep]
    for schema in ({"uniqueItems": True}, {"enum": [[]]}, {"const": []}):
        assert (
            check_arguments(tool(it=schema), {"it": deep}) == "The arguments are nested too deeply."
        )
    # Without values to compare, the check recurses no deeper than the schema.
    assert check_arguments(tool(it={"items": {"items": {}}}), {"it": deep}) is None


@given(json_values, json_values)
def test_canonical_texts_are_equal_exactly_for_equal_values(one, other):
    def strict(value):
        """Make 1 and True different, which are equal in Python."""
        if isinstance(value, bool):
            return ("bool", value)
        if isinstance(value, list):
            return [strict(item) for item in value]
        if isinstance(value, dict):
            return {key: strict(member) for key, member in value.items()}
        return value

    assert (canonical(one) == canonical(other)) == (strict(one) == strict(other))


schemas = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(
                ["string", "integer", "number", "boolean", "null", "array", "object"]
            )
            | st.just(["integer", "string", "null"]),
            "enum": st.lists(json_values, min_size=1, max_size=3),
            "minimum": st.integers(-3, 3) | st.floats(-3, 3),
            "maximum": st.integers(-3, 3) | st.floats(-3, 3),
            "minLength": st.integers(0, 3),
            "maxLength": st.integers(0, 3),
            "nullable": st.booleans(),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "items": inner,
            "properties": st.dictionaries(names, inner, max_size=2),
            "required": st.lists(names, max_size=2),
            "additionalProperties": st.booleans() | inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
        },
    ),
    max_leaves=6,
)
KINDS = {str: "string", bool: "boolean", list: "array", dict: "object", type(None): "null"}


def fits(schema, value):
    """An independent implementation of JSON Schema."""
    if value is None and schema.get("nullable") is True:
        return True
    kinds = {KINDS.get(type(value), "number")}
    if type(value) in (int, float) and value == math.floor(value):
        kinds.add("integer")
    wanted = schema.get("type", list(kinds))
    rules = [bool(kinds & set([wanted] if isinstance(wanted, str) else wanted))]
    if "enum" in schema:
        rules.append(canonical(value) in map(canonical, schema["enum"]))
    if "number" in kinds:
        rules.append(abs(value) < 2**1024)
        rules.append(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    if "string" in kinds:
        size = len(value)
        rules.append(schema.get("minLength", size) <= size <= schema.get("maxLength", size))
    if "array" in kinds:
        rules += [fits(schema.get("items", {}), item) for item in value]
    if "object" in kinds:
        properties, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        rules += [name in value for name in schema.get("required", [])]
        for name, member in value.items():
            if name in properties:
                rules.append(fits(properties[name], member))
            else:
                rules.append(other if isinstance(other, bool) else fits(other, member))
    if "anyOf" in schema:
        rules.append(any(fits(branch, value) for branch in schema["anyOf"]))
    if "oneOf" in schema:
        rules.append(sum(fits(branch, value) for branch in schema["oneOf"]) == 1)
    rules += [fits(part, value) for part in schema.get("allOf", [])]
    return all(rules)


@given(schemas, json_values)
def test_arguments_are_valid_exactly_if_jsonschema_accepts_them(schema, value):
    check_schema(schema)
    sentence = check_arguments({"properties": {"it": schema}}, {"it": value})
    assert (sentence is None) == fits(schema, value)
    assert sentence is None or len(sentence) <= 500


@given(schemas, json_values)
def test_shortcuts_change_neither_the_result_nor_the_steps(schema, value):
    def outcome(compiled):
        steps = Steps()
        return compiled.find_fault({"it": value}, steps), steps._left

    whole = {"properties": {"it": schema}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_arguments, "_unrestricted", lambda schema: (frozenset(), frozenset()))
        patch.setattr(_arguments, "_EXACT_TYPES", dict.fromkeys(TYPES, ()))
        slow = outcome(CompiledSchema(whole))
    fault, left = outcome(CompiledSchema(whole))
    assert fault == slow[0]
    assert fault is not None or left == slow[1]


@given(schemas, st.dictionaries(names, json_values, max_size=3))
def test_arguments_that_fit_at_sight_fit(part, args):
    for schema in (part, {**part, "type": "object"}, tool(**dict.fromkeys(args, part))):
        compiled = CompiledSchema(schema)
        if compiled.fits_at_sight(args):
            assert check_arguments(compiled, args) is None
            assert unexpected_arguments(compiled, args) is None


@pytest.mark.parametrize(
    ("args", "fit"),
    [
        ({"amount": 12.5, "account": "savings"}, True),
        ({"amount": 12}, True),
        ({"amount": True}, False),
        ({"amount": float("nan")}, False),
        ({"amount": 10**400}, False),
        ({"amount": 1, "account": None}, False),
        ({"amount": 1, "other": 1}, False),
        ({"account": "savings"}, False),
        ({}, False),
        ([], False),
    ],
)
def test_what_fits_at_sight(args, fit):
    schema = tool(amount={"type": "number"}, account={"type": "string"})
    assert CompiledSchema({**schema, "required": ["amount"]}).fits_at_sight(args) is fit
    assert not CompiledSchema({**schema, "maxProperties": 0}).fits_at_sight(args)


def test_attack_a_member_that_needs_no_check_uses_up_a_step():
    half = {f"m{n}": "" for n in range(MAX_STEPS // 2 - 1)}
    for schema in ({"type": "string"}, {"type": "string", "minLength": 0}):
        properties = dict.fromkeys(half, schema)
        assert check_arguments({"properties": properties}, half) is None
        properties["last"] = schema
        assert "too large" in str(check_arguments({"properties": properties}, {**half, "last": ""}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, -(10**400)])
@pytest.mark.parametrize("name", ["number", "integer"])
def test_numbers_of_unreasonable_size_never_fit(name, value):
    assert check_arguments(tool(it={"type": name}), {"it": value}) is not None


def test_a_message_says_how_to_write_arguments() -> None:
    schema = CompiledSchema(
        {
            "type": "object",
            "properties": {"amount": {"type": "number"}, "to": {"enum": ["a", "b"]}, "note": {}},
        }
    )
    assert unreadable_arguments(schema, "not JSON") == (
        "The arguments cannot be read (not JSON), so nothing was done this time. Write one JSON "
        "object in double quotes, with no text and no code fence around it, with "
        '"amount" (a number), "to" (one of "a", "b"), "note" (any value).'
    )
    assert unreadable_arguments(CompiledSchema({}), "not JSON").endswith("around it.")
    long = CompiledSchema({"properties": {f"name{n}": {"type": "string"} for n in range(100)}})
    assert len(unreadable_arguments(long, "not JSON")) == 500
