from __future__ import annotations

import copy
import pickle
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core import urls
from swaig_wsgi.core.tokens import token_from_query
from swaig_wsgi.core.urls import (
    BaseUrl,
    UrlError,
    as_configured,
    ends_in_number,
    join_url,
    parse_authority,
    parse_base_url,
    tool_url,
    with_credentials,
)

# -- base URLs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://agent.example.com", "https://agent.example.com"),
        ("https://agent.example.com/", "https://agent.example.com"),
        ("HTTPS://Agent.Example.COM/Bots/", "https://agent.example.com/Bots"),
        ("http://agent.example.com:3000/a/b//", "http://agent.example.com:3000/a/b"),
        ("https://agent.example.com:443/x", "https://agent.example.com/x"),
        ("http://agent.example.com:443", "http://agent.example.com:443"),
        ("https://agent.example.com./x", "https://agent.example.com/x"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[0:0::1]", "http://[::1]"),
        ("http://127.0.0.1:8080/p%20q", "http://127.0.0.1:8080/p%20q"),
        ("http://my_service:80", "http://my_service"),
    ],
)
def test_base_url_is_normalized(text: str, expected: str) -> None:
    assert parse_base_url(text) == expected
    assert parse_base_url(expected) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "malformed"),
        ("agent.example.com", "malformed"),
        ("agent.example.com:3000", "malformed"),
        ("//agent.example.com", "malformed"),
        ("https:/agent.example.com", "malformed"),
        ("https:agent.example.com", "malformed"),
        (" https://agent.example.com", "malformed"),
        ("https://agent.example.com\n", "malformed"),
        ("https://agent.example.com/a b", "malformed"),
        ("https://agent.example.com/\x00", "malformed"),
        ("https://agent.example.com/ä", "malformed"),
        ("https://ägent.example.com", "malformed"),
        ("https://agent.example.com/%zz", "malformed"),
        ("https://agent.example.com/%", "malformed"),
        ("https://agent.example.com\\x", "malformed"),
        ("https://agent.example.com/?a=1", "malformed"),
        ("https://agent.example.com?", "malformed"),
        ("https://agent.example.com/#x", "malformed"),
        ("https://agent.example.com/a/../b", "malformed"),
        ("https://agent.example.com/.", "malformed"),
        ("ftp://agent.example.com", "bad_scheme"),
        ("javascript://agent.example.com/%0aalert(1)", "bad_scheme"),
        ("https://user@agent.example.com", "has_credentials"),
        ("https://@agent.example.com", "has_credentials"),
        ("https://", "bad_host"),
        ("https:///x", "bad_host"),
        ("https://:3000", "bad_host"),
        ("https://a,b", "bad_host"),
        ("https://a..b", "bad_host"),
        ("https://[::1", "bad_host"),
        ("https://[fe80::1%25eth0]", "bad_host"),
        ("https://127.1", "bad_host"),
        ("https://0x7f000001", "bad_host"),
        ("https://example.123", "bad_host"),
        ("https://1.2.3.256", "bad_host"),
        ("https://agent.example.com:0", "bad_host"),
        ("https://agent.example.com:65536", "bad_host"),
        ("https://agent.example.com:+80", "bad_host"),
        ("https://agent.example.com:http", "bad_host"),
        ("https://agent.example.com:80:80", "bad_host"),
    ],
)
def test_base_url_is_rejected(text: str, reason: str) -> None:
    with pytest.raises(UrlError, match="expected") as caught:
        parse_base_url(text)
    assert caught.value.reason == reason


def test_base_url_must_be_a_string() -> None:
    with pytest.raises(ValueError, match="expected a URL"):
        parse_base_url(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "https://user:hunter2@agent.example.com",
        "https://user:hunter2@",
        "https://user:hunter2@agent.example.com:x",
        "https://user:hunter2",
        "https://agent.example.com:hunter2",
        "hunter2://user:hunter2@x",
        "user:hunter2@agent.example.com",
        "https://user:hun ter2 hunter2@x",
        "https://x/?__token=hunter2",
    ],
)
def test_base_url_error_never_repeats_a_password(text: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        parse_base_url(text)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.text() | st.from_regex(r"\Ahttps?://[ -~]{0,40}\Z"))
def test_base_url_is_parsed_stably_or_rejected(text: str) -> None:
    try:
        base = parse_base_url(text)
    except UrlError:
        return
    assert parse_base_url(base) == base
    parts = urlsplit(base)
    assert parts.scheme in ("http", "https")
    assert parts.hostname
    assert parts.username is parts.password is None
    assert not parts.query
    assert not parts.fragment
    assert not base.endswith("/")


# -- building


def test_attack_memory_of_base_urls_is_bounded() -> None:
    for number in range(1000):
        parse_base_url(f"https://h{number}.example")
        with pytest.raises(UrlError):
            parse_base_url(f"https://h{number}.example?query")
    configured = BaseUrl("https://a.example")
    before = urls.parse_base_url.cache_info()
    assert before.currsize == before.maxsize == 256
    path = "/x" * 5000
    assert parse_base_url(f"https://a.example{path}/") == f"https://a.example{path}"
    assert parse_base_url(configured) == "https://a.example"
    assert urls.parse_base_url.cache_info() == before


def test_credentials_with_every_reserved_character() -> None:
    url = with_credentials("https://agent.example.com/swaig?x=1#y", "bot", "p@ss:w/ö")
    assert url == "https://bot:p%40ss%3Aw%2F%C3%B6@agent.example.com/swaig?x=1#y"


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_credentials_survive_and_change_nothing_else(user: str, password: str) -> None:
    url = with_credentials("https://agent.example.com:3000/swaig?x=1", user, password)
    assert url.isascii()
    parts = urlsplit(url)
    assert (parts.hostname, parts.port, parts.path) == ("agent.example.com", 3000, "/swaig")
    assert unquote(parts.username or "") == user
    assert unquote(parts.password or "") == password


@pytest.mark.parametrize("url", ["https://a@b.example/", "https://a:b@c.example", "https://@x"])
def test_existing_credentials_are_rejected(url: str) -> None:
    with pytest.raises(ValueError, match="already"):
        with_credentials(url, "user", "password")


def test_an_at_sign_in_the_path_is_not_a_credential() -> None:
    assert with_credentials("https://h/@x", "u", "p") == "https://u:p@h/@x"


@pytest.mark.parametrize("url", ["", "/swaig", "agent.example.com/x", "https:/x"])
def test_credentials_need_an_absolute_url(url: str) -> None:
    with pytest.raises(ValueError, match="absolute"):
        with_credentials(url, "user", "password")


@pytest.mark.parametrize(("user", "password"), [("u", "hunter2\ud800"), ("hunter2\udc80", "p")])
def test_a_lone_surrogate_in_credentials_is_rejected_without_showing_them(
    user: str, password: str
) -> None:
    with pytest.raises(ValueError, match="valid Unicode") as caught:
        with_credentials("https://h", user, password)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_tool_url_has_the_token_in_its_query_and_credentials_before_its_host() -> None:
    url = tool_url("https://www.example.com:3000/swaig", "abc_-", ("bot", "p@ss:w/ö?#"))
    assert url == ("https://bot:p%40ss%3Aw%2F%C3%B6%3F%23@www.example.com:3000/swaig?__token=abc_-")
    assert tool_url(url.partition("?")[0], "abc_-") == url


@pytest.mark.parametrize(
    ("pair", "problem"),
    [
        (("u:hunter2", "p"), "colon"),
        (("", "hunter2"), "user name"),
        (("hunter2", ""), "password"),
        (("", ""), "user name"),
        (("u", "hunter2\n"), "control characters"),
        (("u", "hunter2\ud800"), "password"),
        ((), "pair"),
        (("u", "hunter2", "x"), "pair"),
    ],
)
def test_attack_a_tool_url_has_credentials_that_can_be_admitted(pair: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        tool_url("https://h/swaig", "abc", pair)
    assert "basic_auth" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("https://h/swaig", "abc", "u:hunter2"), "basic_auth must be a pair"),
        (("https://h/swaig", "abc", [("u", "hunter2")] * 2), "basic_auth: the user name must be"),
        (("https://h/swaig", "abc", ("u", b"hunter2")), "basic_auth: the password must be"),
        (("https://h/swaig", None, ("u", "p")), "token must be a string, not NoneType"),
        (("https://h/swaig", b"hunter2", ("u", "p")), "token must be a string, not bytes"),
        ((b"https://h/hunter2", "abc", ("u", "p")), "url must be a string, not bytes"),
        ((None, "abc"), "url must be a string, not NoneType"),
    ],
)
def test_a_tool_url_of_other_types_is_a_type_error(arguments: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=problem) as caught:
        tool_url(*arguments)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://a.example\r\nX: hunter2", "malformed"),
        ("https://a.example/a b", "malformed"),
        ("https://a.example/\u00f6", "malformed"),
        ("https://a.example/%zz", "malformed"),
        ("https://a.example\\@hunter2/", "malformed"),
        ("ftp://a.example/", "bad_scheme"),
        ("https://:hunter2/", "bad_host"),
        ("https:///hunter2", "bad_host"),
        ("https://a..example/", "bad_host"),
        ("https://u:hunter2@a.example:0/", "bad_host"),
    ],
)
def test_attack_a_tool_url_is_one_that_clients_can_follow(url: str, reason: str) -> None:
    for pair in (None, ("u", "p")):
        if pair and "@" in url and reason != "malformed":
            continue
        with pytest.raises(UrlError) as caught:
            tool_url(url, "abc", pair)
        assert caught.value.reason == reason
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("query", ["?x=1", "?x=1&y=%26", "?token=2"])
def test_a_tool_url_keeps_the_query(query: str) -> None:
    url = tool_url(f"https://h/swaig{query}", "abc", ("u", "p"))
    assert url == f"https://u:p@h/swaig{query}&__token=abc"
    assert token_from_query(urlsplit(url).query) == "abc"
    assert tool_url("https://h/swaig?", "abc==") == "https://h/swaig?__token=abc=="


@pytest.mark.parametrize(
    "query", ["__token=", "x=1&__token=a", "%5f_token=a", "__token=a&__token="]
)
def test_attack_a_tool_url_has_one_token(query: str) -> None:
    with pytest.raises(UrlError, match="has a token already"):
        tool_url(f"https://h/swaig?{query}", "abc", ("u", "p"))


@pytest.mark.parametrize("token", ["", "a&b=1", "a#b", "a b", "a/b", "a+b", "a\n"])
def test_attack_a_token_adds_nothing_else_to_a_url(token: str) -> None:
    with pytest.raises(UrlError, match="expected a token in base64url") as caught:
        tool_url("https://h/swaig", token, ("u", "p"))
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://h/swaig#x", "fragment"),
        ("https://h/swaig?x#y", "fragment"),
        ("https://a:b@h/swaig", "has credentials already"),
        ("/swaig", "absolute"),
    ],
)
def test_a_tool_url_needs_an_absolute_url_without_fragment(url: str, problem: str) -> None:
    with pytest.raises(UrlError, match=problem):
        tool_url(url, "abc", ("u", "p"))


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        ("https://h", "/swaig", "https://h/swaig"),
        ("https://h/", "swaig", "https://h/swaig"),
        ("https://h/a/", "//swaig", "https://h/a/swaig"),
        ("https://h/a", "", "https://h/a/"),
        ("https://h", "/ä b?#%", "https://h/%C3%A4%20b%3F%23%25"),
        ("https://h", "/a/b:c@d", "https://h/a/b:c@d"),
    ],
)
def test_join_url(base: str, path: str, expected: str) -> None:
    assert join_url(base, path) == expected


def test_a_base_url_knows_its_spelling():
    url = BaseUrl("HTTPS://Agent.Example.COM:443/App//")
    assert url == "https://agent.example.com/App"
    assert as_configured(url) == url.spelled == "HTTPS://Agent.Example.COM:443/App"
    assert as_configured("HTTPS://Agent.Example.COM/") == "HTTPS://Agent.Example.COM"
    assert type(str(url)) is str
    for copied in (copy.deepcopy(url), pickle.loads(pickle.dumps(url))):  # noqa: S301 - made by this test
        assert (copied, copied.spelled) == (url, url.spelled)
    with pytest.raises(UrlError, match="absolute URL"):
        BaseUrl("agent.example.com")


@pytest.mark.parametrize(
    "name", ["1", "0", "127.1", "a.0", "a.08", "a.0x", "a.0x7f", "a.4294967296", "0xabcdef"]
)
def test_names_that_resolvers_read_as_addresses_end_in_a_number(name: str) -> None:
    assert ends_in_number(name)
    with pytest.raises(UrlError, match="IPv4 address in dotted decimal"):
        parse_authority(name)


@pytest.mark.parametrize(
    "name", ["a", "a.1a", "a.a1", "a.0x7g", "a.10x", "a.x1", "1.a", "a.1-2", "a.1_", "0x7f.a", "1x"]
)
def test_other_names_do_not_end_in_a_number(name: str) -> None:
    assert not ends_in_number(name)
    assert parse_authority(name).name == name


def test_errors_say_what_was_expected() -> None:
    with pytest.raises(UrlError, match="starts with https:// or http://$"):
        urls.split_url("ftp://h.example/", ("https", "http"))
    with pytest.raises(UrlError, match="^expected a base URL without query and fragment$"):
        parse_base_url("https://h.example/?x")


def test_only_slashes_are_removed_at_ends() -> None:
    assert parse_base_url("https://h.example/aX//") == "https://h.example/aX"
    assert as_configured("https://h.example/aX/") == "https://h.example/aX"
    assert as_configured("/x/") == "/x"
    assert join_url("/aX/", "/Xb/") == "/aX/Xb/"
    assert urls.PATH_SAFE == "/:@!$&'()*+,;=-._~"


def test_a_newline_does_not_end_a_url() -> None:
    assert urls.split_url("https://h/?a\nb", ("https",)) == ("https", "h", "/", "?a\nb")


def test_a_token_has_at_most_two_signs_of_padding() -> None:
    assert tool_url("https://h.example/", "abX==") == "https://h.example/?__token=abX=="
    with pytest.raises(UrlError, match="base64url"):
        tool_url("https://h.example/", "abX===")


def test_letters_of_credentials_stay_and_everything_reserved_is_encoded() -> None:
    assert with_credentials("https://h/", "X/", "X:@") == "https://X%2F:X%3A%40@h/"
