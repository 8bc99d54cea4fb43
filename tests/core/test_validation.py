import enum
import re

import pytest

from swaig_wsgi.core._validation import (
    ArgumentTypeError,
    check_bool,
    check_int,
    check_items,
    check_match,
    check_number,
    check_str,
    shorten,
)


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (lambda value: check_int("x", value, 1, 5), [1, 5]),
        (lambda value: check_int("x", value, 1), [1, 10**30]),
        (lambda value: check_number("x", value, 0, 1.5), [0, 0.0, 1.5]),
        (lambda value: check_bool("x", value), [True, False]),
        (lambda value: check_str("x", value), ["a", " "]),
        (lambda value: check_match("x", value, re.compile("a*"), "as"), ["", "aa"]),
        (lambda value: check_items("x", value, "('a',)"), [(), ("a", 1)]),
    ],
)
def test_valid_values_are_returned(check, good):
    assert [check(value) for value in good] == good


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (lambda value: check_int("x", value, 1, 5), True, "x must be an integer from 1 to 5"),
        (lambda value: check_int("x", value, 1, 5), 2.0, "x must be an integer from 1 to 5"),
        (lambda value: check_int("x", value, 1), "3", "x must be an integer 1 or more, not '3'"),
        (lambda value: check_number("x", value, 0, 1), True, "x must be a number"),
        (lambda value: check_number("x", value, 0, 1), "1", "x must be a number"),
        (lambda value: check_bool("x", value), "false", "x must be True or False, not 'false'"),
        (lambda value: check_bool("x", value), 1, "x must be True or False, not 1"),
        (lambda value: check_str("x", value), None, "x must be a non-empty string, not None"),
        (lambda value: check_str("x", value), b"a", "x must be a non-empty string"),
        (lambda value: check_match("x", value, re.compile("a*"), "as"), b"a", "x must be as, not"),
        (lambda value: check_items("x", value, "('a',)"), "a", "such as .'a',., not str$"),
        (lambda value: check_items("x", value, "('a',)"), b"a", "sequence of strings.*not bytes"),
        (lambda value: check_items("x", value, "('a',)"), 1, "sequence of strings.*not int"),
    ],
)
@pytest.mark.parametrize("expected", [TypeError, ValueError, ArgumentTypeError])
def test_a_wrong_type_is_both_kinds_of_error(check, value, message, expected):
    with pytest.raises(expected, match=message):
        check(value)


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (lambda value: check_int("x", value, 1, 5), 0),
        (lambda value: check_int("x", value, 1, 5), 6),
        (lambda value: check_int("x", value, 1), 0),
        (lambda value: check_number("x", value, 0, 1), 1.1),
        (lambda value: check_number("x", value, 0, 1), float("nan")),
        (lambda value: check_str("x", value), ""),
        (lambda value: check_match("x", value, re.compile("a*"), "as"), "a\n"),
    ],
)
def test_a_wrong_value_is_not_a_type_error(check, value):
    with pytest.raises(ValueError, match=r"^x must") as caught:
        check(value)
    assert not isinstance(caught.value, TypeError)


def test_items_are_taken_from_any_iterable():
    assert check_items("x", iter(["a", "b"]), "('a',)") == ("a", "b")


def test_the_value_of_a_lone_string_is_not_shown():
    with pytest.raises(TypeError) as caught:
        check_items("x", "https://user:hunter2@host", "('a',)")
    assert "hunter2" not in str(caught.value)


def test_long_values_are_shortened():
    assert shorten("a" * 98) == repr("a" * 98)
    assert shorten("a" * 99) == "'" + "a" * 99 + "..."
    assert shorten("a" * 200) == "'" + "a" * 99 + "..."
    assert shorten(10**10000) == "an integer of thousands of digits"


def test_a_subclass_of_int_is_an_integer():
    class Ports(enum.IntEnum):
        HTTP = 80

    assert check_int("port", Ports.HTTP, 1, 100) is Ports.HTTP
    for low, high in ((80, 80), (80, None), (1, 81)):
        assert check_int("port", Ports.HTTP, low, high) is Ports.HTTP
    with pytest.raises(ValueError, match="from 1 to 79"):
        check_int("port", Ports.HTTP, 1, 79)
    with pytest.raises(ValueError, match="81 or more"):
        check_int("port", Ports.HTTP, 81)
