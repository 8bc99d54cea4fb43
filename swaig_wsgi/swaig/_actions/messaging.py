"""Actions that send text messages and events, or simulate what the caller says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._validation import (
    check_line,
    check_phone_number,
    check_strings,
    check_text,
    check_url,
    json_object,
    optional,
)
from . import Action, swml, verb


def send_sms(
    to_number: str,
    from_number: str,
    body: str | None = None,
    media: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
    region: str | None = None,
) -> Action:
    """Send a text message.

    Args:
        to_number: the recipient's phone number (E.164).
        from_number: the sender's phone number (E.164).
        body: the text.
        media: http or https URLs of media to attach.
        tags: words to find the message by later.
        region: where it is sent from.

    Raises:
        ValueError: there is neither `body` nor `media`, or an argument is invalid.
    """
    if not body and not media:
        raise ValueError("a message needs body, media, or both")
    attached = [check_url("each of media", each) for each in check_strings("media", media or [])]
    return swml(
        verb(
            "send_sms",
            to_number=check_phone_number("to_number", to_number),
            from_number=check_phone_number("from_number", from_number),
            body=optional(check_text, "body", body),
            media=attached,
            tags=check_strings("tags", tags or []),
            region=optional(check_line, "region", region),
        )
    )


def swml_user_event(event_data: Mapping[str, Any]) -> Action:
    """Send an event to the clients that are connected to the call.

    Args:
        event_data: any JSON object, by convention with a ``type``.
    """
    return swml({"user_event": {"event": json_object("event_data", event_data)}})


def simulate_user_input(text: str) -> Action:
    """Treat a text as if the caller had said it."""
    return {"user_input": check_text("text", text)}
