import math

import pytest
from hypothesis import given as generated
from hypothesis import strategies as st

from swaig_wsgi.swaig._actions import checks

BREAKS = ["\r\n", "\n", "\r", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u2029"]


def test_verbs_are_wrapped_in_a_document():
    assert checks.swml({"answer": {}}, {"hangup": {}}) == {
        "SWML": {"version": "1.0.0", "sections": {"main": [{"answer": {}}, {"hangup": {}}]}}
    }


@pytest.mark.parametrize("value", ["${a}", "%{a.b}", "${a b[0]}"])
def test_a_variable_is_one_reference(value):
    assert checks.is_variable(value)


@pytest.mark.parametrize(
    "value",
    ["$a", "a${b}", "${a} ", "${a", "${}", "${a}${b}", "${${a}}", "%{a}\n", "", None, 5, ["${a}"]],
)
def test_what_is_no_variable(value):
    assert not checks.is_variable(value)


@pytest.mark.parametrize(
    "attack", ["${a} and sip:evil }", "${a\n}", "${a\u2028}", "${\ud800}", "${a{b}"]
)
@pytest.mark.parametrize(
    "check", [checks.dtmf, checks.decimal, checks.whole, checks.number, checks.swml_flag]
)
def test_words_between_braces_are_no_variable(check, attack):
    assert not checks.is_variable(attack)
    with pytest.raises(ValueError, match="^where must be"):
        check(attack, "where")


@pytest.mark.parametrize("value", [None, 5, b"a", ["a"]])
def test_a_string_is_a_string(value):
    assert checks.string("", "text") == ""
    assert checks.optional_string(None, "text") is None
    assert checks.optional_string("a\nb", "text") == "a\nb"
    with pytest.raises(ValueError, match=r"^text must be a string, not "):
        checks.string(value, "text")


@pytest.mark.parametrize("check", [checks.line, checks.address, checks.phone_number, checks.url])
@pytest.mark.parametrize("broken", BREAKS)
def test_no_line_break_gets_into_a_header(check, broken):
    for attack in (f"+15551234567{broken}X-Evil: 1", f"{broken}a", f"https://a.example/{broken}"):
        with pytest.raises(ValueError, match=r"^where must be one line without control"):
            check(attack, "where")
        with pytest.raises(ValueError, match=r"^where must be one line without control"):
            check(f"${{a}}{attack}", "where")


@pytest.mark.parametrize("check", [checks.line, checks.address, checks.phone_number, checks.url])
@pytest.mark.parametrize("value", [None, "", " ", 15551234567, b"a", ["a"]])
def test_a_line_says_something(check, value):
    with pytest.raises(ValueError, match=r"^where must be a non-empty string$"):
        check(value, "where")


@generated(st.text())
def test_a_line_never_has_a_line_break(value):
    try:
        assert checks.line(value, "where") == value
    except ValueError:
        return
    assert len(value.splitlines()) == 1


@pytest.mark.parametrize("check", [checks.optional_line, checks.optional_url])
def test_what_is_optional_may_be_empty(check):
    assert check(None, "where") is None
    assert check("", "where") is None
    assert check("https://a.example", "where") == "https://a.example"
    with pytest.raises(ValueError, match="where"):
        check(" ", "where")


def test_an_address_has_no_white_space():
    for value in ("sip:a@b.example;transport=tcp", "+1555", "${to}", "sip:%{user name}@b.example"):
        assert checks.address(value, "where") == value
    with pytest.raises(ValueError, match="must not hold white space"):
        checks.address("sip:a@b.example evil", "where")


@pytest.mark.parametrize("attack", ["sip:a b ${x}", "${x} sip:evil", "${x}\u00a0", "${x", "$ {x}"])
def test_a_variable_lets_no_white_space_round_it(attack):
    with pytest.raises(ValueError, match="^where must not hold white space$"):
        checks.address(f"{attack} y", "where")


@pytest.mark.parametrize(
    "value", ["+15551234567", "5551234", "+1 (555) 123-4567", "${call.from}", "+${a}", "+1%{a}"]
)
def test_phone_numbers(value):
    assert checks.phone_number(value, "to_number") == value


@pytest.mark.parametrize("value", ["a", "+", "911;1", "+1555x", "sip:a@b.example", "+" + "1" * 33])
def test_what_is_no_phone_number(value):
    with pytest.raises(ValueError, match=r"^to_number must be a phone number such as"):
        checks.phone_number(value, "to_number")


@pytest.mark.parametrize(
    "attack",
    ["sip:evil@evil.example ${a}", "+1900;evil %{x}", "${a}x", "x${a}", "${a}${", "+" * 2 + "${a}"],
)
def test_a_variable_lets_nothing_but_a_number_round_it(attack):
    with pytest.raises(ValueError, match=r"^to_number must be a phone number such as"):
        checks.phone_number(attack, "to_number")


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
    assert checks.url(value, "where") == value


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
def test_what_is_no_http_url(value):
    with pytest.raises(ValueError, match=r"^where must be an absolute URL with the scheme http"):
        checks.url(value, "where")


@pytest.mark.parametrize(
    "value",
    ["https://a.example/a b", "${a}javascript:alert(1) x", "${a}/ b", "https://a.example/${a} b"],
)
def test_a_url_has_no_white_space_but_in_the_name_of_a_variable(value):
    with pytest.raises(ValueError, match=r"^where must not hold white space$"):
        checks.url(value, "where")


def test_urls_of_other_schemes():
    assert checks.url("ws://a.example", "uri", ("rtp", "ws")) == "ws://a.example"
    with pytest.raises(ValueError, match=r"^uri must be an absolute URL with the scheme rtp or ws"):
        checks.url("https://a.example", "uri", ("rtp", "ws"))


@pytest.mark.parametrize(
    "attack", ["ftp://user:hunter2@a.example", "https://u:hunter2@a.example/\n"]
)
def test_a_refused_url_is_never_in_the_message(attack):
    with pytest.raises(ValueError, match="where") as caught:
        checks.url(attack, "where")
    assert "hunter2" not in str(caught.value)


def test_dtmf():
    for value in (None, "", "0123456789ABCDabcd*#", "${keys}"):
        assert checks.dtmf(value, "terminators") == value
    for value in ("e", "1 2", "#\n", "1,2", 5):
        with pytest.raises(ValueError, match=r"^terminators must be "):
            checks.dtmf(value, "terminators")


def test_decimal():
    for value in (None, "", "0", "29.99", "1000000", "${amount}"):
        assert checks.decimal(value, "charge_amount") == value
    for value in (29.99, 5, "-1", "1e3", "$5", "1,000", "5.", ".5", "NaN", "5\n", "٣"):
        with pytest.raises(ValueError, match=r"^charge_amount must be a decimal string"):
            checks.decimal(value, "charge_amount")


def test_flags_of_verbs():
    for value, sent in [(True, True), (" True ", True), ("FALSE", False), (" ${a} ", "${a}")]:
        assert checks.swml_flag(value, "beep") == sent
    for value in ("yes", "", 0, 1, None):
        with pytest.raises(ValueError, match=r"^beep must be True or False, not "):
            checks.swml_flag(value, "beep")


def test_whole_numbers():
    for value, sent in [(5, 5), (5.0, 5), (" 5 ", 5), ("-1", -1), ("${a}", "${a}"), (0, 0)]:
        found = checks.whole(value, "timeout", -1)
        assert (found, type(found)) == (sent, type(sent))
    for value in (True, None, 1.5, math.nan, math.inf, "1.5", "", "--1", "²", "9" * 5000, [1]):
        with pytest.raises(ValueError, match=r"^timeout must be a whole number, not "):
            checks.whole(value, "timeout")


def test_whole_numbers_have_a_range():
    with pytest.raises(ValueError, match=r"^timeout must be from 0 to 2147483647, not -1$"):
        checks.whole(-1, "timeout")
    with pytest.raises(ValueError, match=r"^timeout must be from 2 to 3, not 4$"):
        checks.whole("4", "timeout", 2, 3)


def test_what_was_wrong_is_shown_in_few_words():
    with pytest.raises(ValueError, match="not a number of thousands of digits$"):
        checks.whole(10**5000, "timeout")
    with pytest.raises(ValueError, match=r"^x must be one of a, not 'b{99}\.\.\.$"):
        checks.choice("b" * 10_000, "x", ("a",))


@pytest.mark.parametrize("check", [checks.string, checks.line, checks.url])
def test_no_text_has_half_a_character(check):
    with pytest.raises(ValueError, match="^where must be text that UTF-8 can hold"):
        check("https://a.example/\ud800", "where")


def test_numbers():
    for value in (0, 0.5, 100, "${a}"):
        assert checks.number(value, "x", 0, 100) == value
        assert checks.optional_number(value, "x") == value
    assert checks.optional_number(None, "x") is None
    for value in (True, None, math.nan, "1", [1]):
        with pytest.raises(ValueError, match=r"^x must be a number, not "):
            checks.number(value, "x")
    for value in (-1, math.inf, -math.inf, 10**400, 2**31):
        with pytest.raises(ValueError, match=r"^x must be from 0 to 2147483647, not "):
            checks.number(value, "x")
    with pytest.raises(ValueError, match=r"^x must be from 0 to 100, not 100.5$"):
        checks.number(100.5, "x", 0, 100)


def test_choices():
    assert checks.choice("a", "x", ("a", "b")) == "a"
    assert checks.choices("a b a", "x", ("a", "b")) == "a b a"
    for value in ("c", "", "A", None, ["a"]):
        with pytest.raises(ValueError, match=r"^x must be one of a, b, not "):
            checks.choice(value, "x", ("a", "b"))
    for value in ("a c", "", "a  b", "a\nb"):
        with pytest.raises(ValueError, match=r"^each word of x must be one of a, b, not "):
            checks.choices(value, "x", ("a", "b"))
    with pytest.raises(ValueError, match=r"^x must be a string"):
        checks.choices(["a"], "x", ("a", "b"))


def test_lists_of_objects():
    given = [{"a": [1]}]
    copied = checks.objects(given, "prompts")
    given[0]["a"].append(2)
    assert copied == [{"a": [1]}]
    for value in ("ab", None, {"a": 1}):
        with pytest.raises(ValueError, match=r"^prompts must be a list of dictionaries, not "):
            checks.objects(value, "prompts")
    with pytest.raises(ValueError, match=r"^each of prompts must be a dictionary"):
        checks.objects([{}, "a"], "prompts")


def test_members_must_be_there():
    checks.members({"a": None, "b": 1, "c": 2}, "x", ("a", "b"))
    with pytest.raises(ValueError, match=r"^x must have 'b'$"):
        checks.members({"a": 1}, "x", ("a", "b"))
