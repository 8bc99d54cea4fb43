"""Tool tokens: what is accepted was signed, for this call and tool, and has one encoding."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Any
from urllib.parse import parse_qsl, quote

from fuzz.strategies import OCTETS, QUERIES, spoiled
from hypothesis import given
from hypothesis import strategies as st
from support.tokens import EXPIRY, KEY, NOW, SECRET, encode, hand_signed, token

from swaig_wsgi.core.tokens import SigningKey, TokenError, token_from_query, verify_token
from swaig_wsgi.sessions import SessionManager

OTHER = SigningKey(b"another secret of sixteen bytes+")
FUNCTIONS = st.sampled_from(["transfer_funds", "look", "_", "a" * 128, "a" * 129, "", "1a", "a-b"])
CALLS = st.sampled_from(["call-1", "a.b", "a.b.1.00.ff", "\xe9", "", ":", "\0"]) | st.text(
    max_size=9
)
EXPIRIES = st.sampled_from(
    [str(EXPIRY), str(NOW), str(NOW + 1), "0", "00", "-1", "1e9", "\u0661"]
) | (st.integers(0, 10**13).map(str))
NONCES = st.sampled_from(["a1b2c3d4", "", "AB", "0x", "g"])
LENGTHS = st.sampled_from([0, 8, 15, 16, 17, 32, 63, 64])


def verified_by_the_guide(text: str, call: str, function: str, length: int) -> bool:
    """Verify a token as the SDK's guide describes it, with nothing but the standard library."""
    unpadded = text.rstrip("=")
    if not re.fullmatch("[A-Za-z0-9_-]*", unpadded) or len(text) > 4096:
        return False
    if text not in (unpadded, unpadded + "=" * (-len(unpadded) % 4)) or len(unpadded) % 4 == 1:
        return False
    raw = base64.urlsafe_b64decode(unpadded + "==")
    # RFC 4648 section 3.5: one encoding, whose unused bits are zero.
    if base64.urlsafe_b64encode(raw).decode().rstrip("=") != unpadded:
        return False
    try:
        fields = raw.decode().split(".")
    except UnicodeDecodeError:
        return False
    if len(fields) < 5:
        return False
    call_id, (name, expiry, nonce, signature) = ".".join(fields[:-4]), fields[-4:]
    expected = hmac.new(
        SECRET, f"{call_id}:{name}:{expiry}:{nonce}".encode(), hashlib.sha256
    ).hexdigest()
    return (
        (call_id, name) == (call, function)
        and call_id != ""
        and re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,127}", name) is not None
        and re.fullmatch("0|[1-9][0-9]{0,11}", expiry) is not None
        and int(expiry) > NOW
        and re.fullmatch("[0-9a-f]+", nonce) is not None
        and max(length, 16) <= len(signature) <= 64
        and expected.startswith(signature)
    )


def is_verified(text: str, call: str, function: str, length: int) -> bool:
    try:
        verify_token(
            (OTHER, KEY),
            text,
            call_id=call,
            function_name=function,
            now=NOW,
            signature_length=max(length, 16),
        )
    except TokenError:
        return False
    return True


SIGNED = st.builds(
    lambda call, function, expiry, nonce, length: hand_signed(
        call, function, expiry, nonce, length
    ),
    *(CALLS, FUNCTIONS, EXPIRIES, NONCES, LENGTHS),
)
PADDINGS = st.sampled_from(["", "", "=", "==", "===", "\n"])
CONTENTS = spoiled(
    st.builds("{}.{}.{}.{}.{}".format, CALLS, FUNCTIONS, EXPIRIES, NONCES, st.just("0" * 16))
)
TEXTS = (
    spoiled(st.builds("{}{}".format, SIGNED | st.just(token()), PADDINGS))
    | CONTENTS.map(lambda text: encode(text.encode("utf-8", "surrogatepass")))
    | st.binary(max_size=60).map(encode)
    | st.text(OCTETS, max_size=40)
)


@given(TEXTS, CALLS, FUNCTIONS, LENGTHS)
def test_a_token_is_verified_as_the_guide_says(
    text: str, call: str, function: str, length: int
) -> None:
    assert is_verified(text, call, function, length) is verified_by_the_guide(
        text, call, function, length
    )


@given(st.data(), CALLS, FUNCTIONS, EXPIRIES, NONCES, LENGTHS)
def test_a_signed_token_is_verified_as_the_guide_says(
    data: Any, call: str, function: str, expiry: str, nonce: str, length: int
) -> None:
    """Tokens with a right signature over whatever fields, verified for these or others."""
    text = hand_signed(call, function, expiry, nonce, length)
    wanted = data.draw(st.just((call, function)) | st.tuples(CALLS, FUNCTIONS))
    verified = is_verified(text, *wanted, 16)
    assert verified is verified_by_the_guide(text, *wanted, 16)


SESSIONS = SessionManager(secret_key="a shared secret of the operators")
ISSUED = SESSIONS.generate_token("transfer_funds", "call-1")


@given(spoiled(st.just(ISSUED)), CALLS, FUNCTIONS)
def test_only_the_token_that_was_issued_is_valid(text: str, call: str, function: str) -> None:
    padded = ISSUED + "=" * (-len(ISSUED) % 4)
    valid = text in (ISSUED, padded) and (call, function) == ("call-1", "transfer_funds")
    assert SESSIONS.validate_token(call, function, text) is valid
    assert isinstance(SESSIONS.debug_token(text), dict)


@given(QUERIES | st.builds("__token={}".format, TEXTS) | st.text(OCTETS))
def test_a_query_has_the_token_that_every_parser_finds(query: str) -> None:
    found = token_in(query)
    if found == REPEATED:
        several = [split_query(query, ";"), split_query(query, "&"), split_query(query, "[&;]")]
        assert max(map(len, several)) > 1
        return
    assert split_query(query, "&") == ([] if found is None else [found])
    if found is None:
        return  # No token was verified, so nothing runs that needs one.
    # Nor does a parser that separates by semicolons find another one: it finds this, or its part
    # before the first semicolon, which has another signature.
    for other in split_query(query, "[&;]"):
        assert found.startswith(other)


REPEATED = "<repeated>"


def token_in(query: str) -> str | None:
    try:
        return token_from_query(query)
    except TokenError as error:
        return f"<{error.reason}>"


def split_query(query: str, separator: str) -> list[str]:
    """Return the values of ``__token`` as the standard library reads them."""
    pairs = [
        pair
        for part in re.split(separator, query)
        for pair in parse_qsl(part.replace("&", "%26"), keep_blank_values=True, max_num_fields=None)
    ]
    return [value for name, value in pairs if name == "__token"]


@given(spoiled(st.just(ISSUED)))
def test_a_quoted_token_is_found_in_a_query(text: str) -> None:
    assert token_from_query(f"a=b&__token={quote(text, safe='', errors='replace')}") == text
