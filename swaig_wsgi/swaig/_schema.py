"""What a handler takes: the JSON schema of its arguments, and how they are handed to it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from ._annotations import Convert, UnsupportedAnnotation, describe, describe_parameters, guarded
from ._docstrings import first_paragraph, parameter_descriptions
from ._keywords import check_schema
from ._values import json_object, text

Bind = Callable[[dict[str, Any], dict[str, Any]], "tuple[tuple[Any, ...], dict[str, Any]]"]

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


@dataclass(frozen=True)
class HandlerSignature:
    """How a handler is described and called."""

    #: JSON schema of type object; ``required`` is always there.
    parameters: dict[str, Any]
    #: First paragraph of the handler's docstring, in one line; empty without one.
    description: str
    #: Turns (checked arguments, raw request) into the positional and keyword arguments of the
    #: call. Raises ValueError where explicit `parameters` let through what an annotation does not.
    bind: Bind


def inspect_handler(
    handler: Callable[..., Any], parameters: Mapping[str, Any] | None = None
) -> HandlerSignature:
    """Find out what `handler` takes, and in which of two styles it is called.

    A plain handler is called with (arguments, raw request), a typed one with each argument under
    its name, as what its annotation says. A parameter ``raw_data`` of a typed handler gets the raw
    request. A handler is plain when its first parameter is ``args``, ``_args`` or ``_``; with
    `parameters` also when it is ``(anything, raw_data)`` without an annotation, and whenever they
    do not have all its parameters among their properties. Arguments that a typed handler does not
    know are dropped.

    What :func:`functools.partial` bound is neither described to the AI nor taken from it.

    Args:
        parameters: as :func:`object_schema` takes them; they win over annotations.

    Raises:
        ValueError: the handler cannot be called in either style; an annotation is missing, cannot
            be resolved or has no schema; a default does not fit its annotation; or `parameters`
            are wrong.
    """
    if not callable(handler):
        raise ValueError(f"a handler must be callable, not {handler!r}")
    function, bound = _function(handler)
    doc = inspect.getdoc(function) or ""
    explicit = None if parameters is None else object_schema(parameters)
    subject = f"handler {_name(function)!r}"
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):  # a builtin that does not tell
        return HandlerSignature(explicit or object_schema(None), first_paragraph(doc), _both)
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
        schema, converters = describe_parameters(
            described, resolve, parameter_descriptions(doc), where
        )
        schema = object_schema(schema)
    else:
        schema = explicit
        converters = {each.name: _converter(resolve(each), where(each.name)) for each in described}
        _check_required(described, schema, where)
    return HandlerSignature(schema, first_paragraph(doc), _by_name(taken, converters))


def object_schema(
    parameters: Mapping[str, Any] | None, required: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return the JSON schema of a tool's arguments, as a copy.

    Args:
        parameters: a JSON schema of type object, or just its properties; None for no arguments.
        required: names of properties, beside those that the schema itself requires.

    Raises:
        ValueError: it is neither, cannot be said in JSON, has keywords that arguments cannot be
            checked against, or requires what is no property.
    """
    given = {} if parameters is None else json_object(parameters, "parameters")
    schema = {"type": "object", "properties": {}, "required": []}
    if "type" in given and not isinstance(given["type"], dict):
        if given["type"] != "object":
            raise ValueError(
                'parameters must be a JSON schema of type "object", or just its properties; '
                f"the type is {given['type']!r}"
            )
        schema.update(given)
    elif _lacks_type(given):
        raise ValueError('parameters have "properties" but lack "type": "object"')
    else:
        schema["properties"] = given
    check_schema(schema)
    if isinstance(required, str):
        raise ValueError("required must be a list of names, not one string")
    names = list(
        dict.fromkeys([*schema["required"], *(text(n, "a required name") for n in required or ())])
    )
    for name in names:
        if name not in schema["properties"]:
            raise ValueError(f"required names {name!r}, which is not among the properties")
    schema["required"] = names
    return schema


def _lacks_type(given: dict[str, Any]) -> bool:
    # A property's schema has no keyword whose value is a dictionary alone, so this is no property.
    properties = given.get("properties")
    return isinstance(properties, dict) and all(isinstance(v, dict) for v in properties.values())


def _function(handler: Any) -> tuple[Any, set[str]]:
    """Return the function that was written, and the names that partials have bound in it."""
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
        # (parameters, raw_data): called with all arguments, though one may have that name, too.
        return False
    names = {parameter.name for parameter in taken} - {"raw_data"}
    known = names & explicit["properties"].keys()
    if known == names:
        return True
    if known:
        raise ValueError(
            f"{subject} takes {_listed(known)} by name, but {_listed(names - known)} is not among "
            "the parameters; a handler of (arguments, raw request) names its first parameter args"
        )
    return False


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names)))


def _plain(signature: inspect.Signature, subject: str) -> Bind:
    """Return the first way in which the handler can take arguments and raw request."""
    for way in (_both, _raw_by_name, _arguments_only, _both_by_name):
        positional, named = way({}, {})
        try:
            signature.bind(*positional, **named)
        except TypeError:
            continue
        return way
    raise ValueError(
        f"{subject} must take (arguments, raw request), or each argument under its name; "
        f"it takes {signature}"
    )


def _both(args: Any, raw_data: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (args, raw_data), {}


def _raw_by_name(args: Any, raw_data: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (args,), {"raw_data": raw_data}


def _arguments_only(args: Any, raw_data: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (args,), {}


def _both_by_name(args: Any, raw_data: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (), {"args": args, "raw_data": raw_data}


def _by_name(taken: list[inspect.Parameter], converters: Mapping[str, Convert]) -> Bind:
    def bind(args: dict[str, Any], raw_data: dict[str, Any]) -> Any:
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for parameter in taken:
            name = parameter.name
            if name not in converters:
                value = raw_data
            elif name in args:
                value = converters[name](args[name])
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
    """Return the parameter's annotation, evaluated where it is, or holds, a string."""
    if parameter.annotation is parameter.empty:
        return parameter.empty

    # A function of its own: other annotations of the handler, such as that of what it returns,
    # may name what exists for type checkers alone.
    def holder() -> None: ...

    holder.__annotations__ = {parameter.name: parameter.annotation}
    written: Any = function
    if inspect.isclass(function):
        written = getattr(function, "__init__", None)
    namespace = getattr(inspect.unwrap(written), "__globals__", {})
    try:
        return get_type_hints(holder, namespace, include_extras=True)[parameter.name]
    except Exception as error:
        raise ValueError(
            f"{where}: the annotation {parameter.annotation!r} cannot be resolved: {error}"
        ) from None


def _converter(annotation: Any, where: str) -> Convert:
    """Return a converter for what explicit `parameters` let through."""
    try:
        return guarded(describe(annotation, where), where)
    except UnsupportedAnnotation:
        return lambda value: value


def _check_required(
    described: list[inspect.Parameter], schema: dict[str, Any], where: Callable[[str], str]
) -> None:
    for parameter in described:
        if parameter.default is parameter.empty and parameter.name not in schema["required"]:
            raise ValueError(
                f"{where(parameter.name)} has no default, so the parameters must require it"
            )
