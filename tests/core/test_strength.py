"""Passwords and secrets that are easily guessed."""

from __future__ import annotations

import hashlib
import random
import string

import pytest

from swaig_wsgi.core._strength import is_guessable, password_weakness

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
    ],
)
def test_a_password_has_its_worst_weakness(password, weakness):
    assert password_weakness("platform", password) == weakness


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
