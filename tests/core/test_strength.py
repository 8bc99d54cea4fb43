"""Passwords and secrets that are easily guessed."""

from __future__ import annotations

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
        (STRONG, False),
        (STRONG.encode(), False),
        (bytes(range(128, 160)), True),
        ("0f4d1b7a9c3e5d8f2a6b0c9d7e1f3a5b", False),
    ],
)
def test_a_secret_of_less_than_80_bits_is_guessable(secret, guessable):
    assert is_guessable(secret) is guessable
