"""Strict parsing of JSON request bodies (RFC 8259, and I-JSON, RFC 7493).

``json.loads`` guesses the encoding, silently drops duplicate keys, accepts NaN and Infinity, and
spends quadratic time or the whole C stack on malicious input. A check and the code behind it must
not see different values, so everything that parsers interpret differently is rejected.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection
from itertools import accumulate
from typing import Any

from ._patterns import lazy_pattern
from .refusals import Refusal

__all__ = [
    "LENIENT_MEMBERS",
    "MAX_DEPTH",
    "MAX_NUMBER_LENGTH",
    "JSONBodyError",
    "is_json_type",
    "loads_object",
    "loads_request",
    "loads_value",
]

#: The maximum nesting depth of arrays and objects.
MAX_DEPTH = 64

#: The maximum length of a number in characters, without its sign.
MAX_NUMBER_LENGTH = 100

#: Top-level members of the platform's requests that :func:`loads_request` reads leniently. They
#: report what happened, what a telephone network said, or what a model wrote at the end of a call;
#: nothing is decided by them.
LENIENT_MEMBERS = frozenset(
    {
        "call_log",
        "call_timeline",
        "caller_id_name",
        "conversation_summary",
        "post_prompt_data",
        "raw_call_log",
        "sip_headers",
        "summary",
        "swaig_log",
        "times",
    }
)

_JSON_TYPE = lazy_pattern(r"application/(?:json|[a-z0-9!#$&^_.-]+\+json)[ \t]*", re.IGNORECASE)
# RFC 9110 section 5.6.6, without escapes in quoted strings.
_PARAMETER = lazy_pattern(
    r""";[ \t]*(?:([A-Za-z0-9!#$%&'*+.^_`|~-]+)="""
    r"""([A-Za-z0-9!#$%&'*+.^_`|~-]+|"[\t !#-\[\]-~]*")[ \t]*)?"""
)
_UTF_8 = lazy_pattern(r';[ \t]*charset=(?:utf-?8|"utf-?8")[ \t]*', re.IGNORECASE)
_STRING = lazy_pattern(rb'"[^"]*"?')
_SURROGATE_ESCAPE = lazy_pattern(rb"\\u[dD][89a-fA-F]")
_LONE_SURROGATE = lazy_pattern("[\ud800-\udfff]")
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_TEN_DIGITS = b"0" * 10
#: What a colon outside of strings may be the end of.
_BEFORE_COLON = (b'":', b" :", b"\t:", b"\n:", b"\r:")
#: For fewer objects, comparing keys is as fast as counting them.
_MANY_OBJECTS = 24
_NO_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


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

    Other parameters are ignored. A body that is JSON here but a form, or text in another charset,
    to the application could have two meanings, so of ``charset`` there may be one, without a
    language (RFC 8187).
    """
    if content_type == "application/json":
        return True
    text = content_type.strip(" \t")
    match = _JSON_TYPE.match(text)
    charsets = []
    while match is not None and match.end() < len(text):
        match = _PARAMETER.match(text, match.end())
        if match is not None and (match[1] or "").lower().startswith("charset"):
            charsets.append(match[0])
    return match is not None and (
        not charsets or (len(charsets) == 1 and _UTF_8.fullmatch(charsets[0]) is not None)
    )


def loads_value(body: bytes) -> Any:
    """Parse JSON: any value, as strictly as :func:`loads_object`.

    Raises:
        JSONBodyError: as :func:`loads_object`, except ``not an object``.
    """
    if not body:
        raise JSONBodyError("empty body")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise JSONBodyError("not UTF-8") from None
    if len(body) > MAX_NUMBER_LENGTH and _may_have_long_number(body):
        value = _decode(body, text, _SCAN)
    elif body.count(b"{") < _MANY_OBJECTS:
        value = _decode(body, text, _SCAN_SHORT_NUMBERS)
    else:
        value = _decode_many(body, text)
    # Few bodies contain escapes, and only these take a search.
    if b"\\u" in body and _SURROGATE_ESCAPE.search(body) and _has_lone_surrogate(value):
        raise JSONBodyError("lone surrogate")
    return value


def loads_object(body: bytes) -> dict[str, Any]:
    """Parse a request body that is a JSON object.

    Time and memory are linear in the length of `body`.

    Raises:
        JSONBodyError: it is not a JSON object in UTF-8, is nested deeper than :data:`MAX_DEPTH`, or
            contains a number longer than :data:`MAX_NUMBER_LENGTH` or not finite, a lone
            surrogate, or a duplicate key.
    """
    return _checked_object(loads_value(body))


def loads_request(
    body: bytes, lenient: Collection[str] = LENIENT_MEMBERS
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Parse a request of the platform: as :func:`loads_object`, except for some members.

    Telephone networks send names in Latin-1; logs and summaries are cut in the middle of an emoji.
    In the top-level members `lenient`, octets that are not UTF-8 and lone surrogates become U+FFFD,
    and of equal keys the last counts. Everything else is as strict as ever: their own names,
    numbers, nesting, and every other member.

    Use it only where nothing else parses the body. Parsers disagree about octets that are not
    UTF-8: one that skips a quotation mark after them finds other members.

    Returns:
        the object, and the sorted names of the members that were repaired.

    Raises:
        JSONBodyError: as :func:`loads_object`.
    """
    try:
        return loads_object(body), ()
    except JSONBodyError as error:
        if error.what not in ("not UTF-8", "lone surrogate", "duplicate key"):
            raise
        first = error.what
    # Each octet that is not UTF-8 becomes one lone surrogate, so that it cannot hide the
    # structure around it, and is found wherever it is.
    value = _decode(body, body.decode("utf-8", "surrogateescape"), _SCAN_MARKING)
    parsed = _checked_object(value)
    if isinstance(parsed, _Repeated):
        raise JSONBodyError("duplicate key")
    repaired = []
    for name, member in parsed.items():
        problem = _problem(name) or _problem(member)
        if not problem:
            continue
        if name not in lenient:
            # Octets that are not UTF-8 are lone surrogates here, too.
            octets = problem == "lone surrogate" and first == "not UTF-8"
            raise JSONBodyError(first if octets else problem)
        parsed[name] = _repaired(member)
        repaired.append(name)
    return parsed, tuple(sorted(repaired))


def _decode(body: bytes, text: str, scan: _Scan) -> Any:
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(body):
        raise JSONBodyError("nested too deeply")
    text = text.strip(" \t\n\r")
    try:
        value, end = scan(text, 0)
    except (StopIteration, json.JSONDecodeError):
        raise JSONBodyError("not JSON") from None
    if end != len(text):
        raise JSONBodyError("not JSON")
    return value


def _decode_many(body: bytes, text: str) -> Any:
    """As :func:`_decode`, faster for many objects: their members are counted, not compared.

    A decoder keeps one of two equal keys, so that there are fewer members than colons outside of
    strings. So if there are no more colons than members, none was dropped. If there are more, some
    are in strings; but only those after a quotation mark or white space can be outside of them. If
    there are more of these, too, the keys are compared.
    """
    members = 0

    def count(value: dict[str, Any]) -> dict[str, Any]:
        nonlocal members
        members += len(value)
        return value

    try:
        value = _decode(body, text, _scanner(None, None, count))
    except JSONBodyError:
        members = -1  # Comparing finds the first error, which may be an equal key.
    # The first count takes a tenth of the time of the others.
    if members not in (body.count(b":"), -1) and members != sum(map(body.count, _BEFORE_COLON)):
        members = -1
    if members == -1:
        value = _decode(body, text, _SCAN_SHORT_NUMBERS)
    return value


def _may_have_long_number(body: bytes) -> bool:
    """Return False only if no integer in `body` is too long.

    Every tenth byte is examined: a run of more than 100 digits shows as ten digits or more.
    """
    return _TEN_DIGITS in body[::10].translate(_DIGITS)


def _checked_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise JSONBodyError("not an object")
    return value


def _is_deep(body: bytes) -> bool:
    """Return whether a decoder may exceed :data:`MAX_DEPTH` before it finds an error."""
    unescaped = body
    if b"\\" in body:
        # Backslashes pair up from the left, so a remaining one escapes the next character.
        unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Most strings have no brackets, and are just `""` now. Removing two adjacent quotation marks
    # moves no bracket into or out of a string, even if they end one string and begin the next.
    marks = unescaped.translate(None, _NO_BRACKETS).replace(b'""', b"")
    brackets = _STRING.sub(b"", marks)
    # Most objects and lists are in the lowest two levels; each replacement lowers the depth by one.
    upper = brackets
    for pair in (b"[]", b"{}") * 2:
        upper = upper.replace(pair, b"")
    if upper.count(b"[") + upper.count(b"{") + 4 <= MAX_DEPTH:
        return False
    return max(accumulate(map(_STEP.__getitem__, brackets))) > MAX_DEPTH


def _has_lone_surrogate(value: Any) -> bool:
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
    if len(literal) > MAX_NUMBER_LENGTH:
        _bounded(literal)
    number = float(literal)
    if math.isinf(number):
        raise JSONBodyError("NaN or Infinity")
    return number


def _parse_constant(literal: str) -> float:
    raise JSONBodyError("NaN or Infinity")


def _parse_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise JSONBodyError("duplicate key")
    return value


class _Repeated(dict[str, Any]):
    """An object with equal keys, of which the last counts."""


def _mark_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    return value if len(value) == len(pairs) else _Repeated(value)


def _problem(value: Any) -> str:
    """Return what makes `value` ambiguous, "" if nothing does."""
    if isinstance(value, str):
        return "lone surrogate" if _LONE_SURROGATE.search(value) else ""
    if isinstance(value, _Repeated):
        return "duplicate key"
    parts: list[Any] = []
    if isinstance(value, dict):
        parts = [*value, *value.values()]
    elif isinstance(value, list):
        parts = value
    return next(filter(None, map(_problem, parts)), "")


def _repaired(value: Any) -> Any:
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_repaired(each) for each in value]
    if isinstance(value, dict):
        return {_repaired(name): _repaired(member) for name, member in value.items()}
    return value


#: Parses the value at an index of a text; returns it and the index after it. It raises
#: StopIteration if there is none.
_Scan = Callable[[str, int], "tuple[Any, int]"]


def _scanner(
    make_object: Callable[[list[tuple[str, Any]]], Any] | None,
    parse_int: Callable[[str], int] | None = lambda literal: int(_bounded(literal)),
    on_object: Callable[[dict[str, Any]], Any] | None = None,
) -> _Scan:
    decoder: Any = json.JSONDecoder(
        parse_int=parse_int,
        parse_float=_parse_float,
        parse_constant=_parse_constant,
        object_pairs_hook=make_object,
        object_hook=on_object,
    )
    # What decode() calls between two regular expressions for white space.
    return decoder.scan_once  # type: ignore[no-any-return]


_SCAN = _scanner(_parse_object)
#: Without a call for each integer, since none can be too long.
_SCAN_SHORT_NUMBERS = _scanner(_parse_object, None)
_SCAN_MARKING = _scanner(_mark_repeated)
