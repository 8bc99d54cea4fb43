"""Contexts: the parts of a conversation, each with its steps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from ..swaig._values import flag, text, texts
from ._context_checks import check_contexts, check_text
from ._sections import markdown
from ._steps import State, Step, filled, filled_section, history_mode, render_step

MAX_CONTEXTS = 50
MAX_STEPS = 100


class Context:
    """A context; :meth:`ContextBuilder.add_context` makes it. Every ``set_`` and ``add_`` method
    but :meth:`add_step` returns the context.

    As a :class:`Step`, it is a view: to change the context of a copy, ask the copy for it.
    """

    def __init__(
        self, name: str, read: Callable[[], State], write: Callable[[State], None]
    ) -> None:
        self.name = name
        self._read = read
        self._write = write

    def _set(self, **members: Any) -> Context:
        self._write({**self._read(), **members})
        return self

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
            name: its name in this context; not ``next``, which stands for the step in order.
            task: the body of a section "Task".
            bullets: the bullets of a section "Process".
            criteria: as for :meth:`Step.set_step_criteria`.
            functions: as for :meth:`Step.set_functions`.
            valid_steps: as for :meth:`Step.set_valid_steps`.

        Raises:
            ValueError: the name is taken, or there are too many steps, or an argument is wrong.
        """
        steps = self._steps()
        if text(name, "the name of a step") == "next":
            raise ValueError("a step cannot be named 'next', which stands for the step in order")
        if name in steps:
            raise ValueError(f"context {self.name!r} has a step {name!r} already")
        if len(steps) >= MAX_STEPS:
            raise ValueError(f"context {self.name!r} has {MAX_STEPS} steps, and cannot have more")
        # Made apart and put in whole, so that a wrong argument leaves no half a step behind.
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
        """Return a step of this context, or None."""
        return self._view(name) if name in self._steps() else None

    def remove_step(self, name: str) -> Context:
        """Remove a step, if it is there."""
        return self._set(steps={key: each for key, each in self._steps().items() if key != name})

    def move_step(self, name: str, position: int) -> Context:
        """Move a step to a place in the order; 0 is the first.

        Raises:
            ValueError: there is no such step.
        """
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
            raise ValueError(f"context {self.name!r} has no step {name!r}")
        return steps[name]

    def _write_step(self, name: str, state: State) -> None:
        self._set(steps={**self._steps(), name: state})

    # -- where to go

    def set_valid_contexts(self, contexts: Iterable[str]) -> Context:
        """Limit which contexts may follow."""
        what = f"the valid contexts of context {self.name!r}"
        return self._set(valid_contexts=texts(contexts, what))

    def set_valid_steps(self, steps: Iterable[str]) -> Context:
        """Limit which of its steps may follow any of them; ``"next"`` is the next in order."""
        return self._set(valid_steps=texts(steps, f"the valid steps of context {self.name!r}"))

    def set_initial_step(self, step_name: str) -> Context:
        """Start at this step; by default at the first."""
        return self._set(initial_step=text(step_name, "the initial step"))

    # -- prompts

    def set_prompt(self, prompt: str) -> Context:
        """Tell the AI this in all steps of the context.

        Raises:
            ValueError: there are sections already.
        """
        if self._read().get("pom"):
            raise ValueError(f"context {self.name!r} has sections already; it is text or sections")
        return self._set(prompt=text(prompt, f"the prompt of context {self.name!r}"))

    def add_section(self, title: str, body: str) -> Context:
        """Append a section to the prompt of the context.

        Raises:
            ValueError: the prompt is a text already.
        """
        return self._append("pom", "prompt", filled_section(title, body=body))

    def add_bullets(self, title: str, bullets: Iterable[str]) -> Context:
        """Append a section of bullets to the prompt of the context.

        Raises:
            ValueError: the prompt is a text already.
        """
        return self._append("pom", "prompt", filled_section(title, bullets=bullets))

    def set_system_prompt(self, system_prompt: str) -> Context:
        """Take this system prompt on entering.

        Raises:
            ValueError: it has sections already.
        """
        if self._read().get("system_sections"):
            raise ValueError(
                f"the system prompt of context {self.name!r} has sections already; "
                "it is text or sections"
            )
        return self._set(system_prompt=text(system_prompt, "a system prompt"))

    def add_system_section(self, title: str, body: str) -> Context:
        """Append a section to the system prompt.

        Raises:
            ValueError: the system prompt is a text already.
        """
        return self._append("system_sections", "system_prompt", filled_section(title, body=body))

    def add_system_bullets(self, title: str, bullets: Iterable[str]) -> Context:
        """Append a section of bullets to the system prompt.

        Raises:
            ValueError: the system prompt is a text already.
        """
        added = filled_section(title, bullets=bullets)
        return self._append("system_sections", "system_prompt", added)

    def _append(self, sections: str, or_text: str, added: State) -> Context:
        state = self._read()
        if state.get(or_text) is not None:
            raise ValueError(
                f"the {or_text.replace('_', ' ')} of context {self.name!r} is a text already; "
                "it is text or sections"
            )
        return self._set(**{sections: [*state.get(sections, ()), added]})

    def set_post_prompt(self, post_prompt: str) -> Context:
        """Ask for a summary in these words while in this context."""
        return self._set(post_prompt=text(post_prompt, "a post-prompt"))

    def set_user_prompt(self, user_prompt: str) -> Context:
        """Add this on entering, as if the caller had said it."""
        return self._set(user_prompt=text(user_prompt, "a user prompt"))

    # -- what is left of the conversation on entering

    def set_consolidate(self, consolidate: bool) -> Context:
        """Sum up the conversation on entering."""
        return self._set(consolidate=flag(consolidate, "consolidate"))

    def set_full_reset(self, full_reset: bool) -> Context:
        """Replace the system prompt on entering, not add to it."""
        return self._set(full_reset=flag(full_reset, "full_reset"))

    def set_isolated(self, isolated: bool) -> Context:
        """Forget the conversation on entering, unless it is summed up or reset."""
        return self._set(isolated=flag(isolated, "isolated"))

    def set_history(self, history: str) -> Context:
        """Choose for all steps that do not say what :meth:`Step.set_history` does."""
        return self._set(history=history_mode(history))

    # -- fillers

    def set_enter_fillers(self, enter_fillers: Mapping[str, Iterable[str]]) -> Context:
        """Set what may be said on entering, by language code or ``default``."""
        return self._set(enter_fillers=_fillers(enter_fillers, "enter fillers"))

    def set_exit_fillers(self, exit_fillers: Mapping[str, Iterable[str]]) -> Context:
        """Set what may be said on leaving, by language code or ``default``."""
        return self._set(exit_fillers=_fillers(exit_fillers, "exit fillers"))

    def add_enter_filler(self, language_code: str, fillers: Iterable[str]) -> Context:
        """Set what may be said on entering in one language."""
        added = _fillers({language_code: fillers}, "enter fillers")
        return self._set(enter_fillers={**(self._read().get("enter_fillers") or {}), **added})

    def add_exit_filler(self, language_code: str, fillers: Iterable[str]) -> Context:
        """Set what may be said on leaving in one language."""
        added = _fillers({language_code: fillers}, "exit fillers")
        return self._set(exit_fillers={**(self._read().get("exit_fillers") or {}), **added})

    def to_dict(self) -> dict[str, Any]:
        """Return the context as the document holds it, without a look at what it names.

        Raises:
            ValueError: it has no steps, or a step has neither a text nor sections.
        """
        if not self._steps():
            raise ValueError(f"context {self.name!r} has no steps")
        for name, step in self._steps().items():
            check_text(f"step {name!r} of context {self.name!r}", step)
        return copy.deepcopy(_render_context(self._read()))


class ContextBuilder:
    """The contexts of an agent, by name, in the order in which they were added.

    Contexts and steps are kept in dictionaries that no method changes in place: a shallow copy
    stands alone, and costs the same however many steps there are.
    """

    def __init__(self) -> None:
        self._contexts: dict[str, State] = {}
        self._rendered: tuple[dict[str, State], frozenset[str] | None, State] | None = None

    def add_context(self, name: str) -> Context:
        """Add a context and return it. A single one must be named ``default``.

        Raises:
            ValueError: the name is taken, or there are too many contexts.
        """
        if text(name, "the name of a context") in self._contexts:
            raise ValueError(f"there is a context {name!r} already")
        if len(self._contexts) >= MAX_CONTEXTS:
            raise ValueError(f"there are {MAX_CONTEXTS} contexts, and there cannot be more")
        self._write(name, {})
        return self._view(name)

    def get_context(self, name: str) -> Context | None:
        """Return a context, or None."""
        return self._view(name) if name in self._contexts else None

    def reset(self) -> ContextBuilder:
        """Remove all contexts."""
        self._contexts = {}
        return self

    def validate(self, functions: Iterable[str] | None = None) -> None:
        """Check that what contexts and steps name is there.

        Args:
            functions: what the AI can call; None leaves the names of functions unchecked.

        Raises:
            ValueError: a context has no steps, a step has nothing to say, a name is unknown, or a
                function has a name that the platform needs for its own.
        """
        check_contexts(self._contexts, None if functions is None else frozenset(functions))

    def to_dict(self) -> dict[str, Any]:
        """Return the contexts as the document holds them, independent of these.

        Raises:
            ValueError: as :meth:`validate`.
        """
        return copy.deepcopy(self.render())

    def render(self, functions: Iterable[str] | None = None) -> dict[str, Any]:
        """Like :meth:`to_dict`, to be sent and not changed: it is kept until something changes.

        Args:
            functions: as for :meth:`validate`.

        Raises:
            ValueError: as :meth:`validate`.
        """
        contexts, kept = self._contexts, self._rendered
        known = None if functions is None else frozenset(functions)
        if kept is not None and kept[0] is contexts and kept[1] == known:
            return kept[2]
        check_contexts(contexts, known)
        rendered = {name: _render_context(state) for name, state in contexts.items()}
        self._rendered = (contexts, known, rendered)
        return rendered

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
    rendered = filled(state)
    system_sections = rendered.pop("system_sections", None)
    if system_sections:
        rendered["system_prompt"] = markdown(system_sections)
    rendered["steps"] = [render_step(name, each) for name, each in state["steps"].items()]
    return rendered


def _fillers(value: Any, what: str) -> dict[str, list[str]]:
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{what} must be a dictionary of lists by language, not {value!r}")
    made = {
        text(code, f"the language of {what}"): texts(fillers, f"the {what} for {code!r}")
        for code, fillers in value.items()
    }
    if not all(made.values()):
        raise ValueError(f"{what} must have something to say in each language")
    return made
