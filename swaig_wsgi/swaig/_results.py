"""Results of tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core._validation import check_bool, check_str
from ._actions import call, media, messaging, payment, rpc, state
from ._chaining import adds
from ._validation import check_text, json_copy, json_object, json_objects

#: What the AI is told of a tool that returned nothing.
_COMPLETED = "Action completed."


class FunctionResult:
    """The result of a tool: a message returned to the AI, and actions for the platform.

    Every action of the platform is a method. Each validates and copies its arguments, and returns
    the result itself, for chaining; only :meth:`to_dict` and the ``create_payment_`` methods return
    something else.

    Args:
        response: text for the AI to speak or use; a dictionary is passed on as it is.
        post_process: whether the AI takes one more turn before the actions are carried out, so
            that it can speak before a transfer, a hold or the end of the call.
        tool_result: as for :meth:`set_tool_response`, in place of `response`.
        tool_prompt: as for :meth:`set_tool_response`, in place of `response`.

    Raises:
        ValueError: here and in every method: an argument is invalid. The message names it. For a
            wrong type the exception is a TypeError as well.
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
        self.post_process = check_bool("post_process", post_process)
        if response is not None:
            self.set_response(response)
        if tool_result is not None or tool_prompt is not None:
            self.set_tool_response(tool_result, tool_prompt)

    def set_response(self, response: str | dict[str, Any]) -> FunctionResult:
        """Set the message returned to the AI."""
        if isinstance(response, str):
            self.response = response
        else:
            self.response = json_object("a response that is not a string", response)
        return self

    def set_tool_response(
        self, tool_result: str | None = None, tool_prompt: str | None = None
    ) -> FunctionResult:
        """Set the message returned to the AI, with facts apart from instructions.

        Args:
            tool_result: what the tool did.
            tool_prompt: what the AI should say or do now.
        """
        self.response = {
            name: check_text(name, value)
            for name, value in (("tool_result", tool_result), ("tool_prompt", tool_prompt))
            if value is not None
        }
        return self

    def set_post_process(self, post_process: bool) -> FunctionResult:
        """Choose whether the AI takes one more turn before the actions are carried out."""
        self.post_process = check_bool("post_process", post_process)
        return self

    def add_action(self, name: str, data: Any) -> FunctionResult:
        """Append the action `name` with `data`, any JSON value, if it has no method."""
        action = {check_str("the name of an action", name): json_copy(f"action {name!r}", data)}
        self.action.append(action)
        return self

    def add_actions(self, actions: Sequence[Mapping[str, Any]]) -> FunctionResult:
        """Append actions that are dictionaries."""
        self.action.extend(json_objects("actions", actions))
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
        """Put the call on hold, during which the AI neither listens nor speaks.

        Args:
            prompt: what the AI should tell the caller first; it becomes the response, and sets
                `post_process`. A number is taken as `timeout`.
            timeout: seconds, limited to the range from 0 to 900; or a variable.
            step: the step to go to when the call is taken off hold.
            timeout_step: the step to go to after the timeout.
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

    # -- speech and sound

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

    # -- the data, functions and prompts of the AI

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

    # -- SWML and other calls

    execute_swml = adds(rpc.execute_swml)
    execute_rpc = adds(rpc.execute_rpc)
    rpc_dial = adds(rpc.rpc_dial)
    rpc_ai_message = adds(rpc.rpc_ai_message)
    rpc_ai_global_data = adds(rpc.rpc_ai_global_data)
    rpc_ai_unhold = adds(rpc.rpc_ai_unhold)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object for the platform.

        It has a ``response``, an ``action`` or both; ``post_process`` only with actions.
        """
        result: dict[str, Any] = {}
        if self.response:
            result["response"] = self.response
        if self.action:
            result["action"] = list(self.action)
            if self.post_process:
                result["post_process"] = True
        return result or {"response": _COMPLETED}


def to_response(result: Any) -> dict[str, Any]:
    """Return the JSON object for what a handler returned.

    That is a :class:`FunctionResult`, a dictionary with ``response`` or ``action``, or text.

    Raises:
        TypeError: it is anything else. None does not show whether the tool worked, so the AI must
            not be told that it did.
    """
    if isinstance(result, FunctionResult):
        return result.to_dict()
    if isinstance(result, str):
        return {"response": result or _COMPLETED}
    if isinstance(result, Mapping) and ("response" in result or "action" in result):
        return dict(result)
    expected = "a FunctionResult, text, or a dictionary with 'response' or 'action'"
    raise TypeError(f"a tool handler must return {expected}, not {type(result).__name__}")
