"""Validation of what applications pass: JSON values, text, and the values of SWML verbs.

Like the functions of :mod:`swaig_wsgi.core._validation`, each takes the argument's name for the
error message, returns the value as it is to be sent, and raises TypeError for a wrong type,
ValueError for a wrong value.

A tool's arguments come from a language model that a caller talks to, so the caller may choose what
ends up in a number to dial or a URL. Wherever SWML expands variables, a reference to one
(``${timeout}``, ``%{timeout}``) passes as it is; the text around it is validated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ..core._patterns import lazy_pattern
from ..core._validation import (
    ArgumentTypeError,
    check_bool,
    check_int,
    check_number,
    check_str,
    shorten,
)
from ._formats import json_default

T = TypeVar("T")

# json.dumps() would make an encoder for each value.
_encode = json.JSONEncoder(default=json_default, allow_nan=False).encode
_scan: Callable[[str, int], tuple[Any, int]] = getattr(json.JSONDecoder(), "scan_once")  # noqa: B009

#: The greatest integer in SWML, which has 32 bits.
MAX_INT = 2**31 - 1

_VARIABLE = lazy_pattern(r"[$%]\{[^{}\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+\}")
_SCHEME = lazy_pattern(r"[A-Za-z][A-Za-z0-9+.-]*:")
_CONTROL = lazy_pattern(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = lazy_pattern(r"[\ud800-\udfff]")
_DIGITS = lazy_pattern(r"-?[0-9]{1,18}")
_PHONE_NUMBER = lazy_pattern(r"\+?[0-9][0-9 ().-]{1,30}")
_DTMF = lazy_pattern(r"[0-9A-Da-d*#]+")
_DECIMAL = lazy_pattern(r"[0-9]{1,15}(?:\.[0-9]{1,6})?")


# -- JSON


def json_copy(name: str, value: Any) -> Any:
    """Return a copy of `value` as JSON carries it, independent of the original.

    Mappings, dates and the other types of :func:`as_json` are converted.
    """
    if not value and type(value) in (dict, list):
        return type(value)()
    try:
        return parse_copied(_encode(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{name} must be JSON-serializable: {error}") from None


def parse_copied(text: str) -> Any:
    """Return the value of JSON that :func:`json_copy` or ``json.dumps`` has written.

    Documents are made of many copies. This skips what ``json.loads`` does for the text of others:
    find white space around it, and guess an encoding.
    """
    value, _ = _scan(text, 0)
    return value


def json_object(name: str, value: Any) -> dict[str, Any]:
    """Like :func:`json_copy`, for a mapping."""
    if not isinstance(value, Mapping):
        raise ArgumentTypeError(f"{name} must be a dictionary, not {_type(value)}")
    return json_copy(name, dict(value))  # type: ignore[no-any-return]


def json_objects(name: str, value: Any) -> list[dict[str, Any]]:
    """Like :func:`json_object`, for a list or tuple of mappings."""
    if not isinstance(value, (list, tuple)):
        raise ArgumentTypeError(f"{name} must be a list of dictionaries, not {_type(value)}")
    return [json_object(f"each of {name}", each) for each in value]


def check_members(name: str, value: Mapping[str, Any], required: Collection[str]) -> None:
    """Raise ValueError if `value` lacks one of the `required` members."""
    for member in required:
        if member not in value:
            raise ValueError(f"{name} must have {member!r}")


def drop_empty(**members: Any) -> dict[str, Any]:
    """Return the members that are not None or an empty string, list or dictionary."""
    return {key: value for key, value in members.items() if value not in (None, "", [], {})}


# -- text


def check_strings(name: str, value: Any) -> list[str]:
    """Return a new list of the non-empty strings in an iterable, not a lone string or a mapping."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise ArgumentTypeError(f"{name} must be a list of strings, not {_type(value)}")
    return [check_str(f"each of {name}", each) for each in value]


def check_text(name: str, value: Any) -> str:
    """Return a string of any length, without lone surrogates, which UTF-8 cannot encode."""
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{name} must be a string, not {_type(value)}")
    if _SURROGATE.search(value):
        raise ValueError(f"{name} must be text that UTF-8 can encode, without lone surrogates")
    return value


def check_line(name: str, value: Any) -> str:
    """Return text of one line that is not blank and has no control characters.

    Such text ends up in SIP and HTTP headers, where a line break would start another header. No
    message contains the value: URLs hold credentials.
    """
    if not isinstance(value, str) or not value.strip():
        error = ValueError if isinstance(value, str) else ArgumentTypeError
        raise error(f"{name} must be a non-empty string")
    if _CONTROL.search(value):
        raise ValueError(f"{name} must be one line without control characters")
    return check_text(name, value)


def check_address(name: str, value: Any) -> str:
    """Return a line without white space: a SIP URI, a resource address or a phone number."""
    if re.search(r"\s", _VARIABLE.sub("", check_line(name, value))):
        raise ValueError(f"{name} must not contain white space")
    return str(value)


def check_phone_number(name: str, value: Any) -> str:
    """Return a phone number: digits after an optional plus sign, as in E.164."""
    # Two digits, so that a number may be a variable alone.
    if not _PHONE_NUMBER.fullmatch(_VARIABLE.sub("00", check_line(name, value))):
        raise ValueError(f"{name} must be a phone number such as +15551234567")
    return str(value)


def check_url(name: str, value: Any, schemes: Collection[str] = ("http", "https")) -> str:
    """Return an absolute URL with one of the schemes, or one that starts with a variable.

    A variable followed by another scheme is invalid: that scheme would count if the variable were
    empty.
    """
    text = check_line(name, value)
    begins = _VARIABLE.match(text)
    text = _VARIABLE.sub("" if begins else "1", text)
    if re.search(r"\s", text):
        raise ValueError(f"{name} must not contain white space")
    if _SCHEME.match(text) if begins else not _is_absolute(text, schemes):
        raise ValueError(f"{name} must be an absolute URL with the scheme {' or '.join(schemes)}")
    return str(value)


def _is_absolute(value: str, schemes: Collection[str]) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def check_choice(name: str, value: Any, options: Collection[str]) -> str:
    """Return one of the options."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}, not {shorten(value)}")
    return value


def check_choices(name: str, value: Any, options: Collection[str]) -> str:
    """Return a string of options separated by spaces."""
    for word in check_text(name, value).split(" "):
        check_choice(f"each word of {name}", word, options)
    return str(value)


# -- values that may be variables


def is_variable(value: Any) -> bool:
    """Return whether `value` is one reference to an SWML variable, and nothing else.

    SWML's schema accepts any text between the first brace and the last, such as
    ``${a} and words of a caller}``.
    """
    return isinstance(value, str) and _VARIABLE.fullmatch(value) is not None


def check_dtmf(name: str, value: Any) -> str:
    """Return keys of a phone (0 to 9, A to D, * and #), or a variable."""
    if not is_variable(value) and not _DTMF.fullmatch(check_text(name, value)):
        raise ValueError(f"{name} must be keys of a phone (0-9, A-D, *, #), not {shorten(value)}")
    return str(value)


def check_decimal(name: str, value: Any) -> str:
    """Return an amount as a string of digits, such as ``29.99``, or a variable.

    Floats are invalid, because their digits are not exact.
    """
    if not is_variable(value) and not (isinstance(value, str) and _DECIMAL.fullmatch(value)):
        raise ValueError(f'{name} must be a decimal string such as "29.99", not {shorten(value)}')
    return str(value)


def bool_or_variable(name: str, value: Any) -> bool | str:
    """Return a bool or a variable; the strings ``"true"`` and ``"false"`` are converted."""
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        if is_variable(text):
            return text
    return check_bool(name, value)


def int_or_variable(name: str, value: Any, low: int = 0, high: int | None = MAX_INT) -> int | str:
    """Return an integer from `low` to `high`, or a variable; 5.0 and ``"5"`` are converted."""
    if isinstance(value, str):
        text = value.strip()
        if is_variable(text):
            return text
        if _DIGITS.fullmatch(text):
            value = int(text)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    return check_int(name, value, low, high)


def number_or_variable(name: str, value: Any, low: float = 0, high: float = MAX_INT) -> float | str:
    """Return a number from `low` to `high`, or a variable."""
    return str(value) if is_variable(value) else check_number(name, value, low, high)


# -- what may be left out


def optional(check: Callable[[str, Any], T], name: str, value: Any) -> T | None:
    """Return None for None and the empty string, else what `check` returns."""
    return None if value is None or value == "" else check(name, value)


def optional_number(name: str, value: Any) -> float | str | None:
    """Like :func:`number_or_variable` from 0; None stays None, and "" is invalid."""
    return None if value is None else number_or_variable(name, value)


def _type(value: Any) -> str:
    return type(value).__name__
