"""Contexts and declared sections, compared with those of ``signalwire-sdk``."""

import inspect
import json
import runpy
from pathlib import Path

import jsonschema_rs
import pytest
import signalwire
from signalwire import AgentBase

from swaig_wsgi import AgentApp
from swaig_wsgi.swml import Context, ContextBuilder, Step

_GOLDEN = runpy.run_path(
    str(Path(__file__).parents[1] / "swml" / "test_contexts_golden.py"), run_name="golden"
)
SCENARIOS = _GOLDEN["SCENARIOS"]
TOOLS = _GOLDEN["TOOLS"]
GOLDEN = json.loads(_GOLDEN["GOLDEN"].read_text(encoding="utf-8"))

SCHEMA = json.loads(Path(signalwire.__file__).with_name("schema.json").read_text(encoding="utf-8"))

#: Never empty: for no sections, theirs sends an empty list and ours the default text.
SECTIONS = [
    {"Role": "You are Ann.", "Rules": ["Be short."], "Nothing": [], "Neither": {}, "Bare": ""},
    {
        "Rules": {
            "body": "Obey.",
            "bullets": ["one", "two"],
            "numbered": True,
            "numberedBullets": True,
            "subsections": [
                {"title": "Money", "body": "Ask twice.", "bullets": ["a"]},
                {"title": "Empty"},
            ],
        },
        "Only a title": {"subsections": []},
    },
    [
        {"title": "Role", "body": "You are Ann."},
        {"title": "Rules", "bullets": ["one"], "numbered": True},
        {"title": "Nothing"},
        {"title": "More", "subsections": [{"title": "Inner", "bullets": ["x"]}]},
    ],
]


def their_agent(sections=None):
    made = type("Theirs", (AgentBase,), {"PROMPT_SECTIONS": sections})("agent")
    return with_tools(made)


def our_agent(sections=None):
    made = type("Ours", (AgentApp,), {"PROMPT_SECTIONS": sections})(
        "agent", basic_auth=("u", "p" * 16)
    )
    return with_tools(made)


def with_tools(agent):
    for name in TOOLS:
        agent.define_tool(name, "A tool.", {}, lambda args, raw_data: None)
    return agent


def prompt_of(document):
    return next(verb["ai"] for verb in document["sections"]["main"] if "ai" in verb)["prompt"]


def their_prompt(agent):
    return prompt_of(json.loads(agent._render_swml("a-call")))


def our_prompt(agent):
    return prompt_of(agent.render_swml("a-call"))


@pytest.mark.parametrize("name", SCENARIOS)
def test_contexts_equal_the_sdk_s_and_the_golden_files(name):
    theirs, ours = their_agent(), our_agent()
    for agent in (theirs, ours):
        agent.set_prompt_text("You are Ann.")
        SCENARIOS[name](agent.define_contexts())
    assert our_prompt(ours) == their_prompt(theirs)
    assert our_prompt(ours)["contexts"] == GOLDEN[name]


@pytest.mark.parametrize(
    "set_prompt",
    [
        lambda agent: agent.set_prompt_text("You are Ann."),
        lambda agent: agent.prompt_add_section("Role", "You are Ann."),
    ],
    ids=["text", "sections"],
)
def test_the_prompt_is_kept_with_contexts(set_prompt):
    theirs, ours = their_agent(), our_agent()
    for agent in (theirs, ours):
        set_prompt(agent)
        SCENARIOS["one_step"](agent.define_contexts())
        agent.set_prompt_llm_params(temperature=0.5)
    assert our_prompt(ours) == their_prompt(theirs)


@pytest.mark.parametrize("sections", SECTIONS, ids=["titles", "dictionaries", "list"])
def test_declared_sections_equal_the_sdk_s(sections):
    assert our_prompt(our_agent(sections)) == their_prompt(their_agent(sections))


def no_steps(contexts):
    contexts.add_context("default")


def one_context_of_another_name(contexts):
    contexts.add_context("other").add_step("a").set_text("a")


def unknown_step(contexts):
    contexts.add_context("default").add_step("a").set_text("a").set_valid_steps(["b"])


def unknown_context(contexts):
    contexts.add_context("default").add_step("a").set_text("a").set_valid_contexts(["b"])


def unknown_context_of_a_context(contexts):
    contexts.add_context("default").set_valid_contexts(["b"]).add_step("a").set_text("a")


def unknown_initial_step(contexts):
    contexts.add_context("default").set_initial_step("b").add_step("a").set_text("a")


def unknown_function(contexts):
    contexts.add_context("default").add_step("a").set_text("a").set_functions(["b"])


def nothing_to_say(contexts):
    contexts.add_context("default").add_step("a")


def no_question(contexts):
    contexts.add_context("default").add_step("a").set_text("a").set_gather_info()


def the_same_question_twice(contexts):
    step = contexts.add_context("default").add_step("a").set_text("a").set_gather_info()
    step.add_gather_question("k", "q?").add_gather_question("k", "q?")


def on_from_the_last_step(contexts):
    step = contexts.add_context("default").add_step("a").set_text("a")
    step.set_gather_info(completion_action="next_step").add_gather_question("k", "q?")


def on_to_an_unknown_step(contexts):
    step = contexts.add_context("default").add_step("a").set_text("a")
    step.set_gather_info(completion_action="b").add_gather_question("k", "q?")


@pytest.mark.parametrize(
    "scenario",
    [
        no_steps,
        one_context_of_another_name,
        unknown_step,
        unknown_context,
        unknown_context_of_a_context,
        unknown_initial_step,
        unknown_function,
        nothing_to_say,
        no_question,
        the_same_question_twice,
        on_from_the_last_step,
        on_to_an_unknown_step,
    ],
)
def test_both_reject_unknown_names(scenario):
    theirs = their_agent()
    scenario(theirs.define_contexts())
    with pytest.raises(ValueError, match="."):
        theirs.define_contexts().to_dict()
    ours = our_agent()
    scenario(ours.define_contexts())
    with pytest.raises(ValueError, match="."):
        ours.render_swml("a-call")


@pytest.mark.parametrize("name", ["next_step", "change_context", "gather_submit"])
def test_both_reserve_the_names_of_navigation_functions(name):
    theirs, ours = their_agent(), our_agent()
    for agent in (theirs, ours):
        agent.define_tool(name, "A tool.", {}, lambda args, raw_data: None)
        SCENARIOS["one_step"](agent.define_contexts())
    with pytest.raises(ValueError, match=name):
        theirs.define_contexts().to_dict()
    with pytest.raises(ValueError, match=name):
        ours.render_swml("a-call")


def in_the_schema(contexts):
    # The package's schema lacks some features of its classes: resets, gathering, history, initial
    # steps, texts of contexts, and fillers as a dictionary.
    default = contexts.add_context("default").add_section("Role", "You sell.").set_isolated(True)
    default.add_step("a", task="Greet.", bullets=["Be kind."], criteria="Done.", functions=["pay"])
    step = default.add_step("b").set_text("B.").set_valid_steps(["next", "a"])
    step.set_valid_contexts(["other"]).set_skip_user_turn(True)
    default.add_step("c").set_text("C.").set_end(True)
    contexts.add_context("other").add_bullets("Rules", ["one"]).add_step("d").set_text("D.")


@pytest.mark.parametrize("scenario", [in_the_schema, SCENARIOS["steps_in_order"]])
@pytest.mark.parametrize("sections", [None, {"Role": "You are Ann."}], ids=["text", "pom"])
def test_documents_with_contexts_are_valid(scenario, sections):
    agent = our_agent(sections)
    scenario(agent.define_contexts())
    validator = jsonschema_rs.validator_for(SCHEMA)
    assert [error.message for error in validator.iter_errors(agent.render_swml("a-call"))] == []


def parameters(method):
    return [(each.name, each.default) for each in inspect.signature(method).parameters.values()]


@pytest.mark.parametrize("ours", [ContextBuilder, Context, Step])
def test_methods_and_parameters_have_the_sdk_s_names(ours):
    theirs = getattr(signalwire.core.contexts, ours.__name__)
    for name, method in vars(theirs).items():
        if not name.startswith("_"):
            expected = parameters(method)
            assert parameters(getattr(ours, name))[: len(expected)] == expected
