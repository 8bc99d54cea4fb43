"""Text that stands for a value of a Python type, such as a date.

JSON Schema's ``format`` is only an annotation, and so it is in schemas that an application gives.
In the schema of an annotated parameter it is a :class:`CheckedFormat`: the text is validated,
because the handler gets the value.
"""

from __future__ import annotations

import dataclasses
import enum
import re
import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ..core._patterns import lazy_pattern

if TYPE_CHECKING:  # decimal, fractions and uuid take long to import, and few agents need them
    from decimal import Decimal
    from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_DATE = lazy_pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATETIME = lazy_pattern(
    r"([0-9-]{10})[Tt ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?(?:\.([0-9]{1,9}))?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_DECIMAL = lazy_pattern(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")
_UUID = lazy_pattern(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


class CheckedFormat(str):
    """The value of ``format`` in a schema whose text is validated."""

    __slots__ = ()


def _matched(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError("malformed")
    return match


def _date(text: str) -> date:
    return date.fromisoformat(_matched(_DATE, text)[0])


def _datetime(text: str) -> datetime:
    # Python 3.10 reads neither Z nor fractions of other than 3 and 6 digits.
    day, minute, second, fraction, zone = _matched(_DATETIME, text).groups()
    _date(day)
    zone = "+00:00" if zone in ("Z", "z") else zone or ""
    digits = (fraction or "").ljust(6, "0")[:6]
    return datetime.fromisoformat(f"{day}T{minute}{second or ':00'}.{digits}{zone}")


def _decimal(text: str) -> Decimal:
    from decimal import Decimal

    return Decimal(_matched(_DECIMAL, text)[0])


def _uuid(text: str) -> UUID:
    from uuid import UUID

    return UUID(_matched(_UUID, text)[0])


#: By format, the name of the type, a function that reads it or raises ValueError, and what to
#: expect.
FORMATS: dict[str, tuple[str, Callable[[str], Any], str]] = {
    "date": ("datetime.date", _date, "a date such as 2026-11-29"),
    "date-time": (
        "datetime.datetime",
        _datetime,
        "a date and time such as 2026-11-29T14:30:00Z",
    ),
    "decimal": ("decimal.Decimal", _decimal, 'a decimal number such as "29.99"'),
    "uuid": ("uuid.UUID", _uuid, "a UUID such as 01234567-89ab-4cde-8f01-23456789abcd"),
}


def imported_class(name: str) -> type | None:
    """Return the class ``module.name``, or None if its module has not been imported.

    Then there is no value of the class, and no annotation with it.
    """
    module, _, attribute = name.partition(".")
    return getattr(sys.modules.get(module), attribute, None)


def is_text_of(name: str, text: str) -> bool:
    """Return whether `text` has the format `name`."""
    try:
        FORMATS[name][1](text)
    except ValueError:
        return False
    return True


def comparable_text(name: str, text: str) -> Any:
    """Return a JSON value that is equal for texts of a format whose values are equal."""
    value = FORMATS[name][1](text)
    if name == "decimal":
        return comparable_number(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        # The same moment, whichever time zone it is written in, is an equal value.
        return ["moment", (value - _EPOCH) // timedelta(microseconds=1)]
    return as_json(value)


def comparable_number(value: float | Decimal) -> Any:
    """Like :func:`comparable_text`, for a number that becomes a Decimal."""
    from fractions import Fraction

    # Exact, unlike Decimal.normalize(): 5, "5.0" and "5.00" are 5/1.
    return ["decimal", *Fraction(str(value)).as_integer_ratio()]


def as_json(value: Any) -> Any:
    """Return the JSON form of a value of a type that handlers get and return.

    A member of an Enum becomes its value, a dataclass instance or mapping an object. A value of any
    other type is returned as it is.
    """
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, date):  # and datetime
        return value.isoformat()
    for name in ("decimal.Decimal", "uuid.UUID"):
        cls = imported_class(name)
        if cls is not None and isinstance(value, cls):
            return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return dict(value) if isinstance(value, Mapping) else value


def json_default(value: Any) -> Any:
    """Like :func:`as_json`, as the argument ``default`` of :func:`json.dumps`.

    Raises:
        TypeError: the value has no JSON form.
    """
    replaced = as_json(value)
    if replaced is value:
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return replaced
