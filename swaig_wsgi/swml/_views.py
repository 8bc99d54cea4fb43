"""What contexts and steps have in common.

Both are views. Their state is a dictionary that belongs to the :class:`ContextBuilder` and is
replaced as a whole, never changed in place, so that a shallow copy of the builder is independent. A
view keeps its name and looks its state up at each call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ..core._validation import check_str
from ..swaig._validation import check_choice, check_strings
from ._sections import make_section

State = dict[str, Any]

#: What the model still sees of the conversation so far: all of it, the dialogue without the
#: instructions of earlier steps, or nothing.
HISTORY_MODES = ("keep", "default", "hide")

V = TypeVar("V", bound="View")


class View:
    """Base class of :class:`Context` and :class:`Step`.

    Every method that does not return something else returns the view, for chaining. To change a
    part of a copied agent, get its view from the copy.

    Raises:
        ValueError: an argument is invalid (for a wrong type it is a TypeError as well), or a prompt
            would be both a text and sections, which the text would silently hide.
    """

    _kind: str
    #: The members of the state that hold the prompt as one text, and as sections.
    _text: str
    _sections: str

    def __init__(
        self, name: str, read: Callable[[], State], write: Callable[[State], None]
    ) -> None:
        self.name = name
        self._read = read
        self._write = write

    def __str__(self) -> str:
        return f"{self._kind} {self.name!r}"

    def add_section(self: V, title: str, body: str) -> V:
        """Append a section to the prompt."""
        return self._append(self._text, self._sections, title, body=body)

    def add_bullets(self: V, title: str, bullets: Iterable[str]) -> V:
        """Append a section of bullets to the prompt."""
        return self._append(self._text, self._sections, title, bullets=bullets)

    def set_valid_steps(self: V, steps: Iterable[str]) -> V:
        """Limit which steps may follow; ``"next"`` is the next in order."""
        return self._set(valid_steps=check_strings(f"the valid steps of {self}", steps))

    def set_valid_contexts(self: V, contexts: Iterable[str]) -> V:
        """Limit which contexts may follow."""
        return self._set(valid_contexts=check_strings(f"the valid contexts of {self}", contexts))

    def set_history(self: V, history: str) -> V:
        """Choose what the model still sees of the conversation before a step.

        Args:
            history: ``keep`` (everything), ``default`` (everything but the instructions of earlier
                steps) or ``hide`` (nothing). A step's value takes precedence over its context's.
        """
        return self._set(history=check_choice("history", history, HISTORY_MODES))

    def _set(self: V, **members: Any) -> V:
        self._write({**self._read(), **members})
        return self

    def _set_text(self: V, text: str, sections: str, value: str) -> V:
        if self._read().get(sections):
            raise self._conflict(text)
        return self._set(**{text: check_str(f"the {_words(text)} of {self}", value)})

    def _append(self: V, text: str, sections: str, title: str, **content: Any) -> V:
        section = make_section(title, **content)
        if len(section) == 1:
            raise ValueError(f"section {title!r} has no {' or '.join(content)}")
        state = self._read()
        if state.get(text) is not None:
            raise self._conflict(text)
        return self._set(**{sections: [*state.get(sections, ()), section]})

    def _conflict(self, text: str) -> ValueError:
        return ValueError(f"the {_words(text)} of {self} cannot be combined with sections")


def drop_unset(state: State) -> State:
    """Return the members other than None, False and ``""``; an empty list is a setting."""
    return {name: value for name, value in state.items() if value not in (None, False, "")}


def _words(member: str) -> str:
    return member.replace("_", " ")
