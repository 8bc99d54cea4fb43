"""Conversion of Python annotations to JSON schemas, and of JSON values to the annotated types."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import json
import types
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Mapping,
    MutableMapping,
    MutableSequence,
    Sequence,
)
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from ._arguments import CompiledSchema, NamedMembers, canonical, find_fault
from ._docstrings import parameter_descriptions
from ._effective import APPLIES_TO, check_effective
from ._formats import (
    FORMATS,
    CheckedFormat,
    as_json,
    comparable_number,
    comparable_text,
    imported_class,
    json_default,
)
from ._keywords import check_schema
from ._validation import json_object

Convert = Callable[[Any], Any]

_UNIONS = (Union, getattr(types, "UnionType", Union))
_LISTS = (list, Sequence, MutableSequence, Collection, Iterable)
_DICTS = (dict, Mapping, MutableMapping)


def _unchanged(value: Any) -> Any:
    return value


_SIMPLE: dict[type, tuple[str, Convert]] = {
    str: ("string", _unchanged),
    bool: ("boolean", _unchanged),
    int: ("integer", int),
    float: ("number", float),
}


#: The default of a member that may be absent.
_ABSENT = object()


class Described(NamedTuple):
    """A JSON schema, and a converter from its values to the annotated type."""

    schema: dict[str, Any]
    convert: Convert
    #: Returns a JSON value that is the same for all values that convert to equal ones. It calls
    #: no code of the application, unlike `convert`, which makes its dataclasses.
    simplify: Convert = _unchanged
    #: What an absent parameter is simplified to.
    absent: Any = _ABSENT


class UnsupportedAnnotation(ValueError):
    """There is no JSON schema for an annotation."""


def describe(annotation: Any, where: str, within: tuple[type, ...] = ()) -> Described:
    """Return the schema and the converter of `annotation`.

    Args:
        annotation: resolved, not a string.
        where: names the annotated object in error messages.
        within: the enclosing dataclasses.

    Raises:
        UnsupportedAnnotation: there is no schema for it.
    """
    if annotation is inspect.Parameter.empty:
        raise UnsupportedAnnotation(f"{where} needs an annotation, which tells the AI what to pass")
    origin = get_origin(annotation)
    if origin is Annotated:
        return _annotated(annotation, where, within)
    if origin is Literal:
        return _choices([(as_json(arg), arg) for arg in get_args(annotation)], where)
    if origin in _UNIONS:
        return _union(get_args(annotation), where, within)
    if annotation is Any or annotation is object:
        return Described({}, _unchanged)
    if (origin or annotation) in _LISTS:
        return _list(get_args(annotation), where, within)
    if (origin or annotation) in _DICTS:
        return _dict(annotation, where, within)
    if isinstance(annotation, type):
        return _class(annotation, where, within)
    for attribute in ("__supertype__", "__value__"):  # NewType, and the type statement's alias
        if hasattr(annotation, attribute):
            return describe(getattr(annotation, attribute), where, within)
    raise _unsupported(annotation, where)


def describe_parameters(
    parameters: Iterable[inspect.Parameter],
    resolve: Callable[[inspect.Parameter], Any],
    descriptions: Mapping[str, str],
    where: Callable[[str], str],
    within: tuple[type, ...] = (),
) -> tuple[dict[str, Any], dict[str, Described]]:
    """Return the schema of an object with a member for each parameter, and their descriptions.

    Raises:
        ValueError: a parameter has no annotation, an annotation without a schema, or a default
            that does not fit.
    """
    properties: dict[str, Any] = {}
    members: dict[str, Described] = {}
    required: list[str] = []
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        name = parameter.name
        described = describe(resolve(parameter), where(name), within)
        if parameter.default is parameter.empty:
            required.append(name)
        elif parameter.default is not _ABSENT:
            described = _with_default(described, parameter.default, where(name))
        if name in descriptions:
            _set_description(described.schema, descriptions[name])
        properties[name], members[name] = described.schema, described
    kind = NamedMembers("object")
    return {"type": kind, "properties": properties, "required": required}, members


def simplify_members(members: Mapping[str, Described], value: Mapping[str, Any]) -> dict[str, Any]:
    """Return `value` with its `members` alone, simplified, and with their defaults."""
    simplified = {
        name: each.simplify(value[name]) if name in value else each.absent
        for name, each in members.items()
    }
    return {name: each for name, each in simplified.items() if each is not _ABSENT}


def convert_members(members: Mapping[str, Described], value: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the `members` that `value` has, converted."""
    return {name: each.convert(value[name]) for name, each in members.items() if name in value}


def guarded(described: Described, where: str) -> Described:
    """Return a description whose converter raises ValueError for values that do not fit."""

    schema = CompiledSchema(described.schema)

    def convert(value: Any) -> Any:
        fault = find_fault(schema, value)
        if fault is not None:
            raise ValueError(f"{where}: {fault.path or 'the value'} {fault.problem}")
        return described.convert(value)

    def simplify(value: Any) -> Any:
        return value if find_fault(schema, value) else described.simplify(value)

    return described._replace(convert=convert, simplify=simplify)


def _class(cls: type, where: str, within: tuple[type, ...]) -> Described:
    if cls in _SIMPLE:
        name, convert = _SIMPLE[cls]
        return Described({"type": name}, convert, convert)
    for name, (type_name, read, _) in FORMATS.items():
        if cls is imported_class(type_name):
            simplify = functools.partial(comparable_text, name)
            text = Described({"type": "string", "format": CheckedFormat(name)}, read, simplify)
            number = Described({"type": "number"}, _decimal, comparable_number)
            return _any_of([number, text]) if name == "decimal" else text
    if issubclass(cls, dict) and hasattr(cls, "__required_keys__"):
        return _typed_dict(cls, where, within)
    if issubclass(cls, enum.Enum):
        return _choices([(member.value, member) for member in cls], where)
    if dataclasses.is_dataclass(cls):
        return _dataclass(cls, where, within)
    raise _unsupported(cls, where)


def _decimal(value: float) -> Any:
    from decimal import Decimal

    # By way of the shortest text: Decimal(0.1) has 55 digits.
    return Decimal(str(value))


def _annotated(annotation: Any, where: str, within: tuple[type, ...]) -> Described:
    inner, *notes = get_args(annotation)
    base = describe(inner, where, within)
    schema = dict(base.schema)
    for note in notes:
        if isinstance(note, str):
            _set_description(schema, note, replace="anyOf" not in schema)
        elif isinstance(note, dict):
            keywords = json_object(f"{where}: the keywords", note)
            # Additional keywords only narrow; these may allow values that cannot be converted.
            if "nullable" in keywords or keywords.keys() & _keywords_in(base.schema):
                base = guarded(base, where)
            try:
                schema = _narrowed(schema, keywords)
                check_schema(schema)
                check_effective(schema)
            except ValueError as error:
                raise type(error)(f"{where}: {error}") from None
    return base._replace(schema=schema)


def _narrowed(schema: dict[str, Any], keywords: dict[str, Any]) -> dict[str, Any]:
    """Return `schema` with further keywords; what is for one type goes into each alternative.

    There it holds for a :class:`CheckedFormat`, too, and is where the AI reads of the type.
    """
    if "anyOf" not in schema or "anyOf" in keywords:
        return {**schema, **keywords}
    for_a_type = {name: value for name, value in keywords.items() if name in APPLIES_TO}
    branches = [
        each if each.get("type") == "null" else _narrowed(each, for_a_type)
        for each in schema["anyOf"]
    ]
    others = {name: value for name, value in keywords.items() if name not in for_a_type}
    return {**schema, "anyOf": branches, **others}


def _keywords_in(schema: Mapping[str, Any]) -> set[str]:
    return {*schema, *(name for part in schema.get("anyOf", ()) for name in _keywords_in(part))}


def _union(options: tuple[Any, ...], where: str, within: tuple[type, ...]) -> Described:
    branches = [describe(arg, where, within) for arg in options if arg is not type(None)]
    described = branches[0] if len(branches) == 1 else _any_of(branches)
    return _nullable(described) if type(None) in options else described


def _any_of(branches: list[Described]) -> Described:
    compiled = [(CompiledSchema(each.schema), each) for each in branches]
    other = Described({}, _unchanged)

    def branch(value: Any) -> Described:
        fitting = (each for schema, each in compiled if find_fault(schema, value) is None)
        return next(fitting, other)

    return Described(
        {"anyOf": [dict(each.schema) for each in branches]},
        lambda value: branch(value).convert(value),
        lambda value: branch(value).simplify(value),
    )


def _nullable(described: Described) -> Described:
    schema = described.schema
    if "anyOf" in schema:
        # The platform's schema requires a description of null.
        null = {"type": "null", "description": "No value"}
        schema = {**schema, "anyOf": [*schema["anyOf"], null]}
    elif schema:
        schema = {**schema, "nullable": True}
    return described._replace(
        schema=schema,
        convert=lambda value: None if value is None else described.convert(value),
        simplify=lambda value: None if value is None else described.simplify(value),
    )


def _choices(pairs: list[tuple[Any, Any]], where: str) -> Described:
    """Describe pairs of a JSON value and the Python value that it represents."""
    values = [value for value, _ in pairs]
    texts = [value for value in values if isinstance(value, str)]
    flags = [value for value in values if isinstance(value, bool)]
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    with_null = None in values
    if len(texts) + len(flags) + len(numbers) + with_null < len(pairs) or len(pairs) == with_null:
        expected = "strings, numbers, true and false"
        raise UnsupportedAnnotation(f"{where}: the values to choose from must be {expected}")
    schemas: list[dict[str, Any]] = []
    if texts:
        schemas.append({"type": "string", "enum": texts})
    if numbers:
        whole = all(isinstance(value, int) for value in numbers)
        schemas.append({"type": "integer" if whole else "number", "enum": numbers})
    if flags:
        schemas.append({"const": flags[0]} if len(flags) == 1 else {"type": "boolean"})
    meant = {canonical(value): python for value, python in pairs}
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    described = Described(schema, lambda value: meant[canonical(value)])
    return described._replace(schema=_nullable(described).schema) if with_null else described


def _list(args: tuple[Any, ...], where: str, within: tuple[type, ...]) -> Described:
    # Always with "items", because some providers of models reject lists without it.
    item = describe(args[0] if args else Any, where, within)

    schema = {"type": "array", "items": item.schema}
    return Described(
        schema,
        lambda value: [item.convert(each) for each in value],
        lambda value: [item.simplify(each) for each in value],
    )


def _dict(annotation: Any, where: str, within: tuple[type, ...]) -> Described:
    key, member = get_args(annotation) or (str, Any)
    if key is not str:
        raise _unsupported(annotation, where)
    inner = describe(member, where, within)
    schema: dict[str, Any] = {"type": "object"}
    if inner.schema:
        schema["additionalProperties"] = inner.schema
    return Described(
        schema,
        lambda value: {name: inner.convert(each) for name, each in value.items()},
        lambda value: {name: inner.simplify(each) for name, each in value.items()},
    )


def _typed_dict(cls: type, where: str, within: tuple[type, ...]) -> Described:
    hints = _hints(cls, "TypedDict", where, within)
    required_keys: frozenset[str] = cls.__required_keys__  # type: ignore[attr-defined]
    parameters = []
    for name, hint in hints.items():
        required = name in required_keys
        while getattr(get_origin(hint), "_name", "") in ("Required", "NotRequired", "ReadOnly"):
            # Python 3.10 and annotations in quotes leave these out of __required_keys__.
            wrapper = get_origin(hint)._name
            required = wrapper == "Required" if wrapper != "ReadOnly" else required
            (hint,) = get_args(hint)
        default = inspect.Parameter.empty if required else _ABSENT
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(name, kind, default=default, annotation=hint))
    schema, members = describe_parameters(
        parameters,
        lambda parameter: parameter.annotation,
        parameter_descriptions(inspect.getdoc(cls) or ""),
        lambda name: f"{where}, member {name!r} of {cls.__name__}",
        (*within, cls),
    )
    return Described(
        schema,
        functools.partial(convert_members, members),
        functools.partial(simplify_members, members),
    )


def _hints(cls: type, kind: str, where: str, within: tuple[type, ...]) -> dict[str, Any]:
    """Return the annotations of a class with members, resolved."""
    if cls in within:
        raise UnsupportedAnnotation(f"{where}: {kind} {cls.__name__} contains itself")
    try:
        return get_type_hints(cls, include_extras=True)
    except Exception as error:
        problem = f"an annotation of {kind} {cls.__name__} cannot be resolved: {error}"
        raise ValueError(f"{where}: {problem}") from None


def _dataclass(cls: type, where: str, within: tuple[type, ...]) -> Described:
    hints = _hints(cls, "dataclass", where, within)

    def resolve(parameter: inspect.Parameter) -> Any:
        hint = hints.get(parameter.name, parameter.annotation)
        return hint.type if isinstance(hint, dataclasses.InitVar) else hint

    schema, members = describe_parameters(
        inspect.signature(cls).parameters.values(),
        resolve,
        parameter_descriptions(inspect.getdoc(cls) or ""),
        lambda name: f"{where}, field {name!r} of {cls.__name__}",
        (*within, cls),
    )
    return Described(
        schema,
        lambda value: cls(**convert_members(members, value)),
        functools.partial(simplify_members, members),
    )


def _with_default(described: Described, default: Any, where: str) -> Described:
    if default is None:
        # An implicit Optional, as in typing.get_type_hints() before Python 3.11.
        allows_null = find_fault(described.schema, None) is None
        described = described if allows_null else _nullable(described)
        return described._replace(absent=None)
    value = _default_json(default)
    if value is _ABSENT:
        return described
    fault = find_fault(described.schema, value)
    if fault is not None:
        raise ValueError(f"{where}: its default {fault.problem}")
    schemas = described.schema.get("anyOf", [described.schema])
    next(each for each in schemas if find_fault(each, value) is None)["default"] = value
    return described._replace(absent=described.simplify(value))


def with_unchecked_default(described: Described, default: Any) -> Described:
    """Return a description of a parameter with a default that its schema need not allow."""
    value = _default_json(default)
    return described if value is _ABSENT else described._replace(absent=described.simplify(value))


def _default_json(default: Any) -> Any:
    """Return `default` as a JSON value, or `_ABSENT` if it is not JSON-serializable."""
    try:
        return json.loads(json.dumps(default, default=json_default, allow_nan=False))
    except (TypeError, ValueError):
        return _ABSENT


def _set_description(schema: dict[str, Any], text: str, *, replace: bool = False) -> None:
    # The platform's schema allows no other keywords besides anyOf.
    for branch in schema.get("anyOf", [schema]):
        if replace or "description" not in branch:
            branch["description"] = text


def _unsupported(annotation: Any, where: str) -> UnsupportedAnnotation:
    name = getattr(annotation, "__name__", None) if isinstance(annotation, type) else None
    return UnsupportedAnnotation(
        f"{where}: there is no JSON schema for the annotation {name or annotation!r}; use str, "
        "int, float, bool, list, dict, Literal, Enum, Optional, Annotated, Any, date, "
        "datetime, Decimal, UUID, a TypedDict or a dataclass, "
        "or give `parameters`"
    )
