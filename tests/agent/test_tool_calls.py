"""Tools that run at most once, called through an agent in one and in several processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.clock import Clock

from swaig_wsgi import AgentApp
from swaig_wsgi.agent import at_most_once as once
from swaig_wsgi.agent.at_most_once import UNKNOWN
from swaig_wsgi.agent.tool_calls import FAILED
from swaig_wsgi.config import Settings
from swaig_wsgi.stores import StoreError
from swaig_wsgi.testing import AgentClient

SECRET = "a secret that all workers share"


def pay_once(agent: AgentApp, window: float = 60, runs: list[Any] | None = None) -> AgentApp:
    def handler(args: dict[str, Any], raw_data: dict[str, Any]) -> str:
        if runs is not None:
            runs.append(args)
        return f"Paid {args['amount']}, number {len(runs or [])}."

    amount = {"amount": {"type": "number"}}
    return agent.define_tool("pay_once", "x", amount, handler, secure=True, once=window)


def call(amount: int, call_id: str = "c", **members: Any) -> dict[str, Any]:
    argument = {"parsed": [{"amount": amount}]}
    return {"function": "pay_once", "call_id": call_id, "argument": argument, **members}


def test_a_repeated_call_gets_the_first_result(make_agent: Any) -> None:
    runs: list[Any] = []
    agent = pay_once(make_agent(), runs=runs)
    # Two documents of one call have different tokens.
    first, second = AgentClient(agent), AgentClient(agent)

    def pay(client: AgentClient, amount: int, call_id: str = "c", **members: Any) -> str:
        arguments = {"amount": amount}
        return client.call_tool("pay_once", arguments, call_id=call_id, **members)["response"]

    assert pay(first, 5) == "Paid 5, number 1."
    assert pay(first, 5, caller_id_num="+1") == "Paid 5, number 1."
    assert pay(first, 6) == "Paid 6, number 2."
    assert pay(second, 5) == "Paid 5, number 3."
    assert pay(second, 5, "d") == "Paid 5, number 4."
    assert pay(first, 5) == "Paid 5, number 1."
    assert len(runs) == 4


def test_a_repeat_that_names_the_conversation_gets_the_first_result(
    make_agent: Any, client_of: Any
) -> None:
    client = client_of(pay_once(make_agent(), runs=[]))
    query = client.tools(call_id="c")["pay_once"]["web_hook_url"].partition("?")[2]
    for body in (call(5), call(5, "elsewhere", conversation_id="c")):
        response = client.post(f"/swaig?{query}", body=body)
        assert response.json == {"response": "Paid 5, number 1."}


def test_attack_an_ai_that_writes_a_payment_in_another_way_runs_it_once(
    make_agent: Any, client_of: Any
) -> None:
    runs: list[Any] = []
    agent = make_agent()

    @agent.tool(secure=True, once=60)
    def pay_once(amount: float, currency: str = "EUR") -> str:
        """Pay."""
        runs.append((amount, currency))
        return f"Paid, number {len(runs)}."

    client = client_of(agent)
    query = client.tools(call_id="c")["pay_once"]["web_hook_url"].partition("?")[2]

    def pay(arguments: str) -> str:
        raw = f'{{"function": "pay_once", "call_id": "c", "argument": {{"parsed": [{arguments}]}}}}'
        body = raw.encode()
        response = client.post(f"/swaig?{query}", body=body, content_type="application/json")
        return str(response.json["response"])

    for arguments in (
        '{"amount": 5}',
        '{"amount": 5.0}',
        '{"amount": 5e0}',
        '{"amount": 5, "x": 1}',
        '{"x": 2, "amount": 5}',
        '{"amount": 5, "currency": "EUR"}',
    ):
        assert pay(arguments) == "Paid, number 1."
    assert pay('{"amount": 5, "currency": "USD"}') == "Paid, number 2."
    assert pay('{"amount": 5.01}') == "Paid, number 3."
    assert runs == [(5.0, "EUR"), (5.0, "USD"), (5.01, "EUR")]


def test_a_refused_call_leaves_no_claim(make_agent: Any, client_of: Any) -> None:
    runs: list[Any] = []
    agent = pay_once(make_agent(), runs=runs)
    client = client_of(agent)
    query = client.tools(call_id="c")["pay_once"]["web_hook_url"].partition("?")[2]
    client.post("/swaig", body=call(5))
    client.post(f"/swaig?{query}", body=call(5, "other"))
    invalid = {**call(5), "argument": {"parsed": [{"amount": "five"}]}}
    assert "number" in client.post(f"/swaig?{query}", body=invalid).json["response"]
    assert runs == []
    result = client.post(f"/swaig?{query}", body=call(5))
    assert result.json["response"] == "Paid 5, number 1."


def test_a_call_whose_claim_cannot_be_stored_is_not_run(
    make_agent: Any, client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[Any] = []
    agent = pay_once(make_agent(), runs=runs)

    def fails(*args: Any) -> bool:
        raise StoreError("down")

    monkeypatch.setattr(agent.store, "add", fails)
    client = client_of(agent)
    query = client.tools(call_id="c")["pay_once"]["web_hook_url"].partition("?")[2]
    assert client.post(f"/swaig?{query}", body=call(5)).json == {"response": UNKNOWN}
    assert runs == []


def test_attack_setting_the_time_forward_and_back_ends_no_claim(
    make_agent: Any, client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "WAIT", 0.1)
    runs: list[Any] = []
    agent = pay_once(make_agent(), window=1, runs=runs)
    wall, clock = Clock(time.time()), Clock()
    monkeypatch.setattr(time, "time", wall)
    monkeypatch.setattr(agent.store, "_clock", clock)
    client = client_of(agent)
    query = client.tools(call_id="c")["pay_once"]["web_hook_url"].partition("?")[2]
    confirm, confirmed = agent.store.replace_if, []

    def dies_later(*args: Any) -> Any:
        if confirmed:
            raise StoreError("the result is lost")
        confirmed.append(confirm(*args))
        return confirmed[0]

    wall.now += 3500
    with monkeypatch.context() as patch:
        patch.setattr(agent.store, "replace_if", dies_later)
        client.post(f"/swaig?{query}", body=call(5))
    wall.now -= 3500
    clock.now += 3500
    assert client.post(f"/swaig?{query}", body=call(5)).json == {"response": UNKNOWN}
    assert len(runs) == 1


def test_a_failure_is_repeated_without_another_run(make_agent: Any, client_of: Any) -> None:
    runs: list[int] = []

    def fails(args: dict[str, Any], raw_data: dict[str, Any]) -> str:
        runs.append(1)
        raise RuntimeError("halfway")

    agent = make_agent().define_tool("pay_once", "x", {}, fails, secure=True, once=60)
    client = client_of(agent)
    query = client.tools(call_id="c")["pay_once"]["web_hook_url"].partition("?")[2]
    results = [client.post(f"/swaig?{query}", body=call(5)).json for _ in range(3)]
    assert results[0] == results[1] == results[2]
    assert len(runs) == 1


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit, RecursionError])
def test_an_aborted_handler_is_returned_as_a_failure(
    make_agent: Any, client_of: Any, error: type[BaseException]
) -> None:
    async def abort_later(args: dict[str, Any], raw_data: dict[str, Any]) -> str:
        raise error

    def abort(args: dict[str, Any], raw_data: dict[str, Any]) -> str:
        raise error

    agent = make_agent().define_tool("later", "x", {}, abort_later)
    agent.define_tool("now", "x", {}, abort)
    for name in ("later", "now"):
        result = client_of(agent).post("/swaig", body={"function": name})
        assert (result.status, result.json) == (200, {"response": FAILED})


@pytest.mark.parametrize(
    "options",
    [
        {"once": 60},
        {"once": 60, "secure": False},
        {"once": 0, "secure": True},
        {"once": -1, "secure": True},
        {"once": True, "secure": True},
        {"once": "60", "secure": True},
        {"once": 86_401, "secure": True},
        {"once": float("nan"), "secure": True},
    ],
)
def test_invalid_windows_are_rejected(make_agent: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="once"):
        make_agent().define_tool("again", "x", {}, lambda args, raw: "x", **options)


PROGRAM = """
import os, time
from swaig_wsgi import AgentApp
app = AgentApp("bank")
def pay(args, raw_data):
    with open(os.environ["RUNS"], "a") as runs:
        runs.write(f"{args['amount']} {os.getpid()}\\n")
    time.sleep(args["amount"])
    return "Paid."
amount = {"amount": {"type": "number"}}
app.define_tool("pay_once", "x", amount, pay, secure=True, once=5)
"""


@pytest.fixture(params=["sqlite", "redis"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return str(request.getfixturevalue("valkey_url"))


@pytest.mark.slow
@pytest.mark.threads
def test_calls_run_at_most_once_when_a_worker_is_killed(
    gunicorn: Any, tmp_path: Path, storage_url: str
) -> None:
    (tmp_path / "paying.py").write_text(PROGRAM)
    runs = tmp_path / "runs"
    runs.touch()
    server = gunicorn(
        "paying:app",
        "--workers=4",
        cwd=str(tmp_path),
        RUNS=str(runs),
        SIGNALWIRE_SWAIG_SECRET=SECRET,
        SWML_STORAGE_URL=storage_url,
    )
    document = server.request("POST", "/", {"call_id": "c"}).json
    url = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"][0]["web_hook_url"]
    path = "/swaig?" + url.partition("?")[2]

    def pay(amount: float) -> Any:
        result = server.request("POST", path, call(amount))  # type: ignore[arg-type]
        assert result.status == 200
        return result.json["response"]

    # Repeats in other workers while the first call runs: one run, one result.
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(pay(1))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == ["Paid."] * 4
    assert len(runs.read_text().splitlines()) == 1

    # A worker that is killed during a call: the outcome is unknown, and the call is not repeated.
    def dies() -> None:
        with pytest.raises(OSError):  # noqa: PT011 - the connection ends
            pay(30)

    killed = threading.Thread(target=dies)
    killed.start()
    end = time.monotonic() + 60
    while len(runs.read_text().splitlines()) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(int(runs.read_text().splitlines()[1].split()[1]), signal.SIGKILL)
    killed.join(60)
    assert pay(30) == UNKNOWN
    assert len(runs.read_text().splitlines()) == 2

    # After the window, the same call runs again.
    time.sleep(5.1)
    assert pay(1) == "Paid."
    assert len(runs.read_text().splitlines()) == 3
    assert json.loads(json.dumps(once.WAIT)) == 5


@pytest.mark.parametrize("url", ["", "sqlite:///{}/store.db"], ids=["private", "file"])
def test_attack_a_step_of_the_systems_time_repeats_no_call(
    gunicorn: Any, tmp_path: Path, url: str
) -> None:
    clock = """
import os, time
real = time.time
time.time = lambda: real() + os.path.getsize(os.environ["STEP"])
"""
    (tmp_path / "sitecustomize.py").write_text(clock)
    (tmp_path / "paying.py").write_text(PROGRAM.replace("once=5", "once=60"))
    runs, step = tmp_path / "runs", tmp_path / "step"
    for file in (runs, step):
        file.touch()
    server = gunicorn(
        "paying:app",
        "--config=python:swaig_wsgi.gunicorn",
        "--workers=2",
        cwd=str(tmp_path),
        PYTHONPATH=str(tmp_path),
        RUNS=str(runs),
        STEP=str(step),
        **({"SWML_STORAGE_URL": url.format(tmp_path)} if url else {}),
    )
    document = server.request("POST", "/", {"call_id": "c"}).json
    web_hook_url = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"][0]["web_hook_url"]
    path = "/swaig?" + web_hook_url.partition("?")[2]
    assert server.request("POST", path, call(1)).json["response"] == "Paid."
    for seconds in (121, 1000):
        step.write_bytes(b"x" * seconds)
        for _ in range(4):
            assert server.request("POST", path, call(1)).json["response"] == "Paid."
    assert len(runs.read_text().splitlines()) == 1


def test_attack_a_call_with_too_many_values_is_not_run(make_agent: Any, client_of: Any) -> None:
    agent = make_agent(settings=Settings(max_request_size=10_000_000))
    runs: list[Any] = []
    codes = {"type": "array", "items": {"enum": [f"account {number}" for number in range(200)]}}
    agent.define_tool(
        "close", "x", {"codes": codes}, lambda args, raw: runs.append(args) or "Done."
    )
    client = client_of(agent)

    def close(count: int) -> str:
        argument = {"parsed": [{"codes": ["account 199"] * count}]}
        return str(client.post("/swaig", {"function": "close", "argument": argument}).json)

    assert "too large to be checked" in close(170_000)
    assert runs == []
    assert "Done." in close(1_000)
