import pytest
from support.authentication import BEARER, HANDLER, call, is_open, make_environ
from support.wsgi import Recorder, send

from swaig_wsgi.core.auth import AuthResult, Decision
from swaig_wsgi.middleware.auth import AuthHandler, AuthMiddleware

# -- the validator's request


def test_the_validator_receives_the_url_and_the_headers():
    seen = []

    def validator_(request):
        seen.append(request)
        return request.headers["x-internal-service"] == "trusted"

    environ = {
        "SCRIPT_NAME": "/mount",
        "QUERY_STRING": "a=b",
        "HTTP_HOST": "agent.example:8443",
        "wsgi.url_scheme": "https",
        "HTTP_X_INTERNAL_SERVICE": "trusted",
    }
    assert is_open(AuthHandler(custom_validator=validator_), "/a b", "POST", environ=environ)
    assert seen[0].method == "POST"
    assert seen[0].url == "https://agent.example:8443/mount/a%20b?a=b"


def test_the_url_has_the_public_prefix_and_the_raw_request_target():
    seen = []
    handler = AuthHandler(custom_validator=lambda request: seen.append(request.url) or True)
    environ = {
        "HTTP_HOST": "agent.example",
        "SCRIPT_NAME": "/agents",
        "RAW_URI": "/a%2Fb/%C3%BC;x?q=%2e",
        "QUERY_STRING": "q=%2e",
        "swaig_wsgi.forwarded_prefix": "/agents",
    }
    assert is_open(handler, "/a/b/\xc3\xbc;x", environ=environ)
    assert seen == ["http://agent.example/agents/a%2Fb/%C3%BC;x?q=%2e"]


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("host", ["", "a.example/@evil.example", "a b", "a.example,b.example"])
def test_a_malformed_host_is_refused_before_the_validator_runs(host, optional, caplog):
    def validator_(request):
        raise AssertionError("the validator was called with an invalid URL")

    app = AuthMiddleware(Recorder(), AuthHandler(custom_validator=validator_), optional=optional)
    assert send(app, make_environ(HTTP_HOST=host), validate=False).status == 401
    (record,) = caplog.records
    assert (record.event, record.reason) == ("auth_refused", "bad_url")


# -- other authenticators


class Fixed:
    """The minimal authenticator."""

    def __init__(self, decision=None, challenges=("Custom",)):
        self.decision = decision
        self._challenges = list(challenges)
        self.requests = []

    def decide(self, request):
        self.requests.append(request)
        if isinstance(self.decision, BaseException):
            raise self.decision
        return self.decision

    def challenges(self, realm):
        return self._challenges


async def later(value):
    return value


def test_any_object_with_decide_and_challenges_can_authenticate():
    handler = Fixed(Decision(AuthResult("basic", "eve")))
    seen = call(handler)[1]
    assert (seen["swaig_wsgi.auth"], seen["REMOTE_USER"]) == (AuthResult("basic", "eve"), "eve")
    (request,) = handler.requests
    assert request.headers["host"] == "127.0.0.1"
    assert (request.method, request.url) == ("GET", "http://127.0.0.1/")


@pytest.mark.parametrize(
    "result", [AuthResult("custom", "eve"), AuthResult("bearer", "eve"), AuthResult("basic")]
)
def test_only_a_user_of_basic_is_the_remote_user(result):
    seen = call(Fixed(Decision(result)))[1]
    assert seen["swaig_wsgi.auth"] == result
    assert not {"REMOTE_USER", "AUTH_TYPE"} & seen.keys()


def test_a_request_without_a_method_has_an_empty_one():
    handler = Fixed(Decision(AuthResult("custom")))
    app = AuthMiddleware(lambda environ, start_response: [], handler)
    app({"HTTP_HOST": "a.example"}, None)
    assert handler.requests[0].method == ""


def test_decide_may_return_an_awaitable():
    assert is_open(Fixed(later(Decision(AuthResult("custom")))))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1,
        "admin",
        object(),
        ("basic", "admin"),
        {},
        AuthResult("custom"),
        Decision(True),
    ],
)
def test_any_result_but_a_decision_refuses_the_request(value, caplog):
    assert not is_open(Fixed(value))
    assert not is_open(Fixed(value), optional=True)
    assert [record.reason for record in caplog.records] == ["validator_error"] * 2


def test_the_reason_of_a_custom_authenticator_is_logged(caplog):
    assert not is_open(Fixed(Decision(None, "unknown_user")), environ=BEARER)
    assert caplog.records[0].reason == "unknown_user"


def test_an_exception_in_an_authenticator_refuses_the_request(caplog):
    assert not is_open(Fixed(LookupError("directory is down")))
    assert "directory is down" in caplog.text
    assert caplog.records[-1].reason == "validator_error"


def test_optional_admits_only_decisions_marked_anonymous():
    absent = Fixed(Decision(None, "missing_credentials", anonymous=True))
    assert is_open(absent, optional=True)
    assert not is_open(absent)
    assert not is_open(Fixed(Decision(None, "bad_credentials")), optional=True)


def test_the_url_is_computed_on_first_access():
    handler = Fixed(Decision(AuthResult("custom")))
    assert is_open(handler, environ={"HTTP_HOST": "a b"})
    with pytest.raises(ValueError, match="host"):
        handler.requests[0].url  # noqa: B018


@pytest.mark.parametrize(
    ("handler", "options", "named"),
    [
        (None, {}, "decide"),
        (("admin", "hunter2"), {}, "decide"),
        (AuthHandler, {}, "handler"),
        (object(), {}, "handler"),
        (Fixed(challenges=()), {}, "challenge"),
        (HANDLER, {"optional": "false"}, "optional"),
        (HANDLER, {"realm": "a\r\nX: y"}, "realm"),
        (HANDLER, {"realm": "日本"}, "realm"),
        (HANDLER, {"protect": ()}, "protect"),
        (HANDLER, {"protect": "/api"}, "sequence"),
        (HANDLER, {"exempt": ("/health*",)}, "last segment"),
    ],
)
def test_invalid_options_are_rejected(handler, options, named):
    with pytest.raises(ValueError, match=named):
        AuthMiddleware(Recorder(), handler, **options)


def test_a_string_in_place_of_a_list_of_challenges_is_rejected():
    handler = Fixed()
    handler._challenges = "Basic"
    with pytest.raises(ValueError, match="challenge"):
        AuthMiddleware(Recorder(), handler)


def test_handler_middleware_wraps_an_application():
    app = HANDLER.middleware(Recorder(), protect=("/api",), exempt=("/api/health",), realm='a"b')
    refused = send(app, make_environ("/api"))
    assert ("WWW-Authenticate", r'Bearer realm="a\"b"') in refused.fields
    assert send(app, make_environ("/api/health")).fields == [("Content-Type", "text/plain")]


@pytest.mark.parametrize("wrap", [HANDLER.middleware, lambda app: AuthMiddleware(app, HANDLER)])
def test_the_default_realm_is_the_name_of_the_package(wrap):
    challenges = send(wrap(Recorder()), make_environ()).headers.get_all("WWW-Authenticate")
    assert challenges == ['Bearer realm="swaig-wsgi"', 'Basic realm="swaig-wsgi", charset="UTF-8"']
