"""What is counted for Prometheus: bounded, exact, without secrets, and as docs/metrics.md says."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import snippets
from support.metrics import metrics, series_of
from support.wsgi import Client, Recorder, request
from test_events import LISTED

from swaig_wsgi import AgentApp, AuthHandler, ConfigurationError, Settings, harden
from swaig_wsgi.agent.metrics import AGENT_ENDPOINTS
from swaig_wsgi.core.auth import Decision
from swaig_wsgi.middleware.harden import stack
from swaig_wsgi.stores import MemoryStore, StoreError
from swaig_wsgi.wsgi import log_security

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "metrics.md").read_text()
AUTH = ("platform", "a-long-password")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table whose first cell is `heading`."""
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return [line.strip("| ").split("|") for line in table.splitlines()[2:]]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


# Code and documentation


def test_the_page_lists_every_metric_with_its_type_and_labels() -> None:
    documented = {
        name.strip("` "): (kind.strip(), tuple(quoted(labels)))
        for name, kind, labels, _ in rows("metric")
    }
    in_code = {}
    for metric in metrics():
        (family,) = metric.describe()
        name = family.name + ("_total" if family.type == "counter" else "")
        in_code[name] = (family.type, metric._labelnames)
        assert family.documentation.endswith(".")
    assert documented == in_code
    assert len(documented) == 8


def test_the_page_lists_every_value_of_a_label() -> None:
    from swaig_wsgi._metrics import OTHER, REPORTS

    listed = {name: quoted(values) for names, values in rows("label") for name in quoted(names)}
    labels = {name for metric in metrics() for name in metric._labelnames}
    assert listed.keys() == labels
    assert set(listed["endpoint"]) == {*AGENT_ENDPOINTS.values(), "routing", "other"}
    assert set(listed["kind"]) == REPORTS["fallback_credential"]
    assert OTHER in listed["reason"]
    table = (DOCS / "events.md").read_text().partition("| outcome | level |")[2]
    outcomes = set(re.findall(r"^\| `(\w+)` ", table.partition("\n\n")[0], re.M))
    # A document may be redirected, but no tool call.
    assert set(listed["outcome"]) == outcomes - {"redirected"}


def test_the_refusals_are_those_of_the_list_of_events() -> None:
    from swaig_wsgi._metrics import REFUSALS, REPORTS

    listed = {(event, reason) for event, reason, _ in LISTED}
    refusals = {(event, reason) for event, reasons in REFUSALS.items() for reason in reasons}
    reports = {(event, reason) for event, reasons in REPORTS.items() for reason in reasons}
    assert refusals | reports == listed
    assert not refusals & reports
    responses = re.findall(r"^\| (?:`.*` )?\| (`.*) \| (none|\d.*) \|.*\|$", EVENTS, re.M)
    for reasons, response in responses:
        for reason in quoted(reasons):
            known = refusals if response != "none" else reports
            assert reason in {each for _, each in known}


EVENTS = (DOCS / "events.md").read_text()


# Bounds


def agent() -> AgentApp:
    app = AgentApp("bank", basic_auth=AUTH, settings=Settings(metrics=True))
    app.define_tool("look", "Look.", {}, lambda args, raw: "Seen.")
    app.define_tool("pay", "Pay.", {}, lambda args, raw: "Paid.", secure=True)
    return app


def all_series() -> set[tuple[Any, ...]]:
    from swaig_wsgi._metrics import render

    return set(series_of(render("")[0].decode(), ""))


def test_attack_clients_create_no_series(figures: Any) -> None:
    app = harden(
        agent(), Settings(metrics=True, allowed_hosts=["a.example"], trusted_proxies=["192.0.2.7"])
    )
    wrong = ("platform", "wrong")
    before = all_series()
    for number in range(400):
        host = {"HTTP_HOST": "a.example", "HTTP_X_REQUEST_ID": f"request-{number}"}
        name = f"name{number}"
        call = {"function": name, "call_id": name, "argument": {"parsed": [{}]}}
        request(app, path=f"/{name}", auth=AUTH, **host)
        request(app, path=f"/swaig/{name}", auth=AUTH, **host)
        request(app, "POST", "/swaig", body=call, auth=AUTH, **host)
        request(app, "POST", "/swaig", body=call, query=f"__token={name}", auth=AUTH, **host)
        pay = {**call, "function": "pay"}
        request(app, "POST", "/swaig", body=pay, query=f"__token={name}", auth=AUTH, **host)
        request(app, auth=(name, name), **host)
        request(app, auth=wrong, HTTP_HOST=f"{name}.example")
        request(app, f"X{name}", auth=AUTH, validate=False, **host)
        request(app, auth=wrong, **{**host, "HTTP_X_FORWARDED_FOR": f"10.0.{number % 256}.1"})
        options = {"HTTP_ACCEPT": name, "HTTP_USER_AGENT": name, "CONTENT_TYPE": f"{name}/x"}
        request(app, auth=AUTH, query=f"call_id={name}&x={name}", **host, **options)
    added = {series for series in all_series() - before if series[0].startswith("swaig_")}
    assert not any("name" in str(value) for series in added for value in series)
    # 8 refusals, and requests by 3 endpoints and few statuses, with the buckets of their times.
    assert len([series for series in added if "bucket" not in series[0]]) < 40
    assert sum(figures("swaig_requests_total").values()) == 3600
    assert figures("swaig_tool_calls_total") == {
        ("bank", "refused", "-"): 800,
        ("bank", "refused", "pay"): 400,
    }
    assert figures("swaig_refusals_total")[("bank", "tool_token_refused", "malformed")] == 400
    assert figures("swaig_refusals_total")[("bank", "host_refused", "host_not_allowed")] == 400


def test_attack_an_authenticator_creates_no_series_of_its_own(figures: Any) -> None:
    class Own:
        count = 0

        def decide(self, request: Any) -> Decision:
            self.count += 1
            return Decision(None, f"reason{self.count}")

        def challenges(self, realm: str) -> list[str]:
            return ["Own"]

    app = harden(Recorder(), Settings(metrics=True), auth=Own())
    for _ in range(200):
        assert request(app).status == 401
    log_security({}, "an_event", "a_reason")
    log_security({}, "fallback_credential", "a_kind")
    assert figures("swaig_refusals_total") == {
        ("-", "auth_refused", "other"): 200,
        ("-", "other", "other"): 1,
    }
    assert figures("swaig_fallback_credentials_total") == {("other",): 1}


@pytest.mark.logs_secrets  # in paths, which a client chooses
def test_attack_no_metric_contains_a_secret(figures: Any) -> None:
    settings = Settings(
        metrics=True,
        swaig_secret="a-secret-that-signs-tokens",
        signing_key="a-key-that-signs-webhooks",
        basic_auth_password_fallbacks=["an-earlier-password"],
    )
    app = AgentApp("bank", basic_auth=AUTH, settings=settings)
    app.define_tool("pay", "Pay.", {}, lambda args, raw: "Paid.", secure=True)
    token = app.sessions.generate_token("pay", "call-1")
    secrets = (token, AUTH[1], "an-earlier-password", "a-secret-that-signs-tokens")
    for secret in secrets:
        for path in (f"/{secret}", f"/swaig/{secret}", f"/?__token={secret}"):
            request(app, path=path, auth=AUTH)
        request(app, "POST", "/swaig", query=f"__token={secret}", auth=AUTH, body={})
        request(app, auth=(secret, secret))
    request(app, auth=("platform", "an-earlier-password"))
    response = request(app, path="/metrics", auth=AUTH)
    assert "bank" in response.text
    for secret in (*secrets, "a-key-that-signs-webhooks"):
        assert secret not in f"{response.fields} {response.text}"


# Other applications


def test_harden_counts_refusals(figures: Any) -> None:
    settings = Settings(metrics=True, max_request_size=5, allowed_hosts=["a.example"], rate_limit=3)
    app = Client(harden(Recorder(), settings, auth=AuthHandler(basic_auth=AUTH)), auth=AUTH)
    host = {"HTTP_HOST": "a.example"}
    app.get("/", **host)
    app.get("/")
    app.post("/", b"123456", **host)
    app.get("/", auth=None, **host)
    for _ in range(20):
        app.get("/", **host)
    assert figures("swaig_refusals_total") == {
        ("-", "host_refused", "host_not_allowed"): 1,
        ("-", "body_refused", "too_large"): 1,
        ("-", "auth_refused", "missing_credentials"): 1,
        ("-", "rate_limited", "limit_exceeded"): 20,
    }
    assert figures("swaig_requests_total") == {}


def test_harden_counts_failures_of_the_store(figures: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def hit(key: str, window: float) -> Any:
        raise StoreError("the server is gone")

    store = MemoryStore()
    monkeypatch.setattr(store, "hit", hit)
    module = sys.modules["swaig_wsgi.middleware.harden"]
    monkeypatch.setattr(module, "default_store", lambda url: store)
    app = harden(Recorder(), Settings(metrics=True, rate_limit=3))
    for _ in range(4):
        request(app)
    assert figures("swaig_store_failures_total") == {(): 4}


def test_the_snippet_for_flask_exposes_the_figures(
    figures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWML_METRICS", "true")
    monkeypatch.setenv("SWML_ALLOWED_HOSTS", "a.example")
    monkeypatch.setenv("METRICS_PASSWORD", "a-password-for-prometheus")
    code = PAGE.partition("```python\n")[2].partition("```")[0]
    namespace: dict[str, Any] = {"__name__": "site"}
    exec(code, namespace)  # noqa: S102 - code of this test
    client = Client(namespace["app"], HTTP_HOST="a.example")
    assert client.get("/", HTTP_HOST="evil.example").status == 403
    assert client.get("/metrics").status == 401
    response = client.get("/metrics", auth=("prometheus", "a-password-for-prometheus"))
    assert response.status == 200
    assert series_of(response.text)[
        ("swaig_refusals_total", "-", "host_refused", "host_not_allowed")
    ]
    assert "X-Request-Id" in response.headers


_ASK = """
from support.metrics import series_of
from support.wsgi import Client
client = Client(app, HTTP_HOST="a.example")
assert client.get("/", HTTP_HOST="evil.example").status == 403
assert client.get("/metrics").status == 401
response = client.get("/metrics", auth=("prometheus", "a-password-for-prometheus"))
found = series_of(response.text)
assert found[("swaig_refusals_total", "-", "host_refused", "host_not_allowed")] == 1
"""


def test_the_snippet_for_django_exposes_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWML_METRICS", "true")
    monkeypatch.setenv("SWML_ALLOWED_HOSTS", "a.example")
    monkeypatch.setenv("PYTHONPATH", f"{DOCS.parent}:{Path(__file__).parent}")
    (program,) = [each for each in snippets.programs(DOCS / "metrics.md") if each.files]
    snippets._start_project(tmp_path, program.files)
    code = "from mysite.wsgi import application as app" + _ASK
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# Processes


def test_files_that_a_starting_worker_has_just_created_are_passed_over(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from support.wsgi import request\n"
        "from swaig_wsgi import AuthHandler, harden\n"
        "from swaig_wsgi.middleware import MetricsMiddleware\n"
        "scraper = ('prometheus', 'a-password-for-prometheus')\n"
        "app = harden(MetricsMiddleware(print, AuthHandler(basic_auth=scraper)))\n"
        "open(f'{os.environ[\"PROMETHEUS_MULTIPROC_DIR\"]}/counter_1.db', 'w').close()\n"
        "several = {'wsgi.multiprocess': True}\n"
        "for path in ('/metrics', '/metrics/'):\n"
        "    print(request(app, path=path, auth=scraper, **several).status)\n"
        "print(request(app, path='/metrics').status)\n"
    )
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "SWML_METRICS": "true"}
    env["PYTHONPATH"] = f"{DOCS.parent}:{Path(__file__).parent}"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["200", "200", "401"], done.stderr


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("os.environ[name] = ''", "expected an existing directory"),
        ("os.environ[name] = '/no/such/directory'", "expected an existing directory"),
        (
            "import prometheus_client; os.environ[name] = '.'",
            "set after prometheus_client was imported",
        ),
    ],
)
def test_a_directory_that_cannot_work_is_refused(program: str, error: str) -> None:
    code = (
        "import os\n"
        "from swaig_wsgi import AgentApp, ConfigurationError, Settings\n"
        f"name = 'PROMETHEUS_MULTIPROC_DIR'\n{program}\n"
        "try: AgentApp('bank', settings=Settings(metrics=True))\n"
        "except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("PROMETHEUS_MULTIPROC_DIR: "), done.stderr
    assert error in done.stdout


def test_counting_twice_counts_once(figures: Any) -> None:
    app = harden(stack(agent(), Settings(metrics=True)), Settings(metrics=True))
    request(app, auth=("platform", "wrong"))
    request(app, "POST", "/", body=io.BytesIO(b""), auth=AUTH)
    assert figures("swaig_refusals_total") == {("bank", "auth_refused", "bad_credentials"): 1}
    assert figures("swaig_requests_total") == {
        ("bank", "document", "401"): 1,
        ("bank", "document", "200"): 1,
    }


def test_a_copy_without_the_module_names_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "swaig_wsgi._metrics", None)
    with pytest.raises(ConfigurationError, match=r"SWML_METRICS: .*swaig-wsgi\[metrics\]"):
        harden(Recorder(), Settings(metrics=True))
