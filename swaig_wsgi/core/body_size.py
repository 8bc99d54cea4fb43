"""The length of a request body, and the limit on it (RFC 9112 section 6)."""

from __future__ import annotations

from ._validation import check_int
from .refusals import Refusal, bad_body, length_required, too_large

__all__ = ["BodyError", "body_length", "check_max_bytes"]

# 19 digits are at least an exabyte: too large, without converting them to a number.
_MAX_DIGITS = 18

#: The refusal that :func:`body_length` raises.
BodyError = Refusal


def check_max_bytes(max_bytes: int) -> int:
    """Return `max_bytes` if it is an integer.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is negative.
    """
    return check_int("max_bytes", max_bytes, 0)


def body_length(
    content_length: str | None,
    transfer_encoding: str | None,
    input_terminated: bool,
    max_bytes: int,
) -> int | None:
    """Return the length of a request body, 0 without a body.

    Return None if only reading to the end of the input reveals it: for a chunked body, or one of
    HTTP/2 without a Content-Length.

    A client that makes two parties disagree about where a body ends can smuggle a second request
    past the first of them, so everything that RFC 9112 section 6.3 lets a recipient repair is
    rejected.

    Args:
        content_length: the field's value; None or, by PEP 3333, "" if missing.
        transfer_encoding: the field's value, None if missing.
        input_terminated: whether the server ends the input where the body ends.
        max_bytes: the maximum length.

    Raises:
        Refusal: the framing is malformed or contradictory (400), cannot be read behind this
            server (411), or announces more than `max_bytes` (413).
    """
    if transfer_encoding is not None:
        if content_length:
            raise bad_body("Content-Length together with Transfer-Encoding", "conflicting_framing")
        # str.lower() turns the Kelvin sign into a k.
        if not transfer_encoding.isascii() or transfer_encoding.lower() != "chunked":
            raise bad_body("unsupported Transfer-Encoding", "unsupported_coding")
        if not input_terminated:
            raise length_required()
        return None
    if not content_length:
        return None if input_terminated else 0
    # str.isdigit() alone accepts other scripts' digits and superscripts; int() alone accepts
    # signs, spaces and underscores.
    if not (content_length.isascii() and content_length.isdigit()):
        raise bad_body("malformed Content-Length", "malformed_length")
    if len(content_length) > _MAX_DIGITS:
        content_length = content_length.lstrip("0") or "0"
        if len(content_length) > _MAX_DIGITS:
            raise too_large()
    length = int(content_length)
    if length > max_bytes:
        raise too_large()
    return length
