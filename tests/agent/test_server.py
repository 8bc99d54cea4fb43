"""Several agents under one application."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.waiting import fastest
from support.wsgi import Client

from swaig_wsgi import AgentApp, AgentServer, Settings, harden
from swaig_wsgi.core.headers import SECURITY_HEADERS

SECRET = "a secret that all agents share"
LIMITED = Settings(auth_failure_limit=5, basic_auth_user="admin", basic_auth_password="a password")


def agent(name: str, route: str = "/", **options: Any) -> AgentApp:
    options.setdefault("basic_auth", (name, f"{name}-password"))
    app = AgentApp(name, route=route, secret_key=SECRET, **options)
    app.define_tool("pay", "Pay", {}, lambda args, raw: f"Paid by {name}.", secure=True)
    return app


@pytest.fixture
def server() -> AgentServer:
    server = AgentServer(listing=True)
    server.register(agent("sales", "/sales"))
    server.register(agent("help", "/help"))
    server.register(agent("eu"), "/sales/eu")
    return server


@pytest.fixture
def client(server: AgentServer) -> Client:
    return Client(server)


def test_attack_guesses_spread_over_all_agents_are_limited_together() -> None:
    server = AgentServer(settings=LIMITED)
    for number in range(4):
        server.register(AgentApp(f"a{number}", route=f"/a{number}", settings=LIMITED))
    client = Client(server)

    def status(path: str, password: str = "guess") -> int:
        return int(client.get(path, auth=("admin", password)).status)

    assert [status(f"/a{number % 4}") for number in range(12)] == [401] * 5 + [429] * 7
    assert [status(f"/a{number}", "a password") for number in range(4)] == [429] * 4
    # An agent that is served alone counts alone.
    alone = server.get_agent("/a3")
    assert alone is not None
    assert server.unregister("/a3")
    client = Client(alone)
    assert [status("/a3") for _ in range(6)] == [401] * 5 + [429]


def test_guesses_at_a_server_inside_of_harden_count_once() -> None:
    server = AgentServer(settings=LIMITED)
    for number in range(2):
        server.register(AgentApp(f"h{number}", route=f"/h{number}", settings=LIMITED))
    client = Client(harden(server, LIMITED))
    paths = [f"/h{number % 2}" for number in range(8)]
    statuses = [client.get(path, auth=("admin", "guess")).status for path in paths]
    assert statuses == [401] * 5 + [429] * 3


def get(client: Client, path: str, **options: Any) -> Any:
    return client.get(path, **options)


def credentials(name: str) -> tuple[str, str]:
    return name, f"{name}-password"


def url_of(client: Client, path: str, name: str) -> Any:
    response = client.post(path, body={"call_id": "c"}, auth=credentials(name))
    return urlsplit(
        response.json["sections"]["main"][1]["ai"]["SWAIG"]["functions"][0]["web_hook_url"]
    )


def pay(client: Client, path: str, query: str, name: str) -> Any:
    return client.post(
        path,
        body={"function": "pay", "call_id": "c"},
        query=query,
        auth=credentials(name),
    )


def test_each_agent_is_served_under_its_route(client: Client) -> None:
    for path, name in (("/sales", "sales"), ("/help/", "help"), ("/sales/eu", "eu")):
        url = url_of(client, path, name)
        assert url.path == f"{path.rstrip('/')}/swaig"
        assert (url.username, url.password) == credentials(name)
        assert pay(client, url.path, url.query, name).json == {"response": f"Paid by {name}."}
        assert get(client, f"{path.rstrip('/')}/health").json == {"status": "ok"}


def test_credentials_and_tokens_of_one_agent_are_refused_by_another(client: Client) -> None:
    url = url_of(client, "/sales", "sales")
    assert pay(client, "/help/swaig", url.query, "sales").status == 401
    response = pay(client, "/help/swaig", url.query, "help")
    assert response.status == 200
    assert "Paid" not in response.json["response"]
    nested = pay(client, "/sales/eu/swaig", url.query, "eu")
    assert "Paid" not in nested.json["response"]


def test_routes_match_whole_path_segments(client: Client) -> None:
    for path in ("/salesman", "/sale", "/Sales", "/nowhere"):
        response = get(client, path, auth=credentials("sales"))
        assert (response.status, response.json) == (404, {"error": "Not found"})
        assert response.headers["X-Frame-Options"] == "DENY"
    assert get(client, "/sales/nowhere").status == 401


def test_the_listing_is_optional(server: AgentServer, client: Client) -> None:
    assert get(client, "/").json == {
        "service": "swaig-wsgi",
        "agents": [
            {"name": "sales", "route": "/sales"},
            {"name": "help", "route": "/help"},
            {"name": "eu", "route": "/sales/eu"},
        ],
    }
    assert client.post("/").headers["Allow"] == "GET, HEAD"
    assert client.head("/").body == b""
    silent = AgentServer()
    silent.register(agent("sales", "/sales"))
    assert get(Client(silent), "/").status == 404


def test_the_server_is_ready_if_all_agents_are(server: AgentServer, client: Client) -> None:
    assert get(client, "/health").json == {"status": "ok"}
    assert get(client, "/ready").json == {"status": "ready"}
    server.get_agents()["/help"].add_readiness_check("database", lambda: False)
    assert get(client, "/ready").status == 503
    response = get(client, "/ready", auth=credentials("help"))
    assert (response.status, response.json) == (503, {"status": "not ready"})
    assert get(client, "/sales/ready").status == 200
    assert get(client, "/health").status == 200


def test_an_agent_at_the_root_gets_all_other_requests() -> None:
    server = AgentServer()
    server.register(agent("root"))
    server.register(agent("help", "/help"))
    client = Client(server)
    assert url_of(client, "/", "root").path == "/swaig"
    assert url_of(client, "/help", "help").path == "/help/swaig"
    assert get(client, "/nowhere").status == 401
    assert get(client, "/health").json == {"status": "ok"}


def test_urls_contain_the_mount_point(server: AgentServer) -> None:
    client = Client(server)
    response = client.post(
        "/sales",
        base_url="https://x.example/voice",
        body={"call_id": "c"},
        auth=credentials("sales"),
    )
    ai = response.json["sections"]["main"][1]["ai"]
    url = ai["SWAIG"]["defaults"]["web_hook_url"]
    assert url == "https://sales:sales-password@x.example/voice/sales/swaig"


def test_taken_routes_and_names_are_rejected(server: AgentServer) -> None:
    assert list(server.get_agents()) == ["/sales", "/help", "/sales/eu"]
    for route in ("/sales", "/sales/"):
        with pytest.raises(ValueError, match="route '/sales' is taken by the agent 'sales'"):
            server.register(agent("other"), route)
    for route in ("/health", "/ready/"):
        with pytest.raises(ValueError, match="taken by the server"):
            server.register(agent("other"), route)
    with pytest.raises(ValueError, match="starts with '/'"):
        server.register(agent("other"), "other")
    with pytest.raises(ValueError, match="already an agent named 'sales'"):
        server.register(agent("sales"), "/other")
    again = server.get_agents()["/sales"]
    with pytest.raises(ValueError, match="'sales' is already registered under '/sales'"):
        server.register(again, "/again")
    assert again.route == "/sales"


def test_an_unregistered_agent_is_404_and_its_route_is_free(
    server: AgentServer, client: Client
) -> None:
    assert server.unregister("/help")
    assert not server.unregister("/help")
    assert get(client, "/help", auth=credentials("help")).status == 404
    server.register(agent("help", "/help"))
    assert get(client, "/help", auth=credentials("help")).status == 200


def test_nested_layers_send_each_header_once_and_count_once() -> None:
    settings = Settings(rate_limit=3, cors_origins="https://app.example.com")
    server = AgentServer(settings=settings, listing=True)
    server.register(agent("sales", "/sales", settings=settings))
    client = Client(server)
    headers = {"Origin": "https://app.example.com"}
    options = {"auth": credentials("sales"), "headers": headers}
    responses = [get(client, "/sales", **options) for _ in range(4)]
    assert [response.status for response in responses] == [200, 200, 200, 429]
    for response in responses:
        for name in ("X-Frame-Options", "Access-Control-Allow-Origin", "Vary", "RateLimit"):
            assert len(response.headers.get_all(name)) == 1


def test_layers_around_a_server_send_what_the_guide_asks_for() -> None:
    server = AgentServer(settings=Settings(), listing=True)
    server.register(agent("sales", "/sales", settings=Settings()))
    hardened = harden(server, Settings(), allowed_hosts=["a.example"], max_request_size=5)
    client = Client(hardened, HTTP_HOST="a.example")
    refused = client.get("/", HTTP_HOST="evil.example")
    assert refused.json == {"error": "Forbidden: host not allowed"}
    large = client.post("/sales", b"123456")
    assert large.status == 413
    for response in (client.get("/"), client.get("/sales"), client.get("/none"), refused, large):
        for name, value in SECURITY_HEADERS:
            assert response.headers.get_all(name) == [value]


def test_attack_routing_takes_no_longer_for_a_path_of_many_segments(
    gunicorn: Any, tmp_path: Path
) -> None:
    program = """
from swaig_wsgi import AgentApp, AgentServer

app = AgentServer()
app.register(AgentApp("bank", route="/bank/eu"))
app.serve_static_files(".", "/files")
"""
    (tmp_path / "several.py").write_text(program)
    server = gunicorn("several:app", "--limit-request-line=0", cwd=str(tmp_path))
    for path, status in (
        ("/" * 250_000, 404),
        ("/a" * 125_000, 404),
        ("/bank/eu" + "/a" * 125_000, 401),
        ("/files" + "/." * 125_000, 404),
    ):
        responses: list[Any] = []
        taken = fastest(
            lambda path=path, responses=responses: responses.append(
                server.request("GET", path, auth=None)
            ),
            enough=0.5,
        )
        assert [each.status for each in responses] == [status] * len(responses)
        assert taken < 0.5


# -- SIP and other routing


def sip(client: Client, path: str, to: str, name: str = "sales") -> Any:
    body = {"call": {"call_id": "c", "to": to}}
    return client.post(path, body=body, auth=credentials(name))


def test_sip_calls_are_redirected_to_the_agent_of_the_user(server: AgentServer) -> None:
    server.setup_sip_routing()
    server.register_sip_username("Bob", "/help")
    server.register(agent("late", "/late"))
    client = Client(server)
    for to, location in (
        ("sip:bob@example.com", "/help"),
        ("sip:BOB;x=y@example.com", "/help"),
        ("sips:help@example.com:5061", "/help"),
        ("sip:saleseu@example.com", "/sales/eu"),
        ("sip:late@example.com", "/late"),
    ):
        response = sip(client, "/sales/sip", to)
        assert response.status == 307
        assert response.headers["Location"] == f"http://127.0.0.1{location}"
        assert "password" not in response.headers["Location"]
    served = sip(client, "/sales/sip", "sip:unknown@example.com")
    assert served.status == 200
    assert "sections" in served.json
    assert sip(client, "/sales/sip", "sip:bob@x", name="help").status == 401
    assert server.unregister("/help")
    assert sip(client, "/sales/sip", "sip:bob@example.com").status == 200


def test_sip_routing_without_auto_map_and_its_arguments(server: AgentServer) -> None:
    with pytest.raises(ValueError, match="setup_sip_routing"):
        server.register_sip_username("bob", "/help")
    server.setup_sip_routing("/voip", auto_map=False)
    client = Client(server)
    assert sip(client, "/sales/voip", "sip:help@x").status == 200
    with pytest.raises(ValueError, match="already"):
        server.setup_sip_routing("/other")
    with pytest.raises(ValueError, match="no agent under '/nowhere'"):
        server.register_sip_username("bob", "/nowhere")
    with pytest.raises(ValueError, match="non-empty"):
        server.register_sip_username("", "/help")


def test_an_unregistered_agent_can_be_registered_again(server: AgentServer) -> None:
    server.setup_sip_routing()
    removed = server.get_agents()["/help"]
    assert server.unregister("/help")
    assert removed._routing_callbacks == {}
    server.register(removed)
    client = Client(server)
    assert sip(client, "/sales/sip", "sip:help@x").headers["Location"].endswith("/help")


def test_a_rejected_registration_changes_nothing(server: AgentServer) -> None:
    sales, help_agent = server.get_agents()["/sales"], server.get_agents()["/help"]
    help_agent.register_routing_callback(lambda body, headers: None, "/sip")
    with pytest.raises(ValueError, match="taken at the agent 'help'"):
        server.setup_sip_routing()
    assert sales._routing_callbacks == {}
    assert help_agent.unregister_routing_callback("/sip")
    assert not help_agent.unregister_routing_callback("/sip")
    server.setup_sip_routing()
    other = agent("other", "/other")
    other.register_routing_callback(lambda body, headers: None, "/sip")
    with pytest.raises(ValueError, match="taken at the agent 'other'"):
        server.register(other, "/elsewhere")
    assert other.route == "/other"
    assert "/elsewhere" not in server.get_agents()
    for invalid in (5, None):
        with pytest.raises(ValueError, match="callable"):
            other.register_routing_callback(invalid, "/x")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="callable"):
            other.set_dynamic_config_callback(invalid)  # type: ignore[arg-type]


def test_a_registered_sip_username_is_not_replaced(server: AgentServer) -> None:
    server.setup_sip_routing()
    server.register_sip_username("vip", "/help")
    server.register(agent("vip", "/vip"))
    client = Client(server)
    assert sip(client, "/sales/sip", "sip:vip@x").headers["Location"].endswith("/help")


def test_global_routing_callbacks_redirect_to_paths_of_the_server_only(server: AgentServer) -> None:
    seen: list[Any] = []

    def callback(body: dict[str, Any], headers: dict[str, str]) -> Any:
        seen.append(headers)
        return body.get("go")

    server.register_global_routing_callback(callback, "/route")
    client = Client(server)

    def route(go: Any) -> Any:
        options = {"auth": credentials("help"), "headers": {"X-Tag": "t"}}
        return client.post("/help/route", body={"go": go}, **options)

    assert route("/sales").headers["Location"] == "http://127.0.0.1/sales"
    assert route(None).status == 200
    for location in ("//evil.example", "https://evil.example", "evil", "", 5, ["/x"]):
        response = route(location)
        assert response.status == 500
        assert "Location" not in response.headers
    assert route("/a b\r\nX: y?z").headers["Location"] == "http://127.0.0.1/a%20b%0D%0AX:%20y%3Fz"
    assert all("Authorization" not in headers and headers["X-Tag"] == "t" for headers in seen)
    for path in ("/route", "/swaig", "/"):
        with pytest.raises(ValueError, match="taken"):
            server.register_global_routing_callback(callback, path)


# -- routes that would hide the endpoints of an agent

ENDPOINTS = ["/swaig", "/post_prompt", "/debug_events", "/health", "/ready", "/route", "/own"]


def nothing(body: dict[str, Any], headers: dict[str, str]) -> None:
    return None


@pytest.fixture
def bank() -> AgentApp:
    return agent("bank", "/bank").register_routing_callback(nothing, "/own")


@pytest.mark.parametrize("path", ENDPOINTS)
def test_attack_no_agent_is_registered_over_the_endpoints_of_another(
    bank: AgentApp, path: str
) -> None:
    for first, second in ((bank, f"/bank{path}/"), (f"/bank{path}", bank)):
        server = AgentServer()
        server.register_global_routing_callback(nothing, "/route")
        agents = [
            agent("evil", each) if isinstance(each, str) else each for each in (first, second)
        ]
        server.register(agents[0])
        with pytest.raises(ValueError, match=f"'/bank{path}' is an endpoint of the agent 'bank'"):
            server.register(agents[1])
        assert list(server.get_agents().values()) == [agents[0]]
        server.unregister(agents[0].route)
    # Below an endpoint there is nothing to hide.
    server.register(bank)
    server.register(agent("below"), f"/bank{path}/below")


@pytest.mark.parametrize("path", ENDPOINTS)
def test_attack_no_static_files_are_served_over_the_endpoints_of_an_agent(
    bank: AgentApp, tmp_path: Path, path: str
) -> None:
    match = f"'/bank{path}' is an endpoint of the agent 'bank'"
    server = AgentServer()
    server.register_global_routing_callback(nothing, "/route")
    server.register(bank)
    with pytest.raises(ValueError, match=match):
        server.serve_static_files(tmp_path, f"/bank{path}")
    assert Client(server).get(f"/bank{path}/x").status == 401
    server.unregister("/bank")
    server.serve_static_files(tmp_path, f"/bank{path}")
    with pytest.raises(ValueError, match=match):
        server.register(bank)
    assert server.get_agents() == {}


def test_attack_no_callback_is_registered_where_an_agent_or_files_are(
    bank: AgentApp, tmp_path: Path
) -> None:
    server = AgentServer()
    server.register(bank)
    server.register(agent("root"))
    server.register(agent("other", "/bank/other"))
    server.serve_static_files(tmp_path, "/bank/files")
    for path in ("/other", "/files"):
        match = f"'/bank{path}' is an endpoint of the agent 'bank'"
        with pytest.raises(ValueError, match=match):
            server.register_global_routing_callback(nothing, path)
        with pytest.raises(ValueError, match="is taken"):
            bank.register_routing_callback(nothing, path)
    with pytest.raises(ValueError, match="'/bank' is an endpoint of the agent 'root'"):
        server.setup_sip_routing("/bank")
    assert list(bank._routing_callbacks) == ["/own"]
    server.unregister("/bank")
    bank.register_routing_callback(nothing, "/other")


# -- files


def test_static_files_are_served_under_a_free_route(server: AgentServer, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<h1>Hello</h1>")
    server.serve_static_files(tmp_path, "/files")
    client = Client(server)
    response = get(client, "/files/page.html")
    assert (response.status, response.text) == (200, "<h1>Hello</h1>")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert get(client, "/files/nothing.html").status == 404
    server.register(agent("root"))
    assert get(client, "/files/page.html").status == 200
    for route in ("/files", "/help", "/health"):
        with pytest.raises(ValueError, match="is taken"):
            server.serve_static_files(tmp_path, route)
    with pytest.raises(ValueError, match="no directory"):
        server.serve_static_files(tmp_path / "missing", "/other")
    with pytest.raises(ValueError, match="taken by the server"):
        server.register(agent("files"), "/files")
    with pytest.raises(ValueError, match="is taken"):
        server.serve_static_files(tmp_path, "/")


def test_agents_take_precedence_over_static_files_at_the_root(
    server: AgentServer, tmp_path: Path
) -> None:
    (tmp_path / "sales").write_text("a file")
    (tmp_path / "page.html").write_text("a page")
    server.serve_static_files(tmp_path)
    client = Client(server)
    assert get(client, "/page.html").text == "a page"
    assert get(client, "/sales").status == 401
    assert get(client, "/").json["service"] == "swaig-wsgi"


def test_settings_default_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWML_ALLOWED_HOSTS", "agent.example.com")
    client = Client(AgentServer(listing=True))
    assert get(client, "/").status == 403
    assert get(client, "/", base_url="http://agent.example.com").status == 200
    assert get(client, "/health").status == 200
