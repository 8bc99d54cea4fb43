"""Removal of secrets from headers, URLs and log lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_plus

__all__ = ["MASK", "escape_control", "filter_sensitive_headers", "mask_credentials", "redact_url"]

MASK = "****"

# Matched against names in lower case, without punctuation: "X-Api-Key", "api_key", "apiKey".
_SECRET_PART = re.compile(
    "accesscode|accesskey|apikey|assertion|authorization|bearer|cardnumber|clientcert|cookie"
    "|credential|creditcard|functionskey|hmac|jwt|mnemonic|passcode|passphrase|passwd"
    "|password|privatekey|saml|secret|securityanswer|sessionid|signature|signingkey"
    "|subscriptionkey|token|verifier|sig$"
    # Of the codes, only these: others are "zipcode" and "country_code".
    "|(?:2fa|activation|auth|backup|confirmation|device|login|mfa|onetime|otp|pin|recovery|reset"
    "|security|sms|tfa|verification|verify)code"
)
_SECRET_NAME = re.compile(
    "x?(?:2fa|auth|authkey|dpop|[ht]?otp|key|mfa|pass|psw|pw|pwd|session|tfa|wresult"
    "|(?:card)?(?:csc|cvc2?|cvv2?)|cc(?:num|number)|cardno"
    "|(?:atm|card|current|login|new|old|user)pin|(?:confirm|current|new|old|user)(?:pass|pw|pwd))"
)
# Only for parameters, not for headers, and only whole names: as parts they would match "zipcode",
# "callsid" and "shipping".
_SECRET_PARAMETER = re.compile("code|pin|refresh|sid|ticket")
# Headers whose value is a URL, which may contain secrets.
_URL_NAME = re.compile(
    "contentlocation|link|location|referer|xforwardeduri|xoriginaluri|xoriginalurl|xrewriteurl"
)

# Browsers treat a backslash as a slash and drop tabs and newlines.
_USERINFO = re.compile(r"([/\\][\t\r\n]*[/\\])[^/?#\\]*@")
_OPAQUE_USERINFO = re.compile(r"(\s*[A-Za-z][A-Za-z0-9+.-]*:[/\\]?)[^/?#\\]*@")
_AUTHORITY = re.compile(r"[^/?#]*//([^/?#]*)")
_SEPARATOR = re.compile(r"([?&;#])")
_IN_A_URL = re.compile(r"[/\\:]")
_NESTED_DEPTH = 3


def escape_control(text: str) -> str:
    """Return `text` with every character escaped that could forge or garble a log line.

    Control characters, line and paragraph separators, bidirectional controls and lone surrogates
    become ``\\xNN`` or ``\\uNNNN``; a backslash is doubled, so that the result is unambiguous.
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(
        char if char.isprintable() and char != "\\" else char.encode("unicode_escape").decode()
        for char in text
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _is_secret(plain_name: str) -> bool:
    return bool(_SECRET_PART.search(plain_name) or _SECRET_NAME.fullmatch(plain_name))


def _is_secret_parameter(name: str) -> bool:
    # The members of a nested name also count by themselves: "user[pin]", "user.pin", "otp[0]".
    return any(
        _is_secret(plain) or _SECRET_PARAMETER.fullmatch(plain)
        for plain in map(_plain, [name, *re.split(r"[\[.]", name)])
    )


def filter_sensitive_headers(
    headers: Mapping[str, Any] | Iterable[tuple[str, Any]], extra: Iterable[str] = ()
) -> dict[str, Any]:
    """Return `headers` without those that carry secrets, for logs and for custom code.

    Credentials, cookies, API keys, tokens and signatures are omitted. They are recognized by
    name, in any case, as header fields or environ keys (``HTTP_COOKIE``). URLs in ``Referer``,
    ``Location`` and similar fields pass through :func:`redact_url`. Other values are not escaped.

    Args:
        headers: a mapping, or pairs; the last value of a repeated name wins.
        extra: further names to omit, such as a configured API key header.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    dropped = {_plain(name) for name in extra}
    kept = {}
    for name, value in pairs:
        plain = _plain(name[5:] if name.startswith("HTTP_") else name)
        if plain in dropped or _is_secret(plain):
            continue
        kept[name] = redact_url(value) if _URL_NAME.fullmatch(plain) else value
    return kept


def mask_credentials(user: str) -> str:
    """Return ``user:****`` for the log, with `user` escaped."""
    return f"{escape_control(user)}:{MASK}"


def redact_url(url: Any) -> str:
    """Return `url` for the log: without secrets, on one line.

    User name and password are masked, as are the values of ``__token`` and of every other
    parameter with a secret name, in query, fragment and path parameters, however the name is
    percent-encoded and however often it occurs. A value that is itself a URL with secrets is
    masked completely. Never raises for any text or bytes; malformed input is masked too much
    rather than too little.
    """
    if isinstance(url, (bytes, bytearray)):
        url = bytes(url).decode("utf-8", "backslashreplace")
    return escape_control(_redact(str(url), _NESTED_DEPTH))


def _redact(text: str, depth: int) -> str:
    head, *rest = _SEPARATOR.split(_mask_userinfo(text))
    if _IN_A_URL.search(head.partition("=")[0]):
        pieces = [MASK if _hides_secret(head, depth) else head]
    else:  # A query string without a URL.
        pieces, rest = [], ["", head, *rest]
    masking = False
    for separator, piece in zip(rest[::2], rest[1::2]):
        if masking and separator in "?;":
            # Still part of the secret value: query strings separate parameters by "&" only.
            continue
        name, equals, _ = piece.partition("=")
        masking = equals != "" and _is_secret_parameter(unquote_plus(name))
        if masking or _hides_secret(piece, depth):
            piece = MASK if _hides_secret(name, depth) else f"{name}={MASK}"
        pieces.append(separator + piece)
    return "".join(pieces)


def _mask_userinfo(text: str) -> str:
    authority = _AUTHORITY.match(text)
    if authority is not None and _is_half_userinfo(authority[1]):
        # The password contains a bare "/", "?" or "#", so it continues up to an "@" further right.
        text = text[: authority.start(1)] + text[max(text.rfind("@"), authority.start(1)) :]
    opaque = _OPAQUE_USERINFO.match(text)
    if opaque is not None:
        text = f"{opaque[1]}{MASK}@{text[opaque.end() :]}"
    return _USERINFO.sub(rf"\1{MASK}@", text)


def _is_half_userinfo(authority: str) -> bool:
    if "@" in authority or authority.startswith("["):
        return False
    port = authority.partition(":")[2]
    return bool(port) and not (port.isascii() and port.isdigit())


def _hides_secret(text: str, depth: int) -> bool:
    """Return whether percent-decoding `text` reveals a secret."""
    decoded = unquote_plus(text)
    return decoded != text and (depth == 0 or _redact(decoded, depth - 1) != decoded)
