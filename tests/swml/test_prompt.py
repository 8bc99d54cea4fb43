import pytest

from swaig_wsgi.swml import Prompt


def sections(prompt):
    return prompt.render()["pom"]


def test_the_default_is_used_until_a_prompt_is_set():
    prompt = Prompt("You are Bob.")
    assert prompt.render() == {"text": "You are Bob."}
    prompt.set_text("You are Ann.")
    assert prompt.render() == {"text": "You are Ann."}


def test_sections():
    prompt = Prompt("default")
    prompt.add_section("Role", "You are Ann.")
    prompt.add_section(
        "Rules",
        bullets=("Be short.", "Be kind."),
        numbered=True,
        subsections=[
            {"title": "Money", "body": "Ask twice."},
            {"title": "Law", "bullets": ["No."]},
        ],
    )
    assert prompt.render() == {
        "pom": [
            {"title": "Role", "body": "You are Ann."},
            {
                "title": "Rules",
                "bullets": ["Be short.", "Be kind."],
                "subsections": [
                    {"title": "Money", "body": "Ask twice."},
                    {"title": "Law", "bullets": ["No."]},
                ],
                "numbered": True,
            },
        ]
    }


def test_adding_to_a_section():
    prompt = Prompt("default")
    prompt.add_section("Rules", "First.")
    prompt.add_to_section("Rules", "Second.")
    prompt.add_to_section("Rules", bullet="one")
    prompt.add_to_section("Rules", bullet="two", bullets=["three"])
    assert sections(prompt) == [
        {"title": "Rules", "body": "First.\n\nSecond.", "bullets": ["one", "two", "three"]}
    ]


def test_adding_a_body_to_a_section_without_one():
    prompt = Prompt("default")
    prompt.add_section("Rules", bullets=["one"])
    prompt.add_to_section("Rules", "Body.")
    assert sections(prompt) == [{"title": "Rules", "bullets": ["one"], "body": "Body."}]


def test_adding_to_a_missing_section_creates_it():
    prompt = Prompt("default")
    prompt.add_to_section("Rules", "Body.", bullet="one", bullets=["two"])
    prompt.add_to_section("More", bullets=["three"])
    assert sections(prompt) == [
        {"title": "Rules", "body": "Body.", "bullets": ["one", "two"]},
        {"title": "More", "bullets": ["three"]},
    ]


def test_subsections():
    prompt = Prompt("default")
    prompt.add_section("Rules", "Body.")
    prompt.add_subsection("Rules", "Money", "Ask twice.", ["a"])
    prompt.add_subsection("Rules", "Law")
    prompt.add_subsection("New", "Inner", bullets=["b"])
    assert sections(prompt) == [
        {
            "title": "Rules",
            "body": "Body.",
            "subsections": [
                {"title": "Money", "body": "Ask twice.", "bullets": ["a"]},
                {"title": "Law"},
            ],
        },
        {"title": "New", "subsections": [{"title": "Inner", "bullets": ["b"]}]},
    ]


def test_sections_by_title():
    prompt = Prompt("default")
    prompt.add_section("Rules", subsections=[{"title": "Inner"}])
    assert prompt.has_section("Rules")
    assert not prompt.has_section("rules")
    assert not prompt.has_section("Inner")


def test_bullets_are_copies():
    bullets = ["one"]
    prompt = Prompt("default")
    prompt.add_section("Rules", bullets=bullets)
    prompt.add_to_section("Rules", bullets=bullets)
    prompt.add_to_section("Other", bullets=bullets)
    prompt.add_to_section("Other", bullet="two")
    assert bullets == ["one"]
    assert [section["bullets"] for section in sections(prompt)] == [["one", "one"], ["one", "two"]]


def test_text_and_sections_cannot_be_combined():
    prompt = Prompt("default")
    prompt.set_text("Text.")
    for add in (
        lambda: prompt.add_section("Rules"),
        lambda: prompt.add_to_section("Rules", "Body."),
        lambda: prompt.add_subsection("Rules", "Inner"),
    ):
        with pytest.raises(ValueError, match="the prompt already is a text"):
            add()
    assert prompt.render() == {"text": "Text."}

    other = Prompt("default")
    other.add_section("Rules")
    with pytest.raises(ValueError, match="the prompt already has sections"):
        other.set_text("Text.")
    assert sections(other) == [{"title": "Rules"}]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"title": ""}, "the title of a prompt section"),
        ({"title": None}, "the title of a prompt section"),
        ({"title": "R", "body": 5}, "the body of section 'R'"),
        ({"title": "R", "bullets": "one"}, "the bullets of section 'R' must be a list"),
        ({"title": "R", "bullets": ["one", 2]}, "each of the bullets of section 'R'"),
        ({"title": "R", "subsections": [{"body": "x"}]}, "the title of a prompt section"),
        ({"title": "R", "subsections": 5}, "the subsections of section 'R' must be a list"),
        ({"title": "R", "subsections": {"title": "x"}}, "the subsections of section 'R' must be"),
        ({"title": "R", "subsections": ["x"]}, "a subsection of section 'R' must be a dictionary"),
    ],
)
def test_invalid_parts_change_nothing(arguments, complaint):
    prompt = Prompt("default")
    with pytest.raises(ValueError, match=complaint):
        prompt.add_section(**arguments)
    assert prompt.render() == {"text": "default"}


@pytest.mark.parametrize(
    "arguments", [{"bullets": "one"}, {"bullet": 5}, {"body": 5}, {"bullets": [""]}]
)
def test_invalid_additions_change_nothing(arguments):
    prompt = Prompt("default")
    prompt.add_section("R", "Body.")
    with pytest.raises(ValueError, match="section 'R'"):
        prompt.add_to_section("R", **arguments)
    assert sections(prompt) == [{"title": "R", "body": "Body."}]


def test_the_text_must_be_a_non_empty_string():
    with pytest.raises(ValueError, match="the prompt must not be empty"):
        Prompt("default").set_text("")


def test_parameters_of_the_language_model():
    prompt = Prompt("default")
    prompt.set_llm_params(temperature=0.5, top_p=1)
    prompt.set_llm_params(top_p=0.9)
    assert prompt.render() == {"text": "default", "temperature": 0.5, "top_p": 0.9}
    prompt.add_section("Rules")
    assert prompt.render() == {"pom": [{"title": "Rules"}], "temperature": 0.5, "top_p": 0.9}
    with pytest.raises(ValueError, match=r"^prompt parameters must be JSON-serializable"):
        prompt.set_llm_params(temperature=float("nan"))


def test_the_post_prompt():
    prompt = Prompt("default")
    prompt.set_post_prompt_llm_params(temperature=0.1)
    assert prompt.render_post_prompt() is None
    prompt.set_post_prompt("Summarise.")
    assert prompt.render_post_prompt() == {"text": "Summarise.", "temperature": 0.1}
    assert prompt.render() == {"text": "default"}
    with pytest.raises(ValueError, match="the post-prompt must not be empty"):
        prompt.set_post_prompt("")
    with pytest.raises(ValueError, match=r"^post-prompt parameters must be JSON-serializable"):
        prompt.set_post_prompt_llm_params(temperature=object())


@pytest.mark.parametrize("value", ["false", "no", "", 0, 1, None])
@pytest.mark.parametrize("name", ["numbered", "numbered_bullets"])
def test_flags_must_be_bools(name, value):
    prompt = Prompt("default")
    with pytest.raises(ValueError, match=f"^{name} must be True or False, not "):
        prompt.add_section("R", "Body.", **{name: value})
    assert prompt.render() == {"text": "default"}


@pytest.mark.parametrize("name", ["text", "pom", "contexts"])
def test_a_parameter_of_the_language_model_never_replaces_the_prompt(name):
    prompt = Prompt("default")
    prompt.set_text("You are Ann.")
    with pytest.raises(ValueError, match=f"^prompt parameters cannot have the name '{name}'"):
        prompt.set_llm_params(temperature=0.5, **{name: "You are Eve."})
    assert prompt.render() == {"text": "You are Ann."}


@pytest.mark.parametrize("name", ["text", "pom"])
def test_a_parameter_of_the_language_model_never_replaces_the_post_prompt(name):
    prompt = Prompt("default")
    prompt.set_post_prompt("Summarise.")
    with pytest.raises(ValueError, match=f"^post-prompt parameters cannot have the name '{name}'"):
        prompt.set_post_prompt_llm_params(temperature=0.5, **{name: "Say nothing."})
    assert prompt.render_post_prompt() == {"text": "Summarise."}
