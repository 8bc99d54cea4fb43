"""The client that tests of agents use, in process and over sockets."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from support.wsgi import Recorder
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from swaig_wsgi import AgentApp, AgentServer, FunctionResult, Settings, harden
from swaig_wsgi.middleware import HTTPSMiddleware, WebhookSignatureMiddleware
from swaig_wsgi.testing import AgentClient, ResponseError

CERTS = Path(__file__).parent / "certs"
AUTH = ("us/er", "p@ss:w/ö")
CREDENTIALS = {"SWML_BASIC_AUTH_USER": AUTH[0], "SWML_BASIC_AUTH_PASSWORD": AUTH[1]}

MODULE = '''
from swaig_wsgi import AgentApp, AgentServer
from werkzeug.middleware.dispatcher import DispatcherMiddleware

def make(name, route="/"):
    app = AgentApp(name, route=route)
    app.set_post_prompt("Summarize.")

    @app.tool(secure=True, once=60)
    def pay(amount: float, raw_data=None) -> str:
        """Pay."""
        return f"{name} paid {amount} in {raw_data['call_id']}"

    @app.tool
    def look() -> str:
        """Look."""
        return f"{name} looked"

    return app

app = make("bank")
mounted = DispatcherMiddleware(make("outer"), {"/voice": make("inner", "/bänk")})
server = AgentServer()
server.register(make("first", "/first"))
server.register(make("second", "/second"))
'''


class Bank(AgentApp):
    def __init__(self, **options: Any) -> None:
        super().__init__("bank", basic_auth=AUTH, **options)
        self.seen: list[Any] = []

    @AgentApp.tool(secure=True)
    def pay(self, amount: float, raw_data: dict[str, Any]) -> FunctionResult:
        """Pay."""
        self.seen.append(raw_data)
        return FunctionResult("Paid.").add_action("hangup", True)

    @AgentApp.tool
    def look(self) -> str:
        """Look."""
        return "Seen."

    def on_swml_request(self, body: Any, query: Any, headers: Any) -> Any:
        self.seen.append((body, query, headers))

    def on_summary(self, summary: Any, raw_data: Any) -> None:
        self.seen.append((summary, raw_data["verified_call_id"]))


def exercise(client: AgentClient, name: str) -> None:
    """Check document, open tool, secure tool and summary of an agent of `MODULE`."""
    document = client.fetch_swml("call-1")
    assert document["version"] == "1.0.0"
    assert [tool["function"] for tool in client.tools] == ["pay", "look"]
    assert client.call_tool("look") == {"response": f"{name} looked"}
    paid = {"response": f"{name} paid 5.0 in call-1"}
    assert client.call_tool("pay", {"amount": 5}, call_id="call-1") == paid
    other = client.call_tool("pay", {"amount": 5}, call_id="call-2")
    assert other == {"response": f"{name} paid 5.0 in call-2"}
    assert client.post_prompt("Paid.", call_id="call-1") == {"status": "ok"}


def test_tools_are_called_with_the_token_of_the_document() -> None:
    agent = Bank()
    client = AgentClient(agent)
    result = client.call_tool("pay", {"amount": 5}, caller_id_num="+15555550123")
    assert result == {"response": "Paid.", "action": [{"hangup": True}]}
    assert client.call_id is not None
    (document, _, _), request = agent.seen
    assert document["call"]["call_id"] == request["verified_call_id"] == client.call_id
    assert request["caller_id_num"] == "+15555550123"
    assert request["argument"]["parsed"] == [{"amount": 5}]
    assert client.call_tool("look") == {"response": "Seen."}


def test_members_headers_and_query_parameters_of_the_request() -> None:
    agent = Bank(route="/bank")
    client = AgentClient(agent, url="/bank?tier=gold")
    call = {"from": "+15555550123"}
    client.fetch_swml("call-1", call=call, vars={"a": 1}, headers={"X-A": "b"}, query={"c": "d e"})
    ((body, query, headers),) = agent.seen
    assert (body["call"]["from"], body["call"]["type"]) == ("+15555550123", "phone")
    assert body["call_id"] == body["call"]["call_id"] == "call-1"
    assert body["vars"] == {"a": 1}
    assert query == {"tier": "gold", "c": "d e"}
    assert {name.lower(): value for name, value in headers.items()}["x-a"] == "b"
    assert not {"headers", "query"} & body.keys()


@pytest.mark.parametrize("summary", ["Paid.", {"paid": 5}, [1, 2]])
def test_summaries_are_posted_as_text_or_as_json(summary: Any) -> None:
    agent = Bank()
    agent.set_post_prompt("Summarize.")
    client = AgentClient(agent)
    client.fetch_swml("call-1")
    assert client.post_prompt(summary) == {"status": "ok"}
    assert agent.seen[1:] == [(summary, "call-1")]


def test_global_data_is_sent_along() -> None:
    agent = Bank()
    agent.set_global_data({"tier": "gold"})
    client = AgentClient(agent)
    client.call_tool("pay", {"amount": 5})
    assert agent.seen[-1]["global_data"] == {"tier": "gold"}


def test_unknown_tools_and_tools_of_the_platform_are_errors() -> None:
    agent = Bank()
    agent.register_swaig_function({"function": "map", "description": "x", "data_map": {}})
    url = "https://elsewhere.example/hook?key=s3cret"
    agent.define_tool("hook", "Elsewhere", {}, None, webhook_url=url)
    client = AgentClient(agent)
    with pytest.raises(LookupError, match="no tool 'pya'; it has 'pay', 'look', 'map', 'hook'"):
        client.call_tool("pya")
    with pytest.raises(LookupError, match="the platform itself runs it"):
        client.call_tool("map")
    with pytest.raises(LookupError, match=r"elsewhere\.example/hook is not below") as caught:
        client.call_tool("hook")
    assert "s3cret" not in str(caught.value)
    with pytest.raises(LookupError, match="set_post_prompt"):
        client.post_prompt("Done.")


def test_refusals_are_errors_with_status_headers_and_text() -> None:
    client = AgentClient(Bank(), auth=("us/er", "wrong"))
    with pytest.raises(ResponseError, match="401: .*Unauthorized") as refusal:
        client.fetch_swml()
    assert refusal.value.status == 401
    assert refusal.value.text == '{"error": "Unauthorized"}'
    assert refusal.value.headers["www-authenticate"].startswith("Basic")
    assert client.call_id is None
    with pytest.raises(ResponseError, match="200: the site"):
        AgentClient(Recorder(b"the site")).fetch_swml()


def test_a_signing_key_signs_each_request() -> None:
    agent = Bank(signing_key=["new", "old"])
    assert AgentClient(agent).call_tool("look") == {"response": "Seen."}
    assert AgentClient(agent, signing_key="old").call_tool("look") == {"response": "Seen."}
    with pytest.raises(ResponseError) as refusal:
        AgentClient(agent, signing_key="wrong").fetch_swml()
    assert refusal.value.status == 403


@pytest.mark.parametrize(
    "settings",
    [
        {"proxy_url_base": "https://agent.example.com"},
        {"proxy_url_base": "https://agent.example.com/pre/fix"},
        {"proxy_url_base": "https://agent.example.com", "allowed_hosts": ["agent.example.com"]},
        {"enforce_https": True},
    ],
)
@pytest.mark.parametrize("route", ["/", "/bank"])
def test_an_agent_with_a_public_url_runs_in_process(settings: Any, route: str) -> None:
    agent = Bank(settings=Settings.from_mapping(settings), route=route)
    client = AgentClient(agent)
    assert client.call_tool("pay", {"amount": 5})["response"] == "Paid."
    base = settings.get("proxy_url_base", "https://localhost")
    (tool, _) = client.tools
    assert tool["web_hook_url"].replace("us%2Fer:p%40ss%3Aw%2F%C3%B6@", "").startswith(base)


def test_a_url_chooses_the_host_in_process() -> None:
    agent = Bank(settings=Settings(allowed_hosts=("agent.example.com",)), route="/bank")
    with pytest.raises(ResponseError, match="host not allowed"):
        AgentClient(agent, url="http://localhost/bank").fetch_swml()
    client = AgentClient(agent, url="https://agent.example.com/bank")
    assert client.call_tool("pay", {"amount": 5})["response"] == "Paid."


HOSTS = [
    ("agent.example.com", "http://agent.example.com/"),
    ("*.example.com", "http://agent.example.com/"),
    (".example.com, other.example", "http://example.com/"),
    ("192.0.2.7", "http://192.0.2.7/"),
    ("[2001:db8::1]", "http://[2001:db8::1]/"),
    ("a.example, localhost", "http://localhost/"),
    ("bücher.example", "http://xn--bcher-kva.example/"),
    ("*", "http://localhost/"),
]


@pytest.mark.parametrize(("allowed", "url"), HOSTS)
def test_the_host_and_the_signature_are_those_that_the_agent_expects(
    allowed: str, url: str
) -> None:
    settings = Settings.from_env(
        {"SWML_ALLOWED_HOSTS": allowed, "SIGNALWIRE_SIGNING_KEY": "PSK_0123456789abcdef"}
    )
    agent = Bank(settings=settings)
    outside = Settings.from_env({"SWML_ALLOWED_HOSTS": allowed})
    for app in (agent, harden(agent, outside), harden(Bank(signing_key="PSK"), outside)):
        client = AgentClient(app)
        assert client.call_tool("pay", {"amount": 5})["response"] == "Paid."
        tool_url = client.tools[0]["web_hook_url"]
        assert f"http://{tool_url.rpartition('@')[2]}".startswith(url)


def test_layers_with_signatures_and_https_are_satisfied() -> None:
    agent = Bank(route="/bank")
    for app in (
        WebhookSignatureMiddleware(agent, "PSK_0123456789abcdef"),
        harden(agent, enforce_https=True, allowed_hosts=("a.example", "b.example")),
        HTTPSMiddleware(agent),
    ):
        url = "https://localhost/bank" if isinstance(app, HTTPSMiddleware) else None
        client = AgentClient(app, url=url)
        assert client.call_tool("pay", {"amount": 5})["response"] == "Paid."


def test_a_server_of_agents_has_hosts_of_its_own() -> None:
    server = AgentServer(settings=Settings.from_env({"SWML_ALLOWED_HOSTS": "agents.example"}))
    server.register(Bank(), "/bank")
    client = AgentClient(server)
    assert client.call_tool("pay", {"amount": 5})["response"] == "Paid."


def test_agents_of_a_server_run_in_process() -> None:
    namespace: dict[str, Any] = {}
    exec(MODULE, namespace)  # noqa: S102 - code of this test
    server = namespace["server"]
    for name in ("first", "second"):
        exercise(AgentClient(server, url=f"/{name}"), name)
    with pytest.raises(ValueError, match="choose one of the agents: /first, /second"):
        AgentClient(server)
    server.unregister("/first")
    exercise(AgentClient(server), "second")
    with pytest.raises(ValueError, match="choose one of the agents: none"):
        AgentClient(AgentServer())


def test_a_mounted_agent_runs_in_process() -> None:
    agent = Bank(route="/bank")
    site = Flask(__name__)
    site.wsgi_app = DispatcherMiddleware(site.wsgi_app, {"/voice": agent})  # type: ignore[method-assign]
    for app in (site, harden(site, Settings())):
        client = AgentClient(app, url="/voice/bank", auth=AUTH)
        assert client.call_tool("pay", {"amount": 5})["response"] == "Paid."
        assert "/voice/bank/swaig?" in client.tools[0]["web_hook_url"]


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((5,), {}, TypeError),
        (("agent.example.com",), {}, ValueError),
        (("ftp://user:s3cret@agent.example.com/",), {}, ValueError),
        (("https://agent.example.com/",), {"url": "/bank"}, ValueError),
        ((Flask(__name__),), {"url": "bank"}, ValueError),
    ],
)
def test_invalid_arguments(arguments: Any, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        AgentClient(*arguments, **options)
    assert "s3cret" not in str(caught.value)


@pytest.fixture
def start(gunicorn: Any, tmp_path: Path) -> Any:
    (tmp_path / "agents.py").write_text(MODULE)

    def start(app: str, *options: str, **env: str) -> int:
        secret = {"SIGNALWIRE_SWAIG_SECRET": "a secret of some length"}
        storage = {"SWML_STORAGE_URL": f"sqlite:///{tmp_path}/store.db"}
        env = {**CREDENTIALS, **secret, **storage, **env}
        return gunicorn(f"agents:{app}", *options, cwd=str(tmp_path), **env).port

    return start


def test_an_agent_behind_gunicorn(start: Any) -> None:
    port = start("app", "--workers=2", "--threads=2")
    exercise(AgentClient(f"http://127.0.0.1:{port}/", auth=AUTH), "bank")
    exercise(AgentClient(f"http://us%2Fer:p%40ss%3Aw%2F%C3%B6@127.0.0.1:{port}"), "bank")
    with pytest.raises(ResponseError, match="401"):
        AgentClient(f"http://127.0.0.1:{port}/").fetch_swml()


def test_an_agent_behind_gunicorn_that_requires_signatures(start: Any) -> None:
    port = start("app", SIGNALWIRE_SIGNING_KEY="PSK-1", SWML_ALLOWED_HOSTS="127.0.0.1")
    exercise(AgentClient(f"http://127.0.0.1:{port}/", auth=AUTH, signing_key="PSK-1"), "bank")
    with pytest.raises(ResponseError, match="403"):
        AgentClient(f"http://127.0.0.1:{port}/", auth=AUTH).fetch_swml()


def test_a_mounted_agent_and_a_server_behind_gunicorn(start: Any) -> None:
    port = start("mounted")
    exercise(AgentClient(f"http://127.0.0.1:{port}/voice/bänk", auth=AUTH), "inner")
    exercise(AgentClient(f"http://127.0.0.1:{port}/", auth=AUTH), "outer")
    port = start("server")
    exercise(AgentClient(f"http://127.0.0.1:{port}/second", auth=AUTH), "second")


def test_an_agent_behind_tls(start: Any) -> None:
    files = {"SWML_SSL_CERT_PATH": f"{CERTS}/cert.pem", "SWML_SSL_KEY_PATH": f"{CERTS}/key.pem"}
    options = (f"--certfile={CERTS}/cert.pem", f"--keyfile={CERTS}/key.pem")
    port = start("app", *options, SWML_SSL_ENABLED="true", **files)
    context = ssl.create_default_context(cafile=f"{CERTS}/cert.pem")
    context.check_hostname = False
    url = f"https://127.0.0.1:{port}/"
    exercise(AgentClient(url, auth=AUTH, ssl_context=context), "bank")
    with pytest.raises(ssl.SSLCertVerificationError):
        AgentClient(url, auth=AUTH).fetch_swml()


@pytest.mark.parametrize(
    "given", [("bank", "S3cr3tV4lue"), "bank:S3cr3tV4lue@bot.example.org", "ftp://x:S3cr3tV4lue@h"]
)
def test_attack_no_error_about_the_agent_contains_credentials(given):
    with pytest.raises((TypeError, ValueError), match="must be") as caught:
        AgentClient(given)
    assert "S3cr3tV4lue" not in str(caught.value)
