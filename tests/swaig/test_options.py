"""The names of a tool's options."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from swaig_wsgi.swaig import ToolOptions, ToolRegistry, check_options


def handler(args: dict[str, Any], raw_data: dict[str, Any]) -> str:
    return "Done."


@pytest.mark.parametrize(
    ("misspelled", "nearest"),
    [
        ("secured", "secure"),
        ("Secure", "secure"),
        ("sercure", "secure"),
        ("onec", "once"),
        ("max_run", "max_runs"),
        ("maxRuns", "max_runs"),
        ("web_hook_url", "webhook_url"),
        ("wait_files", "wait_file"),
        ("xyz", "extra"),
    ],
)
def test_attack_a_misspelled_option_defines_no_tool(misspelled: str, nearest: str) -> None:
    registry = ToolRegistry()
    expected = f"no option '{misspelled}'; did you mean '{nearest}'.* extra={{...}}"
    with pytest.raises(TypeError, match=expected):
        registry.define("pay", "Pay", {}, handler, **{misspelled: True})
    assert len(registry) == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("swaig_fields", "no option 'swaig_fields': active, meta_data, .* any other member in ext"),
        ("is_typed_handler", "no option 'is_typed_handler': recognized from the handler's param"),
    ],
)
def test_options_of_the_sdk_say_where_to_go(option: str, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        ToolRegistry().define("pay", "Pay", {}, handler, **{option: {}})


def test_the_options_for_type_checkers_are_those_of_a_definition() -> None:
    parameters = inspect.signature(ToolRegistry.define).parameters
    options = {
        name: parameter.annotation
        for name, parameter in parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY or name == "parameters"
    }
    declared = ToolOptions.__annotations__
    assert {name: each.__forward_arg__ for name, each in declared.items()} == options


def test_known_options_pass() -> None:
    check_options(ToolOptions.__annotations__)
    check_options([])


def test_known_members_of_a_definition_are_options() -> None:
    registry = ToolRegistry()
    members: dict[str, Any] = {
        "fillers": {"en-US": ["One moment."]},
        "active": False,
        "meta_data": {"table": 4},
        "meta_data_token": "tables",
        "skip_fillers": True,
        "wait_file": "https://a.example/wait.mp3",
        "wait_file_loops": 0,
        "wait_for_fillers": "${global_data.patient}",
        "gates": [{"question": "Did the caller agree?", "threshold": 0.9, "on_fail": "Ask."}],
        "gate_fillers": {"en-US": ["Let me see."]},
    }
    registry.define("pay", "Pay", {}, handler, **members)
    tool = registry.get("pay")
    assert tool is not None
    assert {name: tool.definition[name] for name in members} == members


def test_absent_and_empty_members_are_left_out() -> None:
    registry = ToolRegistry()
    registry.define("pay", "Pay", {}, handler, fillers={}, active=None, gates=[], extra=None)
    tool = registry.get("pay")
    assert tool is not None
    assert tool.definition.keys() == {"function", "description", "parameters"}


@pytest.mark.parametrize(
    "options",
    [
        {"active": "yes"},
        {"meta_data": "table"},
        {"meta_data_token": 4},
        {"skip_fillers": 1},
        {"wait_file": ""},
        {"wait_file": "https://a.example/\n"},
        {"wait_file_loops": -1},
        {"wait_file_loops": True},
        {"wait_for_fillers": "soon"},
        {"gates": {"question": "Why?"}},
        {"gate_fillers": ["hm"]},
        {"extra": ["secure"]},
        {"extra": {"a": object()}},
    ],
)
def test_members_are_validated(options: dict[str, Any]) -> None:
    registry = ToolRegistry()
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} of tool 'pay'"):
        registry.define("pay", "Pay", {}, handler, **options)
    assert len(registry) == 0


def test_other_members_go_into_extra() -> None:
    registry = ToolRegistry()
    extra = {"secured": True, "data": {"a": [1]}}
    registry.define("pay", "Pay", {}, handler, secure=True, extra=extra)
    extra["data"]["a"].append(2)  # type: ignore[index]
    tool = registry.get("pay")
    assert tool is not None
    assert tool.definition["data"] == {"a": [1]}


@pytest.mark.parametrize("name", ["secure", "once", "max_runs", "web_hook_url", "fillers", "extra"])
def test_attack_extra_cannot_hold_an_option_that_would_have_no_effect(name: str) -> None:
    registry = ToolRegistry()
    with pytest.raises(ValueError, match=f"extra must not have '{name}'"):
        registry.define("pay", "Pay", {}, handler, extra={name: True})
    assert len(registry) == 0
