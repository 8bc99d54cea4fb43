"""What agents written for the SDKs do, over a socket."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swaig_wsgi.swml import ai_of
from swaig_wsgi.testing import AgentClient, ResponseError

HEADER = """
from swaig_wsgi import AgentApp, AgentServer, FunctionResult
import swaig_wsgi

"""
Check = Callable[[AgentClient], None]
IDIOMS: dict[str, tuple[str, Check]] = {}


def idiom(source: str) -> Callable[[Check], Check]:
    """Register what an agent of this source, by the name of the function, must do."""

    def register(check: Check) -> Check:
        IDIOMS[check.__name__] = (HEADER + source, check)
        return check

    return register


@idiom("""
class Bank(AgentApp):
    branch = "Oslo"

    @AgentApp.tool(secure=True)
    def where(self) -> str:
        "Where."
        return self.branch

app = Bank("bank")
""")
def tools_on_methods(client: AgentClient) -> None:
    assert client.call_tool("where") == {"response": "Oslo"}


@idiom("""
app = AgentApp("bank")
app.define_tool("ping", "Ping", {}, lambda: "pong", secure=True)
""")
def a_handler_without_parameters(client: AgentClient) -> None:
    assert client.call_tool("ping") == {"response": "pong"}


@idiom("""
app = AgentApp("bank").set_web_hook_url("https://tools.example.com/swaig?a=b")
app.define_tool("ping", "Ping", {}, lambda: "pong")
app.define_tool("pay", "Pay", {}, lambda: "paid", secure=True)
""")
def set_web_hook_url(client: AgentClient) -> None:
    ai = ai_of(client.fetch_swml())
    assert ai["SWAIG"]["defaults"]["web_hook_url"] == "https://tools.example.com/swaig?a=b"
    assert "web_hook_url" not in client.tools[0]
    assert client.call_tool("pay") == {"response": "paid"}


@idiom("""
app = AgentApp("bank").set_post_prompt("Sum up.")
app.set_post_prompt_url("https://reports.example.com/summary")
""")
def set_post_prompt_url(client: AgentClient) -> None:
    ai = ai_of(client.fetch_swml())
    assert ai["post_prompt_url"] == "https://reports.example.com/summary"


@idiom("""
app = AgentApp("bank").add_swaig_query_params({"tier": "gold & silver"})
app.define_tool("ping", "Ping", {}, lambda: "pong", secure=True)
app.define_tool("look", "Look", {}, lambda: "seen")
""")
def add_swaig_query_params(client: AgentClient) -> None:
    ai = ai_of(client.fetch_swml())
    urls = [client.tools[0]["web_hook_url"], ai["SWAIG"]["defaults"]["web_hook_url"]]
    assert all("tier=gold+%26+silver" in url.replace("%20", "+") for url in urls)
    assert client.call_tool("ping") == {"response": "pong"}
    assert client.call_tool("look") == {"response": "seen"}


@idiom("""
SECTIONS = [{"title": "Role", "body": "You help.", "bullets": ["Be kind."]}]
app = AgentApp("bank").set_prompt_pom(SECTIONS)
app.set_languages([{"name": "English", "code": "en-US", "voice": "rime.spore"}])
""")
def set_prompt_pom_and_set_languages(client: AgentClient) -> None:
    ai = ai_of(client.fetch_swml())
    expected = [{"title": "Role", "body": "You help.", "bullets": ["Be kind."]}]
    assert ai["prompt"]["pom"] == expected
    assert ai["languages"] == [{"name": "English", "code": "en-US", "voice": "rime.spore"}]


@idiom("""
app = AgentServer()
app.register(AgentApp("bank"), "/")
app.get_agent("/").define_tool("ping", "Ping", {}, lambda: "pong", secure=True)
""")
def get_agent(client: AgentClient) -> None:
    assert client.call_tool("ping") == {"response": "pong"}


@idiom("""
class Bank(AgentApp):
    def on_request(self, request_data=None, callback_path=None):
        return {"global_data": {"from": request_data["call"]["from"]}}

app = Bank("bank")
""")
def on_request(client: AgentClient) -> None:
    document = client.fetch_swml(call={"from": "+15555550123"})
    assert ai_of(document)["global_data"] == {"from": "+15555550123"}


@idiom("""
def message_of(get):
    try:
        get()
    except AttributeError as error:
        return str(error)

app = AgentApp("bank")
app.define_tool("skill", "Skill", {}, lambda: message_of(lambda: app.add_skill("datetime")))
app.define_tool("map", "Map", {}, lambda: message_of(lambda: swaig_wsgi.DataMap))
app.define_tool("prefab", "Prefab", {}, lambda: message_of(lambda: swaig_wsgi.prefabs))
""")
def names_that_are_not_here(client: AgentClient) -> None:
    assert "define their functions as tools" in client.call_tool("skill")["response"]
    assert "AgentApp.register_swaig_function()" in client.call_tool("map")["response"]
    assert "has no attribute 'prefabs': " in client.call_tool("prefab")["response"]


@idiom("""
class Bank(AgentApp):
    def __init__(self):
        super().__init__("bank")
        self.move = self.endpoints = self.credential_validator = "mine"
        self.define_tool("ping", "Ping", {}, lambda: self.move + self.endpoints, secure=True)

app = Bank()
""")
def attributes_that_subclasses_use_by_accident(client: AgentClient) -> None:
    assert client.call_tool("ping") == {"response": "minemine"}


@idiom("""
app = AgentApp("bank")

@app.set_dynamic_config_callback
def configure(query, body, headers, agent):
    agent.define_tool("bonus", "Bonus", {}, lambda: "yes", secure=True)
""")
def a_dynamic_tool_without_a_handler(client: AgentClient) -> None:
    with pytest.raises(ResponseError) as caught:
        client.fetch_swml()
    assert caught.value.status == 500


@idiom("""
def message_of(define):
    try:
        define()
    except TypeError as error:
        return str(error)

def pay() -> str:
    "Pay."
    return "paid"

app = AgentApp("bank")
typed = message_of(lambda: app.tool(secured=True, onec=60)(pay))
defined = message_of(lambda: app.define_tool("pay", "Pay", {}, pay, secured=True))
app.define_tool("typed", "x", {}, lambda: typed)
app.define_tool("defined", "x", {}, lambda: defined)
app.define_tool("gated", "x", {}, pay, secure=True, extra={"later": 1}, wait_file_loops=2)
""")
def misspelled_options(client: AgentClient) -> None:
    client.fetch_swml()
    assert [tool["function"] for tool in client.tools] == ["typed", "defined", "gated"]
    for name in ("typed", "defined"):
        assert "did you mean 'secure'?" in client.call_tool(name)["response"]
    assert client.tools[2].items() >= {"later": 1, "wait_file_loops": 2}.items()
    assert client.call_tool("gated") == {"response": "paid"}


@pytest.mark.parametrize("name", IDIOMS)
def test_an_idiom_works_or_says_what_to_do(gunicorn: Any, tmp_path: Path, name: str) -> None:
    source, check = IDIOMS[name]
    (tmp_path / "idiomatic.py").write_text(source)
    server = gunicorn("idiomatic:app", cwd=str(tmp_path))
    check(AgentClient(f"http://127.0.0.1:{server.port}/", auth=("demo", "p@ss:w/ö")))
