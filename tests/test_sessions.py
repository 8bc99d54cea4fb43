from __future__ import annotations

import base64
import hashlib
import hmac
import time
import traceback
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import Clock

from swaig_wsgi.core.tokens import MAX_EXPIRY, TokenError, decode_token
from swaig_wsgi.sessions import SessionManager

SECRET = "a shared secret of the operators"
OLD_SECRET = "an earlier secret of all workers"
NOW = 1_700_000_000.25

SDK_TOKEN = (  # made by signalwire-sdk 3.7.5 with SECRET at NOW, to expire after 900 seconds
    "cm9vdC4yLnRyYW5zZmVyX2Z1bmRzLjE3MDAwMDA5MDAuMDAxMTIyMzM0NDU1NjY3Ny5mYjMzODVjZTE0ZDNiNDRkMmEy"
    "MGY5NDRiNzcxNDI5NmExYTNkZjE4ZTk3NjY0MDc5YjAzMmQwODQ5MDJkMmE1"
)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock(NOW)
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture
def sessions(clock):
    return SessionManager(secret_key=SECRET)


def signed(secret: str, length: int = 16, expiry: object = 1_700_003_600) -> str:
    message = f"call-1:transfer_funds:{expiry}:a1b2c3d4"
    signature = hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()
    content = message.replace(":", ".") + "." + signature[:length]
    return base64.urlsafe_b64encode(content.encode()).rstrip(b"=").decode()


def reason(sessions, *args) -> str:
    with pytest.raises(TokenError) as caught:
        sessions.check_token(*args)
    assert sessions.validate_token(*args) is False
    return caught.value.reason


def test_the_example_of_the_security_guide():
    manager = SessionManager(3600)
    token = manager.generate_token("my_function", "call-123")
    info = manager.debug_token(token)
    assert (info["call_id"], info["function_name"]) == ("call-123", "my_function")
    assert info["expired"] is False
    assert manager.validate_token("call-123", "my_function", token) is True
    manager.set_session_metadata("session-1", {"user_id": "u-42", "plan": "pro"})
    assert manager.get_session_metadata("session-1") == {"user_id": "u-42", "plan": "pro"}
    assert manager.delete_session_metadata("session-1") is True


def test_the_fields_of_a_token(sessions):
    token = sessions.generate_token("transfer_funds", "call-1")
    fields = decode_token(token)
    assert fields[:3] == ("call-1", "transfer_funds", 1_700_003_600)
    assert len(fields.nonce) == 8
    assert len(fields.signature) == 16
    assert "=" not in token
    assert sessions.check_token("call-1", "transfer_funds", token) == fields
    assert sessions.open_token(token) == fields


def test_tokens_are_unique(sessions):
    assert len({sessions.generate_token("f", "call-1") for _ in range(100)}) == 100


def test_a_token_signed_as_documented_is_valid(sessions):
    assert sessions.validate_token("call-1", "transfer_funds", signed(SECRET)) is True


def test_a_token_of_the_sdk_is_valid(clock):
    for length in (16, 64):
        sessions = SessionManager(secret_key=SECRET, signature_length=length)
        assert sessions.validate_token("root.2", "transfer_funds", SDK_TOKEN)
        assert not sessions.validate_token("root", "transfer_funds", SDK_TOKEN)
    clock.now = 1_700_000_900
    assert reason(sessions, "root.2", "transfer_funds", SDK_TOKEN) == "expired"


def test_a_token_expires_after_its_lifetime(sessions, clock):
    token = sessions.generate_token("transfer_funds", "call-1")
    args = ("call-1", "transfer_funds", token)
    clock.now = 1_700_003_599.999
    assert sessions.validate_token(*args)
    assert sessions.debug_token(token)["expired"] is False
    clock.now = 1_700_003_600
    assert reason(sessions, *args) == "expired"
    assert sessions.debug_token(token)["expired"] is True
    with pytest.raises(TokenError, match="expired"):
        sessions.open_token(token)


def test_the_lifetime_can_be_chosen(clock):
    sessions = SessionManager(1, SECRET)
    assert sessions.token_expiry_secs == 1
    token = sessions.generate_token("f", "call-1")
    assert decode_token(token).expiry == 1_700_000_001
    assert sessions.validate_token("call-1", "f", token)


def test_the_longest_lifetime_works():
    sessions = SessionManager(10**10, SECRET)
    token = sessions.generate_token("f", "call-1")
    assert decode_token(token).expiry < MAX_EXPIRY
    assert sessions.validate_token("call-1", "f", token)
    sessions.set_session_metadata("s", {"a": 1})


def test_a_rejected_token_has_a_reason(sessions):
    token = signed(SECRET)
    assert reason(sessions, "call-2", "transfer_funds", token) == "wrong_call"
    assert reason(sessions, "call-1", "other", token) == "wrong_function"
    assert reason(sessions, "call-1", "transfer_funds", signed(OLD_SECRET)) == "bad_signature"
    assert reason(sessions, "call-1", "transfer_funds", "junk") == "malformed"
    assert reason(sessions, "call-1", "transfer_funds", signed(SECRET, expiry="-1")) == "malformed"


class Bomb:
    """Raises on every operation."""

    def _raise(self, *args: object) -> None:
        raise RuntimeError("boom")

    __eq__ = __str__ = __repr__ = __len__ = __bool__ = __iter__ = __hash__ = __getattr__ = _raise
    __index__ = __int__ = __lt__ = __gt__ = __contains__ = __getitem__ = __bytes__ = _raise


class Yes:
    """Equal to every object."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class Text(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def encode(self, *args: object) -> bytes:
        raise RuntimeError

    __hash__ = str.__hash__


JUNK = [
    None,
    True,
    0,
    -1,
    1.5,
    float("nan"),
    b"",
    b"call-1",
    bytearray(b"call-1"),
    (),
    ("call-1",),
    [],
    ["call-1"],
    {},
    object(),
    Bomb(),
    Yes(),
    Text(),
    Text("x"),
    "",
    " ",
    "\0",
    "call-1\0",
    "transfer_funds\0",
    "\ud800",
    "\U0010ffff",
    "x" * 1_000_000,
    "é" * 1_000_000,
]


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: type(junk).__name__)
def test_validation_never_raises_and_never_accepts_junk(sessions, junk):
    token = sessions.generate_token("transfer_funds", "call-1")
    assert sessions.validate_token(junk, "transfer_funds", token) is False
    assert sessions.validate_token("call-1", junk, token) is False
    assert sessions.validate_token("call-1", "transfer_funds", junk) is False
    assert sessions.validate_token(junk, junk, junk) is False
    assert sessions.debug_token(junk) == {"error": "malformed"}


@pytest.mark.parametrize("wrap", [str.encode, lambda token: [token], Text, "{}\0".format])
def test_a_valid_token_of_another_type_is_rejected(sessions, wrap):
    token = sessions.generate_token("transfer_funds", "call-1")
    assert sessions.validate_token("call-1", "transfer_funds", wrap(token)) is False


@given(st.text() | st.binary() | st.integers() | st.none() | st.floats())
def test_unsigned_tokens_are_never_accepted(junk):
    sessions = SessionManager(secret_key=SECRET)
    assert sessions.validate_token("call-1", "transfer_funds", junk) is False


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_call_id_works(call_id):
    sessions = SessionManager(secret_key=SECRET)
    token = sessions.generate_token("transfer_funds", call_id)
    assert sessions.validate_token(call_id, "transfer_funds", token)
    assert not sessions.validate_token(call_id + "x", "transfer_funds", token)


@pytest.mark.parametrize("function_name", ["", "a-b", "a.b", "1a", None, 1, "a" * 129])
def test_invalid_function_names_are_not_signed(sessions, function_name):
    with pytest.raises(ValueError, match="function name"):
        sessions.generate_token(function_name, "call-1")


@pytest.mark.parametrize("call_id", ["", None, 1, "\ud800", "c" * 4_000])
def test_invalid_call_ids_are_not_signed(sessions, call_id):
    with pytest.raises(ValueError, match="call id"):
        sessions.generate_token("f", call_id)


def test_debug_token_returns_the_unverified_fields(sessions):
    token = signed(SECRET)
    assert sessions.debug_token(token) == {
        "call_id": "call-1",
        "function_name": "transfer_funds",
        "expiry": 1_700_003_600,
        "nonce": "a1b2c3d4",
        "signature": decode_token(token).signature,
        "expired": False,
    }
    assert sessions.debug_token(signed("not the secret of this manager")).get("error") is None


def test_keys_may_be_strings_or_bytes():
    for secret in ("ürüm-☎-0123456789", "\ud800" * 6):
        by_text = SessionManager(secret_key=secret)
        by_bytes = SessionManager(secret_key=secret.encode("utf-8", "surrogatepass"))
        assert by_bytes.validate_token("call-1", "f", by_text.generate_token("f", "call-1"))


@pytest.mark.parametrize(
    "secret", ["", b"", "short-secret-15", b"short-secret-15", 1, [b"x" * 16], bytearray(16), True]
)
def test_invalid_keys_are_rejected_and_not_shown(secret):
    for arguments in ({"secret_key": secret}, {"fallback_keys": [SECRET, secret]}):
        with pytest.raises(ValueError, match="at least 16 bytes") as caught:
            SessionManager(**arguments)
        assert "short-secret" not in str(caught.value)
        assert caught.value.__cause__ is caught.value.__context__ is None


def test_the_shortest_keys_have_16_bytes():
    SessionManager(secret_key="x" * 16)
    SessionManager(secret_key="é" * 8)


def test_none_is_not_a_fallback_key():
    with pytest.raises(ValueError, match="fallback_keys"):
        SessionManager(secret_key=SECRET, fallback_keys=[None])


@pytest.mark.parametrize("keys", [OLD_SECRET, OLD_SECRET.encode()])
def test_a_single_fallback_key_is_rejected(keys):
    with pytest.raises(ValueError, match="sequence"):
        SessionManager(secret_key=SECRET, fallback_keys=keys)


def test_fallback_keys_verify_and_never_sign(clock):
    sessions = SessionManager(secret_key=SECRET, fallback_keys=(k for k in ["x" * 16, OLD_SECRET]))
    assert sessions.validate_token("call-1", "transfer_funds", signed(OLD_SECRET))
    assert sessions.validate_token("call-1", "transfer_funds", signed("x" * 16))
    assert not sessions.validate_token("call-1", "transfer_funds", signed("y" * 16))
    token = sessions.generate_token("transfer_funds", "call-1")
    assert SessionManager(secret_key=SECRET).validate_token("call-1", "transfer_funds", token)
    only_old = SessionManager(secret_key=OLD_SECRET)
    assert not only_old.validate_token("call-1", "transfer_funds", token)


def test_managers_with_the_same_secret_accept_each_other_and_generated_ones_do_not():
    given_, same = SessionManager(secret_key=SECRET), SessionManager(secret_key=SECRET)
    one, other = SessionManager(), SessionManager()
    assert (given_.generated, one.generated) == (False, True)
    assert same.validate_token("call-1", "f", given_.generate_token("f", "call-1"))
    assert not other.validate_token("call-1", "f", one.generate_token("f", "call-1"))


def test_secrets_are_not_shown(clock):
    sessions = SessionManager(secret_key=SECRET, fallback_keys=[OLD_SECRET])
    shown = repr(sessions) + str(sessions) + repr(vars(sessions))
    with pytest.raises(TokenError) as caught:
        sessions.check_token("call-1", "f", signed("x" * 16))
    printed = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown += "".join(printed.format())
    assert SECRET not in shown
    assert OLD_SECRET not in shown


@pytest.mark.parametrize("seconds", [0, -1, 10**10 + 1, 1.5, "3600", None, True])
def test_invalid_lifetimes_are_rejected(seconds):
    with pytest.raises(ValueError, match="token_expiry_secs"):
        SessionManager(seconds)


@pytest.mark.parametrize("length", [0, 15, 65, 16.0, "16", None, True])
def test_invalid_signature_lengths_are_rejected(length):
    with pytest.raises(ValueError, match="signature_length"):
        SessionManager(signature_length=length)


@pytest.mark.parametrize("length", [16, 17, 64])
def test_the_signature_length_applies_to_signing_and_verification(clock, length):
    sessions = SessionManager(secret_key=SECRET, signature_length=length)
    token = sessions.generate_token("transfer_funds", "call-1")
    assert len(decode_token(token).signature) == length
    assert sessions.validate_token("call-1", "transfer_funds", token)
    assert sessions.validate_token("call-1", "transfer_funds", signed(SECRET, 64))
    assert reason(sessions, "call-1", "transfer_funds", signed(SECRET, length - 1)) == "malformed"


def test_session_ids_are_given_or_random(sessions):
    assert sessions.create_session("root.2") == "root.2"
    fresh = [sessions.create_session(), sessions.create_session(None), sessions.create_session("")]
    assert len(set(fresh)) == 3
    for session_id in fresh:
        assert uuid.UUID(session_id).version == 4
        assert sessions.generate_token("f", session_id)
    for session_id in (1, b"call-1", ["call-1"], False):
        with pytest.raises(ValueError, match="session id"):
            sessions.create_session(session_id)


@pytest.mark.parametrize(
    "use",
    [
        lambda sessions: sessions.set_session_metadata("s", {"a": 1}),
        lambda sessions: sessions.get_session_metadata("s"),
        lambda sessions: sessions.delete_session_metadata("s"),
    ],
)
def test_any_use_of_metadata_is_recorded(sessions, use):
    # Otherwise a worker that only reads would not notice that others do not share with it.
    assert sessions.keeps_metadata is False
    with pytest.raises(ValueError, match="session id"):
        sessions.get_session_metadata("")
    assert sessions.keeps_metadata is False
    use(sessions)
    assert sessions.keeps_metadata is True
