"""Secrets out of headers, URLs and log lines."""

from __future__ import annotations


def escape_control(text: str) -> str:
    """Return `text` with everything escaped that could forge or garble a line of a log.

    Control characters, line and paragraph separators, bidirectional controls and lone surrogates
    become ``\\xNN`` or ``\\uNNNN``; a backslash is doubled, so that the result is unambiguous.
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(
        char if char.isprintable() and char != "\\" else char.encode("unicode_escape").decode()
        for char in text
    )
