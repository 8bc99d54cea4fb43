"""A step: what the AI does now, and what it may do next."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from ..swaig._values import flag, texts
from ..swaig._values import text as nonempty
from ._context_checks import check_text
from ._sections import make_section, markdown

#: What a context or a step was told; replaced as a whole, never changed in place.
State = dict[str, Any]

#: How much of what came before the model still sees: all of it, the dialogue without the
#: instructions of earlier steps, or nothing.
HISTORY_MODES = ("keep", "default", "hide")

ANSWER_TYPES = ("string", "integer", "number", "boolean")


class Step:
    """A step of a context; :meth:`Context.add_step` makes it. Every ``set_`` and ``add_`` method
    returns the step.

    A step is a view: it keeps its name, and looks for its state where its context is. To change
    the step of a copy, ask the copy for it.
    """

    def __init__(
        self, name: str, read: Callable[[], State], write: Callable[[State], None]
    ) -> None:
        self.name = name
        self._read = read
        self._write = write

    def _set(self, **members: Any) -> Step:
        self._write({**self._read(), **members})
        return self

    def set_text(self, text: str) -> Step:
        """Say in one text what to do.

        Raises:
            ValueError: there are sections already, which the text would silently hide.
        """
        if self._read().get("sections"):
            raise ValueError(f"step {self.name!r} has sections already; it is text or sections")
        return self._set(text=nonempty(text, f"the text of step {self.name!r}"))

    def add_section(self, title: str, body: str) -> Step:
        """Append a section with a body.

        Raises:
            ValueError: the step has a text already.
        """
        return self._append(filled_section(title, body=body))

    def add_bullets(self, title: str, bullets: Iterable[str]) -> Step:
        """Append a section of bullets.

        Raises:
            ValueError: the step has a text already.
        """
        return self._append(filled_section(title, bullets=bullets))

    def _append(self, added: State) -> Step:
        state = self._read()
        if state.get("text") is not None:
            raise ValueError(f"step {self.name!r} has a text already; it is text or sections")
        return self._set(sections=[*state.get("sections", ()), added])

    def clear_sections(self) -> Step:
        """Drop text and sections."""
        return self._set(text=None, sections=[])

    def set_step_criteria(self, criteria: str) -> Step:
        """Say when the step is done."""
        return self._set(step_criteria=nonempty(criteria, f"the criteria of step {self.name!r}"))

    def set_functions(self, functions: Iterable[str] | str) -> Step:
        """Limit which functions may be called during the step; none with ``[]`` or ``"none"``.

        A step that does not say keeps the functions of the step before it.
        """
        if functions == "none":
            return self._set(functions="none")
        return self._set(functions=texts(functions, f"the functions of step {self.name!r}"))

    def set_valid_steps(self, steps: Iterable[str]) -> Step:
        """Limit which steps may follow; ``"next"`` is the next in order."""
        return self._set(valid_steps=texts(steps, f"the valid steps of step {self.name!r}"))

    def set_valid_contexts(self, contexts: Iterable[str]) -> Step:
        """Limit which contexts may follow."""
        what = f"the valid contexts of step {self.name!r}"
        return self._set(valid_contexts=texts(contexts, what))

    def set_end(self, end: bool) -> Step:
        """Leave the steps after this one. The call goes on, led by the prompts alone."""
        return self._set(end=flag(end, "end"))

    def set_skip_user_turn(self, skip: bool) -> Step:
        """Do not wait for the caller to speak after this step."""
        return self._set(skip_user_turn=flag(skip, "skip"))

    def set_skip_to_next_step(self, skip: bool) -> Step:
        """Go on to the next step at once."""
        return self._set(skip_to_next_step=flag(skip, "skip"))

    def set_history(self, history: str) -> Step:
        """Choose what the model still sees of what came before: ``keep`` is everything,
        ``default`` is without the instructions of earlier steps, ``hide`` is nothing.
        """
        return self._set(history=history_mode(history))

    def set_reset_system_prompt(self, system_prompt: str) -> Step:
        """Take this system prompt when the step leads into another context."""
        return self._reset(system_prompt=nonempty(system_prompt, "the system prompt of a reset"))

    def set_reset_user_prompt(self, user_prompt: str) -> Step:
        """Add this, as if the caller had said it, when the step leads into another context."""
        return self._reset(user_prompt=nonempty(user_prompt, "the user prompt of a reset"))

    def set_reset_consolidate(self, consolidate: bool) -> Step:
        """Sum up the conversation when the step leads into another context."""
        return self._reset(consolidate=flag(consolidate, "consolidate"))

    def set_reset_full_reset(self, full_reset: bool) -> Step:
        """Replace the system prompt, not add to it, when the step leads into another context."""
        return self._reset(full_reset=flag(full_reset, "full_reset"))

    def _reset(self, **members: Any) -> Step:
        return self._set(reset={**self._read().get("reset", {}), **members})

    def set_gather_info(
        self,
        output_key: str | None = None,
        completion_action: str | None = None,
        prompt: str | None = None,
        isolated: bool = False,
    ) -> Step:
        """Ask questions one by one, to be added with :meth:`add_gather_question`.

        Args:
            output_key: where in the global data the answers go; by default at its top.
            completion_action: where to go then: ``next_step``, or a step of this context; by
                default the step goes on.
            prompt: how to ask.
            isolated: hide earlier questions and answers while one is asked.
        """
        return self._set(
            gather_info={
                "questions": [],
                "prompt": prompt and nonempty(prompt, "the prompt of gather_info"),
                "output_key": output_key and nonempty(output_key, "output_key"),
                "completion_action": completion_action
                and nonempty(completion_action, "completion_action"),
                "isolated": flag(isolated, "isolated"),
            }
        )

    def add_gather_question(
        self,
        key: str,
        question: str,
        type: str = "string",  # noqa: A002 - the name that users of the platform know
        confirm: bool = False,
        prompt: str | None = None,
        functions: Iterable[str] | None = None,
        isolated: bool | None = None,
    ) -> Step:
        """Add a question.

        Args:
            key: names the answer in the global data.
            question: what to ask.
            type: ``string``, ``integer``, ``number`` or ``boolean``.
            confirm: read the answer back before it counts.
            prompt: further instructions for this question.
            functions: what may be called during this question; nothing else may be.
            isolated: hide earlier questions and answers; by default as the step says.

        Raises:
            ValueError: :meth:`set_gather_info` was not called, or an argument is wrong.
        """
        gather = self._read().get("gather_info")
        if gather is None:
            raise ValueError(f"step {self.name!r} gathers nothing; call set_gather_info() first")
        if type not in ANSWER_TYPES:
            raise ValueError(f"type must be one of {', '.join(ANSWER_TYPES)}, not {type!r}")
        added: State = {
            "key": nonempty(key, "the key of a question"),
            "question": nonempty(question, "a question"),
            "type": None if type == "string" else type,
            "confirm": flag(confirm, "confirm"),
            "prompt": prompt and nonempty(prompt, f"the prompt of question {key!r}"),
            "functions": texts(functions, f"the functions of question {key!r}")
            if functions
            else None,
        }
        added = filled(added)
        if isolated is not None:
            # Said even when False: it overrides what the step says.
            added["isolated"] = flag(isolated, "isolated")
        return self._set(gather_info={**gather, "questions": [*gather["questions"], added]})

    def to_dict(self) -> dict[str, Any]:
        """Return the step as the document holds it, without a look at what it names.

        Raises:
            ValueError: it has neither a text nor sections.
        """
        check_text(f"step {self.name!r}", self._read())
        return copy.deepcopy(render_step(self.name, self._read()))


def render_step(name: str, state: State) -> State:
    """Return a step, checked before, as the document holds it."""
    members = filled(state)
    sections = members.pop("sections", ())
    rendered = {"name": name, "text": markdown(sections), **members}
    for part in ("reset", "gather_info"):
        if part in rendered:
            rendered[part] = filled(rendered[part])
    if not rendered.get("reset", True):
        del rendered["reset"]
    return rendered


def filled(state: State) -> State:
    """Return the members that say something; an empty list does, None, False and "" do not."""
    return {name: value for name, value in state.items() if value not in (None, False, "")}


def filled_section(title: str, **content: Any) -> State:
    """Return a section that must have what is given."""
    made = make_section(title, **content)
    if len(made) == 1:
        raise ValueError(f"section {title!r} has no {' or '.join(content)}")
    return made


def history_mode(value: Any) -> str:
    """Return `value` when it is one of `HISTORY_MODES`.

    Raises:
        ValueError: it is not.
    """
    if value not in HISTORY_MODES:
        raise ValueError(f"history must be one of {', '.join(HISTORY_MODES)}, not {value!r}")
    return str(value)
