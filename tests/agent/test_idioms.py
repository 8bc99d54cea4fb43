"""What developers who know the SDKs reach for."""

from __future__ import annotations

import functools
import inspect
import re
from typing import Any

import pytest

import swaig_wsgi
from swaig_wsgi import AgentApp, AgentServer, FunctionResult
from swaig_wsgi.testing import AgentClient, ResponseError

AUTH = ("a", "b")
FORWARDED = [
    name
    for name, value in inspect.getmembers(AgentApp, inspect.isfunction)
    if value.__code__.co_name == "forwarding"
]


def ai_of(document: dict[str, Any]) -> dict[str, Any]:
    return next(verb["ai"] for verb in document["sections"]["main"] if "ai" in verb)


@pytest.fixture
def app() -> AgentApp:
    app = AgentApp("bank", basic_auth=AUTH)
    app.set_post_prompt("Summarize.")
    app.define_tool("pay", "Pay", None, lambda: "Paid.", secure=True)
    app.define_tool("look", "Look", None, lambda: "Seen.")
    return app


# -- URLs


def test_query_parameters_are_in_the_urls_and_tools_still_run(app: AgentApp) -> None:
    app.add_swaig_query_params({"tier": "g&d ü"}).add_swaig_query_params({"x": ""})
    client = AgentClient(app)
    ai = ai_of(client.fetch_swml())
    query = "?tier=g%26d+%C3%BC&x="
    pay, _look = ai["SWAIG"]["functions"]
    assert ai["SWAIG"]["defaults"]["web_hook_url"].endswith(f"/swaig{query}")
    assert f"/swaig{query}&__token=" in pay["web_hook_url"]
    assert f"/post_prompt{query}&__token=" in ai["post_prompt_url"]
    assert client.call_tool("pay") == {"response": "Paid."}
    assert client.call_tool("look") == {"response": "Seen."}
    assert client.post_prompt("Done.") == {"status": "ok"}
    app.clear_swaig_query_params()
    assert "tier" not in str(client.fetch_swml())


@pytest.mark.parametrize("params", [{"__token": "x"}, {"call_id": "x"}, {"a": 1}, ["a"], {"": "b"}])
def test_attack_query_parameters_cannot_replace_the_token(app: AgentApp, params: Any) -> None:
    with pytest.raises(ValueError, match="query parameter"):
        app.add_swaig_query_params(params)
    assert AgentClient(app).call_tool("pay") == {"response": "Paid."}


def test_attack_a_web_hook_elsewhere_gets_no_token(app: AgentApp) -> None:
    app.set_web_hook_url("https://x.example/swaig").set_post_prompt_url("https://x.example/sum")
    client = AgentClient(app)
    ai = ai_of(client.fetch_swml())
    assert ai["SWAIG"]["defaults"]["web_hook_url"] == "https://x.example/swaig"
    assert ai["post_prompt_url"] == "https://x.example/sum"
    (pay, look) = ai["SWAIG"]["functions"]
    assert "web_hook_url" not in look
    assert pay["web_hook_url"].startswith("http://a:b@localhost/swaig?__token=")
    assert client.call_tool("pay") == {"response": "Paid."}
    for method in (app.set_web_hook_url, app.set_post_prompt_url):
        for url in ("/swaig", "javascript:x", "", None):
            with pytest.raises(ValueError, match="URL must be"):
                method(url)


def test_one_document_may_have_urls_of_its_own(app: AgentApp) -> None:
    def configure(query: Any, body: Any, headers: Any, agent: AgentApp) -> None:
        agent.set_web_hook_url("https://x.example/swaig").add_swaig_query_params(query)

    app.set_dynamic_config_callback(configure)
    ai = ai_of(AgentClient(app, url="/?tier=gold").fetch_swml())
    assert ai["SWAIG"]["defaults"]["web_hook_url"] == "https://x.example/swaig"
    assert "/swaig?tier=gold&__token=" in ai["SWAIG"]["functions"][0]["web_hook_url"]
    assert "x.example" not in str(app.render_swml())
    assert "gold" not in str(app.render_swml())


# -- prompt, languages, server


def test_set_prompt_pom_replaces_the_sections(app: AgentApp) -> None:
    app.prompt_add_section("Old", "Body.")
    pom = [
        {"title": "Role", "body": "Teller.", "bullets": ["polite"], "numbered": True},
        {"title": "Rules", "subsections": [{"title": "Inner", "body": "No."}]},
    ]
    assert app.set_prompt_pom(pom) is app
    assert ai_of(app.render_swml())["prompt"]["pom"] == pom
    for invalid in ("text", {"title": "a"}, [{"body": "x"}], [{"title": "a", "bodyy": "x"}]):
        with pytest.raises(ValueError, match="pom"):
            app.set_prompt_pom(invalid)
    assert ai_of(app.render_swml())["prompt"]["pom"] == pom


def test_set_languages_replaces_the_languages(app: AgentApp) -> None:
    app.add_language("English", "en-US", "voice")
    languages = [{"name": "German", "code": "de-DE", "voice": "v", "fillers": ["Hm."]}]
    assert app.set_languages(languages) is app
    languages[0]["name"] = "changed"
    assert [each["name"] for each in ai_of(app.render_swml())["languages"]] == ["German"]
    for invalid in ("de-DE", [{"name": "German"}], ["German"]):
        with pytest.raises(ValueError, match="languages"):
            app.set_languages(invalid)


def test_a_server_returns_an_agent_by_its_route(app: AgentApp) -> None:
    server = AgentServer()
    server.register(app, "/bank")
    assert server.get_agent("/bank") is server.get_agent("bank/") is app
    assert server.get_agent("/other") is server.get_agent("/") is None


def test_on_request_comes_before_on_swml_request() -> None:
    seen: list[Any] = []

    class Agent(AgentApp):
        async def on_request(self, request_data: Any, callback_path: Any = None) -> Any:
            seen.append((request_data["call_id"], callback_path))
            return request_data.get("changes")

        def on_swml_request(self, body: Any, query: Any, headers: Any) -> Any:
            return {"global_data": {"from": "on_swml_request"}}

    app = Agent("bank", basic_auth=AUTH)
    app.register_routing_callback(lambda body, headers: None, "/sip")
    changes = {"global_data": {"from": "on_request"}}
    client = AgentClient(app)
    assert ai_of(client.fetch_swml("c1"))["global_data"] == {"from": "on_swml_request"}
    assert ai_of(client.fetch_swml("c2", changes=changes))["global_data"] == changes["global_data"]
    AgentClient(app, url="/sip").fetch_swml("c3")
    assert seen == [("c1", None), ("c2", None), ("c3", "/sip")]


# -- handlers without parameters


@pytest.mark.parametrize("parameters", [None, {}, {"zone": {"type": "string"}}])
def test_a_handler_without_parameters_is_called_without_arguments(parameters: Any) -> None:
    class Agent(AgentApp):
        @AgentApp.tool(parameters=parameters)
        def method(self) -> str:
            """Tell."""
            return "method"

    app = Agent("bank", basic_auth=AUTH)
    app.define_tool("function", "Tell", parameters, lambda: "function", secure=True)

    @app.tool(parameters=parameters)
    async def coroutine() -> FunctionResult:
        """Tell."""
        return FunctionResult("coroutine")

    client = AgentClient(app)
    for name in ("method", "function", "coroutine"):
        assert client.call_tool(name) == {"response": name}
        assert client.call_tool(name, {"zone": "UTC"}) == {"response": name}


# -- names that there are not


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("add_skill", "there are no skills: define their functions as tools"),
        ("enable_sip_routing", "AgentServer.setup_sip_routing"),
        ("get_app", "the agent itself is the WSGI application"),
        ("serve", "gunicorn in production"),
        ("manual_set_proxy_url", "SWML_PROXY_URL_BASE"),
        ("add_mcp_server", "define tools"),
        ("on_call_end", "on_summary"),
    ],
)
def test_names_of_the_sdks_say_where_to_go(app: AgentApp, name: str, remedy: str) -> None:
    expected = f"'AgentApp' object has no attribute '{name}': .*{remedy}"
    with pytest.raises(AttributeError, match=expected):
        getattr(app, name)
    assert not hasattr(app, name)
    assert not hasattr(AgentApp, name)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("DataMap", "AgentApp.register_swaig_function"),
        ("InfoGathererAgent", "subclass AgentApp"),
        ("prefabs", "subclass AgentApp"),
        ("SkillBase", "define their functions as tools"),
        ("AgentBase", "use AgentApp"),
        ("SwaigFunctionResult", "use FunctionResult"),
    ],
)
def test_names_of_the_sdks_in_the_package_say_where_to_go(name: str, remedy: str) -> None:
    with pytest.raises(AttributeError, match=f"'swaig_wsgi' has no attribute '{name}': .*{remedy}"):
        getattr(swaig_wsgi, name)


@pytest.mark.parametrize(
    ("statement", "remedy"),
    [
        ("from swaig_wsgi import AgentBase", "use AgentApp"),
        ("from swaig_wsgi import AgentApp, DataMap", "AgentApp.register_swaig_function"),
        ("from swaig_wsgi import prefabs", "subclass AgentApp"),
    ],
)
def test_imports_of_names_of_the_sdks_say_where_to_go(statement: str, remedy: str) -> None:
    with pytest.raises(
        ImportError, match=f"^cannot import name '.*' from 'swaig_wsgi': .*{remedy}"
    ):
        exec(statement)  # noqa: S102 - code of this test


def test_other_imports_are_ordinary_errors() -> None:
    with pytest.raises(ImportError, match="^cannot import name 'Nonsense' from 'swaig_wsgi' "):
        exec("from swaig_wsgi import Nonsense")  # noqa: S102 - code of this test
    exec("from swaig_wsgi import config, swaig")  # noqa: S102 - code of this test
    assert not hasattr(swaig_wsgi, "AgentBase")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"use_pom": True}, "'use_pom': sections or one text, whichever is set"),
        ({"suppress_logs": True}, "'suppress_logs': SIGNALWIRE_LOG_LEVEL"),
        ({"swaig_secret": "x"}, "'swaig_secret': secret_key=, or SIGNALWIRE_SWAIG_SECRET"),
        ({"native_functions": []}, "'native_functions': call set_native_functions()"),
        ({"rout": "/x"}, "'rout'; did you mean 'route'?"),
        ({"secure_default": True}, "'secure_default'; did you mean 'secure_by_default'?"),
    ],
)
def test_arguments_of_the_sdks_constructor_say_where_to_go(
    arguments: dict[str, Any], message: str
) -> None:
    class Bank(AgentApp):
        def __init__(self) -> None:
            super().__init__("bank", **arguments)

    for make in (Bank, lambda: AgentApp("bank", **arguments)):
        with pytest.raises(TypeError, match=re.escape(f"AgentApp() has no parameter {message}")):
            make()


def test_arguments_by_position_say_that_they_are_keywords(app: AgentApp) -> None:
    with pytest.raises(TypeError, match=r"AgentApp\(\) takes all arguments but name by keyword"):
        AgentApp("bank", "/bank")  # type: ignore[misc]
    with pytest.raises(TypeError, match=r"AgentServer\(\) takes all arguments by keyword"):
        AgentServer("127.0.0.1", 3000)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"no parameter 'host': gunicorn --bind HOST:PORT"):
        AgentServer(host="127.0.0.1")  # type: ignore[call-arg]
    expected = r"define_tool\(\) takes all arguments but name, description, parameters, handler by"
    with pytest.raises(TypeError, match=expected):
        app.define_tool("a", "A", {}, print, True)  # type: ignore[misc]
    with pytest.raises(TypeError, match=r"must be a list; numbered_bullets= is given by keyword"):
        app.prompt_add_section("Steps", "Do.", ["a"], False, True)  # type: ignore[arg-type]


def test_a_handler_of_the_sdk_with_another_first_name_says_what_to_do(app: AgentApp) -> None:
    def lookup(arguments, raw_data):  # type: ignore[no-untyped-def]
        return "Done."

    with pytest.raises(ValueError, match=r"'arguments' .*annotation.*; or name it args, if the"):
        app.tool(lookup)


def test_a_server_says_how_it_is_run() -> None:
    with pytest.raises(AttributeError, match="no attribute 'run': .*gunicorn"):
        AgentServer().run()


def test_on_debug_event_is_no_decorator(app: AgentApp) -> None:
    with pytest.raises(TypeError, match=r"override on_debug_event\(event\)"):

        @app.on_debug_event
        def handle(event_type: str, data: dict[str, Any]) -> None:
            pass


def test_other_unknown_names_are_ordinary_errors(app: AgentApp) -> None:
    with pytest.raises(AttributeError, match="^'AgentApp' object has no attribute 'nonsense'$"):
        _ = app.nonsense
    with pytest.raises(AttributeError) as caught:
        app.add_hintt("x")
    assert (caught.value.name, caught.value.obj) == ("add_hintt", app)


# -- attributes of a subclass


class Shop(AgentApp):
    """Uses names that sound as if they were free."""

    def __init__(self) -> None:
        super().__init__("shop", basic_auth=AUTH)
        self.endpoints = ["https://shop.example/"]
        self.credential_validator = self.readiness = self.accepted_pairs = None
        self.own_store = self.routing_callbacks = self.is_hidden = self.signing_key = "mine"
        self.customizes_requests = self.configured_for = self.password_made_by = "mine"
        self.own_paths = "mine"

    @AgentApp.tool(secure=True, once=60)
    def move(self, to: str) -> str:
        """Move the parcel."""
        return f"Moved to {to}."

    def is_ready(self) -> bool:
        return False


def test_a_subclass_may_use_the_names_of_private_attributes() -> None:
    server = AgentServer()
    shop = Shop()
    server.register(shop, "/shop")
    server.register_global_routing_callback(lambda body, headers: None, "/sip")
    client = AgentClient(server, url="/shop/sip", auth=AUTH)
    client.fetch_swml()
    assert client.call_tool("move", {"to": "A"}) == {"response": "Moved to A."}
    assert shop.endpoints == ["https://shop.example/"]
    assert server._failures() == ()
    with pytest.raises(ResponseError, match="401"):
        AgentClient(server, url="/shop", auth=("a", "wrong")).fetch_swml()


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("prompt", "You sell cars.", "Prompt, not str: use set_prompt_text() or PROMPT_SECTIONS"),
        ("ai", object(), "AISettings, not object: use methods such as set_params()"),
        ("call_flow", [], "CallFlow, not list: give this attribute another name"),
        ("tools", ["hammer"], "ToolRegistry, not list: use define_tool() or @AgentApp.tool"),
        ("sessions", {}, "SessionManager, not dict: give this attribute another name"),
        ("store", {"cars": 3}, "Store, not dict: set SWML_STORAGE_URL, or give this attribute"),
        ("settings", {}, "Settings, not dict: pass settings= to the constructor, or give"),
        ("name", None, "str, not NoneType: give this attribute another name"),
        ("route", ["A", "B"], "str, not list: give this attribute another name"),
        ("host", {}, "str, not dict: give this attribute another name"),
        ("port", "left", "int, not str: give this attribute another name"),
    ],
)
def test_replacing_an_attribute_of_agents_says_what_to_do(
    name: str, value: Any, remedy: str
) -> None:
    class Early(AgentApp):
        def __init__(self) -> None:
            setattr(self, name, value)
            super().__init__("cars")

    class Late(AgentApp):
        def __init__(self) -> None:
            super().__init__("cars")
            setattr(self, name, value)

    for made in (Early, Late):
        with pytest.raises(TypeError) as raised:
            made()
        start = f"{made.__name__}.{name}: every agent has an attribute {name!r} as "
        assert str(raised.value).startswith(start + remedy)


def test_attributes_of_agents_can_be_set_to_others_of_their_type(app: AgentApp) -> None:
    other = AgentApp("bank", basic_auth=AUTH)
    other.set_prompt_text("You are another.")
    for name in ("prompt", "ai", "call_flow", "tools", "sessions", "store", "settings", "port"):
        setattr(app, name, getattr(other, name))
    app.name, app.route, app.host = "bank", app.route, "127.0.0.1"
    assert ai_of(AgentClient(app).fetch_swml())["prompt"]["text"] == "You are another."


@pytest.mark.parametrize(
    "name", ["prompt", "ai", "call_flow", "tools", "sessions", "store", "name", "settings"]
)
def test_a_method_that_an_attribute_of_agents_would_hide_is_an_error(name: str) -> None:
    def look(self: Any) -> str:
        """Look."""
        return "Seen."

    for value in (look, AgentApp.tool(look), staticmethod(look), classmethod(look)):
        shop = type("Shop", (type("Mixin", (), {name: value}), AgentApp), {})
        with pytest.raises(TypeError, match=f"Shop.{name}: every agent .*would hide this one: "):
            shop("shop")


def test_a_class_may_hold_arguments_of_the_constructor_but_no_parts() -> None:
    class Shop(AgentApp):
        name, route, port = "shop", "/shop", 3001

        def __init__(self) -> None:
            super().__init__(self.name, route=self.route, port=self.port)

    assert (Shop().name, Shop().route, Shop().port) == ("shop", "/shop", 3001)
    with pytest.raises(TypeError, match=r"Shop.prompt: .* use set_prompt_text\(\) or PROMPT_SECT"):
        type("Shop", (AgentApp,), {"prompt": "You sell cars."})("shop")

    class Local(AgentApp):
        @property
        def host(self) -> str:
            return "127.0.0.1"

        @host.setter
        def host(self, value: str) -> None: ...

    assert Local("shop", host="0.0.0.0").host == "127.0.0.1"  # noqa: S104 - only compared or bound by this test


# -- tools of one document


def test_attack_a_tool_without_a_handler_is_never_advertised(app: AgentApp, caplog: Any) -> None:
    def defines(query: Any, body: Any, headers: Any, agent: AgentApp) -> None:
        agent.define_tool("late", "Late", None, lambda: "Done.")

    def registers(query: Any, body: Any, headers: Any, agent: AgentApp) -> None:
        agent.register_swaig_function({"function": "late", "description": "Late"})

    for callback in (defines, registers):
        app.set_dynamic_config_callback(callback)
        with pytest.raises(ResponseError, match="500: .*Internal server error"):
            AgentClient(app).fetch_swml()
        assert "the document has the tool 'late', but the agent has no handler" in caplog.text
        caplog.clear()


def test_a_tool_in_changes_needs_a_handler_too(caplog: Any) -> None:
    class Agent(AgentApp):
        def on_swml_request(self, body: Any, query: Any, headers: Any) -> Any:
            return {"SWAIG": {"functions": body["functions"]}}

    app = Agent("bank", basic_auth=AUTH)
    app.define_tool("pay", "Pay", None, lambda: "Paid.")
    client = AgentClient(app)
    elsewhere = {"function": "late", "web_hook_url": "https://x.example/"}
    for functions in ([{"function": "pay"}], [elsewhere], [{"function": "map", "data_map": {}}]):
        assert ai_of(client.fetch_swml(functions=functions))["SWAIG"]["functions"] == functions
    own = {"function": "late", "web_hook_url": "http://a:b@localhost/swaig"}
    for functions in ([{"function": "late"}], [own]):
        with pytest.raises(ResponseError, match="500"):
            client.fetch_swml(functions=functions)


def test_a_definition_without_a_handler_is_an_error_when_it_is_rendered(app: AgentApp) -> None:
    app.register_swaig_function({"function": "hook", "description": "x"})
    with pytest.raises(ValueError, match="the tool 'hook', but the agent has no handler"):
        app.render_swml()
    app.set_web_hook_url("https://x.example/swaig")
    assert "hook" in str(app.render_swml())


# -- signatures


@pytest.mark.parametrize("member", [{"data_map": None}, {"web_hook_url": ""}])
def test_an_empty_member_is_no_place_where_a_function_runs(
    app: AgentApp, member: dict[str, Any]
) -> None:
    app.register_swaig_function({"function": "lost", "description": "Lost", **member})
    with pytest.raises(ValueError, match="the document has the tool 'lost'.*no handler"):
        app.render_swml()


def test_a_handler_without_a_name_needs_one(app: AgentApp) -> None:
    handler = functools.partial(str.upper, "done")
    with pytest.raises(ValueError, match="the handler of a tool has no name: give the tool one"):
        app.tool(handler)
    app.tool("shout")(handler)


def test_forwarded_methods_are_found() -> None:
    assert len(FORWARDED) > 35
    assert {"add_hint", "define_tool", "define_contexts", "set_web_hook_url"} <= {*FORWARDED}


@pytest.mark.parametrize("name", FORWARDED)
def test_a_forwarded_method_shows_what_it_returns(name: str) -> None:
    returned = str(inspect.signature(getattr(AgentApp, name)).return_annotation)
    others = {"define_contexts": "ContextBuilder", "prompt_has_section": "bool"}
    expected = others.get(name)
    assert (
        returned == expected
        if expected
        else returned.rpartition(".")[2].strip("~")
        in (
            "Self",
            "Owner",
        )
    )
    assert inspect.getdoc(getattr(AgentApp, name))
