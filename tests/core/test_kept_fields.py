"""Fields of an authenticating proxy: which may be kept, and which values."""

from __future__ import annotations

import pytest

from swaig_wsgi.core.kept_fields import is_single_value, kept_fields

USER = "X-Forwarded-User"


def test_names_become_keys_of_environ():
    names = (USER, "x-forwarded-email", "X-Forwarded-Preferred-Username", "Remote-User", "X-Auth2")
    assert kept_fields(names) == {
        "HTTP_X_FORWARDED_USER": USER,
        "HTTP_X_FORWARDED_EMAIL": "x-forwarded-email",
        "HTTP_X_FORWARDED_PREFERRED_USERNAME": "X-Forwarded-Preferred-Username",
        "HTTP_REMOTE_USER": "Remote-User",
        "HTTP_X_AUTH2": "X-Auth2",
    }
    assert kept_fields(()) == {}


@pytest.mark.parametrize(
    "name",
    [
        *("X-Forwarded-For", "X-Forwarded-Proto", "x-forwarded-host", "X-Forwarded-Port"),
        *("X-Forwarded-Prefix", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "Forwarded"),
        *("X-Real-IP", "X-Client-IP", "Client-IP", "CF-Connecting-IP", "True-Client-IP"),
        *("X-Envoy-External-Address", "X-Original-URL", "X-Rewrite-URL", "Front-End-Https"),
        *("Host", "Cookie", "Authorization", "Content-Length", "Content-Type", "Origin"),
        *("Transfer-Encoding", "Sec-Fetch-Site", "X-Request-Id"),
    ],
)
def test_fields_with_a_meaning_of_their_own_are_rejected(name):
    with pytest.raises(ValueError, match=f"keep: {name} has a meaning of its own"):
        kept_fields([name])


@pytest.mark.parametrize("name", ["X-Forwarded-Groups", "x-auth-request-groups", "Remote-Roles"])
def test_lists_are_rejected(name):
    with pytest.raises(ValueError, match=f"keep: {name} is a list"):
        kept_fields([name])


@pytest.mark.parametrize(
    "name", ["", "X_Forwarded_User", "X-Forwarded_User", "X User", "X-Üser", "-X", "X-User\n", "X:"]
)
def test_attack_a_name_that_servers_may_read_as_another_is_rejected(name):
    with pytest.raises(ValueError, match="letters, digits and hyphens"):
        kept_fields([name])


@pytest.mark.parametrize(
    ("names", "error"),
    [(USER, TypeError), ([1], TypeError), (None, TypeError), ([USER, USER.lower()], ValueError)],
)
def test_invalid_sequences_are_rejected(names, error):
    with pytest.raises(error, match="keep"):
        kept_fields(names)


@pytest.mark.parametrize(
    "value", ["a", "ann", "ann@a.example", "Ann B", "Ann (x)", "Zo\xc3\xab", "+-"]
)
def test_single_values(value):
    assert is_single_value(value)


@pytest.mark.parametrize(
    "value",
    ["", " ", "ann,bob", "ann, bob", ",ann", "ann,", " ann", "ann ", "a\tb", "a\nb", "a\0", "\x7f"],
)
def test_attack_several_values_joined_by_a_server_are_not_one(value):
    assert not is_single_value(value)
