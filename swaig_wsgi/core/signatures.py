"""Signatures of the platform's webhooks.

The signed message is the public URL, directly followed by the raw body or by the form's parameters.

- It includes neither time nor method. An attacker can replay a captured request, so effects must be
  idempotent.
- It has no separator between URL and body, or between a parameter's name and its value. With a
  captured signature, an attacker can move the end of the URL into a form, or back. A signed JSON
  object cannot move into the URL, because accepted URLs contain no ``{``; and the hash that covers
  a JSON body cannot move out of the URL.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Union
from urllib.parse import unquote_to_bytes

from ._patterns import lazy_pattern
from ._validation import ArgumentTypeError
from .urls import DEFAULT_PORTS

__all__ = [
    "Sha1Unavailable",
    "SignatureCheck",
    "check_headers",
    "sign_body",
    "sign_form",
    "signing_keys",
    "verify_request",
]

_Keys = Union[str, bytes, Iterable[Union[str, bytes]]]

_HEX_SHA256 = lazy_pattern(r"[0-9a-f]{64}")
_BASE64_SHA256 = lazy_pattern(r"[A-Za-z0-9+/]{43}=")
_HEX_SHA1 = lazy_pattern(r"[0-9a-f]{40}")
_BASE64_SHA1 = lazy_pattern(r"[A-Za-z0-9+/]{27}=")
_URL = lazy_pattern(r"(https?)://([^/?#]+)(.*)", re.DOTALL)
_SPELLED_URL = lazy_pattern(_URL.pattern, re.DOTALL | re.IGNORECASE)
_NOT_IN_A_URL = lazy_pattern(r"[\x00-\x20\x7f\"{]")
_PORT = lazy_pattern(r":[0-9]+\Z")
_WITHOUT_PATH = lazy_pattern(rb"[^/]*//[^/?]*")
# The rest of a host or a port, perhaps, and the beginning of a path or a query.
_CONTINUES_A_URL = lazy_pattern(rb"[A-Za-z0-9._:@%\[\]-]*[/?#]")
_FORM_TYPE = lazy_pattern(
    r"application/x-www-form-urlencoded\s*((?:;.*)?)", re.IGNORECASE | re.DOTALL | re.ASCII
)
_UTF_8 = lazy_pattern(r"(?:;\s*charset=\"?utf-8\"?\s*)?", re.IGNORECASE | re.ASCII)
# Some parsers separate parameters at ";", which serializers encode.
_NOT_IN_A_FORM = lazy_pattern(rb"[^!-:<-~]|%(?![0-9A-Fa-f]{2})")
_PARAMETER = lazy_pattern(rb"([^&=]+)=([^&]*)")
_MAX_PARAMETERS = 1000
_HASH = lazy_pattern(rb"[?&]bodySHA256=[0-9A-Fa-f]{64}")


@dataclass(frozen=True)
class SignatureCheck:
    """The outcome of :func:`verify_request`; true when the signature is valid.

    Attributes:
        valid: whether the request may pass.
        reason: why not, for the log only; ``""`` if valid.
    """

    valid: bool
    reason: str

    def __bool__(self) -> bool:
        return self.valid


_VALID = SignatureCheck(True, "")


class Sha1Unavailable(Exception):
    """This interpreter refuses SHA-1, as FIPS builds do."""


def signing_keys(keys: _Keys) -> tuple[bytes, ...]:
    """Return one or several keys as bytes.

    Raises:
        TypeError: a key is neither str nor bytes.
        ValueError: there is no key, or one is empty or contains a lone surrogate.
    """
    expected = "a signing key must be a non-empty string or bytes"
    if isinstance(keys, (str, bytes)):
        keys = (keys,)
    if not isinstance(keys, Iterable):
        raise ArgumentTypeError(expected)
    encoded = []
    for key in keys:
        if isinstance(key, str):
            try:
                key = key.encode("utf-8")
            except UnicodeEncodeError:
                # Not chained: the original error carries the key.
                raise ValueError("a signing key must be valid Unicode text") from None
        if not isinstance(key, bytes):
            raise ArgumentTypeError(expected)
        if not key:
            raise ValueError(expected)
        encoded.append(key)
    if not encoded:
        raise ValueError("expected at least one signing key")
    return tuple(encoded)


def sign_body(key: str | bytes, url: str, body: bytes, *, digest: str = "sha256") -> str:
    """Return the lower-case hex HMAC of `url` and `body`.

    Args:
        key: the signing key.
        url: the public URL, without credentials.
        body: the body as sent.
        digest: ``sha256`` or ``sha1``.

    Raises:
        TypeError: the key is neither str nor bytes.
        ValueError: the key is empty, or the digest is another one.
        Sha1Unavailable: the interpreter has no SHA-1.
    """
    if digest not in ("sha256", "sha1"):
        raise ValueError("expected the digest sha256 or sha1")
    return _hmac(signing_keys(key)[0], _url_bytes(url) + body, digest).hex()


def sign_form(key: str | bytes, url: str, parameters: Iterable[tuple[str, str]]) -> str:
    """Return the base64 HMAC-SHA1 of `url` and the form's `parameters`, sorted by name.

    Parameters of one name keep their order. Without parameters, this is the signature of a URL
    with ``bodySHA256``.

    Raises:
        TypeError: the key is neither str nor bytes.
        ValueError: the key is empty.
        Sha1Unavailable: the interpreter has no SHA-1.
    """
    pairs = [(name.encode("utf-8"), value.encode("utf-8")) for name, value in parameters]
    message = _url_bytes(url) + _join_sorted(pairs)
    return base64.b64encode(_hmac(signing_keys(key)[0], message, "sha1")).decode("ascii")


def check_headers(sha256: str | None, sha1: str | None, sha1_alias: str | None) -> str:
    """Return why these signature headers cannot cover any body; ``""`` if they can.

    An empty value, or one that a server joined from several fields, is malformed, not missing.
    """
    if sha256 is not None:
        well_formed = _HEX_SHA256.fullmatch(sha256) or _BASE64_SHA256.fullmatch(sha256)
        return "" if well_formed else "malformed_signature"
    if sha1 is None and sha1_alias is None:
        return "missing_signature"
    return "" if _sha1_signatures(sha1, sha1_alias) else "malformed_signature"


def _sha1_signatures(*given: str | None) -> list[str]:
    """Return the different, well-formed ones."""
    return [
        each
        for each in dict.fromkeys(given)
        if each is not None and (_HEX_SHA1.fullmatch(each) or _BASE64_SHA1.fullmatch(each))
    ]


def verify_request(
    keys: _Keys,
    url: str,
    body: bytes,
    *,
    sha256_signature: str | None = None,
    sha1_signature: str | None = None,
    sha1_alias_signature: str | None = None,
    content_type: str = "",
    spelled_url: str | None = None,
) -> SignatureCheck:
    """Verify that a holder of one of `keys` signed the request.

    - If there is a SHA-256 signature, in hex or base64, it alone decides. An attacker could
      otherwise break it on purpose and forge only SHA-1. It covers the raw body.
    - Of two SHA-1 signatures, either may be valid.
    - The URL is tried with and without the scheme's default port, and with an empty path as ``/``
      and the reverse, which are equivalent (RFC 3986 section 6.2.3).
    - A SHA-1 signature, in hex or base64, covers the raw body, the parameters of a form or, with
      ``bodySHA256`` in the query, the body with that hash. One that covers only the URL is
      rejected, even without a body: the platform signs GET requests like that.
    - Parameters of one name are signed in the order of the form, or, as Twilio does it, sorted and
      without duplicates. The latter covers neither their order nor how often they occur.
    - With a SHA-1 signature, a form whose parameters two parsers could interpret differently is
      rejected, and a ``bodySHA256`` in the query must be the hash of the body.

    Args:
        keys: one key or several, any of which may have signed.
        url: the public URL, without credentials; bytes that are not UTF-8 as surrogate escapes.
        body: the body as received.
        sha256_signature: the value of ``X-SignalWire-Sha256-Signature``; None if missing.
        sha1_signature: the value of ``X-SignalWire-Signature``.
        sha1_alias_signature: the value of ``X-Twilio-Signature``.
        content_type: the value of ``Content-Type``.
        spelled_url: an equivalent `url`, such as one with upper-case letters in its host, that may
            have been signed instead. It must come from the configuration, not from a client.

    Raises:
        TypeError, ValueError: the keys are invalid, as for :func:`signing_keys`. No request causes
            an exception.
    """
    ring = signing_keys(keys)
    fault = check_headers(sha256_signature, sha1_signature, sha1_alias_signature)
    if fault:
        return SignatureCheck(False, fault)
    try:
        urls = _equivalent_urls(url, _URL)
        if spelled_url is not None and spelled_url != url:
            urls += _equivalent_urls(spelled_url, _SPELLED_URL)
    except ValueError:
        return SignatureCheck(False, "bad_url")
    if sha256_signature is not None:
        given, encode = _encoded(sha256_signature, _HEX_SHA256)
        signed = _is_signed(ring, urls, body, "sha256", given, encode)
        return _VALID if signed else SignatureCheck(False, "bad_sha256")
    try:
        faults = [
            _sha1_fault(ring, urls, body, signature, content_type)
            for signature in _sha1_signatures(sha1_signature, sha1_alias_signature)
        ]
    except Sha1Unavailable:
        return SignatureCheck(False, "sha1_unavailable")
    return _VALID if "" in faults else SignatureCheck(False, faults[0])


def _encoded(
    signature: str, hexadecimal: re.Pattern[str]
) -> tuple[bytes, Callable[[bytes], bytes]]:
    """Return what to compare with, and how to encode an HMAC for the comparison.

    Base64 text is compared as it is, since several texts decode to the same bytes.
    """
    if hexadecimal.fullmatch(signature):
        return bytes.fromhex(signature), bytes
    return signature.encode("ascii"), base64.b64encode


def _sha1_fault(
    ring: tuple[bytes, ...], urls: list[bytes], body: bytes, signature: str, content_type: str
) -> str:
    """Return why a SHA-1 signature does not cover `body`; ``""`` if it does.

    An attacker can write any signature in hex or in base64, so the encoding decides nothing.
    """
    hashes = _declared_hashes(urls[0])
    if len(hashes) > 1:
        return "repeated_body_hash"
    given, encode = _encoded(signature, _HEX_SHA1)
    forms: tuple[bytes, ...] | None = None
    media_type = _FORM_TYPE.fullmatch(content_type)
    if media_type is not None and _UTF_8.fullmatch(media_type[1]):
        forms = _form_messages(body)
    malformed = media_type is not None and forms is None
    for message in filter(None, (body, *(forms or ()))):
        if _is_signed(ring, urls, message, "sha1", given, encode):
            if _is_hash_moved(urls[0], message):
                return "body_hash_moved"
            if malformed:  # Perhaps the message of another form.
                return "malformed_form"
            break
    else:
        if not _is_signed(ring, urls, b"", "sha1", given, encode):
            return "malformed_form" if malformed else "bad_sha1"
        if not hashes:
            return "url_only"
    if not hashes:
        return ""
    actual = hashlib.sha256(body).hexdigest().encode("ascii")
    return "" if hmac.compare_digest(actual, hashes[0].lower()) else "body_hash_mismatch"


def _is_hash_moved(url: bytes, body: bytes) -> bool:
    """Return whether a hash that covered another body extends from the URL into `body`."""
    if b"{" in body:
        return False  # No URL contains it, so nothing moved from the URL into the body.
    found = _HASH.finditer(url + body)
    return any(each.end() > len(url) for each in found)


def _is_signed(
    ring: tuple[bytes, ...],
    urls: list[bytes],
    body: bytes,
    digest: str,
    given: bytes,
    encode: Callable[[bytes], bytes],
) -> bool:
    # An equivalent URL without a path must not turn the end of another signed URL into a body:
    # "https://h" and "/x" are the same message as "https://h/x" and nothing.
    continues = _CONTINUES_A_URL.match(body) is not None
    return any(
        hmac.compare_digest(encode(_hmac(key, url + body, digest)), given)
        for url in urls
        if not (continues and url != urls[0] and _WITHOUT_PATH.fullmatch(url))
        for key in ring
    )


def _hmac(key: bytes, message: bytes, digest: str) -> bytes:
    try:
        return hmac.digest(key, message, digest)
    except ValueError:
        if digest == "sha1":
            raise Sha1Unavailable("this Python refuses SHA-1 (FIPS mode)") from None
        raise


def _url_bytes(url: str) -> bytes:
    return url.encode("utf-8", "surrogateescape")


def _equivalent_urls(url: str, pattern: re.Pattern[str]) -> list[bytes]:
    """Return `url` as bytes, and its equivalents: default port and empty path (RFC 3986 6.2.3)."""
    match = pattern.fullmatch(url)
    if match is None or _NOT_IN_A_URL.search(url) or "@" in match[2]:
        raise ValueError("not an http URL without credentials")
    scheme, authority, rest = match.groups()
    authorities = [authority]
    default = f":{DEFAULT_PORTS[scheme.lower()]}"
    if authority.endswith(default):
        authorities.append(authority[: -len(default)])
    elif not _PORT.search(authority):
        authorities.append(authority + default)
    rests = [rest]
    if rest[:1] in ("", "?"):
        rests.append(f"/{rest}")
    elif rest == "/" or rest.startswith("/?"):
        rests.append(rest[1:])
    return [_url_bytes(f"{scheme}://{name}{end}") for end in rests for name in authorities]


def _declared_hashes(url: bytes) -> list[bytes]:
    query = url.partition(b"#")[0].partition(b"?")[2]
    pairs = (part.partition(b"=") for part in query.split(b"&"))
    return [
        unquote_to_bytes(value)
        for name, _, value in pairs
        if unquote_to_bytes(name) == b"bodySHA256"
    ]


def _form_messages(body: bytes) -> tuple[bytes, ...] | None:
    """Return the parameters of a form in each signed order, or None if parsers might disagree."""
    if _NOT_IN_A_FORM.search(body):
        return None
    if not body:
        return ()
    parts = body.split(b"&", _MAX_PARAMETERS - 1)
    pairs = []
    for part in parts:
        match = _PARAMETER.fullmatch(part)
        if match is None:
            return None
        name, value = map(_unquote, match.groups())
        try:
            name.decode("utf-8")
            value.decode("utf-8")
        except UnicodeDecodeError:
            return None
        pairs.append((name, value))
    in_order, unique = _join_sorted(pairs), b"".join(map(b"".join, sorted(set(pairs))))
    return (in_order,) if unique == in_order else (in_order, unique)


def _unquote(text: bytes) -> bytes:
    """Decode a name or a value, whose escapes are well-formed."""
    # In slices, since unquote_to_bytes() needs 25 times the memory of its input.
    decoded = bytearray()
    start = 0
    while start < len(text):
        end = start + 4096
        # An escape that begins in the last two bytes belongs to the next slice.
        escape = text.find(b"%", end - 2, end)
        end = end if escape < 0 else escape
        decoded += unquote_to_bytes(text[start:end].replace(b"+", b" "))
        start = end
    return bytes(decoded)


def _join_sorted(pairs: list[tuple[bytes, bytes]]) -> bytes:
    # Values of one name keep their order, so that an application that uses the first or the last
    # one gets the value that was signed in that position.
    return b"".join(name + value for name, value in sorted(pairs, key=lambda pair: pair[0]))
