import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core.auth import (
    Authorization,
    authorization_scheme,
    basic_challenge,
    bearer_challenge,
    check_api_key,
    check_basic_pair,
    check_bearer_token,
    check_field_name,
    is_repeated,
    parse_authorization,
    parse_basic,
    unregistered_challenge,
)

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates included


def encoded(text, charset="utf-8"):
    return base64.b64encode(text.encode(charset)).decode()


def as_wsgi(text):
    return text.encode().decode("latin-1")


# -- parsing Authorization


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Bearer abc", ("bearer", "abc")),
        ("bEaReR abc", ("bearer", "abc")),
        ("BASIC YTpi", ("basic", "YTpi")),
        ("Basic   YTpi==", ("basic", "YTpi==")),
        ("Bearer " + as_wsgi("à"), ("bearer", "Ã\xa0")),
        ("x-y!z abc", ("x-y!z", "abc")),
    ],
)
def test_one_scheme_and_one_credential(value, expected):
    assert parse_authorization(value) == Authorization(*expected)
    assert authorization_scheme(value) == expected[0]


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "Bearer  ",
        " Bearer abc",
        "\tBearer abc",
        "Bearer abc ",
        "Bearer abc\t",
        "Bearer abc\n",
        "Bearer abc\r\nX: y",
        "Bearer abc def",
        "Bearer\tabc",
        "Bearer \tabc",
        "Bearer abc\tdef",
        "Bearer abc,def",
        "Bearer abc, Bearer def",
        "Bearer abc\x00",
        "Bearer \x7f",
        "Bearer: abc",
        "Bearer,abc",
        "Bearer=abc",
        'Digest username="a", realm="b"',
        "Bärer abc",
        "\u0131 abc",
        "\ud800 abc",
        "abc",
        '"Bearer" abc',
    ],
)
def test_anything_else_is_not_an_authorization(value):
    assert parse_authorization(value) is None


@given(any_text)
def test_no_authorization_value_raises(value):
    parsed = parse_authorization(value)
    is_repeated(value)
    if parsed is not None:
        assert authorization_scheme(value) == parsed.scheme == parsed.scheme.lower()
        assert value.lower().startswith(parsed.scheme + " ")
        assert value.endswith(" " + parsed.credentials)
        assert not re.search(r"[\x00-\x20\x7f,]", parsed.credentials)


@given(
    st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", fullmatch=True),
    st.integers(1, 3),
    st.from_regex(r"[A-Za-z0-9._~+/-]+={0,2}", fullmatch=True),
)
def test_every_token68_is_parsed(scheme, spaces, credential):
    parsed = parse_authorization(scheme + " " * spaces + credential)
    assert parsed == (scheme.lower(), credential)


@pytest.mark.parametrize(
    ("value", "repeated"),
    [
        ("Basic YTpi, Basic Yzpk", True),
        ("Basic YTpi,Bearer abc", True),
        ("bearer a,b", True),
        (", Basic YTpi", True),
        ("Basic,YTpi", True),
        ('Digest username="a", realm="b"', False),
        ("Basic YTpi", False),
        ("", False),
    ],
)
def test_joined_authorization_fields_are_recognized(value, repeated):
    assert is_repeated(value) is repeated


# -- parsing Basic


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("admin:hunter2", ("admin", "hunter2")),
        ("admin:a:b:c", ("admin", "a:b:c")),
        (":", ("", "")),
        ("admin:", ("admin", "")),
        (":hunter2", ("", "hunter2")),
        ("jörg:päß wörd", ("jörg", "päß wörd")),
        ("test:123\u00a3", ("test", "123£")),  # RFC 7617 section 2.1: dGVzdDoxMjPCow==
    ],
)
def test_the_first_colon_splits_user_and_password(text, expected):
    assert parse_basic(encoded(text)) == expected


def test_the_examples_of_rfc_7617():
    assert parse_basic("QWxhZGRpbjpvcGVuIHNlc2FtZQ==") == ("Aladdin", "open sesame")
    assert parse_basic("dGVzdDoxMjPCow==") == ("test", "123£")


@pytest.mark.parametrize(
    "credentials",
    [
        "",
        "=",
        "====",
        encoded("no colon"),
        encoded("a:b")[:-1] + "!",
        "YTpiYw",  # padding missing
        "YTpiYw=",
        "YTpiYw===",
        "YTpiYw==YQ==",
        "YTpi====",
        "YTpi=",
        "YTpiYx==",  # stray bits in the last character
        "YTp\niYw==",
        " YTpi",
        "YTpi ",
        "YTp-",  # the alphabet for URLs
        "YTp_",
        "YTp*i",
        "YTpiY",
        "ÿTpi",
        "YTpi\u0660",
        "\ud800",
        "\x00",
        base64.b64encode(b"\xed\xa0\x80:x").decode(),  # a surrogate; in Latin-1, 0x80 is a control
        encoded("j\x9frg\xe4:x", "latin-1"),
        encoded("jörg:5 €", "cp1252"),
        encoded("jörg", "latin-1"),
        encoded("admin:a\x00"),
        encoded("admin\n:a"),
        encoded("admin:\x7f"),
        encoded("admin:\x85"),
        encoded("\tadmin:a"),
    ],
)
def test_anything_else_is_not_basic(credentials):
    assert parse_basic(credentials) is None


@given(any_text | st.binary().map(lambda octets: base64.b64encode(octets + b":").decode()))
def test_no_basic_credential_raises_and_each_pair_has_two_encodings_at_most(credentials):
    pair = parse_basic(credentials)
    if pair is not None:
        text = ":".join(pair)
        if encoded(text) != credentials:
            assert encoded(text, "latin-1") == credentials
            with pytest.raises(UnicodeDecodeError):
                text.encode("latin-1").decode("utf-8")


@pytest.mark.parametrize("text", ["jörg:pässwörd", "jörg:", ":ÿ", "\xa0:x", "À¯:x"])
def test_octets_that_are_not_utf_8_are_latin_1(text):
    assert ":".join(parse_basic(encoded(text, "latin-1"))) == text
    assert ":".join(parse_basic(encoded(text))) == text


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("utf-16", "jörg:pässwörd"),
        ("utf-16-le", "jörg:pässwörd"),
        ("utf-7", "jörg:pässwörd"),
        ("cp437", "jörg:pässwörd"),
        ("mac-roman", "jörg:pässwörd"),
        ("cp1251", "йцу:кен"),
        ("shift-jis", "日本:語"),
        # One of the two in UTF-8, the other in Latin-1.
        ("mixed", "jörg:pässwörd"),
        # Encoded twice; Latin-1 octets that are UTF-8 as well.
        ("twice", "jörg:pässwörd"),
        ("latin-1", "jÃ¶rg:pÃ¤sswÃ¶rd"),
    ],
)
def test_attack_no_other_octets_are_a_credential(charset, text):
    user, _, password = text.partition(":")
    if charset == "mixed":
        octets = user.encode("latin-1") + b":" + password.encode()
    elif charset == "twice":
        octets = text.encode().decode("latin-1").encode()
    else:
        octets = text.encode(charset)
    assert parse_basic(base64.b64encode(octets).decode()) != (user, password)


printable = st.text(st.characters(exclude_categories=("Cc", "Cs")))


@given(printable.filter(lambda text: ":" not in text), printable)
def test_basic_round_trip(user, password):
    assert parse_basic(encoded(f"{user}:{password}")) == (user, password)


# -- challenges


def test_challenges_name_scheme_and_realm():
    assert basic_challenge("my agent") == 'Basic realm="my agent", charset="UTF-8"'
    assert bearer_challenge("x") == 'Bearer realm="x"'
    assert unregistered_challenge("x", "X-Api-Key") == 'ApiKey realm="x", header="X-Api-Key"'
    assert unregistered_challenge("x") == 'Custom realm="x"'
    assert bearer_challenge("") == 'Bearer realm=""'


def test_a_realm_cannot_break_out_of_its_quotes():
    assert bearer_challenge('a", Basic realm="b\\') == r'Bearer realm="a\", Basic realm=\"b\\"'


@given(st.text(st.characters(max_codepoint=0xFF, exclude_categories=("Cc",))))
def test_a_realm_survives_quoting(realm):
    quoted = re.fullmatch(r'Bearer realm="((?:[^"\\]|\\.)*)"', bearer_challenge(realm))
    assert re.sub(r"\\(.)", r"\1", quoted[1]) == realm


@pytest.mark.parametrize(
    "realm", ["a\r\nX: y", "a\n", "\t", "\x00", "\x7f", "\x85", "日本", None, b"x"]
)
@pytest.mark.parametrize("challenge", [basic_challenge, bearer_challenge, unregistered_challenge])
def test_a_realm_that_no_header_can_carry_is_rejected(challenge, realm):
    with pytest.raises(ValueError, match="realm"):
        challenge(realm)


# -- configured values


@pytest.mark.parametrize("name", ["X-Api-Key", "apikey", "X.Key"])
def test_field_names(name):
    assert check_field_name(name, "api_key_header") == name


@pytest.mark.parametrize(
    "name", ["", "X_Api_Key", "X Api", "X-Api:", "X-Api\n", "Schlüssel", None, "authorization"]
)
def test_names_that_wsgi_cannot_pass_are_rejected(name):
    with pytest.raises(ValueError, match="api_key_header"):
        check_field_name(name, "api_key_header")


@pytest.mark.parametrize("token", ["abc", "a.b~c+d/e==", "p$s!", "täglich", b"abc", b"\xff"])
def test_bearer_tokens_that_can_be_sent(token):
    assert check_bearer_token(token) == token
    assert check_api_key(token) == token


@pytest.mark.parametrize(
    "token", ["", b"", "a b", "a\tb", "a,b", "a\n", b"a\x00", "s3cr3t\ud800", 7]
)
def test_bearer_tokens_that_no_client_can_send_are_rejected(token):
    with pytest.raises(ValueError, match="bearer_token") as caught:
        check_bearer_token(token)
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("key", ["", " a", "a ", "a\tb", "a\n", "\x7f", b" a", "\ud800", None])
def test_api_keys_that_no_client_can_send_are_rejected(key):
    with pytest.raises(ValueError, match="api_key"):
        check_api_key(key)


def test_an_api_key_may_contain_spaces_and_commas():
    assert check_api_key("a b, c") == "a b, c"


@pytest.mark.parametrize("pair", [("admin", "a:b ö"), ["admin", "x"]])
def test_basic_pairs(pair):
    assert check_basic_pair(pair, "basic_auth") == tuple(pair)


@pytest.mark.parametrize(
    ("pair", "named"),
    [
        (None, "pair"),
        ("ab", "pair"),
        (("admin",), "pair"),
        (("admin", "s3cr3t", "x"), "pair"),
        ({"admin": 1, "s3cr3t": 2}, "pair"),
        (("", "s3cr3t"), "user name"),
        (("admin", ""), "password"),
        (("admin", None), "password"),
        (("admin", b"s3cr3t"), "password"),
        ((None, "s3cr3t"), "user name"),
        (("ad:min", "s3cr3t"), "colon"),
        (("ad\nmin", "s3cr3t"), "user name must not contain control"),
        (("admin", "s3cr3t\x00"), "password must not contain control"),
        (("admin", "s3cr3t\x7f"), "password must not contain control"),
        (("admin", "s3cr3t\ud800"), "password must not contain lone surrogates"),
        (("\udcff", "s3cr3t"), "user name must not contain lone surrogates"),
    ],
)
def test_basic_pairs_that_no_client_can_send_are_rejected_without_showing_them(pair, named):
    with pytest.raises(ValueError, match="basic_auth") as caught:
        check_basic_pair(pair, "basic_auth")
    assert named in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_a_credential_is_not_shown():
    parsed = parse_authorization("Bearer s3cret")
    assert parsed.credentials == "s3cret"
    assert "s3cret" not in repr(parsed)
    assert "bearer" in repr(parsed)
