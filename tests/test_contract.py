"""The public API keeps its names, parameters and exception types; see contract.txt."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from pkgutil import resolve_name
from typing import NamedTuple

import pytest

from swaig_wsgi import SessionManager
from swaig_wsgi.core.body_size import BodyError
from swaig_wsgi.core.tokens import TokenError
from swaig_wsgi.core.urls import UrlError

Kind = inspect._ParameterKind
LINE = re.compile(r"(?P<name>[\w.]+)(?: < (?P<base>\w+)|(?P<parameters>\(.*\)))?")


class Parameter(NamedTuple):
    name: str
    kind: Kind
    is_optional: bool


def entries() -> dict[str, re.Match[str]]:
    """Return the lines of the contract, each with its module."""
    found = {}
    module = ""
    for line in Path(__file__).with_name("contract.txt").read_text().splitlines():
        if line.startswith("    "):
            match = LINE.fullmatch(line.strip())
            assert match is not None, line
            found[f"{module}:{line.strip()}"] = match
        elif not line.startswith("#"):
            module = line
    return found


def parse(parameters: str) -> list[Parameter]:
    found = []
    kind = Kind.POSITIONAL_OR_KEYWORD
    for text in filter(None, parameters.strip("()").split(", ")):
        if text.startswith("**"):
            found.append(Parameter(text[2:], Kind.VAR_KEYWORD, True))
        elif text.startswith("*"):
            kind = Kind.KEYWORD_ONLY
            if text != "*":
                found.append(Parameter(text[1:], Kind.VAR_POSITIONAL, True))
        else:
            found.append(Parameter(text.rstrip("="), kind, text.endswith("=")))
    return found


def is_required(parameter: inspect.Parameter) -> bool:
    variadic = parameter.kind in (Kind.VAR_KEYWORD, Kind.VAR_POSITIONAL)
    return parameter.default is parameter.empty and not variadic


def violations(expected: list[Parameter], signature: inspect.Signature) -> list[str]:
    """Return why calls that are valid for `expected` would fail."""
    actual = {name: value for name, value in signature.parameters.items() if name != "self"}
    problems = []
    positional = [
        parameter for parameter in expected if parameter.kind is Kind.POSITIONAL_OR_KEYWORD
    ]
    if [parameter.name for parameter in positional] != list(actual)[: len(positional)]:
        problems.append(f"takes {list(actual)} in this order")
    for parameter in expected:
        current = actual.pop(parameter.name, None)
        if current is None:
            problems.append(f"takes no {parameter.name}")
        elif current.kind is not parameter.kind and current.kind is not Kind.POSITIONAL_OR_KEYWORD:
            problems.append(f"takes {parameter.name} as {current.kind.description}")
        elif parameter.is_optional and is_required(current):
            problems.append(f"requires {parameter.name}")
    for name, current in actual.items():
        if is_required(current):
            problems.append(f"requires {name}, which is new")
    return problems


ENTRIES = entries()


@pytest.mark.parametrize("entry", ENTRIES)
def test_public_names_keep_their_parameters_and_bases(entry: str) -> None:
    match = ENTRIES[entry]
    value = resolve_name(f"{entry.partition(':')[0]}:{match['name']}")
    if match["base"]:
        assert issubclass(value, resolve_name(f"builtins:{match['base']}"))
    if match["parameters"]:
        assert violations(parse(match["parameters"]), inspect.signature(value)) == []


def test_exceptions_and_sessions_keep_their_attributes() -> None:
    error = BodyError(413, "Request too large", "too_large")
    assert (error.status, error.error, error.reason) == (413, "Request too large", "too_large")
    assert (TokenError("expired").reason, TokenError("expired").token) == ("expired", None)
    assert UrlError("malformed", "not a URL").reason == "malformed"
    sessions = SessionManager()
    assert sessions.generated
    assert isinstance(sessions.key_made_by, int)
    assert sessions.key_made_at > 0
    assert sessions.keeps_metadata in (True, False)


@pytest.mark.parametrize(
    ("expected", "current", "problem"),
    [
        ("(a, b=)", lambda a, b=1, c=2, *, d=3, **more: None, None),
        ("(a, *, b=)", lambda a, b=1: None, None),
        ("(a, b=)", lambda b, a: None, "in this order"),
        ("(a, b=)", lambda a: None, "takes no b"),
        ("(a, b=)", lambda a, b: None, "requires b"),
        ("(a)", lambda a, b: None, "requires b, which is new"),
        ("(a)", lambda *, a: None, "as keyword-only"),
        ("(**options)", lambda: None, "takes no options"),
    ],
)
def test_violations_of_the_contract_are_found(
    expected: str, current: object, problem: str | None
) -> None:
    found = "; ".join(violations(parse(expected), inspect.signature(current)))  # type: ignore[arg-type]
    assert problem in found if problem else found == ""
