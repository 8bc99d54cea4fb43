"""How often a tool may run in one call, alone and together with ``once``."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from support.clock import Clock

from swaig_wsgi import AgentApp
from swaig_wsgi.agent import at_most_once
from swaig_wsgi.agent.at_most_once import UNKNOWN
from swaig_wsgi.agent.run_limit import LIMITED, UNCOUNTED
from swaig_wsgi.agent.tool_calls import FAILED
from swaig_wsgi.sessions import SessionManager
from swaig_wsgi.stores import MemoryStore, StoreError
from swaig_wsgi.testing import AgentClient


def path_of(client: Any, tool: str = "charge", call_id: str = "c") -> str:
    """Return path and query of a tool's URL in a new document."""
    hook = client.tools(call_id=call_id)[tool]["web_hook_url"]
    return "/swaig?" + str(hook).partition("?")[2]


def body_of(amount: Any = 1, call_id: str = "c", tool: str = "charge") -> dict[str, Any]:
    argument = {"parsed": [{"amount": amount}]}
    return {"function": tool, "call_id": call_id, "argument": argument}


class Limited:
    """An agent with the tool ``charge``, and calls of it."""

    def __init__(self, make_agent: Any, client_of: Any, **options: Any) -> None:
        self.runs: list[Any] = []
        self.agent = make_agent()
        self.define("charge", **options)
        self.client = client_of(self.agent)
        self.path = path_of(self.client)

    def define(self, name: str, **options: Any) -> None:
        def handler(args: dict[str, Any], raw_data: dict[str, Any]) -> str:
            self.runs.append(args["amount"])
            if args["amount"] == 13:
                raise RuntimeError("halfway")
            return f"Run {len(self.runs)}."

        amount = {"amount": {"type": "number"}}
        self.agent.define_tool(name, "x", amount, handler, secure=True, **options)

    def charge(self, amount: Any = 1, path: str = "", **fields: Any) -> str:
        response = self.client.post(path or self.path, body=body_of(amount, **fields))
        assert response.status == 200
        return str(response.json["response"])


@pytest.fixture
def limited(make_agent: Any, client_of: Any) -> Any:
    """Return a function that makes a tool with options."""
    return lambda **options: Limited(make_agent, client_of, **options)


def test_attack_an_ai_in_a_loop_runs_a_tool_so_often_in_a_call(
    limited: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tool = limited(max_runs=3)
    assert [tool.charge() for _ in range(3)] == ["Run 1.", "Run 2.", "Run 3."]
    assert not [record for record in caplog.records if record.name == "swaig_wsgi.security"]
    # Neither other arguments nor the token of another document start a new count.
    paths = [tool.path, path_of(tool.client), path_of(tool.client)]
    assert [tool.charge(number, path) for number, path in enumerate(paths)] == [LIMITED] * 3
    assert len(tool.runs) == 3
    records = [record for record in caplog.records if record.name == "swaig_wsgi.security"]
    assert [(each.event, each.reason) for each in records] == [("tool_limited", "max_runs")] * 3  # type: ignore[attr-defined]
    assert "'charge', at most 3 in one call" in records[0].getMessage()


def test_each_call_and_each_tool_has_its_own_count(limited: Any) -> None:
    tool = limited(max_runs=1)
    tool.define("refund", max_runs=1)
    assert tool.charge() == "Run 1."
    assert tool.charge() == LIMITED
    assert tool.charge(path=path_of(tool.client, "refund"), tool="refund") == "Run 2."
    assert tool.charge(path=path_of(tool.client, call_id="d"), call_id="d") == "Run 3."
    assert tool.charge(path=path_of(tool.client, call_id="d"), call_id="d") == LIMITED


def test_attack_the_call_id_of_the_body_starts_no_new_count(limited: Any) -> None:
    tool = limited(max_runs=1)
    assert tool.charge() == "Run 1."
    for number in range(3):
        body = {**body_of(call_id=f"other-{number}"), "conversation_id": "c"}
        assert tool.client.post(tool.path, body=body).json["response"] == LIMITED


def test_only_runs_count(limited: Any) -> None:
    tool = limited(max_runs=2)
    assert "number" in tool.charge("many")
    assert "Run" not in tool.charge(1, "/swaig")
    assert tool.charge(13) == FAILED
    assert tool.charge() == "Run 2."
    assert tool.charge() == LIMITED


def test_a_repeat_that_once_returns_does_not_count(limited: Any) -> None:
    tool = limited(max_runs=2, once=60)
    assert [tool.charge(1) for _ in range(5)] == ["Run 1."] * 5
    assert [tool.charge(2) for _ in range(5)] == ["Run 2."] * 5
    assert [tool.charge(3) for _ in range(5)] == [LIMITED] * 5
    assert tool.charge(1) == "Run 1."
    assert tool.runs == [1, 2]


@pytest.mark.parametrize("options", [{}, {"once": 60}])
def test_a_failing_store_runs_nothing(
    limited: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, Any],
) -> None:
    tool = limited(max_runs=3, **options)

    def fails(*args: Any) -> Any:
        raise StoreError("down")

    with monkeypatch.context() as patch:
        patch.setattr(tool.agent.store, "hit", fails)
        assert tool.charge() == UNCOUNTED
        assert tool.runs == []
    (record,) = [record for record in caplog.records if record.name == "swaig_wsgi.security"]
    assert (record.event, record.reason) == ("tool_limited", "store_failed")  # type: ignore[attr-defined]
    assert record.levelno == logging.ERROR
    # No claim remains, so the same tool call runs when the store works again.
    assert tool.charge() == "Run 1."


def test_a_count_of_a_run_that_was_not_confirmed_is_kept(
    limited: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_most_once, "WAIT", 0.1)
    tool = limited(max_runs=1, once=60)

    def fails(*args: Any) -> Any:
        raise StoreError("down")

    with monkeypatch.context() as patch:
        patch.setattr(tool.agent.store, "replace_if", fails)
        assert tool.charge(1) == UNKNOWN
    assert tool.charge(2) == LIMITED
    assert tool.runs == []


def test_a_count_outlasts_a_long_call_and_its_last_token(
    limited: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = limited(max_runs=1)
    clock = Clock()
    monkeypatch.setattr(tool.agent.store, "_clock", clock)
    assert tool.charge() == "Run 1."
    expiry = tool.agent.sessions.token_expiry_secs
    clock.now += 86_400 + expiry - 1
    assert tool.charge(path=path_of(tool.client)) == LIMITED
    clock.now += 1
    assert tool.charge(path=path_of(tool.client)) == "Run 2."


def test_tokens_of_any_lifetime_can_be_counted() -> None:
    agent = AgentApp("bank", basic_auth=("admin", "hunter2"), token_expiry_secs=10**9)
    sessions = SessionManager(10**10)
    assert sessions.token_expiry_secs == 10**10
    agent.define_tool("charge", "x", {}, lambda args, raw: "Run.", secure=True, max_runs=1)
    client = AgentClient(agent)
    assert client.call_tool("charge") == {"response": "Run."}
    assert client.call_tool("charge") == {"response": LIMITED}


def test_the_count_is_one_decision_of_the_store(
    limited: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = limited(max_runs=3)
    used: list[str] = []
    for name in ("hit", "get", "set", "merge", "add", "delete", "replace_if"):
        method = getattr(MemoryStore, name)

        def spy(store: Any, *args: Any, name: str = name, method: Any = method) -> Any:
            used.append(name)
            return method(store, *args)

        monkeypatch.setattr(MemoryStore, name, spy)
    tool.charge()
    assert used == ["hit"]


@pytest.mark.parametrize("max_runs", [0, -1, True, 1.5, "3", float("nan")])
def test_an_invalid_limit_is_rejected(make_agent: Any, max_runs: Any) -> None:
    with pytest.raises(ValueError, match="max_runs must be an integer 1 or more"):
        make_agent().define_tool(
            "charge", "x", {}, lambda args, raw: "x", secure=True, max_runs=max_runs
        )


@pytest.mark.parametrize("options", [{}, {"secure": False}])
def test_a_limit_needs_a_secure_tool(make_agent: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="max_runs= needs secure=True"):
        make_agent().define_tool("charge", "x", {}, lambda args, raw: "x", max_runs=3, **options)
    agent = make_agent(secure_by_default=True)
    agent.define_tool("charge", "x", {}, lambda args, raw: "x", max_runs=3)
    assert agent.tools.get("charge").max_runs == 3


PROGRAM = """
import os
from swaig_wsgi import AgentApp
app = AgentApp("bank")
@app.tool(secure=True, max_runs=3)
def charge(amount: float) -> str:
    \"\"\"Charge the card.\"\"\"
    with open(os.environ["RUNS"], "a") as runs:
        runs.write(f"{os.getpid()}\\n")
    return "Charged."
"""


@pytest.mark.parametrize("kind", ["private", "redis"])
@pytest.mark.threads
def test_workers_share_the_count(
    gunicorn: Any, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "charging.py").write_text(PROGRAM)
    runs = tmp_path / "runs"
    runs.touch()
    url = {"SWML_STORAGE_URL": request.getfixturevalue("valkey_url")} if kind == "redis" else {}
    config = "--config=python:swaig_wsgi.gunicorn"
    server = gunicorn(
        "charging:app", config, "--workers=3", cwd=str(tmp_path), RUNS=str(runs), **url
    )
    document = server.request("POST", "/", {"call_id": "c"}).json
    hook = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"][0]["web_hook_url"]
    path = "/swaig?" + hook.partition("?")[2]
    results: list[str] = []

    def charge(amount: int) -> None:
        for _ in range(3):
            results.append(server.request("POST", path, body_of(amount)).json["response"])

    threads = [threading.Thread(target=charge, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == sorted(["Charged."] * 3 + [LIMITED] * 21)
    assert len(runs.read_text().splitlines()) == 3
