"""How easily passwords and secrets are guessed, judged by their values.

No result contains a value: a handler that stores only digests may store what is weak.
"""

from __future__ import annotations

import math
import re

__all__ = ["MIN_BITS", "is_guessable", "password_weakness"]

#: An offline search of 2**80 values is out of reach; a tool token lets one try offline.
MIN_BITS = 80

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


def password_weakness(user: str, password: str) -> str | None:
    """Return the worst that is wrong with a password, or None.

    Returns:
        ``"user"``: it is the user's name; ``"common"``: one of the most common, or a variant;
        ``"short"``: fewer than 12 characters; ``"simple"``: fewer than 20, of fewer than three
        kinds.
    """
    if password.lower() == user.lower():
        return "user"
    if _is_common(password):
        return "common"
    if len(password) < 12:
        return "short"
    return "simple" if len(password) < 20 and _classes(password) < 3 else None


def is_guessable(secret: str | bytes) -> bool:
    """Return whether a secret or key has less than 80 bits of entropy."""
    text = secret.decode("latin-1") if isinstance(secret, bytes) else secret
    return _bits(text) < MIN_BITS


def _is_common(password: str) -> bool:
    """Return whether `password` is common, also with capitals, digits or signs added."""
    text = password.lower()
    # In leet, digits and signs stand for letters, but not those that are added at the ends.
    inner = re.sub(r"^[^a-z]+|[^a-z]+$", "", text)
    readings = (text, text.translate(_LEET), inner.translate(_LEET))
    letters = {re.sub(r"[^a-z]", "", reading) for reading in readings}
    # Digits alone are a date or a keypad's row.
    return not letters.isdisjoint(_COMMON) or (password.isdecimal() and len(password) < 12)


def _bits(text: str) -> float:
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
