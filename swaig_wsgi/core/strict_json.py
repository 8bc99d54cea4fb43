"""Strict parsing of JSON request bodies (RFC 8259, and I-JSON, RFC 7493).

``json.loads`` guesses the encoding, silently drops duplicate keys, accepts NaN and Infinity, and
spends quadratic time or the whole C stack on malicious input. A check and the code behind it must
not see different values, so everything that parsers interpret differently is rejected.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

from .refusals import Refusal

__all__ = ["MAX_DEPTH", "MAX_NUMBER_LENGTH", "JSONBodyError", "is_json_type", "loads_object"]

#: The maximum nesting depth of arrays and objects.
MAX_DEPTH = 64

#: The maximum length of a number in characters, without its sign.
MAX_NUMBER_LENGTH = 100

_JSON_TYPE = re.compile(
    r"application/(?:json|[a-z0-9!#$&^_.-]+\+json)[ \t]*"
    r'(?:;[ \t]*(?:charset=(?:utf-?8|"utf-?8")[ \t]*)?)?',
    re.IGNORECASE,
)
_STRING = re.compile(rb'"[^"]*"?')
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_NO_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1, ord('"'): 0}


class JSONBodyError(Refusal, ValueError):
    """The refusal of a body that is not a valid JSON object, or whose members are invalid (400).

    Attributes:
        what: the fault, as shown to the client. :func:`loads_object` raises ``empty body``,
            ``not UTF-8``, ``not JSON``, ``not an object``, ``nested too deeply``, ``number too
            long``, ``NaN or Infinity``, ``lone surrogate`` and ``duplicate key``.
    """

    def __init__(self, what: str) -> None:
        super().__init__(400, f"Bad request: {what}", "bad_request", detail=what)
        self.args = (what,)
        self.what = what


def is_json_type(content_type: str) -> bool:
    """Return whether a ``Content-Type`` declares JSON, with no charset other than UTF-8.

    A body that is JSON here but a form to the application could have two meanings.
    """
    return _JSON_TYPE.fullmatch(content_type.strip(" \t")) is not None


def loads_object(body: bytes) -> dict[str, Any]:
    """Parse a request body that is a JSON object.

    Time and memory are linear in the length of `body`.

    Raises:
        JSONBodyError: it is not a JSON object in UTF-8, is nested deeper than :data:`MAX_DEPTH`, or
            contains a number longer than :data:`MAX_NUMBER_LENGTH` or not finite, a lone
            surrogate, or a duplicate key.
    """
    if not body:
        raise JSONBodyError("empty body")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise JSONBodyError("not UTF-8") from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        raise JSONBodyError("nested too deeply")
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError:
        raise JSONBodyError("not JSON") from None
    if not isinstance(value, dict):
        raise JSONBodyError("not an object")
    if _SURROGATE_ESCAPE.search(body) and _has_lone_surrogate(value):
        raise JSONBodyError("lone surrogate")
    return value


def _depth(body: bytes) -> int:
    """Return at least the depth that a decoder reaches in `body` before it finds an error."""
    # Backslashes pair up from the left, so a remaining one escapes the next character.
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = _STRING.sub(b"", unescaped.translate(None, _NO_BRACKETS))
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


def _has_lone_surrogate(value: dict[str, Any]) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _bounded(literal: str) -> str:
    if len(literal) > MAX_NUMBER_LENGTH and len(literal.lstrip("-")) > MAX_NUMBER_LENGTH:
        raise JSONBodyError("number too long")
    return literal


def _parse_float(literal: str) -> float:
    number = float(_bounded(literal))
    if number in (float("inf"), float("-inf")):
        raise JSONBodyError("NaN or Infinity")
    return number


def _parse_constant(literal: str) -> float:
    raise JSONBodyError("NaN or Infinity")


def _parse_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise JSONBodyError("duplicate key")
    return value


_DECODER = json.JSONDecoder(
    parse_int=lambda literal: int(_bounded(literal)),
    parse_float=_parse_float,
    parse_constant=_parse_constant,
    object_pairs_hook=_parse_object,
)
