"""Parsing of the platform's requests."""

from __future__ import annotations

from typing import Any

import pytest

from swaig_wsgi.core.strict_json import JSONBodyError
from swaig_wsgi.swaig import (
    FunctionCall,
    call_id_of,
    parse_function_call,
    requested_functions,
    summary_of,
)


@pytest.mark.parametrize(
    ("body", "query", "expected"),
    [
        ({}, None, None),
        ({}, "", None),
        ({"call_id": ""}, "q", "q"),
        ({"call": {}}, "q", "q"),
        ({"call": {"call_id": "c"}}, "q", "c"),
        ({"call_id": "b", "call": {"call_id": "c"}}, "q", "b"),
        ({"call_id": "ö" * 512}, None, "ö" * 512),
    ],
)
def test_call_ids(body: dict[str, Any], query: str | None, expected: str | None) -> None:
    assert call_id_of(body, query) == expected


@pytest.mark.parametrize(
    ("body", "query"),
    [
        ({"call_id": 5}, None),
        ({"call_id": ["x"]}, None),
        ({"call": "x"}, None),
        ({"call": []}, None),
        ({"call": {"call_id": {}}}, None),
        ({"call_id": "ö" * 513}, None),
        ({}, "x" * 1025),
    ],
)
def test_invalid_call_ids(body: dict[str, Any], query: str | None) -> None:
    with pytest.raises(JSONBodyError, match="call"):
        call_id_of(body, query)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ({"parsed": [{"a": 1}, {"a": 9}], "raw": "junk"}, {"a": 1}),
        ({"parsed": {"a": 1}, "raw": "junk"}, {"a": 1}),
        ({"parsed": {"a": 1}}, {"a": 1}),
        ({"parsed": [5], "raw": '{"a": 2}'}, {"a": 2}),
        ({"parsed": [{}], "raw": '{"a": 2}'}, {"a": 2}),
        ({"parsed": {}, "raw": '{"a": 2}'}, {"a": 2}),
        ({"parsed": '{"a": 2}'}, {"a": 2}),
        ({"arguments": {"a": 1}}, {"a": 1}),
        ({"arguments": '{"a": 1}'}, {"a": 1}),
        # No arguments.
        ({"parsed": [{}], "raw": "{}"}, {}),
        ({"parsed": [{}], "raw": ""}, {}),
        ({"parsed": None, "raw": " "}, {}),
        ({"parsed": []}, {}),
        ({"parsed": {}}, {}),
        ({"arguments": {}}, {}),
        ({"arguments": " "}, {}),
        ({}, {}),
        (None, {}),
        ({"arguments": {"a": 1}, "substituted": ""}, {"a": 1}),
        ({"parsed": [], "raw": "{}", "substituted": "x"}, {}),
        # Without an object around them.
        ('{"a": 1}', {"a": 1}),
        ([{"a": 1}], {"a": 1}),
        ("{}", {}),
        (" ", {}),
        ([], {}),
        ([{}], {}),
        # The arguments themselves.
        ({"a": 3}, {"a": 3}),
        ({"arguments": {"a": 1}, "b": 2}, {"arguments": {"a": 1}, "b": 2}),
    ],
)
def test_arguments(argument: Any, expected: dict[str, Any]) -> None:
    assert parse_function_call({"function": "f", "argument": argument}) == FunctionCall(
        "f", expected
    )


@pytest.mark.parametrize("missing", [{}, {"argument": None}])
def test_arguments_without_the_member_argument(missing: dict[str, Any]) -> None:
    for flat in ({"arguments": {"a": 1}}, {"arguments": '{"a": 1}'}, {"parsed": {"a": 1}}):
        call = parse_function_call({"function": "f", **missing, **flat})
        assert call == FunctionCall("f", {"a": 1})
    # An empty one does not hide what is beside it.
    for empty in ({}, {"parsed": [{}], "raw": "{}"}):
        beside = {"function": "f", "argument": empty, "arguments": {"a": 1}}
        assert parse_function_call(beside) == FunctionCall("f", {"a": 1})


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ({"raw": "Pay 5 euro to Jo."}, "not JSON"),
        ({"raw": "{'amount': 5}"}, "not JSON"),
        ({"raw": '```json\n{"amount": 5}\n```'}, "not JSON"),
        ({"raw": '{"amount": 5'}, "not JSON"),
        ({"raw": '{"amount": 5} {"amount": 6}'}, "not JSON"),
        ({"raw": "[1]"}, "not an object"),
        ({"raw": "null"}, "not an object"),
        ({"raw": '{"a": NaN}'}, "NaN or Infinity"),
        ({"raw": '{"a": 1, "a": 2}'}, "duplicate key"),
        ({"raw": "[" * 100}, "nested too deeply"),
        # What the platform makes of it.
        ({"parsed": [], "raw": "Pay 5 euro."}, "not JSON"),
        ({"parsed": [{}], "raw": "Pay 5 euro."}, "not JSON"),
        ({"parsed": {}, "raw": "Pay 5 euro."}, "not JSON"),
        # Other forms.
        ({"raw": 5}, "of an unknown form"),
        ({"raw": {"a": 1}}, "of an unknown form"),
        ({"parsed": [5]}, "of an unknown form"),
        ({"parsed": [[{"a": 1}]]}, "of an unknown form"),
        ({"parsed": [{}, {"a": 1}]}, "of an unknown form"),
        ({"parsed": 0}, "of an unknown form"),
        ({"parsed": False, "raw": ""}, "of an unknown form"),
        ({"parsed": "x", "raw": " "}, "not JSON"),
        ({"arguments": [{"a": 1}]}, "of an unknown form"),
        ({"arguments": 5}, "of an unknown form"),
        ({"arguments": "a=1"}, "not JSON"),
        ({"parsed": [], "raw": "", "substituted": '{"a": 1}'}, "of an unknown form"),
    ],
)
def test_attack_unreadable_arguments_are_never_empty_ones(argument: Any, problem: str) -> None:
    unread = FunctionCall("f", None, problem)
    assert parse_function_call({"function": "f", "argument": argument}) == unread
    # Without the wrapper, too.
    assert parse_function_call({"function": "f", **argument}) == unread


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("Pay 5 euro.", "not JSON"),
        ("{'a': 1}", "not JSON"),
        ('{"a": 1', "not JSON"),
        ("[1]", "not an object"),
        ("[{}]", "not an object"),
        ('{"a": 1, "a": 2}', "duplicate key"),
        ([5], "of an unknown form"),
        ([[{"a": 1}]], "of an unknown form"),
        ([{}, {"a": 1}], "of an unknown form"),
        (["Pay 5 euro."], "not JSON"),
        (5, "of an unknown form"),
        (0, "of an unknown form"),
        (True, "of an unknown form"),
        (False, "of an unknown form"),
    ],
)
def test_attack_an_argument_that_is_no_object_is_never_an_empty_one(
    argument: Any, problem: str
) -> None:
    call = parse_function_call({"function": "f", "argument": argument, "arguments": {"a": 1}})
    assert call == FunctionCall("f", None, problem)


@pytest.mark.parametrize("argument", [{}, {"argument": {}}, {"argument": None}])
@pytest.mark.parametrize("name", ["args", "input", "parameters", "Arguments", "Argument", "RAW"])
def test_attack_arguments_in_another_place_are_not_missing_ones(
    name: str, argument: dict[str, Any]
) -> None:
    for value in ({"a": 1}, '{"a": 1}', [{"a": 1}]):
        call = parse_function_call({"function": "f", **argument, name: value})
        assert call == FunctionCall("f", None, "not in argument")
    assert parse_function_call({"function": "f", **argument, name: {}}) == FunctionCall("f", {})
    beside = {"function": "f", "argument": {"a": 1}, name: {"a": 2}}
    assert parse_function_call(beside) == FunctionCall("f", {"a": 1})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"function": ""},
        {"function": 5},
        {"function": ["f"]},
    ],
)
def test_invalid_calls(body: dict[str, Any]) -> None:
    with pytest.raises(JSONBodyError):
        parse_function_call(body)


def test_requested_functions() -> None:
    assert requested_functions({}) is None
    assert requested_functions({"functions": ["a"]}) == ["a"]
    for wrong in ("a", [1], {"a": 1}):
        with pytest.raises(JSONBodyError, match="functions must be a list"):
            requested_functions({"functions": wrong})


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, None),
        ("text", "text"),
        ({}, None),
        # The voice service.
        ({"parsed": [{"a": 1}, {"a": 2}], "raw": "r", "substituted": "s"}, {"a": 1}),
        ({"parsed": {"a": 1}, "raw": "r"}, {"a": 1}),
        ({"parsed": [["a"]]}, ["a"]),
        ({"parsed": "text"}, "text"),
        ({"parsed": [], "raw": "r"}, "r"),
        ({"parsed": [{}], "raw": "r"}, "r"),
        ({"parsed": {}, "raw": "r"}, "r"),
        ({"parsed": [None], "raw": "r"}, "r"),
        ({"raw": "r"}, "r"),
        ({"raw": " r\n"}, " r\n"),
        ({"raw": '{"a": 1}'}, {"a": 1}),
        ({"raw": " [1] "}, [1]),
        ({"raw": "42"}, 42),
        ({"raw": '"quoted"'}, "quoted"),
        ({"raw": "null", "substituted": "s"}, "s"),
        ({"raw": {"a": 1}}, {"a": 1}),
        # Ambiguous JSON is text.
        ({"raw": '{"a": 1, "a": 2}'}, '{"a": 1, "a": 2}'),
        ({"raw": "NaN"}, "NaN"),
        ({"raw": "[" * 100_000}, "[" * 100_000),
        # The chat service passes on what the model wrote.
        ({"raw": '```json\n{"a": 1}\n```'}, {"a": 1}),
        ({"raw": '\n```\n{"a": 1}```'}, {"a": 1}),
        ({"raw": "```json\nprose\n```"}, "```json\nprose\n```"),
        ({"raw": "```"}, "```"),
        ({"raw": "", "substituted": "s"}, "s"),
        ({"raw": " \n", "substituted": "s"}, "s"),
        ({"raw": None, "substituted": "s"}, "s"),
        ({"substituted": "s", "goal": "g"}, "s"),
        # The AI wrote nothing.
        ({"parsed": [], "raw": "", "substituted": ""}, None),
        ({"raw": "", "substituted": "", "goal": "g"}, {"goal": "g"}),
        # Flat.
        ({"summary": "s", "goal": "g"}, {"summary": "s", "goal": "g"}),
        ({"parsed": [], "raw": "", "goal": "g"}, {"goal": "g"}),
    ],
)
def test_summaries(data: Any, expected: Any) -> None:
    assert summary_of({"post_prompt_data": data}) == expected
    # The top-level member is the last resort.
    resort = summary_of({"post_prompt_data": data, "summary": "top"})
    assert resort == ("top" if expected is None else expected)


def test_a_top_level_summary() -> None:
    assert summary_of({"summary": {"a": 1}}) == {"a": 1}
    assert summary_of({"summary": ""}) is None
    assert summary_of({}) is None


@pytest.mark.parametrize("unit", [" ", "`", "a", "\n", "```", "``` "])
def test_attack_a_long_summary_takes_no_quadratic_time(unit: str) -> None:
    # Quadratic time would take minutes.
    for raw in (f"```{unit * 1_000_000}", f"```{unit * 1_000_000}```", unit * 1_000_000 + "x"):
        assert summary_of({"post_prompt_data": {"raw": raw}}) in (raw, None)
