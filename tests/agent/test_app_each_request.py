"""Configuration and data of single requests."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from swaig_wsgi import AgentApp, AuthHandler
from swaig_wsgi.testing import AgentClient


def ai_of(document: dict[str, Any]) -> dict[str, Any]:
    return next(verb["ai"] for verb in document["sections"]["main"] if "ai" in verb)


def test_changes_by_on_swml_request_apply_to_one_document(make_agent: Any, client_of: Any) -> None:
    class Greeter(AgentApp):
        def on_swml_request(self, body: Any, query: Any, headers: Any) -> Any:
            if body.get("caller") is None:
                return None
            return {
                "global_data": {"caller": body["caller"]},
                "prompt": {"temperature": 0.5},
                "hints": ["IBAN"],
            }

    agent = make_agent(cls=Greeter).set_global_data({"bank": "first"}).add_hint("BIC")
    client = client_of(agent)
    before = agent.render_swml("x", base_url="https://x.example")
    changed = ai_of(client.post("/", body={"call_id": "c", "caller": "Bob"}).json)
    assert changed["global_data"] == {"bank": "first", "caller": "Bob"}
    assert changed["prompt"]["temperature"] == 0.5
    assert changed["prompt"]["text"].startswith("You are bank")
    assert changed["hints"] == ["IBAN"]
    plain = ai_of(client.document())
    assert plain["global_data"] == {"bank": "first"}
    assert plain["hints"] == ["BIC"]
    assert "temperature" not in plain["prompt"]
    after = agent.render_swml("x", base_url="https://x.example")
    for document in (before, after):
        del ai_of(document)["SWAIG"]["functions"][1]["web_hook_url"]
    assert before == after


def test_the_dynamic_config_callback_configures_a_copy(make_agent: Any, client_of: Any) -> None:
    seen: list[Any] = []

    async def configure(query: Any, body: Any, headers: Any, agent: AgentApp) -> None:
        seen.append((query, body, headers))
        agent.prompt_add_section("Tier", query.get("tier", "basic"))
        agent.set_param("tier", query.get("tier", "basic")).add_hint("x").set_post_prompt("Sum up.")
        agent.add_pre_answer_verb("sleep", 10)
        agent.define_tool("extra", "x", {}, None, webhook_url="https://x.example/")
        agent.update_global_data(body.get("data", {}))

    agent = make_agent().prompt_add_section("Role", "Teller").set_global_data({"bank": 1})
    agent.set_dynamic_config_callback(configure)
    client = client_of(agent)
    for tier in ("gold", "silver"):
        response = client.post(
            f"/?tier={tier}&__token=t0ken", body={"data": {"n": tier}}, headers={"X-Tag": "t"}
        )
        main = response.json["sections"]["main"]
        ai = ai_of(response.json)
        assert main[0] == {"sleep": 10}
        assert [section["title"] for section in ai["prompt"]["pom"]] == ["Role", "Tier"]
        assert ai["prompt"]["pom"][1]["body"] == tier
        assert ai["params"] == {"tier": tier}
        assert ai["global_data"] == {"bank": 1, "n": tier}
        functions = [function["function"] for function in ai["SWAIG"]["functions"]]
        assert functions == ["look", "pay", "extra"]
        assert "__token" in ai["post_prompt_url"]
    unchanged = ai_of(agent.render_swml("x"))
    assert [section["title"] for section in unchanged["prompt"]["pom"]] == ["Role"]
    assert unchanged["global_data"] == {"bank": 1}
    assert unchanged["params"] == {}
    assert not {"hints", "post_prompt"} & set(unchanged)
    assert len(agent.tools) == 2
    assert client.post("/swaig", body={"function": "extra"}).status == 404
    query, body, headers = seen[0]
    assert query == {"tier": "gold"}
    assert body == {"data": {"n": "gold"}}
    assert headers["X-Tag"] == "t"


def test_callbacks_receive_no_secret_headers(make_agent: Any, client_of: Any) -> None:
    seen: list[dict[str, str]] = []

    class Recording(AgentApp):
        def on_swml_request(self, body: Any, query: Any, headers: Any) -> None:
            seen.append(headers)

    agent = make_agent(cls=Recording)
    agent.set_dynamic_config_callback(lambda query, body, headers, agent: seen.append(headers))
    agent.register_routing_callback(lambda body, headers: seen.append(headers), "/route")
    client = client_of(agent)
    secret = {
        "Cookie": "session=s3cret",
        "X-Api-Key": "s3cret",
        "X-SignalWire-Signature": "s3cret",
        "Proxy-Authorization": "s3cret",
    }
    for path in ("/", "/route"):
        assert client.post(path, body={}, headers={**secret, "X-Tag": "t"}).status == 200
    assert len(seen) == 5
    for headers in seen:
        assert headers["X-Tag"] == "t"
        assert "s3cret" not in json.dumps(headers)
        assert "authorization" not in {name.lower() for name in headers}


def test_callbacks_do_not_receive_the_configured_api_key_header(
    make_agent: Any, client_of: Any
) -> None:
    seen: list[dict[str, str]] = []
    agent = make_agent(auth=AuthHandler(api_key="s3cret-key", api_key_header="X-Service-Key"))
    agent.set_dynamic_config_callback(lambda query, body, headers, agent: seen.append(headers))
    response = client_of(agent).post(
        "/", body={}, auth=None, headers={"X-Service-Key": "s3cret-key"}
    )
    assert response.status == 200
    assert "s3cret-key" not in json.dumps(seen)


def test_callbacks_do_not_receive_a_forged_verified_call_id(
    make_agent: Any, client_of: Any
) -> None:
    seen: list[dict[str, Any]] = []

    class Recording(AgentApp):
        def on_swml_request(self, body: Any, query: Any, headers: Any) -> None:
            seen.append(body)

        def on_debug_event(self, event: Any) -> None:
            seen.append(event)

    agent = make_agent(cls=Recording)
    agent.set_dynamic_config_callback(lambda query, body, headers, agent: seen.append(body))
    agent.register_routing_callback(lambda body, headers: seen.append(body), "/route")
    client = client_of(agent)
    for path in ("/", "/route", "/debug_events"):
        client.post(path, body={"verified_call_id": "forged", "x": 1})
    assert seen == [{"x": 1}] * 6


def test_on_swml_request_may_be_set_on_the_instance(make_agent: Any, client_of: Any) -> None:
    agent = make_agent()
    client = client_of(agent)
    client.document()
    agent.on_swml_request = lambda body, query, headers: {"hints": ["override"]}
    assert ai_of(client.document())["hints"] == ["override"]


def test_readiness_checks_of_a_copy_do_not_affect_the_agent(
    make_agent: Any, client_of: Any
) -> None:
    def configure(query: Any, body: Any, headers: Any, agent: AgentApp) -> None:
        agent.add_readiness_check("mine", lambda: False)

    client = client_of(make_agent().set_dynamic_config_callback(configure))
    client.document()
    client.document()
    assert client.get("/ready").status == 200


def test_an_exception_in_a_callback_is_500(
    make_agent: Any, client_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*args: Any) -> None:
        raise RuntimeError("s3cret detail")

    client = client_of(make_agent().set_dynamic_config_callback(fails))
    response = client.post("/", body={})
    assert (response.status, response.json) == (500, {"error": "Internal server error"})
    assert "s3cret detail" in caplog.text


@pytest.mark.threads
def test_concurrent_requests_do_not_share_data(make_agent: Any) -> None:
    def configure(query: Any, body: Any, headers: Any, agent: AgentApp) -> None:
        agent.set_global_data({"caller": query["caller"]}).prompt_add_section(query["caller"])
        agent.set_param("caller", query["caller"])

    def echo(args: dict[str, Any], raw_data: dict[str, Any]) -> str:
        return f"{raw_data['verified_call_id']} {args['caller']}"

    agent = make_agent().set_dynamic_config_callback(configure)
    agent.define_tool("echo", "x", {}, echo, secure=True)
    failures: list[Any] = []

    def work(thread: int) -> None:
        client = AgentClient(agent)
        for number in range(125):
            caller = f"{thread}-{number}"
            ai = ai_of(client.fetch_swml(caller, query={"caller": caller}))
            result = client.call_tool("echo", {"caller": caller})
            if (
                ai["global_data"] != {"caller": caller}
                or ai["params"] != {"caller": caller}
                or [section["title"] for section in ai["prompt"]["pom"]] != [caller]
                or result != {"response": f"{caller} {caller}"}
            ):
                failures.append((ai, result))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
