"""Parameters of types that JSON carries as text, and typed dictionaries."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Optional, TypedDict, Union
from uuid import UUID

import pytest
from typing_extensions import NotRequired

from swaig_wsgi.swaig import ToolRegistry, check_arguments

ID = "01234567-89ab-4cde-8f01-23456789abcd"


GUEST = UUID(ID)


class Guest(TypedDict):
    """A guest.

    Attributes:
        name: Who
    """

    name: str
    born: date
    vip: NotRequired[bool]


class Details(TypedDict, total=False):
    guest: Guest
    paid: Decimal


def call(handler: Any, **arguments: Any) -> Any:
    """Return what `handler` returns for arguments from JSON, or why they are invalid."""
    registry = ToolRegistry()
    registry.define("book", "Book", None, handler)
    tool = registry.get("book")
    assert tool is not None
    assert tool.call is not None
    assert tool.schema is not None
    arguments = json.loads(json.dumps(arguments))
    return check_arguments(tool.schema, arguments) or tool.call(arguments, {})


def schema_of(handler: Any) -> dict[str, Any]:
    registry = ToolRegistry()
    registry.define("book", "Book", None, handler)
    (tool,) = registry
    schema: dict[str, Any] = tool.definition["parameters"]
    return schema


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (date, "2026-11-29", date(2026, 11, 29)),
        (datetime, "2026-11-29T14:30", datetime(2026, 11, 29, 14, 30)),
        (datetime, "2026-11-29 14:30:05", datetime(2026, 11, 29, 14, 30, 5)),
        (datetime, "2026-11-29T14:30:05Z", datetime(2026, 11, 29, 14, 30, 5, 0, timezone.utc)),
        (
            datetime,
            "2026-11-29t14:30:05.1234567+02:00",
            datetime(2026, 11, 29, 14, 30, 5, 123456, timezone(timedelta(hours=2))),
        ),
        (Decimal, 29.99, Decimal("29.99")),
        (Decimal, 0.1, Decimal("0.1")),
        (Decimal, 5, Decimal(5)),
        (Decimal, "-29.90", Decimal("-29.90")),
        (UUID, ID, UUID(ID)),
        (UUID, ID.upper(), UUID(ID)),
        (Optional[date], None, None),
        (Optional[date], "2026-11-29", date(2026, 11, 29)),
        (list[date], ["2026-11-29"], [date(2026, 11, 29)]),
        (dict[str, Decimal], {"a": "1.0"}, {"a": Decimal("1.0")}),
    ],
)
def test_json_is_converted_to_the_type(kind: Any, value: Any, expected: Any) -> None:
    def book(value) -> Any:  # type: ignore[no-untyped-def]
        return value

    book.__annotations__["value"] = kind
    converted = call(book, value=value)
    assert converted == expected
    assert type(converted) is type(expected)
    assert str(converted) == str(expected)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (date, "29.11.2026", "a date such as 2026-11-29"),
        (date, "2026-02-30", "a date such as 2026-11-29"),
        (date, "20261129", "a date such as 2026-11-29"),
        (date, "2026-W48-7", "a date such as 2026-11-29"),
        (date, "2026-11-29\n", "a date such as 2026-11-29"),
        (date, "٢٠٢٦-11-29", "a date such as 2026-11-29"),
        (date, 20261129, "a date such as 2026-11-29"),
        (datetime, "2026-11-29", "a date and time such as 2026-11-29T14:30:00Z"),
        (datetime, "2026-11-29T25:00", "a date and time such as 2026-11-29T14:30:00Z"),
        (datetime, "2026-11-29T14:30+99:00", "a date and time such as 2026-11-29T14:30:00Z"),
        (Decimal, "12,50", 'a decimal number such as "29.99"'),
        (Decimal, "NaN", 'a decimal number such as "29.99"'),
        (Decimal, "1e9", 'a decimal number such as "29.99"'),
        (Decimal, True, 'a number or a decimal number such as "29.99"'),
        (UUID, "no", "a UUID such as 01234567-89ab-4cde-8f01-23456789abcd"),
        (UUID, f"{{{ID}}}", "a UUID such as 01234567-89ab-4cde-8f01-23456789abcd"),
    ],
)
def test_the_sentence_names_the_expected_value(kind: Any, value: Any, expected: str) -> None:
    def book(value) -> Any:  # type: ignore[no-untyped-def]
        raise AssertionError("the handler ran")

    book.__annotations__["value"] = kind
    assert call(book, value=value) == f"The argument 'value' must be {expected}."


def test_defaults_become_json() -> None:
    def book(
        day: date = date(2026, 11, 29),
        at: datetime = datetime(2026, 11, 29, 14, 30, tzinfo=timezone.utc),
        price: Decimal = Decimal("29.90"),
        guest: UUID = GUEST,
    ) -> Any:
        """Book.

        Args:
            day: When
            price: How much
        """
        return day, at, price, guest

    properties = schema_of(book)["properties"]
    assert properties["day"] == {
        "type": "string",
        "format": "date",
        "default": "2026-11-29",
        "description": "When",
    }
    assert properties["at"]["default"] == "2026-11-29T14:30:00+00:00"
    assert properties["at"]["format"] == "date-time"
    number, text = properties["price"]["anyOf"]
    assert number == {"type": "number", "description": "How much"}
    assert (text["format"], text["default"]) == ("decimal", "29.90")
    assert properties["guest"] == {"type": "string", "format": "uuid", "default": ID}
    # What the schema says is what the handler would get by default.
    given = {"day": "2026-11-29", "at": properties["at"]["default"], "price": "29.90", "guest": ID}
    assert call(book, **given) == book() == call(book)


def test_typed_dictionaries_are_validated_and_converted() -> None:
    def book(details: Details, guests: list[Guest]) -> Any:
        """Book."""
        return details, guests

    guest = {"name": "Ann", "born": "1990-01-02"}
    expected = {"name": "Ann", "born": date(1990, 1, 2)}
    details = {"guest": {**guest, "vip": True, "more": 1}, "paid": 5.5}
    assert call(book, details=details, guests=[guest]) == (
        {"guest": {**expected, "vip": True}, "paid": Decimal("5.5")},
        [expected],
    )
    assert call(book, details={}, guests=[]) == ({}, [])
    schema = schema_of(book)["properties"]
    assert "required" not in schema["details"] or schema["details"]["required"] == []
    item = schema["guests"]["items"]
    assert item["required"] == ["name", "born"]
    assert item["properties"]["name"]["description"] == "Who"
    problems = {
        "'guests[0].born' must be a date such as 2026-11-29": [{**guest, "born": "1990"}],
        "'guests[0].born' is missing": [{"name": "Ann"}],
        "'guests[0].vip' must be true or false": [{**guest, "vip": None}],
    }
    for problem, guests in problems.items():
        assert call(book, details={}, guests=guests).startswith(f"The argument {problem}")


class Loop(TypedDict):
    inner: Loop


def test_a_typed_dictionary_that_contains_itself_is_rejected() -> None:
    def book(loop: Loop) -> None:
        """Book."""

    with pytest.raises(ValueError, match="TypedDict Loop contains itself"):
        schema_of(book)


def test_formats_in_explicit_parameters_are_annotations() -> None:
    registry = ToolRegistry()
    day = {"day": {"type": "string", "format": "date"}}
    registry.define("book", "Book", day, lambda args, raw_data: args)
    (tool,) = registry
    assert tool.schema is not None
    assert check_arguments(tool.schema, {"day": "tomorrow"}) is None


CENTS = Annotated[Decimal, {"minimum": 0.1, "maximum": 100, "multipleOf": 0.01}]
RANGE = Annotated[Optional[Decimal], {"exclusiveMinimum": 0}, {"exclusiveMaximum": 10}]


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        (CENTS, "0.09", "must be at least 0.1"),
        (CENTS, "-5", "must be at least 0.1"),
        (CENTS, "100.01", "must be at most 100"),
        (CENTS, "9" * 30, "must be at most 100"),
        (CENTS, "1.001", "must be a multiple of 0.01"),
        (CENTS, "5.000000000000000000000000000001", "must be a multiple of 0.01"),
        (CENTS, 0.09, "must be at least 0.1"),
        (CENTS, 100000, "must be at most 100"),
        (RANGE, "0.0", "must be more than 0"),
        (RANGE, "10.00", "must be less than 10"),
        (RANGE, 10, "must be less than 10"),
        (list[CENTS], ["1", "-5"], "must be at least 0.1"),
        (dict[str, CENTS], {"a": "-5"}, "must be at least 0.1"),
        (Annotated[Union[Decimal, int], {"minimum": 5}], "-5", "must be"),
        (Annotated[date, {"pattern": "^2026-"}], "2025-11-29", "must match the pattern ^2026-"),
        (Annotated[UUID, {"pattern": "^0"}], ID.replace("0", "1"), "must match the pattern ^0"),
        (Annotated[Decimal, {"type": "string", "maxLength": 3}], "1.50", "at most 3 characters"),
        (Annotated[Decimal, {"type": "string", "maxLength": 3}], 5, "must be a string"),
        (Annotated[list[UUID], {"uniqueItems": True}], [ID, ID.upper()], "same item twice"),
        (
            Annotated[list[datetime], {"uniqueItems": True}],
            ["2026-11-29T14:30Z", "2026-11-29T15:30+01:00"],
            "must not hold the same item twice",
        ),
        (Annotated[list[Decimal], {"uniqueItems": True}], [5, "5.00"], "same item twice"),
        (Annotated[list[Decimal], {"uniqueItems": True}], [5, "x"], "a decimal number"),
    ],
)
def test_attack_keywords_hold_for_every_way_to_write_a_value(
    kind: Any, value: Any, problem: str
) -> None:
    def book(value) -> Any:  # type: ignore[no-untyped-def]
        raise AssertionError("the handler ran")

    book.__annotations__["value"] = kind
    sentence = call(book, value=value)
    assert sentence.startswith("The argument 'value")
    assert problem in sentence


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (CENTS, "0.1", Decimal("0.1")),
        (CENTS, "100.00", Decimal("100.00")),
        (CENTS, 0.1, Decimal("0.1")),
        (RANGE, "9.99", Decimal("9.99")),
        (RANGE, None, None),
        (Annotated[list[UUID], {"uniqueItems": True}], [ID], [UUID(ID)]),
        (Annotated[list[Decimal], {"uniqueItems": True}], [5, "5.1"], [Decimal(5), Decimal("5.1")]),
    ],
)
def test_values_within_the_keywords_are_converted(kind: Any, value: Any, expected: Any) -> None:
    def book(value) -> Any:  # type: ignore[no-untyped-def]
        return value

    book.__annotations__["value"] = kind
    assert call(book, value=value) == expected


def test_the_bounds_of_a_decimal_are_published_for_numbers_and_for_text() -> None:
    def book(amount: CENTS, tip: RANGE = None) -> Any:
        """Book."""

    properties = schema_of(book)["properties"]
    bounds = {"minimum": 0.1, "maximum": 100, "multipleOf": 0.01}
    assert properties["amount"] == {
        "anyOf": [
            {"type": "number", **bounds},
            {"type": "string", "format": "decimal", **bounds},
        ]
    }
    number, text, null = properties["tip"]["anyOf"]
    assert number["exclusiveMaximum"] == text["exclusiveMaximum"] == 10
    assert null == {"type": "null", "description": "No value"}


def test_a_default_outside_the_bounds_is_rejected() -> None:
    def book(amount: CENTS = Decimal("0.05")) -> Any:
        """Book."""

    with pytest.raises(ValueError, match=r"its default must be at least 0\.1"):
        schema_of(book)
