"""JSON values that an application hands over to be sent later."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
