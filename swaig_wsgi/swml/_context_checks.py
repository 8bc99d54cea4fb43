"""Validation of contexts and steps: every name that they refer to must exist."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

State = Mapping[str, Any]

#: Functions that the platform adds where there are steps.
NAVIGATION_FUNCTIONS = frozenset({"change_context", "gather_submit", "next_step"})


def check_contexts(contexts: Mapping[str, State], functions: Collection[str] | None) -> None:
    """Check all contexts of an agent, given as their states by name.

    Args:
        functions: the functions that the AI may call; None to not check their names.

    Raises:
        ValueError: a name is unknown; the message says which context or step refers to it.
    """
    if not contexts:
        raise ValueError("there must be at least one context")
    if len(contexts) == 1 and "default" not in contexts:
        raise ValueError(f"a single context must be named 'default', not {next(iter(contexts))!r}")
    taken = sorted(NAVIGATION_FUNCTIONS.intersection(functions or ()))
    if taken:
        reserved = f"the platform reserves the function names {', '.join(taken)}"
        raise ValueError(f"with contexts, {reserved}; rename the tool")
    for name, context in contexts.items():
        _check_context(name, context, contexts, functions)


def check_instructions(subject: str, step: State) -> None:
    """Raise ValueError if a step has neither a text nor sections."""
    if not step.get("text") and not step.get("sections"):
        raise ValueError(f"{subject} has neither a text nor sections")


def _check_context(
    name: str, context: State, contexts: Collection[str], functions: Collection[str] | None
) -> None:
    subject = f"context {name!r}"
    steps = context.get("steps")
    if not steps:
        raise ValueError(f"{subject} has no steps; it must have at least one")
    initial = context.get("initial_step")
    _check_names(f"{subject} starts at", "step", () if initial is None else (initial,), steps)
    _check_names(f"{subject} refers to", "step", context.get("valid_steps"), {"next", *steps})
    _check_names(f"{subject} refers to", "context", context.get("valid_contexts"), contexts)
    for step_name, step in steps.items():
        step_subject = f"step {step_name!r} of context {name!r}"
        check_instructions(step_subject, step)
        _check_names(f"{step_subject} refers to", "step", step.get("valid_steps"), {"next", *steps})
        _check_names(f"{step_subject} refers to", "context", step.get("valid_contexts"), contexts)
        _check_functions(step_subject, step.get("functions"), functions)
        gather = step.get("gather_info")
        if gather is not None:
            _check_gather(step_subject, gather, functions)
            _check_completion(step_subject, step_name, gather["completion_action"], list(steps))


def _check_gather(subject: str, gather: State, functions: Collection[str] | None) -> None:
    if not gather["questions"]:
        raise ValueError(f"{subject} gathers information, but has no questions")
    keys = set()
    for question in gather["questions"]:
        if question["key"] in keys:
            raise ValueError(f"{subject} has two questions with the key {question['key']!r}")
        keys.add(question["key"])
        where = f"{subject}, question {question['key']!r},"
        _check_functions(where, question.get("functions"), functions)


def _check_completion(subject: str, step_name: str, action: str | None, steps: list[str]) -> None:
    if action is None:
        return
    if action != "next_step":
        _check_names(f"{subject} continues, when it has gathered, with", "step", (action,), steps)
    elif step_name == steps[-1]:
        raise ValueError(f"{subject} continues with the next step, but is the last of its context")


def _check_functions(
    subject: str, named: Iterable[str] | str | None, functions: Collection[str] | None
) -> None:
    if functions is not None and named != "none":
        _check_names(f"{subject} refers to", "function", named, {*functions, *NAVIGATION_FUNCTIONS})


def _check_names(
    subject: str, what: str, named: Iterable[str] | None, known: Collection[str]
) -> None:
    for name in named or ():
        if name not in known:
            names = ", ".join(repr(each) for each in sorted(known)) or "none"
            raise ValueError(f"{subject} the unknown {what} {name!r}; known are: {names}")
