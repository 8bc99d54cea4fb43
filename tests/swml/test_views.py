"""Contexts and steps are views: those of a copy and of its original are independent."""

import copy
import json

import pytest

from swaig_wsgi.swml import Context, ContextBuilder, Prompt, Step


def contexts():
    made = ContextBuilder()
    default = made.add_context("default").add_section("Title", "Body.")
    default.add_system_section("Title", "Body.").add_enter_filler("en", ["Hi."])
    default.add_exit_filler("en", ["Bye."])
    default.add_step("sections", task="Task.").set_reset_user_prompt("Text.")
    default.add_step("text").set_text("Text.").set_gather_info().add_gather_question("k", "?")
    other = made.add_context("other").set_prompt("Text.").set_system_prompt("Text.")
    other.add_step("only").set_text("Text.")
    return made


BUILDER_CHANGES = [
    ("reset", ()),
    ("add_context", ("new",)),
]

CONTEXT_CHANGES = [
    ("default", "add_step", ("new",)),
    ("default", "remove_step", ("text",)),
    ("default", "move_step", ("text", 0)),
    ("default", "set_valid_contexts", (["other"],)),
    ("default", "set_valid_steps", (["next"],)),
    ("default", "set_initial_step", ("text",)),
    ("default", "add_section", ("More", "Body.")),
    ("default", "add_bullets", ("More", ["one"])),
    ("default", "add_system_section", ("More", "Body.")),
    ("default", "add_system_bullets", ("More", ["one"])),
    ("other", "set_prompt", ("Other.",)),
    ("other", "set_system_prompt", ("Other.",)),
    ("default", "set_post_prompt", ("Text.",)),
    ("default", "set_user_prompt", ("Text.",)),
    ("default", "set_consolidate", (True,)),
    ("default", "set_full_reset", (True,)),
    ("default", "set_isolated", (True,)),
    ("default", "set_history", ("hide",)),
    ("default", "set_enter_fillers", ({"de": ["Hallo."]},)),
    ("default", "set_exit_fillers", ({"de": ["Ade."]},)),
    ("default", "add_enter_filler", ("de", ["Hallo."])),
    ("default", "add_exit_filler", ("en", ["Ciao."])),
]

STEP_CHANGES = [
    ("text", "set_text", ("Other.",)),
    ("sections", "add_section", ("More", "Body.")),
    ("sections", "add_bullets", ("More", ["one"])),
    ("sections", "clear_sections", ()),
    ("text", "set_step_criteria", ("Done.",)),
    ("text", "set_functions", ("none",)),
    ("text", "set_valid_steps", (["next"],)),
    ("text", "set_valid_contexts", (["other"],)),
    ("text", "set_end", (True,)),
    ("text", "set_skip_user_turn", (True,)),
    ("text", "set_skip_to_next_step", (True,)),
    ("text", "set_history", ("hide",)),
    ("sections", "set_reset_system_prompt", ("Text.",)),
    ("sections", "set_reset_user_prompt", ("Other.",)),
    ("sections", "set_reset_consolidate", (True,)),
    ("sections", "set_reset_full_reset", (True,)),
    ("text", "set_gather_info", ("key",)),
    ("text", "add_gather_question", ("more", "?")),
]

CHANGES = [
    *((lambda builder: builder, *change) for change in BUILDER_CHANGES),
    *(
        (lambda builder, name=name: builder.get_context(name), *change)
        for name, *change in CONTEXT_CHANGES
    ),
    *(
        (lambda builder, name=name: builder.get_context("default").get_step(name), *change)
        for name, *change in STEP_CHANGES
    ),
]

READERS = {
    ContextBuilder: {"get_context", "render", "to_dict", "validate"},
    Context: {"get_step", "to_dict"},
    Step: {"to_dict"},
}


@pytest.mark.parametrize(
    ("kind", "tried"),
    [
        (ContextBuilder, {method for method, _ in BUILDER_CHANGES}),
        (Context, {method for _, method, _ in CONTEXT_CHANGES}),
        (Step, {method for _, method, _ in STEP_CHANGES}),
    ],
)
def test_every_method_that_changes_state_is_tested(kind, tried):
    assert {name for name in dir(kind) if not name.startswith("_")} - READERS[kind] == tried


@pytest.mark.parametrize("held", [True, False], ids=["found before", "found after"])
@pytest.mark.parametrize("change_the_copy", [True, False], ids=["copy", "original"])
@pytest.mark.parametrize(
    ("find", "method", "arguments"),
    CHANGES,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_copy_and_its_original_are_independent(find, method, arguments, change_the_copy, held):
    original = contexts()
    document = original.render()
    before = json.dumps(document)
    # Views belong to the object that returned them.
    target = find(original)
    copied = copy.copy(original)
    changed, other = (copied, original) if change_the_copy else (original, copied)
    if change_the_copy or not held:
        target = find(changed)

    getattr(target, method)(*arguments)

    assert json.dumps(other.render()) == before
    assert json.dumps(document) == before
    assert _state(changed) != before


def _state(builder):
    try:
        return json.dumps(builder.render())
    except ValueError as error:
        return str(error)


def test_a_copied_prompt_has_its_own_contexts():
    original = Prompt("default")
    builder = original.define_contexts()
    step = builder.add_context("default").add_step("a").set_text("A.")
    copied = copy.copy(original)
    assert copied.define_contexts() is not builder
    assert original.define_contexts() is builder
    step.set_text("Original.")
    copied.define_contexts().get_context("default").get_step("a").set_text("Copy.")
    copied.set_text("Other.")
    assert original.render() == {
        "text": "default",
        "contexts": {"default": {"steps": [{"name": "a", "text": "Original."}]}},
    }
    assert copied.render() == {
        "text": "Other.",
        "contexts": {"default": {"steps": [{"name": "a", "text": "Copy."}]}},
    }
    copied.reset_contexts()
    assert copied.render() == {"text": "Other."}
    assert "contexts" in original.render()


def test_a_copy_of_a_subclass_has_its_class():
    class Special(Prompt):
        pass

    special = Special("default")
    special.mark = "x"
    copied = copy.copy(special)
    assert (type(copied), copied.mark) == (Special, "x")
