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


def promised(parameters: str) -> list[Parameter]:
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


def breaks(promise: list[Parameter], signature: inspect.Signature) -> list[str]:
    """Return the ways in which calls that `promise` allows would fail."""
    actual = {name: value for name, value in signature.parameters.items() if name != "self"}
    problems = []
    positional = [each for each in promise if each.kind is Kind.POSITIONAL_OR_KEYWORD]
    if [each.name for each in positional] != list(actual)[: len(positional)]:
        problems.append(f"takes {list(actual)} in this order")
    for each in promise:
        now = actual.pop(each.name, None)
        if now is None:
            problems.append(f"takes no {each.name}")
        elif now.kind is not each.kind and now.kind is not Kind.POSITIONAL_OR_KEYWORD:
            problems.append(f"takes {each.name} as {now.kind.description}")
        elif each.is_optional and is_required(now):
            problems.append(f"requires {each.name}")
    for name, now in actual.items():
        if is_required(now):
            problems.append(f"requires {name}, which is new")
    return problems


ENTRIES = entries()


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_name_can_be_used_as_promised(entry: str) -> None:
    match = ENTRIES[entry]
    value = resolve_name(f"{entry.partition(':')[0]}:{match['name']}")
    if match["base"]:
        assert issubclass(value, resolve_name(f"builtins:{match['base']}"))
    if match["parameters"]:
        assert breaks(promised(match["parameters"]), inspect.signature(value)) == []


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
    ("promise", "now", "problem"),
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
def test_a_broken_promise_is_found(promise: str, now: object, problem: str | None) -> None:
    found = "; ".join(breaks(promised(promise), inspect.signature(now)))  # type: ignore[arg-type]
    assert problem in found if problem else found == ""
