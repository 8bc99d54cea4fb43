"""A step: what the AI does now, and what it may do next."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from ..core._validation import check_bool, check_str
from ..swaig._validation import check_choice, check_strings
from ._context_checks import check_instructions
from ._sections import markdown
from ._views import State, View, drop_unset

ANSWER_TYPES = ("string", "integer", "number", "boolean")


class Step(View):
    """A step of a context, made by :meth:`Context.add_step`; for its methods see :class:`View`."""

    _kind = "step"
    _text = "text"
    _sections = "sections"

    def set_text(self, text: str) -> Step:
        """Set the instructions as one text."""
        return self._set_text(self._text, self._sections, text)

    def clear_sections(self) -> Step:
        """Remove text and sections."""
        return self._set(text=None, sections=[])

    def set_step_criteria(self, criteria: str) -> Step:
        """Set the criteria by which the AI decides that the step is done."""
        return self._set(step_criteria=check_str(f"the criteria of {self}", criteria))

    def set_functions(self, functions: Iterable[str] | str) -> Step:
        """Limit which functions may be called during the step; none with ``[]`` or ``"none"``.

        A step without a limit keeps the functions of the step before it.
        """
        if functions == "none":
            return self._set(functions="none")
        return self._set(functions=check_strings(f"the functions of {self}", functions))

    def set_end(self, end: bool) -> Step:
        """Leave the steps after this one. The call continues with the prompts alone."""
        return self._set(end=check_bool("end", end))

    def set_skip_user_turn(self, skip: bool) -> Step:
        """Do not wait for the caller to speak after this step."""
        return self._set(skip_user_turn=check_bool("skip", skip))

    def set_skip_to_next_step(self, skip: bool) -> Step:
        """Go to the next step at once."""
        return self._set(skip_to_next_step=check_bool("skip", skip))

    def set_reset_system_prompt(self, system_prompt: str) -> Step:
        """Use this system prompt when the step leads into another context."""
        return self._reset(system_prompt=check_str("the system prompt of a reset", system_prompt))

    def set_reset_user_prompt(self, user_prompt: str) -> Step:
        """Add this as the caller's words when the step leads into another context."""
        return self._reset(user_prompt=check_str("the user prompt of a reset", user_prompt))

    def set_reset_consolidate(self, consolidate: bool) -> Step:
        """Summarize the conversation when the step leads into another context."""
        return self._reset(consolidate=check_bool("consolidate", consolidate))

    def set_reset_full_reset(self, full_reset: bool) -> Step:
        """Replace the system prompt, not add to it, when the step leads into another context."""
        return self._reset(full_reset=check_bool("full_reset", full_reset))

    def _reset(self, **members: Any) -> Step:
        return self._set(reset={**self._read().get("reset", {}), **members})

    def set_gather_info(
        self,
        output_key: str | None = None,
        completion_action: str | None = None,
        prompt: str | None = None,
        isolated: bool = False,
    ) -> Step:
        """Ask questions one by one; add them with :meth:`add_gather_question`.

        Args:
            output_key: where in the global data the caller's answers go; by default at its top.
            completion_action: where to go then: ``next_step``, or a step of this context; by
                default the step continues.
            prompt: how to ask.
            isolated: hide earlier questions and answers while one is asked.
        """
        gather: State = {
            "questions": [],
            "prompt": prompt and check_str("the prompt of gather_info", prompt),
            "output_key": output_key and check_str("output_key", output_key),
            "completion_action": completion_action
            and check_str("completion_action", completion_action),
            "isolated": check_bool("isolated", isolated),
        }
        return self._set(gather_info=gather)

    def add_gather_question(
        self,
        key: str,
        question: str,
        type: str = "string",  # noqa: A002 - the platform's own word
        confirm: bool = False,
        prompt: str | None = None,
        functions: Iterable[str] | None = None,
        isolated: bool | None = None,
    ) -> Step:
        """Add a question.

        Args:
            key: names the caller's answer in the global data.
            question: what to ask.
            type: ``string``, ``integer``, ``number`` or ``boolean``.
            confirm: read the answer back before it is accepted.
            prompt: further instructions for this question.
            functions: the only functions that may be called during this question.
            isolated: hide earlier questions and answers; by default as the step does.

        Raises:
            ValueError: :meth:`set_gather_info` was not called, or an argument is invalid.
        """
        gather = self._read().get("gather_info")
        if gather is None:
            raise ValueError(f"{self} gathers no information; call set_gather_info() first")
        kind = check_choice("type", type, ANSWER_TYPES)
        what = f"the functions of question {key!r}"
        added = drop_unset(
            {
                "key": check_str("the key of a question", key),
                "question": check_str("a question", question),
                "type": None if kind == "string" else kind,
                "confirm": check_bool("confirm", confirm),
                "prompt": prompt and check_str(f"the prompt of question {key!r}", prompt),
                "functions": check_strings(what, functions) if functions else None,
            }
        )
        if isolated is not None:
            # Kept even when False, because it overrides the step's.
            added["isolated"] = check_bool("isolated", isolated)
        return self._set(gather_info={**gather, "questions": [*gather["questions"], added]})

    def to_dict(self) -> dict[str, Any]:
        """Return the step as in the document, without validating the names it refers to.

        Raises:
            ValueError: it has neither a text nor sections.
        """
        check_instructions(str(self), self._read())
        return copy.deepcopy(render_step(self.name, self._read()))


def render_step(name: str, state: State) -> State:
    """Return a valid step as in the document."""
    members = drop_unset(state)
    sections = members.pop("sections", ())
    rendered = {"name": name, "text": markdown(sections), **members}
    for part in ("reset", "gather_info"):
        if part in rendered:
            rendered[part] = drop_unset(rendered[part])
    if not rendered.get("reset", True):
        del rendered["reset"]
    return rendered
