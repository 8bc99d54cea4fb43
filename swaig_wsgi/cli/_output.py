"""What commands print: colors on terminals only, and no character that could control one."""

from __future__ import annotations

import json
import os
import re
from typing import Any, TextIO

__all__ = ["is_colored", "paint", "pretty_json", "printable"]

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_MEMBER = re.compile(r'^( *)("(?:[^"\\]|\\.){0,200}")(?=:)', re.MULTILINE)


def is_colored(stream: TextIO) -> bool:
    """Return whether to print colors: on a terminal, unless ``NO_COLOR`` is set (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return `text` in a style of `_STYLES` if `stream` takes colors."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if is_colored(stream) else text


def printable(text: str, stream: TextIO) -> str:
    """Return `text` with every character escaped that would control a terminal.

    So are characters that `stream` cannot encode. The escapes are those of JSON.
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"

    def safe(char: str) -> str:
        try:
            char.encode(encoding)
        except UnicodeEncodeError:
            return json.dumps(char)[1:-1]
        return char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1]

    return "".join(map(safe, text))


def pretty_json(value: Any, stream: TextIO) -> str:
    """Return `value` as JSON for people, on several lines and perhaps with colors."""
    text = printable(json.dumps(value, indent=2, ensure_ascii=False), stream)
    return _MEMBER.sub(lambda match: match[1] + paint(match[2], "cyan", stream), text)
