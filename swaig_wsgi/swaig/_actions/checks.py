"""Checks that the actions share: each returns its value as it is to be sent.

A tool's arguments come from a language model that a caller talks to, so what ends up in a number
to dial or a URL may be of the caller's choosing. Wherever SWML expands variables, a reference to
one (``${timeout}``, ``%{timeout}``) passes as it is; what stands round it is checked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .._values import flag, json_object, shown

Action = dict[str, Any]
Number = TypeVar("Number", int, float)

#: The greatest whole number of SWML: it has 32 bits.
GREATEST = 2**31 - 1

_VARIABLE = re.compile(r"[$%]\{[^{}\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+\}")
_OWN_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_DIGITS = re.compile(r"-?[0-9]{1,18}")
_PHONE_NUMBER = re.compile(r"\+?[0-9][0-9 ().-]{1,30}")
_DTMF = re.compile(r"[0-9A-Da-d*#]+")
_DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,6})?")


def swml(*verbs: dict[str, Any]) -> Action:
    """Return the action that runs SWML verbs."""
    return {"SWML": {"version": "1.0.0", "sections": {"main": list(verbs)}}}


def is_variable(value: Any) -> bool:
    """Tell whether `value` is one reference to an SWML variable, and nothing else.

    The schema of SWML takes any text between the first brace and the last for one, such as
    ``${a} and words of a caller}``.
    """
    return isinstance(value, str) and _VARIABLE.fullmatch(value) is not None


def string(value: Any, what: str) -> str:
    """Return any text, of any length.

    Raises:
        ValueError: `value` is no string, or has a lone surrogate.
    """
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a string, not {type(value).__name__}")
    if _SURROGATE.search(value):
        raise ValueError(f"{what} must be text that UTF-8 can hold, without lone surrogates")
    return value


def optional_string(value: Any, what: str) -> str | None:
    """Like :func:`string`; None stays None."""
    return None if value is None else string(value, what)


def line(value: Any, what: str) -> str:
    """Return text that stands on one line.

    Such text ends up in SIP and HTTP headers, where a line break starts a header of its writer's
    choosing.

    Raises:
        ValueError: `value` is no string, blank, or has control characters. The value is not in
            the message: URLs hold credentials.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} must be a non-empty string")
    if _CONTROL.search(value):
        raise ValueError(f"{what} must be one line without control characters")
    return string(value, what)


def optional_line(value: Any, what: str) -> str | None:
    """Like :func:`line`; None and the empty string are None."""
    return None if value is None or value == "" else line(value, what)


def address(value: Any, what: str) -> str:
    """Return a line without white space: a SIP URI, a resource address, a phone number.

    Raises:
        ValueError: it is anything else.
    """
    if any(char.isspace() for char in _VARIABLE.sub("", line(value, what))):
        raise ValueError(f"{what} must not hold white space")
    return str(value)


def phone_number(value: Any, what: str) -> str:
    """Return a phone number: digits after an optional plus sign, as E.164 has them.

    Raises:
        ValueError: it is anything else.
    """
    # Two digits, so that a number may be a variable alone.
    if not _PHONE_NUMBER.fullmatch(_VARIABLE.sub("00", line(value, what))):
        raise ValueError(f"{what} must be a phone number such as +15551234567")
    return str(value)


def url(value: Any, what: str, schemes: Collection[str] = ("http", "https")) -> str:
    """Return an absolute URL with one of the schemes, or one that starts with a variable.

    Raises:
        ValueError: it is anything else, such as a variable before some other scheme, which would
            count if the variable were empty.
    """
    rest = line(value, what)
    begins = _VARIABLE.match(rest)
    rest = _VARIABLE.sub("" if begins else "1", rest)
    if re.search(r"\s", rest):
        raise ValueError(f"{what} must not hold white space")
    if not (_OWN_SCHEME.match(rest) is None if begins else _is_absolute(rest, schemes)):
        raise ValueError(f"{what} must be an absolute URL with the scheme {' or '.join(schemes)}")
    return str(value)


def _is_absolute(value: str, schemes: Collection[str]) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def optional_url(value: Any, what: str) -> str | None:
    """Like :func:`url`; None and the empty string are None."""
    return None if value is None or value == "" else url(value, what)


def dtmf(value: Any, what: str) -> str | None:
    """Return keys of a phone (0 to 9, A to D, * and #); None and the empty string are None.

    Raises:
        ValueError: there is some other character.
    """
    if value is None or value == "" or is_variable(value):
        return value  # type: ignore[no-any-return]
    if not _DTMF.fullmatch(string(value, what)):
        raise ValueError(f"{what} must be keys of a phone (0-9, A-D, * and #), not {shown(value)}")
    return str(value)


def decimal(value: Any, what: str) -> str | None:
    """Return an amount as a string of digits, as in ``29.99``; None and "" are None.

    Raises:
        ValueError: it is anything else, such as a float, whose digits nobody chose.
    """
    if value is None or value == "" or is_variable(value):
        return value  # type: ignore[no-any-return]
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise ValueError(f'{what} must be a decimal string such as "29.99", not {value!r}')
    return value


def swml_flag(value: Any, what: str) -> bool | str:
    """Return true, false or a variable; the strings ``"true"`` and ``"false"`` are understood.

    Raises:
        ValueError: it is anything else.
    """
    if isinstance(value, str):
        stripped = value.strip()
        if stripped.lower() in ("true", "false"):
            return stripped.lower() == "true"
        if is_variable(stripped):
            return stripped
    return flag(value, what)


def whole(value: Any, what: str, minimum: int = 0, maximum: float = GREATEST) -> int | str:
    """Return a whole number in a range, or a variable; floats and digits are converted.

    Raises:
        ValueError: it is anything else.
    """
    converted = value
    if isinstance(value, str):
        converted = value.strip()
        if is_variable(converted):
            return str(converted)
        if _DIGITS.fullmatch(converted):
            converted = int(converted)
    elif isinstance(value, float) and value.is_integer():
        converted = int(value)
    if not isinstance(converted, int) or isinstance(converted, bool):
        raise ValueError(f"{what} must be a whole number, not {shown(value)}")
    return _in_range(converted, what, minimum, maximum)


def number(
    value: Any, what: str, minimum: float = 0, maximum: float = GREATEST
) -> int | float | str:
    """Return a number in a range, or a variable.

    Raises:
        ValueError: it is anything else.
    """
    if is_variable(value):
        return str(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise ValueError(f"{what} must be a number, not {shown(value)}")
    return _in_range(value, what, minimum, maximum)


def optional_number(value: Any, what: str) -> int | float | str | None:
    """Like :func:`number` from 0; None stays None."""
    return None if value is None else number(value, what)


def _in_range(value: Number, what: str, minimum: float, maximum: float) -> Number:
    if not minimum <= value <= maximum:
        raise ValueError(f"{what} must be from {minimum} to {maximum}, not {shown(value)}")
    return value


def choice(value: Any, what: str, options: Collection[str]) -> str:
    """Return one of the options.

    Raises:
        ValueError: it is none of them.
    """
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{what} must be one of {', '.join(options)}, not {shown(value)}")
    return value


def choices(value: Any, what: str, options: Collection[str]) -> str:
    """Return options with spaces between them.

    Raises:
        ValueError: there is a word that is none of them.
    """
    for word in string(value, what).split(" "):
        choice(word, f"each word of {what}", options)
    return str(value)


def objects(value: Any, what: str) -> list[dict[str, Any]]:
    """Return a list of JSON objects, copied.

    Raises:
        ValueError: it is anything else, such as one object.
    """
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{what} must be a list of dictionaries, not {type(value).__name__}")
    return [json_object(each, f"each of {what}") for each in value]


def members(value: Mapping[str, Any], what: str, required: Collection[str]) -> None:
    """Check that an object has members.

    Raises:
        ValueError: one is missing.
    """
    for name in required:
        if name not in value:
            raise ValueError(f"{what} must have {name!r}")
