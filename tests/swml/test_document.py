"""Rendering documents."""

from __future__ import annotations

from typing import Any

from swaig_wsgi.swaig import ToolRegistry
from swaig_wsgi.swml import AISettings, CallFlow, Prompt
from swaig_wsgi.swml._document import Endpoints, render_document, signature

ENDPOINTS = Endpoints("https://x/swaig", "https://x/post_prompt", "https://x/debug_events")


def render(
    prompt: Prompt | None = None, ai: AISettings | None = None, tools: Any = ()
) -> dict[str, Any]:
    document = render_document(
        prompt or Prompt("Hello."),
        ai or AISettings(),
        CallFlow(),
        tools,
        ENDPOINTS,
        lambda name: f"token-for-{name}",
    )
    assert document["version"] == "1.0.0"
    verb: dict[str, Any] = document["sections"]["main"][1]["ai"]
    return verb


def test_a_minimal_document_has_only_the_prompt() -> None:
    assert render() == {"prompt": {"text": "Hello."}, "params": {}}


def test_secure_tools_have_urls_with_their_own_tokens() -> None:
    registry = ToolRegistry()
    registry.define("a", "x", {}, lambda args, raw: "x", secure=True)
    registry.define("b", "x", {}, lambda args, raw: "x")
    registry.define("c", "x", {}, None, webhook_url="https://other/")
    swaig = render(tools=registry)["SWAIG"]
    assert swaig["defaults"] == {"web_hook_url": "https://x/swaig"}
    assert [each.get("web_hook_url") for each in swaig["functions"]] == [
        "https://x/swaig?__token=token-for-a",
        None,
        "https://other/",
    ]
    assert [signature(tool, ENDPOINTS)["web_hook_url"] for tool in registry] == [
        "https://x/swaig",
        "https://x/swaig",
        "https://other/",
    ]


def test_the_summary_has_a_url_with_its_own_token() -> None:
    prompt = Prompt("Hello.")
    prompt.set_post_prompt("Summarise.")
    verb = render(prompt)
    assert verb["post_prompt_url"] == "https://x/post_prompt?__token=token-for-post_prompt"


def test_debug_events_have_their_url() -> None:
    ai = AISettings()
    ai.enable_debug_events(2)
    params = render(ai=ai)["params"]
    assert params == {"debug_webhook_url": ENDPOINTS.debug_events, "debug_webhook_level": 2}
    assert ai.render("other")["params"]["debug_webhook_url"] == "other"


def test_rendering_changes_no_part() -> None:
    ai = AISettings()
    ai.set_native_functions(["check_time"])
    registry = ToolRegistry()
    registry.define("a", "x", {}, lambda args, raw: "x", secure=True)
    first = render(ai=ai, tools=registry)
    assert render(ai=ai, tools=registry) == first
    assert ai.render_swaig() == {"native_functions": ["check_time"]}
