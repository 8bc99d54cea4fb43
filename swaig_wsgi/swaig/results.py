"""What a tool answers."""

from __future__ import annotations

from typing import Any

from .values import json_copy, json_object, text


class FunctionResult:
    """The answer of a tool: what the AI is told, and actions for the platform to carry out.

    Args:
        response: text for the AI to speak or use; a dictionary is passed on as it is.
        post_process: let the AI take one more turn before the actions are carried out.

    Raises:
        ValueError: a part cannot be said in JSON.

    Every ``set_`` and ``add_`` method returns the result itself, for chaining.
    """

    def __init__(
        self, response: str | dict[str, Any] | None = None, *, post_process: bool = False
    ) -> None:
        self.response: str | dict[str, Any] = ""
        self.action: list[dict[str, Any]] = []
        self.post_process = post_process
        if response is not None:
            self.set_response(response)

    def set_response(self, response: str | dict[str, Any]) -> FunctionResult:
        """Set what the AI is told."""
        if isinstance(response, str):
            self.response = response
        else:
            self.response = json_object(response, "a response that is not text")
        return self

    def add_action(self, name: str, value: Any) -> FunctionResult:
        """Append the action `name` with `value`, any JSON value."""
        action = {text(name, "the name of an action"): json_copy(value, f"action {name!r}")}
        self.action.append(action)
        return self

    def set_post_process(self, post_process: bool) -> FunctionResult:
        """Choose whether the AI takes one more turn before the actions are carried out."""
        self.post_process = post_process
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as the platform reads it.

        At least one of ``response`` and ``action`` is there; ``post_process`` only beside actions.
        """
        result: dict[str, Any] = {}
        if self.response:
            result["response"] = self.response
        if self.action:
            result["action"] = list(self.action)
            if self.post_process:
                result["post_process"] = True
        return result or {"response": "Action completed."}


def to_answer(result: Any) -> dict[str, Any]:
    """Turn what a handler returned into the answer's object.

    A :class:`FunctionResult`, a dictionary with ``response`` or ``action``, and text are
    understood.

    Raises:
        TypeError: anything else. A handler that returns nothing has not said whether it worked,
            so the AI must not be told that it did.
    """
    if isinstance(result, FunctionResult):
        return result.to_dict()
    if isinstance(result, str):
        return FunctionResult(result).to_dict()
    if isinstance(result, dict) and ("response" in result or "action" in result):
        return result
    raise TypeError(
        "a tool handler must return a FunctionResult, text, or a dictionary with 'response' or "
        f"'action', not {type(result).__name__}"
    )
