"""Removal of secrets from headers, URLs and log lines.

Secrets are recognized by their place, such as a parameter with a secret name; by their form, as
tool tokens and PEM blocks are; and by their value: :func:`hide_values` is told what is configured.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote_plus

from ._patterns import lazy_pattern
from .tokens import TokenError, decode_token

__all__ = [
    "MASK",
    "are_harmless",
    "escape_control",
    "filter_sensitive_headers",
    "hide_values",
    "mask_credentials",
    "mask_known",
    "redact_text",
    "redact_url",
]

#: What stands for a secret.
MASK = "****"

# Matched against names in lower case, without punctuation: "X-Api-Key", "api_key", "apiKey".
_SECRET_PART = lazy_pattern(
    "accesscode|accesskey|apikey|assertion|authorization|bearer|cardnumber|clientcert|cookie"
    "|credential|creditcard|functionskey|hmac|jwt|mnemonic|passcode|passphrase|passwd"
    "|password|privatekey|saml|secret|securityanswer|sessionid|signature|signingkey"
    "|subscriptionkey|token|verifier|sig$"
    # Of the codes, only these: others are "zipcode" and "country_code".
    "|(?:2fa|activation|auth|backup|confirmation|device|login|mfa|onetime|otp|pin|recovery|reset"
    "|security|sms|tfa|verification|verify)code"
)
_SECRET_NAME = lazy_pattern(
    "x?(?:2fa|auth|authkey|dpop|[ht]?otp|key|mfa|pass|psw|pw|pwd|session|tfa|wresult"
    "|(?:card)?(?:csc|cvc2?|cvv2?)|cc(?:num|number)|cardno"
    "|(?:atm|card|current|login|new|old|user)pin|(?:confirm|current|new|old|user)(?:pass|pw|pwd))"
)
# Only for parameters, not for headers, and only whole names: as parts they would match "zipcode",
# "callsid" and "shipping".
_SECRET_PARAMETER = lazy_pattern("code|pin|refresh|sid|ticket")
# Headers whose value is a URL, which may contain secrets.
_URL_NAME = lazy_pattern(
    "contentlocation|link|location|referer|xforwardeduri|xoriginaluri|xoriginalurl|xrewriteurl"
)

# Browsers treat a backslash as a slash and drop tabs and newlines.
_USERINFO = lazy_pattern(r"([/\\][\t\r\n]*[/\\])[^/?#\\]*@")
_OPAQUE_USERINFO = lazy_pattern(r"(\s*[A-Za-z][A-Za-z0-9+.-]*:[/\\]?)[^/?#\\]*@")
_AUTHORITY = lazy_pattern(r"[^/?#]*//([^/?#]*)")
_SEPARATOR = lazy_pattern(r"([?&;#])")
_IN_A_URL = lazy_pattern(r"[/\\:]")
_SLASH = lazy_pattern(r"([/\\])")
_NESTED_DEPTH = 3

# In free text. Tokens are looked for everywhere, other secrets in what may be a URL or a query, in
# pairs of JSON and of Python's repr(), in header fields and after an authentication scheme.
_TOKEN = lazy_pattern(r"((?:_|%5f){2}token(?:=|%3d))[^&#;\s\"']*", re.IGNORECASE)
_WORD = lazy_pattern(r"\S+")
_URL_SIGNS = lazy_pattern(r"[/?&@]|%(?:2f|3f|26|40)", re.IGNORECASE)
_SECRET_SIGNS = lazy_pattern(r"[=@%]")
# What may follow a URL in a sentence.
_AFTER_URL = "'\"`)]}>.,:"
# 'name': in JSON or a dict, 'name', in a tuple, name= in another repr. The quotation marks of a
# string inside a string have backslashes before them.
_PAIR_NAME = lazy_pattern(
    r"(?:(\\{0,8}[\"'])([^\"'\\\s]{1,64})\1[ \t]{0,8}[:,]|\b([A-Za-z_]\w{0,63})=(?=b?\\{0,8}[\"']))"
    r"[ \t]{0,8}b?"
)
# After the path of a file in a traceback, which may contain "token" or "credentials".
_LINE_NUMBER = lazy_pattern(r"line \d{1,9}\b")
_QUOTE = lazy_pattern(r"\\{0,8}[\"']")
_BARE_VALUE = lazy_pattern(r"[^\s,;}\])\"']*")
_FIELD = lazy_pattern(
    r"(?<![\w-])((?:proxy-)?authorization|cookie|[a-z0-9_]{1,32}(?:-[a-z0-9_]{1,32}){1,8})"
    r"([ \t]{0,8}:)[^\n\"']*",
    re.IGNORECASE,
)
_CREDENTIALS = lazy_pattern(
    r"\b((?:basic|bearer)[ \t]{1,8})"
    # Not in prose.
    r"(?!(?:auth|authentication|authorization|credentials?|realm|scheme|tokens?|and|or)\b)"
    r"[^\s\"',;]+",
    re.IGNORECASE,
)
# name=value without quotation marks, in a DSN, a command line or a repr. After a colon, letters
# alone are prose ("password: expected"), and None is a default.
_ASSIGNMENT = lazy_pattern(
    r"(?<!\w)([A-Za-z_][\w.-]{0,63})"
    r"([ \t]{0,4}(?:=[ \t]{0,4}|:[ \t]{1,4}(?![A-Za-z]+[.,:;)]?(?:\s|$))))"
    r"(?!(?:None|True|False)\b|\*{4}(?:\W|$))(?=[^\s,;&\"'()\[\]{}=])"
)
_ASSIGNED = lazy_pattern(r"[^\s,;&\"']*")
_PAIR_OF_CREDENTIALS = lazy_pattern(r"\b([a-z_]{0,32}auth[ ]?=[ ]?)[(\[][^)\]]*")
# Not only of private keys: a certificate is of no use in a log.
_PEM = lazy_pattern(r"-----BEGIN [^-]{1,64}-----.*?(?:-----END [^-]{1,64}-----|\Z)", re.DOTALL)
_HARMLESS = lazy_pattern(r"[A-Za-z0-9_./-]{0,39}")
_HARMLESS_LINES = lazy_pattern(r"(?:[A-Za-z0-9_./-]{0,39}\n)*")
_TOKEN_FORM = lazy_pattern(r"[A-Za-z0-9_-]{40,}")

#: What is configured, in the order of configuration, and the same, longest first.
_configured: dict[str, None] = {}
_hidden: tuple[str, ...] = ()
#: Bounds of the values to hide: shorter ones are words, and of more values only the first are kept.
_MIN_HIDDEN = 8
_MAX_HIDDEN = 256
#: What takes longest is looking into URLs: parameters in one text, all others are masked.
_MAX_PARAMETERS = 128


class _Escapes(dict[int, str]):
    """Characters and what they are escaped to, computed when they are first needed."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if not char.isprintable() or char == "\\":
            char = char.encode("unicode_escape").decode()
        if len(self) < 4096:
            self[code] = char
        return char


_ESCAPES = _Escapes()


def escape_control(text: str) -> str:
    """Return `text` with every character escaped that could forge or garble a log line.

    Control characters, line and paragraph separators, bidirectional controls and lone surrogates
    become ``\\xNN`` or ``\\uNNNN``; a backslash is doubled, so that the result is unambiguous.
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return text.translate(_ESCAPES)


def hide_values(values: Iterable[str | bytes | None]) -> None:
    """Mask `values` from now on, whatever text or URL contains them.

    Credentials and keys of this package's own settings and classes are hidden without this call;
    call it for those of the rest of the program. They are found as they are, and quoted for URLs.
    Values shorter than 8 characters and bytes that are not UTF-8 are ignored, as are all after 256.
    """
    global _hidden
    for value in values:
        text = value.decode("utf-8", "ignore") if isinstance(value, bytes) else value or ""
        for form in (text, quote(text, safe="", errors="surrogatepass")):
            if len(text) >= _MIN_HIDDEN and len(_configured) < _MAX_HIDDEN:
                _configured[form] = None
    # A value may contain another one.
    _hidden = tuple(sorted(_configured, key=len, reverse=True))


def _is_harmless(text: str) -> bool:
    """Return whether `text` is shorter than a token and has no character that precedes a secret.

    The patterns find a secret only after one of ``=:@%?"'`` or a space. Most records consist of
    names, methods, addresses, ids and paths without these.
    """
    if _HARMLESS.fullmatch(text) is None:
        return False
    return len(text) < _MIN_HIDDEN or not any(map(text.__contains__, _hidden))


def are_harmless(texts: Collection[object]) -> bool:
    """Return whether all are strings that :func:`redact_text` and :func:`redact_url` do not change.

    Most records consist of such texts, and one search is faster than one for each.
    """
    if {*map(type, texts)} != {str}:
        return False
    joined = "\n".join([*texts, ""])  # type: ignore[list-item]  # they are strings
    # A text of several lines must not pass as several texts.
    if joined.count("\n") != len(texts) or _HARMLESS_LINES.fullmatch(joined) is None:
        return False
    return not any(map(joined.__contains__, _hidden))


def mask_known(text: str) -> str:
    """Return `text` with the secrets masked that are recognized without context.

    These are values given to :func:`hide_values`, PEM blocks and tool tokens, which may extend over
    several lines.
    """
    for value in _hidden:
        text = text.replace(value, MASK)
    return _TOKEN_FORM.sub(_mask_token, _PEM.sub(MASK, text))


def _mask_token(match: re.Match[str]) -> str:
    try:
        decode_token(match[0])
    except TokenError:
        return match[0]
    return MASK


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
    parameter with a secret name, in query, fragment, path segments and their parameters, however
    the name is percent-encoded and however often it occurs. So are ``user:password@`` in a segment,
    tool tokens, and values given to :func:`hide_values`. A value that is itself a URL with secrets
    is masked completely. Never raises for any text or bytes; malformed input is masked too much
    rather than too little.
    """
    if isinstance(url, (bytes, bytearray)):
        url = bytes(url).decode("utf-8", "backslashreplace")
    elif type(url) is str and _is_harmless(url):
        return url
    return escape_control(_redact(mask_known(str(url)), _NESTED_DEPTH))


def redact_text(text: str, max_length: int = 8192) -> str:
    """Return `text`, such as a log message, without secrets and on one line.

    Masked are tokens and secret parameters of URLs and queries, as by :func:`redact_url`;
    ``Basic`` and ``Bearer`` credentials; the values of secret names in JSON, in Python's
    :func:`repr`, in header fields, and after ``=``; PEM blocks, tool tokens, and values given to
    :func:`hide_values`. The work is linear in the length and bounded: what is longer
    than `max_length` characters is cut, and of very many parameters the last are masked.
    """
    rest = len(text) - max_length
    if rest <= 0 and _is_harmless(text):
        return text
    if rest > 0:
        text = text[:max_length]
    text = _PAIR_OF_CREDENTIALS.sub(rf"\1{MASK}", _mask_pairs(mask_known(text)))
    text = _FIELD.sub(_mask_field, text)
    text = _CREDENTIALS.sub(rf"\1{MASK}", text)
    text = _TOKEN.sub(rf"\1{MASK}", text)
    safe, end, left = [], 0, _MAX_PARAMETERS
    for match in _WORD.finditer(text):
        word = match[0]
        if not (_URL_SIGNS.search(word) and _SECRET_SIGNS.search(word)):
            continue
        left -= len(_SEPARATOR.findall(word)) + 1
        safe.append(_redact_prose(text[end : match.start()]))
        safe.append(_redact_word(word) if left >= 0 else MASK)
        end = match.end()
    safe.append(_redact_prose(text[end:]))
    if rest > 0:
        safe.append(f"... ({rest} more characters)")
    return "".join(safe)


def _mask_pairs(text: str) -> str:
    safe, end = [], 0
    match = _PAIR_NAME.search(text)
    while match is not None:
        after = match.end()
        is_frame = text.endswith("File ", 0, match.start()) and _LINE_NUMBER.match(text, after)
        if not is_frame and _is_secret_parameter(match[2] or match[3]):
            safe += [text[end:after], MASK]
            after = end = _end_of_value(text, after)
        match = _PAIR_NAME.search(text, after)
    return "".join(safe) + text[end:]


def _end_of_value(text: str, start: int) -> int:
    """Return where the value of a pair ends; one that has no end lasts to the end of the text."""
    opening = _QUOTE.match(text, start)
    if opening is None:
        if text[start : start + 1] in ("{", "["):
            return len(text)
        return _BARE_VALUE.match(text, start).end()  # type: ignore[union-attr]
    # Quotation marks inside the value have more backslashes before them.
    closing, position = opening[0], opening.end()
    while (position := text.find(closing, position)) >= 0:
        if text[position - 1] != "\\":
            return position + len(closing)
        position += len(closing)
    return len(text)


def _mask_field(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]} {MASK}" if _is_secret(_plain(match[1])) else match[0]


def _redact_prose(text: str) -> str:
    return escape_control(_mask_assignments(text))


def _mask_assignments(text: str) -> str:
    safe, end = [], 0
    match = _ASSIGNMENT.search(text)
    while match is not None:
        # A value that is not secret may contain one that is: "ValueError: password=...".
        after = match.end()
        if _is_secret(_plain(match[1])):
            safe += [text[end:after], MASK]
            after = end = _ASSIGNED.match(text, after).end()  # type: ignore[union-attr]
        match = _ASSIGNMENT.search(text, after)
    return "".join(safe) + text[end:]


def _redact_word(word: str) -> str:
    url = word.rstrip(_AFTER_URL)
    after = escape_control(word[len(url) :])
    first, ampersand, rest = url.partition("&")
    if ampersand and "=" in first and not _URL_SIGNS.search(first):
        # A query alone: its first name follows no question mark.
        return redact_url(f"?{first}")[1:] + redact_url(f"&{rest}") + after
    return redact_url(url) + after


def _redact(text: str, depth: int) -> str:
    head, *rest = _SEPARATOR.split(_mask_userinfo(text))
    if _IN_A_URL.search(head.partition("=")[0]):
        pieces = [MASK if _hides_secret(head, depth) else _mask_segments(head)]
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


def _mask_segments(path: str) -> str:
    """Mask secrets in path segments: ``password=...``, and ``user:...@host`` of a mistyped URL."""
    segments = _SLASH.split(path)
    for number, segment in enumerate(segments):
        name, equals, _ = segment.partition("=")
        userinfo, at, host = segment.rpartition("@")
        if equals and _is_secret_parameter(name):
            segments[number] = f"{name}={MASK}"
        elif at and ":" in userinfo and number:
            segments[number] = f"{MASK}@{host}"
    return "".join(segments)


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
