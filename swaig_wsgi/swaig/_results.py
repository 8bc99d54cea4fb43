"""What a tool answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._actions import call, media, messaging, payment, rpc, state
from ._actions.checks import objects, string
from ._chaining import adds
from ._values import flag, json_copy, json_object, text


class FunctionResult:
    """The answer of a tool: what the AI is told, and actions for the platform to carry out.

    Every action of the platform is a method, in whose docstring its arguments are described; the
    functions behind them are in :mod:`swaig_wsgi.swaig._actions`. What they are given is checked
    and copied: a ValueError names the argument and what was expected of it.

    Args:
        response: text for the AI to speak or use; a dictionary is passed on as it is.
        post_process: let the AI take one more turn before the actions are carried out. Needed
            where the caller should hear something before a transfer, a hold or the end.
        tool_result: as for :meth:`set_tool_response`, in place of `response`.
        tool_prompt: as for :meth:`set_tool_response`, in place of `response`.

    Raises:
        ValueError: a part cannot be said in JSON, or `post_process` is no bool.

    Every method but :meth:`to_dict` and the ``create_payment_`` ones returns the result itself,
    for chaining.
    """

    def __init__(
        self,
        response: str | dict[str, Any] | None = None,
        post_process: bool = False,
        tool_result: str | None = None,
        tool_prompt: str | None = None,
    ) -> None:
        self.response: str | dict[str, Any] = ""
        self.action: list[dict[str, Any]] = []
        self.post_process = flag(post_process, "post_process")
        if response is not None:
            self.set_response(response)
        if tool_result is not None or tool_prompt is not None:
            self.set_tool_response(tool_result, tool_prompt)

    def set_response(self, response: str | dict[str, Any]) -> FunctionResult:
        """Set what the AI is told."""
        if isinstance(response, str):
            self.response = response
        else:
            self.response = json_object(response, "a response that is not text")
        return self

    def set_tool_response(
        self, tool_result: str | None = None, tool_prompt: str | None = None
    ) -> FunctionResult:
        """Set what the AI is told, facts apart from instructions.

        Args:
            tool_result: what the tool did.
            tool_prompt: what the AI should say or do now.
        """
        self.response = {
            name: string(value, name)
            for name, value in (("tool_result", tool_result), ("tool_prompt", tool_prompt))
            if value is not None
        }
        return self

    def set_post_process(self, post_process: bool) -> FunctionResult:
        """Choose whether the AI takes one more turn before the actions are carried out.

        Raises:
            ValueError: `post_process` is no bool.
        """
        self.post_process = flag(post_process, "post_process")
        return self

    def add_action(self, name: str, data: Any) -> FunctionResult:
        """Append the action `name` with `data`, any JSON value; for one that has no method."""
        action = {text(name, "the name of an action"): json_copy(data, f"action {name!r}")}
        self.action.append(action)
        return self

    def add_actions(self, actions: Sequence[Mapping[str, Any]]) -> FunctionResult:
        """Append actions that are dictionaries already."""
        self.action.extend(objects(actions, "actions"))
        return self

    # -- the call

    connect = adds(call.connect)
    swml_transfer = adds(call.swml_transfer)
    hangup = adds(call.hangup)

    def hold(
        self,
        prompt: str | int | None = None,
        timeout: int = 300,
        step: str | None = None,
        timeout_step: str | None = None,
    ) -> FunctionResult:
        """Put the call on hold, during which the AI neither hears nor speaks.

        Args:
            prompt: what the AI should tell the caller before; it becomes the response, and
                `post_process` is set so that it is said. A number is taken for `timeout`.
            timeout: seconds, at most 900; what is above or below 0 is cut off.
            step: the step in which the caller is when taken off hold.
            timeout_step: the step in which the caller is when nobody did that in time.

        Raises:
            ValueError: a type is wrong.
        """
        if prompt is not None and not isinstance(prompt, str):
            return self.hold(None, prompt, step, timeout_step)
        self.action.append(call.hold(timeout, step, timeout_step))
        if prompt is not None:
            self.set_tool_response("status: on hold", prompt).set_post_process(True)
        return self

    stop = adds(call.stop)
    wait_for_user = adds(call.wait_for_user)
    sip_refer = adds(call.sip_refer)
    join_room = adds(call.join_room)
    join_conference = adds(call.join_conference)

    # -- what is heard

    say = adds(media.say)
    play_background_file = adds(media.play_background_file)
    stop_background_file = adds(media.stop_background_file)
    set_end_of_speech_timeout = adds(media.set_end_of_speech_timeout)
    set_speech_event_timeout = adds(media.set_speech_event_timeout)
    add_dynamic_hints = adds(media.add_dynamic_hints)
    clear_dynamic_hints = adds(media.clear_dynamic_hints)
    change_voice = adds(media.change_voice)
    record_call = adds(media.record_call)
    stop_record_call = adds(media.stop_record_call)
    tap = adds(media.tap)
    stop_tap = adds(media.stop_tap)

    # -- what the AI knows and may do

    update_global_data = adds(state.update_global_data)
    remove_global_data = adds(state.remove_global_data)
    set_semantic_state = adds(state.set_semantic_state)
    set_metadata = adds(state.set_metadata)
    remove_metadata = adds(state.remove_metadata)
    toggle_functions = adds(state.toggle_functions)
    enable_functions_on_timeout = adds(state.enable_functions_on_timeout)
    enable_extensive_data = adds(state.enable_extensive_data)
    replace_in_history = adds(state.replace_in_history)
    update_settings = adds(state.update_settings)
    switch_context = adds(state.switch_context)
    swml_change_step = adds(state.swml_change_step)
    swml_change_context = adds(state.swml_change_context)

    # -- messages and payments

    send_sms = adds(messaging.send_sms)
    swml_user_event = adds(messaging.swml_user_event)
    simulate_user_input = adds(messaging.simulate_user_input)
    pay = adds(payment.pay)
    create_payment_prompt = staticmethod(payment.create_payment_prompt)
    create_payment_action = staticmethod(payment.create_payment_action)
    create_payment_parameter = staticmethod(payment.create_payment_parameter)

    # -- beyond the call

    execute_swml = adds(rpc.execute_swml)
    execute_rpc = adds(rpc.execute_rpc)
    rpc_dial = adds(rpc.rpc_dial)
    rpc_ai_message = adds(rpc.rpc_ai_message)
    rpc_ai_global_data = adds(rpc.rpc_ai_global_data)
    rpc_ai_unhold = adds(rpc.rpc_ai_unhold)

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


def to_response(result: Any) -> dict[str, Any]:
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
