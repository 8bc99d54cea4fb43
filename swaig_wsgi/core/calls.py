"""The call that a request from the platform claims to belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .strict_json import JSONBodyError
from .tokens import ToolToken, check_claims

__all__ = [
    "MAX_CALL_ID_BYTES",
    "call_id_in",
    "check_call",
    "check_call_id",
    "check_ids",
    "conversation_id_in",
    "optional_text",
]

#: The maximum length of a call id, in bytes of UTF-8.
MAX_CALL_ID_BYTES = 1024


def call_id_in(body: Mapping[str, Any]) -> str | None:
    """Return ``call_id``, else ``call.call_id``, else None.

    Raises:
        JSONBodyError: an id is not a string, or is too long.
    """
    call_id = body.get("call_id")
    # A character takes at most four bytes, so that usual ids need not be encoded.
    if type(call_id) is str and 0 < len(call_id) * 4 <= MAX_CALL_ID_BYTES:
        return call_id
    if type(call_id) is not str or not call_id:
        # Rare, so only now with the errors of optional_text().
        call_id = optional_text(body, "call_id")
    if call_id is None:
        call = body.get("call")
        if call is not None and not isinstance(call, dict):
            raise JSONBodyError("call must be an object")
        call_id = optional_text(call, "call_id") if call else None
    return None if call_id is None else check_call_id(call_id)


def check_call_id(call_id: str) -> str:
    """Return `call_id` if it is at most :data:`MAX_CALL_ID_BYTES` long.

    Raises:
        JSONBodyError: it is longer.
    """
    if len(call_id.encode("utf-8", "replace")) > MAX_CALL_ID_BYTES:
        raise JSONBodyError("call_id is too long")
    return call_id


def conversation_id_in(body: Mapping[str, Any]) -> str | None:
    """Return ``conversation_id``, or None if it is missing, null or empty.

    Applications choose it, and some choose a number, which counts as its text. Call ids are the
    platform's, and always text.

    Raises:
        JSONBodyError: it is neither a string nor a number.
    """
    value = body.get("conversation_id")
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return optional_text(body, "conversation_id")


def check_call(token: ToolToken, body: Mapping[str, Any], function_name: object) -> None:
    """Check that `token` was issued for this function in the call or conversation of `body`.

    A document may be fetched under the id of a conversation, whose calls have ids of their own.
    The verified id is therefore ``token.call_id``; other ids in `body` are unverified claims of
    the client.

    Args:
        token: a token with a verified signature.
        body: a tool call.
        function_name: the name of the tool.

    Raises:
        TokenError: `wrong_function` or `wrong_call`.
        JSONBodyError: an id is not a string, or is too long.
    """
    check_ids(token, (call_id_in(body), conversation_id_in(body)), function_name)


def check_ids(
    token: ToolToken, claimed: tuple[str | None, str | None], function_name: object
) -> None:
    """As :func:`check_call`, with the ids of the body that were read before.

    Args:
        claimed: what :func:`call_id_in` and :func:`conversation_id_in` returned.

    Raises:
        TokenError: `wrong_function` or `wrong_call`.
    """
    call_id = token.call_id if token.call_id in claimed else None
    check_claims(token, call_id=call_id, function_name=function_name)


def optional_text(body: Mapping[str, Any], name: str) -> str | None:
    """Return the member `name`, or None if it is missing, null or empty.

    Raises:
        JSONBodyError: it is not a string.
    """
    value = body.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise JSONBodyError(f"{name} must be a string")
    return value
