"""Checks of values that an application hands over to be sent later."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


def json_copy(value: Any, what: str) -> Any:
    """Return a copy of `value` as JSON will carry it, independent of the original.

    Raises:
        ValueError: `value` cannot be said in JSON; the message starts with `what`.
    """
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{what} cannot be sent as JSON: {error}") from None


def json_object(value: Any, what: str) -> dict[str, Any]:
    """Like :func:`json_copy`, for a mapping.

    Raises:
        ValueError: `value` is not a mapping, or cannot be said in JSON.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} must be a dictionary, not {type(value).__name__}")
    return json_copy(dict(value), what)  # type: ignore[no-any-return]


def text(value: Any, what: str) -> str:
    """Return `value` when it is text with something in it.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f"{what} must be a non-empty string, not {value!r}")
    return value


def texts(value: Any, what: str) -> list[str]:
    """Return a list of texts with something in them, independent of the original.

    Raises:
        ValueError: it is anything else, such as one text.
    """
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise ValueError(f"{what} must be a list of strings, not {type(value).__name__}")
    return [text(each, f"each of {what}") for each in value]


def flag(value: Any, what: str) -> bool:
    """Return true or false.

    Raises:
        ValueError: it is anything else, such as the string ``"false"``, which is true.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{what} must be True or False, not {shown(value)}")
    return value


def given(**members: Any) -> dict[str, Any]:
    """Return the members that say something: not None, and no empty text, list or object."""
    return {
        name: value
        for name, value in members.items()
        if value is not None and value != "" and value != [] and value != {}
    }


def shown(value: Any) -> str:
    """Return a value as error messages show it, in few words."""
    # Python does not write out integers of thousands of digits.
    try:
        written = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return written if len(written) <= 100 else f"{written[:100]}..."
