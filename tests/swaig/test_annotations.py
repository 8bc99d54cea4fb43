import dataclasses
import enum
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import (  # noqa: UP035
    Annotated,
    Any,
    Dict,
    List,
    Literal,
    NewType,
    Optional,
    TypeVar,
    Union,
)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.swaig._annotations import (
    UnsupportedAnnotation,
    describe,
    describe_parameters,
    guarded,
)
from swaig_wsgi.swaig._arguments import canonical, find_fault
from swaig_wsgi.swaig._keywords import check_schema


class Unit(enum.Enum):
    C = "celsius"
    F = "fahrenheit"
    CELSIUS = "celsius"


class Floor(enum.IntEnum):
    GROUND = 0
    FIRST = 1


class Mixed(enum.Enum):
    A = "a"
    ONE = 1
    HALF = 0.5
    YES = True  # an alias of ONE, because they are equal


class Flags(enum.Enum):
    ON = True
    OFF = False
    UNSET = None


@dataclasses.dataclass(frozen=True)
class Account:
    """Where money goes.

    Attributes:
        bank: Which bank.
    """

    bank: str
    number: Annotated[int, {"minimum": 1}]
    unit: Unit = Unit.C
    tags: list[str] = dataclasses.field(default_factory=list)
    known: bool = dataclasses.field(default=True, init=False)


@dataclasses.dataclass
class Transfer:
    to: Account
    others: list[Account]
    note: dataclasses.InitVar[Optional[str]] = None

    def __post_init__(self, note):
        self.noted = note


@dataclasses.dataclass
class Node:
    children: "list[Node]"


@dataclasses.dataclass
class Lost:
    a: "Nowhere"  # noqa: F821


@dataclasses.dataclass(init=False)
class Own:
    a: int

    def __init__(self, a: int, *rest, b=None, **more):
        self.a = a


City = NewType("City", str)


def schema(annotation):
    described = describe(annotation, "it")
    check_schema(described.schema)
    return described.schema


def converted(annotation, value):
    described = describe(annotation, "it")
    assert find_fault(described.schema, value) is None
    return described.convert(value)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (Any, {}),
        (object, {}),
        (City, {"type": "string"}),
        (list, {"type": "array", "items": {}}),
        (List, {"type": "array", "items": {}}),  # noqa: UP006
        (List[int], {"type": "array", "items": {"type": "integer"}}),  # noqa: UP006
        (list[Any], {"type": "array", "items": {}}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (Sequence[str], {"type": "array", "items": {"type": "string"}}),
        (Iterable[list[bool]], {"type": "array", "items": schema(list[bool])}),
        (dict, {"type": "object"}),
        (Dict, {"type": "object"}),  # noqa: UP006
        (dict[str, Any], {"type": "object"}),
        (Mapping[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal[1, 2], {"type": "integer", "enum": [1, 2]}),
        (Literal[True, False], {"type": "boolean"}),
        (Literal[True], {"const": True}),
        (Literal["a", None], {"type": "string", "enum": ["a"], "nullable": True}),
        (
            Literal["a", 1],
            {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "integer", "enum": [1]}]},
        ),
        (Literal[Unit.F], {"type": "string", "enum": ["fahrenheit"]}),
        (Unit, {"type": "string", "enum": ["celsius", "fahrenheit"]}),
        (Floor, {"type": "integer", "enum": [0, 1]}),
        (
            Mixed,
            {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "number", "enum": [1, 0.5]}]},
        ),
        (Flags, {"type": "boolean", "nullable": True}),
        (Optional[str], {"type": "string", "nullable": True}),
        (Optional[Any], {}),
        (Optional[Unit], {**schema(Unit), "nullable": True}),
        (Union[str, int], {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        (
            Union[str, int, None],
            {
                "anyOf": [
                    {"type": "string"},
                    {"type": "integer"},
                    {"type": "null", "description": "No value"},
                ]
            },
        ),
        (Annotated[str, "A city"], {"type": "string", "description": "A city"}),
        (Annotated[Annotated[str, "inner"], "outer"], {"type": "string", "description": "outer"}),
        (
            Annotated[int, "Days", {"minimum": 1, "maximum": 7}],
            {"type": "integer", "description": "Days", "minimum": 1, "maximum": 7},
        ),
        (Annotated[str, {"description": "A city"}], {"type": "string", "description": "A city"}),
        (Annotated[str, 5, object()], {"type": "string"}),
        (
            Annotated[Union[str, Annotated[int, "own"]], "shared"],
            {
                "anyOf": [
                    {"type": "string", "description": "shared"},
                    {"type": "integer", "description": "own"},
                ]
            },
        ),
        (list[Annotated[str, "one"]], {"type": "array", "items": schema(Annotated[str, "one"])}),
        (
            Account,
            {
                "type": "object",
                "properties": {
                    "bank": {"type": "string", "description": "Which bank."},
                    "number": {"type": "integer", "minimum": 1},
                    "unit": {
                        "type": "string",
                        "enum": ["celsius", "fahrenheit"],
                        "default": "celsius",
                    },
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["bank", "number"],
            },
        ),
        (
            Transfer,
            {
                "type": "object",
                "properties": {
                    "to": schema(Account),
                    "others": {"type": "array", "items": schema(Account)},
                    "note": {"type": "string", "nullable": True},
                },
                "required": ["to", "others"],
            },
        ),
    ],
)
def test_schemas(annotation, expected):
    assert schema(annotation) == expected


def test_unions_with_a_vertical_bar():
    try:
        annotation = eval("int | None")  # noqa: S307 - code of this test
    except TypeError:  # before Python 3.10
        annotation = Optional[int]
    assert schema(annotation) == {"type": "integer", "nullable": True}


def test_aliases_of_the_type_statement():
    # As in Python 3.12.
    alias = type("TypeAliasType", (), {})()
    alias.__value__ = Annotated[str, "A city"]
    assert schema(alias) == {"type": "string", "description": "A city"}


@pytest.mark.parametrize(
    "annotation",
    [
        bytes,
        complex,
        type(None),
        set,
        tuple,
        tuple[int, ...],
        list[bytes],
        dict[str, set],
        dict[int, str],
        Optional[bytes],
        Union[str, bytes],
        Annotated[bytes, "x"],
        Literal[b"a"],
        Literal[None],
        enum.Enum("Empty", {}),
        enum.Enum("Pairs", {"A": (1, 2)}),
        TypeVar("T"),
        type("Mine", (), {}),
        type("Text", (str,), {}),
        "str",
        5,
        [int],
        Node,
    ],
)
def test_annotations_without_a_schema_are_rejected(annotation):
    with pytest.raises(UnsupportedAnnotation, match=r"^it(:|, )"):
        describe(annotation, "it")


def test_annotations_of_a_dataclass_that_cannot_be_resolved():
    with pytest.raises(
        ValueError, match=r"^it: an annotation of dataclass Lost cannot be resolved"
    ):
        describe(Lost, "it")


def test_a_dataclass_with_its_own_constructor_needs_annotations_there():
    with pytest.raises(UnsupportedAnnotation, match=r"^it, field 'b' of Own needs an annotation"):
        describe(Own, "it")


@pytest.mark.parametrize(
    ("keywords", "complaint"),
    [
        ({"minimum": "1"}, "^it: minimum must be a number"),
        ({"$ref": "#"}, "is not supported"),
        ({"minimum": object()}, "^it: the keywords must be JSON-serializable"),
    ],
)
def test_keywords_are_checked(keywords, complaint):
    with pytest.raises(ValueError, match=complaint):
        describe(Annotated[int, keywords], "it")


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (str, "a", "a"),
        (int, 2, 2),
        (int, 2.0, 2),
        (float, 2, 2.0),
        (bool, True, True),
        (Any, {"a": [1]}, {"a": [1]}),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (dict[str, int], {"a": 1.0}, {"a": 1}),
        (Unit, "celsius", Unit.C),
        (list[Unit], ["fahrenheit", "celsius"], [Unit.F, Unit.C]),
        (dict[str, Unit], {"a": "celsius"}, {"a": Unit.C}),
        (Floor, 1.0, Floor.FIRST),
        (Mixed, 1, Mixed.ONE),
        (Mixed, 0.5, Mixed.HALF),
        (Flags, True, Flags.ON),
        (Flags, None, Flags.UNSET),
        (Optional[Flags], None, None),
        (Literal[1, True, "1"], 1.0, 1),
        (Literal[1, True, "1"], True, True),
        (Literal[Unit.F], "fahrenheit", Unit.F),
        (Optional[Unit], None, None),
        (Optional[Unit], "celsius", Unit.C),
        (Union[Floor, Unit, None], "celsius", Unit.C),
        (Union[Floor, Unit, None], 1, Floor.FIRST),
        (Union[Floor, Unit, None], None, None),
        (Union[list[Unit], Account], {"bank": "b", "number": 1}, Account("b", 1)),
        (Annotated[Unit, "text"], "celsius", Unit.C),
        (Annotated[Unit, {"enum": ["celsius"]}], "celsius", Unit.C),
        (
            Account,
            {"bank": "b", "number": 3.0, "unit": "fahrenheit", "unknown": 1, "known": False},
            Account("b", 3, Unit.F, []),
        ),
        (
            list[Account],
            [{"bank": "b", "number": 1, "tags": ["x"]}],
            [Account("b", 1, tags=["x"])],
        ),
    ],
)
def test_values_are_converted_to_the_annotated_types(annotation, value, expected):
    result = converted(annotation, value)
    assert result == expected
    assert type(result) is type(expected)
    assert repr(result) == repr(expected)


def test_nested_dataclasses():
    account = {"bank": "b", "number": 1}
    value = converted(Transfer, {"to": account, "others": [account, account], "note": "n"})
    assert value == Transfer(Account("b", 1), [Account("b", 1)] * 2)
    assert value.noted == "n"


@pytest.mark.parametrize(
    ("keywords", "value"),
    [
        ({"enum": ["celsius", "kelvin"]}, "kelvin"),
        ({"nullable": True}, None),
        ({"type": "integer", "enum": [1]}, 1),
    ],
)
def test_values_that_cannot_be_converted_do_not_reach_the_handler(keywords, value):
    described = describe(Annotated[Unit, keywords], "it")
    assert find_fault(described.schema, value) is None
    with pytest.raises(ValueError, match=r"^it: the value must be one of"):
        described.convert(value)


def test_a_guarded_converter_checks_first():
    convert = guarded(describe(list[Unit], "it"), "it").convert
    assert convert(["celsius"]) == [Unit.C]
    with pytest.raises(ValueError, match=r"^it: \[0\] must be one of"):
        convert(["kelvin"])


def parameter(annotation, default=inspect.Parameter.empty):
    return inspect.Parameter(
        "it", inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def described_with(annotation, default):
    result, members = describe_parameters(
        [parameter(annotation, default)], lambda each: each.annotation, {}, str
    )
    assert result["required"] == []
    assert members["it"].schema == result["properties"]["it"]
    return members["it"]


@pytest.mark.parametrize(
    ("annotation", "default", "expected"),
    [
        (int, 1, {"type": "integer", "default": 1}),
        (float, 1, {"type": "number", "default": 1}),
        (str, None, {"type": "string", "nullable": True}),
        (Optional[str], None, {"type": "string", "nullable": True}),
        (Optional[str], "a", {"type": "string", "nullable": True, "default": "a"}),
        (Any, None, {}),
        (Any, 5, {"default": 5}),
        (Unit, Unit.F, {**schema(Unit), "default": "fahrenheit"}),
        (Floor, Floor.FIRST, {**schema(Floor), "default": 1}),
        (list[Unit], (Unit.C,), {**schema(list[Unit]), "default": ["celsius"]}),
        (
            Account,
            Account("b", 1),
            {
                **schema(Account),
                "default": {
                    "bank": "b",
                    "number": 1,
                    "unit": "celsius",
                    "tags": [],
                    "known": True,
                },
            },
        ),
        (
            Union[str, int],
            5,
            {"anyOf": [{"type": "string"}, {"type": "integer", "default": 5}]},
        ),
        (int, object(), {"type": "integer"}),
        (str, object, {"type": "string"}),
        (float, float("nan"), {"type": "number"}),
    ],
)
def test_defaults(annotation, default, expected):
    assert described_with(annotation, default).schema == expected


def test_a_default_of_none_allows_null():
    assert described_with(Unit, None).convert(None) is None
    assert described_with(Unit, None).convert("celsius") is Unit.C


@pytest.mark.parametrize(
    ("annotation", "default"),
    [(int, "5"), (str, 5), (Unit, "kelvin"), (Annotated[int, {"minimum": 1}], 0), (list[str], [1])],
)
def test_a_default_that_does_not_fit_its_annotation_is_rejected(annotation, default):
    with pytest.raises(ValueError, match=r"^it: its default must be"):
        described_with(annotation, default)


annotations = st.recursive(
    st.sampled_from(
        [str, int, float, bool, Any, Unit, Floor, Mixed, Literal["a", 1, True, None], Account]
    ),
    lambda inner: st.one_of(
        inner.map(lambda each: list[each]),
        inner.map(lambda each: dict[str, each]),
        inner.map(lambda each: Optional[each]),
        st.tuples(inner, inner).map(lambda pair: Union[pair]),
        inner.map(lambda each: Annotated[each, "described"]),
    ),
    max_leaves=4,
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 2)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["a", "celsius", ""]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "bank", "number", "unit"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(annotations, values)
def test_every_valid_value_can_be_converted(annotation, value):
    described = describe(annotation, "it")
    check_schema(described.schema)
    if find_fault(described.schema, value) is None:
        described.convert(value)


@given(annotations, values, values)
def test_values_with_equal_simplifications_convert_to_equal_ones(annotation, first, second):
    described = describe(annotation, "it")
    if find_fault(described.schema, first) or find_fault(described.schema, second):
        return
    simplified = [canonical(described.simplify(value)) for value in (first, second)]
    if simplified[0] == simplified[1]:
        assert described.convert(first) == described.convert(second)
    assert canonical(first) != canonical(second) or simplified[0] == simplified[1]


@dataclasses.dataclass
class Limit:
    account: str
    amount: int = 0


def test_a_misspelled_member_leaves_no_default_in_force():
    limit = schema(Optional[Limit])
    assert find_fault(limit, {"account": "A", "ammount": 5}) == (
        "ammount",
        'is unknown; if "amount" is meant, write that',
    )
    for rest in ({"reason": "rent"}, {"amount": 5, "ammount": 6}):
        assert find_fault(limit, {"account": "A", **rest}) is None
