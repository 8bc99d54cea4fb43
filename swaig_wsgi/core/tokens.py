"""Tool tokens: proof that a tool call belongs to a call session and to a tool.

A token is ``base64url(call_id.function_name.expiry.nonce.signature)`` without padding. The
signature consists of the first hex characters of HMAC-SHA256 over
``call_id:function_name:expiry:nonce`` (the SDK's guide, "Secure Tools"). The server stores
nothing; the key is enough to verify a token.

Different fields never share a signed message. Function names are identifiers, expiries decimal
digits and nonces hex digits, so none of them contains a separator. The call id, which may contain
any character, comes first, so splitting from the right recovers the fields.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from ._named_tuples import constructor
from ._validation import check_int, check_match, check_str

__all__ = [
    "FUNCTION_NAME",
    "MAX_EXPIRY",
    "MAX_SIGNATURE_LENGTH",
    "MAX_TOKEN_LENGTH",
    "MIN_SECRET_BYTES",
    "MIN_SIGNATURE_LENGTH",
    "SigningKey",
    "TokenError",
    "ToolToken",
    "check_claims",
    "check_signature_length",
    "decode_token",
    "derive_key",
    "is_function_name",
    "is_signed_by",
    "issue_token",
    "open_token",
    "sign_token",
    "token_from_query",
    "verify_token",
]

#: Valid names of tools.
FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

#: The maximum length of a token in characters, with padding: it must fit into a request line.
MAX_TOKEN_LENGTH = 4096

#: The latest expiry: twelve digits, so that a time in milliseconds is rejected.
MAX_EXPIRY = 10**12 - 1

#: The minimum length of a secret in bytes: 128 bits, if they are random.
MIN_SECRET_BYTES = 16

#: The least length of a signature, in hex characters.
MIN_SIGNATURE_LENGTH = 16
#: The length of a whole signature, in hex characters.
MAX_SIGNATURE_LENGTH = 64

_NONCE = re.compile(r"[0-9a-f]+")
# The fields after the call id. "0" is the only expiry with a leading zero.
_FIELDS = re.compile(
    r"\.[A-Za-z_][A-Za-z0-9_]{0,127}\.(?:0|[1-9][0-9]{0,11})\.[0-9a-f]+\.[0-9a-f]{16,64}"
)

# The query of most tool calls: a token and nothing else, with nothing to decode.
_USUAL_QUERY = re.compile(r"__token=([A-Za-z0-9_-]+)")

# The decoder expects the standard alphabet. A literal "+" or "/" becomes "!", which it skips;
# encoding the result again detects skipped characters.
_TO_STANDARD = bytes.maketrans(b"-_+/", b"+/!!")
_TO_URLSAFE = bytes.maketrans(b"+/", b"-_")


class ToolToken(NamedTuple):
    """The fields of a token, untrusted until the signature is verified."""

    call_id: str
    function_name: str
    #: Unix time in seconds from which on the token is invalid.
    expiry: int
    nonce: str
    signature: str

    def __repr__(self) -> str:
        # A representation with the signature would put a valid token into logs.
        return (
            f"ToolToken(call_id={self.call_id!r}, function_name={self.function_name!r}, "
            f"expiry={self.expiry})"
        )


_tool_token = constructor(ToolToken)


class TokenError(ValueError):
    """An invalid token.

    Do not send the reason to the client: it would tell a forger which part to work on.
    """

    #: ``malformed``, ``bad_signature``, ``expired``, ``wrong_function``, ``wrong_call``; from
    #: :func:`token_from_query` also ``repeated``.
    reason: str
    #: The decoded token, or None. Its signature is valid unless the reason is ``bad_signature``.
    token: ToolToken | None

    def __init__(self, reason: str, token: ToolToken | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.token = token


class SigningKey:
    """A secret, prepared for signing. Safe to share between threads.

    Keying takes half the time of an HMAC, so it is done once here, and copied for each message.
    """

    __slots__ = ("_mac",)

    def __init__(self, secret: bytes) -> None:
        mac = hmac.new(secret, digestmod=hashlib.sha256)
        # The wrapped OpenSSL object, if any, has the same methods without calls in Python.
        self._mac = getattr(mac, "_hmac", None) or mac

    def __repr__(self) -> str:
        return "<SigningKey>"

    def hexdigest(self, message: bytes) -> str:
        """Return HMAC-SHA256 over `message` as 64 lower-case hex digits."""
        mac = self._mac.copy()
        mac.update(message)
        return mac.hexdigest()


def derive_key(secret: bytes, context: str) -> bytes:
    """Return a 32-byte key for `context`.

    A derived key reveals nothing about the secret or the key of another context. No signed message
    of a token ends with NUL, so an attacker cannot obtain a derived key as a signature.
    """
    label = b"swaig-wsgi derived key 1:"
    message = label + context.encode("utf-8", "surrogatepass") + b"\0"
    return hmac.new(secret, message, hashlib.sha256).digest()


def is_function_name(name: object) -> bool:
    """Return whether `name` is a string of the form ``[A-Za-z_][A-Za-z0-9_]{0,127}``."""
    return isinstance(name, str) and FUNCTION_NAME.fullmatch(name) is not None


def check_signature_length(length: object) -> int:
    """Return `length`, in hex characters, if it is an integer from 16 to 64.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is out of range.
    """
    return check_int("signature_length", length, MIN_SIGNATURE_LENGTH, MAX_SIGNATURE_LENGTH)


def sign_token(
    key: SigningKey,
    function_name: str,
    call_id: str,
    expiry: int,
    nonce: str,
    signature_length: int = MIN_SIGNATURE_LENGTH,
) -> str:
    """Return a token for one tool in one call.

    Args:
        key: the key to sign with.
        function_name: see :func:`is_function_name`.
        call_id: a non-empty string without lone surrogates.
        expiry: Unix time in seconds, from 0 to :data:`MAX_EXPIRY`.
        nonce: lower-case hex digits. They make tokens unique, not secret.
        signature_length: length of the signature in hex characters, 16 to 64.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is invalid, or the call id makes the token longer than
            :data:`MAX_TOKEN_LENGTH`.
    """
    check_signature_length(signature_length)
    check_int("expiry", expiry, 0, MAX_EXPIRY)
    check_match("nonce", nonce, _NONCE, "lower-case hex digits")
    return issue_token(key, function_name, call_id, expiry, nonce, signature_length)


def issue_token(
    key: SigningKey,
    function_name: str,
    call_id: str,
    expiry: int,
    nonce: str,
    signature_length: int,
) -> str:
    """Like :func:`sign_token`, for a caller that generates `expiry` and `nonce` itself.

    A document has one token for each secure tool. Only input from elsewhere is checked: the
    function name and the call id.

    Raises:
        TypeError, ValueError: function name or call id is invalid.
    """
    if not is_function_name(function_name):
        identifier = "an ASCII identifier of at most 128 characters"
        check_match("function name", function_name, FUNCTION_NAME, identifier)
    if type(call_id) is not str or not call_id:
        check_str("call id", call_id)
    fields = (call_id, function_name, str(expiry), nonce)
    try:
        signature = key.hexdigest(":".join(fields).encode())[:signature_length]
        content = ".".join((*fields, signature)).encode()
    except UnicodeEncodeError:
        raise ValueError("call id contains a lone surrogate") from None
    encoded = b2a_base64(content, newline=False).translate(_TO_URLSAFE)
    token = encoded.rstrip(b"=").decode("ascii")
    if len(token) > MAX_TOKEN_LENGTH:
        raise ValueError(f"call id is too long: the token exceeds {MAX_TOKEN_LENGTH} characters")
    return token


def decode_token(text: str, signature_length: int = MIN_SIGNATURE_LENGTH) -> ToolToken:
    """Return the fields of a token, **unverified**.

    Padding is optional; apart from that, a token has exactly one encoding.

    Raises:
        TokenError: `malformed`, for any other input; also for a signature shorter than
            `signature_length`.
    """
    return _decode(text, signature_length)[0]


def open_token(
    keys: Iterable[SigningKey], text: str, *, now: float, signature_length: int
) -> ToolToken:
    """Verify signature and expiry of a token, but not its function and call.

    The signature is compared up to its length in the token: a token cut from 64 to 16 characters
    is valid only if `signature_length` is 16. The search ends at the first of `keys` that matches.

    Args:
        now: Unix time in seconds.

    Raises:
        TokenError: `malformed`, `bad_signature`, or `expired` if `now` has reached the expiry.
    """
    token, message = _decode(text, signature_length)
    signature = token.signature
    length = len(signature)
    for key in keys:
        if hmac.compare_digest(key.hexdigest(message)[:length], signature):
            break
    else:
        raise TokenError("bad_signature", token)
    if token.expiry <= now:
        raise TokenError("expired", token)
    return token


def is_signed_by(key: SigningKey, token: ToolToken) -> bool:
    """Return whether `key` signed a token, up to the length of its signature."""
    signature = token.signature
    return hmac.compare_digest(key.hexdigest(_message(token))[: len(signature)], signature)


def check_claims(token: ToolToken, *, call_id: object, function_name: object) -> None:
    """Check that an opened token was issued for this tool and this call.

    Raises:
        TokenError: `wrong_function` or `wrong_call`; also if an argument is not a string.
    """
    # str's own comparison: an __eq__() of the argument must not decide.
    if str.__eq__(token.function_name, function_name) is not True:
        raise TokenError("wrong_function", token)
    if str.__eq__(token.call_id, call_id) is not True:
        raise TokenError("wrong_call", token)


def verify_token(
    keys: Iterable[SigningKey],
    text: str,
    *,
    call_id: str,
    function_name: str,
    now: float,
    signature_length: int = MIN_SIGNATURE_LENGTH,
) -> ToolToken:
    """Verify that a token allows `function_name` to run in `call_id`, and return it.

    Raises:
        TokenError: it does not. The first reason applies, in the order `malformed`,
            `bad_signature`, `expired`, `wrong_function`, `wrong_call`.
    """
    token = open_token(keys, text, now=now, signature_length=signature_length)
    check_claims(token, call_id=call_id, function_name=function_name)
    return token


def token_from_query(query_string: str) -> str | None:
    """Return the ``__token`` parameter of a raw query string, decoded, or None without one.

    Raises:
        TokenError: `repeated`. An application that uses the other one, perhaps because it also
            splits at ``;``, would use a token that was not verified.
    """
    usual = _USUAL_QUERY.fullmatch(query_string)
    if usual is not None:
        return usual[1]
    if "__token" not in query_string and "%" not in query_string:
        return None
    if sum(map(_names_token, re.split("[&;]", query_string))) > 1:
        raise TokenError("repeated")
    found = next(filter(_names_token, query_string.split("&")), None)
    return None if found is None else unquote_plus(found.partition("=")[2])


def _names_token(pair: str) -> bool:
    return unquote_plus(pair.partition("=")[0]) == "__token"


def _decode(text: object, signature_length: int) -> tuple[ToolToken, bytes]:
    # The exact type: a subclass could override methods, and mislead the cache.
    if type(text) is not str or len(text) > MAX_TOKEN_LENGTH:
        raise TokenError("malformed")
    token, message = _parse(text)
    if len(token.signature) < signature_length:
        raise TokenError("malformed")
    return token, message


# Each call of a tool repeats its token. The cache holds decoded fields, never the result of a
# verification.
@functools.lru_cache(maxsize=2048)
def _parse(text: str) -> tuple[ToolToken, bytes]:
    try:
        standard = text.encode("ascii").translate(_TO_STANDARD)
        decoded = a2b_base64(standard + b"==")
        content = decoded.decode()
    except ValueError:
        raise TokenError("malformed") from None
    # The decoder silently skips unknown characters. Encoding again detects that, the standard
    # alphabet, and unused bits that are set.
    padded = b2a_base64(decoded, newline=False)
    if standard != padded and standard != padded.rstrip(b"="):
        raise TokenError("malformed")
    fields: list[Any] = content.rsplit(".", 4)
    if not fields[0] or not _FIELDS.fullmatch(content, len(fields[0])):
        raise TokenError("malformed")
    # As _message() of the token: an expiry has only one form.
    message = ":".join(fields[:4]).encode()
    fields[2] = int(fields[2])
    return _tool_token(fields), message


def _message(token: ToolToken) -> bytes:
    return f"{token.call_id}:{token.function_name}:{token.expiry}:{token.nonce}".encode()
