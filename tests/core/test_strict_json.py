from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core.strict_json import MAX_DEPTH, JSONBodyError, is_json_type, loads_object

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**99), 10**99)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]))
OBJECTS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=8
    ),
)


def what(body: bytes) -> str:
    with pytest.raises(JSONBodyError) as caught:
        loads_object(body)
    assert str(caught.value) == caught.value.what
    return caught.value.what


def nested(depth: int, inner: bytes = b"1") -> bytes:
    """Return an object with arrays nested to `depth`."""
    return b'{"a":' + b"[" * (depth - 1) + inner + b"]" * (depth - 1) + b"}"


@given(OBJECTS, st.booleans())
def test_an_object_survives_a_round_trip(value, ascii_only):
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert loads_object(body) == value


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_nothing_else_is_raised(body):
    try:
        found = loads_object(body)
    except JSONBodyError:
        pass
    else:
        assert found == json.loads(body)


@given(st.text() | st.text('aplictonjs/+;= "chruf8-', max_size=40))
def test_checking_a_type_never_raises(content_type):
    assert is_json_type(content_type) in (True, False)


@given(st.text('{}[]",:\\1aeE.-u0', max_size=40))
def test_accepted_bodies_have_the_same_value_in_the_json_module(text):
    try:
        found = loads_object(text.encode())
    except JSONBodyError:
        pass
    else:
        assert found == json.loads(text)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "empty body"),
        (b" ", "not JSON"),
        (b"\n", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b'{"a": 1}}', "not JSON"),
        (b'{"a": 1} {"a": 1}', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b'{"a": 01}', "not JSON"),
        (b'{"a": +1}', "not JSON"),
        (b'{"a": .5}', "not JSON"),
        (b'{"a": 0x10}', "not JSON"),
        (b'{"a": "\x00"}', "not JSON"),
        (b'{"a": "\n"}', "not JSON"),
        (b'{"a": "\\x41"}', "not JSON"),
        (b'{"a": 1}\x00', "not JSON"),
        (b"a=1&b=2", "not JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        ('{"a": 1}'.encode("utf-16-le"), "not JSON"),
        ('{"a": 1}'.encode("utf-16-be"), "not JSON"),
        ('{"a": 1}'.encode("utf-32-le"), "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a": "\xc0\x80"}', "not UTF-8"),
        (b"[1, 2]", "not an object"),
        (b"[]", "not an object"),
        (b"1", "not an object"),
        (b'"a"', "not an object"),
        (b"null", "not an object"),
        (b"true", "not an object"),
        (b'{"a": NaN}', "NaN or Infinity"),
        (b'{"a": Infinity}', "NaN or Infinity"),
        (b'{"a": [-Infinity]}', "NaN or Infinity"),
        (b'{"a": 1e999}', "NaN or Infinity"),
        (b'{"a": -1e999}', "NaN or Infinity"),
        (b'{"a": 1.5E400}', "NaN or Infinity"),
        (b'{"a": ' + b"9" * 101 + b"}", "number too long"),
        (b'{"a": -' + b"9" * 101 + b"}", "number too long"),
        (b'{"a": 0.' + b"9" * 99 + b"}", "number too long"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "number too long"),
        (b'{"a": "\\ud800"}', "lone surrogate"),
        (b'{"a": "\\uDC00"}', "lone surrogate"),
        (b'{"a": "\\udc00\\ud800"}', "lone surrogate"),
        (b'{"a": {"b": ["x", "\\uDfff!"]}}', "lone surrogate"),
        (b'{"\\ud83d": 1}', "lone surrogate"),
        (b'{"a": "\\ud83d\\ude00\\ud83d"}', "lone surrogate"),
        (b'{"a": 1, "a": 1}', "duplicate key"),
        (b'{"a": 1, "\\u0061": 2}', "duplicate key"),
        (b'{"a": [{"b": 1, "c": 2, "b": 1}]}', "duplicate key"),
        (b'{"": 1, "": 2}', "duplicate key"),
    ],
)
def test_rejected_bodies(body, expected):
    assert what(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", {}),
        (b' \t\r\n{"a" : 1}\r\n', {"a": 1}),
        (b'{"a": -0}', {"a": 0}),
        (b'{"a": 1e-999}', {"a": 0.0}),
        (b'{"a": 1E5}', {"a": 100000.0}),
        (b'{"a": ' + b"9" * 100 + b"}", {"a": 10**100 - 1}),
        (b'{"a": -' + b"9" * 100 + b"}", {"a": 1 - 10**100}),
        (b'{"a": -0.' + b"5" * 98 + b"}", {"a": float("-0." + "5" * 98)}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a": "\\\\ud800"}', {"a": "\\ud800"}),
        (b'{"a": "NaN"}', {"a": "NaN"}),
        (b'{"a": "\\u0000"}', {"a": "\0"}),
        ('{"ü": "☎"}'.encode(), {"ü": "☎"}),
        (b'{"a": {"b": 1}, "c": {"b": 1}}', {"a": {"b": 1}, "c": {"b": 1}}),
    ],
)
def test_accepted_bodies(body, expected):
    assert loads_object(body) == expected


def test_nesting_has_a_limit():
    assert loads_object(nested(MAX_DEPTH))
    assert what(nested(MAX_DEPTH + 1)) == "nested too deeply"
    objects = b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH
    assert loads_object(objects)
    assert what(b'{"a":' + objects + b"}") == "nested too deeply"


@pytest.mark.parametrize(
    "string",
    [
        b"[" * 100,
        b"{" * 100,
        b'\\"' + b"[" * 100,
        b"\\\\" + b"]" * 100,
        b'\\\\\\"[[[[' * 30,
        b"\\u005b" * 100,
        b'[\\"]{' * 50,
        b"\\/[" * 100,
    ],
)
def test_brackets_in_strings_do_not_nest(string):
    body = b'{"a": "' + string + b'", "b": [1], "' + string + b'": {}}'
    assert loads_object(body) == json.loads(body)


@pytest.mark.parametrize("string", [b"\\\\", b"\\\\\\\\", b'\\"\\\\', b"]]]]", b"\\n"])
def test_no_string_hides_brackets_behind_it(string):
    deep = b'{"a": "' + string + b'", "b": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    assert what(deep) == "nested too deeply"


def test_many_brackets_side_by_side_do_not_nest():
    body = json.dumps({"a": [[], {}, [[]]] * 1_000}).encode()
    assert loads_object(body) == json.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b"{" * 1_000_000,
        b'{"a":' * 200_000,
        b'[{"a":' * 150_000,
        b"]" * 1_000 + b"[" * 1_000_000,
        b'{"a": [' + b"[]," * 300_000,
        b'"' + b'\\"' * 500_000,
        b'{"a": "' + b"\\" * 999_999,
        b'{"a": "' + b'\\"[' * 300_000,
        b'"' * 1_000_000,
        b'"[' * 500_000,
        b"9" * 1_000_000,
        b'{"a": 0.' + b"9" * 1_000_000 + b"}",
        b'{"a": 1e' + b"9" * 1_000_000 + b"}",
        b'{"a": "' + b"\\ud83d" * 150_000 + b'"}',
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_malicious_megabyte_needs_neither_stack_nor_quadratic_time(body):
    # Quadratic time would take minutes, and a stack of that depth would end the process.
    assert what(body)


def test_no_recursion_however_little_of_the_stack_is_left():
    def dig(depth: int) -> str:
        return dig(depth - 1) if depth else what(b"[" * 100_000)

    assert dig(sys.getrecursionlimit() // 2) == "nested too deeply"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        " application/json ",
        "application/vnd.api+json",
        "application/json;charset=utf-8",
        'application/json ; charset="UTF-8"',
        "application/json; charset=utf8",
        "application/json;",
    ],
)
def test_json_types(content_type):
    assert is_json_type(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "json",
        "text/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/json+xml",
        "xapplication/json",
        "application/+json",
        "application/json; charset=utf-7",
        "application/json; charset=utf-16",
        "application/json, text/plain",
        "application/json; charset=utf-8; charset=utf-7",
        "application/json\n",
        "multipart/form-data; boundary=application/json",
    ],
)
def test_other_types(content_type):
    assert not is_json_type(content_type)
