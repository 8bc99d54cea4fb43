from types import MappingProxyType

import pytest
from hypothesis import given as generated
from hypothesis import strategies as st

from swaig_wsgi.swaig._values import flag, given, json_copy, json_object, text, texts

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@generated(json_values)
def test_a_copy_equals_what_was_copied(value):
    assert json_copy(value, "it") == value


def test_a_copy_does_not_follow_the_original():
    original = {"list": [1], "object": {"a": 1}}
    copied = json_copy(original, "it")
    original["list"].append(2)
    original["object"]["a"] = 2
    assert copied == {"list": [1], "object": {"a": 1}}


def test_what_only_python_distinguishes_becomes_what_json_carries():
    assert json_copy({"pair": (1, 2), 3: None}, "it") == {"pair": [1, 2], "3": None}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes", object(), {(): 1}])
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises(ValueError, match=r"^the data cannot be sent as JSON: "):
        json_copy([value], "the data")


def test_a_circle_and_endless_depth_are_refused():
    circle = []
    circle.append(circle)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for value in (circle, deep):
        with pytest.raises(ValueError, match=r"^the data cannot be sent as JSON"):
            json_copy(value, "the data")


def test_an_object_is_copied_from_any_mapping():
    assert json_object({"a": [1]}, "it") == {"a": [1]}
    assert json_object(MappingProxyType({"a": 1}), "it") == {"a": 1}


@pytest.mark.parametrize("value", [None, [], "text", ["ab"], 5])
def test_what_is_no_mapping_is_no_object(value):
    with pytest.raises(ValueError, match=r"^the data must be a dictionary, not "):
        json_object(value, "the data")


def test_text_has_something_in_it():
    assert text("x", "a name") == "x"


@pytest.mark.parametrize("value", ["", None, 5, b"x", ["x"]])
def test_other_than_text_is_refused(value):
    with pytest.raises(ValueError, match=r"^a name must be a non-empty string, not "):
        text(value, "a name")


def test_given_keeps_what_says_something():
    assert given(a=None, b="", c=[], d={}, e=0, f=False, g="x", h=0.0, i=[""]) == {
        "e": 0,
        "f": False,
        "g": "x",
        "h": 0.0,
        "i": [""],
    }


def test_flags():
    assert flag(True, "final") is True
    assert flag(False, "final") is False
    for value in ("false", "true", 0, 1, None, "${a}"):
        with pytest.raises(ValueError, match=r"^final must be True or False, not "):
            flag(value, "final")


def test_texts_are_a_list_of_their_own():
    original = ["a", "b"]
    listed = texts(original, "tags")
    original.append("c")
    assert listed == texts(("a", "b"), "tags") == texts(iter("ab"), "tags") == ["a", "b"]
    assert texts([], "tags") == []


@pytest.mark.parametrize("value", ["ab", b"ab", None, 5, {"a": 1}])
def test_one_text_is_no_list(value):
    with pytest.raises(ValueError, match=r"^tags must be a list of strings, not "):
        texts(value, "tags")


@pytest.mark.parametrize("value", [["a", ""], [None], [5], [["a"]]])
def test_each_text_has_something_in_it(value):
    with pytest.raises(ValueError, match=r"^each of tags must be a non-empty string"):
        texts(value, "tags")
