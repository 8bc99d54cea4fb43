"""``--arg``, typed by the schema of a tool."""

from __future__ import annotations

import pytest

from swaig_wsgi.cli._arguments import parse_arguments
from swaig_wsgi.cli._errors import CommandError

SCHEMA = {
    "type": "object",
    "properties": {
        "amount": {"type": "number"},
        "count": {"type": "integer"},
        "name": {"type": "string"},
        "sure": {"type": "boolean"},
        "tags": {"type": "array"},
        "more": {"type": "object"},
        "maybe": {"type": ["integer", "null"]},
        "either": {"anyOf": [{"type": "boolean"}, {"type": "integer"}]},
        "text": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "any": {},
    },
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("amount=5", 5),
        ("amount=-1.5e2", -150.0),
        ("count=3", 3),
        ("name=5", "5"),
        ("name=", ""),
        ("name=a=b", "a=b"),
        ("sure=false", False),
        ('tags=["a", 1]', ["a", 1]),
        ('more={"a": 1}', {"a": 1}),
        ("maybe=null", None),
        ("maybe=2", 2),
        ("either=true", True),
        ("text=null", "null"),
        ("any=5", "5"),
        ("name:=5", 5),
        ("unknown:=[1]", [1]),
    ],
)
def test_a_value_is_typed_by_the_schema(text, expected):
    (found,) = parse_arguments([text], SCHEMA).values()
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("amount=five", "--arg amount: expected number, not 'five'"),
        ("amount=true", "expected number"),
        ("amount=NaN", "expected number"),
        ("count=1.5", "expected integer"),
        ("sure=1", "expected boolean"),
        ("tags={}", "expected array"),
        ("maybe=x", "expected integer or null"),
        ("name:=x", "expected JSON"),
        ("tags=" + "[" * 100_000, "expected array"),
        ("nmae=x", "unknown; the tool takes amount, count, name"),
        ("name", "expected name=value, name=@file or name:=json"),
        ("=x", "expected name=value"),
        ("name=@/missing/file", "/missing/file: No such file"),
    ],
)
def test_what_cannot_be_an_argument_is_named(text, words):
    with pytest.raises(CommandError) as caught:
        parse_arguments([text], SCHEMA)
    assert words in str(caught.value)
    assert caught.value.status == 2


def test_a_value_is_read_from_a_file(tmp_path):
    (tmp_path / "text").write_text("Zürich\n", encoding="utf-8")
    (tmp_path / "number").write_text("5\n")
    (tmp_path / "binary").write_bytes(b"\xff")
    arguments = [f"name=@{tmp_path / 'text'}", f"amount=@{tmp_path / 'number'}"]
    assert parse_arguments(arguments, SCHEMA) == {"name": "Zürich\n", "amount": 5}
    with pytest.raises(CommandError, match="UTF-8"):
        parse_arguments([f"name=@{tmp_path / 'binary'}"], SCHEMA)


def test_an_argument_is_given_once():
    with pytest.raises(CommandError, match="--arg name: given twice"):
        parse_arguments(["name=a", "name:=1"], SCHEMA)


@pytest.mark.parametrize("schema", [None, [], {"properties": []}])
def test_a_tool_without_parameters_takes_no_arguments(schema):
    assert parse_arguments([], schema) == {}
    with pytest.raises(CommandError, match="takes no arguments"):
        parse_arguments(["a=1"], schema)
    assert parse_arguments(["a:=1"], schema) == {"a": 1}
