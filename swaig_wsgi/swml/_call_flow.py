"""The verbs around the AI: before, at and after the answer, and after the AI."""

from __future__ import annotations

from typing import Any

from ..core._validation import check_bool, check_str
from ..swaig._validation import check_choice, json_copy, json_object

Verb = dict[str, Any]


class CallFlow:
    """The verbs of the document's main section, except the ``ai`` verb.

    No method changes a list in place, so that a shallow copy is independent.

    Args:
        auto_answer: whether to answer the call before the AI speaks.
        record_call: whether to record the call once it is answered.
        record_format: ``mp4``, ``mp3`` or ``wav``.
        record_stereo: whether each side has its own channel.

    Raises:
        ValueError: an argument is invalid. For a wrong type it is a TypeError as well.
    """

    def __init__(
        self,
        *,
        auto_answer: bool = True,
        record_call: bool = False,
        record_format: str = "mp4",
        record_stereo: bool = True,
    ) -> None:
        check_choice("record_format", record_format, ("mp4", "mp3", "wav"))
        self._auto_answer = check_bool("auto_answer", auto_answer)
        self._answer: Verb = {"answer": {}}
        self._record: Verb | None = None
        stereo = check_bool("record_stereo", record_stereo)
        if check_bool("record_call", record_call):
            self._record = {"record_call": {"format": record_format, "stereo": stereo}}
        self._pre_answer: list[Verb] = []
        self._post_answer: list[Verb] = []
        self._post_ai: list[Verb] = []

    def set_answer(self, config: dict[str, Any] | None = None) -> None:
        """Set the parameters of the ``answer`` verb; unused without `auto_answer`."""
        params = {} if config is None else config
        self._answer = {"answer": json_object("the parameters of the answer", params)}

    def add_pre_answer(self, name: str, config: Any) -> None:
        """Add a verb that runs while the call rings."""
        self._pre_answer = [*self._pre_answer, _verb(name, config)]

    def add_post_answer(self, name: str, config: Any) -> None:
        """Add a verb that runs between the answer and the AI."""
        self._post_answer = [*self._post_answer, _verb(name, config)]

    def add_post_ai(self, name: str, config: Any) -> None:
        """Add a verb that runs after the AI has ended."""
        self._post_ai = [*self._post_ai, _verb(name, config)]

    def clear_pre_answer(self) -> None:
        """Remove the verbs before the answer."""
        self._pre_answer = []

    def clear_post_answer(self) -> None:
        """Remove the verbs between the answer and the AI."""
        self._post_answer = []

    def clear_post_ai(self) -> None:
        """Remove the verbs after the AI."""
        self._post_ai = []

    def render(self, ai: dict[str, Any]) -> list[Verb]:
        """Return the main section, given the value of the ``ai`` verb; other verbs are copies."""
        opening = [self._answer] if self._auto_answer else []
        if self._record is not None:
            opening.append(self._record)
        before = json_copy("verbs", [*self._pre_answer, *opening, *self._post_answer])
        return [*before, {"ai": ai}, *json_copy("verbs", self._post_ai)]


def _verb(name: str, config: Any) -> Verb:
    return {check_str("the name of a verb", name): json_copy(f"verb {name!r}", config)}
