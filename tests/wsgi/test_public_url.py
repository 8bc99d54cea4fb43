from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wsgi import environ

from swaig_wsgi.wsgi import public_base_url, public_request_url

BASE = "https://public.example/agents"


def make_environ(prefix: str | None = None, **extra: Any) -> dict[str, Any]:
    """Return the environ of ``http://h.example/swaig``, with a forwarded `prefix` and `extra`."""
    forwarded = {"swaig_wsgi.forwarded_prefix": prefix}
    return environ("GET", "/swaig", **{"HTTP_HOST": "h.example", **forwarded, **extra})


def both(values: dict[str, Any], base_url: str | None = None) -> tuple[str, str]:
    return public_base_url(values, base_url), public_request_url(values, base_url)


def test_urls_use_the_scheme_and_host_of_the_request() -> None:
    assert both(make_environ()) == ("http://h.example", "http://h.example/swaig")
    assert both(make_environ(wsgi_url_scheme="https", HTTP_HOST="h.example:8443")) == (
        "https://h.example:8443",
        "https://h.example:8443/swaig",
    )


@pytest.mark.parametrize(
    ("scheme", "host", "expected"),
    [
        ("http", "H.Example", "http://h.example"),
        ("http", "h.example.", "http://h.example"),
        ("http", "h.example:80", "http://h.example"),
        ("https", "h.example:443", "https://h.example"),
        ("https", "h.example:80", "https://h.example:80"),
        ("http", "[::1]:3000", "http://[::1]:3000"),
        ("http", "[0:0::1]", "http://[::1]"),
        ("HTTPS", "h.example", "https://h.example"),
    ],
)
def test_the_base_is_normalized(scheme: str, host: str, expected: str) -> None:
    assert public_base_url(make_environ(wsgi_url_scheme=scheme, HTTP_HOST=host)) == expected


def test_the_host_of_a_request_url_is_kept_as_sent() -> None:
    values = make_environ(HTTP_HOST="H.Example:80", RAW_URI="/swaig")
    assert public_request_url(values) == "http://H.Example:80/swaig"


@pytest.mark.parametrize(
    ("name", "port", "expected"),
    [
        ("h.example", "80", "http://h.example"),
        ("h.example", "3000", "http://h.example:3000"),
        ("::1", "3000", "http://[::1]:3000"),
        ("[::1]", "80", "http://[::1]"),
    ],
)
def test_without_a_host_the_server_name_is_used(name: str, port: str, expected: str) -> None:
    values = make_environ(HTTP_HOST=None, SERVER_NAME=name, SERVER_PORT=port)
    values.pop("HTTP_HOST", None)
    assert both(values) == (expected, expected + "/swaig")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "user:password@h.example",
        "h.example,evil.example",
        "h.example evil",
        "h.example/evil",
        "h.example?evil",
        "h.example#evil",
        "h.example\\evil",
        "h.example:0",
        "h.example:99999",
        "h\r\n",
        "[::1",
        "ä.example",
    ],
)
def test_a_malformed_host_raises_unless_a_base_is_configured(host: str) -> None:
    values = make_environ(HTTP_HOST=host)
    for function in (public_base_url, public_request_url):
        with pytest.raises(ValueError, match="host"):
            function(values)
        assert function(values, BASE).startswith(BASE)


def test_other_schemes_raise() -> None:
    values = make_environ(wsgi_url_scheme="ftp")
    for function in (public_base_url, public_request_url):
        with pytest.raises(ValueError, match="url_scheme"):
            function(values)


def test_a_configured_base_overrides_the_host() -> None:
    values = make_environ(HTTP_HOST="evil.example", RAW_URI="/swaig?x")
    assert both(values, BASE) == (BASE, BASE + "/swaig?x")


def test_urls_contain_the_mount_point() -> None:
    values = make_environ(
        SCRIPT_NAME="/bots/ä".encode().decode("latin-1"), RAW_URI="/bots/%c3%a4/swaig"
    )
    assert both(values) == ("http://h.example/bots/%C3%A4", "http://h.example/bots/%c3%a4/swaig")
    assert both(values, BASE) == (BASE + "/bots/%C3%A4", BASE + "/bots/%c3%a4/swaig")
    del values["RAW_URI"]
    assert both(values) == ("http://h.example/bots/%C3%A4", "http://h.example/bots/%C3%A4/swaig")
    assert public_base_url(make_environ(SCRIPT_NAME="/bots/")) == "http://h.example/bots"


@pytest.mark.parametrize("prefix", ["/agents", "/agents/"])
def test_a_forwarded_prefix_is_not_added_to_a_configured_base(prefix: str) -> None:
    values = make_environ(SCRIPT_NAME=prefix, prefix=prefix, RAW_URI="/swaig?a=%2F")
    assert both(values) == ("http://h.example/agents", "http://h.example/agents/swaig?a=%2F")
    assert both(values, BASE) == (BASE, BASE + "/swaig?a=%2F")
    del values["RAW_URI"]
    values["QUERY_STRING"] = "a=%2F"
    assert public_request_url(values) == "http://h.example/agents/swaig?a=%2F"
    assert public_request_url(values, BASE) == BASE + "/swaig?a=%2F"


def test_a_mount_point_follows_a_forwarded_prefix() -> None:
    values = make_environ(SCRIPT_NAME="/agents/bot", prefix="/agents", RAW_URI="/bot/swaig")
    assert both(values) == ("http://h.example/agents/bot", "http://h.example/agents/bot/swaig")
    assert both(values, BASE) == (BASE + "/bot", BASE + "/bot/swaig")
    del values["RAW_URI"]
    assert both(values) == ("http://h.example/agents/bot", "http://h.example/agents/bot/swaig")


def test_a_prefix_matches_whole_path_segments_of_the_mount_point() -> None:
    values = make_environ(SCRIPT_NAME="/agentsmith", prefix="/agents")
    assert public_base_url(values, BASE) == BASE + "/agentsmith"


@pytest.mark.parametrize("key", ["RAW_URI", "REQUEST_URI"])
@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/swaig?a=%2f&b=%2F", "/swaig?a=%2f&b=%2F"),
        ("/%73waig?", "/%73waig?"),
        ("//evil.example/swaig", "//evil.example/swaig"),
        ("/a/../b//c?d?e", "/a/../b//c?d?e"),
        ("http://evil.example/swaig?a=1", "/swaig?a=1"),
        ("HTTP://user:password@evil.example:80/swaig", "/swaig"),
        ("http://evil.example", "/"),
        ("http://evil.example?a=1", "/?a=1"),
        ("/x?u=http://evil.example/", "/x?u=http://evil.example/"),
        ("*", "/swaig"),
        ("", "/swaig"),
        ("swaig", "/swaig"),
    ],
)
def test_the_request_target_is_kept_byte_for_byte(key: str, target: str, expected: str) -> None:
    values = make_environ(**{key: target})
    assert public_request_url(values) == "http://h.example" + expected
    assert public_request_url(values, BASE) == BASE + expected


def test_a_target_that_is_not_a_string_is_ignored() -> None:
    values = make_environ(RAW_URI=b"/raw", REQUEST_URI="/swaig?x")
    assert public_request_url(values) == "http://h.example/swaig?x"


def test_raw_bytes_in_the_target_are_kept() -> None:
    raw = b"/\xc3\xa4\xff?\xe2\x82\xac"
    url = public_request_url(make_environ(RAW_URI=raw.decode("latin-1")))
    assert url.encode("utf-8", "surrogateescape") == b"http://h.example" + raw


def test_request_headers_are_not_read_as_the_target() -> None:
    values = make_environ(
        HTTP_RAW_URI="/evil", HTTP_REQUEST_URI="/evil", HTTP_X_ORIGINAL_URL="/evil"
    )
    assert public_request_url(values) == "http://h.example/swaig"


@given(st.binary().map(lambda path: "/" + path.decode("latin-1")), st.sampled_from(["", "a=%2F&b"]))
def test_a_rebuilt_url_is_ascii_and_contains_the_path(path: str, query: str) -> None:
    url = public_request_url(make_environ(PATH_INFO=path, QUERY_STRING=query))
    assert url.isascii()
    rebuilt, _, rest = url.partition("?")
    assert unquote(rebuilt, "latin-1") == "http://h.example" + path
    assert rest == query
