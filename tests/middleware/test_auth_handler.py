import email.message
import logging
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.authentication import basic, everything
from support.wsgi import pass_through, request

from swaig_wsgi.core.auth import AuthResult, Decision
from swaig_wsgi.middleware.auth import AuthHandler, AuthMiddleware
from swaig_wsgi.wsgi import EnvironHeaders


def only(response):
    return AuthHandler(custom_validator=lambda request: response)


GOOD = [
    ({"Authorization": "Bearer token"}, AuthResult("bearer")),
    ({"X-Api-Key": "key"}, AuthResult("api_key")),
    ({"Authorization": basic("admin:hunter2")}, AuthResult("basic", "admin")),
]


@pytest.mark.parametrize(("headers", "result"), GOOD)
@pytest.mark.parametrize("spell", [str, str.lower, str.upper])
def test_header_names_are_case_insensitive(headers, result, spell):
    headers = {spell(name): value for name, value in headers.items()}
    assert everything().authenticate(headers) == result
    assert everything().validate(headers) is True


@pytest.mark.parametrize(
    ("headers", "method"),
    [
        ({"Authorization": "Bearer token", "X-Api-Key": "key"}, "bearer"),
        ({"Authorization": "Bearer token", "X-Api-Key": "wrong"}, "bearer"),
        ({"Authorization": "Bearer wrong", "X-Api-Key": "key"}, "api_key"),
        ({"Authorization": basic("admin:hunter2"), "X-Api-Key": "key"}, "api_key"),
        ({"Authorization": basic("admin:hunter2"), "X-Api-Key": "wrong"}, "basic"),
        ({"Authorization": "Bearer wrong", "X-Api-Key": "wrong"}, "custom"),
        ({}, "custom"),
    ],
)
def test_methods_are_tried_in_the_order_bearer_api_key_basic_custom(headers, method):
    calls = []

    def validator(request):
        calls.append(request)
        return True

    result = everything(custom_validator=validator).authenticate(headers)
    assert result.method == method
    assert bool(calls) is (method == "custom")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "token"},
        {"Authorization": "Bearer key"},
        {"Authorization": "Bearer token token"},
        {"Authorization": "Bearer\ttoken"},
        {"Authorization": "Bearer token "},
        {"Authorization": "bearertoken"},
        {"Authorization": "ApiKey key"},
        {"Authorization": basic("admin:hunter3")},
        {"Authorization": basic("root:hunter2")},
        {"Authorization": basic("admin:hunter2").rstrip("=")},
        {"Authorization": basic("admin:hunter2") + "="},
        {"Authorization": basic("admin:hunter2").replace("Basic ", "Basic\t")},
        {"Proxy-Authorization": "Bearer token"},
        {"X_Api_Key": "key"},
        {"X-Api-Key": "token"},
        {"X-Api-Key": "key, key"},
        {"X-Api-Key": " key"},
        {"X-Api-Key": ["key"]},
        {"X-Api-Key": None},
        {"Authorization": ["Bearer token"]},
        {"Remote-User": "admin"},
    ],
)
def test_wrong_credentials_are_refused(headers):
    assert everything().authenticate(headers) is None
    assert everything().validate(headers) is False


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer token, Bearer token"},
        {"Authorization": "Bearer wrong,Bearer token"},
        {"Authorization": f"{basic('admin:hunter2')}, {basic('admin:hunter2')}"},
        {"Authorization": "Bearer token", "authorization": "Bearer token"},
        {"Authorization": "Bearer token", "AUTHORIZATION": "Bearer wrong"},
        {"X-Api-Key": "key", "x-api-key": "key"},
        {"X-Api-Key": "key", "Host": "a", "host": "b"},
        {"Authorization": "Bearer a, Bearer b", "X-Api-Key": "key"},
    ],
)
def test_repeated_headers_are_refused_even_with_valid_credentials(headers):
    handler = everything(custom_validator=lambda request: True)
    assert handler.authenticate(headers) is None
    assert handler.decide(headers) == Decision(None, "malformed_credentials")


def test_a_repeated_header_in_a_multi_valued_mapping_is_refused():
    message = email.message.Message()
    message["Authorization"] = "Bearer token"
    assert everything().validate(message)
    message["Authorization"] = "Bearer token"
    assert not everything().validate(message)


@pytest.mark.parametrize("secret", ["tägliches", "à", "日本語", "\x80"])
def test_non_ascii_credentials_match_in_every_encoding_of_the_headers(secret):
    handler = AuthHandler(bearer_token=secret, api_key=secret, api_key_header="X-K")
    as_wsgi = secret.encode().decode("latin-1")
    for value in (secret, as_wsgi, secret.encode()):
        prefix = "Bearer " if isinstance(value, str) else b"Bearer "
        assert handler.validate({"Authorization": prefix + value})
        assert handler.validate({"X-K": value})
    environ = {"HTTP_AUTHORIZATION": "Bearer " + as_wsgi}
    assert handler.validate(EnvironHeaders(environ))
    assert not handler.validate({"X-K": as_wsgi[:-1]})


def test_basic_credentials_are_decoded_as_utf_8_or_else_latin_1():
    handler = AuthHandler(basic_auth=("jörg", "päss:wörd"))
    for charset in ("utf-8", "latin-1"):
        credentials = {"Authorization": basic("jörg:päss:wörd", charset)}
        assert handler.authenticate(credentials).username == "jörg"
    twice = "jörg:päss:wörd".encode().decode("latin-1")
    assert not handler.validate({"Authorization": basic(twice)})


def test_the_api_key_header_is_configurable():
    handler = AuthHandler(api_key="key", api_key_header="X-Service-Key")
    assert handler.validate({"x-service-key": "key"})
    assert not handler.validate({"X-Api-Key": "key"})


# -- never raising


class Hostile:
    def items(self):
        raise RuntimeError("no")

    def __str__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "headers",
    [
        None,
        5,
        "Authorization: Bearer token",
        [("Authorization", "Bearer token")],
        Hostile(),
        {"Authorization": Hostile()},
        {Hostile(): "x"},
        {"Authorization": "Bearer \ud800"},
        {"Authorization": "Basic \ud800"},
        {"Authorization": "Basic " + "A" * 1_000_000},
        {"X-Api-Key": "\ud800"},
        {"X-Api-Key": "k" * 1_000_000},
        {b"\xff": b"\xff"},
        EnvironHeaders({"HTTP_AUTHORIZATION": 5}),
        EnvironHeaders({"HTTP_AUTHORIZATION": b"Bearer token"}),
        EnvironHeaders({"HTTP_X_API_KEY": 5}),
        EnvironHeaders(None),
    ],
)
def test_validate_never_raises(headers):
    assert everything().validate(headers, method=None, url=5) is False


@given(
    st.dictionaries(
        st.sampled_from(["Authorization", "x-api-key", "Host"]) | st.text(),
        st.text(st.characters(exclude_categories=())) | st.binary() | st.none() | st.integers(),
    )
)
def test_arbitrary_headers_neither_raise_nor_authenticate(headers):
    assert HANDLER.validate(headers) is False


HANDLER = everything(custom_validator=lambda request: "True")


@pytest.mark.parametrize("value", [None, 5, b"x", "", "\ud800", "x" * 1_000_000, object()])
def test_verify_methods_never_raise(value):
    handler = everything()
    assert not handler.verify_bearer_token(value)
    assert not handler.verify_api_key(value)
    assert not handler.verify_basic_auth(value, "hunter2")
    assert not handler.verify_basic_auth("admin", value)


def test_verify_methods_compare_with_the_configured_secret():
    handler = everything()
    assert handler.verify_bearer_token("token")
    assert handler.verify_api_key("key")
    assert handler.verify_basic_auth("admin", "hunter2")
    nothing = AuthHandler(allow_unauthenticated=False)
    assert not nothing.verify_bearer_token("")
    assert not nothing.verify_api_key("")
    assert not nothing.verify_basic_auth("", "")


# -- configuration


def test_a_handler_without_methods_admits_all_requests_and_warns_once(caplog):
    handler = AuthHandler()
    for headers in ({}, {"Authorization": "Bearer x, Bearer y"}, None):
        assert handler.authenticate(headers) == AuthResult("none")
        assert handler.validate(headers)
        assert handler.decide(headers) == Decision(AuthResult("none"))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("swaig_wsgi", logging.WARNING)
    assert handler.is_open


def test_allow_unauthenticated_false_refuses_all_requests_without_methods(caplog):
    handler = AuthHandler(allow_unauthenticated=False)
    assert not handler.validate({})
    assert handler.decide({}) == Decision(None, "nothing_configured")
    assert not handler.is_open
    assert not caplog.records


@pytest.mark.parametrize(
    ("options", "right", "wrong"),
    [
        ({"bearer_token": "token"}, {"Authorization": "Bearer token"}, {}),
        ({"custom_validator": lambda request: "X-Ok" in request.headers}, {"X-Ok": ""}, {}),
    ],
)
@pytest.mark.parametrize("allowed", [True, False])
def test_allow_unauthenticated_means_nothing_beside_a_method(options, right, wrong, allowed):
    handler = AuthHandler(**options, allow_unauthenticated=allowed)
    assert handler.validate(right)
    assert not handler.validate(wrong)


@pytest.mark.installed
@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({"bearer_token": "vQ7#mT2z"}, ["bearer_token of an AuthHandler has fewer than 12"]),
        (
            {"api_key": ["admin1", "k3y!Of Len9th"]},
            ["api_key of an AuthHandler is one of the most"],
        ),
        # No user name belongs to these.
        (
            {"bearer_token": "xx", "api_key": "xx"},
            [
                "bearer_token of an AuthHandler is a pattern",
                "api_key of an AuthHandler is a pattern",
            ],
        ),
        ({"basic_auth": ("ann", "ann")}, ["basic_auth of an AuthHandler is the name of its user"]),
        (
            {"basic_auth": [("ann", "vQ7#mT2z+hY9"), ("ann", "hunter1")]},
            ["basic_auth of an AuthHandler is one of the most common"],
        ),
        ({"bearer_token": "vQ7#mT2z+hY9", "api_key": b"vQ7#mT2z+hY9"}, []),
    ],
)
def test_a_handler_remembers_which_credentials_are_weak(options, messages):
    from swaig_wsgi.checks._credentials import handler_findings

    found = [each.message for each in handler_findings(AuthHandler(**options))]
    assert len(found) == len(messages)
    assert all(text.startswith(message) for text, message in zip(found, messages))


@pytest.mark.parametrize(
    "options",
    [
        {"bearer_token": ""},
        {"bearer_token": b""},
        {"bearer_token": "a b"},
        {"bearer_token": 5},
        {"api_key": ""},
        {"api_key": " "},
        {"api_key_header": ""},
        {"api_key": "k", "api_key_header": "X_Api_Key"},
        {"api_key": "k", "api_key_header": "Authorization"},
        {"basic_auth": ()},
        {"basic_auth": ""},
        {"basic_auth": "ab"},
        {"basic_auth": ("", "x")},
        {"basic_auth": ("x", "")},
        {"basic_auth": ("x:y", "z")},
        {"basic_auth": ("x", "y\n")},
        {"basic_auth": ("x", None)},
        {"basic_auth": ("x", "y", "z")},
        {"basic_auth": []},
        {"basic_auth": [("x", "y"), ("x",)]},
        {"basic_auth": [("x", "y"), "xy"]},
        {"basic_auth": [("x", "y"), ("x", "y")]},
        {"basic_auth": [("x", "y"), ["x", "y"]]},
        {"basic_auth": {"x": "y"}},
        {"basic_auth": [[("x", "y")]]},
        {"bearer_token": []},
        {"bearer_token": ["a", ""]},
        {"bearer_token": ["a", None]},
        {"bearer_token": ["a", "b", "a"]},
        {"bearer_token": ["ä", "ä".encode()]},
        {"bearer_token": {"a", "b"}},
        {"bearer_token": iter(["a"])},
        {"bearer_token": [["a"]]},
        {"api_key": ()},
        {"api_key": ("a", " b")},
        {"api_key": ("a", "a")},
        {"api_key": bytearray(b"a")},
        {"custom_validator": ""},
        {"custom_validator": True},
        {"allow_unauthenticated": "false"},
        {"allow_unauthenticated": None},
    ],
)
def test_invalid_options_are_rejected(options):
    (name,) = list(options)[-1:]
    with pytest.raises(ValueError, match=name):
        AuthHandler(**options)


def test_get_auth_info_describes_the_methods_without_secrets():
    handler = everything(custom_validator=lambda request: True)
    assert handler.get_auth_info() == {
        "bearer": {"enabled": True},
        "api_key": {"enabled": True, "header": "X-Api-Key"},
        "basic": {"enabled": True, "username": "admin"},
        "custom": {"enabled": True},
    }
    assert handler.has_bearer_auth()
    assert handler.has_api_key_auth()
    assert handler.has_basic_auth()
    nothing = AuthHandler(allow_unauthenticated=False)
    assert nothing.get_auth_info() == {}
    assert not nothing.has_bearer_auth()
    assert not nothing.has_api_key_auth()
    assert not nothing.has_basic_auth()


@pytest.mark.parametrize("several", [list, tuple])
def test_several_credentials_of_each_kind_are_accepted(several):
    handler = AuthHandler(
        bearer_token=several(["token", b"older"]),
        api_key=several(["key", "older"]),
        basic_auth=several([("admin", "hunter2"), ["admin", "hunter1"], ("bob", "b")]),
    )
    for headers, result, fallback in (
        ({"Authorization": "Bearer token"}, AuthResult("bearer"), False),
        ({"Authorization": "Bearer older"}, AuthResult("bearer"), True),
        ({"X-Api-Key": "key"}, AuthResult("api_key"), False),
        ({"X-Api-Key": "older"}, AuthResult("api_key"), True),
        ({"Authorization": basic("admin:hunter2")}, AuthResult("basic", "admin"), False),
        ({"Authorization": basic("admin:hunter1")}, AuthResult("basic", "admin"), True),
        ({"Authorization": basic("bob:b")}, AuthResult("basic", "bob"), False),
    ):
        assert handler.decide(headers) == Decision(result, fallback=fallback)
        assert handler.validate(headers)
    assert handler.verify_bearer_token("older")
    assert handler.verify_api_key("older")
    assert handler.verify_basic_auth("admin", "hunter1")
    assert handler.get_auth_info() == {
        "bearer": {"enabled": True},
        "api_key": {"enabled": True, "header": "X-Api-Key"},
        "basic": {"enabled": True, "username": "admin"},
    }


@pytest.mark.parametrize("pair", [("ab", "cd"), ["ab", "cd"], [("ab", "cd")], (["ab", "cd"],)])
def test_two_strings_are_one_pair(pair):
    handler = AuthHandler(basic_auth=pair)
    assert handler.verify_basic_auth("ab", "cd")
    assert not handler.verify_basic_auth("a", "b")
    assert not handler.verify_basic_auth("c", "d")


@pytest.mark.parametrize(
    ("user", "password"), [("admin", "b"), ("bob", "hunter1"), ("", "hunter1"), ("bob", "hunter2")]
)
def test_attack_a_fallback_is_refused_with_another_user(user, password):
    handler = AuthHandler(basic_auth=[("admin", "hunter2"), ("admin", "hunter1"), ("bob", "b")])
    assert not handler.validate({"Authorization": basic(f"{user}:{password}")})


@pytest.mark.parametrize(
    ("pairs", "fallbacks"),
    [
        ([("ann", "1"), ("bob", "2")], []),
        ([("ann", "1"), ("ann", "2")], ["ann:2"]),
        ([("ann", "1"), ("ann", "2"), ("ann", "3")], ["ann:2", "ann:3"]),
        ([("ann", "1"), ("bob", "2"), ("ann", "2"), ("bob", "1")], ["ann:2", "bob:1"]),
        ([("ann", "1"), ("bob", "1")], []),
    ],
)
def test_a_fallback_is_a_later_password_of_the_same_user(pairs, fallbacks):
    handler = AuthHandler(basic_auth=pairs)
    found = []
    for user, password in pairs:
        decision = handler.decide({"Authorization": basic(f"{user}:{password}")})
        assert decision.result == AuthResult("basic", user)
        if decision.fallback:
            found.append(f"{user}:{password}")
    assert found == fallbacks


def test_overridden_verify_methods_decide_about_fallbacks_too():
    class Revoked(AuthHandler):
        def verify_bearer_token(self, token):
            return token != "revoked" and super().verify_bearer_token(token)

        def verify_api_key(self, key):
            return key == "from a database"

        def verify_basic_auth(self, user, password):
            return user == "of a database" or super().verify_basic_auth(user, password)

    handler = Revoked(bearer_token=["new", "old", "revoked"], basic_auth=[("a", "1"), ("a", "2")])
    for headers, expected in (
        ({"Authorization": "Bearer new"}, Decision(AuthResult("bearer"))),
        ({"Authorization": "Bearer old"}, Decision(AuthResult("bearer"), fallback=True)),
        ({"Authorization": "Bearer revoked"}, Decision(None, "bad_credentials")),
        ({"X-Api-Key": "from a database"}, Decision(AuthResult("api_key"))),
        (
            {"Authorization": basic("of a database:1")},
            Decision(AuthResult("basic", "of a database")),
        ),
        ({"Authorization": basic("a:2")}, Decision(AuthResult("basic", "a"), fallback=True)),
    ):
        assert handler.decide(headers) == expected


def test_a_fallback_that_is_validated_without_a_middleware_is_recorded(caplog):
    handler = AuthHandler(api_key=["new", "old"])
    assert handler.validate({"X-Api-Key": "new"})
    assert not caplog.records
    assert handler.validate({"X-Api-Key": "old"})
    (record,) = caplog.records
    assert (record.event, record.reason) == ("fallback_credential", "api_key")


def test_attack_errors_for_invalid_credentials_contain_none_of_them():
    for name, values in (
        ("bearer_token", ["s3cr3t-1", "s3cr3t-1"]),
        ("bearer_token", ["s3cr3t-1", "s3cr3t 2"]),
        ("api_key", ["s3cr3t-1", "\ns3cr3t"]),
        ("basic_auth", [("s3cr3t-user", "s3cr3t-1"), ("s3cr3t-user", "s3cr3t-1")]),
        ("basic_auth", [("s3cr3t-user", "s3cr3t-1"), ("s3cr3t:user", "s3cr3t-1")]),
        ("basic_auth", [("s3cr3t-user", "s3cr3t-1"), "s3cr3t"]),
    ):
        with pytest.raises(ValueError, match=name) as caught:
            AuthHandler(**{name: values})
        shown = traceback.format_exception_only(type(caught.value), caught.value)
        assert "s3cr3t" not in "".join(shown)


def test_the_handler_keeps_no_secret_in_plain_text():
    handler = AuthHandler(
        bearer_token="s3cr3t-token", api_key="s3cr3t-key", basic_auth=("admin", "s3cr3t-word")
    )
    several = AuthHandler(
        bearer_token=["a", "s3cr3t-token"],
        api_key=["a", "s3cr3t-key"],
        basic_auth=[("admin", "a"), ("admin", "s3cr3t-word")],
    )
    for each in (handler, several):
        assert "s3cr3t" not in repr(each) + repr(vars(each)) + repr(each.get_auth_info())


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (AuthHandler(bearer_token="t"), ['Bearer realm="r"']),
        (AuthHandler(basic_auth=("a", "b")), ['Basic realm="r", charset="UTF-8"']),
        (everything(), ['Bearer realm="r"', 'Basic realm="r", charset="UTF-8"']),
        (AuthHandler(api_key="k", api_key_header="X-K"), ['ApiKey realm="r", header="X-K"']),
        (only(True), ['Custom realm="r"']),
        (AuthHandler(allow_unauthenticated=False), ['Custom realm="r"']),
    ],
)
def test_challenges_are_never_empty(handler, expected):
    assert handler.challenges("r") == expected


def test_attack_requests_that_make_a_validator_raise_do_not_flood_the_log(caplog):
    def validator(request):
        raise ConnectionError("the database is down")

    app = AuthMiddleware(pass_through, AuthHandler(custom_validator=validator))
    for _ in range(200):
        assert request(app).status == 401
    tracebacks = [record for record in caplog.records if record.exc_info]
    assert len(tracebacks) == 10
    assert "no more tracebacks are logged" in caplog.text


def test_the_warning_of_an_open_handler_does_not_promise_that_an_agent_is_open(caplog):
    AuthHandler(allow_unauthenticated=True)
    (record,) = caplog.records
    assert record.getMessage() == (
        "AuthHandler: no method is configured, so it admits every request; "
        "an AgentApp still requires its Basic credentials"
    )
