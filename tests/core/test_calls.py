from __future__ import annotations

import pytest

from swaig_wsgi.core.calls import (
    MAX_CALL_ID_BYTES,
    call_id_in,
    check_call,
    check_call_id,
    conversation_id_in,
)
from swaig_wsgi.core.strict_json import JSONBodyError
from swaig_wsgi.core.tokens import TokenError, ToolToken

TOKEN = ToolToken("call-1", "pay", 10**10, "0a0b0c0d", "0" * 16)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, None),
        ({"call_id": ""}, None),
        ({"call_id": None, "call": None}, None),
        ({"call": {}}, None),
        ({"call": {"call_id": "c"}}, "c"),
        ({"call_id": "b", "call": {"call_id": "c"}}, "b"),
        ({"call_id": "ö" * (MAX_CALL_ID_BYTES // 2)}, "ö" * (MAX_CALL_ID_BYTES // 2)),
    ],
)
def test_the_call_id_is_found(body, expected):
    assert call_id_in(body) == expected


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"call_id": 5}, "call_id must be a string"),
        ({"call_id": False}, "call_id must be a string"),
        ({"call": "x"}, "call must be an object"),
        ({"call": []}, "call must be an object"),
        ({"call": {"call_id": {}}}, "call_id must be a string"),
        ({"call_id": "ö" * (MAX_CALL_ID_BYTES // 2) + "x"}, "call_id is too long"),
        ({"conversation_id": ["call-1"]}, "conversation_id must be a string"),
        ({"conversation_id": {"a": 1}}, "conversation_id must be a string"),
        ({"conversation_id": True}, "conversation_id must be a string"),
        ({"conversation_id": False, "call_id": "call-1"}, "conversation_id must be a string"),
    ],
)
def test_invalid_ids_are_rejected(body, what):
    with pytest.raises(JSONBodyError, match=f"^{what}$"):
        check_call(TOKEN, body, "pay")


def test_the_length_of_a_call_id_is_limited():
    assert MAX_CALL_ID_BYTES == 1024
    for char in "xö\u20ac\U0001f600":
        most = MAX_CALL_ID_BYTES // len(char.encode())
        assert check_call_id(char * most)
        with pytest.raises(JSONBodyError, match="too long"):
            check_call_id(char * (most + 1))
    # A lone surrogate counts as the question mark that replaces it.
    assert check_call_id("\ud800" * MAX_CALL_ID_BYTES)
    assert check_call_id("x" * MAX_CALL_ID_BYTES)
    with pytest.raises(JSONBodyError, match="too long"):
        check_call_id("x" * (MAX_CALL_ID_BYTES + 1))


@pytest.mark.parametrize(
    "body",
    [
        {"call_id": "call-1"},
        {"call": {"call_id": "call-1"}},
        {"conversation_id": "call-1"},
        {"call_id": "another", "conversation_id": "call-1"},
        {"call_id": "call-1", "conversation_id": "another"},
    ],
)
def test_a_token_is_valid_for_its_call_or_conversation(body):
    check_call(TOKEN, body, "pay")
    with pytest.raises(TokenError, match="wrong_function"):
        check_call(TOKEN, body, "other")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"call_id": "call-2", "conversation_id": "call-2"},
        {"call_id": "call-2", "call": {"call_id": "call-1"}},
        {"call_id": "CALL-1"},
        {"verified_call_id": "call-1"},
    ],
)
def test_a_token_is_invalid_for_another_call(body):
    with pytest.raises(TokenError, match="wrong_call"):
        check_call(TOKEN, body, "pay")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(42, "42"), (0, "0"), (-1, "-1"), (10**30, str(10**30)), (1.5, "1.5"), ("x", "x"), ("", None)],
)
def test_a_number_as_conversation_id_is_its_text(value, expected):
    assert conversation_id_in({"conversation_id": value}) == expected
    token = ToolToken(expected or "none", "pay", 10**10, "0a0b0c0d", "0" * 16)
    if expected is not None:
        check_call(token, {"call_id": "another", "conversation_id": value}, "pay")


@pytest.mark.parametrize("value", [43, 4, 420, 42.0, "042", "42 ", -42, True])
def test_attack_a_number_opens_no_other_conversation(value):
    token = ToolToken("42", "pay", 10**10, "0a0b0c0d", "0" * 16)
    with pytest.raises((TokenError, JSONBodyError), match=r"wrong_call|must be a string"):
        check_call(token, {"conversation_id": value}, "pay")
    for call_id in (42, 42.0):
        with pytest.raises(JSONBodyError, match="call_id must be a string"):
            check_call(token, {"call_id": call_id, "conversation_id": 42}, "pay")
