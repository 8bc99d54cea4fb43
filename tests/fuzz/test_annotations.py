"""Annotations: their schemas allow what pydantic's allow, and values become the same ones."""

from __future__ import annotations

import dataclasses
import enum
import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional, Union, get_args, get_origin
from uuid import UUID

import jsonschema
import pydantic
from fuzz.strategies import SCALARS, VALUES
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import TypedDict  # pydantic needs it on Python 3.11 and earlier

from swaig_wsgi.swaig._annotations import describe
from swaig_wsgi.swaig._arguments import find_fault


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.Enum):
    SMALL = 1
    LARGE = 2


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5
    label: Optional[str] = None  # noqa: UP045 - as in Python 3.9


class Account(TypedDict):
    owner: str
    limits: list[int]


#: What pydantic and we both know, and have no text forms for.
PLAIN = st.sampled_from(
    [str, int, float, bool, Any, Literal["a", "b"], Literal[1, 2], Literal["a", 1], Color, Size]
)
CLASSES = st.sampled_from([Point, Account])


def either(pair: tuple[Any, Any]) -> Any:
    """Return a union of which the first alternative counts that a value fits, as it does for us.

    By default pydantic prefers an alternative of the value's exact type, wherever it is.
    """
    union = Union[pair]
    several = get_origin(union) is Union and len(set(get_args(union)) - {type(None)}) > 1
    return Annotated[union, pydantic.Field(union_mode="left_to_right")] if several else union


def composed(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return strategies of annotations that contain others."""
    return st.one_of(
        inner.map(lambda each: list[each]),
        inner.map(lambda each: dict[str, each]),
        inner.map(lambda each: Optional[each]),
        st.tuples(inner, inner).map(either),
    )


ANNOTATIONS = st.recursive(PLAIN | CLASSES, composed, max_leaves=4)


@st.composite
def near_values(draw: Any, annotation: Any) -> Any:
    """Return a JSON value that may fit an annotation."""
    if draw(st.integers(0, 6)) == 0:
        return draw(VALUES)
    if hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    arguments = getattr(annotation, "__args__", ())
    origin = getattr(annotation, "__origin__", None)
    if origin is list:
        return draw(st.lists(near_values(arguments[0]), max_size=3))
    if origin is dict:
        return draw(st.dictionaries(st.sampled_from("abc"), near_values(arguments[1]), max_size=3))
    if origin is Union:
        return draw(near_values(draw(st.sampled_from(arguments))))
    if origin is Literal:
        return draw(st.sampled_from([*arguments, "c", 1.0, True]))
    if annotation is Point:
        parts = {
            "x": near_values(int),
            "y": near_values(float),
            "label": near_values(Optional[str]),
        }
        return draw(st.fixed_dictionaries({}, optional={**parts, "other": SCALARS}))
    if annotation is Account:
        parts = {"owner": near_values(str), "limits": near_values(list[int])}
        return draw(st.fixed_dictionaries({}, optional={**parts, "other": SCALARS}))
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(max_size=3),
        int: st.integers(-3, 3) | st.sampled_from([1.0, 1.5, True]),
        float: st.floats(-3, 3) | st.integers(-3, 3),
        bool: st.booleans() | st.sampled_from([0, 1]),
        type(None): st.none(),
        Color: st.sampled_from(["red", "blue", "RED"]),
        Size: st.sampled_from([1, 2, 3, 1.0, "1", True]),
    }
    return draw(simple.get(annotation, SCALARS))


@given(st.data(), ANNOTATIONS)
def test_a_schema_allows_what_that_of_pydantic_allows(data: Any, annotation: Any) -> None:
    value = data.draw(near_values(annotation))
    ours = describe(annotation, "it").schema
    theirs = pydantic.TypeAdapter(annotation).json_schema()
    fits = jsonschema.Draft202012Validator(theirs).is_valid(value)
    assert (find_fault(ours, value) is None) is fits


def whole_numbers(value: Any) -> Any:
    """Return `value` with integers in place of floats without a fraction.

    JSON Schema Validation section 6.1.1 has 1.0 as an integer; pydantic is stricter.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole_numbers(each) for each in value]
    if isinstance(value, dict):
        return {name: whole_numbers(each) for name, each in value.items()}
    return value


@given(st.data(), ANNOTATIONS)
def test_a_valid_value_becomes_what_pydantic_makes_of_it(data: Any, annotation: Any) -> None:
    value = data.draw(near_values(annotation))
    described = describe(annotation, "it")
    if find_fault(described.schema, value) is not None:
        return
    adapter = pydantic.TypeAdapter(annotation)
    text = json.dumps(whole_numbers(value))
    assert described.convert(value) == adapter.validate_json(text, strict=True)


TEXT_FORMS: dict[type, st.SearchStrategy[Any]] = {
    date: st.dates().map(str)
    | st.sampled_from(["2026-02-30", "2026-1-1", "0000-01-01", "20260101"]),
    datetime: (
        st.datetimes().map(datetime.isoformat)
        | st.datetimes().map(lambda moment: f"{moment.isoformat(' ')}Z")
        | st.sampled_from(["2026-01-01T24:00", "2026-01-01T10:00:60Z", "2026-01-01T10:00+25:00"])
    ),
    Decimal: (
        st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str)
        | st.floats(allow_nan=False, allow_infinity=False, width=32)
        | st.integers()
        | st.sampled_from(["1e5", "NaN", ".5", "5.", "+5", "1_0", "\u0661", " 5"])
    ),
    UUID: st.uuids().map(str)
    | st.uuids().map(lambda each: each.hex.upper())
    | st.just("urn:uuid:x"),
}


@given(st.data(), st.sampled_from(list(TEXT_FORMS)))
def test_a_text_form_becomes_what_pydantic_makes_of_it(data: Any, annotation: type) -> None:
    """We accept fewer forms: those that JSON Schema's ``format`` names, and a model writes."""
    value = data.draw(TEXT_FORMS[annotation] | SCALARS)
    described = describe(annotation, "it")
    adapter = pydantic.TypeAdapter(annotation)
    accepted = find_fault(described.schema, value) is None
    if accepted:
        assert described.convert(value) == adapter.validate_json(json.dumps(value), strict=True)


OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.data(), st.sampled_from(list(TEXT_FORMS)))
def test_what_python_writes_is_accepted(data: Any, annotation: type) -> None:
    strategies: dict[type, st.SearchStrategy[Any]] = {
        date: st.dates(),
        datetime: st.datetimes(timezones=st.none() | OFFSETS),
        Decimal: st.decimals(-(10**20), 10**20, allow_nan=False, places=3),
        UUID: st.uuids(),
    }
    python = data.draw(strategies[annotation])
    described = describe(annotation, "it")
    text = json.loads(pydantic.TypeAdapter(annotation).dump_json(python))
    assert find_fault(described.schema, text) is None
    assert described.convert(text) == python
