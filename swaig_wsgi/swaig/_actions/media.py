"""Actions on what is heard: speech, background sound, recordings and taps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from .._values import flag, given, json_object, text
from .checks import (
    Action,
    choice,
    dtmf,
    line,
    members,
    number,
    optional_line,
    optional_number,
    optional_url,
    string,
    swml,
    swml_flag,
    url,
    whole,
)

Direction = Literal["speak", "listen", "both"]

_DIRECTIONS = ("speak", "listen", "both")
_FORMATS = ("wav", "mp3", "mp4")
_CODECS = ("PCMU", "PCMA")
_MAX_SPEECH_TIMEOUT = 10_000


def say(text: str) -> Action:
    """Speak a text at once, as it is; the AI knows nothing of it.

    Raises:
        ValueError: `text` is no string.
    """
    return {"say": string(text, "text")}


def play_background_file(filename: str, wait: bool = False) -> Action:
    """Play a sound behind the conversation, in place of one that plays already.

    Args:
        filename: a path or URL that the platform can read.
        wait: whether the AI leaves a silent caller alone until it has ended.

    Raises:
        ValueError: `filename` is blank or has control characters, or `wait` is no bool.
    """
    file = line(filename, "filename")
    return {"playback_bg": {"file": file, "wait": True} if flag(wait, "wait") else file}


def stop_background_file() -> Action:
    """Stop the sound behind the conversation."""
    return {"stop_playback_bg": True}


def set_end_of_speech_timeout(milliseconds: int) -> Action:
    """Set how long a silence ends what the caller says.

    Args:
        milliseconds: from 1 to 10,000. Or a variable.

    Raises:
        ValueError: it is anything else.
    """
    return {
        "end_of_speech_timeout": whole(milliseconds, "milliseconds", 1, _MAX_SPEECH_TIMEOUT),
    }


def set_speech_event_timeout(milliseconds: int) -> Action:
    """Set how long after the last recognised piece what the caller says is taken as ended.

    In noise, where there is no silence, this works better than the end-of-speech timeout.

    Args:
        milliseconds: from 1 to 10,000. Or a variable.

    Raises:
        ValueError: it is anything else.
    """
    return {
        "speech_event_timeout": whole(milliseconds, "milliseconds", 1, _MAX_SPEECH_TIMEOUT),
    }


def add_dynamic_hints(hints: Sequence[str | dict[str, Any]]) -> Action:
    """Let speech recognition expect words from now on.

    Args:
        hints: words, and dictionaries that replace what was heard: ``pattern`` (a regular
            expression), ``replace``, and, if wished, ``ignore_case`` and ``hint``.

    Raises:
        ValueError: a hint is neither, or lacks a member.
    """
    if not isinstance(hints, (list, tuple)):
        raise ValueError(f"hints must be a list, not {type(hints).__name__}")
    return {"add_dynamic_hints": [_hint(each) for each in hints]}


def clear_dynamic_hints() -> Action:
    """Forget every hint that was added during the call."""
    return {"clear_dynamic_hints": {}}


def change_voice(voice: str) -> Action:
    """Speak the current language in another voice from the next words on.

    Args:
        voice: as a language has it, ``engine.voice:model``, such as ``elevenlabs.rachel``.

    Raises:
        ValueError: it is blank or has control characters.
    """
    return {"change_voice": line(voice, "voice")}


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
        stereo: whether each side has a channel.
        format: ``wav``, ``mp3`` or ``mp4``.
        direction: what is recorded: what the caller says (``speak``), hears (``listen``), or both.
        terminators: keys that end the recording.
        beep: whether a beep announces it.
        input_sensitivity: of the detection of speech, 0 to 100.
        initial_timeout: seconds to wait for the first word.
        end_silence_timeout: seconds of silence that end it.
        max_length: seconds after which it ends.
        status_url: the URL that is told of its state.

    Numbers and flags may be variables.

    Raises:
        ValueError: an argument is of a wrong type, or none of its values.
    """
    return swml(
        {
            "record_call": {
                "stereo": swml_flag(stereo, "stereo"),
                "format": choice(format, "format", _FORMATS),
                "direction": choice(direction, "direction", _DIRECTIONS),
                "beep": swml_flag(beep, "beep"),
                "input_sensitivity": number(input_sensitivity, "input_sensitivity", 0, 100),
                **given(
                    control_id=optional_line(control_id, "control_id"),
                    terminators=dtmf(terminators, "terminators"),
                    initial_timeout=optional_number(initial_timeout, "initial_timeout"),
                    end_silence_timeout=optional_number(end_silence_timeout, "end_silence_timeout"),
                    max_length=optional_number(max_length, "max_length"),
                    status_url=optional_url(status_url, "status_url"),
                ),
            }
        }
    )


def stop_record_call(control_id: str | None = None) -> Action:
    """End a recording.

    Args:
        control_id: which one; by default that which began last.

    Raises:
        ValueError: `control_id` has control characters.
    """
    return swml({"stop_record_call": given(control_id=optional_line(control_id, "control_id"))})


def tap(
    uri: str,
    control_id: str | None = None,
    direction: Direction = "both",
    codec: Literal["PCMU", "PCMA"] = "PCMU",
    rtp_ptime: int = 20,
    status_url: str | None = None,
) -> Action:
    """Stream what is heard to somewhere else, in the background.

    Args:
        uri: ``rtp://``, ``ws://`` or ``wss://`` and an address. Whoever chooses it hears the call.
        control_id: names the stream for :func:`stop_tap`.
        direction: what is streamed: what the caller says (``speak``), hears (``listen``), or both.
        codec: ``PCMU`` or ``PCMA``.
        rtp_ptime: milliseconds of sound in an RTP packet, from 1. Or a variable.
        status_url: the URL that is told of its state.

    Raises:
        ValueError: an argument is of a wrong type, or none of its values.
    """
    ptime = whole(rtp_ptime, "rtp_ptime", minimum=1)
    return swml(
        {
            "tap": {
                "uri": url(uri, "uri", ("rtp", "ws", "wss")),
                # The verb's own default is "speak".
                "direction": choice(direction, "direction", _DIRECTIONS),
                **given(
                    control_id=optional_line(control_id, "control_id"),
                    codec=choice(codec, "codec", _CODECS) if codec != "PCMU" else None,
                    rtp_ptime=ptime if ptime != 20 else None,
                    status_url=optional_url(status_url, "status_url"),
                ),
            }
        }
    )


def stop_tap(control_id: str | None = None) -> Action:
    """End a stream.

    Args:
        control_id: which one; by default that which began last.

    Raises:
        ValueError: `control_id` has control characters.
    """
    return swml({"stop_tap": given(control_id=optional_line(control_id, "control_id"))})


def _hint(hint: Any) -> str | dict[str, Any]:
    if isinstance(hint, str):
        return text(hint, "each of hints")
    pattern = json_object(hint, "each of hints that is no string")
    members(pattern, "each of hints that is no string", ("pattern", "replace"))
    return pattern
