"""The registry of tools."""

from __future__ import annotations

from typing import Any

import pytest

from swaig_wsgi.swaig import ToolRegistry, tool_name


def handler(args: dict[str, Any], raw_data: dict[str, Any]) -> str:
    """Do it.

    Carefully.
    """
    return f"did {args}"


def test_properties_or_a_schema_make_the_same_tool() -> None:
    registry = ToolRegistry()
    properties = {"type": {"type": "string"}, "n": {"type": "integer"}}
    registry.define("a", "x", properties, handler, required=["n"])
    schema = {"type": "object", "properties": properties, "required": ["n"]}
    registry.define("b", "x", schema, handler)
    first, second = registry
    assert first.definition["parameters"] == second.definition["parameters"] == schema
    assert len(registry) == 2


def test_a_definition_is_a_copy() -> None:
    registry = ToolRegistry()
    properties = {"n": {"type": "integer"}}
    fillers = {"en-US": ["hm"]}
    registry.define("a", "x", properties, handler, fillers=fillers)
    properties["n"]["type"] = "string"
    fillers["en-US"].append("er")
    tool = registry.get("a")
    assert tool is not None
    assert tool.definition["parameters"]["properties"]["n"] == {"type": "integer"}
    assert tool.definition["fillers"] == {"en-US": ["hm"]}


def test_the_handler_is_called_with_arguments_and_request() -> None:
    registry = ToolRegistry()
    registry.define("a", "", {}, handler)
    tool = registry.get("a")
    assert tool is not None
    assert tool.call is not None
    assert tool.call({"n": 1}, {}) == "did {'n': 1}"
    assert tool.definition["description"] == "Do it."


def test_a_typed_handler_gets_its_arguments_by_name() -> None:
    def typed(n: int, m: int = 2, raw_data: Any = None) -> str:
        """Add."""
        return f"{n + m} in {raw_data['call_id']}"

    registry = ToolRegistry()
    registry.define("a", "", None, typed)
    tool = registry.get("a")
    assert tool is not None
    assert tool.call is not None
    assert tool.call({"n": 1, "junk": 5}, {"call_id": "c"}) == "3 in c"
    assert list(tool.definition["parameters"]["properties"]) == ["n", "m"]


@pytest.mark.parametrize(
    "name", ["", "1a", "a-b", "a.b", "a b", "ä", "a" * 129, "a\n", None, 5, b"a", "post_prompt"]
)
def test_invalid_names(name: Any) -> None:
    registry = ToolRegistry()
    with pytest.raises(ValueError, match="name"):
        registry.define(name, "x", {}, handler)
    with pytest.raises(ValueError, match="name|JSON"):
        registry.register({"function": name})


def test_a_name_cannot_be_used_twice() -> None:
    registry = ToolRegistry()
    registry.define("a", "x", {}, handler)
    with pytest.raises(ValueError, match="there already is a tool 'a'"):
        registry.define("a", "x", {}, handler)
    with pytest.raises(ValueError, match="there already is a tool 'a'"):
        registry.register({"function": "a"})


@pytest.mark.parametrize(
    "options",
    [
        {"handler": None},
        {"handler": "no function"},
        {"webhook_url": "https://x.example/"},
        {"webhook_url": "https://x.example/", "handler": None, "secure": True},
        {"webhook_url": "", "handler": None},
        {"webhook_url": 5, "handler": None},
        {"webhook_url": "javascript:x", "handler": None},
        {"webhook_url": "/swaig", "handler": None},
        {"webhook_url": "https://x.example/\r\n", "handler": None},
        {"parameters": {"n": {"type": float("nan")}}},
        {"parameters": {"n": object()}},
        {"description": 5},
        {"description": "", "handler": lambda args, raw: "x"},
        {"fillers": {"en-US": object()}},
        {"fillers": 5},
        {"fillers": ["hm"]},
        {"required": 5},
        {"required": "n"},
        {"required": 5, "handler": None, "webhook_url": "https://x.example/"},
        {"wait_file": object()},
    ],
)
def test_invalid_definitions(options: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"description": "x", "parameters": {}, "handler": handler}
    arguments.update(options)
    registry = ToolRegistry()
    with pytest.raises(ValueError):  # noqa: PT011 - each has words of its own
        registry.define("a", **arguments)
    assert len(registry) == 0


@pytest.mark.parametrize("definition", [5, None, "a", ["a"], [("function", "a")]])
def test_functions_of_the_platform_are_dictionaries(definition: Any) -> None:
    registry = ToolRegistry()
    with pytest.raises(ValueError, match="^a function definition must be a dictionary, not "):
        registry.register(definition)
    assert len(registry) == 0


def test_signatures_always_have_required() -> None:
    registry = ToolRegistry()
    registry.define("a", "x", {}, handler)
    registry.define("b", "x", {"n": {"type": "integer"}}, handler, required=["n"])
    registry.register({"function": "c", "description": "x", "data_map": {}})
    assert [tool.signature["parameters"]["required"] for tool in registry] == [[], ["n"], []]
    assert "required" not in next(iter(registry)).definition["parameters"]


def test_secure_by_default_applies_to_tools_that_run_here() -> None:
    registry = ToolRegistry(secure_by_default=True)
    registry.define("a", "x", {}, handler)
    registry.define("b", "x", {}, handler, secure=False)
    registry.define("c", "x", {}, None, webhook_url="https://x.example/")
    assert [tool.secure for tool in registry] == [True, False, False]


def test_the_representation_does_not_contain_the_handler() -> None:
    registry = ToolRegistry()
    registry.define("a", "x", {}, handler)
    assert "function" not in repr(registry.get("a")).replace("'function'", "")


def test_the_name_of_a_decorated_function() -> None:
    assert tool_name(handler) == "handler"
    assert tool_name(object()) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["yes", "false", "", 0, 1])
def test_flags_must_be_bools(value: Any) -> None:
    registry = ToolRegistry()
    with pytest.raises(ValueError, match="^tool 'a': secure must be True or False, not "):
        registry.define("a", "x", {}, handler, secure=value)
    assert len(registry) == 0
    with pytest.raises(ValueError, match="^secure_by_default must be True or False, not "):
        ToolRegistry(secure_by_default=value)
