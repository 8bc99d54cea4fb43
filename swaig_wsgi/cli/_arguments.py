"""The arguments of a tool as written on a command line, typed by the tool's schema."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..core.redaction import escape_control
from ._errors import CommandError

_TYPES: Mapping[str, Any] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
    "object": dict,
}


def parse_arguments(texts: Iterable[str], schema: object) -> dict[str, Any]:
    """Return the arguments that `texts` give.

    ``name=value`` is typed by the schema: text if that permits a string, else JSON of its type.
    ``name=@path`` reads the value from a file, and ``name:=json`` is any JSON value, unchecked.

    Args:
        texts: the values of ``--arg``.
        schema: the tool's parameters, as in the document.

    Raises:
        CommandError: an argument is malformed, unknown, given twice, or of another type.
    """
    found = schema.get("properties") if isinstance(schema, dict) else None
    properties = found if isinstance(found, dict) else {}
    arguments: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        is_json = name.endswith(":")
        name = name[:-1] if is_json else name
        if not equals or not name:
            raise CommandError(f"--arg {text}: expected name=value, name=@file or name:=json")
        if name in arguments:
            raise CommandError(f"--arg {name}: given twice")
        if not is_json and name not in properties:
            known = escape_control(", ".join(properties)) or "no arguments"
            raise CommandError(f"--arg {name}: unknown; the tool takes {known}")
        if not is_json and value.startswith("@"):
            value = _read(name, value[1:])
        types = set() if is_json else _types(properties[name])
        arguments[name] = _parse(name, value, types, is_json)
    return arguments


def _types(schema: object) -> set[str]:
    """Return the JSON types that a schema permits; empty if it does not say."""
    if not isinstance(schema, dict):
        return set()
    given = schema.get("type")
    types = {each for each in (given if isinstance(given, list) else [given]) if each}
    for combination in ("anyOf", "oneOf"):
        for each in schema.get(combination) or []:
            types |= _types(each)
    return types


def _parse(name: str, text: str, types: set[str], is_json: bool) -> Any:
    if not is_json and ("string" in types or not types & _TYPES.keys()):
        return text
    try:
        value = json.loads(text, parse_constant=_reject)
    except (ValueError, RecursionError):
        value, is_valid = None, False
    else:
        is_valid = is_json or any(_is(value, each) for each in types)
    if not is_valid:
        expected = "JSON" if is_json else " or ".join(sorted(types))
        raise CommandError(f"--arg {name}: expected {expected}, not {text[:200]!r}")
    return value


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):  # an int in Python, but not in JSON
        return name == "boolean"
    return name in _TYPES and isinstance(value, _TYPES[name])


def _reject(constant: str) -> None:
    raise ValueError(constant)


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"--arg {name}: {path}: {error.strerror}") from None
    except ValueError:
        raise CommandError(f"--arg {name}: {path}: expected text in UTF-8") from None
