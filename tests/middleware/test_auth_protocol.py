import pytest
from support.authentication import BEARER, HANDLER, call, is_open, make_environ
from support.wsgi import Recorder, send

from swaig_wsgi.core.auth import AuthResult, Decision
from swaig_wsgi.middleware.auth import AuthHandler, AuthMiddleware

# -- the validator's request


def test_the_validator_gets_the_url_and_a_view_of_the_headers():
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


def test_the_url_is_the_public_one_and_byte_for_byte_that_of_the_request_line():
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
def test_a_host_of_which_no_url_can_be_made_refuses(host, optional, caplog):
    def validator_(request):
        raise AssertionError("it was asked about a URL that is none")

    app = AuthMiddleware(Recorder(), AuthHandler(custom_validator=validator_), optional=optional)
    assert send(app, make_environ(HTTP_HOST=host), validate=False).status == 401
    (record,) = caplog.records
    assert (record.event, record.reason) == ("auth_refused", "bad_url")


# -- other authenticators


class Fixed:
    """The least that the middleware asks for."""

    def __init__(self, answer=None, challenges=("Custom",)):
        self.answer = answer
        self._challenges = list(challenges)
        self.asked = []

    def authenticate(self, headers, *, method="", url=""):
        self.asked.append((headers, method, url))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def challenges(self, realm):
        return self._challenges


async def later(value):
    return value


def test_another_authenticator_may_decide():
    handler = Fixed(AuthResult("basic", "eve"))
    seen = call(handler)[1]
    assert (seen["swaig_wsgi.auth"], seen["REMOTE_USER"]) == (AuthResult("basic", "eve"), "eve")
    headers, method, url = handler.asked[0]
    assert headers["host"] == "127.0.0.1"
    assert (method, url) == ("GET", "http://127.0.0.1/")
    assert is_open(Fixed(later(AuthResult("custom"))))


@pytest.mark.parametrize("answer", [None, True, 1, "admin", object(), ("basic", "admin"), {}])
def test_what_is_no_proof_does_not_let_in(answer):
    assert not is_open(Fixed(answer))
    assert not is_open(Fixed(later(answer)))


@pytest.mark.parametrize(
    ("environ", "reason"), [({}, "missing_credentials"), (BEARER, "bad_credentials")]
)
def test_the_log_tells_absent_from_wrong_for_another_authenticator(caplog, environ, reason):
    assert not is_open(Fixed(), environ=environ)
    assert caplog.records[0].reason == reason


def test_an_authenticator_that_raises_refuses(caplog):
    assert not is_open(Fixed(LookupError("directory is down")))
    assert "directory is down" in caplog.text
    assert caplog.records[-1].reason == "validator_error"


def test_an_authenticator_with_decide_may_be_optional():
    class Deciding(Fixed):
        reads_url = False

        def decide(self, headers, *, method="", url=""):
            self.asked.append(url)
            return Decision(None, "missing_credentials", anonymous=True)

    handler = Deciding()
    assert is_open(handler, optional=True)
    assert handler.asked == [""]


def test_a_decision_may_come_late():
    class Deciding(Fixed):
        async def decide(self, headers, *, method="", url=""):
            return Decision(AuthResult("custom"))

    assert is_open(Deciding())


@pytest.mark.parametrize(
    ("handler", "options", "named"),
    [
        (None, {}, "authenticate"),
        (("admin", "hunter2"), {}, "authenticate"),
        (AuthHandler, {}, "handler"),
        (object(), {}, "handler"),
        (Fixed(challenges=()), {}, "challenge"),
        (Fixed(), {"optional": True}, "decide"),
        (HANDLER, {"optional": "false"}, "optional"),
        (HANDLER, {"realm": "a\r\nX: y"}, "realm"),
        (HANDLER, {"realm": "日本"}, "realm"),
        (HANDLER, {"protect": ()}, "protect"),
        (HANDLER, {"protect": "/api"}, "sequence"),
        (HANDLER, {"exempt": ("/health*",)}, "exempt"),
    ],
)
def test_bad_configuration_is_refused(handler, options, named):
    with pytest.raises(ValueError, match=named):
        AuthMiddleware(Recorder(), handler, **options)


def test_a_lone_string_is_no_list_of_challenges():
    handler = Fixed()
    handler._challenges = "Basic"
    with pytest.raises(ValueError, match="challenge"):
        AuthMiddleware(Recorder(), handler)


def test_a_handler_makes_its_middleware():
    app = HANDLER.middleware(Recorder(), protect=("/api",), exempt=("/api/health",), realm='a"b')
    refused = send(app, make_environ("/api"))
    assert ("WWW-Authenticate", r'Bearer realm="a\"b"') in refused.fields
    assert send(app, make_environ("/api/health")).fields == [("Content-Type", "text/plain")]
