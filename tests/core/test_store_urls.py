from __future__ import annotations

import traceback
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core.store_urls import check_store_url, redis_nodes, split_prefix, sqlite_path

GOOD = [
    "memory://",
    "sqlite://",
    "sqlite:///relative.db",
    "sqlite:////absolute/with space/%20/#/store.db",
    "sqlite:///C:\\store.db",
    "redis://",
    "redis://host",
    "redis://host:6379",
    "redis://host:6379/",
    "redis://host:6379/15",
    "redis://[::1]:6379/0",
    "redis://:password@host",
    "redis://user:p%40ss%2Fw%3F%23@host:1/0?db=3",
    "redis://host:1/123456789?db=123456789",
    "redis://host?prefix=a%3A",
    "redis://host/0?prefix=",
    "redis://host?prefix=a://b?c",
    "rediss://host?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
    "rediss://host?ssl_cert_reqs=none&ssl_check_hostname=false",
    "rediss://host?ssl_cert_reqs=none",
    "rediss://host?ssl_cert_reqs=optional&ssl_check_hostname=true",
    "rediss://host?ssl_cert_reqs=required&ssl_check_hostname=false",
    "unix:///s",
    "unix:///run/redis.sock",
    "unix://user:password@/run/redis.sock?db=1&prefix=a",
    "unix:///run/redis.sock?username=u&password=p",
    "redis+sentinel://host/service",
    "redis+sentinel://a:26379,b:26380,[::1]:1,10.0.0.1/my-master.1_?db=3&prefix=a%3A",
    "redis+sentinel://user:p%40ss%2Fw%3F%23@a,b/service?sentinel_password=%23",
    "rediss+sentinel://:password@a,b/service?ssl_ca_certs=/ca.pem&sentinel_username=u",
    "redis+cluster://host",
    "redis+cluster://a:6379,b:6380,[::1]:1,10.0.0.1?prefix=a%3A",
    "redis+cluster://user:p%40ss@a,b/0?db=0",
    "redis+cluster://a:1,b:65535?prefix=a://b?c",
    "rediss+cluster://:password@a/?ssl_check_hostname=false",
]

BAD = [
    ("", "memory://"),
    ("memory", "memory://"),
    ("memory:", "memory://"),
    ("Redis://host", "memory://"),
    ("hunter2", "memory://"),
    ("http://hunter2", "memory://"),
    ("sqlite:/hunter2.db", "memory://"),
    (" redis://host", "memory://"),
    ("redis://host\n", "control"),
    ("redis://ho\0st", "control"),
    ("redis://host\ud800", "control"),
    ("sqlite:///a\tb", "control"),
    ("memory://hunter2", "nothing after"),
    ("sqlite://hunter2.db", "third slash"),
    ("sqlite://user:hunter2@host/x.db", "third slash"),
    ("sqlite://hunter2.db/", "third slash"),
    ("sqlite:///", "a path"),
    ("sqlite:///:memory:", "memory://"),
    ("sqlite:///x.db?mode=hunter2", "no options"),
    ("redis://host:hunter2", "percent-encoded"),
    ("redis://host:99999", "percent-encoded"),
    ("redis://host:0", "percent-encoded"),
    ("redis://[::1", "percent-encoded"),
    ("redis://[hunter2]", "percent-encoded"),
    ("redis://:hunter/2@host", "percent-encoded"),
    ("redis://:1/hunter2@host", "percent-encoded"),
    ("redis://:hunter#2@host", "percent-encoded"),
    ("redis://:1?hunter2@host", "no options but"),
    ("redis://:hunter?db=2@host", "percent-encoded"),
    ("redis://:1?db=2@host", "option db"),
    ("redis://host/hunter2", "number of a database"),
    ("redis://host/-1", "number of a database"),
    ("redis://host/1234567890", "number of a database"),
    ("redis://host/\u0663", "number of a database"),
    ("redis://host/0/1", "number of a database"),
    ("redis://host?db=hunter2", "option db"),
    ("redis://host?db=", "option db"),
    ("redis://host?db=1&db=2", "each once"),
    ("redis://host?socket_timeout=60", "no options but db, prefix"),
    ("redis://host?ssl_cert_reqs=none", "no options but db, prefix"),
    ("redis://host?password=hunter2", "no options but db, prefix"),
    ("rediss://host?ssl_cert_reqs=hunter2", "ssl_cert_reqs"),
    ("rediss://host?ssl_check_hostname=hunter2", "ssl_check_hostname"),
    ("unix://run/redis.sock", "third slash"),
    ("unix://", "third slash"),
    ("unix:///", "third slash"),
    ("unix:///run/redis.sock?ssl_cert_reqs=none", "no options but"),
    ("rediss://host?ssl_cert_reqs=none&ssl_check_hostname=true", "ssl_check_hostname=true"),
    ("redis+sentinels://hunter2", "memory://"),
    ("valkey+cluster://hunter2", "memory://"),
    ("redis+sentinel://hunter2", "name of the service"),
    ("redis+sentinel://host/", "name of the service"),
    ("redis+sentinel://host/service/hunter2", "name of the service"),
    ("redis+sentinel://:1/hunter2@host/service", "after the hosts"),
    ("redis+sentinel://:1?hunter2@host/service", "after the hosts"),
    ("redis+sentinel://:hunter#2@host/service", "after the hosts"),
    ("redis+sentinel://host/service?db=hunter2", "option db"),
    ("redis+sentinel://host/service?socket_timeout=60", "no options but db, prefix, sentinel_"),
    ("redis+sentinel://host/service?ssl_ca_certs=x", "no options but db, prefix, sentinel_"),
    ("redis+sentinel:///service", "host 1 or its port"),
    ("redis+cluster://", "host 1 or its port"),
    ("redis+cluster://a,,b", "host 2 or its port"),
    ("redis+cluster://a, b", "host 2 or its port"),
    ("redis+cluster://a,b:hunter2", "host 2 or its port"),
    ("redis+cluster://a:0", "host 1 or its port"),
    ("redis+cluster://a:65536", "host 1 or its port"),
    ("redis+cluster://a:\u0663", "host 1 or its port"),
    ("redis+cluster://a:000001", "host 1 or its port"),
    ("redis+cluster://[::1", "host 1 or its port"),
    ("redis+cluster://[1::2::3]:5", "host 1 or its port"),
    ("redis+cluster://a/1", "no database but 0"),
    ("redis+cluster://a/hunter2", "no database but 0"),
    ("redis+cluster://a?db=1", "no database but 0"),
    ("redis+cluster://a?db=hunter2", "option db"),
    ("redis+cluster://a?prefix=%7Bb", "no braces"),
    ("redis+cluster://a?prefix=b%7D", "no braces"),
    ("redis+cluster://a?sentinel_password=hunter2", "no options but db, prefix in"),
    ("rediss+cluster://a?ssl_cert_reqs=hunter2", "ssl_cert_reqs"),
]


@pytest.mark.parametrize("url", GOOD)
def test_lets_a_good_url_through_as_it_is(url):
    assert check_store_url(url) == url


@pytest.mark.parametrize(("url", "expected"), BAD)
def test_refuses_a_bad_url_and_says_what_was_expected(url, expected):
    with pytest.raises(ValueError, match=expected) as caught:
        check_store_url(url)
    # Not in what a log shows of it either.
    error = caught.value
    assert error.__context__ is None
    shown = "".join(traceback.format_exception_only(type(error), error))
    assert "hunter" not in shown


def test_the_error_about_an_unknown_form_lists_all_forms():
    with pytest.raises(ValueError, match="memory") as caught:
        check_store_url("http://host")
    assert str(caught.value) == (
        "expected memory://, sqlite://, sqlite:///path, redis://, unix:///path, "
        "redis+sentinel://host:port/service or redis+cluster://host:port; "
        "over TLS rediss://, rediss+sentinel:// or rediss+cluster://"
    )


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("redis://host", "db prefix"),
        ("unix:///a.sock", "db prefix username password"),
        ("redis+sentinel://host/service", "db prefix sentinel_username sentinel_password"),
        ("redis+cluster://host", "db prefix"),
    ],
)
def test_each_option_is_accepted_where_it_belongs(scheme, options):
    tls = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
    values = {"ssl_cert_reqs": "required", "ssl_check_hostname": "true"}
    every = {*tls, *("db", "prefix", "username", "password", "sentinel_username"), "other"}
    for option in every:
        given = f"?{option}={values.get(option, '0')}"
        url = scheme + given
        if option in options.split():
            assert check_store_url(url) == url
        else:
            assert "no options but" in str(refusal(url))
        if not scheme.startswith("unix"):
            url = f"rediss{scheme[5:]}{given}"
            assert (refusal(url) is None) == (option in {*tls, *options.split()})


@pytest.mark.parametrize(
    "url", [None, 5, True, b"redis://:hunter2@host", ["redis://:hunter2@host"]]
)
def test_refuses_what_is_no_text_and_says_what_was_expected(url):
    with pytest.raises(ValueError, match=f"expected text, not {type(url).__name__}") as caught:
        check_store_url(url)
    assert "hunter" not in str(caught.value)


@given(
    st.text(min_size=1),
    st.sampled_from(
        [
            "redis://:{}@host",
            "redis://{}",
            "{}",
            "unix://{}",
            "redis+sentinel://{}",
            "redis+sentinel://:{}@host/service",
            "redis+cluster://{}",
            "redis+cluster://host?{}",
        ]
    ),
)
def test_no_error_repeats_a_part_of_the_url(secret, form):
    error = refusal(form.format(f"hunter2{secret}hunter2"))
    assert "hunter2" not in str(error)
    assert error is None or error.__context__ is None


def refusal(url):
    try:
        check_store_url(url)
    except ValueError as error:
        return error
    return None


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_password_can_be_given(password):
    quoted = quote(password, safe="")
    check_store_url(f"redis://user:{quoted}@host:6379/0?prefix=a")
    nodes = redis_nodes(f"redis+sentinel://user:{quoted}@host/name?sentinel_password={quoted}")
    assert (nodes.username, nodes.password) == ("user", password)
    assert nodes.options == {"sentinel_password": password}
    assert redis_nodes(f"redis+cluster://:{quoted}@host").password == password


def test_the_parts_of_a_url_of_sentinels():
    nodes = redis_nodes("redis+sentinel://:hunter2@a,[::1]:1/service?db=2&prefix=x?y")
    assert nodes.addresses == (("a", 26379), ("::1", 1))
    assert nodes.service == "service"
    assert nodes.tls is False
    assert (nodes.username, nodes.password) == (None, "hunter2")
    assert nodes.options == {"db": "2"}
    assert "hunter2" not in repr(nodes)
    assert "hunter2" not in repr(redis_nodes("redis+sentinel://a/b?sentinel_password=hunter2"))


@pytest.mark.parametrize(
    ("login", "user", "password"),
    [("u:p", "u", "p"), ("u:a:b", "u", "a:b"), ("u:a@b", "u", "a@b"), ("u", "u", None)],
)
def test_the_login_of_nodes_ends_at_the_last_at_and_the_user_at_the_first_colon(
    login, user, password
):
    nodes = redis_nodes(f"redis+cluster://{login}@host")
    assert (nodes.username, nodes.password) == (user, password)
    assert nodes.addresses == (("host", 6379),)


def test_the_parts_of_a_url_of_a_cluster():
    nodes = redis_nodes("rediss+cluster://a,b:1?db=0&ssl_ca_certs=/ca.pem")
    assert nodes.addresses == (("a", 6379), ("b", 1))
    assert nodes.service is None
    assert nodes.tls is True
    assert (nodes.username, nodes.password) == (None, None)
    assert nodes.options == {"ssl_ca_certs": "/ca.pem"}


@pytest.mark.parametrize("url", ["memory://", "sqlite://", "redis://host", "unix:///a.sock"])
def test_other_urls_have_no_nodes(url):
    assert redis_nodes(url) is None


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite://", None),
        ("sqlite:///relative.db", "relative.db"),
        ("sqlite:////absolute.db", "/absolute.db"),
        ("sqlite:///a%20b.db", "a%20b.db"),
    ],
)
def test_the_path_of_an_sqlite_url(url, path):
    assert sqlite_path(url) == path


@pytest.mark.parametrize(
    ("url", "rest", "prefix"),
    [
        ("redis://host/0", "redis://host/0", None),
        ("redis://", "redis://", None),
        ("redis://host?prefix=a%3A%20", "redis://host", "a: "),
        ("redis://host?prefix=", "redis://host", ""),
        ("redis://host?prefix=a?b", "redis://host", "a?b"),
        ("unix:///a.sock?db=1&prefix=b", "unix:///a.sock?db=1", "b"),
        (
            "unix://u:p%40@/a.sock?password=%26+%3D&prefix=b",
            "unix://u:p%40@/a.sock?password=%26+%3D",
            "b",
        ),
    ],
)
def test_the_prefix_of_a_redis_url(url, rest, prefix):
    assert split_prefix(url) == (rest, prefix)
