"""Tool tokens: proof that a tool call belongs to a call session and to a tool.

A token is ``base64url(call_id.function_name.expiry.nonce.signature)`` without padding, its
signature the first hex characters of HMAC-SHA256 over ``call_id:function_name:expiry:nonce``
(seed, section "Secure Tools"). The server keeps nothing: whoever holds the key can check it.

No two sets of fields share a signed message. Function names are identifiers, expiries decimal
digits and nonces hex digits, so none of the three can hold a separator; the call id, which may
hold any character, comes first. Splitting from the right therefore finds the same fields again.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote_plus

#: The names that a tool may have.
FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

#: Characters of the longest token, padding included: it has to fit into a request line.
MAX_TOKEN_LENGTH = 4096

#: The last expiry that a token can state: twelve digits, so that milliseconds are not seconds.
MAX_EXPIRY = 10**12 - 1

#: Bytes of the shortest secret to sign with: 128 bits, if they are random.
MIN_SECRET_BYTES = 16

MIN_SIGNATURE_LENGTH = 16
MAX_SIGNATURE_LENGTH = 64

_NONCE = re.compile(r"[0-9a-f]+")
# What follows the call id. "0" is the only expiry that starts with a zero.
_FIELDS = re.compile(
    r"\.[A-Za-z_][A-Za-z0-9_]{0,127}\.(?:0|[1-9][0-9]{0,11})\.[0-9a-f]+\.[0-9a-f]{16,64}"
)

# The decoder speaks the standard alphabet. Its own "+" and "/" become "!", which it skips, and
# what it skips is found out by encoding again.
_TO_STANDARD = bytes.maketrans(b"-_+/", b"+/!!")
_TO_URLSAFE = bytes.maketrans(b"+/", b"-_")


class ToolToken(NamedTuple):
    """The fields of a token. What they say is worth nothing before its signature was checked."""

    call_id: str
    function_name: str
    #: Unix time, in seconds, from which on the token is worthless.
    expiry: int
    nonce: str
    signature: str

    def __repr__(self) -> str:
        # With its signature, a representation in a log would be a working token.
        return (
            f"ToolToken(call_id={self.call_id!r}, function_name={self.function_name!r}, "
            f"expiry={self.expiry})"
        )


class TokenError(ValueError):
    """A token that proves nothing.

    A caller must not learn the reason: it tells a forger which part to work on.
    """

    #: ``malformed``, ``bad_signature``, ``expired``, ``wrong_function``, ``wrong_call``; from
    #: :func:`token_from_query` also ``repeated``.
    reason: str
    #: What could be decoded, or None. Unless the reason is ``bad_signature``, it was signed.
    token: ToolToken | None

    def __init__(self, reason: str, token: ToolToken | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.token = token


class SigningKey:
    """A secret, ready to sign with. Threads may share one.

    Keying an HMAC is half of its cost; it is done here, once, and copied for each message.
    """

    __slots__ = ("_mac",)

    def __init__(self, secret: bytes) -> None:
        self._mac = hmac.new(secret, digestmod=hashlib.sha256)

    def __repr__(self) -> str:
        return "<SigningKey>"

    def hexdigest(self, message: bytes) -> str:
        """Return HMAC-SHA256 over `message` as 64 lower-case hex digits."""
        mac = self._mac.copy()
        mac.update(message)
        return mac.hexdigest()


def derive_key(secret: bytes, context: str) -> bytes:
    """Return 32 bytes of key that serve `context` alone.

    Without the secret, a derived key tells nothing about that of another context. No message of
    a token ends with NUL, so nobody can have a derived key computed for him as a signature.
    """
    label = b"swaig-wsgi derived key 1:"
    message = label + context.encode("utf-8", "surrogatepass") + b"\0"
    return hmac.new(secret, message, hashlib.sha256).digest()


def is_function_name(name: object) -> bool:
    """Tell whether `name` is text of the form ``[A-Za-z_][A-Za-z0-9_]{0,127}``."""
    return isinstance(name, str) and FUNCTION_NAME.fullmatch(name) is not None


def check_signature_length(length: object) -> int:
    """Return `length`, a number of hex characters.

    Raises:
        ValueError: it is not an integer from 16 to 64.
    """
    if (
        not isinstance(length, int)
        or isinstance(length, bool)
        or not MIN_SIGNATURE_LENGTH <= length <= MAX_SIGNATURE_LENGTH
    ):
        raise ValueError("signature_length must be an integer from 16 to 64")
    return length


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
        call_id: any text but the empty one and lone surrogates.
        expiry: Unix time in seconds, from 0 to :data:`MAX_EXPIRY`.
        nonce: lower-case hex digits. They make tokens unique, not secret.
        signature_length: hex characters of signature, 16 to 64.

    Raises:
        ValueError: an argument is none of these, or the call id makes the token longer than
            :data:`MAX_TOKEN_LENGTH`.
    """
    check_signature_length(signature_length)
    if not is_function_name(function_name):
        raise ValueError(
            f"function name {function_name!r} must be an ASCII identifier of at most 128 characters"
        )
    if not isinstance(call_id, str) or not call_id:
        raise ValueError("call id must be a non-empty string")
    if not isinstance(expiry, int) or isinstance(expiry, bool) or not 0 <= expiry <= MAX_EXPIRY:
        raise ValueError(f"expiry must be an integer from 0 to {MAX_EXPIRY}")
    if not isinstance(nonce, str) or not _NONCE.fullmatch(nonce):
        raise ValueError("nonce must be lower-case hex digits")
    fields = (call_id, function_name, str(expiry), nonce)
    try:
        signature = key.hexdigest(":".join(fields).encode())[:signature_length]
        content = ".".join((*fields, signature)).encode()
    except UnicodeEncodeError:
        raise ValueError("call id holds a lone surrogate") from None
    encoded = b2a_base64(content, newline=False).translate(_TO_URLSAFE)
    token = encoded.rstrip(b"=").decode("ascii")
    if len(token) > MAX_TOKEN_LENGTH:
        raise ValueError(f"call id is too long: the token exceeds {MAX_TOKEN_LENGTH} characters")
    return token


def decode_token(text: str, signature_length: int = MIN_SIGNATURE_LENGTH) -> ToolToken:
    """Return the fields of a token, **unverified**.

    Padding may be there or not; otherwise each set of fields has exactly one spelling.

    Raises:
        TokenError: `malformed`, whatever it was given; a signature shorter than
            `signature_length` is malformed, too.
    """
    return _decode(text, signature_length)[0]


def open_token(
    keys: Iterable[SigningKey], text: str, *, now: float, signature_length: int
) -> ToolToken:
    """Return what a genuine token says, before it is known what it has to prove.

    The signature is compared as far as the token shows it: cut to 16 characters, a token that had
    64 passes only where 16 are enough. The first of `keys` that made it ends the search.

    Raises:
        TokenError: `malformed`, `bad_signature` or `expired` (`now`, Unix time, has reached the
            expiry).
    """
    token, message = _decode(text, signature_length)
    signature = token.signature
    for key in keys:
        if hmac.compare_digest(key.hexdigest(message)[: len(signature)], signature):
            break
    else:
        raise TokenError("bad_signature", token)
    if token.expiry <= now:
        raise TokenError("expired", token)
    return token


def check_claims(token: ToolToken, *, call_id: object, function_name: object) -> None:
    """Check that an opened token was made for this tool and this call.

    Raises:
        TokenError: `wrong_function` or `wrong_call`; so is everything that is not text.
    """
    # The type's own comparison, asked of our side: what a caller hands in has no say in it.
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
    """Return the token that lets `function_name` run in `call_id`.

    Raises:
        TokenError: it does not; reasons are found in the order `malformed`, `bad_signature`,
            `expired`, `wrong_function`, `wrong_call`.
    """
    token = open_token(keys, text, now=now, signature_length=signature_length)
    check_claims(token, call_id=call_id, function_name=function_name)
    return token


def token_from_query(query_string: str) -> str | None:
    """Return the ``__token`` parameter of a raw query string, decoded, or None without one.

    Raises:
        TokenError: `repeated`. Whoever reads the other one, such as an application that splits
            at ``;`` too, must not be shown a token that nobody checked.
    """
    if "__token" not in query_string and "%" not in query_string:
        return None
    found = [pair for pair in query_string.split("&") if _names_token(pair)]
    if ";" in query_string:
        pieces = re.split("[&;]", query_string)
        if sum(_names_token(piece) for piece in pieces) > 1:
            raise TokenError("repeated")
    if len(found) > 1:
        raise TokenError("repeated")
    return unquote_plus(found[0].partition("=")[2]) if found else None


def _names_token(pair: str) -> bool:
    return unquote_plus(pair.partition("=")[0]) == "__token"


def _decode(text: object, signature_length: int) -> tuple[ToolToken, bytes]:
    # The exact type: nothing else may answer for itself, as a subclass or to the memo.
    if type(text) is not str or len(text) > MAX_TOKEN_LENGTH:
        raise TokenError("malformed")
    token, message = _parse(text)
    if len(token.signature) < signature_length:
        raise TokenError("malformed")
    return token, message


# A tool's token comes back with every call of the tool. What is remembered is how it reads, never
# whether it is genuine.
@functools.lru_cache(maxsize=2048)
def _parse(text: str) -> tuple[ToolToken, bytes]:
    try:
        standard = text.encode("ascii").translate(_TO_STANDARD)
        decoded = a2b_base64(standard + b"==")
        content = decoded.decode()
    except ValueError:
        raise TokenError("malformed") from None
    # The decoder skips in silence what it does not know. Encoding again catches that, the other
    # alphabet, and bits that mean nothing.
    padded = b2a_base64(decoded, newline=False)
    if standard != padded and standard != padded.rstrip(b"="):
        raise TokenError("malformed")
    fields = content.rsplit(".", 4)
    if not fields[0] or not _FIELDS.fullmatch(content, len(fields[0])):
        raise TokenError("malformed")
    call_id, function_name, expiry, nonce, signature = fields
    message = f"{call_id}:{function_name}:{expiry}:{nonce}".encode()
    return ToolToken(call_id, function_name, int(expiry), nonce, signature), message
