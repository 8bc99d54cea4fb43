"""JSON request bodies, read in the one way in which nobody can read them differently.

``json.loads`` guesses the encoding, lets the last of several equal keys win, accepts numbers that
are none, and spends quadratic time or the whole C stack on input that is made for it. A check and
the code behind it must not see different values, so all of that is refused here (RFC 8259; for
interoperability RFC 7493, I-JSON).
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

from .refusals import Refusal

#: Arrays and objects may stand in one another this deep.
MAX_DEPTH = 64

#: Characters of the longest number, its sign apart.
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
    """A body that is not the JSON object it should be, or does not say what it should.

    Attributes:
        what: what is wrong with it, in words that may be shown to the client. Of one that does
            not parse: ``empty body``, ``not UTF-8``, ``not JSON``, ``not an object``,
            ``nested too deeply``, ``number too long``, ``NaN or Infinity``, ``lone surrogate`` or
            ``duplicate key``.
    """

    def __init__(self, what: str) -> None:
        super().__init__(400, f"Bad request: {what}", "bad_request")
        self.args = (what,)
        self.what = what


def is_json_type(content_type: str) -> bool:
    """Tell whether a ``Content-Type`` announces JSON in UTF-8 (no other charset than that).

    A body that is JSON here and a form to the application behind could say two things.
    """
    return _JSON_TYPE.fullmatch(content_type.strip(" \t")) is not None


def loads_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a request body holds.

    Time and memory are linear in the length of `body`.

    Raises:
        JSONBodyError: it is anything else, or more than :data:`MAX_DEPTH` deep, or holds a number
            of more than :data:`MAX_NUMBER_LENGTH` characters or one that is not finite, a lone
            surrogate, or an object with two equal keys.
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
    """Return how deep a decoder would get into `body` before it finds an error, or more."""
    # Runs of backslashes pair up from their left, so what is left of one escapes what follows.
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = _STRING.sub(b"", unescaped.translate(None, _NO_BRACKETS))
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


def _has_lone_surrogate(value: dict[str, Any]) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _parse_int(literal: str) -> int:
    if len(literal) > MAX_NUMBER_LENGTH and len(literal.lstrip("-")) > MAX_NUMBER_LENGTH:
        raise JSONBodyError("number too long")
    return int(literal)


def _parse_float(literal: str) -> float:
    if len(literal) > MAX_NUMBER_LENGTH and len(literal.lstrip("-")) > MAX_NUMBER_LENGTH:
        raise JSONBodyError("number too long")
    number = float(literal)
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
    parse_int=_parse_int,
    parse_float=_parse_float,
    parse_constant=_parse_constant,
    object_pairs_hook=_parse_object,
)
