"""Which call a request from the platform belongs to, by its own account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .strict_json import JSONBodyError
from .tokens import ToolToken, check_claims

#: A call id longer than this many bytes is not the platform's.
MAX_CALL_ID_BYTES = 1024


def call_id_in(body: Mapping[str, Any]) -> str | None:
    """Return ``call_id``, else ``call.call_id``; None without either.

    Raises:
        JSONBodyError: an id is there but is not text, or is too long.
    """
    call_id = optional_text(body, "call_id")
    if call_id is None:
        call = body.get("call")
        if call is not None and not isinstance(call, dict):
            raise JSONBodyError("call must be an object")
        call_id = optional_text(call, "call_id") if call else None
    return None if call_id is None else check_call_id(call_id)


def check_call_id(call_id: str) -> str:
    """Return `call_id`.

    Raises:
        JSONBodyError: it is too long.
    """
    if len(call_id.encode("utf-8", "replace")) > MAX_CALL_ID_BYTES:
        raise JSONBodyError("call_id is too long")
    return call_id


def check_call(token: ToolToken, body: Mapping[str, Any], function_name: object) -> None:
    """Check that `token` was made for this function in the call, or the conversation, of `body`.

    A document may have been fetched under the id of a conversation, whose calls have ids of
    their own. So which of the ids in `body` was proved only ``token.call_id`` says: the others
    are whatever the sender wrote.

    Args:
        token: one whose signature was checked.
        body: a tool call.
        function_name: the name of the tool.

    Raises:
        TokenError: `wrong_function` or `wrong_call`.
        JSONBodyError: an id is not text, or is too long.
    """
    claimed = call_id_in(body), optional_text(body, "conversation_id")
    call_id = next((each for each in claimed if each == token.call_id), None)
    check_claims(token, call_id=call_id, function_name=function_name)


def optional_text(body: Mapping[str, Any], name: str) -> str | None:
    """Return the text of member `name`; None when it is missing, null or empty.

    Raises:
        JSONBodyError: it is something else.
    """
    value = body.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise JSONBodyError(f"{name} must be a string")
    return value
