"""The verbs round the AI: what happens before, at and after the answer, and after the AI."""

from __future__ import annotations

from typing import Any

from ..swaig._values import flag, json_copy, json_object, text

Verb = dict[str, Any]


class CallFlow:
    """The verbs of the document's main section, except the AI's own.

    No method changes a list in place, so that a shallow copy stands alone.

    Args:
        auto_answer: answer the call before the AI speaks.
        record_call: record from the answer on.
        record_format: ``mp4``, ``mp3`` or ``wav``.
        record_stereo: one channel a side.

    Raises:
        ValueError: an argument is none of these; the string ``"false"`` is no False.
    """

    def __init__(
        self,
        *,
        auto_answer: bool = True,
        record_call: bool = False,
        record_format: str = "mp4",
        record_stereo: bool = True,
    ) -> None:
        if record_format not in ("mp4", "mp3", "wav"):
            raise ValueError(f"record_format must be mp4, mp3 or wav, not {record_format!r}")
        self._auto_answer = flag(auto_answer, "auto_answer")
        self._answer: Verb = {"answer": {}}
        self._record: Verb | None = None
        stereo = flag(record_stereo, "record_stereo")
        if flag(record_call, "record_call"):
            self._record = {"record_call": {"format": record_format, "stereo": stereo}}
        self._pre_answer: list[Verb] = []
        self._post_answer: list[Verb] = []
        self._post_ai: list[Verb] = []

    def set_answer(self, config: dict[str, Any] | None = None) -> None:
        """Set the parameters of the answer, where the call is answered automatically.

        Raises:
            ValueError: they are no dictionary, or cannot be said in JSON.
        """
        given = {} if config is None else config
        self._answer = {"answer": json_object(given, "the parameters of the answer")}

    def add_pre_answer(self, name: str, config: Any) -> None:
        """Run a verb while the call still rings."""
        self._pre_answer = [*self._pre_answer, _verb(name, config)]

    def add_post_answer(self, name: str, config: Any) -> None:
        """Run a verb between the answer and the AI."""
        self._post_answer = [*self._post_answer, _verb(name, config)]

    def add_post_ai(self, name: str, config: Any) -> None:
        """Run a verb once the AI has ended."""
        self._post_ai = [*self._post_ai, _verb(name, config)]

    def clear_pre_answer(self) -> None:
        """Drop the verbs before the answer."""
        self._pre_answer = []

    def clear_post_answer(self) -> None:
        """Drop the verbs between the answer and the AI."""
        self._post_answer = []

    def clear_post_ai(self) -> None:
        """Drop the verbs after the AI."""
        self._post_ai = []

    def render(self, ai: dict[str, Any]) -> list[Verb]:
        """Return the main section round the value of the ``ai`` verb."""
        opening = [self._answer] if self._auto_answer else []
        if self._record is not None:
            opening.append(self._record)
        return [*self._pre_answer, *opening, *self._post_answer, {"ai": ai}, *self._post_ai]


def _verb(name: str, config: Any) -> Verb:
    return {text(name, "the name of a verb"): json_copy(config, f"verb {name!r}")}
