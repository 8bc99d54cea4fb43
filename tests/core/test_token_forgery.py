from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tokens import BASE64URL, EXPIRY, KEY, encode, hand_signed, reason, token, verify

from swaig_wsgi.core.tokens import (
    MAX_EXPIRY,
    MAX_TOKEN_LENGTH,
    TokenError,
    decode_token,
    is_function_name,
    sign_token,
)


@pytest.mark.parametrize("length", [16, 17, 18, 64])
def test_no_other_encoding_of_a_token_is_valid(length):
    text = token(length=length)
    for position in range(len(text)):
        for char in BASE64URL + "+/=.!\0 é":
            changed = text[:position] + char + text[position + 1 :]
            if changed != text:
                assert reason(changed, length=length) in ("malformed", "bad_signature")


@given(st.data())
def test_no_insertion_or_cut_is_valid(data):
    text = token()
    position = data.draw(st.integers(0, len(text) - 1))
    junk = data.draw(st.sampled_from(["\0", "\n", " ", "=", "==", "\r\n", "-", "A", "\ud800", "%"]))
    assert reason(text[:position] + junk + text[position:]) in ("malformed", "bad_signature")
    assert reason(text[:position]) in ("malformed", "bad_signature")


@pytest.mark.parametrize(
    "junk",
    [
        None,
        0,
        1.5,
        True,
        b"",
        token().encode(),
        bytearray(token().encode()),
        [token()],
        object(),
        "",
        ".",
        "....",
        "\0",
        "\ud800",
        "é" * 80,
        "A" * 1_000_000,
        "=" * 1_000_000,
        token() * 10_000,
        token() + "\0",
        "\0" + token(),
        token() + "\n",
        token() + " ",
        token() + "====",
        encode("call-1.transfer_funds"),
        encode("call-1..1700003600.a1b2c3d4." + "0" * 16),
        encode(b"\xff\xfe.transfer_funds.1700003600.a1b2c3d4." + b"0" * 16),
        encode(b"\xed\xa0\x80.transfer_funds.1700003600.a1b2c3d4." + b"0" * 16),
    ],
    ids=lambda junk: "object" if type(junk) is object else repr(junk)[:30],
)
def test_junk_is_malformed(junk):
    assert reason(junk) == "malformed"


def test_a_subclass_of_str_cannot_claim_to_be_equal():
    class Chameleon(str):
        __slots__ = ()

        def __eq__(self, other):
            return True

        def __hash__(self):
            return hash(token())

    verify(token())  # Now it is cached.
    assert reason(Chameleon("junk")) == "malformed"
    assert reason(token(), call_id=Chameleon("call-2")) == "wrong_call"
    assert reason(token(), function_name=Chameleon("other")) == "wrong_function"


def test_claims_that_are_not_strings_are_wrong():
    class Yes:
        def __eq__(self, other):
            return True

        __hash__ = None

    class Bomb:
        def __eq__(self, other):
            raise RuntimeError

        __hash__ = None

    for claim in (Yes(), Bomb(), None, b"call-1", ["call-1"], ("call-1",), 0):
        assert reason(token(), call_id=claim) == "wrong_call"
        assert reason(token(), function_name=claim) == "wrong_function"


def test_the_standard_alphabet_is_malformed():
    text = token(call_id="~~~???~")
    standard = text.replace("-", "+").replace("_", "/")
    assert standard != text
    assert verify(text, "~~~???~")
    assert reason(standard, "~~~???~") == "malformed"
    # Also if the length is right without them.
    assert reason(text + "+", "~~~???~") == "malformed"


def test_unused_bits_that_are_set_are_malformed():
    text = next(text for text in (token("c" * n) for n in range(1, 4)) if len(text) % 4 == 2)
    call_id = decode_token(text).call_id
    changed = text[:-1] + BASE64URL[BASE64URL.index(text[-1]) + 1]
    assert base64.urlsafe_b64decode(changed + "==") == base64.urlsafe_b64decode(text + "==")
    assert reason(changed, call_id) == "malformed"


def test_padding_is_complete_or_absent():
    text = next(text for text in (token("c" * n) for n in range(1, 4)) if len(text) % 4 == 2)
    call_id = decode_token(text).call_id
    assert verify(text + "==", call_id)
    assert reason(text + "=", call_id) == "malformed"
    assert reason(text + "===", call_id) == "malformed"


@pytest.mark.parametrize(
    "expiry",
    [
        "",
        "-1",
        "-1700003600",
        "+1700003600",
        " 1700003600",
        "1700003600 ",
        "01700003600",
        "00",
        "1_700_003_600",
        "1e10",
        "0x7fffffff",
        "1700003600.0",
        "١٧٠٠٠٠٣٦٠٠",
        "1７00003600",
        "²",
        "1000000000000",
        "9" * 20,
        "9" * 2000,
        "inf",
        "nan",
        "None",
        "1700003600\n",
        "1\x00",
    ],
)
def test_signed_expiries_that_are_not_plain_decimals_are_malformed(expiry):
    assert reason(hand_signed("call-1", "transfer_funds", expiry)) == "malformed"


def test_zero_and_the_last_expiry_are_plain_decimals():
    assert reason(hand_signed("call-1", "transfer_funds", "0"), now=0) == "expired"
    assert verify(hand_signed("call-1", "transfer_funds", str(MAX_EXPIRY)))


@pytest.mark.parametrize("nonce", ["", "g", "A1B2C3D4", "a1 ", "-1", "a:b", "ａ", "a1b2c3d4\n"])
def test_signed_nonces_that_are_not_hex_are_malformed(nonce):
    assert reason(hand_signed("call-1", "transfer_funds", EXPIRY, nonce)) == "malformed"


@pytest.mark.parametrize(
    "name", ["", "1a", "a-b", "a b", "a:b", "é", "ａ", "a\n", "a" * 129, "a\0", "٣"]
)
def test_names_that_are_not_identifiers_are_malformed(name):
    assert not is_function_name(name)
    assert reason(hand_signed("call-1", name, EXPIRY), function_name=name) == "malformed"
    with pytest.raises(ValueError, match="function name"):
        sign_token(KEY, name, "call-1", EXPIRY, "a1")


def test_a_signed_empty_call_id_is_malformed():
    assert reason(hand_signed("", "transfer_funds", EXPIRY), call_id="") == "malformed"


def test_a_signature_is_compared_in_full():
    full = hand_signed("call-1", "transfer_funds", EXPIRY, length=64)
    assert verify(full, length=16)
    content = base64.urlsafe_b64decode(full + "=" * (-len(full) % 4)).decode()
    for position in range(len(content) - 64, len(content)):
        digit = "0" if content[position] != "0" else "1"
        forged = content[:position] + digit + content[position + 1 :]
        assert reason(encode(forged), length=16) == "bad_signature"


@pytest.mark.parametrize(
    ("shown", "required", "expected"),
    [(15, 16, "malformed"), (0, 16, "malformed"), (16, 17, "malformed"), (63, 64, "malformed")],
)
def test_a_short_signature_is_malformed(shown, required, expected):
    text = hand_signed("call-1", "transfer_funds", EXPIRY, length=shown)
    assert reason(text, length=required) == expected


def test_a_short_signature_is_malformed_whatever_the_required_length():
    for shown in range(16):
        text = hand_signed("call-1", "transfer_funds", EXPIRY, length=shown)
        assert reason(text, length=0) == "malformed"


def test_a_signature_longer_than_a_digest_is_malformed():
    text = hand_signed("call-1", "transfer_funds", EXPIRY, length=64)
    content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    assert reason(encode(content + "0")) == "malformed"
    head, signature = content[:-64], content[-64:]
    assert reason(encode(head + signature.upper())) == "malformed"


def test_the_longest_call_id():
    fitting = 3 * MAX_TOKEN_LENGTH // 4 - len(".transfer_funds.1700003600.a1b2c3d4.") - 16
    text = token(call_id="c" * fitting)
    assert len(text) == MAX_TOKEN_LENGTH
    assert verify(text, "c" * fitting)
    with pytest.raises(ValueError, match="too long"):
        token(call_id="c" * (fitting + 1))
    for longer in range(1, 4):
        signed = hand_signed("c" * (fitting + longer), "transfer_funds", EXPIRY)
        assert reason(signed, "c" * (fitting + longer)) == "malformed"


def test_a_padded_token_of_maximum_length_verifies():
    fitting = 3 * MAX_TOKEN_LENGTH // 4 - len(".transfer_funds.1700003600.a1b2c3d4.") - 16
    for shorter in range(3):
        call_id = "c" * (fitting - shorter)
        text = token(call_id=call_id)
        assert verify(text + "=" * (-len(text) % 4), call_id)


@given(st.text() | st.text(BASE64URL))
def test_unsigned_text_is_malformed_and_raises_nothing_else(text):
    with pytest.raises(TokenError, match="malformed"):
        decode_token(text)


FIELDS = st.text(st.sampled_from("f_0159.:é"), max_size=17)


@given(st.tuples(FIELDS, FIELDS, FIELDS, FIELDS, FIELDS))
def test_a_token_has_one_encoding(fields):
    text = encode(".".join(fields))
    try:
        found = decode_token(text)
    except TokenError as error:
        found = error.reason
    if found != "malformed":
        assert encode(".".join(map(str, found))) == text
