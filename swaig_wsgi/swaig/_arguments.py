"""Validation of a tool call's arguments against the tool's JSON schema.

Checked: ``type``, ``enum``, ``const``, ``minimum``, ``maximum``, ``exclusiveMinimum``,
``exclusiveMaximum``, ``multipleOf``, ``minLength``, ``maxLength``, ``pattern``, ``items``,
``minItems``, ``maxItems``, ``uniqueItems``, ``properties``, ``required``, ``additionalProperties``,
``minProperties``, ``maxProperties``, ``anyOf``, ``oneOf``, ``allOf`` and OpenAPI's ``nullable``.
Annotations and ``format`` are ignored. :func:`check_schema` rejects schemas with other keywords of
JSON Schema, which would allow or forbid more than these.
"""

from __future__ import annotations

import json
import math
import operator
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from .._missing import nearest
from ._formats import FORMATS, CheckedFormat, comparable_number, comparable_text, is_text_of
from ._keywords import KEYWORDS, TYPES, compiled_pattern, is_type
from ._requests import WRAPPER_NAMES

#: The longest text, in characters, to which a pattern is applied. The limit bounds the time that a
#: caller can make the search take.
MAX_PATTERN_TEXT = 10_000

#: The work that one check may take. A step is one value compared with one schema or part of it.
#: Callers can choose large arguments, so the work must not grow with their size times the schema's.
MAX_STEPS = 50_000

_BOUNDS = (
    ("minimum", operator.ge, "at least"),
    ("maximum", operator.le, "at most"),
    ("exclusiveMinimum", operator.gt, "more than"),
    ("exclusiveMaximum", operator.lt, "less than"),
)


class NamedMembers(str):
    """The value of ``type`` in the schema of an object whose unknown members are dropped.

    Dropping a misspelled name would leave a default in force. So a name that resembles a missing
    one is a fault, unless ``additionalProperties`` allows it.
    """

    __slots__ = ()


#: What restricts values beyond their type.
_RESTRICTIONS = KEYWORDS - {"type", "nullable"}
#: The Python types whose values all have a type. For a float, it depends on the value.
_EXACT_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


_MAX = sys.float_info.max


class TooManySteps(ValueError):
    """The check of a value has used up its steps."""


class Steps:
    """The steps that are left to one check; see :data:`MAX_STEPS`."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def spend(self, steps: int) -> None:
        """Use up `steps`, or raise :exc:`TooManySteps`."""
        self._left -= steps
        if self._left < 0:
            raise TooManySteps(f"the check takes more than {MAX_STEPS} steps")


class Fault(NamedTuple):
    """A reason why a value does not fit a schema, and the path of the offending part."""

    path: str
    problem: str


def check_arguments(schema: Mapping[str, Any] | CompiledSchema, args: Any) -> str | None:
    """Return None if `args` fit `schema`, else a sentence for the AI.

    The sentence names the argument, such as ``to.account`` or ``items[2]``, and the expected value.
    It has at most 500 characters and contains no value from `args`. Nothing is coerced: ``"5"`` is
    not a number. A check that takes more than :data:`MAX_STEPS` steps ends with a sentence, too.

    Args:
        schema: as accepted by :func:`check_schema`. Compile it once if it is used often.
        args: the arguments as parsed from JSON.
    """
    if not isinstance(args, (dict, Mapping)):  # dict first: Mapping takes a call in Python
        return "The arguments must be an object."
    try:
        fault = find_fault(schema, args)
    except RecursionError:
        return "The arguments are nested too deeply."
    except TooManySteps:
        return "The arguments are too large to be checked; pass fewer or shorter values."
    if fault is None:
        return None
    subject = f"argument '{_clipped(fault.path, 150)}'" if fault.path else "arguments"
    return f"The {subject} {_clipped(fault.problem, 320)}."


def unreadable_arguments(schema: CompiledSchema, problem: str) -> str:
    """Return a sentence for the AI whose arguments cannot be read at all.

    It says what is expected, has at most 500 characters, and contains nothing that the AI wrote.

    Args:
        schema: the tool's parameters.
        problem: a few words, such as ``not JSON``.
    """
    text = (
        f"The arguments cannot be read ({problem}), so nothing was done this time. Write one JSON "
        "object in double quotes, with no text and no code fence around it"
    )
    members = schema.described_members()
    return _clipped(f"{text}, with {members}" if members else text, 499) + "."


def unexpected_arguments(schema: CompiledSchema, args: Mapping[str, Any]) -> str | None:
    """Return a sentence for the AI if no argument can be read, otherwise None.

    That is the case if no name is known, or if the arguments are nested in another object. A schema
    without properties, or with ``additionalProperties``, accepts any names.

    Args:
        schema: the tool's parameters.
        args: arguments that fit `schema`.
    """
    known = schema.known_members
    others = args.keys() - known
    if not others or not known:
        return None
    wrappers = (name for name in others if name.lower() in WRAPPER_NAMES)
    if len(others) == len(args) or any(args[name] for name in wrappers):
        return unreadable_arguments(schema, "of unknown names")
    return None


def find_fault(schema: Mapping[str, Any] | CompiledSchema, value: Any) -> Fault | None:
    """Return the first reason why `value` does not fit `schema`, or None if it fits.

    Raises:
        TooManySteps: the check takes more than :data:`MAX_STEPS` steps.
    """
    compiled = schema if isinstance(schema, CompiledSchema) else CompiledSchema(schema)
    return compiled.find_fault(value, Steps())


def canonical(value: Any, steps: Steps | None = None) -> str:
    """Return text that is equal for equal JSON values: 1 equals 1.0, but not true.

    Raises:
        TooManySteps: `steps` are used up.
    """
    if steps is not None:
        steps.spend(1 + len(value) // 100 if isinstance(value, str) else 1)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # As text, because a caller can choose numbers with colliding hashes, but not strings.
    if isinstance(value, int) and not isinstance(value, bool):
        return format(value, "x")
    if isinstance(value, list):
        return f"[{','.join([canonical(item, steps) for item in value])}]"
    if isinstance(value, Mapping):
        members = [
            f"{canonical(key, steps)}:{canonical(value[key], steps)}" for key in sorted(value)
        ]
        return f"{{{','.join(members)}}}"
    return json.dumps(value)


class CompiledSchema:
    """A JSON schema prepared for checking values, independent of later changes of `schema`.

    Args:
        schema: as accepted by :func:`check_schema`.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        # For keywords with immutable values; the others are compiled.
        self._schema = dict(schema)
        self._nullable = schema.get("nullable") is True
        self._types = frozenset(_types(schema))
        self._exact = {each for name in self._types for each in _EXACT_TYPES[name]}
        self._allowed: frozenset[Any] | None = None
        for values in ([schema["const"]] if "const" in schema else None, schema.get("enum")):
            if values is not None:
                keys = frozenset(map(_key, values))
                self._allowed = keys if self._allowed is None else self._allowed & keys
        self._pattern = compiled_pattern(schema["pattern"]) if "pattern" in schema else None
        text_format = schema.get("format")
        self._format = text_format if isinstance(text_format, CheckedFormat) else None
        divisor = schema.get("multipleOf")
        self._divisor = None if divisor is None else _fraction(divisor)
        self._required = tuple(schema.get("required", ()))
        self._required_names = frozenset(self._required)
        self._items = CompiledSchema(schema["items"]) if "items" in schema else None
        self._properties = {
            name: CompiledSchema(part) for name, part in schema.get("properties", {}).items()
        }
        other = schema.get("additionalProperties", True)
        self._other = other if isinstance(other, bool) else CompiledSchema(other)
        all_of, any_of, one_of = (
            [CompiledSchema(part) for part in schema.get(keyword, ())]
            for keyword in ("allOf", "anyOf", "oneOf")
        )
        self._all_of, self._any_of, self._one_of = all_of, any_of, one_of
        self._either = [(branches, _either(branches)) for branches in (any_of, one_of) if branches]
        names = f"; there are {_listed(self._properties)}" if self._properties else ""
        self._unknown = Fault("", f"is unknown{names}")
        self._takes_others = "additionalProperties" in schema
        parts = (part.known_members for part in (*all_of, *any_of, *one_of))
        #: The names of all properties, or an empty set if any name is expected.
        self.known_members: frozenset[str] = frozenset()
        if not self._takes_others:
            self.known_members = frozenset(self._properties).union(*parts)
        self._has_named_members = isinstance(schema.get("type"), NamedMembers)
        self._counts_members = "minProperties" in schema or "maxProperties" in schema
        self._combines = bool(all_of or self._either)
        # Most parts restrict only the type. Then a value of one of these types needs no further
        # check, except of the size of a number.
        self._plain, self._numeric = _unrestricted(schema)
        #: The parts of the members, if the schema restricts nothing else; otherwise None.
        self._simple: dict[str, CompiledSchema] | None = None
        if self._types == {"object"} and not self._restricts_whole_objects():
            self._simple = self._properties
        #: What fits, in a few words; "" if the schema does not specify it.
        self.expected = _clipped(_expected(schema) or _either(any_of or one_of), 320)

    def _restricts_whole_objects(self) -> bool:
        return self._counts_members or self._combines or self._allowed is not None

    def fits_at_sight(self, value: Any) -> bool:
        """Return True only if `value` is an object of known members that obviously fit.

        That is the case for most tool calls, in a fraction of the time of :meth:`find_fault`. False
        says nothing: `value` must be checked.
        """
        parts = self._simple
        if parts is None or type(value) is not dict or not self._required_names <= value.keys():
            return False
        for name, member in value.items():
            part, kind = parts.get(name), type(member)
            # Written so that NaN does not fit.
            if part is None or not (
                kind in part._plain or (kind in part._numeric and -_MAX <= member <= _MAX)
            ):
                return False
        return True

    def described_members(self) -> str:
        """Return the names of the known members, each with what fits."""
        return ", ".join(
            f"{_as_json(name)} ({part.expected or 'any value'})"
            for name, part in self._properties.items()
        )

    def has_type(self, value: Any) -> bool:
        """Return whether `value` is of one of the schema's types."""
        if not self._types or type(value) in self._exact:
            return True
        return any(is_type(name, value) for name in self._types)

    def find_fault(self, value: Any, steps: Steps) -> Fault | None:
        """Return the first reason why `value` does not fit, or None if it fits.

        Raises:
            TooManySteps: `steps` are used up.
        """
        steps.spend(1)
        if value is None and self._nullable:
            return None
        if (type(value) not in self._exact and not self.has_type(value)) or (
            self._allowed is not None and _key(value, steps) not in self._allowed
        ):
            return Fault("", f"must be {self.expected}")
        fault: Fault | None = None
        if type(value) is dict:  # first, because all arguments are one
            fault = self._wrong_member(value, steps)
        elif isinstance(value, str):
            fault = _at_value(self._wrong_text(value, steps))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            fault = _at_value(self._wrong_number(value))
        elif isinstance(value, list):
            fault = _at_value(self._wrong_count(len(value), "Items", "item"))
            fault = fault or self._wrong_item(value, steps) or self._equal_items(value, steps)
        elif isinstance(value, (dict, Mapping)):
            fault = self._wrong_member(value, steps)
        if fault is None and self._combines:
            fault = self._wrong_combination(value, steps)
        return fault

    def _wrong_text(self, value: str, steps: Steps) -> str | None:
        problem = self._wrong_count(len(value), "Length", "character")
        if problem is None and self._format is not None:
            if not is_text_of(self._format, value):
                return f"must be {FORMATS[self._format][2]}"
            if self._format == "decimal":
                problem = self._wrong_number(_fraction(value))
        if problem is not None or self._pattern is None:
            return problem
        if len(value) > MAX_PATTERN_TEXT:
            return f"must have at most {MAX_PATTERN_TEXT} characters"
        # Many patterns take quadratic time, such as "[a]*b".
        steps.spend(len(value) ** 2 // MAX_PATTERN_TEXT)
        if self._pattern.search(value) is None:
            return f"must match the pattern {_clipped(self._schema['pattern'], 200)}"
        return None

    def _wrong_number(self, value: Any) -> str | None:
        # Written so that NaN fails.
        if not abs(value) <= sys.float_info.max:
            return "must be a number of reasonable size"
        for keyword, fits, words in _BOUNDS:
            if keyword in self._schema:
                bound = self._schema[keyword]
                # "0.1" is at least 0.1, but less than the binary number that is nearest to it.
                exact = bound if isinstance(value, (int, float)) else _fraction(bound)
                if not fits(value, exact):
                    return f"must be {words} {bound}"
        # Exact decimals: 0.3 is a multiple of 0.1.
        if self._divisor is not None and (_fraction(value) / self._divisor).denominator != 1:
            return f"must be a multiple of {self._schema['multipleOf']}"
        return None

    def _wrong_count(self, count: int, what: str, unit: str) -> str | None:
        least, most = self._schema.get(f"min{what}", 0), self._schema.get(f"max{what}", math.inf)
        if least <= count <= most:
            return None
        bound, words = (least, "at least") if count < least else (most, "at most")
        if least == most:
            words = "exactly"
        return f"must have {words} {bound} {unit if bound == 1 else unit + 's'}"

    def _wrong_item(self, value: list[Any], steps: Steps) -> Fault | None:
        if self._items is not None:
            for index, item in enumerate(value):
                fault = self._items.find_fault(item, steps)
                if fault is not None:
                    return _below(f"[{index}]", fault)
        return None

    def _equal_items(self, value: list[Any], steps: Steps) -> Fault | None:
        if self._schema.get("uniqueItems") is True:
            items = self._items or CompiledSchema({})
            different = {canonical(items._comparable(item), steps) for item in value}
            if len(different) < len(value):
                return Fault("", "must not hold the same item twice")
        return None

    def _comparable(self, value: Any) -> Any:
        """Return a JSON value that is the same if a handler would get equal values.

        A UUID may be written in capitals, and a moment in another time zone.
        """
        for part in (self, *self._any_of):
            if isinstance(value, str) and part._format and is_text_of(part._format, value):
                return comparable_text(part._format, value)
            if part._format == "decimal" and is_type("number", value):
                return comparable_number(value)
        return value

    def _wrong_member(self, value: Mapping[str, Any], steps: Steps) -> Fault | None:
        steps.spend(len(self._required) + len(value))
        if not self._required_names <= value.keys():
            name = next(each for each in self._required if each not in value)
            known = self._properties.get(name)
            expected = f"; it must be {known.expected}" if known and known.expected else ""
            return Fault(name, f"is missing{expected}")
        if self._counts_members:
            problem = self._wrong_count(len(value), "Properties", "member")
            if problem is not None:
                return Fault("", problem)
        for name, member in value.items():
            part = self._properties.get(name, self._other)
            if isinstance(part, CompiledSchema):
                fault = part.find_fault(member, steps)
            else:
                fault = None if part else self._unknown
            if fault is None and name not in self._properties:
                fault = self._misspelled(name, value)
            if fault is not None:
                return _below(_named(name), fault)
        return None

    def _misspelled(self, name: str, value: Mapping[str, Any]) -> Fault | None:
        if self._takes_others or not self._has_named_members:
            return None
        near = nearest(name[:60], self._properties)
        if near is None or near in value:
            return None
        return Fault("", f"is unknown; if {_as_json(near)} is meant, write that")

    def _wrong_combination(self, value: Any, steps: Steps) -> Fault | None:
        for part in self._all_of:
            fault = part.find_fault(value, steps)
            if fault is not None:
                return fault
        for branches, expected in self._either:
            faults: list[Fault] = []
            for branch in branches:
                fault = branch.find_fault(value, steps)
                if fault is not None:
                    faults.append(fault)
                elif branches is self._any_of:
                    break
            if len(faults) == len(branches):
                # If only one branch is of the value's type, the value was meant for that one.
                near = [each for part, each in zip(branches, faults) if part.has_type(value)]
                problem = f"must be {expected}" if expected else "must fit one of its alternatives"
                return near[0] if len(near) == 1 else Fault("", problem)
            if branches is self._one_of and len(faults) < len(branches) - 1:
                return Fault("", "must fit one of its alternatives only")
        return None


def _fraction(number: Any) -> Any:
    """Return a number or a decimal text as the exact fraction that it is written as."""
    from fractions import Fraction  # takes long to import, and few schemas need it

    return Fraction(str(number))


def _key(value: Any, steps: Steps | None = None) -> Any:
    """Return a key that is equal for equal JSON values; text as it is, whose hash is cached."""
    return value if isinstance(value, str) else (canonical(value, steps),)


def _at_value(problem: str | None) -> Fault | None:
    return None if problem is None else Fault("", problem)


def _below(step: str, fault: Fault) -> Fault:
    joint = "." if fault.path and not fault.path.startswith("[") else ""
    return Fault(f"{step}{joint}{fault.path}", fault.problem)


def _expected(schema: Mapping[str, Any]) -> str:
    if isinstance(schema.get("format"), CheckedFormat):
        return FORMATS[schema["format"]][2]
    if "const" in schema:
        return _as_json(schema["const"])
    if "enum" in schema:
        allowed = schema["enum"]
        return _as_json(allowed[0]) if len(allowed) == 1 else f"one of {_listed(allowed)}"
    return " or ".join([TYPES[name] for name in _types(schema)])


def _unrestricted(schema: Mapping[str, Any]) -> tuple[frozenset[type], frozenset[type]]:
    """Return the exact types of values that fit `schema`, and those of numbers that may fit.

    Both are empty if it restricts more than the type.
    """
    if not _RESTRICTIONS.isdisjoint(schema) or isinstance(schema.get("format"), CheckedFormat):
        return frozenset(), frozenset()
    names = set(_types(schema) or TYPES)
    if schema.get("nullable") is True:
        names.add("null")
    scalars = names & {"string", "boolean", "null"}
    plain = frozenset(each for name in scalars for each in _EXACT_TYPES[name])
    numeric = {int} if names & {"integer", "number"} else set()
    return plain, frozenset(numeric | ({float} if "number" in names else set()))


def _types(schema: Mapping[str, Any]) -> list[str]:
    names = schema.get("type", [])
    return [names] if isinstance(names, str) else names


def _either(branches: list[CompiledSchema]) -> str:
    expected = [branch.expected for branch in branches]
    return _clipped(" or ".join(dict.fromkeys(expected)), 320) if all(expected) else ""


def _listed(values: Any) -> str:
    shown: list[str] = []
    for value in values:
        if sum(map(len, shown)) > 150:
            return f"{', '.join(shown)} and {len(values) - len(shown)} more"
        shown.append(_as_json(value))
    return ", ".join(shown)


def _as_json(value: Any) -> str:
    return _clipped(json.dumps(value, ensure_ascii=False), 80)


def _named(name: str) -> str:
    # Clients choose the names of unknown members.
    return _clipped(name if name and name.isprintable() else json.dumps(name), 60)


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
