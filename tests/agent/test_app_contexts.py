"""Contexts and PROMPT_SECTIONS in the document of an agent."""

from __future__ import annotations

import pytest

from swaig_wsgi import AgentApp


def agent_of(cls: type[AgentApp] = AgentApp) -> AgentApp:
    return cls("ann", basic_auth=("user", "a-password"))


def prompt_of(agent: AgentApp) -> dict:
    main = agent.render_swml("a-call")["sections"]["main"]
    return next(verb["ai"] for verb in main if "ai" in verb)["prompt"]


def test_contexts_are_rendered_with_the_prompt() -> None:
    agent = agent_of()
    contexts = agent.define_contexts()
    assert prompt_of(agent) == {"text": "You are ann, a helpful AI assistant."}
    contexts.add_context("default").add_step("greet", task="Greet the caller.")
    rendered = {"default": {"steps": [{"name": "greet", "text": "## Task\nGreet the caller."}]}}
    assert prompt_of(agent) == {
        "text": "You are ann, a helpful AI assistant.",
        "contexts": rendered,
    }
    agent.prompt_add_section("Role", "You are Ann.")
    assert prompt_of(agent) == {
        "pom": [{"title": "Role", "body": "You are Ann."}],
        "contexts": rendered,
    }
    assert agent.define_contexts() is contexts
    assert agent.reset_contexts() is agent
    assert prompt_of(agent) == {"pom": [{"title": "Role", "body": "You are Ann."}]}


def test_a_step_may_refer_to_every_kind_of_function() -> None:
    agent = agent_of()
    agent.define_tool("open", "A tool.", {}, lambda args, raw_data: "done")
    agent.define_tool("secured", "A tool.", {}, lambda args, raw_data: "done", secure=True)
    agent.register_swaig_function({"function": "mapped", "data_map": {}})
    agent.set_native_functions(["check_time"])
    agent.add_function_include("https://other.example/swaig", ["included"])
    functions = ["open", "secured", "mapped", "check_time", "included", "next_step"]
    step = agent.define_contexts().add_context("default").add_step("one", task="Help.")
    step.set_functions(functions)
    assert prompt_of(agent)["contexts"]["default"]["steps"][0]["functions"] == functions


def test_unknown_functions_and_steps_raise() -> None:
    agent = agent_of()
    step = agent.define_contexts().add_context("default").add_step("one", task="Help.")
    step.set_functions(["pay"])
    with pytest.raises(
        ValueError, match=r"^step 'one' of context 'default' refers to the unknown function 'pay'"
    ):
        agent.render_swml("a-call")
    agent.define_tool("pay", "A tool.", {}, lambda args, raw_data: "done")
    agent.render_swml("a-call")
    step.set_valid_steps(["two"])
    with pytest.raises(
        ValueError, match=r"^step 'one' of context 'default' refers to the unknown step 'two'"
    ):
        agent.render_swml("a-call")


def test_prompt_sections_of_a_class_are_rendered() -> None:
    class Clerk(AgentApp):
        PROMPT_SECTIONS = {"Role": "You are Ann.", "Rules": ["Be short.", "Be kind."]}

    class Silent(Clerk):
        PROMPT_SECTIONS = None

    agent = agent_of(Clerk).prompt_add_to_section("Rules", bullet="Be quick.")
    assert prompt_of(agent) == {
        "pom": [
            {"title": "Role", "body": "You are Ann."},
            {"title": "Rules", "bullets": ["Be short.", "Be kind.", "Be quick."]},
        ]
    }
    assert prompt_of(agent_of(Clerk))["pom"][1]["bullets"] == ["Be short.", "Be kind."]
    assert prompt_of(agent_of(Silent)) == {"text": "You are ann, a helpful AI assistant."}


def test_invalid_prompt_sections_raise_at_construction() -> None:
    class Clerk(AgentApp):
        PROMPT_SECTIONS = {"Role": {"bdoy": "You are Ann."}}

    with pytest.raises(ValueError, match=r"^PROMPT_SECTIONS: section 'Role' has an unknown member"):
        agent_of(Clerk)
