"""JSON: what we accept, another parser reads as the same value; what we refuse is ambiguous."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pydantic_core
from fuzz.strategies import JUNK, NAMES_OF_MEMBERS, OCTETS, SCALARS, VALUES, spoiled
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core.strict_json import (
    LENIENT_MEMBERS,
    JSONBodyError,
    is_json_type,
    loads_object,
    loads_request,
    loads_value,
)

#: Pieces of JSON, which seldom fit together, and what makes it ambiguous.
PIECES = st.sampled_from(
    [
        *('{"a":', '{"a":1,"a":2}', "}", "[", "]", ",", ":", '"', "null", "true", "-", "1", "0"),
        *("NaN", "-Infinity", "1e999", "-1e-999", "0" * 99, "7" * 101, "-" + "7" * 100, ".5", "1."),
        *(
            '"\\ud800"',
            '"\\ud83d\\ude00"',
            '"\\u0000"',
            '"\t"',
            "\ufeff",
            "\\",
            "'",
            "/**/",
            "\x0b",
        ),
        *("[" * 63, "]" * 63, '[{"x":' * 40, "}]" * 40, " ", "\n", "\xa0", "\u2028", '"a"', "1_0"),
    ]
)
TEXTS = (
    spoiled(st.builds(json.dumps, VALUES | st.dictionaries(NAMES_OF_MEMBERS, VALUES, max_size=4)))
    | st.lists(PIECES, max_size=8).map("".join)
    | st.builds('{{"a":{}}}'.format, st.lists(PIECES | JUNK, max_size=6).map("".join))
    | st.builds("{}{}{}".format, st.just("[" * 62), SCALARS.map(json.dumps), st.just("]" * 62))
)


@st.composite
def bodies(draw: Any) -> bytes:
    body: bytes = draw(TEXTS).encode("utf-8", "surrogatepass")
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.binary(max_size=2)) + body[at + draw(st.integers(0, 1)) :]
    return body


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal and of equal types; 1 is not 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        # In the same order, too.
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) and (
        not isinstance(one, float) or math.copysign(1, one) == math.copysign(1, other)
    )


@given(bodies())
def test_what_is_accepted_is_the_same_value_to_another_parser(body: bytes) -> None:
    try:
        value = loads_value(body)
    except JSONBodyError:
        return
    # Without the white space around it (RFC 8259 section 2).
    assert same(value, pydantic_core.from_json(body, allow_inf_nan=False))
    assert same(value, json.loads(body.decode()))


def is_refused_for(what: str, body: bytes) -> bool:
    """Return whether a value that another parser reads is to be refused, for the reason `what`.

    RFC 7493 (I-JSON) says of each why; of depth and length, RFC 8259 section 9 that they may be
    limited.
    """
    text = body.decode()
    if what == "not an object":
        return not isinstance(json.loads(text), dict)
    if what == "duplicate key":  # section 2.3
        found: list[bool] = []
        json.loads(text, object_pairs_hook=lambda p: found.append(len(dict(p)) < len(p)))
        return any(found)
    if what == "lone surrogate":  # section 2.1
        return (
            re.search("[\ud800-\udfff]", json.dumps(json.loads(text), ensure_ascii=False))
            is not None
        )
    if what == "NaN or Infinity":  # section 2.2: beyond a double's range
        return "inf" in str(json.loads(text)).lower() or "nan" in str(json.loads(text)).lower()
    if what == "number too long":
        outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
        return any(len(n) > 100 for n in re.findall(r"[0-9][-+0-9.eE]*", outside))
    if what == "nested too deeply":
        outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
        return max(outside.count("["), outside.count("{")) > 20 and depth(json.loads(text)) > 64
    return False


def depth(value: Any) -> int:
    members = value.values() if isinstance(value, dict) else value
    if not isinstance(value, (dict, list)):
        return 0
    return 1 + max(map(depth, members), default=0)


@given(bodies())
def test_what_is_refused_is_no_json_or_ambiguous(body: bytes) -> None:
    what = fault(body)
    if what is not None and is_read_by_others(body):
        assert is_refused_for(what, body)


def fault(body: bytes) -> str | None:
    try:
        loads_object(body)
    except JSONBodyError as error:
        return error.what
    return None


def is_read_by_others(body: bytes) -> bool:
    try:
        pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError:
        return False
    return True


LENIENT = st.sampled_from(sorted(LENIENT_MEMBERS))
MEMBERS = st.lists(
    st.tuples(
        LENIENT | NAMES_OF_MEMBERS, bodies() | SCALARS.map(lambda each: json.dumps(each).encode())
    ),
    max_size=3,
)


@given(MEMBERS)
def test_a_repaired_request_differs_in_its_lenient_members_only(
    members: list[tuple[str, bytes]],
) -> None:
    parts = [json.dumps(name).encode() + b":" + text for name, text in members]
    body = b"{" + b",".join(parts) + b"}"
    try:
        value, repaired = loads_request(body)
    except JSONBodyError:
        return
    assert set(repaired) <= LENIENT_MEMBERS
    assert list(repaired) == sorted(repaired)
    # Whatever it is now can be sent and read again.
    text = json.dumps(value, ensure_ascii=False).encode()
    assert same(loads_object(text), value)
    try:
        assert same(loads_object(body), value)
        assert repaired == ()
    except JSONBodyError:
        assert repaired != ()


@given(
    spoiled(
        st.builds(
            "{}{}".format,
            st.sampled_from(
                ["application/json", "application/x+json", "text/json", "APPLICATION/JSON"]
            ),
            st.sampled_from(
                ["", ";charset=utf-8", '; charset="UTF-8"', "; charset=latin-1", ";q=1"]
            ),
        )
    )
    | st.text(OCTETS)
)
def test_a_json_type_is_one_to_the_standard_library(text: str) -> None:
    from email.message import Message

    if not is_json_type(text):
        return
    message = Message()
    message["Content-Type"] = text
    kind = message.get_content_type()
    assert kind == "application/json" or kind.endswith("+json")
    charset = message.get_content_charset("utf-8")
    assert charset in ("utf-8", "utf8")
