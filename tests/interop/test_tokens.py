"""Tokens of ``signalwire-sdk`` and ours, each verified by the other."""

import base64
import time

import pytest
from signalwire.core.security.session_manager import SessionManager as TheirManager

from swaig_wsgi import SessionManager

SECRET = "a secret of more than sixteen bytes, ä"
CALL_IDS = [
    "c0ffee00-1111-2222-3333-444455556666",
    "root.2",
    "call.with.more.dots.than.a.token.has",
    "Gespräch:ä/ö?",
    "x",
]


def padded(token):
    return token + "=" * (-len(token) % 4)


@pytest.fixture
def theirs():
    return TheirManager(3600, SECRET)


@pytest.fixture
def ours():
    return SessionManager(3600, SECRET, signature_length=64)


@pytest.mark.parametrize("call_id", CALL_IDS)
def test_the_sdk_s_tokens_verify_here(ours, theirs, call_id):
    token = theirs.generate_token("pay", call_id)
    assert ours.validate_token(call_id, "pay", token)
    assert ours.validate_token(call_id, "pay", token.rstrip("="))
    verified = ours.check_token(call_id, "pay", token)
    assert (verified.call_id, verified.function_name) == (call_id, "pay")
    assert abs(verified.expiry - time.time() - 3600) < 60


@pytest.mark.parametrize("call_id", CALL_IDS)
def test_our_padded_tokens_verify_in_the_sdk(ours, theirs, call_id):
    for function in ("pay", "post_prompt", "_f0"):
        token = ours.generate_token(function, call_id)
        assert theirs.validate_token(call_id, function, padded(token))
        assert theirs.validate_tool_token(function, padded(token), call_id)


def test_every_length_of_padding_was_tried(ours, theirs):
    lengths = set()
    for length in range(1, 5):
        call_id = "c" * length
        token = ours.generate_token("pay", call_id)
        lengths.add(len(padded(token)) - len(token))
        assert theirs.validate_token(call_id, "pay", padded(token))
        assert ours.validate_token(call_id, "pay", theirs.generate_token("pay", call_id))
    assert lengths == {0, 1, 2}


def test_neither_accepts_a_token_for_another_call(ours, theirs):
    call_id = CALL_IDS[0]
    foreign, own = theirs.generate_token("pay", call_id), ours.generate_token("pay", call_id)
    for arguments in ((call_id, "look"), ("other", "pay"), ("", "pay")):
        assert not ours.validate_token(*arguments, foreign)
        assert not theirs.validate_token(*arguments, padded(own))


def test_neither_accepts_a_token_of_another_secret(ours, theirs):
    other = "another secret of more than sixteen bytes"
    call_id = CALL_IDS[0]
    foreign = TheirManager(3600, other).generate_token("pay", call_id)
    assert not ours.validate_token(call_id, "pay", foreign)
    here = SessionManager(3600, other, signature_length=64).generate_token("pay", call_id)
    assert not theirs.validate_token(call_id, "pay", padded(here))


def test_neither_accepts_an_expired_token(ours):
    call_id = CALL_IDS[0]
    assert not ours.validate_token(
        call_id, "pay", TheirManager(-1, SECRET).generate_token("pay", call_id)
    )


def test_neither_accepts_a_modified_token(ours, theirs):
    call_id = CALL_IDS[0]
    for manager, token in (
        (ours, theirs.generate_token("pay", call_id)),
        (theirs, padded(ours.generate_token("pay", call_id))),
    ):
        text = base64.urlsafe_b64decode(token).decode()
        assert text.count(".pay.") == 1
        later = text.replace(text.split(".")[2], str(int(time.time()) + 99_999))
        assert not manager.validate_token(
            call_id, "pay", base64.urlsafe_b64encode(later.encode()).decode()
        )


def test_a_default_manager_accepts_the_sdk_s_longer_signatures(theirs):
    call_id = CALL_IDS[0]
    assert SessionManager(3600, SECRET).validate_token(
        call_id, "pay", theirs.generate_token("pay", call_id)
    )


def test_the_sdk_rejects_our_shorter_signatures(theirs):
    call_id = CALL_IDS[0]
    token = SessionManager(3600, SECRET).generate_token("pay", call_id)
    assert not theirs.validate_token(call_id, "pay", padded(token))
