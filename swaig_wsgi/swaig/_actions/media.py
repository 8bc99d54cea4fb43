"""Actions on speech, background sound, recordings and audio streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ...core._validation import ArgumentTypeError, check_bool, check_str
from .._validation import (
    bool_or_variable,
    check_choice,
    check_dtmf,
    check_line,
    check_members,
    check_text,
    check_url,
    int_or_variable,
    json_object,
    number_or_variable,
    optional,
    optional_number,
)
from . import Action, swml, verb

Direction = Literal["speak", "listen", "both"]

_DIRECTIONS = ("speak", "listen", "both")
_FORMATS = ("wav", "mp3", "mp4")
_CODECS = ("PCMU", "PCMA")
_MAX_SPEECH_TIMEOUT = 10_000


def say(text: str) -> Action:
    """Speak a text at once, word for word; it does not become part of the conversation."""
    return {"say": check_text("text", text)}


def play_background_file(filename: str, wait: bool = False) -> Action:
    """Play a sound behind the conversation, in place of the current one.

    Args:
        filename: a path or URL that the platform can read.
        wait: whether the AI leaves a silent caller alone until the sound has ended.
    """
    file = check_line("filename", filename)
    return {"playback_bg": {"file": file, "wait": True} if check_bool("wait", wait) else file}


def stop_background_file() -> Action:
    """Stop the background sound."""
    return {"stop_playback_bg": True}


def set_end_of_speech_timeout(milliseconds: int) -> Action:
    """Set how long a silence must last to end the caller's turn.

    Args:
        milliseconds: from 1 to 10,000, or a variable.
    """
    return {"end_of_speech_timeout": _speech_timeout(milliseconds)}


def set_speech_event_timeout(milliseconds: int) -> Action:
    """Set how long after the last recognized speech the caller's turn ends.

    In noise, where there is no silence, this works better than the end-of-speech timeout.

    Args:
        milliseconds: from 1 to 10,000, or a variable.
    """
    return {"speech_event_timeout": _speech_timeout(milliseconds)}


def add_dynamic_hints(hints: Sequence[str | dict[str, Any]]) -> Action:
    """Add words that speech recognition should expect.

    Args:
        hints: words, and dictionaries that replace recognized text: ``pattern`` (a regular
            expression), ``replace``, and optionally ``ignore_case`` and ``hint``.
    """
    if not isinstance(hints, (list, tuple)):
        raise ArgumentTypeError(f"hints must be a list, not {type(hints).__name__}")
    return {"add_dynamic_hints": [_hint(each) for each in hints]}


def clear_dynamic_hints() -> Action:
    """Remove every hint that was added during the call."""
    return {"clear_dynamic_hints": {}}


def change_voice(voice: str) -> Action:
    """Speak the current language in another voice from now on.

    Args:
        voice: as for a language, ``engine.voice:model``, such as ``elevenlabs.rachel``.
    """
    return {"change_voice": check_line("voice", voice)}


def record_call(
    control_id: str | None = None,
    stereo: bool = False,
    format: Literal["wav", "mp3", "mp4"] = "wav",  # noqa: A002 - the verb's own word
    direction: Direction = "both",
    terminators: str | None = None,
    beep: bool = False,
    input_sensitivity: float = 44.0,
    initial_timeout: float | None = None,
    end_silence_timeout: float | None = None,
    max_length: float | None = None,
    status_url: str | None = None,
) -> Action:
    """Record the call in the background.

    Args:
        control_id: names the recording for :func:`stop_record_call`.
        stereo: whether each side has its own channel.
        format: ``wav``, ``mp3`` or ``mp4``.
        direction: whether to record what the caller says (``speak``), hears (``listen``), or
            both.
        terminators: keys that end the recording.
        beep: whether a beep announces the recording.
        input_sensitivity: of the detection of speech, 0 to 100.
        initial_timeout: seconds to wait for the first word.
        end_silence_timeout: seconds of silence that end the recording.
        max_length: seconds after which it ends.
        status_url: the URL that gets status events.

    Numbers and flags may be variables.
    """
    return swml(
        verb(
            "record_call",
            stereo=bool_or_variable("stereo", stereo),
            format=check_choice("format", format, _FORMATS),
            direction=check_choice("direction", direction, _DIRECTIONS),
            beep=bool_or_variable("beep", beep),
            input_sensitivity=number_or_variable("input_sensitivity", input_sensitivity, 0, 100),
            control_id=optional(check_line, "control_id", control_id),
            terminators=optional(check_dtmf, "terminators", terminators),
            initial_timeout=optional_number("initial_timeout", initial_timeout),
            end_silence_timeout=optional_number("end_silence_timeout", end_silence_timeout),
            max_length=optional_number("max_length", max_length),
            status_url=optional(check_url, "status_url", status_url),
        )
    )


def stop_record_call(control_id: str | None = None) -> Action:
    """End the recording `control_id`; by default the one that began last."""
    return _stop("stop_record_call", control_id)


def tap(
    uri: str,
    control_id: str | None = None,
    direction: Direction = "both",
    codec: Literal["PCMU", "PCMA"] = "PCMU",
    rtp_ptime: int = 20,
    status_url: str | None = None,
) -> Action:
    """Stream the call's audio to another server, in the background.

    Args:
        uri: ``rtp://``, ``ws://`` or ``wss://`` and an address. Its server gets all audio of the
            call, so it must never come from a caller.
        control_id: names the stream for :func:`stop_tap`.
        direction: whether to stream what the caller says (``speak``), hears (``listen``), or
            both.
        codec: ``PCMU`` or ``PCMA``.
        rtp_ptime: milliseconds of audio in an RTP packet, from 1, or a variable.
        status_url: the URL that gets status events.
    """
    ptime = int_or_variable("rtp_ptime", rtp_ptime, 1)
    return swml(
        verb(
            "tap",
            uri=check_url("uri", uri, ("rtp", "ws", "wss")),
            # The verb's own default is "speak".
            direction=check_choice("direction", direction, _DIRECTIONS),
            control_id=optional(check_line, "control_id", control_id),
            codec=check_choice("codec", codec, _CODECS) if codec != "PCMU" else None,
            rtp_ptime=ptime if ptime != 20 else None,
            status_url=optional(check_url, "status_url", status_url),
        )
    )


def stop_tap(control_id: str | None = None) -> Action:
    """End the stream `control_id`; by default the one that began last."""
    return _stop("stop_tap", control_id)


def _stop(name: str, control_id: str | None) -> Action:
    return swml(verb(name, control_id=optional(check_line, "control_id", control_id)))


def _speech_timeout(milliseconds: int) -> int | str:
    return int_or_variable("milliseconds", milliseconds, 1, _MAX_SPEECH_TIMEOUT)


def _hint(hint: Any) -> str | dict[str, Any]:
    if isinstance(hint, str):
        return check_str("each of hints", hint)
    pattern = json_object("each of hints that is not a string", hint)
    check_members("each of hints that is not a string", pattern, ("pattern", "replace"))
    return pattern
