"""An agent with two tools, and a client with the agent's credentials."""

from __future__ import annotations

from typing import Any

import pytest
from support.wsgi import Client

from swaig_wsgi import AgentApp, FunctionResult


class CredentialsClient(Client):
    """A client of an agent, with the agent's credentials."""

    def __init__(self, app: AgentApp) -> None:
        super().__init__(app, auth=app.get_basic_auth_credentials())

    def document(self, path: str = "/", call_id: str = "call-1", **options: Any) -> dict[str, Any]:
        response = self.post(path, {"call_id": call_id}, **options)
        assert response.status == 200
        return response.json

    def tools(self, *args: Any, **options: Any) -> dict[str, dict[str, Any]]:
        ai = ai_of(self.document(*args, **options))
        return {function["function"]: function for function in ai["SWAIG"]["functions"]}


def ai_of(document: dict[str, Any]) -> dict[str, Any]:
    return next(verb["ai"] for verb in document["sections"]["main"] if "ai" in verb)


@pytest.fixture
def calls() -> list[Any]:
    return []


@pytest.fixture
def make_agent(calls: list[Any]) -> Any:
    """Return a function that makes an agent with the open tool ``look`` and the secure ``pay``."""

    def make(**options: Any) -> AgentApp:
        options.setdefault("basic_auth", ("admin", "p@ss:w/ö"))
        agent = options.pop("cls", AgentApp)("bank", **options)

        def look(args: dict[str, Any], raw_data: dict[str, Any]) -> str:
            calls.append(("look", args, raw_data))
            return "Seen."

        def pay(args: dict[str, Any], raw_data: dict[str, Any]) -> FunctionResult:
            calls.append(("pay", args, raw_data))
            return FunctionResult("Paid.").add_action("hangup", True)

        amount = {"amount": {"type": "number", "description": "How much"}}
        agent.define_tool("look", "Look something up", {}, look)
        agent.define_tool("pay", "Pay", amount, pay, secure=True)
        return agent

    return make


@pytest.fixture
def agent(make_agent: Any) -> AgentApp:
    return make_agent()


@pytest.fixture
def client(agent: AgentApp) -> CredentialsClient:
    return CredentialsClient(agent)


@pytest.fixture
def client_of() -> type[CredentialsClient]:
    return CredentialsClient
