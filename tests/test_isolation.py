"""Isolation of agents that share a server and a store, and of requests to one agent."""

from __future__ import annotations

import json
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.wsgi import Client

from swaig_wsgi import AgentApp, Settings
from swaig_wsgi.agent.server import AgentServer
from swaig_wsgi.testing import AgentClient

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
@pytest.mark.threads
def test_attack_metadata_is_separate_for_each_agent(
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
    results: set[tuple[str, ...]] = set()
    with ThreadPoolExecutor(8) as pool:
        # Until both workers have served both agents; one of them may still be starting.
        for _ in range(20):
            results |= {(agent, *result) for agent, result in zip(names, pool.map(remember, names))}
            if len(results) >= 4:
                break
    assert {(agent, identity) for agent, _, identity in results} == {
        ("bank", "alice"),
        ("pizza", "mallory"),
    }
    assert len(results) == 4


def test_every_key_of_an_agent_contains_its_name(tmp_path: Path) -> None:
    settings = Settings(rate_limit=9, storage_url=f"sqlite:///{tmp_path}/store.db")
    bank = AgentApp("bänk", settings=settings, basic_auth=("admin", "secret"))
    bank.define_tool("pay", "Pay", {}, lambda args, raw: "Paid.", secure=True, once=60)
    bank.sessions.set_session_metadata("call-1", {"identity": "alice"})
    client = Client(bank, auth=("admin", "secret"))
    assert client.get("/ready").status == 200
    assert AgentClient(bank).call_tool("pay", call_id="call-1") == {"response": "Paid."}
    bank.store.close()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        keys = {
            key.decode()
            for table in ("swaig_counts", "swaig_values")
            for (key,) in connection.execute(f"SELECT key FROM {table}")  # noqa: S608 - the names are constants
        }
    # The readiness check is that of the process, whatever its agents.
    probes = {key for key in keys if key.startswith("ready:")}
    keys -= probes
    assert (len(keys), len(probes)) == (3, 1)
    assert all(key.startswith('agent:"b\\u00e4nk":') for key in keys), keys


@pytest.mark.parametrize(
    "names", [("a", 'a":meta:b'), ("a", "a:b"), ('a"', "a"), ("a", "a\\"), ("a", "A")]
)
def test_no_agent_name_gives_access_to_keys_of_another_agent(
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


# -- requests to one agent


def full_agent(cls: type[AgentApp] = AgentApp) -> AgentApp:
    """Return an agent with every part that a document may have."""
    agent = cls("bank", basic_auth=("admin", "secret"), record_call=True)
    agent.prompt_add_section("Role", "Teller.", ["brief"], subsections=[{"title": "Tone"}])
    agent.set_prompt_llm_params(temperature=0.5, extra={"a": [1]})
    agent.set_post_prompt("Sum up.").set_post_prompt_llm_params(extra={"a": [1]})
    context = agent.define_contexts().add_context("default").add_enter_filler("en-US", ["Hi."])
    step = context.add_step("one", task="Greet.", functions=["pay"], valid_steps=["next"])
    step.set_gather_info("caller")
    step.add_gather_question("name", "Your name?")
    context.add_step("two", task="Help.")
    agent.set_params({"nested": {"a": [1]}}).set_global_data({"limits": {"daily": [100]}})
    agent.add_hint("IBAN").add_pattern_hint("a", "b", "c").add_pronunciation("a", "b")
    agent.add_language("English", "en-US", "voice", ["Hm."], ["Wait."], params={"a": [1]})
    agent.set_native_functions(["check_time"]).enable_debug_events()
    agent.add_function_include("https://x.example", ["one"], {"a": [1]})
    agent.set_internal_fillers({"check_time": {"en-US": ["Hm."]}})
    agent.add_pre_answer_verb("play", {"urls": ["ring.mp3"]}).add_answer_verb({"max": [1]})
    agent.add_post_answer_verb("play", {"urls": ["hello.mp3"]})
    agent.add_post_ai_verb("request", {"headers": {"a": "b"}})
    amount = {"amount": {"type": "integer", "enum": [1, 2]}}
    fillers = {"en-US": ["One moment."]}
    agent.define_tool(
        "pay", "Pay", amount, lambda args, raw: "Paid.", fillers=fillers, required=["amount"]
    )
    agent.define_tool("secret", "Secret", amount, lambda args, raw: "Done.", secure=True)
    headers = {"Authorization": "Bearer token"}
    webhooks = [{"url": "https://x.example", "headers": headers}]
    agent.register_swaig_function({"function": "weather", "data_map": {"webhooks": webhooks}})
    return agent


def modify(value: Any) -> int:
    """Change every list and dictionary in `value`; return how many there are."""
    members = list(value.values()) if isinstance(value, dict) else value
    changed = sum(modify(member) for member in members if isinstance(member, (dict, list)))
    if isinstance(value, dict):
        value["enum"] = value["modified"] = "modified"
    else:
        value.append("modified")
    return changed + 1


def modify_agent(agent: AgentApp) -> int:
    contexts = agent.define_contexts()
    context = contexts.get_context("default")
    assert context is not None
    step = context.get_step("one")
    assert step is not None
    values: list[Any] = [
        agent.render_swml("call-1"),
        agent.prompt.render(),
        agent.prompt.render_post_prompt(),
        agent.ai.render("https://x.example"),
        agent.ai.render_swaig(),
        agent.call_flow.render({}),
        contexts.render(),
        contexts.to_dict(),
        context.to_dict(),
        step.to_dict(),
        *(tool.definition for tool in agent.tools),
        *(tool.signature for tool in agent.tools),
    ]
    return sum(modify(value) for value in values)


def test_attack_no_request_changes_the_document_or_argument_check_of_another() -> None:
    class Modifying(AgentApp):
        def render_swml(self, *args: Any, **options: Any) -> dict[str, Any]:
            document = super().render_swml(*args, **options)
            if modifies:
                modify(document)
            return document

        def on_swml_request(self, body: Any, query: Any, headers: Any) -> Any:
            if modifies:
                modify_agent(self)

    def configure(query: Any, body: Any, headers: Any, agent: AgentApp) -> None:
        if modifies:
            assert modify_agent(agent) > 200
            agent._routing_callbacks["/modified"] = print

    modifies = False
    agent = full_agent(Modifying).set_dynamic_config_callback(configure)
    client = Client(agent, auth=("admin", "secret"))
    signatures = {"action": "get_signature"}

    def documents() -> list[str]:
        responses = [client.post("/", {"call_id": "call-1"}), client.post("/swaig", signatures)]
        assert [response.status for response in responses] == [200, 200]
        return [re.sub('__token=[^"]*', "", response.text) for response in responses]

    before = documents()
    modifies = True
    assert documents() != before
    modifies = False
    assert documents() == before
    call = {"function": "pay", "argument": {"parsed": [{"amount": 3}]}}
    assert "must be one of 1, 2" in client.post("/swaig", call).json["response"]
    assert agent._routing_callbacks == {}


def test_attack_changes_by_a_subclass_apply_to_one_request() -> None:
    class Personal(AgentApp):
        def on_swml_request(self, body: Any, query: Any, headers: Any) -> Any:
            self.update_global_data({body["caller"]: "secret"}).add_hint(body["caller"])

        def render_swml(self, *args: Any, **options: Any) -> dict[str, Any]:
            self.add_post_ai_verb("hangup", {"reason": str(args)})
            return super().render_swml(*args, **options)

    client = Client(full_agent(Personal), auth=("admin", "secret"))
    alice = client.post("/", {"call_id": "call-1", "caller": "alice"}).text
    mallory = client.post("/", {"call_id": "call-2", "caller": "mallory"}).text
    assert "alice" in alice
    assert "call-1" in alice
    assert "mallory" in mallory
    assert "alice" not in mallory
    assert "call-1" not in mallory


def test_an_agent_returns_copies() -> None:
    agent = full_agent()
    client = Client(agent, auth=("admin", "secret"))
    before = json.dumps(agent.render_swml("call-1"))
    assert modify(agent.render_swml("call-1")) > 50
    modify_agent(agent)
    without_tokens = re.compile('__token=[^"]*')
    after = json.dumps(agent.render_swml("call-1"))
    assert without_tokens.sub("", after) == without_tokens.sub("", before)
    call = {"function": "pay", "argument": {"parsed": [{"amount": 3}]}}
    assert "must be one of 1, 2" in client.post("/swaig", call).json["response"]
