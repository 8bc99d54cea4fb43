"""Validation of arguments: a wrong type raises TypeError, a wrong value ValueError.

Each function returns the value, so that an assignment can validate it. `name` is the name of the
argument in the error message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


class ArgumentTypeError(TypeError, ValueError):
    """An argument has the wrong type.

    Also a :exc:`ValueError`, so that one ``except ValueError`` covers every invalid argument.
    """


def check_bool(name: str, value: Any) -> bool:
    """Return `value` if it is True or False; the string ``"false"`` is neither."""
    if not isinstance(value, bool):
        raise ArgumentTypeError(f"{name} must be True or False, not {shorten(value)}")
    return value


def check_int(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return `value` if it is an integer from `low` to `high`; True and False are not integers."""
    if type(value) is int and low <= value and (high is None or value <= high):
        return value
    expected = f"{low} or more" if high is None else f"from {low} to {high}"
    if not isinstance(value, int) or isinstance(value, bool):
        raise ArgumentTypeError(f"{name} must be an integer {expected}, not {shorten(value)}")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name} must be an integer {expected}, not {shorten(value)}")
    return value


def check_number(name: str, value: Any, low: float, high: float) -> float:
    """Return `value` if it is a number from `low` to `high`; NaN, True and False are not."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ArgumentTypeError(f"{name} must be a number, not {shorten(value)}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low} to {high}, not {shorten(value)}")
    return value


def check_str(name: str, value: Any) -> str:
    """Return `value` if it is a non-empty string."""
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{name} must be a non-empty string, not {shorten(value)}")
    if not value:
        raise ValueError(f"{name} must not be empty")
    return value


def check_match(name: str, value: Any, pattern: re.Pattern[str], expected: str) -> str:
    """Return `value` if it is a string that `pattern`, described by `expected`, matches in full."""
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{name} must be {expected}, not {shorten(value)}")
    if pattern.fullmatch(value) is None:
        raise ValueError(f"{name} must be {expected}, not {shorten(value)}")
    return value


def check_items(name: str, value: Any, example: str) -> tuple[Any, ...]:
    """Return the items of `value`; a lone string, easily passed by mistake, is rejected.

    The message does not contain the value, which may be a URL with a password.
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        expected = f"a sequence of strings, such as {example}"
        raise ArgumentTypeError(f"{name} must be {expected}, not {type(value).__name__}")
    return tuple(value)


def shorten(value: Any) -> str:
    """Return the representation of `value`, at most 100 characters of it, for an error message."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits.
        return "an integer of thousands of digits"
    return text if len(text) <= 100 else f"{text[:100]}..."
