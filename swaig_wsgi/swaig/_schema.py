"""The JSON schema of a handler's arguments, and how they are passed to it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from ._annotations import (
    Described,
    UnsupportedAnnotation,
    describe,
    describe_parameters,
    guarded,
    simplify_members,
    with_unchecked_default,
)
from ._arguments import NamedMembers
from ._docstrings import first_paragraph, parameter_descriptions
from ._effective import check_effective
from ._keywords import check_schema
from ._validation import check_strings, json_object

Bind = Callable[[dict[str, Any], dict[str, Any]], "tuple[tuple[Any, ...], dict[str, Any]]"]

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def bind_as_given(args: Any, raw_data: Any) -> Any:
    """Bind both to the parameters of a handler that takes just these two."""
    return (args, raw_data), {}


#: The ways to call a plain handler, in order of preference.
_PLAIN: tuple[Bind, ...] = (
    bind_as_given,
    lambda args, raw_data: ((args,), {"raw_data": raw_data}),
    lambda args, raw_data: ((args,), {}),
    lambda args, raw_data: ((), {"args": args, "raw_data": raw_data}),
)


@dataclass(frozen=True)
class HandlerSignature:
    """How a handler is described and called."""

    #: JSON schema of type object, always with ``required``.
    parameters: dict[str, Any]
    #: First paragraph of the handler's docstring, in one line; empty without a docstring.
    description: str
    #: Turns (checked arguments, raw request) into the positional and keyword arguments of the
    #: call. Raises ValueError for a value that explicit `parameters` allow and an annotation does
    #: not.
    bind: Bind
    #: Turns checked arguments into a JSON value that is the same for equal calls of the handler,
    #: whatever else the AI passed, and however it wrote the values.
    simplify: Callable[[dict[str, Any]], dict[str, Any]] = dict


def inspect_handler(
    handler: Callable[..., Any], parameters: Mapping[str, Any] | None = None
) -> HandlerSignature:
    """Return how to describe `handler` and in which of two styles to call it.

    A plain handler is called with (arguments, raw request), a typed one with each argument under
    its name, converted to its annotation. A parameter ``raw_data`` of a typed handler gets the raw
    request. A handler is plain if its first parameter is ``args``, ``_args`` or ``_``. With
    `parameters`, it is also plain if its parameters are ``(anything, raw_data)``, the first without
    an annotation, or if none of them is a property. Arguments without a parameter in a typed
    handler are dropped.

    Parameters bound by :func:`functools.partial` are not described to the AI, and its values for
    them are ignored.

    Args:
        parameters: as for :func:`object_schema`; they take precedence over annotations.

    Raises:
        ValueError: the handler cannot be called in either style; an annotation is missing, cannot
            be resolved or has no schema; a default does not fit its annotation; or `parameters`
            are invalid.
    """
    if not callable(handler):
        raise ValueError(f"a handler must be callable, not {handler!r}")
    function, bound = _function(handler)
    doc = inspect.getdoc(function) or ""
    explicit = None if parameters is None else object_schema(parameters)
    subject = f"handler {_name(function)!r}"
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):  # a builtin without a signature
        return HandlerSignature(explicit or object_schema(None), first_paragraph(doc), _PLAIN[0])
    taken = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind not in _VARIADIC and parameter.name not in bound
    ]
    if not _is_typed(signature, taken, explicit, subject):
        bind = _plain(signature, subject)
        return HandlerSignature(explicit or object_schema(None), first_paragraph(doc), bind)

    def where(name: str) -> str:
        return f"parameter {name!r} of {subject}"

    def resolve(parameter: inspect.Parameter) -> Any:
        return _resolved(parameter, function, where(parameter.name))

    described = [parameter for parameter in taken if parameter.name != "raw_data"]
    if explicit is None:
        if described and described[0].annotation is inspect.Parameter.empty:
            problem = "needs an annotation, which tells the AI what to pass"
            remedy = "or name it args, if the handler takes (args, raw_data)"
            raise ValueError(f"{where(described[0].name)} {problem}; {remedy}")
        descriptions = parameter_descriptions(doc)
        schema, members = describe_parameters(described, resolve, descriptions, where)
        json_object("parameters", schema)
        check_schema(schema)
    else:
        schema = {**explicit, "type": NamedMembers("object")}
        members = {
            each.name: _described(each, resolve(each), where(each.name)) for each in described
        }
        for each in described:
            if each.default is each.empty and each.name not in schema["required"]:
                problem = "has no default, so the parameters must require it"
                raise ValueError(f"{where(each.name)} {problem}")
    simplify = functools.partial(simplify_members, members)
    return HandlerSignature(schema, first_paragraph(doc), _by_name(taken, members), simplify)


def object_schema(
    parameters: Mapping[str, Any] | None, required: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return the JSON schema of a tool's arguments, as a copy.

    Args:
        parameters: a JSON schema of type object, or just its properties; None for no arguments.
        required: names of properties, in addition to those that the schema requires.

    Raises:
        TypeError: a keyword is misspelled, or does not apply to all values; also a ValueError.
        ValueError: `parameters` are neither, are not JSON-serializable, have unsupported keywords,
            or require an unknown property.
    """
    given = {} if parameters is None else json_object("parameters", parameters)
    schema = {"type": "object", "properties": {}, "required": []}
    if "type" in given and not isinstance(given["type"], dict):
        if given["type"] != "object":
            expected = 'a JSON schema of type "object", or just its properties'
            raise ValueError(f"parameters must be {expected}; the type is {given['type']!r}")
        schema.update(given)
    elif _lacks_type(given):
        raise ValueError('parameters have "properties" but lack "type": "object"')
    else:
        schema["properties"] = given
    check_schema(schema)
    check_effective(schema)
    names = list(dict.fromkeys([*schema["required"], *check_strings("required", required or ())]))
    for name in names:
        if name not in schema["properties"]:
            raise ValueError(f"required names {name!r}, which is not among the properties")
    schema["required"] = names
    return schema


def _lacks_type(given: dict[str, Any]) -> bool:
    # If "properties" were a property, these would be its keywords, and not all dictionaries.
    properties = given.get("properties")
    return isinstance(properties, dict) and all(isinstance(v, dict) for v in properties.values())


def _function(handler: Any) -> tuple[Any, set[str]]:
    """Return the function behind wrappers and partials, and the names that partials bind."""
    bound: set[str] = set()
    while True:
        if isinstance(handler, functools.partial):
            bound.update(handler.keywords)
            handler = handler.func
        elif hasattr(handler, "__wrapped__"):
            handler = inspect.unwrap(handler)
        elif isinstance(handler, type) or inspect.isroutine(handler):
            return handler, bound
        else:
            handler = type(handler).__call__


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", function))


def _is_typed(
    signature: inspect.Signature,
    taken: list[inspect.Parameter],
    explicit: dict[str, Any] | None,
    subject: str,
) -> bool:
    if not taken:
        return not any(each.kind in _VARIADIC for each in signature.parameters.values())
    by_convention = taken[0].name.lstrip("_") in ("args", "")
    if explicit is None or by_convention:
        return not by_convention
    if (
        [each.name for each in taken[1:]] == ["raw_data"]
        and taken[0].kind in _POSITIONAL
        and taken[0].annotation is inspect.Parameter.empty
    ):
        # Plain, even if an argument has the name of the first parameter.
        return False
    names = {parameter.name for parameter in taken} - {"raw_data"}
    known = names & explicit["properties"].keys()
    if known == names:
        return True
    if known:
        other = f"{_listed(names - known)} is not among the parameters"
        remedy = "to take (arguments, raw request), name the first parameter args"
        raise ValueError(f"{subject} takes {_listed(known)} by name, but {other}; {remedy}")
    return False


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names)))


def _plain(signature: inspect.Signature, subject: str) -> Bind:
    """Return the first way to pass arguments and raw request that the signature allows."""
    for bind in _PLAIN:
        positional, named = bind({}, {})
        try:
            signature.bind(*positional, **named)
        except TypeError:
            continue
        return bind
    expected = "(arguments, raw request), or each argument under its name"
    raise ValueError(f"{subject} must take {expected}; it takes {signature}")


def _by_name(taken: list[inspect.Parameter], members: Mapping[str, Described]) -> Bind:
    def bind(args: dict[str, Any], raw_data: dict[str, Any]) -> Any:
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for parameter in taken:
            name = parameter.name
            if name not in members:
                value = raw_data
            elif name in args:
                value = members[name].convert(args[name])
            elif parameter.kind is parameter.POSITIONAL_ONLY:
                value = parameter.default
            else:
                continue
            if parameter.kind is parameter.POSITIONAL_ONLY:
                positional.append(value)
            else:
                named[name] = value
        return tuple(positional), named

    return bind


def _resolved(parameter: inspect.Parameter, function: Any, where: str) -> Any:
    """Return the parameter's annotation, with strings in it evaluated."""
    if parameter.annotation is parameter.empty:
        return parameter.empty

    # A separate function, because the handler's other annotations, such as the return type, may
    # name what exists only for type checkers.
    def holder() -> None: ...

    holder.__annotations__ = {parameter.name: parameter.annotation}
    owner: Any = function
    if inspect.isclass(function):
        owner = getattr(function, "__init__", None)
    namespace = getattr(inspect.unwrap(owner), "__globals__", {})
    try:
        return get_type_hints(holder, namespace, include_extras=True)[parameter.name]
    except Exception as error:
        problem = f"the annotation {parameter.annotation!r} cannot be resolved"
        raise ValueError(f"{where}: {problem}: {error}") from None


def _described(parameter: inspect.Parameter, annotation: Any, where: str) -> Described:
    """Describe a parameter whose values are checked against explicit `parameters`."""
    try:
        described = guarded(describe(annotation, where), where)
    except UnsupportedAnnotation:
        described = Described({}, lambda value: value)
    if parameter.default is parameter.empty:
        return described
    return with_unchecked_default(described, parameter.default)
