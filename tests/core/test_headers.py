import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core.headers import (
    AGENT_HEADERS,
    SECURITY_HEADERS,
    SITE_HEADERS,
    hsts_value,
    insert_nonce,
    is_nonce,
    is_token,
    missing_headers,
    security_headers,
    uses_nonce,
)


def test_the_defaults_are_the_four_of_the_sdk():
    assert security_headers() == SECURITY_HEADERS
    assert dict(SECURITY_HEADERS) == {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "X-XSS-Protection": "1; mode=block",
        "Referrer-Policy": "strict-origin-when-cross-origin",
    }


def test_the_headers_of_a_site_do_not_configure_the_xss_filter():
    assert dict(SITE_HEADERS).keys() == dict(SECURITY_HEADERS).keys() - {"X-XSS-Protection"}
    assert set(SITE_HEADERS) < set(SECURITY_HEADERS)


def test_the_agents_own_headers():
    assert dict(security_headers(AGENT_HEADERS)) == {
        **dict(SECURITY_HEADERS),
        "Content-Security-Policy": (
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        ),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": (
            "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
        ),
        "Cache-Control": "no-store",
    }


def test_an_override_replaces_drops_or_adds_in_any_case():
    headers = security_headers(
        {"x-frame-options": "SAMEORIGIN", "X-XSS-PROTECTION": None, "X-Extra": "1", "X-No": None}
    )
    assert headers == (
        ("X-Content-Type-Options", "nosniff"),
        ("x-frame-options", "SAMEORIGIN"),
        ("Referrer-Policy", "strict-origin-when-cross-origin"),
        ("X-Extra", "1"),
    )


def test_the_defaults_can_be_others_and_are_checked():
    assert security_headers({"B": "2"}, (("A", "1"),)) == (("A", "1"), ("B", "2"))
    with pytest.raises(ValueError, match="'A'"):
        security_headers(None, (("A", "1\r\n"),))


@pytest.mark.parametrize(
    "value",
    [
        "DENY\r\nSet-Cookie: admin=1",
        "DENY\nX: 1",
        "DENY\rX: 1",
        "DENY\r\n\r\n<script>",
        "DENY\r\n",
        "DENY\n",
        "\0",
        "a\tb",
        "a\x0bb",
        "a\x7f",
        "a\x85b",
        "a\u2028b",
        "a\u010ab",  # its low byte is a line feed
        "\ud800",
        "",
        " DENY",
        "DENY ",
        5,
    ],
)
def test_a_value_that_could_split_a_response_is_rejected(value):
    with pytest.raises(ValueError, match="'X-Frame-Options'"):
        security_headers({"X-Frame-Options": value})


@pytest.mark.parametrize(
    "name", ["", " ", "X Frame", "X:", "X\r\n", "X-Främe", "X\0", "X-Frame-Options\n", 5, None]
)
@pytest.mark.parametrize("value", ["1", None])
def test_a_name_that_is_not_a_token_is_rejected(name, value):
    with pytest.raises(ValueError, match="must be a token"):
        security_headers({name: value})


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "Content-Length",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Status",
        "TE",
        "Trailer",
        "Trailers",
        "Transfer-Encoding",
        "Upgrade",
    ],
)
def test_a_field_that_frames_the_message_is_rejected(name):
    for spelling in (name, name.lower(), name.upper()):
        with pytest.raises(ValueError, match="for the server"):
            security_headers({spelling: "1"})
    assert (f"{name}-X", "1") in security_headers({f"{name}-X": "1"})


def test_a_repeated_name_is_rejected():
    with pytest.raises(ValueError, match="twice"):
        security_headers({"X-Frame-Options": "DENY", "x-frame-options": None})


def test_hsts_is_not_for_every_response():
    with pytest.raises(ValueError, match="HSTSMiddleware"):
        security_headers({"strict-transport-security": "max-age=1"})


@pytest.mark.parametrize("other", [[("X-A", "1")], "X-A", "", 5, ("X-A",), b""])
def test_overrides_are_a_mapping(other):
    with pytest.raises(TypeError, match="headers must be a mapping"):
        security_headers(other)


CSP = "Content-Security-Policy"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("default-src 'self'", False),
        ("default-src 'self'; report-uri /csp-nonce", False),
        ("script-src nonce.example.com https://x.example/nonce-1", False),
        ("script-src 'nonce-{nonce}'", True),
        ("script-src 'self' 'nonce-{nonce}';style-src 'nonce-{nonce}'", True),
        ("script-src 'nonce-{nonce}', default-src 'none'", True),
    ],
)
@pytest.mark.parametrize("name", [CSP, CSP.lower(), f"{CSP}-Report-Only"])
def test_a_policy_uses_a_nonce_if_it_has_the_placeholder(name, value, expected):
    assert uses_nonce((("X-A", "{}"), (name, value))) is expected


@pytest.mark.parametrize(
    "source",
    [
        "{nonce}",
        "'{nonce}'",
        "nonce-{nonce}",
        "'nonce-{nonce}",
        "'nonce-{Nonce}'",
        "'nonce-{nonse}'",
        "'nonce-{csp_nonce}'",
        "'nonce-{ nonce }'",
        "'nonce-{{nonce}}'",
        "'nonce-{nonce}''self'",
        "'NONCE-{nonce}'",
        "'nonce-%(nonce)s'",
        "'nonce-$nonce'",
        "'nonce-4AEemGb0xJptoIGFP3Nd'",
        "'nonce-'",
        "'nonce'",
        "nonce-abc",
        '"nonce-{nonce}"',
    ],
)
def test_attack_no_misspelt_or_fixed_nonce_is_accepted(source):
    for policy in (f"script-src {source}", f"style-src 'nonce-{{nonce}}';script-src {source}"):
        with pytest.raises(ValueError, match=r"'Content-Security-Policy': a nonce is written"):
            uses_nonce(((CSP, policy),))


def test_the_message_about_a_nonce_without_quotes_shows_what_is_missing():
    message = (
        r"is written 'nonce-\{nonce\}', with the single quotes and the braces, not nonce-\{nonce"
    )
    with pytest.raises(ValueError, match=message):
        uses_nonce(((CSP, "script-src nonce-{nonce}"),))


def test_a_nonce_is_for_policies_only():
    with pytest.raises(ValueError, match="'Content-Security-Polizy'"):
        uses_nonce((("Content-Security-Polizy", "script-src 'nonce-{nonce}'"),))


def test_each_placeholder_becomes_the_nonce():
    headers = (("X-A", "1"), (CSP, "script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"))
    assert insert_nonce(headers, "abc") == (
        ("X-A", "1"),
        (CSP, "script-src 'nonce-abc'; style-src 'nonce-abc'"),
    )


@pytest.mark.parametrize("value", ["", "a" * 21, "a" * 129, "a" * 22 + "\n", "é" * 22, "'" * 22, 5])
def test_other_values_are_no_nonce(value):
    assert not is_nonce(value)


@pytest.mark.parametrize("value", ["a" * 22, "Az09_-" * 4, "-" * 128])
def test_long_base64url_is_a_nonce(value):
    assert is_nonce(value)


@given(st.text())
def test_no_accepted_value_can_end_its_line(value):
    try:
        headers = security_headers({"X-Test": value})
    except ValueError:
        return
    line = dict(headers)["X-Test"].encode("latin-1")
    assert line == line.strip()
    assert min(line) >= 0x20
    assert not set(line) & set(range(0x7F, 0xA0))


@given(st.text())
def test_no_accepted_name_can_end_early(name):
    if is_token(name):
        assert name.isascii()
        assert not set(name) & set('()<>@,;:\\"/[]?={} \t\r\n\0')
    else:
        with pytest.raises(ValueError, match="must be a token"):
            security_headers({name: "1"})


@pytest.mark.parametrize("other", [None, 5, b"GET"])
def test_only_text_is_a_token(other):
    assert not is_token(other)


def test_hsts_values():
    assert hsts_value() == "max-age=31536000; includeSubDomains"
    assert hsts_value(0, include_subdomains=False) == "max-age=0"
    assert hsts_value(0) == "max-age=0"
    assert hsts_value(31536000, preload=True) == "max-age=31536000; includeSubDomains; preload"
    assert hsts_value(63072000, preload=True) == "max-age=63072000; includeSubDomains; preload"


@pytest.mark.parametrize("max_age", [-1, 1.5, "300", None, True, float("inf")])
def test_hsts_rejects_an_invalid_max_age(max_age):
    with pytest.raises(ValueError, match="max_age"):
        hsts_value(max_age)


def test_hsts_rejects_a_preload_that_browsers_would_not_list():
    with pytest.raises(ValueError, match="preload"):
        hsts_value(31535999, preload=True)
    with pytest.raises(ValueError, match="preload"):
        hsts_value(include_subdomains=False, preload=True)


@pytest.mark.parametrize("flag", ["include_subdomains", "preload"])
def test_hsts_flags_are_booleans(flag):
    with pytest.raises(ValueError, match=flag):
        hsts_value(**{flag: "false"})


def test_missing_headers_omits_existing_ones():
    existing = [("x-frame-OPTIONS", "SAMEORIGIN"), ("Content-Type", "text/plain")]
    missing = missing_headers(existing, SECURITY_HEADERS)
    assert [name for name, _ in missing] == [
        "X-Content-Type-Options",
        "X-XSS-Protection",
        "Referrer-Policy",
    ]


@given(
    st.lists(st.sampled_from([*SECURITY_HEADERS, *AGENT_HEADERS.items()]), unique=True),
    st.data(),
)
def test_nothing_is_ever_sent_twice(owned, data):
    spell = st.sampled_from([str.upper, str.lower, str.title, str.swapcase])
    existing = [(data.draw(spell)(name), "theirs") for name, _ in owned]
    wanted = (*SECURITY_HEADERS, *AGENT_HEADERS.items())
    names = [name.lower() for name, _ in existing + missing_headers(existing, wanted)]
    assert sorted(names) == sorted(name.lower() for name, _ in wanted)


FIELDS = st.lists(
    st.tuples(
        st.sampled_from(["X-Frame-Options", "x-frame-OPTIONS", "Vary", "Set-Cookie", "X", ""]),
        st.text(max_size=3),
    )
)


@given(FIELDS, FIELDS)
def test_missing_headers_are_those_whose_names_are_in_no_spelling_there(existing, wanted):
    present = [name.lower() for name, _ in existing]
    expected = [(name, value) for name, value in wanted if name.lower() not in present]
    assert missing_headers(existing, wanted) == expected
    assert missing_headers(iter(existing), iter(wanted)) == expected
