"""Basic credentials of an agent, and the methods accepted in addition."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any

import pytest

from swaig_wsgi import AuthHandler
from swaig_wsgi.agent.auth import AgentAuthenticator
from swaig_wsgi.core.auth import AuthResult, Decision
from swaig_wsgi.middleware.auth import AuthRequest


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def decide(handler: AgentAuthenticator, headers: dict[str, str], **request: str) -> Decision:
    return handler.decide(AuthRequest(headers, **request))


def authenticator(other: AuthHandler | None = None, validate: Any = None) -> AgentAuthenticator:
    basic_handler = AuthHandler(basic_auth=("bank", "pw:ö"))
    return AgentAuthenticator(basic_handler, other, lambda: validate)


def test_basic_credentials_of_the_agent_are_always_accepted() -> None:
    for other in (None, AuthHandler(), AuthHandler(bearer_token="t")):
        result = decide(authenticator(other), basic("bank", "pw:ö")).result
        assert result is not None
        assert (result.method, result.username) == ("basic", "bank")


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "missing_credentials"),
        (basic("bank", "no"), "bad_credentials"),
        ({"Authorization": "Basic ???"}, "malformed_credentials"),
    ],
)
def test_refusals_have_a_reason(headers: dict[str, str], reason: str) -> None:
    for other in (None, AuthHandler()):
        decision = decide(authenticator(other), headers)
        assert (decision.result, decision.reason) == (None, reason)


def test_methods_of_the_additional_handler_are_accepted() -> None:
    both = authenticator(AuthHandler(bearer_token="tok", api_key="key", basic_auth=("x", "y")))
    for headers, method in (
        ({"Authorization": "Bearer tok"}, "bearer"),
        ({"X-Api-Key": "key"}, "api_key"),
        (basic("x", "y"), "basic"),
    ):
        result = decide(both, headers).result
        assert result is not None
        assert result.method == method
    assert decide(both, {"Authorization": "Bearer no"}).result is None
    assert decide(both, {"X-Api-Key": "no"}).reason == "bad_credentials"


def test_a_custom_validator_does_not_run_for_valid_basic_credentials() -> None:
    methods: list[Any] = []

    def validator(request: Any) -> bool:
        methods.append(request.method)
        return request.headers.get("X-Internal") == "yes"

    both = authenticator(AuthHandler(custom_validator=validator))
    assert decide(both, basic("bank", "no")).reason == "bad_credentials"
    methods.clear()
    assert decide(both, basic("bank", "pw:ö")).result is not None
    assert methods == []
    result = decide(both, {"X-Internal": "yes"}, method="GET", url="http://x/").result
    assert result is not None
    assert result.method == "custom"
    assert methods == ["GET"]


@pytest.mark.parametrize("verdict", [False, None, 1, "yes", [True]])
def test_any_result_of_validate_basic_auth_but_true_refuses(verdict: Any) -> None:
    for credentials in (("bank", "pw:ö"), ("x", "y")):
        both = authenticator(AuthHandler(basic_auth=("x", "y")), lambda user, password: verdict)
        decision = decide(both, basic(*credentials))
        assert decision.result is None
        assert decision.reason == "refused_by_validate_basic_auth"


@pytest.mark.parametrize(
    "error", [RuntimeError("s3cret"), asyncio.CancelledError(), SystemExit("s3cret")]
)
def test_an_exception_in_validate_basic_auth_refuses(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def validate(user: str, password: str) -> bool:
        raise error

    assert decide(authenticator(validate=validate), basic("bank", "pw:ö")).result is None
    assert "validate_basic_auth raised" in caplog.text


def test_validate_basic_auth_is_not_called_for_bearer_tokens() -> None:
    both = authenticator(AuthHandler(bearer_token="tok"), lambda user, password: False)
    assert decide(both, {"Authorization": "Bearer tok"}).result is not None


def test_there_is_one_challenge_for_each_configured_scheme() -> None:
    assert [challenge.split()[0] for challenge in authenticator().challenges("r")] == ["Basic"]
    for other in (AuthHandler(), AuthHandler(api_key="key"), AuthHandler(basic_auth=("x", "y"))):
        assert len(authenticator(other).challenges("r")) == 1
    both = authenticator(AuthHandler(bearer_token="tok", api_key="key"))
    assert [challenge.split()[0] for challenge in both.challenges("r")] == ["Basic", "Bearer"]


def test_an_overridden_decision_needs_no_configured_credentials() -> None:
    class ByHeader(AuthHandler):
        def decide(self, request: Any, *, method: str = "", url: str = "") -> Decision:
            if request.headers.get("X-Team") == "bank":
                return Decision(AuthResult("custom"))
            return Decision(None, "missing_credentials", anonymous=True)

    both = authenticator(ByHeader())
    result = both.decide(AuthRequest({"X-Team": "bank"})).result
    assert result is not None
    assert result.method == "custom"
    assert both.decide(AuthRequest({})).result is None


def test_attack_a_decision_that_admits_every_request_opens_no_agent() -> None:
    class Delegating(AuthHandler):
        def decide(self, request: Any, *, method: str = "", url: str = "") -> Decision:
            return super().decide(request, method=method, url=url)

    both = authenticator(Delegating())
    for headers in ({}, {"Authorization": "Bearer x"}, basic("bank", "wrong")):
        assert both.decide(AuthRequest(headers)).result is None
    assert both.decide(AuthRequest({})).reason == "missing_credentials"
    assert both.decide(AuthRequest(basic("bank", "pw:ö"))).result is not None
