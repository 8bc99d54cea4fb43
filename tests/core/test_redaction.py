from __future__ import annotations

import json
import re
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.waiting import fastest

from swaig_wsgi.core import redaction
from swaig_wsgi.core.redaction import (
    are_harmless,
    escape_control,
    filter_sensitive_headers,
    hide_values,
    mask_credentials,
    redact_text,
    redact_url,
)
from swaig_wsgi.core.tokens import SigningKey, sign_token

SECRET = "hunter2"

# -- log lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text", "plain text"),
        ("ünïcode 字", "ünïcode 字"),
        ("a\r\nb", "a\\r\\nb"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x00\x7f\x85", "\\x00\\x7f\\x85"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\u202e\u2066", "\\u202e\\u2066"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
        ("back\\slash", "back\\\\slash"),
    ],
)
def test_escape_control(text: str, expected: str) -> None:
    assert escape_control(text) == expected


@given(st.text(st.characters()))
def test_escaped_text_is_one_printable_line_and_unambiguous(text: str) -> None:
    escaped = escape_control(text)
    assert escaped.isprintable()
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in escaped)
    escaped.encode("utf-8")
    ascii_form = "".join(
        char if char.isascii() else char.encode("unicode_escape").decode() for char in escaped
    )
    assert ascii_form.encode("ascii").decode("unicode_escape") == text


def test_escapes_do_not_depend_on_the_characters_before() -> None:
    text = "".join(map(chr, range(0x10000)))
    assert escape_control(text) == "".join(map(escape_control, text))


def test_mask_credentials() -> None:
    assert mask_credentials("my-agent") == "my-agent:****"
    assert mask_credentials("a\nb") == "a\\nb:****"


# -- headers


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "AUTHORIZATION",
        "authorization",
        "Proxy-Authorization",
        "Cookie",
        "Cookie2",
        "Set-Cookie",
        "X-Api-Key",
        "X-Bearer",
        "X-Session",
        "X-Webhook-Sig",
        "DPoP",
        "x_api_key",
        "ApiKey",
        "X-Auth-Token",
        "X-Amz-Security-Token",
        "X-CSRF-Token",
        "X-Access-Key",
        "X-Client-Secret",
        "X-Password",
        "X-SignalWire-Signature",
        "X-SignalWire-Sha256-Signature",
        "X-Twilio-Signature",
        "X-Goog-Iap-Jwt-Assertion",
        "X-Auth",
        "HTTP_AUTHORIZATION",
        "HTTP_COOKIE",
        "HTTP_X_API_KEY",
        "X-Shopify-Hmac-Sha256",
        "X-My-Key",
        "X-OTP",
        "X-MFA-Code",
        "X-2FA",
        "X-CVV",
        "X-Verification-Code",
        "X-PW",
    ],
)
def test_secret_headers_are_omitted(name: str) -> None:
    headers = {name: SECRET, "Content-Type": "application/json"}
    assert filter_sensitive_headers(headers, ["x-my-KEY"]) == {"Content-Type": "application/json"}


def test_other_headers_stay_and_the_original_is_untouched() -> None:
    headers = {
        "Host": "agent.example.com",
        "Content-Length": 5,
        "X-Request-Id": "1\n2",
        "Author": "x",
        "Idempotency-Key": "k",
        "Refresh": "5",
    }
    given_headers = {**headers, "Cookie": SECRET}
    filtered = filter_sensitive_headers(given_headers)
    assert filtered == headers
    assert given_headers["Cookie"] == SECRET


def test_headers_may_be_pairs() -> None:
    assert filter_sensitive_headers([("Cookie", "a"), ("Accept", "b"), ("Accept", "c")]) == {
        "Accept": "c"
    }


@pytest.mark.parametrize(
    "name", ["Referer", "referer", "HTTP_REFERER", "Link", "Location", "X-Original-URL"]
)
def test_urls_in_headers_are_redacted(name: str) -> None:
    filtered = filter_sensitive_headers({name: f"https://u:{SECRET}@h/?__token={SECRET}"})
    assert filtered == {name: "https://****@h/?__token=****"}


@given(st.dictionaries(st.text(), st.text()))
def test_filtering_never_raises_and_adds_nothing(headers: dict[str, str]) -> None:
    assert filter_sensitive_headers(headers).keys() <= headers.keys()


# Each entry of each table, as written here: a table that lost one would still agree with itself.
SECRET_PARTS = """
accesscode accesskey apikey assertion authorization bearer cardnumber clientcert cookie credential
creditcard functionskey hmac jwt mnemonic passcode passphrase passwd password privatekey saml secret
securityanswer sessionid signature signingkey subscriptionkey token verifier
2facode activationcode authcode backupcode confirmationcode devicecode logincode mfacode onetimecode
otpcode pincode recoverycode resetcode securitycode smscode tfacode verificationcode verifycode
""".split()  # noqa: SIM905
SECRET_NAMES = """
2fa auth authkey dpop otp hotp totp key mfa pass psw pw pwd session tfa wresult
csc cvc cvc2 cvv cvv2 cardcsc cardcvc cardcvc2 cardcvv cardcvv2 ccnum ccnumber cardno
atmpin cardpin currentpin loginpin newpin oldpin userpin
confirmpass currentpass newpass oldpass userpass confirmpw currentpw newpw oldpw userpw
confirmpwd currentpwd newpwd oldpwd userpwd
""".split()  # noqa: SIM905
SECRET_PARAMETERS = ["code", "pin", "refresh", "sid", "ticket"]
URL_NAMES = """
Content-Location Link Location Referer X-Forwarded-Uri X-Original-Uri X-Original-Url X-Rewrite-Url
""".split()  # noqa: SIM905


@pytest.mark.parametrize("part", SECRET_PARTS)
def test_each_secret_part_of_a_name_is_recognized(part: str) -> None:
    for name in (part, f"Q-{part}-Q", f"q{part}q", part.upper()):
        assert filter_sensitive_headers({name: SECRET}) == {}
        assert redact_url(f"/?{name}={SECRET}") == f"/?{name}=****"


def test_a_signature_by_its_short_name_ends_a_name() -> None:
    for name in ("sig", "X-Webhook-Sig", "url_sig"):
        assert filter_sensitive_headers({name: SECRET}) == {}
    assert filter_sensitive_headers({"Design": "a", "Sigma": "b"}) == {"Design": "a", "Sigma": "b"}


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_each_secret_name_is_recognized_as_a_whole(name: str) -> None:
    for spelling in (name, f"X-{name}", name.upper()):
        assert filter_sensitive_headers({spelling: SECRET}) == {}
        assert redact_url(f"/?{spelling}={SECRET}") == f"/?{spelling}=****"
    assert filter_sensitive_headers({f"{name}q": "a", f"q{name}": "b"}).keys() >= {f"{name}q"}


@pytest.mark.parametrize("name", SECRET_PARAMETERS)
def test_some_names_are_secret_only_as_parameters(name: str) -> None:
    assert filter_sensitive_headers({name: "a"}) == {name: "a"}
    assert redact_url(f"/?{name}={SECRET}") == f"/?{name}=****"
    assert redact_url(f"/?{name}q=a&q{name}=b") == f"/?{name}q=a&q{name}=b"


@pytest.mark.parametrize("name", URL_NAMES)
def test_each_header_with_a_url_is_filtered(name: str) -> None:
    url = f"https://h.example/?password={SECRET}"
    filtered = {name: "https://h.example/?password=****"}
    assert filter_sensitive_headers({name: url}) == filtered
    assert filter_sensitive_headers({f"{name}-Q": url, f"Q-{name}": url}).keys() == {
        f"{name}-Q",
        f"Q-{name}",
    }


# -- URLs


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", ""),
        ("/", "/"),
        ("/swaig?call_id=1&x", "/swaig?call_id=1&x"),
        ("__token=hunter2", "__token=****"),
        ("%5F_token=hunter2?hunter2&a=1", "%5F_token=****&a=1"),
        ("a=1&__token=hunter2", "a=1&__token=****"),
        ("token", None),
        ("/token=1", "/token=****"),
        ("https://token.example/x=1", None),
        ("https://agent.example.com:3000/a@b?c=d@e#f", None),
        ("https://[::1]:3000/x@y", None),
        ("https://agent.example.com/a+b%20c?d=e+f%20g", None),
        ("https://h/?bodySHA256=00ff", None),
        ("https://h/%zz?%=%", None),
        ("https://u:hunter2@h/x", "https://****@h/x"),
        ("https://hunter2@h", "https://****@h"),
        ("https://hunter2:@h", "https://****@h"),
        ("https://u:p@hunter2@h", "https://****@h"),
        ("//u:hunter2@h/x", "//****@h/x"),
        ("u:hunter2@h", "u:****@h"),
        ("https:u:hunter2@h", "https:****@h"),
        ("https:/u:hunter2@h", "https:/****@h"),
        ("https://u:hunter2/ss@h/x", "https://****@h/x"),
        ("https://u:hunter2?ss@h/x", "https://****@h/x"),
        ("https://u:x#hunter2@h/x", "https://****@h/x"),
        ("/x?__token=hunter2", "/x?__token=****"),
        ("/x?a=1&__token=hunter2&b=2", "/x?a=1&__token=****&b=2"),
        ("/x?__token=a&__token=hunter2", "/x?__token=****&__token=****"),
        ("/x?__token=", "/x?__token=****"),
        ("/x?__token=a=hunter2", "/x?__token=****"),
        ("/x?__token=a;hunter2&b=2", "/x?__token=****&b=2"),
        ("/x?__token=a?hunter2", "/x?__token=****"),
        ("/x?a=1;__token=hunter2", "/x?a=1;__token=****"),
        ("/x?a?__token=hunter2", "/x?a?__token=****"),
        ("/x#__token=hunter2", "/x#__token=****"),
        ("/x;jsessionid=hunter2?y", "/x;jsessionid=****"),
        ("/x?%5F%5Ftoken=hunter2", "/x?%5F%5Ftoken=****"),
        ("/x?__%74oken=hunter2", "/x?__%74oken=****"),
        ("/x?+__token=hunter2", "/x?+__token=****"),
        ("/x?__TOKEN=hunter2", "/x?__TOKEN=****"),
        ("/x?__token[]=hunter2", "/x?__token[]=****"),
        ("/x?__to%00ken=hunter2", "/x?__to%00ken=****"),
        ("/x?a=1%26__token%3Dhunter2", "/x?a=****"),
        ("/x?next=https%3A%2F%2Fu%3Ahunter2%40h", "/x?next=****"),
        ("/x?next=%2Fswaig%3F__token%3Dhunter2&b=2", "/x?next=****&b=2"),
        ("/x?next=/swaig?__token=hunter2", "/x?next=/swaig?__token=****"),
        ("/x?next=https://u:hunter2@h", "/x?next=https://****@h"),
        ("/x?%3F__token%3Dhunter2=1", "/x?****"),
        ("/x%3F__token=hunter2", "****"),
        (b"https://u:hunter2@h/", "https://****@h/"),
        (b"/\xff", "/\\\\xff"),
        ("https://u:hunter2@h/\r\nx", "https://****@h/\\r\\nx"),
        ("ht\ntps:/\t/u:hunter2@h/", "ht\\ntps:/\\t/****@h/"),
        ("https:\\\\u:hunter2@h", "https:\\\\\\\\****@h"),
        (None, "None"),
    ],
)
def test_redact_url(url: object, expected: str | None) -> None:
    redacted = redact_url(url)
    assert redacted == (url if expected is None else expected)
    assert SECRET not in redacted


@pytest.mark.parametrize(
    "name",
    [
        "__token",
        "token",
        "bearer",
        "access_token",
        "refreshToken",
        "api_key",
        "apiKey",
        "api-key",
        "key",
        "password",
        "passwd",
        "pwd",
        "client_secret",
        "signature",
        "X-Amz-Signature",
        "X-Amz-Credential",
        "sig",
        "auth",
        "code",
        "sid",
        "pin",
        "PIN",
        "refresh",
        "assertion",
        "client_assertion",
        "cardnumber",
        "credit_card_number",
        "hmac",
        "%63ode",
        "pw",
        "psw",
        "new_pw",
        "user.pwd",
        "otp",
        "totp",
        "otp_code",
        "otp[0]",
        "one-time-code",
        "mfa_code",
        "2fa",
        "sms_code",
        "verification_code",
        "device_code",
        "user[pin]",
        "card_pin",
        "cvv",
        "CVV2",
        "cvc",
        "card[cvc]",
        "security_code",
        "cc_number",
        "code_verifier",
        "oauth_verifier",
        "SAMLResponse",
        "SAMLRequest",
        "SAMLart",
        "wresult",
        "ticket",
        "securityAnswer",
        "mnemonic",
    ],
)
def test_secret_parameters(name: str) -> None:
    assert redact_url(f"/x?a=1&{name}={SECRET}&b=2") == f"/x?a=1&{name}=****&b=2"


@pytest.mark.parametrize(
    "name",
    [
        "zipcode",
        "country_code",
        "error_code",
        "CallSid",
        "shipping",
        "spin",
        "refresh_rate",
        "insider",
        "hotpink",
        "power",
        "pwa",
        "cvs",
        "samples",
        "tickets",
        "user[name]",
        "user.id",
        "verified",
    ],
)
def test_parameters_that_only_look_like_secrets(name: str) -> None:
    assert redact_url(f"/x?{name}=1") == f"/x?{name}=1"


def test_a_secret_encoded_many_times_is_masked() -> None:
    value = f"?__token={SECRET}"
    for _ in range(9):
        value = quote(value, safe="")
    assert redact_url(f"/x?next={value}") == "/x?next=****"


def test_text_that_is_encoded_more_often_than_anyone_needs_is_masked() -> None:
    """The depth to which values are decoded is bounded; what is below it counts as a secret."""
    value = "%"
    for times in range(1, 8):
        value = quote(value, safe="")
        assert redact_url(f"/?a={value}") == (f"/?a={value}" if times < 4 else "/?a=****")


PIECES = st.sampled_from(
    ["/", "\\", "?", "&", ";", "#", ":", "a", "=", "%", "%3F", "\n", "h.example"]
)


@given(st.lists(PIECES).map("".join), st.lists(PIECES).map("".join))
def test_no_surroundings_reveal_a_token(before: str, after: str) -> None:
    for separator in "?&;#":
        assert SECRET not in redact_url(f"{before}{separator}__token={SECRET}{after}")


@given(st.text(st.characters(exclude_characters="/?#\\@"), max_size=20), st.text(max_size=20))
def test_no_userinfo_is_revealed(user: str, rest: str) -> None:
    assert SECRET not in redact_url(f"https://{user}:{SECRET}@h.example/{rest}")


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(
        lambda text: quote(f"x{text}", safe="")
    )
)
def test_an_encoded_password_is_never_revealed(password: str) -> None:
    assert redact_url(f"https://user:{password}@h.example/") == "https://****@h.example/"


@given(st.text(st.characters()) | st.binary())
def test_anything_is_redacted_to_one_line(url: str | bytes) -> None:
    assert redact_url(url).isprintable()


@pytest.mark.parametrize(
    "unit", ["//", "/\t", "https://a:x", "?__token", "%2525", "@", "?a=", "?=%3F"]
)
def test_the_work_is_linear_in_the_length(unit: str) -> None:
    # Quadratic work on a line of this length would take minutes.
    assert redact_url("https://u:p" + unit * 40_000).isprintable()


# -- free text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing of the kind", "nothing of the kind"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: ****"),
        ("got b'Cookie: a=s3cret; b=c' here", "got b'Cookie: ****' here"),
        ("X-Api-Key: s3cret", "X-Api-Key: ****"),
        ("Content-Type: text/html", "Content-Type: text/html"),
        ("sent Basic dXNlcjpwYXNz, and", "sent Basic ****, and"),
        ("Bearer letmein", "Bearer ****"),
        ("neither Basic authentication nor a bearer token", None),
        ('{"__token": "s3cret", "a": 1}', '{"__token": ****, "a": 1}'),
        ('{"a": {"pin": 1234}, "b": 2}', '{"a": {"pin": ****}, "b": 2}'),
        ('{"password":null}', '{"password":****}'),
        ('{"password": "it\\\\\\"s3cret", "b": 2}', '{"password": ****, "b": 2}'),
        ('{"password": "s3cret', '{"password": ****'),
        ('{"token": ["s3cret", "s3cret"]}', '{"token": ****'),
        ("{'password': 's3cret', 'b': 2}", "{'password': ****, 'b': 2}"),
        ("{'pw': b's3cret', 'b': 2}", "{'pw': b****, 'b': 2}"),
        ("[('X-Api-Key', 's3cret'), ('A', 'b')]", "[('X-Api-Key', ****), ('A', 'b')]"),
        ("User(name='x', password='s3cret')", "User(name='x', password=****)"),
        ('User(otp="s3cret") f(token=None)', "User(otp=****) f(token=None)"),
        ("{'password': '', 'b': 's'}", "{'password': ****, 'b': 's'}"),
        ("agent 'bank': the document", "agent 'bank': the document"),
        ("GET /?pin=1234&a=1 HTTP/1.1", "GET /?pin=****&a=1 HTTP/1.1"),
        ("a=1&password=s3cret", "a=1&password=****"),
        ("__token=s3cret", "__token=****"),
        ("host=db password=s3cret port=1", "host=db password=**** port=1"),
        ("DRIVER=x;PWD=s3cret;UID=y", "DRIVER=x;PWD=****;UID=y"),
        ("password: s3cret, user: x", "password: ****, user: x"),
        ("SWML_BASIC_AUTH_PASSWORD: expected text", None),
        ("SWML_BASIC_AUTH_PASSWORD=s3cret", "SWML_BASIC_AUTH_PASSWORD=****"),
        ("['mysql', '--password=s3cret']", "['mysql', '--password=****']"),
        ("ValueError: password=s3cret", "ValueError: password=****"),
        ("dsn=host=db;a=password=s3cret x", "dsn=host=db;a=password=**** x"),
        ("mysql --password=s3cret x", "mysql --password=**** x"),
        ("get(u, auth=('demo','s3cret'))", "get(u, auth=****))"),
        ("Login(user=demo, password=s3cret)", "Login(user=demo, password=****"),
        ("url=https%3A%2F%2Fu%3As3cret%40h", "url=****"),
        ("zip=1 country: D7", None),
        ('File "/srv/credentials.py", line 12, in load', None),
        ("  File '/srv/token.py', line 3", None),
        ('"/srv/credentials.py", line 12', '"/srv/credentials.py", **** 12'),
        ('File "password", s3cret', 'File "password", ****'),
        ('File "password", line s3cret', 'File "password", **** s3cret'),
        ('File "password": "line 1 s3cret"', 'File "password": ****'),
        ("Bearer s3cret, BASIC s3cret; bearer\ts3cret", "Bearer ****, BASIC ****; bearer\\t****"),
        ("Proxy-Authorization : s3 cret", "Proxy-Authorization : ****"),
        ("authorization: s3 cret\ncookie:s3 cret", "authorization: ****\\ncookie: ****"),
        ("X-Session: s3 cret", "X-Session: ****"),
        ("XX-Session: s3, X-A: b", "XX-Session: s3, X-A: b"),
        ("password=None token=True secret = False pwd=****", None),
        ("password=Nonesuch token=**** x", "password=**** token=**** x"),
        ("token = s3cret", "token = ****"),
        ("db.password=s3cret", "db.password=****"),
        (
            "password: letters. password:s3 password: s3cret",
            "password: letters. password:s3 password: ****",
        ),
        ("http_auth = ['s3', 'cret']", "http_auth = ****]"),
        ("'password' : 1, 'pw'\t,\t's3cret'", "'password' : ****, 'pw'\\t,\\t****"),
        ("p='x' pw='s3cret' k='y'", "p='x' pw=**** k='y'"),
        ("x%5F%5ftoken%3ds3cret", "x%5F%5ftoken%3d****"),
        ("x__TOKEN=s3cret's", "x__TOKEN=****'s"),
        ("-----BEGIN A-----s3cret-----END A-----y", "****y"),
        ("-----BEGIN KEY-----\nMIIs3cret\n-----END KEY----- x", "**** x"),
        ("-----BEGIN KEY-----\nMIIs3cret", "****"),
    ],
)
def test_secrets_in_text_are_masked(text: str, expected: str | None) -> None:
    assert redact_text(text) == (text if expected is None else expected)


@pytest.mark.parametrize(
    "word",
    [
        *("auth", "authentication", "authorization", "credential", "credentials", "realm"),
        *("scheme", "token", "tokens", "and", "or"),
    ],
)
def test_words_after_the_name_of_a_scheme_are_prose(word: str) -> None:
    for text in (f"basic {word} of", f"Bearer {word}"):
        assert redact_text(text) == text
    assert redact_text(f"Basic {word}s3cret") == "Basic ****"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("x/pin=s3cret", "x/pin=****"),
        ("x?pin=s3cret", "x?pin=****"),
        ("x&pin=s3cret", "x&pin=****"),
        ("u:s3cret@h", "u:****@h"),
        ("x%2fpin%3Ds3cret", "****"),
        ("x%2Fpin%3Ds3cret", "****"),
        ("x%3fpin%3Ds3cret", "****"),
        ("x%26pin%3ds3cret", "****"),
        ("u:s3cret%40h", "****"),
    ],
)
def test_one_sign_makes_a_word_a_url_or_a_query(word: str, expected: str) -> None:
    assert redact_text(f"see {word} y") == f"see {expected} y"


@pytest.mark.parametrize("after", ["'", '"', "`", ")", "]", "}", ">", ".", ",", ":", ">.", "'),"])
def test_what_follows_a_url_in_a_sentence_stays(after: str) -> None:
    assert redact_text(f"see /x?pin=s3cret{after} y") == f"see /x?pin=****{after} y"
    assert redact_text(f"see /x?a=X{after}") == f"see /x?a=X{after}"


#: What is repeated in a text, and how often at most before its secret is no longer looked for.
BOUNDS = [
    ("Bearer{}s3cret", " ", 8),
    ("{0}'password{0}': 's3cret'", "\\", 8),
    ("'{}_password': 's3cret'", "q", 64 - len("_password")),
    ("'password'{}: 's3cret'", " ", 8),
    ("'password':{}'s3cret'", " ", 8),
    ("{}_password='s 3cret'", "q", 64 - len("_password")),
    ("password={}'s 3cret'", "\\", 8),
    ("{}-token: s 3cret", "q", 32),
    ("api-{}token: s 3cret", "q", 32 - len("token")),
    ("api{}-token: s 3cret", "-a", 7),
    ("api-token{}: s 3cret", " ", 8),
    ("{}_password = s3cret", "q", 64 - len("_password")),
    ("password{}= s3cret", " ", 4),
    ("password ={}s3cret", " ", 4),
    ("password:{}s3cret", " ", 4),
    ("{}auth=[('s 3cret')", "q", 32),
    ("-----BEGIN {}-----s 3cret", "Q", 64),
]


@pytest.mark.parametrize(("form", "part", "most"), BOUNDS)
def test_what_is_searched_for_is_bounded(form: str, part: str, most: int) -> None:
    """The bounds keep the work linear. No one writes that much."""
    assert "3cret" not in redact_text(form.format(part * most))
    assert "3cret" in redact_text(form.format(part * (most + 1)))


def test_a_json_body_inside_a_string_is_masked() -> None:
    body = json.dumps({"function": "pay", "password": 's3"cr\\et', "card_pin": "s3cret"})
    for text in (body, repr(body), json.dumps(body), repr([json.dumps({"body": body})])):
        assert "s3" not in redact_text(text)
        assert "pay" in redact_text(text)


@given(st.text(st.sampled_from("\"'\\ab:=,{}[]() \n/?&%@"), max_size=40))
def test_no_surroundings_reveal_a_secret_in_json(junk: str) -> None:
    for text in (f'{junk} {{"password": "s3cret"}}', f"{junk} Authorization: Bearer s3cret"):
        redacted = redact_text(text)
        assert "s3cret" not in redacted
        assert redacted.isprintable()


def test_attack_a_configured_value_is_masked_wherever_it_stands() -> None:
    hide_values(["correct horse/battery", b"bytes-as-key", None, "short", b"\xff", "\ud800" * 9])
    hide_values(["correct horse/battery staple"])
    for text in ("it said correct horse/battery staple", "/a/correct%20horse%2Fbattery%20staple"):
        assert redact_text(text).endswith(" ****" if " " in text else "/****")
        assert redact_url(text).endswith(" ****" if " " in text else "/****")
    assert redact_text("correct horse/battery bytes-as-key short") == "**** **** short"


def test_the_number_of_hidden_values_is_bounded() -> None:
    hide_values(f"value-{number:05}" for number in range(1000))
    assert redact_text("value-00000 value-00999") == "**** value-00999"
    text = "value-" * 100_000
    assert fastest(lambda: redact_text(text), enough=0.05) < 0.2


def test_attack_a_tool_token_is_masked_wherever_it_stands() -> None:
    key = SigningKey(b"0123456789abcdef")
    token = sign_token(key, "pay", "call-1", 1_800_000_000, "0a" * 8)
    for mask in redact_text, redact_url:
        assert mask(f"/bank/swaig/{token}") == "/bank/swaig/****"
        assert mask(f"/bank/{'x' * 60}/{token[:-8]}") == f"/bank/{'x' * 60}/{token[:-8]}"
    assert redact_text(f"no function {token}!") == "no function ****!"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/bank/password=s3cret", "/bank/password=****"),
        ("/bank/token=s3cret/x", "/bank/token=****/x"),
        ("/bank/pass%77ord=s3cret", "****"),
        ("/demo:s3cret@h/bank", "/****@h/bank"),
        ("/a=1/b:2/c@d:3", "/a=1/b:2/c@d:3"),
    ],
)
def test_attack_secrets_in_path_segments_are_masked(path: str, expected: str) -> None:
    assert redact_url(path) == expected


def test_long_text_is_cut() -> None:
    assert redact_text("a" * 20 + " password=s3cret", 20) == "a" * 20 + "... (16 more characters)"
    assert len(redact_text("a" * 1_000_000)) < 9000


def test_the_last_of_many_parameters_are_masked() -> None:
    text = redact_text("/?a=1 " * 1000)
    assert text.startswith("/?a=1 /?a=1 ")
    assert text.endswith(" **** **** ")


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "&",
        "?a=1&",
        "%25",
        "@a/ ",
        "/a ",
        "//",
        "a:",
        "__token=",
        "a=%2525",
        "\\",
        '"',
        "'a': ",
        '{"a":',
        "\n",
        "\u202e",
        "\U0001f600",
        "user[a]=",
        "a.b=",
        "Basic ",
        "a-",
        "x(a=1&b=2) ",
        "\\'",
        "auth=(",
        "password: ",
        "a=",
        "a: b=",
        "a.",
        "-----BEGIN a-----",
        "----",
        "a" * 40 + " ",
    ],
)
def test_the_work_on_text_is_bounded(unit: str) -> None:
    text = unit * (500_000 // len(unit))
    # A few milliseconds. It took seconds.
    assert fastest(lambda: redact_text(text), enough=0.05) < 0.2


WORDS = ["token", "password", "Basic", "/", "//", "..", "-----BEGIN", "hidden-value-1", "__token"]


@given(st.lists(st.text('aZ0_./-=:@%+ "?&;#,') | st.sampled_from(WORDS), max_size=6).map("".join))
def test_harmless_text_is_what_no_pattern_would_change(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_configured", {})
        patch.setattr(redaction, "_hidden", ())  # restored in the end
        hide_values(["hidden-value-1"])
        found = redact_text(text), redact_text(text, 5), redact_url(text)
        patch.setattr(redaction, "_HARMLESS", re.compile("(?!)"))
        assert (redact_text(text), redact_text(text, 5), redact_url(text)) == found


@given(st.text("aZ0_./-", min_size=30, max_size=60), st.integers(0, 10))
def test_attack_no_secret_is_harmless(text, position):
    token = sign_token(SigningKey(b"k" * 16), "f", "c", 10**9, "0a0b0c0d")
    for secret in (token, "hidden-value-1"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(redaction, "_configured", {})
            patch.setattr(redaction, "_hidden", ())
            hide_values(["hidden-value-1"])
            hiding = f"{text[:position]}{'.' if secret == token else ''}{secret}"
            assert secret not in redact_text(hiding)
            assert secret not in redact_url(hiding)


@given(st.lists(st.text('aZ0_./-\n :=@\\"é', max_size=50) | st.text()))
def test_attack_no_text_is_harmless_that_redaction_changes(texts: list[str]) -> None:
    hide_values(["hidden-value"])
    for each in (texts, [*texts, "a-hidden-value"], [*texts, "__token=x"]):
        if are_harmless(each):
            assert [redact_text(text) for text in each] == each
            assert [redact_url(text) for text in each] == each


def test_attack_one_text_of_several_lines_is_not_several_texts() -> None:
    assert are_harmless(["GET", "/swaig", "-", ""])

    assert not are_harmless(["GET", "/a\n/b"])
    assert not are_harmless(["GET\n"])
    # A secret may be divided by the end of a line, but not by the end of a text.
    hide_values(["of-several-\nlines"])
    assert not are_harmless(["of-several-\nlines"])


@pytest.mark.parametrize("other", [None, 1, b"a", type("Text", (str,), {})("a")])
def test_only_strings_are_harmless(other: object) -> None:
    assert not are_harmless(["a", other])


def test_the_bounds_of_hidden_values() -> None:
    hide_values([None, "1234567", "12345678", "aXX/XX/XXb", *map(str, range(10**8, 10**8 + 300))])
    assert redact_text("1234567 12345678") == "1234567 ****"
    assert redact_url("/12345678") == "/****"
    assert redact_text("aXX%2FXX%2FXXb") == "****"
    assert redact_text(f"{10**8 + 252} {10**8 + 253}") == f"**** {10**8 + 253}"


def test_the_bounds_of_a_text() -> None:
    assert redact_text("a" * 8192) == "a" * 8192
    assert redact_text("a" * 8193) == f"{'a' * 8192}... (1 more characters)"
    assert redact_text("/?a=1 " * 64) == "/?a=1 " * 64
    assert redact_text("/?a=1 " * 65) == f"{'/?a=1 ' * 64}**** "
    assert redact_text("/?a=1&b=2&c=3 " * 32) == "/?a=1&b=2&c=3 " * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pin=s3cret&a=1&b=2", "pin=****&a=1&b=2"),
        ("a=1&pin=s3cret&b=2", "a=1&pin=****&b=2"),
        ("'/x?pin=s3cret'", "'/x?pin=****'"),
        ('{"password": {"a": "s3cret"}}', '{"password": ****'),
        ("X-Session: s3cret", "X-Session: ****"),
        ('"password": "s\\\\"3cret", x', '"password": ****, x'),
    ],
)
def test_further_secrets_in_text(text: str, expected: str) -> None:
    assert redact_text(text) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/x/password=a=s3cret", "/x/password=****"),
        ("/x/u:s3@cret@h", "/x/****@h"),
        ("https://u:s3/cr@et@h/x", "https://****@h/x"),
        ("https://u:1:s3/cret@h/x", "https://****@h/x"),
    ],
)
def test_further_secrets_in_urls(url: str, expected: str) -> None:
    assert redact_url(url) == expected
