"""A shallow copy of a part and its original are independent."""

import copy
import json

import pytest

from swaig_wsgi.swaig import ToolRegistry
from swaig_wsgi.swml import AISettings, CallFlow, Endpoints, Prompt, Webhooks

URL = "https://agent.example/debug"


def prompt_of_text():
    prompt = Prompt("default")
    prompt.set_text("Text.")
    prompt.set_llm_params(temperature=0.5)
    prompt.set_post_prompt("Summarise.")
    prompt.set_post_prompt_llm_params(temperature=0.5)
    return prompt


def prompt_of_sections():
    prompt = Prompt("default")
    prompt.add_section("Rules", "Body.", ["one"], subsections=[{"title": "Inner"}])
    prompt.add_section("Bare")
    prompt.set_post_prompt("Summarise.")
    prompt.define_contexts().add_context("default").add_step("one", task="Greet.")
    return prompt


def settings():
    made = AISettings()
    made.set_params({"ai_volume": 1, "nested": {"a": [1]}})
    made.add_hints(["one"])
    made.add_language("English", "en-US", "voice")
    made.add_pronunciation("a", "b")
    made.set_global_data({"a": {"b": [1]}})
    made.set_native_functions(["check_time"])
    made.add_function_include("https://a.example", ["one"])
    made.set_internal_fillers({"check_time": {"en-US": ["Hm."]}})
    return made


def call_flow():
    flow = CallFlow(record_call=True)
    flow.add_pre_answer("ring", {"a": 1})
    flow.add_post_answer("play", {"b": 1})
    flow.add_post_ai("hangup", {})
    return flow


def webhooks():
    made = Webhooks()
    made.add_query_params({"a": "1"})
    return made


def tools():
    registry = ToolRegistry()
    registry.define("first", "The first.", {}, lambda args, raw_data: "done")
    return registry


READERS = {
    # For the methods of what define_contexts() returns, see test_views.py.
    Prompt: {"define_contexts", "has_section", "render", "render_post_prompt"},
    AISettings: {"function_names", "render", "render_swaig"},
    CallFlow: {"render"},
    ToolRegistry: {"get"},
    Webhooks: {"applied_to"},
}

CHANGES = [
    (prompt_of_text, "set_text", ("Other.",), {}),
    (prompt_of_text, "set_llm_params", (), {"temperature": 1, "top_p": 1}),
    (prompt_of_text, "set_post_prompt", ("Other.",), {}),
    (prompt_of_text, "set_post_prompt_llm_params", (), {"temperature": 1, "top_p": 1}),
    (prompt_of_sections, "add_section", ("More", "Body."), {}),
    (prompt_of_sections, "add_to_section", ("Rules", "More."), {"bullet": "two"}),
    (prompt_of_sections, "add_to_section", ("Bare", "More."), {"bullets": ["two"]}),
    (prompt_of_sections, "add_to_section", ("New", "More."), {}),
    (prompt_of_sections, "add_subsection", ("Rules", "Second"), {}),
    (prompt_of_sections, "add_subsection", ("Bare", "First"), {}),
    (prompt_of_sections, "add_subsection", ("New", "First"), {}),
    (prompt_of_sections, "add_declared", ({"New": "Body."},), {}),
    (prompt_of_sections, "set_pom", ([{"title": "New", "body": "Body."}],), {}),
    (prompt_of_sections, "reset_contexts", (), {}),
    (settings, "set_param", ("ai_volume", 2), {}),
    (settings, "set_params", ({"nested": {"a": [2]}, "more": 1},), {}),
    (settings, "add_hint", ("two",), {}),
    (settings, "add_hints", (["two", "three"],), {}),
    (settings, "add_pattern_hint", ("a", "b", "c"), {}),
    (settings, "add_language", ("German", "de-DE", "voice"), {"fillers": ["Hm."]}),
    (settings, "set_languages", ([{"name": "German", "code": "de-DE", "voice": "v"}],), {}),
    (settings, "add_pronunciation", ("c", "d"), {}),
    (settings, "set_global_data", ({"c": 1},), {}),
    (settings, "update_global_data", ({"a": {"b": [2]}},), {}),
    (settings, "set_native_functions", (["wait_seconds"],), {}),
    (settings, "add_function_include", ("https://b.example", ["two"]), {}),
    (settings, "set_internal_fillers", ({"check_time": {"en-US": ["Oh."]}},), {}),
    (settings, "enable_debug_events", (2,), {}),
    (call_flow, "set_answer", ({"max_duration": 5},), {}),
    (call_flow, "add_pre_answer", ("ring", {}), {}),
    (call_flow, "add_post_answer", ("play", {}), {}),
    (call_flow, "add_post_ai", ("hangup", {}), {}),
    (call_flow, "clear_pre_answer", (), {}),
    (call_flow, "clear_post_answer", (), {}),
    (call_flow, "clear_post_ai", (), {}),
    (webhooks, "set_web_hook_url", ("https://b.example/",), {}),
    (webhooks, "set_post_prompt_url", ("https://b.example/",), {}),
    (webhooks, "add_query_params", ({"b": "2"},), {}),
    (webhooks, "clear_query_params", (), {}),
    (tools, "define", ("second", "The second.", {}, lambda args, raw_data: "done"), {}),
    (tools, "register", ({"function": "second", "data_map": {}},), {}),
]


def rendered(part):
    """Return what a document would contain of `part`."""
    if isinstance(part, Prompt):
        return [part.render(), part.render_post_prompt()]
    if isinstance(part, Webhooks):
        return vars(part.applied_to(Endpoints(URL, URL, URL)))
    if isinstance(part, AISettings):
        return [part.render(URL), part.render_swaig()]
    if isinstance(part, CallFlow):
        return part.render({})
    return [tool.definition for tool in part]


@pytest.mark.parametrize("part", READERS)
def test_every_method_that_changes_a_part_is_tested(part):
    public = {name for name in vars(part) if not name.startswith("_")}
    tried = {method for make, method, *_ in CHANGES if type(make()) is part}
    assert public - READERS[part] == tried


@pytest.mark.parametrize("change_the_copy", [True, False], ids=["copy", "original"])
@pytest.mark.parametrize(
    ("make", "method", "arguments", "named"),
    CHANGES,
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_copy_and_its_original_are_independent(make, method, arguments, named, change_the_copy):
    original = make()
    copied = copy.copy(original)
    changed, other = (copied, original) if change_the_copy else (original, copied)
    document = rendered(other)
    own_document = rendered(changed)
    before = json.dumps(document)
    assert json.dumps(own_document) == before

    getattr(changed, method)(*arguments, **named)

    assert json.dumps(rendered(changed)) != before
    assert json.dumps(rendered(other)) == before
    # Documents that were rendered before the change may not have been sent yet.
    assert json.dumps(document) == before
    assert json.dumps(own_document) == before


def test_copies_have_their_own_tools():
    original = tools()
    copied = copy.copy(original)
    copied.register({"function": "second"})
    original.register({"function": "third"})
    assert original.get("second") is None
    assert copied.get("third") is None
    assert (len(original), len(copied)) == (2, 2)
    assert original.get("first") is copied.get("first")


def test_a_tool_may_be_defined_while_a_document_is_rendered():
    registry = tools()
    for tool in registry:
        registry.register({"function": f"after_{tool.name}"})
    assert [tool.name for tool in registry] == ["first", "after_first"]
