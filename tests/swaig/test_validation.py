import math
from types import MappingProxyType

import pytest
from hypothesis import given as generated
from hypothesis import strategies as st

from swaig_wsgi.swaig._validation import (
    bool_or_variable,
    check_address,
    check_choice,
    check_choices,
    check_decimal,
    check_dtmf,
    check_line,
    check_members,
    check_phone_number,
    check_strings,
    check_text,
    check_url,
    drop_empty,
    int_or_variable,
    is_variable,
    json_copy,
    json_object,
    json_objects,
    number_or_variable,
    optional,
    optional_number,
)

BREAKS = ["\r\n", "\n", "\r", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u2029"]


@pytest.mark.parametrize("value", ["${a}", "%{a.b}", "${a b[0]}"])
def test_variables(value):
    assert is_variable(value)


@pytest.mark.parametrize(
    "value",
    ["$a", "a${b}", "${a} ", "${a", "${}", "${a}${b}", "${${a}}", "%{a}\n", "", None, 5, ["${a}"]],
)
def test_invalid_variables(value):
    assert not is_variable(value)


@pytest.mark.parametrize(
    "attack", ["${a} and sip:evil }", "${a\n}", "${a\u2028}", "${\ud800}", "${a{b}"]
)
@pytest.mark.parametrize(
    "check", [check_dtmf, check_decimal, int_or_variable, number_or_variable, bool_or_variable]
)
def test_words_between_braces_are_not_a_variable(check, attack):
    assert not is_variable(attack)
    with pytest.raises(ValueError, match="^where must be"):
        check("where", attack)


@pytest.mark.parametrize("value", [None, 5, b"a", ["a"]])
def test_text_must_be_a_string(value):
    assert check_text("text", "") == ""
    assert check_text("text", "a\nb") == "a\nb"
    with pytest.raises(ValueError, match=r"^text must be a string, not "):
        check_text("text", value)


@pytest.mark.parametrize("check", [check_line, check_address, check_phone_number, check_url])
@pytest.mark.parametrize("broken", BREAKS)
def test_lines_have_no_control_characters(check, broken):
    for attack in (f"+15551234567{broken}X-Evil: 1", f"{broken}a", f"https://a.example/{broken}"):
        with pytest.raises(ValueError, match=r"^where must be one line without control"):
            check("where", attack)
        with pytest.raises(ValueError, match=r"^where must be one line without control"):
            check("where", f"${{a}}{attack}")


@pytest.mark.parametrize("check", [check_line, check_address, check_phone_number, check_url])
@pytest.mark.parametrize("value", [None, "", " ", 15551234567, b"a", ["a"]])
def test_a_line_is_not_blank(check, value):
    with pytest.raises(ValueError, match=r"^where must be a non-empty string$"):
        check("where", value)


@generated(st.text())
def test_a_line_never_has_a_line_break(value):
    try:
        assert check_line("where", value) == value
    except ValueError:
        return
    assert len(value.splitlines()) == 1


@pytest.mark.parametrize("check", [check_line, check_url, check_dtmf, check_decimal])
def test_optional_arguments_may_be_empty(check):
    assert optional(check, "where", None) is None
    assert optional(check, "where", "") is None
    for value in (" ", 0, False, [], ["a"]):
        with pytest.raises(ValueError, match="where"):
            optional(check, "where", value)
    assert optional(check_url, "where", "https://a.example") == "https://a.example"


def test_an_address_has_no_white_space():
    for value in ("sip:a@b.example;transport=tcp", "+1555", "${to}", "sip:%{user name}@b.example"):
        assert check_address("where", value) == value
    with pytest.raises(ValueError, match="must not contain white space"):
        check_address("where", "sip:a@b.example evil")


@pytest.mark.parametrize("attack", ["sip:a b ${x}", "${x} sip:evil", "${x}\u00a0", "${x", "$ {x}"])
def test_a_variable_does_not_allow_white_space_around_it(attack):
    with pytest.raises(ValueError, match="^where must not contain white space$"):
        check_address("where", f"{attack} y")


@pytest.mark.parametrize(
    "value", ["+15551234567", "5551234", "+1 (555) 123-4567", "${call.from}", "+${a}", "+1%{a}"]
)
def test_phone_numbers(value):
    assert check_phone_number("to_number", value) == value


@pytest.mark.parametrize("value", ["a", "+", "911;1", "+1555x", "sip:a@b.example", "+" + "1" * 33])
def test_invalid_phone_numbers(value):
    with pytest.raises(ValueError, match=r"^to_number must be a phone number such as"):
        check_phone_number("to_number", value)


@pytest.mark.parametrize(
    "attack",
    ["sip:evil@evil.example ${a}", "+1900;evil %{x}", "${a}x", "x${a}", "${a}${", "+" * 2 + "${a}"],
)
def test_a_variable_allows_only_digits_around_it(attack):
    with pytest.raises(ValueError, match=r"^to_number must be a phone number such as"):
        check_phone_number("to_number", attack)


@pytest.mark.parametrize(
    "value",
    [
        "http://a.example",
        "HTTPS://u:p@a.example:1/b?c#d",
        "https://[::1]/",
        "%{url}",
        "${base}/a",
        "${base}a/b:c?d:e",
        "${base}:8080/a",
        "${base}.example:8080/a",
        "${scheme}://a.example/",
        "${base}${path}?q=${what is asked}",
        "https://${user}:${password}@${host}:${port}/${path of it}",
    ],
)
def test_urls(value):
    assert check_url("where", value) == value


@pytest.mark.parametrize(
    "value",
    [
        "a.example",
        "/path",
        "//a.example",
        "ftp://a.example",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:a.example",
        "https://[::1",
        "https://a.example:99999",
        "https://a.example:0",
        "https://a.example:b",
        "https:///${a}",
        "${x}file:///etc/passwd",
        "${a}javascript:alert(1)",
        "${a}java%{b}script:alert(1)",
        "j${a}:alert(1)",
        "a.example/${a}",
        "evil:${a}",
        "rtp://192.0.2.1:1",
    ],
)
def test_invalid_urls(value):
    with pytest.raises(ValueError, match=r"^where must be an absolute URL with the scheme http"):
        check_url("where", value)


@pytest.mark.parametrize(
    "value",
    ["https://a.example/a b", "${a}javascript:alert(1) x", "${a}/ b", "https://a.example/${a} b"],
)
def test_a_url_has_white_space_only_in_the_names_of_variables(value):
    with pytest.raises(ValueError, match=r"^where must not contain white space$"):
        check_url("where", value)


def test_urls_of_other_schemes():
    assert check_url("uri", "ws://a.example", ("rtp", "ws")) == "ws://a.example"
    with pytest.raises(ValueError, match=r"^uri must be an absolute URL with the scheme rtp or ws"):
        check_url("uri", "https://a.example", ("rtp", "ws"))


@pytest.mark.parametrize(
    "attack", ["ftp://user:hunter2@a.example", "https://u:hunter2@a.example/\n"]
)
def test_an_invalid_url_is_never_in_the_message(attack):
    with pytest.raises(ValueError, match="where") as caught:
        check_url("where", attack)
    assert "hunter2" not in str(caught.value)


def test_dtmf():
    for value in ("0123456789ABCDabcd*#", "${keys}"):
        assert check_dtmf("terminators", value) == value
    for value in ("e", "1 2", "#\n", "1,2", 5, "", None):
        with pytest.raises(ValueError, match=r"^terminators must be "):
            check_dtmf("terminators", value)


def test_decimal():
    for value in ("0", "29.99", "1000000", "${amount}"):
        assert check_decimal("charge_amount", value) == value
    for value in (29.99, 5, "-1", "1e3", "$5", "1,000", "5.", ".5", "NaN", "5\n", "٣", "", None):
        with pytest.raises(ValueError, match=r"^charge_amount must be a decimal string"):
            check_decimal("charge_amount", value)


def test_flags_of_verbs():
    for value, sent in [(True, True), (" True ", True), ("FALSE", False), (" ${a} ", "${a}")]:
        assert bool_or_variable("beep", value) == sent
    for value in ("yes", "", 0, 1, None):
        with pytest.raises(ValueError, match=r"^beep must be True or False, not "):
            bool_or_variable("beep", value)


def test_integers():
    for value, sent in [(5, 5), (5.0, 5), (" 5 ", 5), ("-1", -1), ("${a}", "${a}"), (0, 0)]:
        found = int_or_variable("timeout", value, -1)
        assert (found, type(found)) == (sent, type(sent))
    for value in (True, None, 1.5, math.nan, math.inf, "1.5", "", "--1", "²", "9" * 5000, [1]):
        with pytest.raises(
            ValueError, match=r"^timeout must be an integer from 0 to 2147483647, not "
        ):
            int_or_variable("timeout", value)


def test_integers_have_a_range():
    with pytest.raises(
        ValueError, match=r"^timeout must be an integer from 0 to 2147483647, not -1$"
    ):
        int_or_variable("timeout", -1)
    with pytest.raises(ValueError, match=r"^timeout must be an integer from 2 to 3, not 4$"):
        int_or_variable("timeout", "4", 2, 3)


def test_invalid_values_are_shortened_in_the_message():
    with pytest.raises(ValueError, match="not an integer of thousands of digits$"):
        int_or_variable("timeout", 10**5000)
    with pytest.raises(ValueError, match=r"^x must be one of a, not 'b{99}\.\.\.$"):
        check_choice("x", "b" * 10_000, ("a",))


@pytest.mark.parametrize("check", [check_text, check_line, check_url])
def test_text_has_no_lone_surrogates(check):
    with pytest.raises(ValueError, match="^where must be text that UTF-8 can encode"):
        check("where", "https://a.example/\ud800")


def test_numbers():
    for value in (0, 0.5, 100, "${a}"):
        assert number_or_variable("x", value, 0, 100) == value
        assert optional_number("x", value) == value
    assert optional_number("x", None) is None
    for value in (True, None, "1", [1]):
        with pytest.raises(ValueError, match=r"^x must be a number, not "):
            number_or_variable("x", value)
    for value in (-1, math.nan, math.inf, -math.inf, 10**400, 2**31):
        with pytest.raises(ValueError, match=r"^x must be a number from 0 to 2147483647, not "):
            number_or_variable("x", value)
    with pytest.raises(ValueError, match=r"^x must be a number from 0 to 100, not 100.5$"):
        number_or_variable("x", 100.5, 0, 100)


def test_choices():
    assert check_choice("x", "a", ("a", "b")) == "a"
    assert check_choices("x", "a b a", ("a", "b")) == "a b a"
    for value in ("c", "", "A", None, ["a"]):
        with pytest.raises(ValueError, match=r"^x must be one of a, b, not "):
            check_choice("x", value, ("a", "b"))
    for value in ("a c", "", "a  b", "a\nb"):
        with pytest.raises(ValueError, match=r"^each word of x must be one of a, b, not "):
            check_choices("x", value, ("a", "b"))
    with pytest.raises(ValueError, match=r"^x must be a string"):
        check_choices("x", ["a"], ("a", "b"))


def test_lists_of_objects():
    given = [{"a": [1]}]
    copied = json_objects("prompts", given)
    given[0]["a"].append(2)
    assert copied == [{"a": [1]}]
    for value in ("ab", None, {"a": 1}):
        with pytest.raises(ValueError, match=r"^prompts must be a list of dictionaries, not "):
            json_objects("prompts", value)
    with pytest.raises(ValueError, match=r"^each of prompts must be a dictionary"):
        json_objects("prompts", [{}, "a"])


def test_members_are_required():
    check_members("x", {"a": None, "b": 1, "c": 2}, ("a", "b"))
    with pytest.raises(ValueError, match=r"^x must have 'b'$"):
        check_members("x", {"a": 1}, ("a", "b"))


# JSON

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
    assert json_copy("it", value) == value


def test_a_copy_is_independent():
    original = {"list": [1], "object": {"a": 1}}
    copied = json_copy("it", original)
    original["list"].append(2)
    original["object"]["a"] = 2
    assert copied == {"list": [1], "object": {"a": 1}}


def test_python_types_become_json_types():
    assert json_copy("it", {"pair": (1, 2), 3: None}) == {"pair": [1, 2], "3": None}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes", object(), {(): 1}])
def test_values_must_be_json_serializable(value):
    with pytest.raises(ValueError, match=r"^the data must be JSON-serializable: "):
        json_copy("the data", [value])


def test_circular_and_too_deep_values_are_rejected():
    circle = []
    circle.append(circle)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for value in (circle, deep):
        with pytest.raises(ValueError, match=r"^the data must be JSON-serializable"):
            json_copy("the data", value)


def test_an_object_is_copied_from_any_mapping():
    assert json_object("it", {"a": [1]}) == {"a": [1]}
    assert json_object("it", MappingProxyType({"a": 1})) == {"a": 1}


@pytest.mark.parametrize("value", [None, [], "text", ["ab"], 5])
def test_an_object_must_be_a_mapping(value):
    with pytest.raises(ValueError, match=r"^the data must be a dictionary, not "):
        json_object("the data", value)


def test_only_empty_members_are_dropped():
    assert drop_empty(a=None, b="", c=[], d={}, e=0, f=False, g="x", h=0.0, i=[""]) == {
        "e": 0,
        "f": False,
        "g": "x",
        "h": 0.0,
        "i": [""],
    }


def test_strings_are_copied_to_a_new_list():
    original = ["a", "b"]
    listed = check_strings("tags", original)
    original.append("c")
    assert (
        listed
        == check_strings("tags", ("a", "b"))
        == check_strings("tags", iter("ab"))
        == ["a", "b"]
    )
    assert check_strings("tags", []) == []


@pytest.mark.parametrize("value", ["ab", b"ab", None, 5, {"a": 1}])
def test_one_string_is_not_a_list(value):
    with pytest.raises(ValueError, match=r"^tags must be a list of strings, not "):
        check_strings("tags", value)


@pytest.mark.parametrize("value", [["a", ""], [None], [5], [["a"]]])
def test_each_item_is_a_non_empty_string(value):
    with pytest.raises(
        ValueError, match=r"^each of tags must (not be empty|be a non-empty string)"
    ):
        check_strings("tags", value)
