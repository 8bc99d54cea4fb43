import asyncio
import types

import pytest
from support.authentication import basic, everything

from swaig_wsgi.core.auth import AuthResult, Decision
from swaig_wsgi.middleware.auth import AuthHandler, AuthRequest


def only(result):
    return AuthHandler(custom_validator=lambda request: result)


# -- the custom validator


async def yes():
    await asyncio.sleep(0)
    return True


async def no():
    return False


@pytest.mark.parametrize("validator", [lambda request: True, lambda request: yes()])
def test_a_validator_that_returns_true_admits_the_request(validator):
    assert AuthHandler(custom_validator=validator).authenticate({}) == AuthResult("custom")


async def admit(request):
    return True


def test_an_async_validator_works_inside_a_running_event_loop():
    handler = AuthHandler(custom_validator=admit)
    assert handler.validate({})

    async def serve():
        return handler.validate({})

    assert asyncio.run(serve()) is True


@pytest.mark.parametrize(
    "result",
    [
        False,
        None,
        0,
        1,
        1.0,
        "True",
        "x",
        b"x",
        [True],
        {"ok": True},
        object(),
        AuthResult("custom"),
    ],
)
def test_any_result_but_true_refuses_the_request(result):
    async def late():
        return result

    assert only(result).validate({}) is False
    assert AuthHandler(custom_validator=lambda request: late()).validate({}) is False


def test_a_coroutine_that_returns_false_refuses_the_request():
    assert AuthHandler(custom_validator=lambda request: no()).validate({}) is False


def test_a_generator_refuses_the_request():
    def validator(request):
        yield True

    async def asynchronous(request):
        yield True

    assert not AuthHandler(custom_validator=validator).validate({})
    assert not AuthHandler(custom_validator=asynchronous).validate({})


@pytest.mark.parametrize(
    "error", [ValueError, KeyError, RecursionError, asyncio.CancelledError, SystemExit]
)
def test_an_exception_in_a_validator_refuses_the_request_and_is_logged(caplog, error):
    def raising(request):
        raise error("database is down")

    async def late(request):
        raise error("database is down")

    for validator in (raising, late):
        caplog.clear()
        handler = everything(custom_validator=validator)
        headers = {"Authorization": "Bearer s3cr3t", "X-Api-Key": "s3cr3t"}
        assert handler.validate(headers) is False
        (record,) = caplog.records
        assert (record.name, record.levelname) == ("swaig_wsgi", "ERROR")
        assert "database is down" in caplog.text
        assert "Traceback" in caplog.text
        for secret in ("s3cr3t", "hunter2"):
            assert secret not in caplog.text
        assert handler.decide(headers) == Decision(None, "validator_error")


@pytest.mark.parametrize("name", ["validate", "authenticate", "decide"])
def test_a_validator_receives_headers_method_and_url(name):
    seen = []
    ask = getattr(AuthHandler(custom_validator=seen.append), name)
    ask({"X-Internal": "yes"}, method="POST", url="https://example.com/x?y")
    ask({})
    request, least = seen
    assert request.headers["x-internal"] == request.headers["X-INTERNAL"] == "yes"
    assert request.headers.get("X-Other") is None
    assert (request.method, request.url) == ("POST", "https://example.com/x?y")
    assert (least.method, least.url) == ("", "")


# -- subclasses


def test_overridden_verify_methods_decide():
    class Directory(AuthHandler):
        def verify_basic_auth(self, user, password):
            return {"eve": "pw"}.get(user) == password

        def verify_bearer_token(self, token):
            return "yes"

        def verify_api_key(self, key):
            raise LookupError("directory is down")

    handler = Directory(bearer_token="t", basic_auth=("admin", "hunter2"))
    assert handler.authenticate({"Authorization": basic("eve:pw")}) == AuthResult("basic", "eve")
    assert not handler.validate({"Authorization": basic("admin:hunter2")})
    assert not handler.validate({"Authorization": "Bearer t"})
    assert not Directory(api_key="k").validate({"X-Api-Key": "k"})
    # Of credentials that only a subclass knows, none is an earlier one.
    found = Directory().decide({"Authorization": basic("eve:pw")})
    assert found == Decision(AuthResult("basic", "eve"))
    # An exception says nothing about the credentials.
    failed = Directory().decide({"X-Api-Key": "k"})
    assert (failed.reason, failed.wrong) == ("validator_error", False)


@pytest.mark.parametrize(
    ("name", "method", "right", "wrong"),
    [
        (
            "verify_bearer_token",
            AuthResult("bearer"),
            {"Authorization": "Bearer right"},
            {"Authorization": "Bearer wrong"},
        ),
        ("verify_api_key", AuthResult("api_key"), {"X-Api-Key": "right"}, {"X-Api-Key": "wrong"}),
        (
            "verify_basic_auth",
            AuthResult("basic", "eve"),
            {"Authorization": basic("eve:right")},
            {"Authorization": basic("eve:wrong")},
        ),
    ],
)
def test_an_overridden_verify_method_needs_no_configured_secret(caplog, name, method, right, wrong):
    def verify(self, *credentials):
        return credentials[-1] == "right"

    directory = types.new_class(
        "Directory", (AuthHandler,), {}, lambda body: body.update({name: verify})
    )
    handler = directory()
    assert not handler.is_open
    assert caplog.records == []
    assert handler.authenticate(right) == method
    for headers in (wrong, {}, {"Authorization": "Digest x"}):
        assert not handler.validate(headers)
    configured = (handler.has_bearer_auth(), handler.has_api_key_auth(), handler.has_basic_auth())
    assert configured.count(True) == 1
    assert list(handler.get_auth_info()) == [method.method]
    (challenge,) = handler.challenges("r")
    assert (challenge.split()[0] == "Basic") is (method.method == "basic")


def test_attack_no_configured_pair_bypasses_an_overridden_verify_method():
    class Revoking(AuthHandler):
        def verify_basic_auth(self, user, password):
            return password != "hunter2" and super().verify_basic_auth(user, password)

    handler = Revoking(basic_auth=[("admin", "hunter2"), ("admin", "hunter3")])
    revoked = handler.decide({"Authorization": basic("admin:hunter2")})
    assert revoked == Decision(None, "bad_credentials")
    assert handler.validate({"Authorization": basic("admin:hunter3")})


def test_a_verify_method_set_on_the_instance_counts_as_configured():
    class Late(AuthHandler):
        def __init__(self):
            self.verify_api_key = lambda key: key == "right"
            super().__init__()

    assert Late().authenticate({"X-Api-Key": "right"}) == AuthResult("api_key")
    assert not Late().validate({"X-Api-Key": "wrong"})
    assert not Late().validate({})


def test_overriding_the_description_methods_does_not_disable_authentication():
    class Modest(AuthHandler):
        def has_api_key_auth(self):
            return False

        def get_auth_info(self):
            return {}

    handler = Modest(api_key="key")
    assert not handler.is_open
    assert not handler.validate({})
    assert handler.validate({"X-Api-Key": "key"})


def test_validate_and_authenticate_use_an_overridden_decide():
    class Closed(AuthHandler):
        def decide(self, headers, *, method="", url=""):
            return Decision(None, "closed")

    handler = Closed(bearer_token="token")
    assert not handler.validate({"Authorization": "Bearer token"})
    assert handler.authenticate({"Authorization": "Bearer token"}) is None


@pytest.mark.parametrize("name", ["validate", "authenticate"])
def test_overriding_validate_or_authenticate_raises(name):
    def override(self, headers, *, method="", url=""):
        return None

    with pytest.raises(TypeError, match="override decide"):
        types.new_class("Sub", (AuthHandler,), exec_body=lambda body: body.update({name: override}))


def test_a_subclass_may_have_further_bases():
    names = []

    class Registered:
        def __init_subclass__(cls):
            super().__init_subclass__()
            names.append(cls.__name__)

    class Directory(AuthHandler, Registered):
        pass

    assert names == ["Directory"]
    assert Directory(api_key="key").validate({"X-Api-Key": "key"})


def test_the_repr_of_a_request_shows_a_url_only_once_it_is_known():
    request = AuthRequest({}, "GET", lambda: "https://agent.example.com/")
    assert repr(request) == "AuthRequest(method='GET', url='')"
    assert request.url == "https://agent.example.com/"
    assert repr(request) == "AuthRequest(method='GET', url='https://agent.example.com/')"
    assert repr(AuthRequest({})) == "AuthRequest(method='', url='')"


def test_the_repr_of_a_request_hides_secrets():
    shown = []

    def validator(request):
        shown.append(repr(request))
        return True

    url = "https://u:s3cret@agent.example.com/swaig?__token=s3cret"
    assert AuthHandler(custom_validator=validator).validate({}, method="POST", url=url)
    assert "POST" in shown[0]
    assert "s3cret" not in shown[0]
