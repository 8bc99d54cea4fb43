"""Actions that tell somebody something: text messages, events, words in the caller's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._values import given, json_object, texts
from .checks import Action, optional_line, optional_string, phone_number, string, swml, url


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
        to_number: the receiver's phone number (E.164).
        from_number: the sender's.
        body: the text.
        media: http or https URLs of what to send along, or alone.
        tags: words under which the message is found later.
        region: where it is sent from.

    Raises:
        ValueError: there is neither text nor media, or an argument is malformed.
    """
    if not body and not media:
        raise ValueError("a message needs body, media, or both")
    return swml(
        {
            "send_sms": {
                "to_number": phone_number(to_number, "to_number"),
                "from_number": phone_number(from_number, "from_number"),
                **given(
                    body=optional_string(body, "body"),
                    media=[url(each, "each of media") for each in texts(media or [], "media")],
                    tags=texts(tags or [], "tags"),
                    region=optional_line(region, "region"),
                ),
            }
        }
    )


def swml_user_event(event_data: Mapping[str, Any]) -> Action:
    """Send an event to the clients that are connected to the call.

    Args:
        event_data: any dictionary, by custom with a ``type``.

    Raises:
        ValueError: it is no dictionary, or cannot be said in JSON.
    """
    return swml({"user_event": {"event": json_object(event_data, "event_data")}})


def simulate_user_input(text: str) -> Action:
    """Take a text as if the caller had said it.

    Raises:
        ValueError: `text` is no string.
    """
    return {"user_input": string(text, "text")}
