"""Passwords and secrets that are easily guessed."""

from __future__ import annotations

import contextlib
import hashlib
import math
import random
import string

import pytest

from swaig_wsgi.core import _strength
from swaig_wsgi.core._strength import MIN_BITS, is_guessable, password_weakness

STRONG = "Zk3vQ8-nYt1xW6bLs0dHc9Jf"


@pytest.mark.parametrize(
    ("password", "weakness"),
    [
        ("Platform", "user"),
        ("P@ssw0rd2026!", "common"),
        ("Ch4ng3-me", "common"),
        ("19840615", "common"),
        ("Platform2026!!", "common"),
        ("platform-2026!", "common"),
        ("January2026!", "common"),
        ("Winter2026!Winter2026!", "common"),
        ("PasswordPassword1", "common"),
        ("AdminAdmin2026!", "common"),
        ("only-for-a-demo", "common"),
        ("password-93847561038475", None),
        ("0" * 21, "common"),
        ("Ab1!" * 4, "pattern"),
        ("aaaaaaaaaaaaaaaaaaaaA1!", "pattern"),
        ("1qaz2wsx3edc4rfv5tgb", "pattern"),
        ("Qwertyuiop[]1", "common"),
        ("Zaq1@wsx!QAZ", "pattern"),
        ("abcdefghijklmnopqrstuvwxyz", "pattern"),
        ("k9#Vt2!x", "short"),
        ("vktwqzbnmpl4", "simple"),
        ("vktwqzbnmpl-qrstz-wvu", None),
        ("mR7-tulip-Quartz-52", None),
        (STRONG, None),
        # The bounds: digits of an addition, different characters, repetitions, lengths, kinds.
        ("password-93847561037", "common"),
        ("password-938475610374", None),
        ("vkt7!vkt!7v!kt7vvt7k", "pattern"),
        ("vkt7!qvt!7q!kt7vqt7k", None),
        ("k9#Vt2!xmZ4q" * 2, "pattern"),
        ("k9#Vt2!xm" * 3, None),
        ("k9#Vt2!xmZ4", "short"),
        ("k9#Vt2!xmZ4q", None),
        ("vktwqzbnmpl4qrxtzvm", "simple"),
        ("vktwqzbnmpl4qrxtzvmg", None),
        ("9#2!75@0?3*8", "simple"),
    ],
)
def test_a_password_has_its_worst_weakness(password, weakness):
    assert password_weakness("platform", password) == weakness


def test_the_name_of_a_user_is_a_common_word_from_three_letters_on():
    assert password_weakness("bob", "Bob-2026!Bob-2026!") == "common"
    assert password_weakness("bo", "Bo-2026!kz") == "short"
    assert password_weakness("a.b-c d", "Abcd-2026!Abcd-2026!") == "common"


# Each entry of each table, as written here: a table that lost one would still agree with itself.
WORDS = """
aaaaaa abc abcdef abcd admin administrator agent apikey asdfgh asdfghjkl basicauth change changeit
changeme changethis chatbot correcthorsebatterystaple default demo development devpass dragon dummy
example foobar football fuckyou guest hello hunter iloveyou insecure letmein login master monkey
mypassword mysecret mysecretpassword none null pass passwd passphrase password placeholder princess
private public qazwsx qwerty qwertyuiop qwertz replaceme root sample secret secretkey secretpassword
security shadow signalwire signingkey summer sunshine superman supersecret swaig swml sysadmin temp
test tester testing testpassword todo token topsecret trustno user username verysecret voice welcome
whatever winter yourpassword yoursecret onlyforademo spring autumn fall january february march april
may june july august september october november december
""".split()  # noqa: SIM905


def digests_of(word):
    """Return the digests that this Python can make: in FIPS mode, neither MD5 nor SHA-1."""
    found = []
    for name in ("md5", "sha1", "sha256"):
        with contextlib.suppress(ValueError):
            found.append(hashlib.new(name, word.encode(), usedforsecurity=False).hexdigest())
    assert found
    return found


@pytest.mark.parametrize("word", WORDS)
def test_each_common_word_is_recognized(word):
    assert password_weakness("platform", f"{word}-2026") == "common"
    assert password_weakness("platform", f"2026!{word.title()}") == "common"
    for digest in digests_of(word):
        assert is_guessable(digest)
        assert is_guessable(digest.upper())


def test_digests_of_other_texts_are_not_guessable():
    for text in (b"XX", b"Password", b"", b"correct horse"):
        assert not is_guessable(hashlib.sha256(text).hexdigest())


@pytest.mark.parametrize(
    ("sign", "letter"),
    [
        *(("0", "o"), ("1", "i"), ("3", "e"), ("4", "a"), ("5", "s"), ("7", "t")),
        *(("@", "a"), ("$", "s"), ("!", "i")),
    ],
)
def test_each_sign_that_stands_for_a_letter_is_recognized(sign, letter):
    word = next(each for each in WORDS if letter in each[1:-1] and len(each) > 4)
    disguised = word[0] + word[1:-1].replace(letter, sign) + word[-1]
    assert password_weakness("platform", f"{disguised}-26") == "common"


@pytest.mark.parametrize(
    "row",
    [
        *("1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./", "qwertzuiop", "azertyuiop"),
        *("1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm", "8ik,", "9ol.", "0p;/"),
        *("qazwsxedcrfvtgbyhnujmikolp", "abcdefghijklmnopqrstuvwxyz", "aaa", "!@#$%^&*()"),
    ],
)
def test_neighbors_on_the_keyboard_and_in_the_alphabet_are_steps(row):
    for way in (row, row[::-1]):
        assert all(_strength._steps(way))
    assert not any(_strength._steps("acegmqk;"))


@pytest.mark.parametrize(
    ("text", "counted", "pool"),
    [
        ("", 0, 1),
        ("kvtxqzmwrj", 10, 26),
        ("KVTXQZMWRJ", 10, 26),
        ("kvtXQZmwrj", 10, 52),
        ("kvt7xqz", 7, 36),
        ("k?v!z.t;", 8, 59),
        ("K4v?9T!x", 8, 95),
        # Hexadecimal digits, in one case; hyphens are those of a UUID.
        ("9e0b7d3f5a", 10, 16),
        ("9E0B7D3F5A", 10, 16),
        ("9e0b-7d3f-5a", 10, 16),
        ("9e0B7D3f5a", 10, 62),
        # Few different characters, and repetitions.
        ("kvtxrrxtvkrvkxt", 15, 5),
        ("kvtxrmmrxtvkmrvkxt", 18, 26),
        ("kvtxmrkvtxmr", 6, 26),
        # Common words of more than three letters count as one character, runs as two.
        ("vxzpasswordmtq", 7, 26),
        ("vxzPASSWORDmtq", 7, 52),
        ("vxzrootmtq", 7, 26),
        ("vxwmayqk", 8, 26),
        ("kvmcdefzmt", 8, 26),
        ("kvx1234zmt", 8, 36),
    ],
)
def test_what_counts_of_a_secret(text, counted, pool):
    assert _strength._bits(text) == pytest.approx(counted * math.log2(pool))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tulip-quartz", 2),
        ("Tulip QUARTZ.lamp", 3),
        ("tuLip-quartz", None),
        ("tulip-qrtz", None),
        ("tulip7-quartz", None),
        ("tulipquartz", None),
        ("tulip-", None),
    ],
)
def test_words_with_separators_are_a_passphrase(text, words):
    assert (_strength._bits(text) == 13 * (words or 0)) is (words is not None)


def test_less_than_80_bits_are_few():
    assert MIN_BITS == 80
    # Four bits a digit.
    assert not is_guessable("9e0b7d3f5a1c8e6b2d40")
    assert is_guessable("9e0b7d3f5a1c8e6b2d4")
    # What is behind 128 characters does not count. A run counts as two.
    assert not is_guessable("7" * 110 + "9e0b7d3f5c1c8e6b2d")
    assert is_guessable("7" * 111 + "9e0b7d3f5c1c8e6b2d")


@pytest.mark.parametrize(
    ("secret", "guessable"),
    [
        ("a" * 24, True),
        (b"a" * 24, True),
        ("0123456789abcdef-secret", True),
        ("changeme-changeme-changeme", True),
        ("", True),
        ("5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8", True),
        ("the-quick-brown-fox-jumps-over", True),
        ("the-quick-brown-fox-jumps-over-dogs", False),
        ("qazwsxedcrfvtgbyhnujmikolp", True),
        ("12345678-1234-1234-1234-123456789012", True),
        ("3f1c9a52-7d0e-4b68-9c3a-e5d27f80b416", False),
        ("ab" * 11 + "X", True),
        ("aabbccddeeffaabbccddeeff00", True),
        (STRONG, False),
        (STRONG.encode(), False),
        (bytes(range(128, 160)), True),
        ("0f4d1b7a9c3e5d8f2a6b0c9d7e1f3a5b", False),
    ],
)
def test_a_secret_of_less_than_80_bits_is_guessable(secret, guessable):
    assert is_guessable(secret) is guessable


def test_random_secrets_and_passwords_are_not_weak():
    generator = random.Random(7)  # noqa: S311 - no secret
    for _ in range(2000):
        letters = string.ascii_letters + string.digits + "-_"
        text = "".join(generator.choices(letters, k=22))
        assert not is_guessable(text), text
        assert password_weakness("platform", text) is None, text
        assert not is_guessable(generator.randbytes(16).hex())
        text = "".join(generator.choices(letters, k=12))
        assert password_weakness("platform", text) in (None, "simple"), text


def test_attack_long_passwords_take_no_time():
    for text in ("admin" * 20_000 + "x", "a" * 100_000, "test" * 20_000 + "!"):
        password_weakness("admin", text)
        assert is_guessable(text)


def test_a_digest_that_the_library_refuses_is_not_compared(monkeypatch):
    def refuse(name, *args, **options):
        raise ValueError("disabled for FIPS")

    digest = hashlib.sha256(b"password").hexdigest()
    assert is_guessable(digest)
    monkeypatch.setattr(hashlib, "new", refuse)
    assert not is_guessable(digest)
