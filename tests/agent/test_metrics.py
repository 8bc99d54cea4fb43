"""``/metrics`` of agents and servers, and what it counts of their requests and tool calls."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.metrics import series_of
from support.wsgi import Client, request

from swaig_wsgi import AgentApp, AgentServer, AuthHandler, Settings, middleware
from swaig_wsgi import agent as agent_package
from swaig_wsgi.agent import at_most_once, health
from swaig_wsgi.agent.metrics import AGENT_ENDPOINTS
from swaig_wsgi.agent.routes import own_paths
from swaig_wsgi.stores import MemoryStore, StoreError

AUTH = ("platform", "a-long-password")
METRICS = Settings(metrics=True)
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
PAY = {"amount": {"type": "number"}}


def agent(
    name: str = "bank", settings: Settings = METRICS, route: str = "/", **options: Any
) -> AgentApp:
    app = AgentApp(name, route=route, basic_auth=AUTH, settings=settings, **options)
    app.define_tool("look", "Look.", {}, lambda args, raw: "Seen.")
    app.define_tool("fail", "Fail.", {}, fail)
    app.define_tool("pay", "Pay.", PAY, lambda args, raw: "Paid.", secure=True, once=60)
    app.define_tool("beep", "Beep.", {}, lambda args, raw: "Beep.", secure=True, max_runs=1)
    return app


def fail(*args: Any) -> str:
    raise RuntimeError("no backend")


def broken(*args: Any) -> Any:
    raise StoreError("the server is gone")


def call(app: Any, name: str = "look", *, token: bool = False, auth: Any = AUTH, **arguments: Any):
    body = {"function": name, "call_id": "call-1", "argument": {"parsed": [arguments]}}
    query = f"__token={app.sessions.generate_token(name, 'call-1')}" if token else ""
    return request(app, "POST", f"{app.route}/swaig", body=body, query=query, auth=auth)


# The endpoint


def test_metrics_are_served_below_the_route_behind_authentication(figures):
    app = agent(route="/bank")
    assert request(app, path="/bank/metrics").status == 401
    assert request(app, path="/bank/metrics", auth=("platform", "wrong")).status == 401
    assert request(app, path="/metrics", auth=AUTH).status == 404
    assert call(app).status == 200
    for path in ("/bank/metrics", "/bank/metrics/"):
        response = request(app, path=path, auth=AUTH)
        assert (response.status, response.headers["Content-Type"]) == (200, PLAIN)
        assert response.headers["Content-Length"] == str(len(response.body))
        assert ("swaig_tool_calls_total", "bank", "ran", "look") in series_of(response.text)
    fields = response.headers
    assert fields["X-Content-Type-Options"] == "nosniff"
    assert fields["Cache-Control"] == "no-store"
    assert "X-Request-Id" in fields


def test_head_and_other_methods(figures):
    app = agent()
    response = request(app, "HEAD", "/metrics", auth=AUTH)
    assert (response.status, response.body) == (200, b"")
    assert int(response.headers["Content-Length"]) > 100
    for method in ("POST", "PUT", "DELETE"):
        response = request(app, method, "/metrics", auth=AUTH)
        assert response.status == 405
        assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/html", PLAIN),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text;"),
    ],
)
def test_the_format_is_negotiated(figures, accept, expected):
    app = agent()
    call(app)
    response = request(app, path="/metrics", auth=AUTH, HTTP_ACCEPT=accept)
    assert response.status == 200
    assert response.headers["Content-Type"].startswith(expected)
    assert response.text.endswith("# EOF\n") == (expected != PLAIN)


@pytest.mark.parametrize(
    "version", ["one", "1.x.0", "2.x", "2.\xe9", "-", "1" * 4000, "1" * 5000, ""]
)
def test_attack_no_version_in_accept_is_an_error(figures, version):
    for kind in ("application/openmetrics-text", "text/plain"):
        accept = f"{kind}; version={version}; escaping=x"
        response = request(agent(), path="/metrics", auth=AUTH, HTTP_ACCEPT=accept)
        assert response.status == 200
        assert len(response.headers["Content-Type"]) < 200


def test_without_the_setting_there_is_no_endpoint_and_nothing_is_imported():
    program = (
        "import sys\n"
        "from swaig_wsgi import AgentApp, AgentServer, harden\n"
        "app = AgentApp('a', basic_auth=('u', 'p'))\n"
        "AgentServer().register(app)\n"
        "harden(app)\n"
        "print('prometheus_client' in sys.modules, 'swaig_wsgi._metrics' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False False\n", done.stderr
    app = agent(settings=Settings())
    assert request(app, path="/metrics", auth=AUTH).status == 404
    assert request(app, path="/metrics").status == 401
    app.register_routing_callback(lambda body, headers: None, "/metrics")
    assert request(app, path="/metrics", auth=AUTH).status == 200


@pytest.mark.parametrize("make", ["AgentApp('a')", "AgentServer()", "harden(print)"])
def test_without_the_package_the_service_refuses_to_start(make):
    program = (
        "import sys\n"
        "sys.modules['prometheus_client'] = None\n"
        "from swaig_wsgi import AgentApp, AgentServer, ConfigurationError, harden\n"
        f"try: {make}\n"
        "except ConfigurationError as error: print(error)\n"
    )
    env = {"SWML_METRICS": "true", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    expected = "SWML_METRICS: requires prometheus_client: pip install 'swaig-wsgi[metrics]'\n"
    assert done.stdout == expected, done.stderr


def test_limits_apply_as_elsewhere(figures):
    settings = Settings(metrics=True, auth_failure_limit=2, allowed_hosts="a.example")
    app = agent(settings=settings)
    options = {"HTTP_HOST": "a.example"}
    assert request(app, path="/metrics", auth=AUTH).status == 403
    assert request(app, path="/metrics", auth=AUTH, **options).status == 200
    for _ in range(2):
        assert request(app, path="/metrics", auth=("platform", "x"), **options).status == 401
    assert request(app, path="/metrics", auth=AUTH, **options).status == 429


def test_a_signing_key_of_the_platform_does_not_lock_out_prometheus(figures):
    app = agent(signing_key="a key of the platform")
    assert request(app, path="/metrics", auth=AUTH).status == 200
    assert call(app).status == 403


def test_other_credentials_of_the_agent_are_accepted(figures):
    app = agent(auth=AuthHandler(bearer_token="a-token-of-the-scraper"))
    bearer = {"HTTP_AUTHORIZATION": "Bearer a-token-of-the-scraper"}
    assert request(app, path="/metrics", **bearer).status == 200


def test_the_path_cannot_be_taken_by_others(figures):
    message = "the path '/metrics' is taken by SWML_METRICS"
    with pytest.raises(ValueError, match=message):
        agent().register_routing_callback(lambda body, headers: None, "/metrics")
    server = AgentServer(settings=METRICS)
    server.register(agent(route="/bank"))
    with pytest.raises(ValueError, match=r"'/bank/metrics' is an endpoint of the agent 'bank'"):
        server.register(agent("other", route="/bank/metrics"))
    with pytest.raises(ValueError, match=r"'/metrics' is taken by the server itself"):
        server.register(agent("other", route="/metrics"))
    with pytest.raises(ValueError, match=r"'/metrics' is taken"):
        server.register_global_routing_callback(lambda body, headers: None, "/metrics")
    with pytest.raises(ValueError, match=r"'/metrics' is taken"):
        server.serve_static_files(".", "/metrics")
    late = AgentServer(settings=Settings())
    late.register_global_routing_callback(lambda body, headers: None, "/metrics")
    with pytest.raises(ValueError, match=r"'/metrics' is taken"):
        late.register(agent(route="/bank"))
    assert late.get_agents() == {}


def test_figures_of_one_of_several_processes_are_refused(figures, caplog):
    options = {"auth": AUTH, "wsgi_multiprocess": True}
    app = AgentApp("desk", basic_auth=AUTH, secret_key="k" * 16, settings=METRICS)
    for _ in range(2):
        assert request(app, path="/metrics", **options).status == 503
    errors = [each for each in caplog.records if each.name == "swaig_wsgi"]
    (record,) = [each for each in errors if "counts for itself" in each.message]
    for remedy in ("python:swaig_wsgi.gunicorn", "PROMETHEUS_MULTIPROC_DIR", "SWML_ALLOW_PER_PRO"):
        assert remedy in record.message
    settings = Settings(metrics=True, allow_per_process_state=True)
    app = AgentApp("desk", basic_auth=AUTH, secret_key="k" * 16, settings=settings)
    assert request(app, path="/metrics", **options).status == 200


def test_no_failure_of_the_store_goes_unreported():
    """Each handler of StoreError calls the function, or reports to one that does."""
    handlers = []
    for package in (Path(agent_package.__file__).parent, Path(middleware.__file__).parent):
        for path in package.glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ExceptHandler) and "StoreError" in ast.unparse(node.type):
                    handlers.append((path.name, node.lineno, ast.unparse(node.body)))
    assert len(handlers) >= 11
    for each in handlers:
        assert re.search(r"\b(observe_store_failure|_report)\(", each[2]), each


# Servers


def served(settings: Settings) -> Client:
    server = AgentServer(settings=settings)
    server.register(agent(route="/bank"))
    server.register(agent("shop", route="/shop"))
    for name in ("bank", "shop"):
        call(server.get_agents()[f"/{name}"])
    return Client(server)


def test_an_agent_shows_its_own_figures_and_the_server_those_of_all(figures):
    client = served(
        Settings(
            metrics=True,
            basic_auth_user="scraper",
            basic_auth_password="a-password",
            basic_auth_password_fallbacks=["an-earlier-password"],
        )
    )
    assert client.get("/metrics").status == 401
    assert client.get("/metrics", auth=AUTH).status == 401
    assert client.post("/metrics", auth=("scraper", "a-password")).status == 405
    ran = [("swaig_tool_calls_total", name, "ran", "look") for name in ("bank", "shop")]
    for name in ("a-password", "an-earlier-password"):
        response = client.get("/metrics", auth=("scraper", name))
        assert response.headers["Content-Type"] == PLAIN
        assert set(ran) <= series_of(response.text).keys()
    own = series_of(client.get("/bank/metrics", auth=AUTH).text)
    assert ran[0] in own
    assert not any("shop" in labels for labels in own)
    assert ("swaig_requests_total", "-", "metrics", "401") in own
    assert figures("swaig_fallback_credentials_total") == {("password",): 1}


def test_the_limits_of_the_server_apply_to_its_metrics(figures):
    settings = Settings(
        metrics=True,
        basic_auth_user="scraper",
        basic_auth_password="a-password",
        auth_failure_limit=2,
    )
    client = Client(AgentServer(settings=settings))
    assert client.head("/metrics", auth=("scraper", "a-password")).status == 200
    for _ in range(2):
        assert client.get("/metrics", auth=("scraper", "wrong")).status == 401
    assert client.get("/metrics", auth=("scraper", "a-password")).status == 429
    assert client.get("/swaig").status == 429
    assert client.get("/health").status == 200
    assert figures("swaig_requests_total") == {
        ("-", "metrics", "200"): 1,
        ("-", "metrics", "401"): 2,
        ("-", "metrics", "429"): 1,
        ("-", "other", "429"): 1,
        ("-", "health", "200"): 1,
    }


def test_a_server_without_credentials_has_no_metrics_of_its_own(figures, caplog):
    client = served(METRICS)
    (record,) = [each for each in caplog.records if "SWML_METRICS" in each.message]
    assert "SWML_BASIC_AUTH_PASSWORD" in record.message
    assert client.get("/metrics", auth=AUTH).status == 404
    assert client.get("/bank/metrics", auth=AUTH).status == 200


# What is counted


def test_requests_are_counted_by_endpoint_and_status(figures):
    app = agent(route="/bank")
    app.register_routing_callback(lambda body, headers: "/elsewhere", "/sip")
    for path in ("", "/", "/swaig", "/post_prompt", "/debug_events", "/sip", "/none", "/%73waig"):
        request(app, "POST", f"/bank{path}", auth=AUTH, body={})
    for path in ("/health", "/ready", "/metrics"):
        request(app, path=f"/bank{path}", auth=AUTH)
    request(app, path="/bank/metrics")
    assert figures("swaig_requests_total") == {
        ("bank", "document", "200"): 2,
        ("bank", "swaig", "400"): 1,
        ("bank", "post_prompt", "403"): 1,
        ("bank", "debug_events", "200"): 1,
        ("bank", "routing", "307"): 1,
        ("bank", "other", "404"): 2,
        ("bank", "health", "200"): 1,
        ("bank", "ready", "200"): 1,
        ("bank", "metrics", "200"): 1,
        ("bank", "metrics", "401"): 1,
    }
    assert figures("swaig_request_seconds_count")[("bank", "metrics")] == 2
    assert 0 < figures("swaig_request_seconds_sum")[("bank", "document")] < 60


def test_what_succeeds_counts_as_requests_and_calls_alone(figures):
    app = agent(settings=Settings(metrics=True, auth_failure_limit=5))
    call(app)
    call(app, "pay", token=True, amount=5)
    request(app, auth=AUTH)
    app.sessions.set_session_metadata("call-1", {})
    assert health.accepts_writes(app.store)
    assert sum(figures("swaig_requests_total").values()) == 3
    assert sum(figures("swaig_tool_calls_total").values()) == 2
    for name in ("refusals", "store_failures", "fallback_credentials"):
        assert figures(f"swaig_{name}_total") == {}


def test_every_endpoint_has_a_label():
    assert AGENT_ENDPOINTS.keys() == own_paths(metrics=True)


def test_a_request_whose_application_raises_is_a_500(figures):
    app = agent()
    app.on_swml_request = fail
    assert request(app, auth=AUTH).status == 500
    assert figures("swaig_requests_total") == {("bank", "document", "500"): 1}
    assert figures("swaig_refusals_total") == {("bank", "request_failed", "exception"): 1}


def test_tool_calls_are_counted_by_outcome(figures, monkeypatch):
    app = agent()
    call(app)
    call(app, "fail")
    call(app, "pay", token=True, amount="much")
    call(app, "pay", amount=5)
    token = {"query": f"__token={app.sessions.generate_token('pay', 'call-1')}"}
    body = {"function": "pay", "call_id": "call-1", "argument": {"parsed": [{"amount": 5}]}}
    for _ in range(2):
        request(app, "POST", "/swaig", body=body, auth=AUTH, **token)
    for _ in range(2):
        call(app, "beep", token=True)
    call(app, "drain_account")
    monkeypatch.setattr(app._own_store.base, "add", broken)
    call(app, "pay", token=True, amount=7)
    assert figures("swaig_tool_calls_total") == {
        ("bank", "ran", "look"): 1,
        ("bank", "failed", "fail"): 1,
        ("bank", "invalid_arguments", "pay"): 1,
        ("bank", "refused", "pay"): 1,
        ("bank", "ran", "pay"): 1,
        ("bank", "repeated", "pay"): 1,
        ("bank", "ran", "beep"): 1,
        ("bank", "limited", "beep"): 1,
        ("bank", "refused", "-"): 1,
        ("bank", "unknown", "pay"): 1,
    }
    assert figures("swaig_tool_starts_total") == {("bank", "pay"): 1, ("bank", "beep"): 1}
    seconds = figures("swaig_tool_seconds_count")
    assert seconds == {("bank", name): 1 for name in ("look", "fail", "pay", "beep")}
    assert figures("swaig_store_failures_total") == {(): 1}


@pytest.mark.parametrize("operation", ["add", "get", "replace_if", "hit", "merge", "delete", "set"])
def test_each_failed_operation_of_the_store_is_counted(figures, monkeypatch, operation):
    store = MemoryStore()
    monkeypatch.setattr(store, operation, broken)
    monkeypatch.setattr("swaig_wsgi.agent.agent.default_store", lambda url: store)
    monkeypatch.setattr(at_most_once, "HEARTBEAT", 60)
    app = agent(settings=Settings(metrics=True, auth_failure_limit=9))
    sessions = app.sessions
    attempts = {
        "add": lambda: call(app, "pay", token=True, amount=5),
        "get": lambda: sessions.get_session_metadata("call-1"),
        "replace_if": lambda: call(app, "pay", token=True, amount=5),
        "hit": lambda: [
            request(app, auth=("platform", "wrong")),
            call(app, "beep", token=True),
        ],
        "merge": lambda: sessions.set_session_metadata("call-1", {}),
        "delete": lambda: sessions.delete_session_metadata("call-1"),
        "set": lambda: health.accepts_writes(store),
    }
    for _ in range(3):
        try:
            attempts[operation]()
        except StoreError:
            assert operation in ("get", "merge", "delete")
    # A store is checked once a second.
    expected = {"hit": 6, "set": 1}.get(operation, 3)
    assert figures("swaig_store_failures_total") == {(): expected}


def test_fallback_credentials_are_counted_by_kind(figures):
    settings = Settings(metrics=True, basic_auth_password_fallbacks=["an-earlier-password"])
    app = agent(settings=settings)
    for _ in range(30):
        assert request(app, auth=("platform", "an-earlier-password")).status == 200
    assert figures("swaig_fallback_credentials_total") == {("password",): 30}
    assert figures("swaig_refusals_total") == {}


def test_refusals_that_are_summed_in_the_log_are_counted_each(figures, caplog):
    app = agent()
    for _ in range(300):
        request(app, auth=("platform", "wrong"))
    assert len([each for each in caplog.records if each.name == "swaig_wsgi.security"]) == 10
    assert figures("swaig_refusals_total") == {("bank", "auth_refused", "bad_credentials"): 300}
