"""Actions that run SWML documents, and remote procedures on other calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...core._validation import check_bool
from .._validation import (
    check_line,
    check_phone_number,
    check_text,
    check_url,
    json_object,
    optional,
)
from . import Action, swml, verb


def execute_swml(swml_content: Any, transfer: bool = False) -> Action:
    """Run an SWML document.

    The document controls the call: never insert what a caller said without validating it.

    Args:
        swml_content: a dictionary, JSON text, or an object with a ``to_dict`` method. Text that
            is not JSON is sent as it is, for the platform to parse.
        transfer: whether the call leaves the agent for the document.

    Raises:
        ValueError: it is none of these, is JSON of another type than an object, or is not
            JSON-serializable.
    """
    content = swml_content
    if isinstance(content, str):
        try:
            content = json.loads(content)
        except (ValueError, RecursionError):
            content = {"raw_swml": content}
    elif hasattr(content, "to_dict"):
        content = content.to_dict()
    action: Action = {"SWML": json_object("swml_content", content)}
    if check_bool("transfer", transfer):
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
        params: parameters of the procedure.
        call_id: the call that it applies to.
        node_id: the node of that call.
    """
    return swml(
        verb(
            "execute_rpc",
            method=check_line("method", method),
            call_id=optional(check_line, "call_id", call_id),
            node_id=optional(check_line, "node_id", node_id),
            params=None if params is None else json_object("params", params),
        )
    )


def rpc_dial(
    to_number: str, from_number: str, dest_swml: str, device_type: str = "phone"
) -> Action:
    """Place another call.

    Args:
        to_number: whom to call: a phone number (E.164) if `device_type` is ``phone``.
        from_number: the number to display; of the same kind.
        dest_swml: the http or https URL of the document for that call.
        device_type: the kind of device, ``phone`` for a phone number.
    """
    kind = check_line("device_type", device_type)
    check = check_phone_number if kind == "phone" else check_line
    numbers = {"to_number": to_number, "from_number": from_number}
    device = {name: check(name, number) for name, number in numbers.items()}
    document = check_url("dest_swml", dest_swml)
    return execute_rpc("dial", {"devices": {"type": kind, "params": device}, "dest_swml": document})


def rpc_ai_message(
    call_id: str,
    message_text: str | None = None,
    role: str = "system",
    global_data: Mapping[str, Any] | None = None,
) -> Action:
    """Send a message or data to the AI of another call.

    Args:
        call_id: the other call.
        message_text: a message to add to its conversation.
        role: the role of the message's author.
        global_data: data to add to that call's shared data, without a message.

    Raises:
        ValueError: there is neither a message nor data, or an argument is invalid.
    """
    params: dict[str, Any] = {}
    if message_text is not None:
        params["role"] = check_line("role", role)
        params["message_text"] = check_text("message_text", message_text)
    if global_data is not None:
        params["global_data"] = json_object("global_data", global_data)
    if not params:
        raise ValueError("rpc_ai_message needs message_text, global_data, or both")
    return execute_rpc("ai_message", params, check_line("call_id", call_id))


def rpc_ai_global_data(call_id: str, data: Mapping[str, Any]) -> Action:
    """Add to the shared data of another call, without a message in its conversation."""
    return rpc_ai_message(call_id, global_data=json_object("data", data))


def rpc_ai_unhold(call_id: str) -> Action:
    """Take another call off hold."""
    return execute_rpc("ai_unhold", call_id=check_line("call_id", call_id))
