"""Documents whose constant parts are serialized once."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from swaig_wsgi import AgentApp
from swaig_wsgi.config import Settings
from swaig_wsgi.swml import _template

BASE = "https://agent.example.com"


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> AgentApp:
    agent = AgentApp("desk", basic_auth=("user", "password-1"), secret_key="k" * 32)
    agent.define_tool("first", "One", {}, lambda args, raw: "1", secure=True)
    agent.define_tool("open", "Two", {}, lambda args, raw: "2", secure=False)
    agent.define_tool("second", "Three", {}, lambda args, raw: "3", secure=True)
    numbers = itertools.count()
    monkeypatch.setattr(
        type(agent.sessions),
        "generate_token",
        lambda self, name, call_id: f"token_{name}_{call_id}_{next(numbers) % 100}",
    )
    return agent


def without_numbers(text: str) -> Any:
    parts = text.split("token_")
    return [parts[0], *(part.partition("_c")[0] for part in parts[1:])], len(text) > 100


def serialized(agent: AgentApp, base_url: str = BASE, call_id: str = "c1") -> Any:
    """Return the document from its template, after comparing it with one that has none."""
    text = agent._document_json(call_id, base_url)
    usual = json.dumps(agent.render_swml(call_id, base_url=base_url))
    assert without_numbers(text) == without_numbers(usual)
    return json.loads(text)


#: A change of each part of an agent, and of what it contains.
CHANGES: list[Any] = [
    lambda agent: agent.set_prompt_text("Other"),
    lambda agent: agent.prompt_add_section("Role", "One"),
    lambda agent: agent.set_prompt_llm_params(temperature=1),
    lambda agent: agent.set_prompt_llm_params(temperature=True),
    lambda agent: agent.set_post_prompt("Summarize."),
    lambda agent: agent.set_post_prompt_llm_params(temperature=1),
    lambda agent: agent.add_hint("word"),
    lambda agent: agent.add_language("English", "en-US", "voice"),
    lambda agent: agent.set_params({"a": 1}),
    lambda agent: agent.set_global_data({"a": 1}),
    lambda agent: agent.set_native_functions(["check_time"]),
    lambda agent: agent.enable_debug_events(),
    lambda agent: agent.add_pre_answer_verb("play", {"url": "ring:us"}),
    lambda agent: agent.add_post_ai_verb("hangup", {}),
    lambda agent: agent.set_web_hook_url("https://other.example/swaig"),
    lambda agent: agent.add_swaig_query_params({"a": "1"}),
    lambda agent: agent.define_tool("third", "Four", {}, lambda args, raw: "", secure=True),
    lambda agent: (
        agent.define_contexts().add_context("default").add_step("a").set_text("Greet the caller.")
    ),
]


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_a_change_shows_in_the_next_document(agent, number):
    before = serialized(agent)
    CHANGES[number](agent)
    after = serialized(agent)
    if number not in (2, 3, 5):
        assert after != before


def test_a_change_of_a_context_shows_in_the_next_document(agent):
    step = agent.define_contexts().add_context("default").add_step("a")
    step.set_text("Greet the caller.")
    serialized(agent)
    step.set_text("Say goodbye.")
    assert "Say goodbye." in json.dumps(serialized(agent))
    agent.define_contexts().reset()
    assert "Say goodbye." not in json.dumps(serialized(agent))


def test_equal_values_of_other_types_are_a_change(agent):
    agent.set_params({"a": 1})
    serialized(agent)
    agent.ai._params = {"a": True}
    assert '"a": true' in json.dumps(serialized(agent))


def test_attack_each_call_has_tokens_of_its_own(agent):
    texts = [agent._document_json(call_id, BASE) for call_id in ("call-1", "call-2", "call-1")]
    tokens = [part.partition('"')[0] for text in texts for part in text.split("__token=")[1:]]
    assert len(tokens) == 6
    assert len(set(tokens)) == 6
    assert [token.split("_")[1:3] for token in tokens[:4]] == [
        ["first", "call-1"],
        ["second", "call-1"],
        ["first", "call-2"],
        ["second", "call-2"],
    ]


def test_attack_urls_of_clients_do_not_fill_the_memory(agent):
    for number in range(50):
        base = f"https://host-{number}.example"
        url = serialized(agent, base)["sections"]["main"][1]["ai"]["SWAIG"]["defaults"]
        assert f"@host-{number}.example/" in url["web_hook_url"]
    assert len(agent._templates._known[1]) <= _template._MAX_TEMPLATES


def test_text_that_looks_like_a_placeholder_is_text(agent):
    agent.set_prompt_text(f"{'0' * 32}-0- and {'f' * 32}-1-")
    assert serialized(agent)["sections"]["main"][1]["ai"]["prompt"]["text"].endswith("-1-")


def test_an_incomplete_document_is_an_error_each_time(agent):
    context = agent.define_contexts().add_context("default")
    for _ in range(2):
        with pytest.raises(ValueError, match="no steps"):
            agent._document_json("c1", BASE)
    context.add_step("a").set_text("Greet the caller.")
    assert serialized(agent)


def test_credentials_in_the_urls_are_those_of_the_agent():
    for password in ("password-1", "password-2"):
        agent = AgentApp("desk", basic_auth=("user", password), settings=Settings())
        agent.define_tool("open", "Two", {}, lambda args, raw: "2", secure=False)
        assert f"//user:{password}@" in agent._document_json("c1", BASE)
