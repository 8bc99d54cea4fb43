"""Passwords, secrets and keys, judged by their values.

No message contains a value, nor its length: a log of findings must not narrow down a search.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from ..config import Settings
from ._findings import Finding, finding

#: An offline search of 2**80 values is out of reach; a tool token lets one try offline.
_MIN_BITS = 80

#: The most common passwords of published leaks, and the defaults of guides and examples: the
#: letters alone.
_WORDS = """
    aaaaaa abc abcdef abcd admin administrator agent apikey asdfgh asdfghjkl basicauth change
    changeit changeme changethis chatbot correcthorsebatterystaple default demo development devpass
    dragon dummy example foobar football fuckyou guest hello hunter iloveyou insecure letmein login
    master monkey mypassword mysecret mysecretpassword none null pass passwd passphrase password
    placeholder princess private public qazwsx qwerty qwertyuiop qwertz replaceme root sample secret
    secretkey secretpassword security shadow signalwire signingkey summer sunshine superman
    supersecret swaig swml sysadmin temp test tester testing testpassword todo token topsecret
    trustno user username verysecret voice welcome whatever winter yourpassword yoursecret
"""
_COMMON = frozenset(_WORDS.split())
_LONGEST_FIRST = sorted((word for word in _COMMON if len(word) > 3), key=len, reverse=True)

#: Digits and signs that stand for letters.
_LEET = str.maketrans("013457@$!", "oieastasi")

_CLASSES = {r"[0-9]": 10, r"[a-z]": 26, r"[A-Z]": 26, r"[^0-9a-zA-Z]": 33}


def password_findings(variable: str, user: str, password: str) -> Iterator[Finding]:
    """Yield what is weak about a password: at most one finding, the worst."""
    line = f'{variable}="$(swaig-wsgi secret)"'
    if password.lower() == user.lower():
        yield finding(
            "E003", f"{variable} is the name of its user, which anyone tries first.", line
        )
    elif is_common(password):
        text = f"{variable} is one of the most common passwords, or a variant of one."
        yield finding("E002", text, line)
    elif len(password) < 12:
        yield finding("W002", f"{variable} has fewer than 12 characters.", line)
    elif len(password) < 20 and _classes(password) < 3:
        text = f"{variable} has fewer than 20 characters, of fewer than three kinds"
        kinds = "lower case, upper case, digits, others"
        yield finding("W003", f"{text} ({kinds}).", line)


def credential_findings(settings: Settings) -> Iterator[Finding]:
    """Yield findings on user and password, and on earlier passwords that are still accepted."""
    if settings.basic_auth is None:
        text = "No credentials are set, so each start generates others."
        yield finding("W001", text)
        return
    user, password = settings.basic_auth
    yield from password_findings("SWML_BASIC_AUTH_PASSWORD", user, password)
    for earlier in settings.basic_auth_password_fallbacks:
        # It is weak once, however many of the list are.
        weak = list(password_findings("SWML_BASIC_AUTH_PASSWORD_FALLBACKS", user, earlier))
        if weak:
            line = "unset SWML_BASIC_AUTH_PASSWORD_FALLBACKS"
            yield finding(weak[0].id.removeprefix("swaig."), weak[0].message, line)
            break


def secret_findings(settings: Settings) -> Iterator[Finding]:
    """Yield findings on the secret of tool tokens, on signing keys, and on their fallbacks."""
    if settings.swaig_secret is None:
        yield finding("W021", "No secret signs tool tokens, so they end with the process.")
    if settings.signing_key is None:
        yield finding("W023", "No signing key is set, so webhooks need no signature.")
    current = {
        "SIGNALWIRE_SWAIG_SECRET": (settings.swaig_secret, settings.swaig_secret_fallbacks),
        "SIGNALWIRE_SIGNING_KEY": (settings.signing_key, settings.signing_key_fallbacks),
        "SWML_BASIC_AUTH_PASSWORD": (
            settings.basic_auth_password,
            settings.basic_auth_password_fallbacks,
        ),
    }
    for variable, (value, fallbacks) in current.items():
        if value is not None and value in fallbacks:
            text = f"The value of {variable} is also in {variable}_FALLBACKS"
            why = "the rotation is not finished, or changed nothing"
            yield finding("W005", f"{text}: {why}.", f"unset {variable}_FALLBACKS")
        if variable == "SWML_BASIC_AUTH_PASSWORD":
            continue  # judged as a password
        if value is not None and bits(value) < _MIN_BITS:
            yield _guessable(variable, f'{variable}="$(swaig-wsgi secret)"')
        if any(bits(each) < _MIN_BITS for each in fallbacks):
            yield _guessable(f"{variable}_FALLBACKS", f"unset {variable}_FALLBACKS")
    by_value: dict[str, list[str]] = {}
    for variable, (value, _) in current.items():
        if value is not None:
            by_value.setdefault(value, []).append(variable)
    for variables in by_value.values():
        if len(variables) > 1:
            text = f"{' and '.join(variables)} have the same value, so that one reveals the other."
            yield finding("W006", text, f'{variables[0]}="$(swaig-wsgi secret)"')


def _guessable(variable: str, line: str) -> Finding:
    text = f"{variable} can be guessed: it has less than {_MIN_BITS} bits of entropy"
    return finding("W004", f"{text}, or consists of common words.", line)


def is_common(password: str) -> bool:
    """Return whether `password` is common, also with capitals, digits or signs added."""
    text = password.lower()
    # In leet, digits and signs stand for letters, but not those that are added at the ends.
    inner = re.sub(r"^[^a-z]+|[^a-z]+$", "", text)
    readings = (text, text.translate(_LEET), inner.translate(_LEET))
    letters = {re.sub(r"[^a-z]", "", reading) for reading in readings}
    # Digits alone are a date or a keypad's row.
    return not letters.isdisjoint(_COMMON) or (password.isdecimal() and len(password) < 12)


def bits(text: str) -> float:
    """Estimate the entropy of `text` from above, in bits.

    Each character counts as if it were random, among the kinds of characters that occur, except
    those that can be foretold: of common words, of runs (``aaaa``, ``1234``) and of repetitions of
    the whole.
    """
    # Hexadecimal text has no more than 4 bits a character.
    pool = 16 if re.fullmatch(r"[0-9a-f]*|[0-9A-F]*", text) else 0
    pool = pool or sum(size for each, size in _CLASSES.items() if re.search(each, text))
    period = (text + text).find(text, 1)
    text = text[: max(period, 0)] if text else text
    plain = text.lower()
    for word in _LONGEST_FIRST:
        plain = plain.replace(word, "\0")
    steps = [ord(after) - ord(before) for before, after in zip(plain, plain[1:])]
    # The third character of a run is the first that can be foretold.
    foretold = sum(step == before and abs(step) <= 1 for before, step in zip(steps, steps[1:]))
    return (len(plain) - foretold) * math.log2(pool) if pool else 0.0


def _classes(password: str) -> int:
    return sum(re.search(each, password) is not None for each in _CLASSES)
