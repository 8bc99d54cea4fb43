import pytest

from swaig_wsgi.swml import Prompt
from swaig_wsgi.swml._sections import declared_sections, make_section, make_subsection, markdown


def declared(value):
    prompt = Prompt("default")
    prompt.add_declared(value)
    return prompt.render()


def test_a_section_is_a_copy():
    bullets = ["one"]
    made = make_section("Rules", "Body.", bullets)
    bullets.append("two")
    assert made == {"title": "Rules", "body": "Body.", "bullets": ["one"]}


@pytest.mark.parametrize("nothing", [None, [], (), "", iter(())])
def test_empty_bullets_are_omitted(nothing):
    assert make_section("Rules", None, nothing) == {"title": "Rules"}


@pytest.mark.parametrize("bullets", ["one", 5, {"one": 1}, True])
def test_bullets_are_a_list(bullets):
    with pytest.raises(ValueError, match="^the bullets of section 'Rules' must be a list"):
        make_section("Rules", None, bullets)


def test_a_subsection_is_a_dictionary():
    assert make_subsection({"title": "Inner", "body": "Body."}, "Rules") == {
        "title": "Inner",
        "body": "Body.",
    }
    with pytest.raises(ValueError, match="^a subsection of section 'Rules' must be a dictionary"):
        make_subsection("Inner", "Rules")


def test_markdown():
    sections = [
        {"title": "Task", "body": "Find it.\n"},
        {"title": "Rules", "bullets": ["one", "two"]},
        {"title": "End", "body": "Bye. \n"},
    ]
    assert markdown(sections) == "## Task\nFind it.\n\n\n## Rules\n- one\n- two\n\n## End\nBye."
    assert markdown([]) == ""


def test_nothing_declared():
    assert declared_sections(None) == declared_sections({}) == declared_sections([]) == []
    assert declared(None) == {"text": "default"}


def test_sections_by_title():
    assert declared(
        {
            "Role": "You are Ann.",
            "Rules": ["one", "two"],
            "Law": ("three",),
            "Bare": "",
            "All": {
                "body": "Body.",
                "bullets": ["x"],
                "numbered": True,
                "numberedBullets": True,
                "subsections": [{"title": "Inner", "body": "y"}, {"title": "Empty"}],
            },
            "Only a title": {"subsections": []},
        }
    ) == {
        "pom": [
            {"title": "Role", "body": "You are Ann."},
            {"title": "Rules", "bullets": ["one", "two"]},
            {"title": "Law", "bullets": ["three"]},
            {"title": "Bare"},
            {
                "title": "All",
                "body": "Body.",
                "bullets": ["x"],
                "numbered": True,
                "numberedBullets": True,
                "subsections": [{"title": "Inner", "body": "y"}],
            },
            {"title": "Only a title"},
        ]
    }


def test_empty_declarations_make_no_section():
    assert declared({"List": [], "Dictionary": {}, "Both": {"body": "", "bullets": []}}) == {
        "text": "default"
    }
    assert declared([{"title": "Nothing"}]) == {"text": "default"}


def test_sections_in_a_list():
    value = ({"title": "Role", "body": "You are Ann."}, {"title": "Rules", "bullets": ["one"]})
    expected = {
        "pom": [
            {"title": "Role", "body": "You are Ann."},
            {"title": "Rules", "bullets": ["one"]},
        ]
    }
    assert declared(value) == declared(list(value)) == expected


def test_additions_do_not_change_the_declaration():
    value = {"Rules": ["one"], "More": {"subsections": [{"title": "Inner", "bullets": ["x"]}]}}
    prompt = Prompt("default")
    prompt.add_declared(value)
    prompt.add_to_section("Rules", bullet="two")
    prompt.add_subsection("More", "Second")
    assert value == {
        "Rules": ["one"],
        "More": {"subsections": [{"title": "Inner", "bullets": ["x"]}]},
    }


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("Role", "it must be a dictionary or a list, not 'Role'"),
        (5, "it must be a dictionary or a list"),
        ({"Role": None}, "section 'Role' must be a string, a list or a dictionary, not None"),
        ({"Role": 5}, "section 'Role' must be a string, a list or a dictionary"),
        ({"": "Body."}, "the title of a prompt section"),
        ({5: "Body."}, "the title of a prompt section"),
        ({"Role": ["one", 2]}, "each of the bullets of section 'Role'"),
        ({"Role": {"body": 5}}, "the body of section 'Role'"),
        ({"Role": {"bullets": "one"}}, "the bullets of section 'Role' must be a list"),
        ({"Role": {"bullet": ["one"]}}, "section 'Role' has an unknown member 'bullet'"),
        ({"Role": {"subsections": {"Inner": "x"}}}, "the subsections of 'Role' must be a list"),
        ({"Role": {"subsections": ["Inner"]}}, "a subsection of section 'Role' must be"),
        ({"Role": {"subsections": [{"body": "x"}]}}, "the title of a prompt section"),
        ({"Role": {"subsections": [{"title": "x", "text": "y"}]}}, "an unknown member 'text'"),
        (["Role"], "each section of a list must be a dictionary with a title"),
        ([{"body": "x"}], "each section of a list must be a dictionary with a title"),
        ([{"title": None, "body": "x"}], "the title of a prompt section"),
    ],
)
def test_invalid_declarations_name_the_attribute(value, complaint):
    with pytest.raises(ValueError, match=f"^PROMPT_SECTIONS: .*{complaint}"):
        declared(value)
