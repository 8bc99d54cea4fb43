"""How easily passwords and secrets are guessed, judged by their values.

No result contains a value: a handler that stores only digests may store what is weak.
"""

from __future__ import annotations

import hashlib
import math
import re

__all__ = ["MIN_BITS", "is_guessable", "password_weakness"]

#: An offline search of 2**80 values is out of reach; a tool token lets one try offline.
MIN_BITS = 80

#: The most common passwords of published leaks, and the defaults of guides and examples, and
#: months and seasons: the letters alone.
_WORDS = """
    aaaaaa abc abcdef abcd admin administrator agent apikey asdfgh asdfghjkl basicauth change
    changeit changeme changethis chatbot correcthorsebatterystaple default demo development devpass
    dragon dummy example foobar football fuckyou guest hello hunter iloveyou insecure letmein login
    master monkey mypassword mysecret mysecretpassword none null pass passwd passphrase password
    placeholder princess private public qazwsx qwerty qwertyuiop qwertz replaceme root sample secret
    secretkey secretpassword security shadow signalwire signingkey summer sunshine superman
    supersecret swaig swml sysadmin temp test tester testing testpassword todo token topsecret
    trustno user username verysecret voice welcome whatever winter yourpassword yoursecret
    onlyforademo spring autumn fall january february march april may june july august september
    october november december
"""
_COMMON = frozenset(_WORDS.split())
_LONGEST_FIRST = sorted(_COMMON, key=len, reverse=True)

#: Digits and signs that stand for letters, and signs for the digits on their keys.
_LEET = str.maketrans("013457@$!", "oieastasi")
_SHIFTED = str.maketrans("!@#$%^&*()", "1234567890")

#: Rows and columns of keyboards. A pair of neighbors is a step, in any direction.
_WALKS = (
    "1234567890-= qwertyuiop[] asdfghjkl;' zxcvbnm,./ qwertzuiop azertyuiop "
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/ qazwsxedcrfvtgbyhnujmikolp"
)
_STEPS = frozenset(pair for way in (_WALKS, _WALKS[::-1]) for pair in zip(way, way[1:]))

_CLASSES = {r"[0-9]": 10, r"[a-z]": 26, r"[A-Z]": 26, r"[^0-9a-zA-Z]": 33}

#: The unsalted digests that are taken for random text, by their length in hexadecimal.
_DIGESTS = {32: "md5", 40: "sha1", 64: "sha256"}

#: Of a word of a passphrase, one of a list of about 7,800 (diceware).
_BITS_OF_WORD = 13

#: What is judged of a text, in characters. Some of the work grows faster than the length.
_MAX_LENGTH = 128


def password_weakness(user: str, password: str) -> str | None:
    """Return the worst that is wrong with a password, or None.

    Returns:
        ``"user"``: it is the user's name; ``"common"``: it consists of common words or that name,
        with a few digits and signs; ``"pattern"``: of few characters, of a repetition, or of keys
        that are neighbors; ``"short"``: fewer than 12 characters; ``"simple"``: fewer than 20, of
        fewer than three kinds.
    """
    text = password[:_MAX_LENGTH].lower()
    unit = _unit(text)
    if password.lower() == user.lower():
        return "user"
    if _is_common(unit, re.sub(r"[^a-z]", "", user.lower())):
        return "common"
    if len(set(text)) <= 5 or 4 * sum(_steps(text)) >= 3 * len(text) or len(unit) < len(text) <= 24:
        return "pattern"
    if len(password) < 12:
        return "short"
    return "simple" if len(password) < 20 and _classes(password) < 3 else None


def is_guessable(secret: str | bytes) -> bool:
    """Return whether a secret or key has less than 80 bits of entropy."""
    secret = secret[:_MAX_LENGTH]
    text = secret.decode("latin-1") if isinstance(secret, bytes) else secret
    return _is_digest(text.lower()) or _bits(text) < MIN_BITS


def _is_common(text: str, user: str) -> bool:
    """Return whether `text` consists of common words, also with digits or signs added."""
    # In leet, digits and signs stand for letters, but not those that are added at the ends.
    inner = re.sub(r"^[^a-z]+|[^a-z]+$", "", text)
    readings = (text, text.translate(_LEET), inner.translate(_LEET))
    letters = {re.sub(r"[^a-z]", "", reading) for reading in readings}
    words = [*_LONGEST_FIRST, user] if len(user) > 2 else _LONGEST_FIRST
    # Digits alone are a date or a keypad's row; many of them are no addition.
    if len(re.sub(r"[^0-9]", "", text)) > 11:
        return False
    return text.isdecimal() or any(_consists_of(words, each) for each in letters if each)


def _consists_of(words: list[str], text: str) -> bool:
    # Where a word may end; the work does not grow with the number of ways to split the text.
    ends = {0}
    for start in range(len(text)):
        if start in ends:
            ends.update(start + len(each) for each in words if text.startswith(each, start))
    return len(text) in ends


def _is_digest(text: str) -> bool:
    name = _DIGESTS.get(len(text))
    if name is None:
        return False
    try:
        digests = [hashlib.new(name, word.encode(), usedforsecurity=False) for word in _COMMON]
    except ValueError:  # FIPS 140: the library has no MD5
        return False
    return any(each.hexdigest() == text for each in digests)


def _unit(text: str) -> str:
    """Return what `text` repeats, as a whole; `text` itself if it repeats nothing."""
    return text[: (text + text).find(text, 1)] if text else text


def _steps(text: str) -> list[bool]:
    """Return for each character but the first whether it is near the one before it: a neighbor
    on the keyboard or in the alphabet, or equal."""
    keys = text.translate(_SHIFTED)
    return [(a, b) in _STEPS or abs(ord(a) - ord(b)) <= 1 for a, b in zip(keys, keys[1:])]


def _bits(text: str) -> float:
    """Estimate the entropy of `text` from above, in bits.

    Each character counts as if it were random, among the kinds of characters that occur, except
    those that can be foretold: of common words, of runs on the keyboard or in the alphabet
    (``aaaa``, ``1234``) and of repetitions of the whole. Words count as those of a passphrase.
    """
    # Hexadecimal text, such as a UUID, has no more than 4 bits a character.
    if re.fullmatch(r"[0-9a-f-]*|[0-9A-F-]*", text):
        text = text.replace("-", "")
        pool = 16
    else:
        pool = sum(size for each, size in _CLASSES.items() if re.search(each, text))
    if len(set(text)) <= 5:
        pool = len(set(text))
    plain = _unit(text).lower()
    for word in _LONGEST_FIRST:
        if len(word) > 3:
            plain = plain.replace(word, "\0")
    steps = _steps(plain)
    # The third character of a run is the first that can be foretold.
    foretold = sum(before and after for before, after in zip(steps, steps[1:]))
    found = (len(plain) - foretold) * math.log2(pool) if pool else 0.0
    words = re.split(r"[^0-9A-Za-z]+", text)
    if len(words) > 1 and all(map(_is_word, words)):
        found = min(found, _BITS_OF_WORD * len(words))
    return found


def _is_word(text: str) -> bool:
    # Random letters have mixed cases, and many have no vowel.
    cased = text.islower() or text.istitle() or text.isupper()
    return cased and text.isalpha() and re.search(r"[aeiouyAEIOUY]", text) is not None


def _classes(password: str) -> int:
    return sum(re.search(each, password) is not None for each in _CLASSES)
