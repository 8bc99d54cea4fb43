"""Actions that connect, transfer, hold and end the call."""

from __future__ import annotations

from typing import Any

from ...core._validation import ArgumentTypeError, check_bool
from .._validation import (
    MAX_INT,
    bool_or_variable,
    check_address,
    check_choice,
    check_choices,
    check_line,
    check_text,
    check_url,
    int_or_variable,
    json_copy,
    optional,
)
from . import Action, swml

MAX_HOLD = 900

_EVENTS = ("start", "end", "join", "leave", "mute", "hold", "modify", "speaker", "announcement")
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
    """Connect the call to another party.

    Args:
        destination: a phone number (E.164), a SIP URI, a resource address such as
            ``/public/room``, or ``queue:NAME``.
        final: whether the call leaves the agent for good; otherwise it returns when the other
            party hangs up.
        from_addr: the caller's number or address to display; by default that of the call.
    """
    parties = {"to": check_line("destination", destination)}
    if from_addr is not None:
        parties["from"] = check_line("from_addr", from_addr)
    return {**swml({"connect": parties}), "transfer": _transfer(final)}


def swml_transfer(dest: str, ai_response: str, final: bool = True) -> Action:
    """Transfer the call to another SWML document.

    Args:
        dest: a URL, the name of a section, or a document as JSON text.
        ai_response: what the AI says when the call returns.
        final: whether the call leaves the agent for good.
    """
    response = {"set": {"ai_response": check_text("ai_response", ai_response)}}
    transfer = {"transfer": {"dest": check_line("dest", dest)}}
    return {**swml(response, transfer), "transfer": _transfer(final)}


def hangup() -> Action:
    """End the call."""
    return {"hangup": True}


def hold(timeout: int = 300, step: str | None = None, timeout_step: str | None = None) -> Action:
    """Put the call on hold.

    Args:
        timeout: seconds, limited to the range from 0 to 900; or a variable.
        step: the step to go to when the call is taken off hold.
        timeout_step: the step to go to after the timeout.
    """
    seconds = int_or_variable("timeout", timeout, -MAX_INT, None)
    if isinstance(seconds, int):
        seconds = max(0, min(seconds, MAX_HOLD))
    steps = {"step": step, "timeout_step": timeout_step}
    named = {key: check_line(key, name) for key, name in steps.items() if name is not None}
    return {"hold": {"timeout": seconds, **named} if named else seconds}


def stop() -> Action:
    """Stop the AI; the call continues with the verbs after it."""
    return {"stop": True}


def wait_for_user(
    enabled: bool | None = None, timeout: int | None = None, answer_first: bool = False
) -> Action:
    """Make the AI wait until the caller speaks. The last argument that is given takes precedence.

    Args:
        enabled: whether to wait; the default without any argument.
        timeout: seconds to wait, from 0.
        answer_first: whether to wait until the call has been answered.
    """
    if check_bool("answer_first", answer_first):
        return {"wait_for_user": "answer_first"}
    if timeout is not None:
        return {"wait_for_user": int_or_variable("timeout", timeout)}
    return {"wait_for_user": True if enabled is None else check_bool("enabled", enabled)}


def sip_refer(to_uri: str) -> Action:
    """Send a SIP REFER, which transfers a SIP call (RFC 3515).

    Args:
        to_uri: the new destination, such as ``sip:user@example.com``.
    """
    return swml({"sip_refer": {"to_uri": check_address("to_uri", to_uri)}})


def join_room(name: str) -> Action:
    """Add the call to a RELAY room."""
    return swml({"join_room": {"name": check_line("name", name)}})


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
    """Add the call to an audio conference, which is created if it does not exist.

    Args:
        name: the conference.
        muted: whether the others cannot hear the call.
        beep: when to play a beep: ``onEnter`` or ``onExit`` of a participant, ``true`` for both, or
            ``false``.
        start_on_enter: whether the conference begins when this call joins.
        end_on_exit: whether it ends when this call leaves.
        wait_url: an SWML document to play while waiting; by default music.
        max_participants: from 2; by default the platform's limit, 100,000.
        record: ``do-not-record`` or ``record-from-start``.
        region: where it is hosted.
        trim: whether to remove silence from a recording: ``trim-silence`` or ``do-not-trim``.
        coach: the id of the only call that can hear this one.
        status_callback_event: the events to report, separated by spaces: ``start``, ``end``,
            ``join``, ``leave``, ``mute``, ``hold``, ``modify``, ``speaker``, ``announcement``.
        status_callback: the URL that gets these events.
        status_callback_method: ``GET`` or ``POST``.
        recording_status_callback: the URL that gets events of the recording.
        recording_status_callback_method: ``GET`` or ``POST``.
        recording_status_callback_event: ``in-progress``, ``completed``, ``absent``, separated by
            spaces.
        result: a switch (a dictionary) or conditions (a list) on the outcome.
    """
    if result is not None and not isinstance(result, (dict, list)):
        kind = type(result).__name__
        raise ArgumentTypeError(f"result must be a dictionary or a list, not {kind}")
    limit = events = None
    if max_participants is not None:
        limit = int_or_variable("max_participants", max_participants, 2)
    if status_callback_event:
        events = check_choices("status_callback_event", status_callback_event, _EVENTS)
    chosen = {
        "muted": bool_or_variable("muted", muted),
        "beep": check_choice("beep", beep, ("true", "false", "onEnter", "onExit")),
        "start_on_enter": bool_or_variable("start_on_enter", start_on_enter),
        "end_on_exit": bool_or_variable("end_on_exit", end_on_exit),
        "wait_url": optional(check_url, "wait_url", wait_url),
        "max_participants": limit,
        "record": check_choice("record", record, ("do-not-record", "record-from-start")),
        "region": optional(check_line, "region", region),
        "trim": check_choice("trim", trim, ("trim-silence", "do-not-trim")),
        "coach": optional(check_line, "coach", coach),
        "status_callback_event": events,
        "status_callback": optional(check_url, "status_callback", status_callback),
        "status_callback_method": check_choice(
            "status_callback_method", status_callback_method, _METHODS
        ),
        "recording_status_callback": optional(
            check_url, "recording_status_callback", recording_status_callback
        ),
        "recording_status_callback_method": check_choice(
            "recording_status_callback_method", recording_status_callback_method, _METHODS
        ),
        "recording_status_callback_event": check_choices(
            "recording_status_callback_event", recording_status_callback_event, _RECORDING_EVENTS
        ),
        "result": json_copy("result", result),
    }
    # The platform's defaults are left out; a conference without other options is its name alone.
    differing = {key: value for key, value in chosen.items() if value != _DEFAULTS.get(key)}
    check_line("name", name)
    return swml({"join_conference": {"name": name, **differing} if differing else name})


def _transfer(final: bool) -> str:
    return "true" if check_bool("final", final) else "false"
