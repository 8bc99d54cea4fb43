from __future__ import annotations

import json
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core import strict_json
from swaig_wsgi.core.strict_json import (
    LENIENT_MEMBERS,
    MAX_DEPTH,
    MAX_NUMBER_LENGTH,
    JSONBodyError,
    is_json_type,
    loads_object,
    loads_request,
    loads_value,
)

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


@given(
    st.lists(
        st.sampled_from(["1", "0" * 99, "7" * 50, "-", ".5", "e3", "E+", ",", '"', " ", "\n", "x"])
        | st.integers(-(10**120), 10**120).map(str),
        max_size=12,
    ),
    st.integers(0, 30),
)
def test_integers_are_read_the_same_without_looking_at_each(parts, offset):
    for end in ("", "\x0b"):
        body = f'{{"a":{" " * offset}[{"".join(parts)}]}} {end}'.encode()
        outcomes = []
        for examine_each in (False, True):
            with pytest.MonkeyPatch.context() as patch:
                if examine_each:
                    patch.setattr(strict_json, "_may_have_long_number", lambda body: True)
                try:
                    outcomes.append(loads_object(body))
                except JSONBodyError as error:
                    outcomes.append(error.what)
        assert outcomes[0] == outcomes[1]
        assert list(map(type, outcomes)).count(dict) in (0, 2)


@given(st.integers(90, 130), st.integers(0, 40), st.text("01a"), st.text("01a"))
def test_attack_no_long_run_of_digits_is_missed(length, offset, before, after):
    body = f"{before}{'x' * offset}{'7' * length}{after}".encode()
    longest = max(map(len, re.findall(rb"[0-9]+", body)))
    assert strict_json._may_have_long_number(body) or longest <= MAX_NUMBER_LENGTH


REPAIRABLE = ("not UTF-8", "lone surrogate", "duplicate key")


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
    with pytest.raises(JSONBodyError) as caught:
        loads_request(body)
    if expected not in REPAIRABLE:
        assert caught.value.what == expected
    assert (caught.value.status, caught.value.reason) == (400, "bad_request")
    assert caught.value.error == f"Bad request: {caught.value.detail}"


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


@given(
    st.lists(
        st.sampled_from(['"', "\\", "[", "]", "{", "}", '""', '"["', "[]", "{}", "x", ","])
        | st.sampled_from(["[" * 60, "]" * 60, "[]" * 40, '{"a":' * 30, "}" * 30, '"]"' * 40]),
        max_size=30,
    ).map("".join)
)
def test_attack_no_depth_is_missed(text):
    """The limit holds, whatever hides brackets or looks like their ends."""
    deepest = depth = 0
    inside = escaped = False
    for char in text:
        if inside:
            inside, escaped = escaped or char != '"', not escaped and char == "\\"
        elif char == '"':
            inside, escaped = True, False
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
        elif char == "\\":
            return  # An error, as which decoders find it.
    assert strict_json._is_deep(text.encode()) == (deepest > MAX_DEPTH)


def test_nesting_has_a_limit():
    assert loads_object(nested(MAX_DEPTH))
    assert what(nested(MAX_DEPTH + 1)) == "nested too deeply"
    objects = b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH
    assert loads_object(objects)
    assert what(b'{"a":' + objects + b"}") == "nested too deeply"
    for inner in (b"[]", b"{}", b"1"):
        alternating = b'{"a":[' * 32 + inner + b"]}" * 32
        if inner == b"1":
            assert loads_object(alternating)
        else:
            assert what(alternating) == "nested too deeply"


def test_the_bounds_are_those_of_the_documentation():
    assert (MAX_DEPTH, MAX_NUMBER_LENGTH) == (64, 100)


@pytest.mark.parametrize(
    "sibling", [b"[]", b"{}", b'"]"', b'{"b":[]}', b"[[],[{}]]", b'"\\""', b"1", b'"}}"']
)
@pytest.mark.parametrize("number", [1, 2, 70])
def test_nesting_is_counted_past_siblings(sibling, number):
    """What begins and ends beside a list is not around it, however much of it there is."""
    beside = (b"," + sibling) * number
    outer = (b"[" + beside[1:] + b",") * 50
    for depth in (64, 65):
        inner = b"[" * (depth - 51) + b"1" + b"]" * (depth - 51)
        body = b'{"a":' + outer + inner + (beside + b"]") * 50 + b"}"
        if depth == 64:
            assert loads_object(body) == json.loads(body)
        else:
            assert what(body) == "nested too deeply"


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
        (b"9" * 90 + b"x") * 11_000,
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


def test_parameters_of_a_type_are_ignored_except_for_the_charset():
    assert is_json_type("application/json; charset=UTF-8; x=y")
    assert is_json_type('application/json ;x="a ; charset=utf-16";charset="UTF-8" ; v=1;')
    for parameters in (
        "charset=utf-16; x=y",
        "x=y; charset=utf-16",
        "charset=utf-8; charset=utf-8",
        "charset=utf-8; Charset=utf-16",
        "charset*=utf-16''x",
        "charset*0=utf-; charset*1=16",
        'charset="utf-8 "',
        'charset="utf\\-8"',
        'charset="utf-8',
        "charset",
        "charset=",
        "x y=1",
        "x =1",
        'x="\x7f"',
        'x="a\\"b"',
        'x="\xe9"',
        "x=1, application/xml",
    ):
        assert not is_json_type(f"application/json; {parameters}")


@pytest.mark.parametrize("part", [" ", ";", "; ", ";x=y", ';x="', ';x="\\', "\t;"])
def test_attack_a_type_of_many_parameters_takes_no_quadratic_time(part):
    # Quadratic time would take minutes.
    assert not is_json_type(f"application/json;{part * (1_000_000 // len(part))}\x00")


# -- any value


def test_any_value_is_parsed_as_strictly():
    for text, value in (("[1]", [1]), ('"a"', "a"), ("null", None), (" 1.5", 1.5)):
        assert loads_value(text.encode()) == value
    for body in (b"", b"[", b'"\\ud800"', b'[{"a":1,"a":1}]', b"NaN", b"\xff", b"[" * 65):
        with pytest.raises(JSONBodyError):
            loads_value(body)


# -- requests of the platform, some of whose members are read leniently

REQUEST = {"function": "pay", "call_id": "call-1", "argument": {"parsed": [{"amount": 5}]}}

#: Members as JSON text in Latin-1, and as they are read.
REPAIRED = [
    ('"\\ud83d"', "\ufffd"),
    ('"caf\\ud83d\\ude00\\udc00"', "caf\U0001f600\ufffd"),
    ('"J\xf6rg"', "J\ufffdrg"),
    ('"\xf0\x9f\x98"', "\ufffd\ufffd\ufffd"),
    ('"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
    ('{"Via": "a", "Via": "b"}', {"Via": "b"}),
    ('{"\\ud83d": 1, "\xf6": 2}', {"\ufffd": 2}),
    ('[{"content": [{"a": 1, "a": {"b": "\xf6", "b": 2.5}}]}]', [{"content": [{"a": {"b": 2.5}}]}]),
]


def with_member(name: str, text: str, request: dict = REQUEST) -> bytes:
    """Return `request` with one more member, whose value is `text` in Latin-1."""
    return json.dumps(request)[:-1].encode() + f', "{name}": {text}}}'.encode("latin-1")


@pytest.mark.parametrize(("text", "expected"), REPAIRED)
def test_lenient_members_are_repaired(text, expected):
    for name in sorted(LENIENT_MEMBERS):
        body = with_member(name, text)
        assert loads_request(body) == ({**REQUEST, name: expected}, (name,))
        with pytest.raises(JSONBodyError):
            loads_object(body)
    assert loads_request(with_member("x", text), {"x"}) == ({**REQUEST, "x": expected}, ("x",))


def test_several_members_are_repaired_and_well_formed_ones_stay():
    body = b'{"times": [1], "caller_id_name": "\xe4", "call_log": ["\\udfff", null], "a": true}'
    expected = {"times": [1], "caller_id_name": "\ufffd", "call_log": ["\ufffd", None], "a": True}
    assert loads_request(body) == (expected, ("call_log", "caller_id_name"))
    assert loads_request(b'{"call_log": "\xc3\xa4"}') == ({"call_log": "ä"}, ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("NaN", "NaN or Infinity"),
        ("1e999", "NaN or Infinity"),
        ("9" * 101, "number too long"),
        ("[" * 64 + "]" * 64, "nested too deeply"),
        ('"\xf6" "\xf6', "not JSON"),
        ('"\xf6"}, {"a": 1', "not JSON"),
        ('"\n\xf6"', "not JSON"),
    ],
)
def test_lenient_members_are_strict_otherwise(text, problem):
    for name in ("call_log", "sip_headers"):
        with pytest.raises(JSONBodyError) as caught:
            loads_request(with_member(name, text))
        assert caught.value.what == problem
    with pytest.raises(JSONBodyError, match="nested too deeply"):
        loads_request(with_member("call_log", f'["\xf6", {"[" * 64 + "]" * 64}]'))


STRICT_MEMBERS = (
    *("function", "call_id", "conversation_id", "argument", "arguments", "action", "functions"),
    *("call", "vars", "global_data", "meta_data", "meta_data_token", "caller_id_num", "parsed"),
    *("raw", "substituted", "verified_call_id", "SIP_HEADERS", "sip_headers ", ""),
)


@pytest.mark.parametrize("name", STRICT_MEMBERS)
@pytest.mark.parametrize(("text", "_"), REPAIRED)
def test_attack_nothing_that_decides_is_read_leniently(name, text, _):
    for body in (
        with_member(name, text, {"z": 1}),
        # Beside members that are repaired, in front of them and behind.
        f'{{"call_log": {text}, "{name}": {text}}}'.encode("latin-1"),
        f'{{"{name}": {text}, "call_log": {text}}}'.encode("latin-1"),
        # Inside an object, under the name of a lenient member.
        f'{{"{name}": {{"call_log": {text}}}}}'.encode("latin-1"),
        f'{{"{name}": [{{"sip_headers": {text}}}]}}'.encode("latin-1"),
    ):
        with pytest.raises(JSONBodyError) as caught:
            loads_request(body)
        assert caught.value.what in ("not UTF-8", "lone surrogate", "duplicate key")


@pytest.mark.parametrize(
    "body",
    [
        b'{"call_id": "a", "call_id": "b", "call_log": "\xf6"}',
        b'{"call_log": 1, "call_log": 2}',
        b'{"call_log": "\xf6", "call_log": "\xf6"}',
        b'{"call_log\xf6": 1}',
        b'{"call_log\\ud800": 1}',
        b'{"\xf6": 1, "call_log": 1}',
        b'{"call_log": 1, "\\u0063all_log": "\xf6"}',
        b'["\xf6"]',
        b'[{"call_log": "\xf6"}]',
        b'"\xf6"',
    ],
)
def test_attack_names_and_equal_names_of_members_are_strict(body):
    with pytest.raises(JSONBodyError):
        loads_request(body)


def test_the_problem_of_the_strict_member_is_named():
    for body, problem in (
        (b'{"call_log": "\xf6", "a": {"b": 1, "b": 1}}', "duplicate key"),
        (b'{"call_log": {"b": 1, "b": 1}, "a": "\\ud800"}', "lone surrogate"),
        (b'{"call_log": {"b": 1, "b": 1}, "a": "\xf6"}', "not UTF-8"),
    ):
        with pytest.raises(JSONBodyError) as caught:
            loads_request(body)
        assert caught.value.what == problem


@given(st.text('{}[]",:\\1a \xf6\xc3u').map(lambda text: text.encode("latin-1")))
def test_attack_no_octet_hides_the_structure_around_it(octets):
    """An octet must not swallow a quotation mark, which would move members into a string."""
    body = b'{"function": "look", "call_log": "' + octets + b'", "call_id": "call-1"}'
    try:
        request, _ = loads_request(body)
    except JSONBodyError:
        return
    # What any octet could be at worst: a letter. The members are the same.
    plain = bytes(each if each < 0x80 else ord("x") for each in body)
    expected = json.loads(plain)
    assert {**request, "call_log": None} == {**expected, "call_log": None}


@given(OBJECTS, st.binary())
def test_a_strict_request_is_read_as_by_the_strict_parser(value, octets):
    body = json.dumps(value).encode()
    assert loads_request(body) == (value, ())
    for each in (octets, body + octets):
        try:
            found = loads_request(each)
        except JSONBodyError:
            continue
        assert found == (loads_object(each), ())


@pytest.mark.parametrize("unit", [b'"\\ud800",', b'"\xf6",', b'{"a":1,"a":1},'])
def test_attack_a_malicious_megabyte_is_repaired_in_linear_time(unit):
    body = b'{"call_log": [' + unit * (1_000_000 // len(unit)) + b"1]}"
    assert loads_request(body)[1] == ("call_log",)
    with pytest.raises(JSONBodyError):
        loads_request(body.replace(b"call_log", b"global_data"))


# Bodies with many objects, whose members are counted


MANY = st.lists(
    st.sampled_from(
        [
            b'{"a":1,"b":2}',
            b'{"a" :1,"b"\t:"c"}',
            b'{"a"\n:1,"b"\r:2}',
            b'{"a":1,"a":2}',
            b'{"a" : 1, "a":2}',
            b'{"a":":","b":"10:30 \\": :\\u003a"}',
            b'{"a":{"b":{}},"c":[{"b":1}]}',
            b'{"b":1e999}',
            b'{"b":NaN}',
            b'{"b"}',
        ]
    ),
    min_size=20,
    max_size=60,
)


@given(MANY)
def test_counting_members_and_comparing_keys_are_the_same(objects):
    body = b'{"list":[%s]}' % b",".join(objects)
    found = []
    for limit in (0, sys.maxsize):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(strict_json, "_MANY_OBJECTS", limit)
            try:
                found.append(loads_object(body))
            except JSONBodyError as error:
                found.append(error.what)
    assert found[0] == found[1]


@pytest.mark.parametrize("colon", [b":", b" :", b"\t:", b"\n:", b"\r:", b" \t : "])
def test_attack_an_equal_key_among_many_objects_is_found(colon):
    # Neither colons in strings nor escaped ones may balance the member that was dropped.
    texts = (b'""', b'":"', b'" :"', b'"\\u003a"', b'"\\":"', b'"a:b"')
    for text in texts:
        pair = b'"a"' + colon + text
        usual = b",".join([b'{"b":1,%s}' % pair] * 40)
        assert len(loads_object(b'{"l":[%s]}' % usual)["l"]) == 40
        for repeated in (b"{%s,%s}" % (pair, pair), b'{"a":1,"b":2,%s}' % pair):
            assert what(b'{"l":[%s,%s]}' % (usual, repeated)) == "duplicate key"
            assert what(b'{"l":[%s,%s' % (repeated, usual)) == "duplicate key"
