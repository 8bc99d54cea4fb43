"""How long a request body is, and whether it may be that long (RFC 9112 section 6)."""

from __future__ import annotations

from ._validation import check_int
from .refusals import Refusal, bad_body, length_required, too_large

__all__ = ["BodyError", "body_length", "check_max_bytes"]

#: 19 digits and more are an exabyte at least: too large without being turned into a number.
_MAX_DIGITS = 18


#: The refusal that :func:`body_length` raises.
BodyError = Refusal


def check_max_bytes(max_bytes: int) -> int:
    """Return `max_bytes`.

    Raises:
        TypeError, ValueError: it is not an integer of 0 or more.
    """
    return check_int("max_bytes", max_bytes, 0)


def body_length(
    content_length: str | None,
    transfer_encoding: str | None,
    input_terminated: bool,
    max_bytes: int,
) -> int | None:
    """Decide how a request body is framed.

    A client that can make two parties disagree about where a body ends can smuggle a second
    request past the first of them; so whatever RFC 9112 section 6.3 lets a recipient repair is
    refused here.

    Args:
        content_length: the field's value; None and, by PEP 3333, "" mean that there is none.
        transfer_encoding: the field's value, None when there is none.
        input_terminated: whether the server itself ends the input where the body ends.
        max_bytes: the longest body to accept.

    Returns:
        The length in bytes, 0 without a body; or None when only reading to the end of the input
        will tell (a chunked body, or one of HTTP/2 without a Content-Length).

    Raises:
        Refusal: the framing is malformed or contradictory (400), cannot be read behind this
            server (411), or announces more than `max_bytes` (413).
    """
    if transfer_encoding is not None:
        if content_length:
            raise bad_body("Content-Length together with Transfer-Encoding", "conflicting_framing")
        # Lower-casing alone would let the Kelvin sign pass for a k.
        if not transfer_encoding.isascii() or transfer_encoding.lower() != "chunked":
            raise bad_body("unsupported Transfer-Encoding", "unsupported_coding")
        if not input_terminated:
            raise length_required()
        return None
    if not content_length:
        return None if input_terminated else 0
    # str.isdigit() alone takes other scripts' digits and superscripts; int() alone takes signs,
    # spaces and underscores.
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
