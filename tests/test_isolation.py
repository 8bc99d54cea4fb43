"""Isolation of agents that share a server and a store, and of requests to one agent."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.wsgi import Client

from swaig_wsgi import AgentApp, Settings
from swaig_wsgi.agent.server import AgentServer

# In two workers, "bank" and "pizza" keep metadata of the same call.
APP = """
import os
import time

from swaig_wsgi import AgentApp
from swaig_wsgi.agent.server import AgentServer


def remember(args, raw):
    agent = agents[args["agent"]]
    if "identity" in args:
        agent.sessions.set_session_metadata("call-1", {"identity": args["identity"]})
    time.sleep(0.02)
    return f"{os.getpid()} {agent.sessions.get_session_metadata('call-1').get('identity')}"


app = AgentServer()
agents = {name: AgentApp(name, route=f"/{name}") for name in ("bank", "pizza")}
for agent in agents.values():
    agent.define_tool("remember", "Remember", {}, remember)
    app.register(agent)
"""


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return request.getfixturevalue("valkey").url if request.param == "redis" else None


@pytest.mark.parametrize("store_url", ["shared", "sqlite", "redis"], indirect=True)
def test_attack_one_agents_metadata_is_not_anothers(
    gunicorn: Any, tmp_path: Path, store_url: str | None
) -> None:
    (tmp_path / "two_agents.py").write_text(APP)
    env = {"SWML_RATE_LIMIT": "100000", **({"SWML_STORAGE_URL": store_url} if store_url else {})}
    server = gunicorn(
        "two_agents:app",
        "--config=python:swaig_wsgi.gunicorn",
        "--workers=2",
        cwd=str(tmp_path),
        **env,
    )

    def remember(agent: str, **arguments: Any) -> list[str]:
        body = {
            "function": "remember",
            "call_id": "call-1",
            "argument": {"parsed": [{"agent": agent, **arguments}]},
        }
        response = server.request("POST", f"/{agent}/swaig", body)
        assert response.status == 200
        return response.json["response"].split()

    remember("bank", identity="alice")
    remember("pizza", identity="mallory")
    names = ["bank", "pizza"] * 50
    with ThreadPoolExecutor(8) as pool:
        found = {(agent, *each) for agent, each in zip(names, pool.map(remember, names))}
    assert {(agent, identity) for agent, _, identity in found} == {
        ("bank", "alice"),
        ("pizza", "mallory"),
    }
    # Both agents were asked in both workers.
    assert len(found) == 4


def test_every_key_of_an_agent_carries_its_name(tmp_path: Path) -> None:
    settings = Settings(rate_limit=9, storage_url=f"sqlite:///{tmp_path}/store.db")
    bank = AgentApp("bänk", settings=settings, basic_auth=("admin", "secret"))
    bank.define_tool("pay", "Pay", {}, lambda args, raw: "Paid.", secure=True, once=60)
    bank.sessions.set_session_metadata("call-1", {"identity": "alice"})
    client = Client(bank, auth=("admin", "secret"))
    assert client.get("/ready").status == 200
    token = bank.sessions.generate_token("pay", "call-1")
    body = {"function": "pay", "call_id": "call-1"}
    assert client.post(f"/swaig?__token={token}", body).json == {"response": "Paid."}
    bank.store.close()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        keys = {
            key.decode()
            for table in ("swaig_counts", "swaig_values")
            for (key,) in connection.execute(f"SELECT key FROM {table}")
        }
    assert len(keys) == 3
    assert all(key.startswith('agent:"b\\u00e4nk":') for key in keys), keys


@pytest.mark.parametrize(
    "names", [("a", 'a":meta:b'), ("a", "a:b"), ('a"', "a"), ("a", "a\\"), ("a", "A")]
)
def test_no_name_reaches_into_the_keys_of_another_agent(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    settings = Settings(storage_url=f"sqlite:///{tmp_path}/store.db")
    one, other = (AgentApp(name, settings=settings) for name in names)
    one.sessions.set_session_metadata('b":meta:c', {"identity": "alice"})
    for call_id in ('b":meta:c', "c", "b", 'b":meta:c'):
        assert other.sessions.get_session_metadata(call_id) == {}
        other.sessions.delete_session_metadata(call_id)
    assert one.sessions.get_session_metadata('b":meta:c') == {"identity": "alice"}


def test_agents_that_share_a_store_limit_clients_separately(tmp_path: Path) -> None:
    settings = Settings(rate_limit=2, storage_url=f"sqlite:///{tmp_path}/store.db")
    server = AgentServer(settings=settings)
    for name in ("bank", "pizza"):
        server.register(AgentApp(name, route=f"/{name}", settings=settings, basic_auth=("a", "b")))
    client = Client(server, auth=("a", "b"))
    assert [client.get("/bank").status for _ in range(3)] == [200, 200, 429]
    assert [client.get("/pizza").status for _ in range(3)] == [200, 200, 429]
