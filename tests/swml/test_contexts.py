import pytest

from swaig_wsgi.swml._contexts import MAX_CONTEXTS, MAX_STEPS, Context, ContextBuilder


@pytest.fixture
def context():
    return ContextBuilder().add_context("default")


def test_every_method_that_changes_a_context_returns_it(context):
    context.add_step("a")
    calls = {
        "remove_step": ("none",),
        "move_step": ("a", 0),
        "set_valid_contexts": (["default"],),
        "set_valid_steps": (["a"],),
        "set_initial_step": ("a",),
        "add_section": ("Title", "Body."),
        "add_bullets": ("Title", ["one"]),
        "add_system_section": ("Title", "Body."),
        "add_system_bullets": ("Title", ["one"]),
        "set_post_prompt": ("Text.",),
        "set_user_prompt": ("Text.",),
        "set_consolidate": (True,),
        "set_full_reset": (True,),
        "set_isolated": (True,),
        "set_history": ("hide",),
        "set_enter_fillers": ({"en": ["Hi."]},),
        "set_exit_fillers": ({"en": ["Bye."]},),
        "add_enter_filler": ("de", ["Hallo."]),
        "add_exit_filler": ("de", ["Ade."]),
    }
    others = {"set_prompt", "set_system_prompt", "add_step", "get_step", "to_dict"}
    public = {name for name in dir(Context) if not name.startswith("_")}
    assert public - others == calls.keys()
    for name, arguments in calls.items():
        assert getattr(context, name)(*arguments) is context
    other = ContextBuilder().add_context("default")
    assert other.set_prompt("Text.").set_system_prompt("Text.") is other


def test_steps_are_found_by_name(context):
    step = context.add_step("a").set_text("A.")
    context.get_step("a").set_text("Other.")
    assert step.to_dict() == {"name": "a", "text": "Other."}
    assert context.get_step("b") is None


def test_contexts_are_found_by_name():
    contexts = ContextBuilder()
    contexts.add_context("default").add_step("a").set_text("A.")
    contexts.get_context("default").add_step("b").set_text("B.")
    assert [step["name"] for step in contexts.to_dict()["default"]["steps"]] == ["a", "b"]
    assert contexts.get_context("other") is None


def test_names_cannot_be_used_twice(context):
    contexts = ContextBuilder()
    contexts.add_context("default").add_step("a").set_text("A.")
    with pytest.raises(ValueError, match="^there already is a context 'default'"):
        contexts.add_context("default")
    with pytest.raises(ValueError, match="^context 'default' already has a step 'a'"):
        contexts.get_context("default").add_step("a", task="Other.")
    assert contexts.to_dict() == {"default": {"steps": [{"name": "a", "text": "A."}]}}


@pytest.mark.parametrize("name", ["", None, 5])
def test_names_are_non_empty_strings(name):
    with pytest.raises(ValueError, match="^the name of a context must"):
        ContextBuilder().add_context(name)
    with pytest.raises(ValueError, match="^the name of a step must"):
        ContextBuilder().add_context("default").add_step(name)


def test_a_step_cannot_be_named_next(context):
    with pytest.raises(ValueError, match="^a step cannot be named 'next'"):
        context.add_step("next")


def test_contexts_and_steps_are_limited(context):
    contexts = ContextBuilder()
    for number in range(MAX_CONTEXTS):
        contexts.add_context(str(number))
    with pytest.raises(ValueError, match="^there already are 50 contexts"):
        contexts.add_context("more")
    for number in range(MAX_STEPS):
        context.add_step(str(number))
    with pytest.raises(ValueError, match="^context 'default' already has 100 steps"):
        context.add_step("more")


def test_a_step_with_an_invalid_argument_is_not_added(context):
    with pytest.raises(ValueError, match="must be a list"):
        context.add_step("a", task="Task.", bullets="one")
    assert context.get_step("a") is None
    assert context.add_step("a", task="Task.").to_dict()["text"] == "## Task\nTask."


def test_removed_parts_cannot_be_changed(context):
    contexts = ContextBuilder()
    context = contexts.add_context("default")
    step = context.add_step("a")
    context.remove_step("a")
    with pytest.raises(ValueError, match="^context 'default' has no step 'a'"):
        step.set_text("A.")
    assert contexts.reset() is contexts
    for use in (
        lambda: context.add_step("b"),
        lambda: context.set_prompt("Text."),
        lambda: step.set_text("A."),
    ):
        with pytest.raises(ValueError, match="^there is no context 'default'"):
            use()
    assert not contexts


def test_only_an_existing_step_can_be_moved(context):
    context.add_step("a").set_text("A.")
    context.add_step("b").set_text("B.")
    assert context.move_step("a", 1).to_dict()["steps"][1]["name"] == "a"
    with pytest.raises(ValueError, match="^context 'default' has no step 'c'"):
        context.move_step("c", 0)


def test_text_and_sections_cannot_be_combined(context):
    contexts = ContextBuilder()
    texts = contexts.add_context("texts").set_prompt("Text.").set_system_prompt("System.")
    sections = contexts.add_context("sections").add_section("Title", "Body.")
    sections.add_system_section("Title", "Body.")
    for use, complaint in (
        (lambda: texts.add_section("T", "B"), "the prompt of context 'texts' cannot be combined"),
        (lambda: texts.add_bullets("T", ["b"]), "the prompt of context 'texts' cannot be combined"),
        (
            lambda: texts.add_system_section("T", "B"),
            "the system prompt of context 'texts' cannot be combined",
        ),
        (
            lambda: texts.add_system_bullets("T", ["b"]),
            "the system prompt of context 'texts' cannot be combined",
        ),
        (
            lambda: sections.set_prompt("Text."),
            "the prompt of context 'sections' cannot be combined",
        ),
        (
            lambda: sections.set_system_prompt("Text."),
            "the system prompt of context 'sections' cannot be combined",
        ),
    ):
        with pytest.raises(ValueError, match=f"^{complaint}"):
            use()
    for each in (texts, sections):
        each.add_step("a").set_text("A.")
    step = {"name": "a", "text": "A."}
    assert contexts.to_dict() == {
        "texts": {"prompt": "Text.", "system_prompt": "System.", "steps": [step]},
        "sections": {
            "pom": [{"title": "Title", "body": "Body."}],
            "system_prompt": "## Title\nBody.",
            "steps": [step],
        },
    }


def test_a_context_can_be_rendered_alone(context):
    with pytest.raises(ValueError, match="^context 'default' has no steps"):
        context.to_dict()
    step = context.add_step("a").set_valid_steps(["unknown"])
    with pytest.raises(ValueError, match="^step 'a' of context 'default' has neither"):
        context.to_dict()
    step.set_text("A.")
    written = context.to_dict()
    assert written == {"steps": [{"name": "a", "text": "A.", "valid_steps": ["unknown"]}]}
    written["steps"].clear()
    assert len(context.to_dict()["steps"]) == 1


def test_contexts_are_copies(context):
    given = ["a"]
    fillers = {"en": given}
    context.set_valid_contexts(given).set_valid_steps(given).add_bullets("Title", given)
    context.add_system_bullets("Title", given).set_enter_fillers(fillers).set_exit_fillers(fillers)
    context.add_enter_filler("de", given).add_exit_filler("de", given)
    context.add_step("one", task="Task.", bullets=given, functions=given, valid_steps=given)
    given.append("b")
    fillers["fr"] = ["c"]
    assert "'b'" not in repr(context.to_dict())
    assert "- b" not in repr(context.to_dict())
    assert "fr" not in repr(context.to_dict())


@pytest.mark.parametrize(
    ("method", "arguments", "complaint"),
    [
        ("set_valid_contexts", ("a",), "the valid contexts of context 'default' must be a list"),
        ("set_valid_steps", ("a",), "the valid steps of context 'default' must be a list"),
        ("set_initial_step", ("",), "the initial step must not be empty"),
        ("set_prompt", ("",), "the prompt of context 'default' must not be empty"),
        ("add_section", ("Title", ""), "section 'Title' has no body"),
        ("add_bullets", ("Title", []), "section 'Title' has no bullets"),
        ("set_system_prompt", ("",), "the system prompt of context 'default' must not be empty"),
        ("add_system_section", ("Title", ""), "section 'Title' has no body"),
        ("add_system_bullets", ("Title", []), "section 'Title' has no bullets"),
        ("set_post_prompt", ("",), "a post-prompt must not be empty"),
        ("set_user_prompt", ("",), "a user prompt must not be empty"),
        ("set_consolidate", ("yes",), "consolidate must be True or False"),
        ("set_full_reset", ("yes",), "full_reset must be True or False"),
        ("set_isolated", ("yes",), "isolated must be True or False"),
        ("set_history", ("all",), "history must be one of keep, default, hide"),
        (
            "set_enter_fillers",
            ({},),
            "enter fillers must have at least one language, and text in each",
        ),
        (
            "set_enter_fillers",
            ({"en": []},),
            "enter fillers must have at least one language, and text in each",
        ),
        ("set_enter_fillers", (["Hi."],), "enter fillers must be a dictionary"),
        ("set_exit_fillers", ({"en": "Bye."},), "the exit fillers for 'en' must be a list"),
        ("set_exit_fillers", ({"": ["Bye."]},), "the language of exit fillers must not be empty"),
        ("add_enter_filler", ("en", "Hi."), "the enter fillers for 'en' must be a list"),
        (
            "add_exit_filler",
            ("en", []),
            "exit fillers must have at least one language, and text in each",
        ),
    ],
)
def test_invalid_arguments_change_nothing(context, method, arguments, complaint):
    context.add_step("a").set_text("A.")
    with pytest.raises(ValueError, match=complaint):
        getattr(context, method)(*arguments)
    assert context.to_dict() == {"steps": [{"name": "a", "text": "A."}]}


def test_rendered_contexts_are_copies():
    contexts = ContextBuilder()
    contexts.add_context("default").add_step("a").set_text("A.").set_functions(["b"])
    contexts.to_dict()["default"]["steps"][0]["functions"].append("c")
    assert contexts.to_dict() == contexts.render()
    assert contexts.render()["default"]["steps"][0]["functions"] == ["b"]


def test_rendered_contexts_follow_each_change():
    contexts = ContextBuilder()
    step = contexts.add_context("default").add_step("a").set_text("A.").set_functions(["b"])
    first = contexts.render(iter(["b"]))
    assert contexts.render(["b"]) == first
    with pytest.raises(ValueError, match="the unknown function 'b'"):
        contexts.render(["c"])
    assert contexts.render() == first
    step.set_text("Other.")
    assert contexts.render(["b"])["default"]["steps"][0]["text"] == "Other."
    assert first["default"]["steps"][0]["text"] == "A."


def test_validate_checks_names_of_functions():
    contexts = ContextBuilder()
    with pytest.raises(ValueError, match="^there must be at least one context"):
        contexts.validate()
    contexts.add_context("default").add_step("a").set_text("A.").set_functions(["b"])
    contexts.validate()
    contexts.validate(["b"])
    with pytest.raises(ValueError, match="the unknown function 'b'"):
        contexts.validate([])
