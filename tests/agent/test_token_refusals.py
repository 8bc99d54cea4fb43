"""Refusals of tokens reveal no reason, and clients cannot forge the verified call id."""

from __future__ import annotations

import time
from typing import Any

import pytest

from swaig_wsgi import AgentApp
from swaig_wsgi.agent.tool_calls import REFUSED
from swaig_wsgi.core.tokens import SigningKey, derive_key, sign_token

SECRET = "a secret that the tests share"
VERIFIED = "swaig_wsgi.call_id"
CALL = {"function": "pay", "argument": {"parsed": [{"amount": 5}]}, "call_id": "call-1"}


@pytest.fixture
def agent(make_agent: Any) -> AgentApp:
    return make_agent(secret_key=SECRET).set_post_prompt("Summarize.")


def bad_tokens(function: str) -> dict[str, str | None]:
    """Return invalid tokens for `function` in ``call-1``, by the reason of their refusal."""
    key = SigningKey(derive_key(SECRET.encode(), "bank"))

    def signed(name: str = function, call_id: str = "call-1", seconds: int = 60) -> str:
        return sign_token(key, name, call_id, int(time.time()) + seconds, "a1b2c3d4")

    return {
        "missing": None,
        "malformed": "junk",
        "bad_signature": sign_token(SigningKey(b"x" * 16), function, "call-1", 10**11, "a"),
        "expired": signed(seconds=-1),
        "wrong_function": signed("look"),
        "wrong_call": signed(call_id="call-2"),
        "malformed, with one more character": signed() + "A",
    }


@pytest.mark.parametrize(
    ("path", "function", "status", "expected"),
    [
        ("/swaig", "pay", 200, {"response": REFUSED}),
        ("/post_prompt", "post_prompt", 403, {"error": "Forbidden: invalid tool token"}),
    ],
)
def test_every_refusal_sends_the_same_response(
    client: Any,
    calls: list[Any],
    caplog: pytest.LogCaptureFixture,
    path: str,
    function: str,
    status: int,
    expected: dict[str, Any],
) -> None:
    responses = set()
    for reason, token in bad_tokens(function).items():
        caplog.clear()
        query = "" if token is None else f"?__token={token}"
        response = client.post(f"{path}{query}", body=CALL, HTTP_X_REQUEST_ID="the-same-id")
        assert (response.status, response.json) == (status, expected)
        responses.add((response.status, tuple(sorted(response.fields)), response.body))
        (record,) = [record for record in caplog.records if record.name == "swaig_wsgi.security"]
        assert record.reason == reason.partition(",")[0]
        assert token is None or token not in caplog.text
    assert len(responses) == 1
    assert calls == []


def test_the_verified_call_id_is_in_environ_and_cannot_be_forged(
    agent: AgentApp, client_of: Any, calls: list[Any]
) -> None:
    seen = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        environ[VERIFIED] = "forged"
        response = agent(environ, start_response)
        seen.append(environ.get(VERIFIED))
        return response

    app.get_basic_auth_credentials = agent.get_basic_auth_credentials
    client = client_of(app)
    token = agent.sessions.generate_token("pay", "call-1")
    assert client.post(f"/swaig?__token={token}", body=CALL).json["response"] == "Paid."
    assert seen.pop() == "call-1"
    for path, body in (
        (f"/swaig?__token={token}", {**CALL, "call_id": "call-2"}),
        ("/swaig", CALL),
        ("/swaig", {**CALL, "function": "look"}),
        (f"/swaig?__token={token}", {**CALL, "function": "nothing"}),
        ("/", {"call_id": "call-1"}),
    ):
        client.post(path, body=body)
        assert seen.pop() is None, path
    assert [name for name, *_ in calls] == ["pay", "look"]
