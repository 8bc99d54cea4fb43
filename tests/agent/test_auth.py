"""Basic credentials of an agent, and the methods accepted in addition."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any

import pytest

from swaig_wsgi import AuthHandler
from swaig_wsgi.agent.auth import AgentAuthenticator
from swaig_wsgi.core.auth import Decision
from swaig_wsgi.middleware.auth import AuthRequest


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def ask(handler: AgentAuthenticator, headers: dict[str, str], **request: str) -> Decision:
    return handler.decide(AuthRequest(headers, **request))


def authenticator(other: AuthHandler | None = None, validate: Any = None) -> AgentAuthenticator:
    own = AuthHandler(basic_auth=("bank", "pw:ö"))
    return AgentAuthenticator(own, other, lambda: validate)


def test_basic_always_works() -> None:
    for other in (None, AuthHandler(), AuthHandler(bearer_token="t")):
        result = ask(authenticator(other), basic("bank", "pw:ö")).result
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
def test_what_is_refused_and_why(headers: dict[str, str], reason: str) -> None:
    for other in (None, AuthHandler()):
        decision = ask(authenticator(other), headers)
        assert (decision.result, decision.reason) == (None, reason)


def test_methods_of_the_other_handler() -> None:
    both = authenticator(AuthHandler(bearer_token="tok", api_key="key", basic_auth=("x", "y")))
    for headers, method in (
        ({"Authorization": "Bearer tok"}, "bearer"),
        ({"X-Api-Key": "key"}, "api_key"),
        (basic("x", "y"), "basic"),
    ):
        result = ask(both, headers).result
        assert result is not None
        assert result.method == method
    assert ask(both, {"Authorization": "Bearer no"}).result is None
    assert ask(both, {"X-Api-Key": "no"}).reason == "bad_credentials"


def test_a_validator_is_not_asked_about_those_who_are_known() -> None:
    asked: list[Any] = []

    def validator(request: Any) -> bool:
        asked.append(request.method)
        return request.headers.get("X-Internal") == "yes"

    both = authenticator(AuthHandler(custom_validator=validator))
    assert ask(both, basic("bank", "no")).reason == "bad_credentials"
    asked.clear()
    assert ask(both, basic("bank", "pw:ö")).result is not None
    assert asked == []
    result = ask(both, {"X-Internal": "yes"}, method="GET", url="http://x/").result
    assert result is not None
    assert result.method == "custom"
    assert asked == ["GET"]


@pytest.mark.parametrize("verdict", [False, None, 1, "yes", [True]])
def test_only_true_confirms(verdict: Any) -> None:
    for credentials in (("bank", "pw:ö"), ("x", "y")):
        both = authenticator(AuthHandler(basic_auth=("x", "y")), lambda user, password: verdict)
        decision = ask(both, basic(*credentials))
        assert decision.result is None
        assert decision.reason == "refused_by_validate_basic_auth"


@pytest.mark.parametrize(
    "error", [RuntimeError("s3cret"), asyncio.CancelledError(), SystemExit("s3cret")]
)
def test_what_raises_does_not_confirm(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def validate(user: str, password: str) -> bool:
        raise error

    assert ask(authenticator(validate=validate), basic("bank", "pw:ö")).result is None
    assert "validate_basic_auth raised" in caplog.text


def test_bearer_is_not_asked_to_confirm() -> None:
    both = authenticator(AuthHandler(bearer_token="tok"), lambda user, password: False)
    assert ask(both, {"Authorization": "Bearer tok"}).result is not None


def test_challenges() -> None:
    assert [each.split()[0] for each in authenticator().challenges("r")] == ["Basic"]
    for other in (AuthHandler(), AuthHandler(api_key="key"), AuthHandler(basic_auth=("x", "y"))):
        assert len(authenticator(other).challenges("r")) == 1
    both = authenticator(AuthHandler(bearer_token="tok", api_key="key"))
    assert [each.split()[0] for each in both.challenges("r")] == ["Basic", "Bearer"]
