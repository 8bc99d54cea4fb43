"""Contexts and steps in the document, compared with a golden file.

`SCENARIOS` use only methods that signalwire-sdk has too. contexts_golden.json is its result, which
tests/interop/test_contexts.py checks.
"""

import json
from pathlib import Path

import pytest

from swaig_wsgi.swml import ContextBuilder

GOLDEN = Path(__file__).with_name("contexts_golden.json")
TOOLS = ("lookup", "pay", "check_zip")


def one_step(contexts):
    contexts.add_context("default").add_step("greet").set_text("Greet the caller.")


def steps_in_order(contexts):
    order = contexts.add_context("default")
    order.add_step("items").set_text("Ask what to order.").set_step_criteria(
        "There is at least one item."
    ).set_valid_steps(["next"])
    order.add_step("address").set_text("Ask where to.").set_valid_steps(["items", "next"])
    order.add_step("end").set_text("Say goodbye.").set_valid_steps([]).set_end(True)


def sections(contexts):
    step = contexts.add_context("default").add_step("one")
    step.add_section("Task", "Find the account.\n")
    step.add_bullets("Rules", ["Be short.", "Be kind."])
    step.add_section("Then", "  Read it out.  ")


def steps_in_one_call(contexts):
    default = contexts.add_context("default")
    default.add_step(
        "one",
        task="Find the account.",
        bullets=["Ask for the number.", "Look it up."],
        criteria="The account is found.",
        functions=["lookup"],
        valid_steps=["two"],
    )
    default.add_step("two", task="Close.", functions="none")


def functions(contexts):
    default = contexts.add_context("default")
    default.add_step("some").set_text("a").set_functions(["lookup", "pay"])
    default.add_step("navigation").set_text("a").set_functions(["next_step", "change_context"])
    default.add_step("empty").set_text("b").set_functions([])
    default.add_step("none").set_text("c").set_functions("none")
    default.add_step("inherited").set_text("d")


def several_contexts(contexts):
    sales = contexts.add_context("sales").set_valid_contexts(["support"])
    sales.add_step("offer").set_text("Offer.").set_valid_contexts(["support", "sales"])
    support = contexts.add_context("support").set_valid_steps(["next", "help"])
    support.add_step("greet").set_text("Greet.")
    support.add_step("help").set_text("Help.")
    support.set_initial_step("help")


def prompts_of_a_context(contexts):
    one = contexts.add_context("default").set_prompt("You sell.").set_system_prompt("System.")
    one.set_post_prompt("Summarise.").set_user_prompt("I want to buy.")
    one.set_consolidate(True).set_full_reset(True).set_isolated(True).set_history("keep")
    one.add_step("a").set_text("A.")
    two = contexts.add_context("two").add_section("Role", "You help.")
    two.add_bullets("Rules", ["Be short.", "Be kind."])
    two.add_system_section("System", "Obey.").add_system_bullets("Never", ["lie", "shout"])
    two.set_consolidate(False).set_full_reset(False).set_isolated(False).set_history("default")
    two.add_step("b").set_text("B.")


def fillers(contexts):
    one = contexts.add_context("default")
    one.set_enter_fillers({"en-US": ["Welcome.", "Hello."], "default": ["Hi."]})
    one.set_exit_fillers({"en-US": ["Bye."]})
    one.add_step("a").set_text("A.")
    two = contexts.add_context("two").add_enter_filler("de-DE", ["Hallo."])
    two.add_enter_filler("en-US", ["Hello."]).add_enter_filler("de-DE", ["Tag."])
    two.add_exit_filler("de-DE", ["Auf Wiederhören."])
    two.add_step("b").set_text("B.")


def ways_of_a_step(contexts):
    default = contexts.add_context("default")
    step = default.add_step("one").set_text("One.").set_history("hide")
    step.set_skip_user_turn(True).set_skip_to_next_step(True).set_end(True)
    default.add_step("two").set_text("Two.").set_skip_user_turn(False).set_skip_to_next_step(
        False
    ).set_end(False)


def reset_of_a_step(contexts):
    default = contexts.add_context("default")
    default.add_step("all").set_text("All.").set_reset_system_prompt(
        "You are another."
    ).set_reset_user_prompt("Help me.").set_reset_consolidate(True).set_reset_full_reset(True)
    default.add_step("one").set_text("One.").set_reset_consolidate(True)
    default.add_step("none").set_text("None.").set_reset_consolidate(False).set_reset_full_reset(
        False
    )


def gathering(contexts):
    default = contexts.add_context("default")
    step = default.add_step("ask").set_text("Ask.")
    step.set_gather_info(
        output_key="customer", completion_action="next_step", prompt="Be kind.", isolated=True
    )
    step.add_gather_question("name", "What is your name?")
    step.add_gather_question(
        "zip",
        "And your ZIP code?",
        type="integer",
        confirm=True,
        prompt="Five digits.",
        functions=["check_zip"],
        isolated=False,
    )
    step.add_gather_question("age", "Your age?", "number", functions=[], isolated=True)
    other = default.add_step("again").set_text("Again.").set_gather_info(completion_action="ask")
    other.add_gather_question("more", "Anything else?")
    default.add_step("plain").set_text("x").set_gather_info().add_gather_question("k", "q?")


def changed_later(contexts):
    contexts.add_context("gone").add_step("x").set_text("x")
    contexts.reset()
    default = contexts.add_context("default")
    for name in ("a", "b", "c", "d"):
        default.add_step(name).set_text(name)
    default.remove_step("b").remove_step("never there").move_step("d", 0)
    default.get_step("c").clear_sections().add_section("Title", "Body.")
    contexts.get_context("default").get_step("a").set_text("other")


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        one_step,
        steps_in_order,
        sections,
        steps_in_one_call,
        functions,
        several_contexts,
        prompts_of_a_context,
        fillers,
        ways_of_a_step,
        reset_of_a_step,
        gathering,
        changed_later,
    )
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_documents_equal_the_golden_files(name):
    contexts = ContextBuilder()
    SCENARIOS[name](contexts)
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert contexts.render(TOOLS) == golden[name]


def test_every_golden_document_has_its_scenario():
    assert json.loads(GOLDEN.read_text(encoding="utf-8")).keys() == SCENARIOS.keys()
