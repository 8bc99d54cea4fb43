"""Whether contexts and steps hang together: what they name must be there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

State = Mapping[str, Any]

#: Functions that the platform itself adds where there are steps.
NAVIGATION_FUNCTIONS = frozenset({"change_context", "gather_submit", "next_step"})


def check_contexts(contexts: Mapping[str, State], functions: Collection[str] | None) -> None:
    """Check all contexts of an agent.

    Args:
        contexts: what each context was told, by name.
        functions: what the AI can call; None leaves the names of functions unchecked.

    Raises:
        ValueError: something that is named is not there; the message says who names it.
    """
    if not contexts:
        raise ValueError("there must be at least one context")
    if len(contexts) == 1 and "default" not in contexts:
        raise ValueError(f"a single context must be named 'default', not {next(iter(contexts))!r}")
    taken = sorted(NAVIGATION_FUNCTIONS.intersection(functions or ()))
    if taken:
        raise ValueError(
            f"where there are contexts, the platform has functions of its own named "
            f"{', '.join(taken)}; a tool needs another name"
        )
    for name, context in contexts.items():
        _check_context(name, context, contexts, functions)


def check_text(who: str, step: State) -> None:
    """Check that a step tells the AI something.

    Raises:
        ValueError: it does not.
    """
    if not step.get("text") and not step.get("sections"):
        raise ValueError(f"{who} has neither a text nor sections")


def _check_context(
    name: str, context: State, contexts: Collection[str], functions: Collection[str] | None
) -> None:
    who = f"context {name!r}"
    steps = context.get("steps")
    if not steps:
        raise ValueError(f"{who} has no steps; it must have at least one")
    initial = context.get("initial_step")
    _check_names(f"{who} starts at", "step", () if initial is None else (initial,), steps)
    _check_names(f"{who} names", "step", context.get("valid_steps"), {"next", *steps})
    _check_names(f"{who} names", "context", context.get("valid_contexts"), contexts)
    for step_name, step in steps.items():
        whose = f"step {step_name!r} of context {name!r}"
        check_text(whose, step)
        _check_names(f"{whose} names", "step", step.get("valid_steps"), {"next", *steps})
        _check_names(f"{whose} names", "context", step.get("valid_contexts"), contexts)
        _check_functions(whose, step.get("functions"), functions)
        gather = step.get("gather_info")
        if gather is not None:
            _check_gather(whose, gather, functions)
            _check_completion(whose, step_name, gather["completion_action"], list(steps))


def _check_gather(who: str, gather: State, functions: Collection[str] | None) -> None:
    if not gather["questions"]:
        raise ValueError(f"{who} gathers information, but has no question to ask")
    keys = set()
    for question in gather["questions"]:
        if question["key"] in keys:
            raise ValueError(f"{who} has two questions with the key {question['key']!r}")
        keys.add(question["key"])
        _check_functions(
            f"{who}, question {question['key']!r},", question.get("functions"), functions
        )


def _check_completion(who: str, step_name: str, action: str | None, steps: list[str]) -> None:
    if action is None:
        return
    if action != "next_step":
        _check_names(f"{who} goes on, when it has gathered, to", "step", (action,), steps)
    elif step_name == steps[-1]:
        raise ValueError(f"{who} goes on to the next step, but is the last of its context")


def _check_functions(
    who: str, named: Iterable[str] | str | None, functions: Collection[str] | None
) -> None:
    if functions is not None and named != "none":
        _check_names(f"{who} names", "function", named, {*functions, *NAVIGATION_FUNCTIONS})


def _check_names(who: str, what: str, named: Iterable[str] | None, known: Collection[str]) -> None:
    for name in named or ():
        if name not in known:
            there = ", ".join(repr(each) for each in sorted(known)) or "none"
            raise ValueError(f"{who} the unknown {what} {name!r}; there are: {there}")
