"""Actions that reach beyond the call: SWML, and remote procedures on other calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .._values import flag, given, json_object
from .checks import Action, line, optional_line, phone_number, string, swml, url


def execute_swml(swml_content: Any, transfer: bool = False) -> Action:
    """Run a SWML document.

    Whoever writes the document has the call: never put in what a caller said, unchecked.

    Args:
        swml_content: a dictionary, JSON text, or an object with a ``to_dict`` method. Text that
            is not JSON is sent as it is, for the platform to read.
        transfer: whether the call leaves the agent for it.

    Raises:
        ValueError: it is none of these, is JSON of another type than an object, or cannot be
            said in JSON.
    """
    content = swml_content
    if isinstance(content, str):
        try:
            content = json.loads(content)
        except (ValueError, RecursionError):
            content = {"raw_swml": content}
    elif hasattr(content, "to_dict"):
        content = content.to_dict()
    action: Action = {"SWML": json_object(content, "swml_content")}
    if flag(transfer, "transfer"):
        action["transfer"] = "true"
    return action


def execute_rpc(
    method: str,
    params: Mapping[str, Any] | None = None,
    call_id: str | None = None,
    node_id: str | None = None,
) -> Action:
    """Call a remote procedure of the platform.

    Args:
        method: such as ``dial``, ``ai_message`` or ``ai_unhold``.
        params: its parameters.
        call_id: the call that it is about.
        node_id: the node of that call.

    Raises:
        ValueError: a text is blank or has control characters, or `params` is no dictionary or
            cannot be said in JSON.
    """
    return swml(
        {
            "execute_rpc": {
                "method": line(method, "method"),
                **given(
                    call_id=optional_line(call_id, "call_id"),
                    node_id=optional_line(node_id, "node_id"),
                    params=None if params is None else json_object(params, "params"),
                ),
            }
        }
    )


def rpc_dial(
    to_number: str, from_number: str, dest_swml: str, device_type: str = "phone"
) -> Action:
    """Place another call.

    Args:
        to_number: whom to call; a phone number (E.164), unless `device_type` says otherwise.
        from_number: the number to show.
        dest_swml: the http or https URL of the document for that call.
        device_type: the kind of device, ``phone`` for a phone number.

    Raises:
        ValueError: an argument is malformed.
    """
    kind = line(device_type, "device_type")
    number = phone_number if kind == "phone" else line
    device = {
        "to_number": number(to_number, "to_number"),
        "from_number": number(from_number, "from_number"),
    }
    return execute_rpc(
        "dial",
        {
            "devices": {"type": kind, "params": device},
            "dest_swml": url(dest_swml, "dest_swml"),
        },
    )


def rpc_ai_message(
    call_id: str,
    message_text: str | None = None,
    role: str = "system",
    global_data: Mapping[str, Any] | None = None,
) -> Action:
    """Tell the AI of another call something.

    Args:
        call_id: which call.
        message_text: a message in its conversation.
        role: whose message it is.
        global_data: what to add to that call's shared data, silently.

    Raises:
        ValueError: there is neither message nor data, or a type is wrong.
    """
    params: dict[str, Any] = {}
    if message_text is not None:
        params["role"] = line(role, "role")
        params["message_text"] = string(message_text, "message_text")
    if global_data is not None:
        params["global_data"] = json_object(global_data, "global_data")
    if not params:
        raise ValueError("rpc_ai_message needs message_text, global_data, or both")
    return execute_rpc("ai_message", params, line(call_id, "call_id"))


def rpc_ai_global_data(call_id: str, data: Mapping[str, Any]) -> Action:
    """Add to the shared data of another call, without a word in its conversation.

    Raises:
        ValueError: `call_id` is blank, or `data` no dictionary.
    """
    return rpc_ai_message(call_id, global_data=json_object(data, "data"))


def rpc_ai_unhold(call_id: str) -> Action:
    """Take another call off hold.

    Raises:
        ValueError: `call_id` is blank or has control characters.
    """
    return execute_rpc("ai_unhold", call_id=line(call_id, "call_id"))
