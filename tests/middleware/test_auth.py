import base64

import pytest
from support.authentication import BASIC, BEARER, HANDLER, basic, call, is_open, make_environ
from support.wsgi import Recorder, pass_through, send

from swaig_wsgi.core.auth import AuthResult
from swaig_wsgi.middleware.auth import AuthHandler, AuthMiddleware

# -- the response


def test_without_credentials_the_response_is_401_with_a_challenge_for_each_scheme():
    response, seen = call()
    assert (response.status, seen) == (401, None)
    assert response.json == {"error": "Unauthorized"}
    assert response.fields == [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(response.body))),
        ("WWW-Authenticate", 'Bearer realm="r"'),
        ("WWW-Authenticate", 'Basic realm="r", charset="UTF-8"'),
    ]


def test_a_refusal_of_head_has_headers_and_no_body():
    response, _ = call(method="HEAD")
    assert response.body == b""
    assert response.fields == call()[0].fields


@pytest.mark.parametrize(
    "environ",
    [
        {"HTTP_AUTHORIZATION": basic("admin:wrong")},
        {"HTTP_AUTHORIZATION": basic("wrong:hunter2")},
        {"HTTP_AUTHORIZATION": "Bearer wrong"},
        {"HTTP_AUTHORIZATION": "Basic !"},
        {"HTTP_AUTHORIZATION": "Digest a=b"},
        {"HTTP_X_API_KEY": "wrong"},
        {"HTTP_AUTHORIZATION": "Bearer token, Bearer token"},
        {"HTTP_AUTHORIZATION": "Bearer wrong", "HTTP_X_API_KEY": "wrong"},
    ],
)
def test_every_refusal_sends_the_same_response(environ):
    assert call(environ=environ) == call()


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PUT", "get", "TRACE"])
def test_no_method_is_exempt(method):
    inner = Recorder()
    response = send(AuthMiddleware(inner, HANDLER), make_environ(method=method), validate=False)
    assert (response.status, inner.environs) == (401, [])


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, "missing_credentials"),
        ({"HTTP_AUTHORIZATION": "Digest a=b"}, "missing_credentials"),
        ({"HTTP_AUTHORIZATION": "Bearer s3cr3t"}, "bad_credentials"),
        ({"HTTP_X_API_KEY": "s3cr3t"}, "bad_credentials"),
        ({"HTTP_AUTHORIZATION": basic("s3cr3t:s3cr3t")}, "bad_credentials"),
        ({"HTTP_AUTHORIZATION": "Basic s3cr3t!"}, "malformed_credentials"),
        ({"HTTP_AUTHORIZATION": "Bearer s3cr3t, Bearer token"}, "malformed_credentials"),
    ],
)
def test_each_refusal_logs_one_record_with_a_reason_and_no_secret(caplog, environ, reason):
    call(environ=environ)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("swaig_wsgi.security", "WARNING")
    assert (record.event, record.reason, record.client) == ("auth_refused", reason, "192.0.2.7")
    for secret in ("s3cr3t", "token", base64.b64encode(b"s3cr3t").decode()[:8]):
        assert secret not in caplog.text


def test_a_validator_that_raises_is_401_and_logged(caplog):
    def validator_(request):
        raise LookupError("database is down")

    assert not is_open(AuthHandler(custom_validator=validator_))
    assert [record.name for record in caplog.records] == ["swaig_wsgi", "swaig_wsgi.security"]
    assert caplog.records[1].reason == "validator_error"


# -- the identity

FORGED = {
    "REMOTE_USER": "root",
    "AUTH_TYPE": "Basic",
    "swaig_wsgi.auth": AuthResult("basic", "root"),
    "HTTP_REMOTE_USER": "root",
    "HTTP_AUTH_TYPE": "Basic",
    "HTTP_SWAIG_WSGI_AUTH": "root",
}


def identity(environ):
    names = ("swaig_wsgi.auth", "REMOTE_USER", "AUTH_TYPE")
    return {name: environ[name] for name in names if name in environ}


def test_basic_credentials_identify_the_user_to_the_application():
    seen = call(environ={**FORGED, **BASIC})[1]
    assert identity(seen) == {
        "swaig_wsgi.auth": AuthResult("basic", "admin"),
        "REMOTE_USER": "admin",
        "AUTH_TYPE": "Basic",
    }


@pytest.mark.parametrize(
    ("environ", "method"), [(BEARER, "bearer"), ({"HTTP_X_API_KEY": "key"}, "api_key")]
)
def test_other_methods_identify_no_user(environ, method):
    assert identity(call(environ={**FORGED, **environ})[1]) == {
        "swaig_wsgi.auth": AuthResult(method)
    }


@pytest.mark.parametrize(
    ("handler", "method"),
    [
        (AuthHandler(custom_validator=lambda request: True), "custom"),
        (AuthHandler(), "none"),
    ],
)
def test_custom_and_none_identify_no_user(handler, method):
    assert identity(call(handler, environ=FORGED)[1]) == {"swaig_wsgi.auth": AuthResult(method)}


@pytest.mark.parametrize(
    "options",
    [
        {"exempt": ("/",)},
        {"protect": ("/api",)},
        {"optional": True},
        {"optional": True, "protect": ("/api",)},
    ],
)
def test_exempt_and_anonymous_requests_carry_no_identity(options):
    seen = call(environ=FORGED, **options)[1]
    assert identity(seen) == {}
    # The header of that name is left in place.
    assert seen["HTTP_REMOTE_USER"] == "root"


def test_credentials_are_ignored_on_an_exempt_path():
    assert identity(call(environ=BASIC, exempt=("/",))[1]) == {}


def test_a_non_ascii_remote_user_is_a_wsgi_native_string():
    handler = AuthHandler(basic_auth=("jörg", "x"))
    seen = call(handler, environ={"HTTP_AUTHORIZATION": basic("jörg:x")})[1]
    assert seen["swaig_wsgi.auth"].username == "jörg"
    assert seen["REMOTE_USER"].encode("latin-1").decode() == "jörg"


# -- optional


@pytest.mark.parametrize(
    ("environ", "passes"),
    [
        ({}, True),
        ({"HTTP_AUTHORIZATION": "Digest a=b"}, True),
        (BASIC, True),
        (BEARER, True),
        ({"HTTP_AUTHORIZATION": basic("admin:wrong")}, False),
        ({"HTTP_AUTHORIZATION": "Basic"}, False),
        ({"HTTP_AUTHORIZATION": ""}, False),
        ({"HTTP_AUTHORIZATION": "Bearer wrong"}, False),
        ({"HTTP_AUTHORIZATION": "Bearer token, Bearer token"}, False),
        ({"HTTP_X_API_KEY": ""}, False),
        ({"HTTP_X_API_KEY": "wrong"}, False),
    ],
)
def test_optional_admits_anonymous_requests_and_refuses_wrong_credentials(environ, passes):
    assert is_open(environ=environ, optional=True) is passes


def test_optional_admits_credentials_of_an_unconfigured_method_anonymously():
    handler = AuthHandler(basic_auth=("admin", "hunter2"))
    assert identity(call(handler, environ=BEARER, optional=True)[1]) == {}


def test_optional_does_not_admit_what_a_validator_refuses():
    assert not is_open(AuthHandler(custom_validator=lambda request: False), optional=True)
    raising = AuthHandler(custom_validator=lambda request: 1 / 0)
    assert not is_open(raising, optional=True)
    assert not is_open(AuthHandler(allow_unauthenticated=False), optional=True)


# -- scopes


@pytest.mark.parametrize(
    ("path", "script_name"),
    [
        ("/api", ""),
        ("/api/x", ""),
        ("//api/x", ""),
        ("//api/../x", ""),
        ("/api/../api/x", ""),
        ("/x/../api", ""),
        ("/x//../api", ""),
        ("/./api", ""),
        ("/api/x", "/health"),
        ("/api/x", "/public/.."),
        ("//api", "/public"),
    ],
)
def test_no_spelling_of_the_path_bypasses_protect(path, script_name):
    environ = {"SCRIPT_NAME": script_name}
    assert not is_open(path=path, environ=environ, protect=("/api/*",), exempt=("/health",))


@pytest.mark.parametrize(
    ("path", "script_name"),
    [
        ("//health", ""),
        ("/health/", ""),
        ("/health/../swaig", ""),
        ("/./health", ""),
        ("/Health", ""),
        ("/health/x", ""),
        ("/health\x00", ""),
        ("/swaig", "/health"),
        ("/swaig/health", ""),
        ("", "/health"),
    ],
)
def test_no_spelling_of_another_path_matches_exempt(path, script_name):
    assert not is_open(path=path, environ={"SCRIPT_NAME": script_name}, exempt=("/health",))


def test_the_query_is_not_part_of_the_matched_path():
    assert not is_open(path="/swaig", environ={"QUERY_STRING": "/health"}, exempt=("/health",))


def test_exempt_and_unprotected_paths_need_no_credentials():
    assert is_open(path="/health", exempt=("/health",))
    assert is_open(path="/health", environ={"SCRIPT_NAME": "/api"}, protect=("/api",))
    assert is_open(path="/apis", protect=("/api",))


def test_a_request_without_path_info_needs_credentials():
    request = make_environ(PATH_INFO=None)
    assert send(AuthMiddleware(Recorder(), HANDLER), request, validate=False).status == 401


# -- passing through


@pytest.mark.parametrize("options", [{}, {"exempt": ("/",)}, {"optional": True}])
def test_iterable_exc_info_and_write_are_passed_through(options):
    headers = [("A", "b")]

    def wrap(app):
        return AuthMiddleware(app, HANDLER, **options)

    assert pass_through(wrap, make_environ(**BEARER), headers) == [headers] * 2


def test_exceptions_of_the_application_propagate():
    def inner(environ, start_response):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        AuthMiddleware(inner, HANDLER)(make_environ(**BEARER), None)
