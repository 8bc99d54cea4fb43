import base64
import hmac

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from swaig_wsgi.core import _credential_checks as checks
from swaig_wsgi.core import auth
from swaig_wsgi.core.auth import (
    AuthResult,
    BasicSecret,
    CredentialPolicy,
    Decision,
    Secret,
    UsualField,
    constant_time_equal,
    parse_basic,
    resolve_credentials,
)
from swaig_wsgi.core.redaction import redact_text

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates included


def encoded(text, charset="utf-8"):
    return base64.b64encode(text.encode(charset)).decode()


def as_wsgi(text):
    return text.encode().decode("latin-1")


@pytest.fixture
def comparisons(monkeypatch):
    """The lengths of what every constant-time comparison compared."""
    seen = []

    def compare_digest(a, b):
        seen.append((len(a), len(b)))
        return hmac.compare_digest(a, b)

    class Recorder:
        pass

    Recorder.compare_digest = staticmethod(compare_digest)
    monkeypatch.setattr(auth, "hmac", Recorder)
    return seen


# -- comparing


@given(any_text, any_text)
@example("", "")
@example("\ud800", "\ud800")
@example("\ud800\udc00", "\U00010000")
@example("\udcff", "\xff")
@example("é", "e\u0301")
def test_texts_are_equal_when_they_are_equal(a, b):
    assert constant_time_equal(a, b) is (a == b)
    assert constant_time_equal(a, a) is True
    assert Secret(a).matches(b) is (a == b)
    assert Secret(a).matches(a) is True


@given(st.binary(), st.binary())
def test_octets_are_equal_when_they_are_equal(a, b):
    assert constant_time_equal(a, b) is (a == b)
    assert constant_time_equal(a, a) is True
    assert Secret(a).matches(b) is (a == b)


@given(st.text())
def test_text_is_compared_as_utf_8(text):
    assert constant_time_equal(text, text.encode())
    assert Secret(text).matches(text.encode())


@pytest.mark.parametrize("other", [None, 1, bytearray(b"a"), ["a"]])
def test_only_str_and_bytes_can_be_compared(other):
    with pytest.raises(TypeError):
        constant_time_equal("a", other)
    with pytest.raises(TypeError):
        constant_time_equal(other, "a")
    assert Secret("a").matches(other) is False
    assert Secret("a").matches_field(other) is False


@pytest.mark.parametrize(
    "given_value", ["", "s", "secret", "secreT", "x" * 100_000, "\ud800", b"\xff"]
)
def test_comparisons_are_of_equal_length_for_every_input(comparisons, given_value):
    constant_time_equal("secret", given_value)
    Secret("secret").matches(given_value)
    assert comparisons == [(32, 32), (32, 32)]


def test_a_secret_shows_itself_nowhere():
    secret, pair = Secret("hunter2"), BasicSecret("admin", "hunter2")
    assert "hunter2" not in repr([secret, pair])
    several, pairs = Secret("x", "hunter2"), BasicSecret("x", "y", ("admin", "hunter2"))
    assert "hunter2" not in repr([several, pairs])
    held = [getattr(each, name) for each in (secret, several) for name in Secret.__slots__]
    assert not any("hunter2" in repr(value) for value in held)
    assert not hasattr(secret, "__dict__")
    assert not hasattr(pair, "__dict__")


@pytest.mark.parametrize("secret", ["plain", "pä", "à", "日本", "\xff"])
def test_a_header_value_matches_as_text_and_in_the_encoding_of_wsgi(secret):
    assert Secret(secret).matches_field(secret)
    assert Secret(secret).matches_field(as_wsgi(secret))
    assert Secret(secret.encode()).matches_field(as_wsgi(secret))
    assert not Secret(secret).matches_field(as_wsgi(as_wsgi(secret)) + "x")


def test_secret_octets_that_are_not_utf_8_match_in_the_encoding_of_wsgi():
    assert Secret(b"\xff\xfe").matches_field("\xff\xfe")


@pytest.mark.parametrize(
    ("secret", "value"), [("a?", "a日"), ("?", "\ud800"), ("é", "e"), ("a", "\u0430"), ("é", "?")]
)
def test_look_alikes_in_a_header_do_not_match(secret, value):
    assert not Secret(secret).matches_field(value)


@given(st.text(min_size=1), any_text)
def test_a_header_value_matches_in_its_two_encodings_only(secret, value):
    assert Secret(secret).matches_field(value) is (value in (secret, as_wsgi(secret)))


@pytest.mark.parametrize(
    ("user", "password"),
    [("admin", "wrong"), ("wrong", "hunter2"), ("wrong", "wrong"), ("", ""), ("admin", "hunter2")],
)
def test_user_and_password_are_compared_at_once_whichever_is_wrong(comparisons, user, password):
    matched = BasicSecret("admin", "hunter2").matches(user, password)
    assert matched is ((user, password) == ("admin", "hunter2"))
    assert comparisons == [(64, 64)]


@pytest.mark.parametrize("given_value", ["current", "earlier", "earliest", "none", "", "é"])
def test_attack_every_candidate_is_compared_whichever_matches(comparisons, given_value):
    secret = Secret("current", "earlier", "earliest")
    assert secret.matches(given_value) is (given_value in ("current", "earlier", "earliest"))
    assert comparisons == [(32, 32)] * 3
    del comparisons[:]
    assert secret.matches_field(given_value) is (given_value in ("current", "earlier", "earliest"))
    assert comparisons == [(32, 32)] * (6 if given_value == "é" else 3)
    del comparisons[:]
    pairs = BasicSecret("ann", "current", ("ann", "earlier"), ("bob", "earliest"))
    assert pairs.matches("ann", given_value) is (given_value in ("current", "earlier"))
    assert comparisons == [(64, 64)] * 3


def test_a_fallback_differs_from_the_current_credential():
    secret = Secret("now", "before")
    assert [secret.is_fallback(each) for each in ("now", "before", "other", None)] == [
        *(False, True, False, False)
    ]
    # As octets it is the current one, as text the earlier one.
    assert not Secret("é", as_wsgi("é")).is_fallback(as_wsgi("é"))
    assert Secret(as_wsgi("é"), "é").is_fallback("é")
    pairs = BasicSecret("ann", "now", ("ann", "before"), ("bob", "older"))
    assert not pairs.is_fallback("ann", "now")
    assert pairs.is_fallback("ann", "before")
    assert pairs.is_fallback("bob", "older")
    assert not pairs.is_fallback("ann", "older")
    assert not pairs.is_fallback("bob", "now")
    assert not pairs.is_fallback("ann", None)


def test_user_and_password_cannot_trade_characters():
    pair = BasicSecret("ab", "c")
    assert pair.matches("ab", "c")
    assert not pair.matches("a", "bc")
    assert not pair.matches("c", "ab")
    assert not pair.matches(None, "c")
    assert not pair.matches("ab", None)


# -- deciding


def policy(*, bearer="token", api_key="key", basic=("admin", "hunter2")):
    return CredentialPolicy(
        Secret(bearer).matches_field if bearer else None,
        Secret(api_key).matches_field if api_key else None,
        BasicSecret(*basic).matches if basic else None,
    )


BASIC = "Basic " + encoded("admin:hunter2")


@pytest.mark.parametrize(
    ("authorization", "api_key", "result"),
    [
        ("Bearer token", None, AuthResult("bearer")),
        ("bearer token", "wrong", AuthResult("bearer")),
        ("Bearer token", "key", AuthResult("bearer")),
        (BASIC, "key", AuthResult("api_key")),
        (None, "key", AuthResult("api_key")),
        ("Bearer wrong", "key", AuthResult("api_key")),
        ("Basic !", "key", AuthResult("api_key")),
        (BASIC, None, AuthResult("basic", "admin")),
        (BASIC.replace("Basic", "bASIC"), "wrong", AuthResult("basic", "admin")),
    ],
)
def test_the_first_success_wins(authorization, api_key, result):
    assert policy().decide(authorization, api_key) == Decision(result)


@pytest.mark.parametrize(
    ("authorization", "api_key", "reason"),
    [
        (None, None, "missing_credentials"),
        (None, "", "bad_credentials"),
        (None, "token", "bad_credentials"),
        ("", None, "malformed_credentials"),
        ("Bearer key", None, "bad_credentials"),
        ("Bearer", None, "malformed_credentials"),
        ("Bearer token token", None, "malformed_credentials"),
        ("Bearer token,token", None, "malformed_credentials"),
        ("Bearer\ttoken", None, "malformed_credentials"),
        ("token", None, "missing_credentials"),
        ("Bearer " + BASIC[6:], None, "bad_credentials"),
        ("Basic token", None, "malformed_credentials"),
        ("Basic " + encoded("admin:"), None, "bad_credentials"),
        ("Basic " + encoded(":"), None, "bad_credentials"),
        ("Basic " + encoded("admin"), None, "malformed_credentials"),
        ("Basic " + encoded("hunter2:admin"), None, "bad_credentials"),
        ("Basic " + encoded("admin:hunter2 "), None, "bad_credentials"),
        ("Basic " + encoded("Admin:hunter2"), None, "bad_credentials"),
        (BASIC + ", " + BASIC, None, "malformed_credentials"),
        ("Digest a=b", None, "missing_credentials"),
        ("Digest a=b", "wrong", "bad_credentials"),
        ("Basic !", "wrong", "malformed_credentials"),
    ],
)
def test_a_decision_has_a_reason(authorization, api_key, reason):
    decision = policy().decide(authorization, api_key)
    assert decision == Decision(None, reason, reason == "missing_credentials")


@pytest.mark.parametrize(
    ("authorization", "api_key", "empty"),
    [
        ("", None, True),
        (" \t", "", True),
        (None, "", True),
        ("Digest a=b", "", True),
        (None, None, False),
        ("Bearer", None, False),
        ("", "wrong", False),
        ("Bearer wrong", "", False),
    ],
)
def test_a_decision_tells_whether_the_fields_were_empty(authorization, api_key, empty):
    assert policy().decide(authorization, api_key).empty is empty


@pytest.mark.parametrize(
    ("accepted", "authorization", "api_key", "anonymous"),
    [
        ({"bearer": "token"}, BASIC, "key", True),
        ({"bearer": "token"}, "\x00", None, False),
        ({"basic": ("admin", "hunter2")}, "Bearer token", None, True),
        ({"basic": ("admin", "hunter2")}, "\x00", None, False),
        ({"api_key": "key"}, "Bearer token", None, True),
        ({"api_key": "key"}, "\x00", None, True),
        ({}, "Bearer token", "key", True),
    ],
)
def test_kinds_that_are_not_accepted_are_ignored(accepted, authorization, api_key, anonymous):
    none = {"bearer": None, "api_key": None, "basic": None}
    decision = policy(**{**none, **accepted}).decide(authorization, api_key)
    assert decision.result is None
    assert decision.anonymous is anonymous


@pytest.mark.parametrize("result", [1, "yes", object(), None, False])
def test_only_a_check_that_returns_true_accepts(result):
    def check(*args):
        return result

    lax = CredentialPolicy(check, check, check)
    for authorization, api_key in [("Bearer x", None), (BASIC, None), (None, "x")]:
        assert lax.decide(authorization, api_key).result is None


@given(st.none() | any_text, st.none() | any_text)
def test_nothing_but_the_credentials_is_accepted(authorization, api_key):
    # Hypothesis also tries strings that it finds in the code, such as the credentials.
    assume(api_key != "key")
    assume(authorization is None or authorization.lower() not in ("bearer token", BASIC.lower()))
    decision = policy().decide(authorization, api_key)
    assert decision.result is None
    assert decision.reason
    assert decision.anonymous is (decision.reason == "missing_credentials")


def test_a_wrong_user_and_a_wrong_password_are_indistinguishable(comparisons):
    wrong = [encoded(pair) for pair in ("admin:wrong", "wrong:hunter2", "wrong:wrong")]
    decisions = {policy().decide(f"Basic {each}", None) for each in wrong}
    assert len(decisions) == 1
    assert comparisons == [(64, 64)] * len(wrong)


def fields_like(text):
    """Return a strategy for fields that differ from `text` a little, or not at all."""
    places = st.integers(0, len(text))
    cut = st.tuples(places, places).map(lambda ends: text[: ends[0]] + text[ends[1] :])
    added = st.tuples(places, any_text).map(lambda at: text[: at[0]] + at[1] + text[at[0] :])
    cases = st.sampled_from([text, text.lower(), text.upper(), text.replace(" ", "  ")])
    return st.sampled_from([text, text + ", " + text]) | cut | added | cases


USERS = st.text(min_size=1).filter(lambda user: ":" not in user and user.isprintable())


@given(USERS, st.text(min_size=1).filter(str.isprintable), st.data())
def test_comparing_the_usual_field_first_changes_no_decision(user, password, data):
    checks = (Secret("token").matches_field, Secret("key").matches_field)
    full = CredentialPolicy(*checks, BasicSecret(user, password).matches)
    quick = CredentialPolicy(*checks, full.basic, usual=UsualField(user, password))
    text = f"{user}:{password}"
    usual = "Basic " + encoded(text)
    charsets = [usual, "Bearer token", "Basic " + encoded(text, "utf-8").rstrip("=")]
    field = data.draw(st.none() | fields_like(usual) | st.sampled_from(charsets))
    for api_key in (None, "", "key", "wrong"):
        assert quick.decide(field, api_key) == full.decide(field, api_key)
    assert quick.decide(usual, None).result == AuthResult("basic", user)


def test_the_usual_field_is_compared_in_constant_time_as_one_digest(comparisons):
    field = UsualField("admin", "hunter2")
    for sent in (BASIC, "", "Basic", BASIC + "=" * 1000, f"{BASIC}\ud800"):
        assert field.matches(sent) is (sent == BASIC)
    assert comparisons == [(32, 32)] * 5
    assert "hunter2" not in repr(field)


@pytest.mark.parametrize("pair", [("a:b", "c"), ("a\n", "b"), ("\ud800", "b")])
def test_credentials_that_are_read_differently_have_no_usual_field(pair):
    octets = ":".join(pair).encode("utf-8", "surrogatepass")
    assert not UsualField(*pair).matches("Basic " + base64.b64encode(octets).decode())


# -- resolving


def test_given_credentials_win():
    found = resolve_credentials("agent", ("a", "b"), ("c", "d"), password="0123456789abcdef")
    assert found == ("a", "b", "provided")


def test_then_both_variables():
    found = resolve_credentials("agent", None, ("c", "d:e"), password="0123456789abcdef")
    assert found == ("c", "d:e", "environment")


@pytest.mark.parametrize("environment", [None, (None, None), ("", ""), (None, "")])
def test_else_the_name_and_a_generated_password(environment):
    found = resolve_credentials("agent", None, environment, password="0123456789abcdef")
    assert found == ("agent", "0123456789abcdef", "generated")


@pytest.mark.parametrize(
    ("name", "user"),
    [
        ("front desk", "front desk"),
        ("büro", "büro"),
        ("a:b::c", "a-b--c"),
        ("a\n\x7f\ud800", "a---"),
        ("", "agent"),
    ],
)
def test_a_name_becomes_a_user_name_that_can_be_sent(name, user):
    found = resolve_credentials(name, None, None, password="0123456789abcdef")
    assert found.user == user
    assert parse_basic(encoded(f"{found.user}:{found.password}")) == (user, found.password)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (("user", None), "SWML_BASIC_AUTH_USER is set, SWML_BASIC_AUTH_PASSWORD is not"),
        (("user", ""), "SWML_BASIC_AUTH_USER is set, SWML_BASIC_AUTH_PASSWORD is not"),
        ((None, "s3cr3t"), "SWML_BASIC_AUTH_PASSWORD is set, SWML_BASIC_AUTH_USER is not"),
        (("", "s3cr3t"), "SWML_BASIC_AUTH_PASSWORD is set, SWML_BASIC_AUTH_USER is not"),
        (("a:b", "s3cr3t"), "SWML_BASIC_AUTH_USER and SWML_BASIC_AUTH_PASSWORD: .* colon"),
    ],
)
def test_one_variable_alone_or_invalid_ones_are_rejected(environment, message):
    with pytest.raises(ValueError, match=message) as caught:
        resolve_credentials("agent", None, environment, password="0123456789abcdef")
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("given_pair", [(), ("", "b"), ("a", ""), ("a:b", "c"), "ab"])
def test_given_credentials_are_checked_and_not_replaced(given_pair):
    with pytest.raises(ValueError, match="basic_auth"):
        resolve_credentials("agent", given_pair, ("c", "d"), password="0123456789abcdef")


def test_credentials_do_not_show_the_password():
    found = resolve_credentials("agent", ("a", "hunter2"), None, password="0123456789abcdef")
    assert repr(found) == "Credentials(user='a', password=..., source='provided')"
    assert "hunter2" not in f"{found}"


def test_a_lone_credential_is_no_fallback():
    assert not Secret("now").is_fallback("now")
    assert not Secret("now").is_fallback("other")
    assert not BasicSecret("ann", "now").is_fallback("ann", "now")
    assert not BasicSecret("ann", "now").is_fallback("ann", "other")


# -- what is kept, shown and told


def test_attack_configured_credentials_are_masked_wherever_they_are_logged():
    Secret("the-current-key", b"an-earlier-key")
    BasicSecret("demo", "the-current-word", ("demo", "an-earlier-word"))
    for secret in ("the-current-key", "an-earlier-key", "the-current-word", "an-earlier-word"):
        assert redact_text(f"it was {secret}") == "it was ****"


def test_nothing_shows_the_credentials_that_it_holds():
    assert repr(Secret("the-current-key")) == "<Secret>"
    assert repr(BasicSecret("demo", "the-current-word")) == "<BasicSecret>"
    assert repr(UsualField("demo", "the-current-word")) == "<UsualField>"
    shown = "Authorization(scheme='bearer', credentials='****')"
    assert repr(auth.Authorization("bearer", "the-current-key")) == shown


def test_each_fallback_is_one_and_nothing_else_is():
    secret = Secret("current", "earlier", "earliest")
    pair = BasicSecret("demo", "current", ("demo", "earlier"), ("demo", "earliest"))
    one = BasicSecret("demo", "current", ("demo", "earlier"))
    for value, expected in (
        ("earlier", True),
        ("earliest", True),
        ("current", False),
        ("x", False),
    ):
        assert secret.is_fallback(value) is expected
        assert pair.is_fallback("demo", value) is expected
        assert one.is_fallback("demo", value) is (value == "earlier")
    assert Secret("current").is_fallback("x") is False
    assert BasicSecret("demo", "current").is_fallback("demo", "x") is False


def test_the_defaults_of_a_decision():
    decision = Decision(None)
    assert (decision.reason, decision.anonymous, decision.fallback) == ("", False, False)
    assert (decision.wrong, decision.empty) == (False, False)
    # They are about what to count, not about what was decided.
    assert decision == Decision(None, wrong=True) == Decision(None, empty=True)
    assert decision != Decision(None, fallback=True)


def test_only_blanks_are_no_guess():
    policy = CredentialPolicy(api_key=Secret("key").matches_field)
    assert [policy.decide(None, sent).empty for sent in ("", " ", "\t ", "X", " x", "x ")] == [
        *(True, True, True, False, False, False)
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auth.basic_challenge("a\n"), "realm must be text of printable"),
        (lambda: auth.bearer_challenge("a\n"), "realm must be text of printable"),
        (lambda: auth.unregistered_challenge("a\n"), "realm must be text of printable"),
        (lambda: auth.unregistered_challenge("a\n", "b"), "realm must be text of printable"),
        (lambda: auth.unregistered_challenge("a", "b\n"), "header must be text of printable"),
        (lambda: checks.check_bearer_token(""), "bearer_token must not be empty"),
        (lambda: checks.check_api_key(""), "api_key must not be empty"),
        (lambda: checks.check_basic_pair(("", "a"), "login"), "login: the user name must not be"),
        (lambda: checks.check_basic_pair(("a", ""), "login"), "login: the password must not be"),
        (lambda: checks.check_basic_pairs(("a", 5), "login"), "login: the password must be a str"),
        (lambda: checks.check_basic_pairs((5, "a"), "login"), "login: the user name must be a str"),
    ],
)
def test_messages_name_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
