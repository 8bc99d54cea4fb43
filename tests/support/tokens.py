"""Tokens, valid and invalid, and the reasons of their rejection."""

from __future__ import annotations

import base64
import hashlib
import hmac
import string

import pytest

from swaig_wsgi.core.tokens import SigningKey, TokenError, sign_token, verify_token

SECRET = b"0123456789abcdef0123456789abcdef"
KEY = SigningKey(SECRET)
NOW = 1_700_000_000
EXPIRY = NOW + 3600

BASE64URL = string.ascii_letters + string.digits + "-_"


def token(call_id="call-1", function_name="transfer_funds", expiry=EXPIRY, length=16):
    return sign_token(KEY, function_name, call_id, expiry, "a1b2c3d4", length)


def encode(content: str | bytes) -> str:
    raw = content if isinstance(content, bytes) else content.encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def hand_signed(call_id, function_name, expiry, nonce="a1b2c3d4", length=16, secret=SECRET):
    """Return a token signed with the key, well-formed or not."""
    message = f"{call_id}:{function_name}:{expiry}:{nonce}".encode()
    signature = hmac.new(secret, message, hashlib.sha256).hexdigest()[:length]
    return encode(f"{call_id}.{function_name}.{expiry}.{nonce}.{signature}")


def verify(text, call_id="call-1", function_name="transfer_funds", now=NOW, keys=(KEY,), length=16):
    return verify_token(
        keys,
        text,
        call_id=call_id,
        function_name=function_name,
        now=now,
        signature_length=length,
    )


def reason(*args, **kwargs) -> str:
    with pytest.raises(TokenError) as caught:
        verify(*args, **kwargs)
    return caught.value.reason
