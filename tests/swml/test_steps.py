import pytest

from swaig_wsgi.swml import ContextBuilder, Step


@pytest.fixture
def step():
    return ContextBuilder().add_context("default").add_step("one")


def test_every_method_that_changes_a_step_returns_it(step):
    step.set_gather_info()
    calls = {
        "set_text": ("Text.",),
        "clear_sections": (),
        "add_section": ("Title", "Body."),
        "add_bullets": ("Title", ["one"]),
        "set_step_criteria": ("Done.",),
        "set_functions": (["one"],),
        "set_valid_steps": (["next"],),
        "set_valid_contexts": (["default"],),
        "set_end": (True,),
        "set_skip_user_turn": (True,),
        "set_skip_to_next_step": (True,),
        "set_history": ("keep",),
        "set_reset_system_prompt": ("Text.",),
        "set_reset_user_prompt": ("Text.",),
        "set_reset_consolidate": (True,),
        "set_reset_full_reset": (True,),
        "add_gather_question": ("key", "Question?"),
        "set_gather_info": (),
    }
    public = {name for name in dir(Step) if not name.startswith("_")}
    assert public - {"to_dict"} == calls.keys()
    for name, arguments in calls.items():
        assert getattr(step, name)(*arguments) is step


def test_text_and_sections_cannot_be_combined(step):
    step.set_text("Text.")
    for add in (
        lambda: step.add_section("Title", "Body."),
        lambda: step.add_bullets("Title", ["one"]),
    ):
        with pytest.raises(ValueError, match="^the text of step 'one' cannot be combined"):
            add()
    assert step.to_dict() == {"name": "one", "text": "Text."}
    step.clear_sections().add_section("Title", "Body.")
    with pytest.raises(ValueError, match="^the text of step 'one' cannot be combined"):
        step.set_text("Text.")
    assert step.to_dict() == {"name": "one", "text": "## Title\nBody."}
    assert step.clear_sections().set_text("Text.").to_dict()["text"] == "Text."


def test_a_step_without_instructions_cannot_be_rendered(step):
    for nothing in (step, step.add_section("Title", "Body.").clear_sections()):
        with pytest.raises(ValueError, match="^step 'one' has neither a text nor sections"):
            nothing.to_dict()


def test_removed_settings_are_not_rendered(step):
    step.set_text("Text.").set_end(True).set_skip_user_turn(True).set_reset_consolidate(True)
    step.set_end(False).set_skip_user_turn(False).set_reset_consolidate(False)
    assert step.to_dict() == {"name": "one", "text": "Text."}


def test_set_gather_info_removes_questions(step):
    step.set_text("Text.").set_gather_info("first").add_gather_question("key", "Question?")
    step.set_gather_info("second").add_gather_question("other", "Other?")
    assert step.to_dict()["gather_info"] == {
        "questions": [{"key": "other", "question": "Other?"}],
        "output_key": "second",
    }


def test_a_step_is_a_copy(step):
    given = ["a"]
    step.add_bullets("Title", given).set_functions(given).set_valid_steps(given)
    step.set_valid_contexts(given).set_gather_info()
    step.add_gather_question("key", "Question?", functions=given)
    given.append("b")
    assert "b'" not in repr(step.to_dict())


def test_a_rendered_step_is_a_copy(step):
    written = step.set_text("Text.").set_functions(["a"]).to_dict()
    written["functions"].append("b")
    assert step.to_dict()["functions"] == ["a"]


@pytest.mark.parametrize(
    ("method", "arguments", "complaint"),
    [
        ("set_text", ("",), "the text of step 'one' must not be empty"),
        ("add_section", ("", "Body."), "the title of a prompt section"),
        ("add_section", ("Title", ""), "section 'Title' has no body"),
        ("add_section", ("Title", 5), "the body of section 'Title'"),
        ("add_bullets", ("Title", []), "section 'Title' has no bullets"),
        ("add_bullets", ("Title", iter(())), "section 'Title' has no bullets"),
        ("add_bullets", ("Title", "one"), "the bullets of section 'Title' must be a list"),
        ("set_step_criteria", ("",), "the criteria of step 'one'"),
        ("set_functions", ("lookup",), "the functions of step 'one' must be a list of strings"),
        ("set_functions", (None,), "the functions of step 'one' must be a list of strings"),
        ("set_functions", ([None],), "each of the functions of step 'one'"),
        ("set_valid_steps", ("next",), "the valid steps of step 'one' must be a list of strings"),
        (
            "set_valid_contexts",
            ("a",),
            "the valid contexts of step 'one' must be a list of strings",
        ),
        ("set_end", ("no",), "end must be True or False, not 'no'"),
        ("set_skip_user_turn", (1,), "skip must be True or False"),
        ("set_skip_to_next_step", (None,), "skip must be True or False"),
        ("set_history", ("none",), "history must be one of keep, default, hide, not 'none'"),
        ("set_history", ([],), "history must be one of"),
        ("set_reset_system_prompt", ("",), "the system prompt of a reset"),
        ("set_reset_user_prompt", ("",), "the user prompt of a reset"),
        ("set_reset_consolidate", ("yes",), "consolidate must be True or False"),
        ("set_reset_full_reset", ("yes",), "full_reset must be True or False"),
        ("set_gather_info", (5,), "output_key must be"),
        ("set_gather_info", (None, 5), "completion_action must be"),
        ("set_gather_info", (None, None, 5), "the prompt of gather_info must be"),
        ("set_gather_info", (None, None, None, 5), "isolated must be True or False"),
        ("add_gather_question", ("key", "Question?"), "step 'one' gathers no information"),
    ],
)
def test_invalid_arguments_change_nothing(step, method, arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        getattr(step, method)(*arguments)
    assert step.set_text("Text.").to_dict() == {"name": "one", "text": "Text."}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"key": ""}, "the key of a question"),
        ({"question": ""}, "a question must not be empty"),
        ({"type": "array"}, "type must be one of string, integer, number, boolean, not 'array'"),
        ({"confirm": "yes"}, "confirm must be True or False"),
        ({"prompt": 5}, "the prompt of question 'key'"),
        ({"functions": "lookup"}, "the functions of question 'key' must be a list of strings"),
        ({"isolated": "yes"}, "isolated must be True or False"),
    ],
)
def test_an_invalid_question_is_not_added(step, arguments, complaint):
    step.set_text("Text.").set_gather_info()
    before = step.to_dict()
    with pytest.raises(ValueError, match=complaint):
        step.add_gather_question(**{"key": "key", "question": "Question?", **arguments})
    assert step.to_dict() == before
