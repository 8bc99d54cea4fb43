import dataclasses
import enum
import functools
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Optional, TypedDict, Union
from unittest.mock import MagicMock
from uuid import UUID

import pytest

from swaig_wsgi.swaig._arguments import canonical
from swaig_wsgi.swaig._schema import inspect_handler, object_schema

EMPTY = {"type": "object", "properties": {}, "required": []}
CITY = {"city": {"type": "string"}}
RAW = {"call_id": "c"}


class Unit(enum.Enum):
    C = "celsius"
    F = "fahrenheit"


@dataclasses.dataclass
class Account:
    bank: str
    number: int = 0


def call(handler, args, parameters=None):
    positional, named = inspect_handler(handler, parameters).bind(args, RAW)
    return handler(*positional, **named)


def weather(city: str, days: int = 1, raw_data=None):
    """Tell the weather.

    Say it in a sentence.

    Args:
        city: Which city.
        raw_data: Never the AI's.
    """
    return city, days, raw_data


def test_a_typed_handler():
    signature = inspect_handler(weather)
    assert signature.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Which city."},
            "days": {"type": "integer", "default": 1},
        },
        "required": ["city"],
    }
    assert signature.description == "Tell the weather."
    assert signature.bind({"city": "Oslo", "days": 2.0}, RAW) == (
        (),
        {"city": "Oslo", "days": 2, "raw_data": RAW},
    )
    assert call(weather, {"city": "Oslo"}) == ("Oslo", 1, RAW)


def test_arguments_without_a_parameter_are_dropped():
    assert call(weather, {"city": "Oslo", "state": "NO"}) == ("Oslo", 1, RAW)


def test_attack_the_ai_cannot_pass_raw_data():
    args = {"city": "Oslo", "raw_data": {"call_id": "forged"}}
    assert call(weather, args) == ("Oslo", 1, RAW)
    explicit = {**CITY, "days": {"type": "integer"}, "raw_data": {"type": "object"}}
    parameters = {"type": "object", "properties": explicit, "required": ["city"]}
    assert call(weather, args, parameters) == ("Oslo", 1, RAW)


def test_a_signature_is_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        inspect_handler(weather).description = "x"


def both(args, raw_data):
    return args, raw_data


def args_alone(args):
    return args


def raw_by_name(args, *, raw_data):
    return args, raw_data


def raw_optional(args, raw_data=None):
    return args, raw_data


def both_by_name(*, args, raw_data):
    return args, raw_data


def anything(*args, **kwargs):
    return args


def anything_by_name(**kwargs):
    return kwargs["args"], kwargs["raw_data"]


@pytest.mark.parametrize("parameters", [None, CITY])
@pytest.mark.parametrize(
    "handler",
    [
        both,
        raw_by_name,
        raw_optional,
        both_by_name,
        anything,
        anything_by_name,
        lambda args, raw: (args, raw),
        lambda _args, _raw: (_args, _raw),
        lambda _, __: (_, __),
        lambda args, raw, extra=1: (args, raw),
        functools.partial(lambda args, raw, database: (args, raw), database=1),
        functools.partial(lambda database, args, raw: (args, raw), 1),
    ],
)
def test_plain_handlers(handler, parameters):
    args = {"city": "Oslo", "more": 1}
    assert call(handler, args, parameters) == (args, RAW)
    expected = EMPTY if parameters is None else object_schema(CITY)
    assert inspect_handler(handler, parameters).parameters == expected


def test_a_plain_handler_may_take_arguments_only():
    assert call(args_alone, {"a": 1}) == {"a": 1}


def test_with_explicit_parameters_a_plain_handler_may_use_any_names():
    assert call(lambda a, raw: (a, raw), {"city": "Oslo"}, CITY) == ({"city": "Oslo"}, RAW)
    assert call(lambda a, raw: (a, raw), {}, {}) == ({}, RAW)
    # A property may have the name of a plain handler's second parameter.
    assert call(lambda args, city: (args, city), {"city": "Oslo"}, CITY) == ({"city": "Oslo"}, RAW)


def test_handlers_without_a_signature_are_plain():
    handler = MagicMock()
    call(handler, {"a": 1})
    handler.assert_called_once_with({"a": 1}, RAW)
    assert inspect_handler(max).bind({}, RAW) == (({}, RAW), {})
    assert inspect_handler(max).parameters == EMPTY
    assert inspect_handler(max, CITY).parameters == object_schema(CITY)


def test_with_explicit_parameters_a_handler_may_take_them_by_name():
    def handler(city, days=1, raw_data=None):
        return city, days, raw_data

    schema = {
        "type": "object",
        "properties": {**CITY, "days": {"type": "integer"}, "other": {}},
        "required": ["city"],
    }
    assert inspect_handler(handler, schema).parameters == schema
    assert call(handler, {"city": "Oslo", "other": 1}, schema) == ("Oslo", 1, RAW)
    assert call(lambda: "x", {"city": "Oslo"}, CITY) == "x"
    assert call(lambda raw_data: raw_data, {"city": "Oslo"}, CITY) == RAW


def test_explicit_parameters_take_precedence_and_values_are_converted():
    def handler(unit: Unit, amount: float = 0, when: bytes = b"", other=None):
        return unit, amount, when, other

    schema = object_schema(
        {"unit": {"type": "string"}, "amount": {}, "when": {}, "other": {}}, ["unit"]
    )
    assert inspect_handler(handler, schema).parameters == schema
    unit, amount, when, other = call(
        handler, {"unit": "celsius", "amount": 2, "when": "now", "other": [1]}, schema
    )
    assert (unit, when, other) == (Unit.C, "now", [1])
    assert type(amount) is float
    with pytest.raises(ValueError, match=r"^parameter 'unit' of handler .*must be one of"):
        call(handler, {"unit": "kelvin"}, schema)
    with pytest.raises(ValueError, match=r"^parameter 'amount' of handler .*must be a number"):
        call(handler, {"unit": "celsius", "amount": "2"}, schema)


def test_a_mixture_of_both_styles_is_rejected():
    def handler(city, country):
        pass

    with pytest.raises(ValueError, match="takes 'city' by name, but 'country' is not among"):
        inspect_handler(handler, CITY)


def test_parameters_without_a_default_must_be_required():
    with pytest.raises(ValueError, match=r"parameter 'city' of handler .* has no default"):
        inspect_handler(lambda city: city, CITY)
    inspect_handler(lambda city: city, object_schema(CITY, ["city"]))
    inspect_handler(lambda city=None: city, CITY)


class Tools:
    """Tools of an agent."""

    def tell(self, city: str, raw_data):
        """Tell."""
        return city, raw_data

    @classmethod
    def of_class(cls, city: str):
        return cls, city

    @staticmethod
    def static(city: str):
        return city

    def plain(self, args, raw_data):
        return args, raw_data

    def __call__(self, city: str):
        """Call."""
        return city


class Undocumented:
    """Documented as a whole."""

    def __call__(self, city: str):
        return city


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("handler", "result"),
    [
        (Tools().tell, ("Oslo", RAW)),
        (Tools.of_class, (Tools, "Oslo")),
        (Tools.static, "Oslo"),
        (Tools(), "Oslo"),
        (decorated(Tools().tell), ("Oslo", RAW)),
        (decorated(decorated(weather)), ("Oslo", 1, RAW)),
        (functools.lru_cache(lambda city="": city), "Oslo"),
        (functools.partial(weather, days=3), ("Oslo", 3, RAW)),
        (functools.partial(functools.partial(weather), days=3), ("Oslo", 3, RAW)),
        (functools.partial(decorated(weather), days=3), ("Oslo", 3, RAW)),
        (functools.partial(weather, raw_data="own"), ("Oslo", 1, "own")),
    ],
)
def test_callables_of_every_kind(handler, result):
    parameters = object_schema(CITY) if "lru" in repr(handler) else None
    assert call(handler, {"city": "Oslo"}, parameters) == result


def test_a_method_may_be_plain():
    assert call(Tools().plain, {"a": 1}) == ({"a": 1}, RAW)


def test_descriptions_come_from_the_wrapped_function():
    assert inspect_handler(Tools().tell).description == "Tell."
    assert inspect_handler(Tools()).description == "Call."
    assert inspect_handler(decorated(weather)).description == "Tell the weather."
    assert inspect_handler(functools.partial(weather)).description == "Tell the weather."
    assert inspect_handler(lambda args: args).description == ""
    assert inspect_handler(both).description == ""


def test_attack_the_ai_cannot_pass_bound_parameters():
    def pay(amount: int, account: str, database: object = None):
        return amount, account, database

    handler = functools.partial(pay, account="own", database=object)
    assert list(inspect_handler(handler).parameters["properties"]) == ["amount"]
    args = {"amount": 5, "account": "thief", "database": None}
    assert call(handler, args) == (5, "own", object)
    explicit = object_schema({"amount": {}, "account": {}}, ["amount"])
    assert call(handler, args, explicit) == (5, "own", object)
    assert call(functools.partial(pay, amount=1, account="own", database=2), args) == (1, "own", 2)


def test_a_class_may_be_the_handler():
    assert call(Account, {"bank": "b", "number": 3.0}) == Account("b", 3)


async def wait(seconds: float):
    """Wait."""


def test_asynchronous_handlers():
    assert inspect_handler(wait).parameters["required"] == ["seconds"]
    assert inspect_handler(wait).bind({"seconds": 1}, RAW) == ((), {"seconds": 1.0})


def test_positional_only_parameters():
    namespace = {}
    exec(  # noqa: S102 - code of this test
        "def handler(city: str, days: int = 1, raw_data=None, /): return city, days, raw_data",
        namespace,
    )
    assert call(namespace["handler"], {"city": "Oslo"}) == ("Oslo", 1, RAW)
    assert call(namespace["handler"], {"city": "Oslo", "days": 2}) == ("Oslo", 2, RAW)


def test_a_typed_handler_without_arguments():
    assert inspect_handler(lambda: "x").parameters == EMPTY
    assert call(lambda: "x", {"a": 1}) == "x"
    assert call(lambda raw_data: raw_data, {"a": 1}) == RAW


def test_variadic_parameters_of_a_typed_handler_get_nothing():
    def handler(city: str, *more, **others):
        return city, more, others

    assert list(inspect_handler(handler).parameters["properties"]) == ["city"]
    assert call(handler, {"city": "Oslo", "x": 1}) == ("Oslo", (), {})


def test_values_of_typed_handlers():
    def handler(unit: Unit, to: Account, accounts: list[Account], note: Optional[str] = None):
        return unit, to, accounts, note

    args = {"unit": "fahrenheit", "to": {"bank": "a"}, "accounts": [{"bank": "b"}], "note": None}
    assert call(handler, args) == (Unit.F, Account("a"), [Account("b")], None)


def with_strings(city: "str", unit: "Unit", how: 'Annotated[int, "How"]' = 1) -> "Nowhere":  # noqa: F821
    return city, unit, how


def unresolvable(city: "Nowhere"):  # noqa: F821
    pass


def unresolvable_raw(city: str, raw_data: "Nowhere" = None):  # noqa: F821
    pass


def test_annotations_written_as_strings():
    properties = inspect_handler(with_strings).parameters["properties"]
    assert properties["unit"]["enum"] == ["celsius", "fahrenheit"]
    assert properties["how"] == {"type": "integer", "description": "How", "default": 1}
    assert call(decorated(with_strings), {"city": "a", "unit": "celsius"}) == ("a", Unit.C, 1)


def test_only_annotations_of_described_parameters_are_resolved():
    inspect_handler(unresolvable_raw)


@pytest.mark.parametrize("parameters", [None, object_schema(CITY, ["city"])])
def test_annotations_that_cannot_be_resolved(parameters):
    complaint = "^parameter 'city' of handler 'unresolvable': the annotation 'Nowhere' cannot be"
    with pytest.raises(ValueError, match=complaint):
        inspect_handler(unresolvable, parameters)


@pytest.mark.parametrize(
    ("handler", "complaint"),
    [
        (lambda city, days=1: None, "parameter 'city' of handler .*needs an annotation"),
        (lambda args, raw, third: None, "handler .* must take .arguments, raw request."),
        (lambda *, args: None, "handler .* must take .arguments, raw request."),
        (None, "a handler must be callable, not None"),
        ("weather", "a handler must be callable"),
    ],
)
def test_handlers_that_cannot_be_called(handler, complaint):
    with pytest.raises(ValueError, match=complaint):
        inspect_handler(handler)


def test_unknown_annotations_name_handler_and_parameter():
    def transfer(amount: complex):
        pass

    complaint = (
        r"^parameter 'amount' of handler '.*transfer': there is no JSON schema for .*complex"
    )
    with pytest.raises(ValueError, match=complaint):
        inspect_handler(transfer)


def test_unknown_annotations_inside_a_dataclass_name_the_field():
    @dataclasses.dataclass
    class Inner:
        when: bytes

    def transfer(inner: Inner):
        pass

    with pytest.raises(ValueError, match=r"'inner' of handler .*field 'when' of Inner: "):
        inspect_handler(transfer)


def test_a_schema_must_be_json_serializable():
    class Odd(enum.Enum):
        NAN = float("nan")

    def handler(odd: Odd):
        pass

    with pytest.raises(ValueError, match="must be JSON-serializable"):
        inspect_handler(handler)


def test_parameters_are_a_schema_or_its_properties():
    whole = {"type": "object", "properties": CITY, "required": []}
    assert object_schema(None) == object_schema({}) == EMPTY
    assert object_schema(CITY) == whole
    assert object_schema({"type": "object"}) == EMPTY
    assert object_schema({"type": "object", "properties": CITY}) == whole
    assert object_schema(object_schema(CITY, ["city"])) == {**whole, "required": ["city"]}
    assert object_schema(MappingProxyType(CITY)) == whole
    assert object_schema({"type": "object", "additionalProperties": False}) == {
        **EMPTY,
        "additionalProperties": False,
    }


def test_properties_may_have_names_of_keywords():
    properties = {"type": {"type": "string"}, "required": {}, "$ref": {}}
    assert object_schema(properties)["properties"] == properties
    properties = {"properties": {"type": "array"}}
    assert object_schema(properties)["properties"] == properties


def test_a_schema_is_a_copy():
    given = {"unit": {"enum": ["a"]}}
    schema = object_schema(given)
    given["unit"]["enum"].append("b")
    assert schema["properties"] == {"unit": {"enum": ["a"]}}


def test_required_names_are_merged():
    properties = {"a": {}, "b": {}, "c": {}}
    schema = {"type": "object", "properties": properties, "required": ["b"]}
    assert object_schema(schema, ("a", "b"))["required"] == ["b", "a"]
    assert object_schema(properties, iter(["c"]))["required"] == ["c"]


@pytest.mark.parametrize(
    ("parameters", "required", "complaint"),
    [
        ([], None, "parameters must be a dictionary, not list"),
        ("city", None, "parameters must be a dictionary, not str"),
        ({"city": "string"}, None, r"properties\.city must be a dictionary, not 'string'"),
        ({"city": {"required": True}}, None, r"properties\.city\.required must be a list"),
        ({"city": {"type": "str"}}, None, r"properties\.city\.type must be one"),
        ({"city": {"$ref": "#/x"}}, None, r"properties\.city\.\$ref is not supported"),
        ({"city": {"pattern": "["}}, None, r"properties\.city\.pattern must be a regular"),
        ({"city": {"default": object()}}, None, "parameters must be JSON-serializable"),
        ({"type": "string"}, None, 'parameters must be a JSON schema of type "object"'),
        ({"type": ["object"]}, None, 'parameters must be a JSON schema of type "object"'),
        ({"type": "object", "properties": []}, None, "properties must be a dictionary"),
        ({"type": "object", "required": None}, None, "required must be a list of names"),
        ({"type": "object", "required": ["city"]}, None, "required names 'city', which is not"),
        ({"properties": CITY}, None, 'parameters have "properties" but lack "type": "object"'),
        ({"properties": CITY, "required": []}, None, 'but lack "type": "object"'),
        (CITY, "city", "required must be a list of strings, not str"),
        (CITY, ["town"], "required names 'town', which is not among the properties"),
        (CITY, [["city"]], "each of required must be a non-empty string"),
        (None, ["city"], "required names 'city'"),
    ],
)
def test_invalid_schemas(parameters, required, complaint):
    with pytest.raises(ValueError, match=complaint):
        object_schema(parameters, required)


def test_an_annotation_s_own_schema_is_still_any():
    def handler(data: Any, bare: dict):
        return data, bare

    assert inspect_handler(handler).parameters["properties"] == {
        "data": {},
        "bare": {"type": "object"},
    }


def test_a_plain_handler_gets_all_arguments_even_if_one_has_its_parameter_s_name():
    properties = {"args": {"type": "string"}, "query": {"type": "string"}, "n": {"type": "integer"}}
    given = {"args": "hello", "query": "x", "n": 1}

    def by_convention(args, raw_data):
        return args

    def by_position(query, raw_data):
        return query

    def typed(query: str = "", raw_data=None):
        return query

    for handler in (by_convention, by_position, lambda args, raw: args):
        positional, named = inspect_handler(handler, properties).bind(given, {})
        assert handler(*positional, **named) == given
    positional, named = inspect_handler(typed, properties).bind(given, {})
    assert typed(*positional, **named) == "x"


class Payee(TypedDict, total=False):
    name: str
    account: Account


UUID_TEXT = "01234567-89ab-4cde-8f01-23456789abcd"


@pytest.mark.parametrize(
    ("annotation", "first", "second"),
    [
        (float, 5, 5.0),
        (int, 5, 5.0),
        (Decimal, 5, "5.00"),
        (Decimal, 0.1, "0.10"),
        (date, "2026-11-29", "2026-11-29"),
        (datetime, "2026-11-29T14:30:00Z", "2026-11-29 15:30+01:00"),
        (datetime, "2026-11-29T14:30:00", "2026-11-29T14:30:00.000"),
        (UUID, UUID_TEXT, UUID_TEXT.upper()),
        (Optional[float], 5, 5.0),
        (list[float], [5], [5.0]),
        (dict[str, Decimal], {"a": 5}, {"a": "5.0"}),
        (Account, {"bank": "A"}, {"bank": "A", "number": 0, "x": 1}),
        (Payee, {"account": {"bank": "A"}}, {"account": {"bank": "A", "x": 1}, "y": 2}),
        (Union[Account, str], {"bank": "A"}, {"bank": "A", "x": 1}),
        (Annotated[float, {"minimum": 1, "type": "number"}], 5, 5.0),
    ],
)
def test_equal_arguments_are_simplified_to_equal_ones(annotation, first, second):
    def pay(it: annotation, note: str = "-", tip: Optional[float] = None):
        pass

    signature = inspect_handler(pay)
    calls = ({"it": first}, {"it": second, "note": "-", "tip": None, "x": 1})
    positional = [signature.bind(each, RAW)[1]["it"] for each in calls]
    assert positional[0] == positional[1]
    one, other = (canonical(signature.simplify(each)) for each in calls)
    assert one == other
    for different in ({"it": first, "note": "+"}, {"it": first, "tip": 0}):
        assert canonical(signature.simplify(different)) != one


def test_arguments_with_explicit_parameters_are_simplified_alike():
    properties = {"it": {"type": "number"}, "other": {}}
    schema = {"type": "object", "properties": properties, "required": ["it"]}

    def pay(it: Decimal, other: int = 7, raw_data=None):
        pass

    simplify = inspect_handler(pay, schema).simplify
    equal = [{"it": 5}, {"it": 5.0, "x": 1}, {"it": 5, "other": 7}, {"it": 5, "other": 7.0}]
    assert len({canonical(simplify(each)) for each in equal}) == 1
    # The annotation does not allow it, so the call will fail, but it has a key of its own.
    others = [{"it": 5, "other": "7"}, {"it": 5, "other": 8}, {"it": 6}, equal[0]]
    assert len({canonical(simplify(each)) for each in others}) == 4


def test_arguments_of_a_plain_handler_are_simplified_to_themselves():
    def pay(args, raw_data):
        pass

    assert inspect_handler(pay).simplify({"it": 5, "x": 1}) == {"it": 5, "x": 1}
