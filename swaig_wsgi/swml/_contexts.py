"""Contexts: the parts of a conversation, each with its steps."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from ..core._validation import ArgumentTypeError, check_bool, check_str, shorten
from ..swaig._validation import check_strings
from ._context_checks import check_contexts, check_instructions
from ._sections import markdown
from ._steps import Step, render_step
from ._views import State, View, drop_unset

MAX_CONTEXTS = 50
MAX_STEPS = 100


class Context(View):
    """A context, made by :meth:`ContextBuilder.add_context`; for its methods see :class:`View`."""

    _kind = "context"
    _text = "prompt"
    _sections = "pom"

    # -- steps

    def add_step(
        self,
        name: str,
        *,
        task: str | None = None,
        bullets: Iterable[str] | None = None,
        criteria: str | None = None,
        functions: Iterable[str] | str | None = None,
        valid_steps: Iterable[str] | None = None,
    ) -> Step:
        """Append a step and return it.

        Args:
            name: its name in this context; not ``next``, which means the next step in order.
            task: the body of a section "Task".
            bullets: the bullets of a section "Process".
            criteria: as for :meth:`Step.set_step_criteria`.
            functions: as for :meth:`Step.set_functions`.
            valid_steps: as for :meth:`Step.set_valid_steps`.

        Raises:
            ValueError: the name is taken, there are too many steps, or an argument is invalid.
        """
        steps = self._steps()
        if check_str("the name of a step", name) == "next":
            raise ValueError("a step cannot be named 'next', which means the next step in order")
        if name in steps:
            raise ValueError(f"{self} already has a step {name!r}")
        if len(steps) >= MAX_STEPS:
            raise ValueError(f"{self} already has {MAX_STEPS} steps, the maximum")
        # Complete before it is added, so that an invalid argument leaves no partial step behind.
        made: dict[str, State] = {name: {}}
        step = Step(name, partial(made.__getitem__, name), partial(made.__setitem__, name))
        if task is not None:
            step.add_section("Task", task)
        if bullets is not None:
            step.add_bullets("Process", bullets)
        if criteria is not None:
            step.set_step_criteria(criteria)
        if functions is not None:
            step.set_functions(functions)
        if valid_steps is not None:
            step.set_valid_steps(valid_steps)
        self._set(steps={**steps, **made})
        return self._view(name)

    def get_step(self, name: str) -> Step | None:
        """Return a step of this context, or None if there is none of this name."""
        return self._view(name) if name in self._steps() else None

    def remove_step(self, name: str) -> Context:
        """Remove a step, if it exists."""
        return self._set(steps={key: each for key, each in self._steps().items() if key != name})

    def move_step(self, name: str, position: int) -> Context:
        """Move a step to a position in the order; 0 is the first."""
        self._read_step(name)
        order = [each for each in self._steps() if each != name]
        order.insert(position, name)
        return self._set(steps={each: self._steps()[each] for each in order})

    def _steps(self) -> dict[str, State]:
        return self._read().get("steps", {})  # type: ignore[no-any-return]

    def _view(self, name: str) -> Step:
        return Step(name, partial(self._read_step, name), partial(self._write_step, name))

    def _read_step(self, name: str) -> State:
        steps = self._steps()
        if name not in steps:
            raise ValueError(f"{self} has no step {name!r}")
        return steps[name]

    def _write_step(self, name: str, state: State) -> None:
        self._set(steps={**self._steps(), name: state})

    def set_initial_step(self, step_name: str) -> Context:
        """Start at this step; by default at the first."""
        return self._set(initial_step=check_str("the initial step", step_name))

    # -- prompts

    def set_prompt(self, prompt: str) -> Context:
        """Set the AI's instructions for all steps of the context as one text."""
        return self._set_text(self._text, self._sections, prompt)

    def set_system_prompt(self, system_prompt: str) -> Context:
        """Use this system prompt on entering."""
        return self._set_text("system_prompt", "system_sections", system_prompt)

    def add_system_section(self, title: str, body: str) -> Context:
        """Append a section to the system prompt."""
        return self._append("system_prompt", "system_sections", title, body=body)

    def add_system_bullets(self, title: str, bullets: Iterable[str]) -> Context:
        """Append a section of bullets to the system prompt."""
        return self._append("system_prompt", "system_sections", title, bullets=bullets)

    def set_post_prompt(self, post_prompt: str) -> Context:
        """Ask for a summary in these words while in this context."""
        return self._set(post_prompt=check_str("a post-prompt", post_prompt))

    def set_user_prompt(self, user_prompt: str) -> Context:
        """Add this as the caller's words on entering."""
        return self._set(user_prompt=check_str("a user prompt", user_prompt))

    # -- the conversation so far, on entering

    def set_consolidate(self, consolidate: bool) -> Context:
        """Summarize the conversation on entering."""
        return self._set(consolidate=check_bool("consolidate", consolidate))

    def set_full_reset(self, full_reset: bool) -> Context:
        """Replace the system prompt on entering, not add to it."""
        return self._set(full_reset=check_bool("full_reset", full_reset))

    def set_isolated(self, isolated: bool) -> Context:
        """Forget the conversation on entering, unless it is summarized or reset."""
        return self._set(isolated=check_bool("isolated", isolated))

    # -- fillers

    def set_enter_fillers(self, enter_fillers: Mapping[str, Iterable[str]]) -> Context:
        """Set what may be said on entering, by language code or ``default``."""
        return self._set_fillers("enter_fillers", enter_fillers)

    def set_exit_fillers(self, exit_fillers: Mapping[str, Iterable[str]]) -> Context:
        """Set what may be said on leaving, by language code or ``default``."""
        return self._set_fillers("exit_fillers", exit_fillers)

    def add_enter_filler(self, language_code: str, fillers: Iterable[str]) -> Context:
        """Set what may be said on entering in one language."""
        return self._set_fillers("enter_fillers", {language_code: fillers}, keep=True)

    def add_exit_filler(self, language_code: str, fillers: Iterable[str]) -> Context:
        """Set what may be said on leaving in one language."""
        return self._set_fillers("exit_fillers", {language_code: fillers}, keep=True)

    def _set_fillers(self, member: str, value: Any, *, keep: bool = False) -> Context:
        what = member.replace("_", " ")
        if not isinstance(value, Mapping):
            expected = "a dictionary of lists by language"
            raise ArgumentTypeError(f"{what} must be {expected}, not {shorten(value)}")
        fillers = dict(self._read().get(member, {})) if keep else {}
        for code, each in value.items():
            check_str(f"the language of {what}", code)
            fillers[code] = check_strings(f"the {what} for {code!r}", each)
        if not fillers or not all(fillers.values()):
            raise ValueError(f"{what} must have at least one language, and text in each")
        return self._set(**{member: fillers})

    def to_dict(self) -> dict[str, Any]:
        """Return the context as in the document, without validating the names it refers to.

        Raises:
            ValueError: it has no steps, or a step has neither a text nor sections.
        """
        if not self._steps():
            raise ValueError(f"{self} has no steps")
        for name, step in self._steps().items():
            check_instructions(f"step {name!r} of {self}", step)
        return copy.deepcopy(_render_context(self._read()))


class ContextBuilder:
    """The contexts of an agent, by name, in the order in which they were added.

    No method changes the dictionaries of contexts and steps in place: a shallow copy is
    independent, and takes constant time.
    """

    def __init__(self) -> None:
        self._contexts: dict[str, State] = {}
        #: The last result of `render`, as JSON text, and what it depends on.
        self._rendered: tuple[dict[str, State], frozenset[str] | None, str] | None = None

    def add_context(self, name: str) -> Context:
        """Add a context and return it. A single one must be named ``default``.

        Raises:
            ValueError: the name is taken, or there are too many contexts.
        """
        if check_str("the name of a context", name) in self._contexts:
            raise ValueError(f"there already is a context {name!r}")
        if len(self._contexts) >= MAX_CONTEXTS:
            raise ValueError(f"there already are {MAX_CONTEXTS} contexts, the maximum")
        self._write(name, {})
        return self._view(name)

    def get_context(self, name: str) -> Context | None:
        """Return a context, or None if there is none of this name."""
        return self._view(name) if name in self._contexts else None

    def reset(self) -> ContextBuilder:
        """Remove all contexts."""
        self._contexts = {}
        return self

    def validate(self, functions: Iterable[str] | None = None) -> None:
        """Check that contexts and steps are complete, and that every name they refer to exists.

        Args:
            functions: the functions that the AI may call; None to not check their names.

        Raises:
            ValueError: a context has no steps, a step has no instructions, a name is unknown, or a
                function has a name that the platform reserves.
        """
        check_contexts(self._contexts, None if functions is None else frozenset(functions))

    def to_dict(self) -> dict[str, Any]:
        """Return a copy of the contexts as in the document; raise as :meth:`validate` does."""
        return self.render()

    def render(self, functions: Iterable[str] | None = None) -> dict[str, Any]:
        """Return a copy of the contexts as in the document, cached until one changes.

        Takes the argument of :meth:`validate`, and raises as it does.
        """
        contexts, cached = self._contexts, self._rendered
        known = None if functions is None else frozenset(functions)
        if cached is None or cached[0] is not contexts or cached[1] != known:
            check_contexts(contexts, known)
            rendered = {name: _render_context(state) for name, state in contexts.items()}
            self._rendered = cached = (contexts, known, json.dumps(rendered))
        return json.loads(cached[2])  # type: ignore[no-any-return]

    def __bool__(self) -> bool:
        return bool(self._contexts)

    def _view(self, name: str) -> Context:
        return Context(name, partial(self._read, name), partial(self._write, name))

    def _read(self, name: str) -> State:
        if name not in self._contexts:
            raise ValueError(f"there is no context {name!r}")
        return self._contexts[name]

    def _write(self, name: str, state: State) -> None:
        self._contexts = {**self._contexts, name: state}


def _render_context(state: State) -> State:
    rendered = drop_unset(state)
    system_sections = rendered.pop("system_sections", None)
    if system_sections:
        rendered["system_prompt"] = markdown(system_sections)
    rendered["steps"] = [render_step(name, each) for name, each in state["steps"].items()]
    return rendered
