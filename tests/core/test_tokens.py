from __future__ import annotations

import hashlib
import hmac
import pickle
import threading
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tokens import (
    BASE64URL,
    EXPIRY,
    KEY,
    NOW,
    SECRET,
    encode,
    hand_signed,
    reason,
    token,
    verify,
)

from swaig_wsgi.core import tokens
from swaig_wsgi.core.tokens import (
    MAX_EXPIRY,
    SigningKey,
    TokenError,
    ToolToken,
    check_claims,
    check_signature_length,
    decode_token,
    derive_key,
    is_function_name,
    is_signed_by,
    open_token,
    sign_token,
)

OTHER_KEY = SigningKey(b"another secret of sixteen bytes+")
# Made by signalwire-sdk 3.7.5 at 1700000000.25 with the nonce 0011223344556677.
SDK_SECRET = b"a shared secret of the operators"
SDK_TOKENS = [
    (
        "call-123",
        "Y2FsbC0xMjMudHJhbnNmZXJfZnVuZHMuMTcwMDAwMDkwMC4wMDExMjIzMzQ0NTU2Njc3LmM1MmZkNjg2ZGY1Y2M2"
        "ZGNlZjkzNzBmYjA5ZDc5ZTM4NWE1OGJkN2M2ZDdjODBjNDQ5MTYxMDg3MTljNWY3NDI=",
    ),
    (
        "root.2",
        "cm9vdC4yLnRyYW5zZmVyX2Z1bmRzLjE3MDAwMDA5MDAuMDAxMTIyMzM0NDU1NjY3Ny5mYjMzODVjZTE0ZDNiNDRk"
        "MmEyMGY5NDRiNzcxNDI5NmExYTNkZjE4ZTk3NjY0MDc5YjAzMmQwODQ5MDJkMmE1",
    ),
    (
        "a:b.c:d",
        "YTpiLmM6ZC50cmFuc2Zlcl9mdW5kcy4xNzAwMDAwOTAwLjAwMTEyMjMzNDQ1NTY2NzcuZjk0YWNlM2U0M2YxNmM3"
        "ZTg5ZmQ4M2E2NjczYTcyNjY5MjBiYzg2N2E4MzlhZmU5NGQxZDlmM2Q4OWY5ODc0Zg==",
    ),
    (
        "ürüm-☎",
        "w7xyw7xtLeKYji50cmFuc2Zlcl9mdW5kcy4xNzAwMDAwOTAwLjAwMTEyMjMzNDQ1NTY2NzcuZTg2MWNjYWUxZGQw"
        "MDhjYjA0NmYyMTcyODA3NTk5NmE5MzFjZGVmODM4NzM2OTAyOGRiMzJlN2Y3MDBhZDQyZg==",
    ),
]

CALL_IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
SEPARATED = st.text(st.sampled_from(".:af1_"), min_size=1, max_size=12)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
NONCES = st.text("0123456789abcdef", min_size=1, max_size=16)
EXPIRIES = st.integers(0, MAX_EXPIRY)


def test_a_token_lets_its_function_run_in_its_call():
    assert verify(token()) == ToolToken(
        "call-1", "transfer_funds", EXPIRY, "a1b2c3d4", decode_token(token()).signature
    )


def test_the_wire_format():
    signature = hmac.new(
        SECRET, b"call-1:transfer_funds:1700003600:a1b2c3d4", hashlib.sha256
    ).hexdigest()
    for length in (16, 17, 40, 64):
        content = f"call-1.transfer_funds.1700003600.a1b2c3d4.{signature[:length]}"
        assert token(length=length) == encode(content)


@pytest.mark.parametrize(("call_id", "text"), SDK_TOKENS)
def test_tokens_of_the_sdk_verify(call_id, text):
    keys = (SigningKey(SDK_SECRET),)
    for spelling in (text, text.rstrip("=")):
        found = verify(spelling, call_id, keys=keys, length=64)
        assert found[:4] == (call_id, "transfer_funds", 1_700_000_900, "0011223344556677")


@pytest.mark.parametrize(("call_id", "text"), SDK_TOKENS)
def test_tokens_are_those_of_the_sdk_but_for_the_padding(call_id, text):
    ours = sign_token(
        SigningKey(SDK_SECRET), "transfer_funds", call_id, 1_700_000_900, "0011223344556677", 64
    )
    assert ours + "=" * (-len(ours) % 4) == text


@given(CALL_IDS | SEPARATED, NAMES, st.integers(NOW + 1, MAX_EXPIRY), NONCES, st.integers(16, 64))
def test_what_was_signed_verifies(call_id, function_name, expiry, nonce, length):
    text = sign_token(KEY, function_name, call_id, expiry, nonce, length)
    assert set(text) <= set(BASE64URL)
    found = verify(text, call_id, function_name, length=length)
    assert found[:4] == (call_id, function_name, expiry, nonce)
    assert verify(text + "=" * (-len(text) % 4), call_id, function_name, length=length) == found


class Recorder(SigningKey):
    """A key that records the signed message."""

    __slots__ = ("message",)

    def hexdigest(self, message: bytes) -> str:
        self.message = message
        return super().hexdigest(message)


def signed_message(fields) -> bytes:
    key = Recorder(SECRET)
    call_id, function_name, expiry, nonce = fields
    sign_token(key, function_name, call_id, expiry, nonce)
    return key.message


@st.composite
def rival_fields(draw):
    """Fields whose call ids imitate the fields after them."""
    names = st.sampled_from(["a", "f", "_1"])
    expiries = st.integers(0, 11)
    nonces = st.sampled_from(["1", "11", "a", "af1"])
    tail = st.builds("{}:{}:{}".format, names, expiries, nonces)
    parts = draw(st.lists(tail | st.sampled_from(["a", "1", "", "."]), min_size=1, max_size=3))
    call_id = draw(st.sampled_from(":.")).join(parts) or "a"
    return call_id, draw(names), draw(expiries), draw(nonces)


@given(rival_fields(), rival_fields())
def test_no_two_sets_of_fields_share_a_signed_message(one, other):
    assert (signed_message(one) == signed_message(other)) == (one == other)


@given(CALL_IDS | SEPARATED, NAMES, EXPIRIES, NONCES)
def test_a_signed_message_gives_back_its_fields(call_id, function_name, expiry, nonce):
    message = signed_message((call_id, function_name, expiry, nonce)).decode()
    assert message.rsplit(":", 3) == [call_id, function_name, str(expiry), nonce]


def test_names_that_are_identifiers():
    for name in ("a", "_", "Z9", "a" * 128):
        assert is_function_name(name)
        assert verify(token(function_name=name), function_name=name)
    for name in (None, 1, b"a", ["a"]):
        assert not is_function_name(name)


def test_reasons_have_an_order():
    wrong = {"call_id": "call-2", "function_name": "other", "now": EXPIRY}
    assert reason(token(), **wrong, keys=(OTHER_KEY,)) == "bad_signature"
    assert reason(token(), **wrong) == "expired"
    assert reason(token(), call_id="call-2", function_name="other") == "wrong_function"
    assert reason(token(), call_id="call-2") == "wrong_call"


def test_the_expiry_is_the_first_moment_without_a_token():
    assert verify(token(), now=EXPIRY - 0.001)
    assert reason(token(), now=EXPIRY) == "expired"
    assert reason(token(), now=EXPIRY + 0.5) == "expired"


def test_errors_contain_the_decoded_token_but_do_not_show_its_signature():
    for changes, expected in (
        ({"keys": (OTHER_KEY,)}, "bad_signature"),
        ({"now": EXPIRY}, "expired"),
        ({"function_name": "other"}, "wrong_function"),
        ({"call_id": "other"}, "wrong_call"),
    ):
        with pytest.raises(TokenError) as caught:
            verify(token(), **changes)
        error = caught.value
        assert (error.reason, error.token) == (expected, decode_token(token()))
        assert str(error) == expected
        assert decode_token(token()).signature not in repr((error, error.token, error.args))
        copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - made by this test
        assert (copied.reason, copied.token) == (error.reason, error.token)
    with pytest.raises(TokenError) as caught:
        verify("junk")
    assert caught.value.token is None


def test_a_token_cannot_be_changed():
    with pytest.raises(AttributeError):
        decode_token(token()).call_id = "call-2"


def test_each_key_of_a_ring_verifies_and_the_first_that_does_ends_the_search():
    class Forbidden(SigningKey):
        __slots__ = ()

        def hexdigest(self, message):
            raise AssertionError("used without need")

    assert verify(token(), keys=(OTHER_KEY, KEY))
    assert verify(token(), keys=(KEY, Forbidden(SECRET)))
    assert reason(token(), keys=(OTHER_KEY, OTHER_KEY)) == "bad_signature"
    assert reason(token(), keys=()) == "bad_signature"


def test_signatures_are_compared_in_constant_time(monkeypatch):
    compared = []

    def compare_digest(one, other):
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare_digest)
    forged = hand_signed("call-1", "transfer_funds", EXPIRY, secret=b"x" * 16)
    assert reason(forged, keys=(KEY, OTHER_KEY)) == "bad_signature"
    assert compared == [(16, 16), (16, 16)]


def test_a_cached_token_is_still_verified():
    assert verify(token())
    assert reason(token(), keys=(OTHER_KEY,)) == "bad_signature"
    assert reason(token(), now=EXPIRY) == "expired"
    assert reason(token(), length=17) == "malformed"


def test_opening_checks_neither_function_nor_call():
    assert open_token((KEY,), token(), now=NOW, signature_length=16) == decode_token(token())
    check_claims(decode_token(token()), call_id="call-1", function_name="transfer_funds")
    for keys, now, text in (((OTHER_KEY,), NOW, token()), ((KEY,), EXPIRY, token())):
        with pytest.raises(TokenError):
            open_token(keys, text, now=now, signature_length=16)


def test_the_call_id_is_split_off_from_the_right():
    for call_id in ("root.2", "a.b.1.c.d", "call.transfer_funds.9999999999.aa.bb", "...", ":::"):
        assert verify(token(call_id=call_id), call_id).call_id == call_id


def test_a_call_id_may_contain_any_character_but_a_lone_surrogate():
    for call_id in ("\0", "a\0b", "\n", " ", "ürüm-☎", "\U0010ffff"):
        assert verify(token(call_id=call_id), call_id).call_id == call_id
    assert reason(token(call_id="call\0x"), "call") == "wrong_call"
    with pytest.raises(ValueError, match="lone surrogate"):
        token(call_id="a\ud800")


@pytest.mark.parametrize("call_id", ["", None, 1, b"call-1", ["call-1"]])
def test_invalid_call_ids_are_rejected(call_id):
    with pytest.raises(ValueError, match="call id must"):
        token(call_id=call_id)


@pytest.mark.parametrize("expiry", [-1, 10**12, 1.5, "1700003600", None, True])
def test_invalid_expiries_are_rejected(expiry):
    with pytest.raises(ValueError, match="expiry must be"):
        token(expiry=expiry)


@pytest.mark.parametrize("nonce", ["", "g", "A1", "a:b", "a\n", "٣", 1, None])
def test_invalid_nonces_are_rejected(nonce):
    with pytest.raises(ValueError, match="nonce must be"):
        sign_token(KEY, "transfer_funds", "call-1", EXPIRY, nonce)


@pytest.mark.parametrize("length", [0, 15, 65, -16, 16.0, "16", None, True])
def test_invalid_signature_lengths_are_rejected(length):
    with pytest.raises(ValueError, match="signature_length must be"):
        check_signature_length(length)
    with pytest.raises(ValueError, match="signature_length must be"):
        token(length=length)


def test_a_key_does_not_show():
    shown = repr(KEY) + str(KEY) + repr([KEY]) + f"{KEY!s}"
    assert "0123" not in shown
    assert SECRET.hex() not in shown


def test_no_traceback_shows_a_key():
    for attempt in (lambda: verify("junk"), lambda: token(call_id="\ud800"), lambda: token("")):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            attempt()
        printed = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        assert "0123456789abcdef0123" not in "".join(printed.format())


@pytest.mark.threads
def test_threads_share_a_key():
    texts = [token(call_id=f"call-{n}") for n in range(50)]
    failures = []

    def check():
        for _ in range(20):
            for n, text in enumerate(texts):
                try:
                    verify(text, f"call-{n}")
                except TokenError as error:
                    failures.append(error)

    threads = [threading.Thread(target=check) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_derived_key():
    message = b"swaig-wsgi derived key 1:agent\0"
    assert derive_key(SECRET, "agent") == hmac.new(SECRET, message, hashlib.sha256).digest()
    assert len(derive_key(SECRET, "")) == 32


@given(st.lists(st.text(st.characters()), min_size=2, max_size=8, unique=True))
def test_each_context_has_a_key_of_its_own(contexts):
    assert len({derive_key(SECRET, context) for context in contexts}) == len(contexts)


def test_a_derived_key_depends_on_the_secret():
    assert derive_key(SECRET, "agent") != derive_key(SECRET[:-1] + b"!", "agent")


def test_no_signature_of_a_token_is_a_derived_key():
    # The name of an agent that ends like a token, and the call id that completes its message.
    name = "x:f:1700003600:a1b2c3d4"
    text = sign_token(KEY, "f", "swaig-wsgi derived key 1:x", EXPIRY, "a1b2c3d4", 64)
    assert decode_token(text).signature != derive_key(SECRET, name).hex()


def test_the_key_that_signed_a_token_is_found():
    key = SigningKey(SDK_SECRET)
    text = sign_token(key, "transfer_funds", "call-1", 1_700_000_900, "0011223344556677", 64)
    token = open_token((key,), text, now=1_700_000_000, signature_length=64)
    assert is_signed_by(key, token)
    assert not is_signed_by(OTHER_KEY, token)


def test_the_bounds_are_those_of_the_documentation():
    assert (tokens.MAX_EXPIRY, tokens.MIN_SECRET_BYTES) == (999_999_999_999, 16)
    assert (tokens.MIN_SIGNATURE_LENGTH, tokens.MAX_SIGNATURE_LENGTH) == (16, 64)
    assert tokens.MAX_TOKEN_LENGTH == 4096


def test_whatever_a_token_ends_with_it_is_verified():
    """No letter of the alphabet is taken for padding, nor any number of digits for another."""
    signed = [sign_token(KEY, "pay", f"call-{number}", NOW + 1, "0a") for number in range(300)]
    for number, text in enumerate(signed):
        assert verify(text, call_id=f"call-{number}", function_name="pay").nonce == "0a"
    for digits in range(1, 13):
        text = token(expiry=10 ** (digits - 1))
        assert verify(text, now=0).expiry == 10 ** (digits - 1)


def test_tokens_and_keys_are_shown_without_what_signs():
    fields = decode_token(token())
    shown = "ToolToken(call_id='call-1', function_name='transfer_funds', expiry=1700003600)"
    assert repr(fields) == shown
    assert repr(KEY) == "<SigningKey>"


def test_the_error_about_a_function_name_says_what_is_expected():
    with pytest.raises(ValueError, match=r"an ASCII identifier of at most 128 characters, not"):
        sign_token(KEY, "no-name", "call-1", EXPIRY, "0a")


def test_attack_memory_of_decoded_tokens_is_bounded():
    assert tokens._parse.cache_info().maxsize == 2048
