"""Actions on the call itself: where it goes, whether it waits, when it ends."""

from __future__ import annotations

import math
from typing import Any

from .._values import flag, json_copy
from .checks import (
    GREATEST,
    Action,
    address,
    choice,
    choices,
    line,
    optional_line,
    optional_url,
    string,
    swml,
    swml_flag,
    whole,
)

MAX_HOLD = 900

_STATUS_EVENTS = (
    "start",
    "end",
    "join",
    "leave",
    "mute",
    "hold",
    "modify",
    "speaker",
    "announcement",
)
_RECORDING_EVENTS = ("in-progress", "completed", "absent")
_METHODS = ("GET", "POST")
_DEFAULTS = {
    "muted": False,
    "beep": "true",
    "start_on_enter": True,
    "end_on_exit": False,
    "record": "do-not-record",
    "trim": "trim-silence",
    "status_callback_method": "POST",
    "recording_status_callback_method": "POST",
    "recording_status_callback_event": "completed",
}


def connect(destination: str, final: bool = True, from_addr: str | None = None) -> Action:
    """Connect the call to somebody else.

    Args:
        destination: a phone number (E.164), a SIP URI, a resource address such as
            ``/public/room``, or ``queue:NAME``.
        final: whether the call leaves the agent for good; otherwise it returns when the other
            side hangs up.
        from_addr: the caller's number or address to show; by default that of the call.

    Raises:
        ValueError: an address is blank or has control characters, or `final` is no bool.
    """
    verb = {"to": line(destination, "destination")}
    if from_addr is not None:
        verb["from"] = line(from_addr, "from_addr")
    return {**swml({"connect": verb}), "transfer": _transfer(final)}


def swml_transfer(dest: str, ai_response: str, final: bool = True) -> Action:
    """Transfer the call to another SWML document.

    Args:
        dest: a URL, the name of a section, or a document as JSON text.
        ai_response: what the AI says when the call comes back.
        final: whether the call leaves the agent for good.

    Raises:
        ValueError: `dest` is blank or has control characters, or a type is wrong.
    """
    return {
        **swml(
            {"set": {"ai_response": string(ai_response, "ai_response")}},
            {"transfer": {"dest": line(dest, "dest")}},
        ),
        "transfer": _transfer(final),
    }


def hangup() -> Action:
    """End the call."""
    return {"hangup": True}


def hold(timeout: int = 300, step: str | None = None, timeout_step: str | None = None) -> Action:
    """Put the call on hold.

    Args:
        timeout: seconds, at most 900; what is above or below 0 is cut off. Or a variable.
        step: the step in which the caller is when taken off hold.
        timeout_step: the step in which the caller is when nobody did that in time.

    Raises:
        ValueError: `timeout` is no whole number, or the name of a step is blank.
    """
    seconds = whole(timeout, "timeout", minimum=-GREATEST, maximum=math.inf)
    if isinstance(seconds, int):
        seconds = max(0, min(seconds, MAX_HOLD))
    if step is None and timeout_step is None:
        return {"hold": seconds}
    steps = {"step": step, "timeout_step": timeout_step}
    named = {key: line(name, key) for key, name in steps.items() if name is not None}
    return {"hold": {"timeout": seconds, **named}}


def stop() -> Action:
    """Stop the AI; the call goes on with the verbs after it."""
    return {"stop": True}


def wait_for_user(
    enabled: bool | None = None, timeout: int | None = None, answer_first: bool = False
) -> Action:
    """Let the AI wait until the caller speaks. The last argument that is given counts.

    Args:
        enabled: whether to wait; without any argument, it does.
        timeout: seconds to wait, from 0.
        answer_first: wait until the call was answered.

    Raises:
        ValueError: a type is wrong, or `timeout` negative.
    """
    if flag(answer_first, "answer_first"):
        return {"wait_for_user": "answer_first"}
    if timeout is not None:
        return {"wait_for_user": whole(timeout, "timeout")}
    return {"wait_for_user": True if enabled is None else flag(enabled, "enabled")}


def sip_refer(to_uri: str) -> Action:
    """Send a SIP REFER, which hands a SIP call over (RFC 3515).

    Args:
        to_uri: where to, such as ``sip:user@example.com``.

    Raises:
        ValueError: it is blank or has white space or control characters.
    """
    return swml({"sip_refer": {"to_uri": address(to_uri, "to_uri")}})


def join_room(name: str) -> Action:
    """Let the call join a RELAY room.

    Raises:
        ValueError: `name` is blank or has control characters.
    """
    return swml({"join_room": {"name": line(name, "name")}})


def join_conference(
    name: str,
    muted: bool = False,
    beep: str = "true",
    start_on_enter: bool = True,
    end_on_exit: bool = False,
    wait_url: str | None = None,
    max_participants: int | None = None,
    record: str = "do-not-record",
    region: str | None = None,
    trim: str = "trim-silence",
    coach: str | None = None,
    status_callback_event: str | None = None,
    status_callback: str | None = None,
    status_callback_method: str = "POST",
    recording_status_callback: str | None = None,
    recording_status_callback_method: str = "POST",
    recording_status_callback_event: str = "completed",
    result: Any | None = None,
) -> Action:
    """Let the call join an audio conference, which begins when it does not exist.

    Args:
        name: which conference.
        muted: whether nobody hears the call.
        beep: at whose coming and going a beep sounds: ``true`` (both), ``false``, ``onEnter`` or
            ``onExit``.
        start_on_enter: whether the conference begins when this call joins.
        end_on_exit: whether it ends when this call leaves.
        wait_url: a SWML document to hear while waiting; by default music.
        max_participants: from 2; by default the platform's limit, 100,000.
        record: ``do-not-record`` or ``record-from-start``.
        region: where it is hosted.
        trim: ``trim-silence`` or ``do-not-trim``: what happens to silence in a recording.
        coach: the id of the call that alone hears this one.
        status_callback_event: what is reported: ``start``, ``end``, ``join``, ``leave``,
            ``mute``, ``hold``, ``modify``, ``speaker``, ``announcement``, with spaces between.
        status_callback: the URL to report it to.
        status_callback_method: ``GET`` or ``POST``.
        recording_status_callback: the URL to report on a recording to.
        recording_status_callback_method: ``GET`` or ``POST``.
        recording_status_callback_event: ``in-progress``, ``completed``, ``absent``, with spaces
            between.
        result: a switch (a dictionary) or conditions (a list) on the outcome.

    Raises:
        ValueError: an argument is of a wrong type, or none of its values.
    """
    chosen = {
        "muted": swml_flag(muted, "muted"),
        "beep": choice(beep, "beep", ("true", "false", "onEnter", "onExit")),
        "start_on_enter": swml_flag(start_on_enter, "start_on_enter"),
        "end_on_exit": swml_flag(end_on_exit, "end_on_exit"),
        "wait_url": optional_url(wait_url, "wait_url"),
        "max_participants": None,
        "record": choice(record, "record", ("do-not-record", "record-from-start")),
        "region": optional_line(region, "region"),
        "trim": choice(trim, "trim", ("trim-silence", "do-not-trim")),
        "coach": optional_line(coach, "coach"),
        "status_callback_event": None,
        "status_callback": optional_url(status_callback, "status_callback"),
        "status_callback_method": choice(
            status_callback_method, "status_callback_method", _METHODS
        ),
        "recording_status_callback": optional_url(
            recording_status_callback, "recording_status_callback"
        ),
        "recording_status_callback_method": choice(
            recording_status_callback_method, "recording_status_callback_method", _METHODS
        ),
        "recording_status_callback_event": choices(
            recording_status_callback_event, "recording_status_callback_event", _RECORDING_EVENTS
        ),
        "result": _conditions(result),
    }
    if max_participants is not None:
        chosen["max_participants"] = whole(max_participants, "max_participants", minimum=2)
    if status_callback_event:
        chosen["status_callback_event"] = choices(
            status_callback_event, "status_callback_event", _STATUS_EVENTS
        )
    # The platform's defaults are left out; a conference with nothing else is its name alone.
    differing = {key: value for key, value in chosen.items() if value != _DEFAULTS.get(key)}
    line(name, "name")
    return swml({"join_conference": {"name": name, **differing} if differing else name})


def _transfer(final: bool) -> str:
    return "true" if flag(final, "final") else "false"


def _conditions(result: Any) -> Any:
    if result is not None and not isinstance(result, (dict, list)):
        raise ValueError(f"result must be a dictionary or a list, not {type(result).__name__}")
    return json_copy(result, "result")
