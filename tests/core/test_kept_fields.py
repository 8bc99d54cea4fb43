"""Fields of an authenticating proxy: which may be kept, and which values."""

from __future__ import annotations

import pytest

from swaig_wsgi.core.kept_fields import CLIENT_FIELDS, is_single_value, kept_fields

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


# Each entry of each table, as written here: a table that lost one would still agree with itself.
CLIENT = """
CF-Connecting-IP Client-IP Fastly-Client-IP Fly-Client-IP Forwarded Front-End-Https True-Client-IP
X-Azure-ClientIP X-Client-IP X-Cluster-Client-IP X-Envoy-External-Address X-Host
X-Original-Forwarded-For X-Original-Host X-Original-URL X-Real-IP X-Rewrite-URL X-Scheme
X-Script-Name X-URL-Scheme
""".split()  # noqa: SIM905
INTERPRETED = """
Authorization Connection Content-Length Content-Type Content- Cookie Expect Host Origin
Sec-Fetch-Site Sec- TE Trailer Transfer-Encoding Upgrade X-Request-Id
X-Forwarded-By X-Forwarded-For X-Forwarded-Host X-Forwarded-Path X-Forwarded-Port
X-Forwarded-Prefix X-Forwarded-Proto X-Forwarded-Protocol X-Forwarded-Scheme X-Forwarded-Server
X-Forwarded-SSL X-Forwarded-URI X-Forwarded-URL X-Original-Uri X-Rewrite-Uri
ClientIP Client-IP X-New-Client-IP Connecting-IP New-Connecting-IP External-Address
New-External-Address
""".split()  # noqa: SIM905


def test_the_fields_of_clients_are_those_of_the_table():
    assert {f"HTTP_{name.upper().replace('-', '_')}" for name in CLIENT} == CLIENT_FIELDS


@pytest.mark.parametrize("name", [*CLIENT, *INTERPRETED])
def test_fields_with_a_meaning_of_their_own_are_rejected(name):
    for spelling in (name, name.lower(), name.upper()):
        with pytest.raises(ValueError, match=f"keep: {spelling} has a meaning of its own"):
            kept_fields([spelling])


@pytest.mark.parametrize(
    "name", ["X-TE", "Hosts", "Cookie-X", "Origin2", "X-Expect", "Upgrades", "X-Groups-Id"]
)
def test_names_that_only_resemble_them_are_kept(name):
    assert [*kept_fields([name]).values()] == [name]


@pytest.mark.parametrize(
    "name", ["Groups", "X-Forwarded-Groups", "x-auth-request-groups", "Remote-ROLES", "X-Scopes"]
)
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


def test_the_error_about_a_lone_string_shows_a_sequence():
    with pytest.raises(TypeError, match=r"such as \('X-Forwarded-User',\), not str"):
        kept_fields(USER)


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
