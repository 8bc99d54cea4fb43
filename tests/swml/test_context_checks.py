import re

import pytest

from swaig_wsgi.swml import ContextBuilder
from swaig_wsgi.swml._context_checks import check_contexts


@pytest.fixture
def contexts():
    made = ContextBuilder()
    made.add_context("default").add_step("a").set_text("A.")
    made.get_context("default").add_step("b").set_text("B.")
    made.add_context("other").add_step("c").set_text("C.")
    return made


def step(contexts, name="a"):
    return contexts.get_context("default").get_step(name)


def gather(contexts, name="a", **options):
    return step(contexts, name).set_gather_info(**options).add_gather_question("key", "Question?")


def test_at_least_one_context_is_required():
    with pytest.raises(ValueError, match=r"^there must be at least one context$"):
        check_contexts({}, None)


def test_a_single_context_is_named_default():
    contexts = ContextBuilder()
    contexts.add_context("sales").add_step("a").set_text("A.")
    with pytest.raises(ValueError, match=r"^a single context must be named 'default', not 'sales'"):
        contexts.validate()
    contexts.add_context("support").add_step("a").set_text("A.")
    contexts.validate()


def test_a_context_must_have_a_step(contexts):
    contexts.add_context("empty")
    with pytest.raises(ValueError, match=r"^context 'empty' has no steps"):
        contexts.validate()


def test_a_step_must_have_instructions(contexts):
    contexts.get_context("other").add_step("silent")
    with pytest.raises(ValueError, match=r"^step 'silent' of context 'other' has neither a text"):
        contexts.validate()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (
            lambda contexts: step(contexts).set_valid_steps(["next", "c"]),
            "step 'a' of context 'default' refers to the unknown step 'c'; "
            "known are: 'a', 'b', 'next'",
        ),
        (
            lambda contexts: step(contexts).set_valid_contexts(["other", "third"]),
            "step 'a' of context 'default' refers to the unknown context 'third'; "
            "known are: 'default', 'other'",
        ),
        (
            lambda contexts: step(contexts).set_functions(["lookup", "pay"]),
            "step 'a' of context 'default' refers to the unknown function 'pay'; known are: "
            "'change_context', 'gather_submit', 'lookup', 'next_step'",
        ),
        (
            lambda contexts: contexts.get_context("other").set_valid_steps(["next", "a"]),
            "context 'other' refers to the unknown step 'a'",
        ),
        (
            lambda contexts: contexts.get_context("other").set_valid_contexts(["third"]),
            "context 'other' refers to the unknown context 'third'",
        ),
        (
            lambda contexts: contexts.get_context("other").set_initial_step("next"),
            "context 'other' starts at the unknown step 'next'; known are: 'c'",
        ),
        (
            lambda contexts: step(contexts).set_gather_info(),
            "step 'a' of context 'default' gathers information, but has no questions",
        ),
        (
            lambda contexts: gather(contexts).add_gather_question("key", "Again?"),
            "step 'a' of context 'default' has two questions with the key 'key'",
        ),
        (
            lambda contexts: gather(contexts).add_gather_question("k", "?", functions=["pay"]),
            "step 'a' of context 'default', question 'k', refers to the unknown function 'pay'",
        ),
        (
            lambda contexts: gather(contexts, completion_action="c"),
            "step 'a' of context 'default' continues, when it has gathered, with the unknown "
            "step 'c'",
        ),
        (
            lambda contexts: gather(contexts, "b", completion_action="next_step"),
            "step 'b' of context 'default' continues with the next step, but is the last",
        ),
    ],
)
def test_every_name_must_exist(contexts, spoil, complaint):
    contexts.validate(["lookup"])
    spoil(contexts)
    with pytest.raises(ValueError, match=f"^{re.escape(complaint)}"):
        contexts.validate(["lookup"])


def test_a_removed_step_is_an_unknown_name(contexts):
    step(contexts).set_valid_steps(["b"])
    contexts.validate()
    contexts.get_context("default").remove_step("b")
    with pytest.raises(ValueError, match="the unknown step 'b'; known are: 'a', 'next'"):
        contexts.validate()


def test_valid_contexts_are_accepted(contexts):
    step(contexts).set_valid_steps(["next", "a", "b"]).set_valid_contexts(["default", "other"])
    step(contexts).set_functions(["lookup", "next_step", "change_context", "gather_submit"])
    step(contexts, "b").set_valid_steps([]).set_valid_contexts([]).set_functions("none")
    contexts.get_context("other").set_initial_step("c").set_valid_steps(["c", "next"])
    contexts.get_context("other").set_valid_contexts(["default"])
    contexts.get_context("other").get_step("c").set_functions([])
    gather(contexts, completion_action="next_step").add_gather_question(
        "other", "Other?", functions=["lookup"]
    )
    gather(contexts, "b", completion_action="a")
    contexts.validate(["lookup"])


def test_names_of_functions_are_checked_only_if_given(contexts):
    step(contexts).set_functions(["anything"])
    contexts.validate()
    with pytest.raises(ValueError, match="the unknown function 'anything'"):
        contexts.validate(())


@pytest.mark.parametrize("name", ["next_step", "change_context", "gather_submit"])
def test_names_of_navigation_functions_are_reserved(contexts, name):
    with pytest.raises(ValueError, match=f"reserves the function names {name}; rename"):
        contexts.validate(["lookup", name])
