"""Credentials: read as by Werkzeug's Authorization, and only the right ones are accepted."""

from __future__ import annotations

import base64
import re

from fuzz.strategies import ANY_TEXT, AUTHORIZATIONS, OCTETS, spoiled
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Authorization

from swaig_wsgi import AuthHandler
from swaig_wsgi.core.auth import is_repeated, parse_authorization, parse_basic

USER, PASSWORD = "d\xe9mo", "p@ss:w/\xf6rd-1"
TOKEN, KEY = "a-bearer-token-0123", "an-api-key-01234567"
VALUES = AUTHORIZATIONS | spoiled(st.just(f"Bearer {TOKEN}"))


def pair_of_werkzeug(value: str) -> tuple[str, str] | None:
    try:
        found = Authorization.from_header(value)
    except ValueError:  # It does not catch the one for characters that are not ASCII.
        return None
    if found is None or found.type != "basic":
        return None
    return str(found.username), str(found.password)


def refused_by_rule(value: str) -> bool:
    """Return whether we refuse Basic credentials that Werkzeug reads.

    - RFC 9110 section 11.4: nothing but spaces stands between scheme and credentials, and nothing
      follows them.
    - RFC 7617 section 2: user and password are separated by a colon, and contain no control
      characters.
    - RFC 4648 section 3.5: the unused bits are zero; otherwise there would be many credentials for
      one password.
    """
    credentials = value.partition(" ")[2].lstrip(" ")
    octets = base64.b64decode(credentials.strip(" \t"))
    return (
        credentials != base64.b64encode(octets).decode()
        or b":" not in octets
        or re.search("[\x00-\x1f\x7f-\x9f]", octets.decode()) is not None
    )


def pair_of_ours(value: str) -> tuple[str, str] | None:
    parsed = parse_authorization(value)
    if parsed is None or parsed.scheme != "basic":
        return None
    return parse_basic(parsed.credentials)


@given(AUTHORIZATIONS)
def test_a_pair_is_read_as_by_werkzeug(value: str) -> None:
    ours, theirs = pair_of_ours(value), pair_of_werkzeug(value)
    if theirs is not None and refused_by_rule(value):
        theirs = None
    elif theirs is None and ours is not None:
        # Many clients send Latin-1, which is not UTF-8 here (RFC 7617 section 2.1 leaves the
        # charset open where the challenge is ignored).
        octets = base64.b64decode(value.split(" ")[-1])
        assert not is_utf8(octets)
        theirs = tuple(octets.decode("latin-1").split(":", 1))
    assert ours == theirs


def is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(VALUES)
def test_a_token_is_read_as_by_werkzeug(value: str) -> None:
    ours = parse_authorization(value)
    if ours is None or ours.scheme == "basic":
        return
    theirs = Authorization.from_header(value)
    assert theirs is not None
    assert theirs.type == ours.scheme
    if theirs.token is not None:
        # Without parameters. Werkzeug also strips what surrounds the token.
        assert theirs.token == ours.credentials
    assert not is_repeated(value) or "," not in ours.credentials


HANDLER_ARGUMENTS = {"basic_auth": (USER, PASSWORD), "bearer_token": TOKEN, "api_key": KEY}


@given(
    st.none() | VALUES | st.text(OCTETS) | ANY_TEXT,
    st.none() | spoiled(st.just(KEY)) | ANY_TEXT,
)
def test_only_the_right_credentials_are_accepted(value: str | None, key: str | None) -> None:
    handler = AuthHandler(**HANDLER_ARGUMENTS)
    headers = {"Authorization": value, "X-API-Key": key}
    result = handler.authenticate(
        {name: text for name, text in headers.items() if text is not None}
    )
    right = key == KEY
    if value is not None:
        right = right or re.fullmatch(f"(?i:bearer) +{TOKEN}", value) is not None
        if value.isascii():
            octets = f"{USER}:{PASSWORD}".encode(), f"{USER}:{PASSWORD}".encode("latin-1")
            parts = value.split(" ")
            right = right or (
                parts[0].lower() == "basic"
                and set(parts[1:-1]) <= {""}
                and parts[-1] in {base64.b64encode(each).decode() for each in octets}
            )
        # Several fields, joined by a server: the application may use another one than was checked.
        right = right and not is_repeated(value)
    assert (result is not None) is right
