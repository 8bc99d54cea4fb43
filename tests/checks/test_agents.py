"""Findings on the agents of an application."""

from __future__ import annotations

import ast
import functools
import re
import sys
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
from flask import Flask, request
from support.good_settings import GOOD
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from swaig_wsgi import AgentApp, AgentServer, Settings, harden
from swaig_wsgi.checks import CATALOG, Finding, check_application
from swaig_wsgi.checks._agents import find_agents
from swaig_wsgi.checks._in_code import AGENT, HARDEN, SERVER, with_lines_for_code
from swaig_wsgi.middleware import (
    AuthHandler,
    AuthMiddleware,
    BodySizeMiddleware,
    RequestIDMiddleware,
    WebhookSignatureMiddleware,
)
from swaig_wsgi.sessions import SessionManager

STRONG = "Zk3vQ8-nYt1xW6bLs0dHc9Jf"


def agent(name="shop", **options):
    app = AgentApp(name, **options)
    app.define_tool("hours", "Say when the shop is open", {}, lambda args, raw: "9 to 5")
    app.define_tool("refund", "Refund", {}, lambda args, raw: "done", secure=True)
    app.define_tool("pay", "Pay", {}, lambda args, raw: "paid", secure=True, once=60)
    app.define_tool("other", "Elsewhere", {}, None, webhook_url="https://tools.example/other")
    return app


TABLE = {}


def by_table(environ, start_response):
    return TABLE[environ["PATH_INFO"]](environ, start_response)


def dispatch(apps, environ, start_response):
    return apps[0](environ, start_response)


def ids(found):
    return {each.id.removeprefix("swaig.") for each in found}


def messages(found, number):
    return [each.message for each in found if each.id == f"swaig.{number}"]


def test_tools_that_are_not_secure_or_not_once_are_named():
    found = check_application(agent(), {})
    (insecure,) = messages(found, "I002")
    assert "'shop' has tools that are not secure: hours. " in insecure
    (repeated,) = messages(found, "I003")
    assert "'shop' has secure tools that are not once: refund. " in repeated


def test_an_agent_whose_tools_are_secure_and_once_has_no_facts():
    app = AgentApp("shop", secure_by_default=True)
    app.define_tool("pay", "Pay", {}, lambda args, raw: "paid", once=60)
    assert not ids(check_application(app, {})) & {"I002", "I003"}


def test_tools_that_run_once_need_a_store_that_outlives_the_server(tmp_path):
    (lost,) = messages(check_application(agent(), {}), "W034")
    assert "'shop' has tools with once or max_runs: pay. " in lost
    settings = Settings(storage_url=f"sqlite:///{tmp_path}/store.db")
    assert not messages(check_application(agent(settings=settings), {}), "W034")
    without = AgentApp("shop", secure_by_default=True)
    without.define_tool("hours", "Say when", {}, lambda args, raw: "9 to 5", max_runs=None)
    assert not messages(check_application(without, {}), "W034")
    without.define_tool("dial", "Dial", {}, lambda args, raw: "done", max_runs=3)
    assert "max_runs: dial. " in messages(check_application(without, {}), "W034")[0]


def test_agents_that_share_a_name_are_an_error():
    apps = DispatcherMiddleware(agent(), {"/a": agent(), "/b": agent("other")})
    (text,) = messages(check_application(apps, {}), "E010")
    assert "2 agents have the name 'shop'" in text
    apps = DispatcherMiddleware(agent(), {"/b": agent("other")})
    assert "E010" not in ids(check_application(apps, {}))


def test_agents_are_found_in_every_kind_of_application(monkeypatch):
    one = agent()
    server = AgentServer()
    server.register(one)
    site = Flask("site")
    site.wsgi_app = DispatcherMiddleware(site.wsgi_app, {"/agent": one})

    def function(environ, start_response):
        return one(environ, start_response)

    class Wrapper:
        def __init__(self, app):
            self._app = app

        def call(self, environ, start_response):
            return self._app(environ, start_response)

    for app in (
        one,
        server,
        harden(one, Settings(rate_limit=5, storage_url="memory://")),
        RequestIDMiddleware(server),
        site,
        function,
        Wrapper(one),
        Wrapper(one).call,
    ):
        assert find_agents(app) == [one], app
    assert find_agents(functools.partial(function, x=1)) == [one]
    assert find_agents(functools.partial(dispatch, [one])) == [one]
    module = SimpleNamespace(table={"/": [one]}, app=by_table, request=request)
    monkeypatch.setitem(sys.modules, "module_of_agents", module)
    assert find_agents(by_table, "module_of_agents") == [one]
    monkeypatch.setitem(TABLE, "/", one)
    assert find_agents(by_table) == [one]
    module = SimpleNamespace(hidden=one, number=1)
    monkeypatch.setitem(sys.modules, "module_of_agents", module)
    assert find_agents(len) == []
    assert find_agents(len, "module_of_agents") == [one]


def test_what_an_agent_got_in_code_is_judged():
    weak = agent(basic_auth=("platform", "hunter2"), secret_key=STRONG, signing_key=STRONG)
    found = check_application(weak, {})
    assert not ids(found) & {"W001", "W021", "W023"}
    assert "E002" in ids(found)
    strong = agent(basic_auth=("platform", STRONG))
    assert not ids(check_application(strong, {})) & {"E002", "W001"}
    assert ids(check_application(strong, {})) >= {"W021", "W023"}
    # Not even a variable could hold this one.
    assert "W001" not in ids(check_application(agent(basic_auth=("platform", "\u200b" * 20)), {}))


WEAK_HANDLERS = [
    ({"basic_auth": ("admin", "admin")}, "E003", "basic_auth of an AuthHandler is the name"),
    ({"basic_auth": [("platform", STRONG), ("admin", "admin")]}, "E003", "basic_auth"),
    ({"bearer_token": "test"}, "E002", "bearer_token of an AuthHandler is one of the most common"),
    ({"bearer_token": [STRONG, b"k9Vt2x"]}, "W002", "bearer_token"),
    ({"api_key": "abc"}, "E002", "api_key of an AuthHandler"),
    ({"api_key": "vktwqzbnmpl4"}, "W003", "api_key"),
]


@pytest.mark.parametrize(("options", "number", "words"), WEAK_HANDLERS)
def test_attack_weak_credentials_in_code_are_found(options, number, words):
    handler = AuthHandler(**options)
    site = Flask("site")
    site.wsgi_app = harden(AuthMiddleware(site.wsgi_app, handler), Settings())
    for app in (agent(auth=handler), site, harden(Flask("bare"), Settings(), auth=handler)):
        (text,) = [each for each in messages(check_application(app, {}), number) if words in each]
        assert "admin" not in text
    assert "W001" not in ids(check_application(site, {}))
    strong = AuthHandler(**dict.fromkeys(options.keys() - {"basic_auth"}, STRONG))
    assert number not in ids(check_application(agent(auth=strong), {}))


def test_attack_weak_secrets_and_keys_in_code_are_found():
    variables = {"SIGNALWIRE_SWAIG_SECRET": STRONG, "SIGNALWIRE_SIGNING_KEY": STRONG}
    for environ in ({}, variables):
        settings = Settings.from_env(environ)
        weak = agent(secret_key="a" * 16, signing_key="aaaa", settings=settings)
        texts = messages(check_application(weak, environ), "W004")
        assert any("secret_key of the agent 'shop' can be guessed" in each for each in texts)
        assert any("signing_key of the agent 'shop' can be guessed" in each for each in texts)
    site = Flask("site")
    site.sessions = SessionManager(secret_key=STRONG, fallback_keys=["a" * 16])
    assert "A key of a SessionManager" in str(messages(check_application(site, {}), "W004"))
    strong = agent(secret_key=STRONG, signing_key=STRONG[::-1])
    assert "W004" not in ids(check_application(strong, {}))
    signed = WebhookSignatureMiddleware(Flask("site").wsgi_app, "aaaa")
    found = check_application(signed, {})
    assert "of a WebhookSignatureMiddleware can be guessed" in str(messages(found, "W004"))
    assert "W023" not in ids(found)


def test_the_settings_of_harden_are_judged():
    mapping = {"cors_origins": "*", "allowed_hosts": "*", "rate_limit": 1_000_000}
    site = Flask("site")
    site.wsgi_app = harden(
        site.wsgi_app, Settings.from_mapping({**mapping, "storage_url": "memory://"})
    )
    expected = {"W010", "W012", "W014", "W017", "I007", "I008"}
    assert ids(check_application(site, GOOD)) == expected
    site = Flask("site")
    site.wsgi_app = harden(site.wsgi_app, Settings.from_env(GOOD), storage_url="memory://")
    assert ids(check_application(site, {**GOOD, "SWML_ALLOWED_HOSTS": "*"})) == {"I007", "I008"}


def test_a_site_whose_bodies_no_layer_limits_is_found():
    site = Flask("site").wsgi_app
    for app, found in (
        (harden(site, Settings()), True),
        (harden(site, Settings(max_request_size=1_048_576)), False),
        (harden(BodySizeMiddleware(site, 1_048_576), Settings()), False),
        (harden(agent(), Settings()), False),
        (site, False),
    ):
        assert ("I008" in ids(check_application(app, GOOD))) is found


@pytest.mark.parametrize(
    ("cors", "expected"),
    [
        ({"origins": ["https://*.example.org"], "paths": ["/api/*"]}, set()),
        ({"origins": ["*"], "csrf_protection": True, "paths": ["/api/*"]}, {"W010"}),
        ({"origins": ["https://*.github.io"]}, {"W010"}),
        ({"origins": ["http://app.example.org"]}, {"W011"}),
        ({"paths": ["/api/*"]}, set()),
    ],
)
def test_the_cors_options_of_harden_are_judged(cors, expected):
    site = Flask("site")
    settings = replace(Settings.from_env(GOOD), storage_url="memory://")
    site.wsgi_app = harden(site.wsgi_app, settings, cors=cors)
    assert ids(check_application(site, GOOD)) == {"I007", "I008", *expected}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"protect": ["/login"]}, False),
        ({"methods": ["GET"]}, False),
        ({"exempt": ["/swaig", "/bank/*"]}, False),
        ({}, True),
        ({"protect": ["/swaig/*"]}, True),
        ({"protect": ["/bank"]}, True),
        ({"protect": ["/login", "/tools"]}, True),
    ],
)
def test_a_low_limit_is_a_finding_only_where_the_platform_is_counted(options, found):
    tools = AuthMiddleware(
        DispatcherMiddleware(Flask("site").wsgi_app, {"/bank": agent("bank", route="/bank")}),
        AuthHandler(basic_auth=("platform", STRONG)),
        protect=("/tools",) if "/tools" in options.get("protect", ()) else ("/swaig",),
    )
    site = harden(
        tools,
        replace(Settings.from_env(GOOD), storage_url="memory://", rate_limit=None),
        rate_limit={"limit": 20, **options},
    )
    texts = [each for each in messages(check_application(site, GOOD), "W015") if "21" in each]
    assert bool(texts) is found


def test_a_site_without_origins_lets_no_other_origin_read_responses():
    site = Flask("site")
    site.wsgi_app = harden(site.wsgi_app, Settings())
    for app in (site, Flask("bare")):
        assert "W010" not in ids(check_application(app, {}))
    assert "W010" in ids(check_application(agent(), {}))
    assert "W010" in ids(check_application(harden(agent(), Settings()), {}))


def test_attack_no_line_to_paste_opens_all_paths_of_a_site():
    for origins, number in (("*", "W010"), ("http://app.example.org", "W011")):
        environ = {"SWML_CORS_ORIGINS": origins}
        site = Flask("site")
        site.wsgi_app = harden(site.wsgi_app, Settings.from_env(environ))
        for app in (site, Flask("bare")):
            assert lines(check_application(app, environ), number) == [
                'harden(app, cors={"origins": ["https://app.example.com"], "paths": ["/api/*"]})'
            ]


def test_agents_are_judged_by_their_own_settings():
    environ = {"SWML_ALLOWED_HOSTS": "*"}
    one = agent("one", settings=Settings(allowed_hosts=["bot.example.org"], rate_limit=20_000))
    two = agent("two", settings=Settings(allowed_hosts=["bot.example.org"]))
    found = check_application(DispatcherMiddleware(one, {"/two": two}), environ)
    assert "W017" not in ids(found)
    (text,) = messages(found, "W014")
    assert text.startswith("Agent 'one': SWML_RATE_LIMIT admits 20,000")
    assert messages(found, "W021") == ["No secret signs tool tokens, so they end with the process."]


def test_a_server_is_judged_by_its_own_settings():
    weak = {"rate_limit": 20, "allowed_hosts": ["*"], "storage_url": "memory://"}
    server = AgentServer(settings=Settings(**weak))
    server.register(agent(settings=Settings.from_env(GOOD)), "/shop")
    found = check_application(server, GOOD)
    expected = 'AgentServer(settings=replace(settings, allowed_hosts="bot.example.org"))'
    assert lines(found, "W017") == [expected]
    # Its limit does not count requests to agents.
    assert "W015" not in ids(found)


def test_what_layers_and_agents_have_in_common_is_one_finding():
    environ = {**GOOD, "SWML_ALLOWED_HOSTS": "*"}
    server = AgentServer(settings=Settings.from_env(environ))
    server.register(agent("one", settings=Settings.from_env(environ)), "/one")
    server.register(agent("two", settings=Settings.from_env(GOOD)), "/two")
    (text,) = messages(check_application(server, environ), "W017")
    assert text.startswith("SWML_ALLOWED_HOSTS contains '*'")


def lines(found, number):
    return [each.line for each in found if each.id == f"swaig.{number}"]


def test_lines_for_what_is_in_code_are_code():
    site = Flask("site")
    changed = {"rate_limit": 20_000, "cors_origins": "*", "allow_per_process_state": True}
    changed |= {"allowed_clients": ["0.0.0.0/0"], "storage_url": "memory://"}
    site.wsgi_app = harden(site.wsgi_app, Settings.from_env({"SWML_ALLOWED_HOSTS": "*"}), **changed)
    found = check_application(site, {"SWML_ALLOWED_HOSTS": "*"})
    assert lines(found, "W014") == ["harden(app, rate_limit=5000)"]
    assert lines(found, "W010") == [
        'harden(app, cors={"origins": ["https://app.example.com"], "paths": ["/api/*"]})'
    ]
    assert lines(found, "W032") == ['harden(app, allowed_clients="192.0.2.0/24")']
    # What the environment decides, a variable mends.
    assert lines(found, "W017") == ["SWML_ALLOWED_HOSTS=agent.example.com"]
    assert lines(found, "W012") == ["SWML_AUTH_FAILURE_LIMIT=10"]
    ours = Settings(
        rate_limit=10,
        allow_per_process_state=True,
        basic_auth_user="platform",
        basic_auth_password="platform",
    )
    found = check_application(agent(settings=ours), {})
    call = "AgentApp(..., settings=replace(settings, {}))"
    expected = {
        "W015": "rate_limit=5000, auth_failure_limit=10",
        "W022": "allow_per_process_state=None",
        "E003": 'basic_auth_password=os.environ["SWML_BASIC_AUTH_PASSWORD"]',
    }
    for number, arguments in expected.items():
        assert lines(found, number) == [call.format(arguments)]
    assert lines(found, "W020") == ["SIGNALWIRE_LOG_LEVEL=warn"]


def test_a_weak_password_of_an_agent_is_named_as_in_code():
    found = check_application(agent(basic_auth=("platform", "hunter2")), GOOD)
    (text,) = messages(found, "E002")
    assert text.startswith("basic_auth is one of the most common passwords")
    assert lines(found, "E002") == [
        'AgentApp(..., basic_auth=("platform", os.environ["SWML_BASIC_AUTH_PASSWORD"]))'
    ]


@pytest.mark.parametrize("call", [AGENT, HARDEN, SERVER])
@pytest.mark.parametrize("kind", CATALOG.values(), ids=lambda kind: kind.id)
def test_every_line_for_code_is_python(kind, call):
    one, other = (
        SimpleNamespace(**{each.name: object() for each in fields(Settings)}) for _ in range(2)
    )
    (each,) = with_lines_for_code([Finding(kind.id, "", "", kind.line, "")], one, other, call)
    if re.search("(SWML|SIGNALWIRE)_[A-Z_]+=|unset (?!SWML_RATELIMIT)", kind.line):
        arguments = ast.parse(each.line).body[0].value
        assert ast.unparse(arguments).startswith(call.partition("(")[0])
    else:
        assert each.line == kind.line


def test_the_store_of_an_agent_is_tried():
    url = "sqlite:////missing/directory/store.db"
    app = agent(settings=Settings(storage_url=url))
    assert "E009" in ids(check_application(app, {}))
    app = agent(settings=Settings(storage_url="memory://"))
    assert "E009" not in ids(check_application(app, {}))


def test_an_application_without_agents_is_judged_by_the_environment():
    found = check_application(Flask("site").wsgi_app, {"SWML_ALLOWED_HOSTS": "*"})
    assert "W017" in ids(found)


@pytest.mark.parametrize("tools", [True, False])
def test_workers_must_share_what_is_kept_once(tools):
    environ = {
        "WEB_CONCURRENCY": "2",
        "SIGNALWIRE_SWAIG_SECRET": STRONG,
        "SWML_BASIC_AUTH_USER": "platform",
        "SWML_BASIC_AUTH_PASSWORD": STRONG,
    }
    settings = Settings.from_env(environ)
    app = agent(settings=settings) if tools else AgentApp("shop", settings=settings)
    assert ("W031" in ids(check_application(app, environ))) is tools


def test_attack_no_finding_contains_a_secret_in_code():
    weak = agent(basic_auth=("platform", "hunter2hunter2"), secret_key="k" * 20, signing_key="s9")
    text = str(check_application(weak, {}))
    for secret in ("hunter2", "kkkk", "'s9'"):
        assert secret not in text


def unrenderable(**options):
    app = agent(**options)
    app.define_contexts().add_context("default").add_step("a", task="Ask.", functions=["nope"])
    return app


def test_a_document_that_cannot_be_rendered_is_an_error():
    server = AgentServer()
    server.register(agent("fine"), "/fine")
    server.register(unrenderable(), "/shop")
    found = check_application(server, {})
    assert found[0].id == "swaig.E011"
    (message,) = messages(found, "E011")
    assert message.startswith("The document of the agent 'shop' cannot be rendered: ValueError:")
    assert "unknown function 'nope'" in message


def test_the_document_is_rendered_without_callbacks():
    ran = []
    app = unrenderable()
    app.set_dynamic_config_callback(lambda query, body, headers, agent: ran.append(1))
    (message,) = messages(check_application(app, {}), "E011")
    assert "cannot be rendered without what configures it for each request: Val" in message
    assert ran == []


def test_attack_the_reason_of_a_document_that_fails_has_no_secret():
    class Broken(AgentApp):
        def render_swml(self, *args, **kwargs):
            raise RuntimeError(f"cannot connect with {STRONG}\n and \x1b[2J")

    (message,) = messages(check_application(Broken("shop"), {"DB_PASSWORD": STRONG}), "E011")
    assert "cannot connect with ****" in message
    assert "\x1b" not in message
    assert "\n" not in message
