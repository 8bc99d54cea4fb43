"""The fixture `secrets_watch` finds secrets, wherever a test may leak them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.secrets import Watch
from support.wsgi import request

from swaig_wsgi import AgentApp, AuthHandler, Settings
from swaig_wsgi.core import redaction
from swaig_wsgi.middleware import WebhookSignatureMiddleware
from swaig_wsgi.sessions import SessionManager
from swaig_wsgi.testing import AgentClient
from swaig_wsgi.tracing import redacting_exporter
from swaig_wsgi.wsgi import log, log_security

#: Every test here leaks, and then finds it.
pytestmark = pytest.mark.logs_secrets

SECRET = "s3cret-of-the-watch"


def configure_settings() -> Any:
    return Settings(swaig_secret=SECRET)


def configure_fallbacks() -> Any:
    return Settings(swaig_secret_fallbacks=f"another-secret-of-it,{SECRET}")


def configure_password() -> Any:
    return Settings(basic_auth_user="user", basic_auth_password=SECRET)


def configure_store() -> Any:
    return Settings(storage_url=f"redis://user:{SECRET}@127.0.0.1/0")


def configure_agent() -> Any:
    return AgentApp("desk", basic_auth=("user", SECRET), settings=Settings())


def configure_handler() -> Any:
    return AuthHandler(bearer_token=SECRET)


def configure_pair() -> Any:
    return AuthHandler(basic_auth=("user", SECRET))


def configure_webhooks() -> Any:
    return WebhookSignatureMiddleware(lambda *args: [], ["another-key", SECRET.encode()])


def configure_sessions() -> Any:
    return SessionManager(secret_key=SECRET)


@pytest.mark.parametrize(
    "configure", [value for name, value in globals().items() if "configure_" in name]
)
def test_every_configured_secret_is_found_in_a_record(secrets_watch: Watch, configure: Any) -> None:
    configure()
    assert secrets_watch.leaks() == []
    log.warning("it is %s", SECRET)
    assert len(secrets_watch.leaks()) == 1


def test_a_secret_is_found_in_every_part_of_a_record(
    secrets_watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_settings()
    # Else the path would be masked.
    monkeypatch.setattr(redaction, "_hidden", ())
    log.warning("one", extra={"more": SECRET})
    try:
        raise ValueError(f"the key {SECRET}")
    except ValueError:
        log.exception("two")
    log_security({"PATH_INFO": f"/{SECRET}"}, "three", "reason")
    assert len(secrets_watch.leaks()) == 4


def test_a_token_is_found_in_a_refusal_but_may_be_in_a_document(secrets_watch: Watch) -> None:
    agent = configure_agent()
    agent.define_tool("pay", "Pay.", {}, lambda args, raw: "Paid.", secure=True)
    document = request(agent, auth=("user", SECRET))
    assert SECRET in document.text
    assert secrets_watch.leaks() == []
    token = agent.sessions.generate_token("pay", "call-1")
    secrets_watch.see("a response 403", f"the token {token} is wrong")
    secrets_watch.see("a trace", SECRET)
    assert len(secrets_watch.leaks()) == 2


def test_an_application_that_shows_a_secret_in_an_error_is_found(secrets_watch: Watch) -> None:
    configure_handler()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("500 Oops", [("Content-Type", "text/plain")])
        return [f"token {SECRET}".encode()]

    request(app)
    (leak,) = secrets_watch.leaks()
    assert leak.startswith("bearer_token in a response 500")


def test_a_secret_is_found_in_an_exported_span(secrets_watch: Watch) -> None:
    configure_settings()
    for exporter in (InMemorySpanExporter(), redacting_exporter(InMemorySpanExporter())):
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        with provider.get_tracer("test").start_as_current_span("GET /") as span:
            span.set_attribute("http.url", f"http://127.0.0.1/?__token={SECRET}")
    (leak,) = secrets_watch.leaks()
    assert leak.startswith("swaig_secret in a trace")


def test_words_and_short_secrets_are_not_searched_for(secrets_watch: Watch) -> None:
    AuthHandler(bearer_token="password", api_key="a-key")
    log.warning("no password, no a-key")
    assert secrets_watch.leaks() == []


def test_a_response_that_the_client_of_agents_receives_is_searched(secrets_watch: Watch) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("500 Oops", [("Content-Type", "application/json")])
        return [f'{{"error": "not {SECRET}"}}'.encode()]

    client = AgentClient(app, auth=("user", SECRET), url="http://127.0.0.1/")
    with pytest.raises(Exception, match="500"):
        client.fetch_swml()
    (leak,) = secrets_watch.leaks()
    assert leak.startswith("basic_auth in a response 500")


def test_a_token_of_a_document_is_found_in_a_log(secrets_watch: Watch) -> None:
    token = "a1B2-" * 10
    secrets_watch.see_response(200, [], f"https://bot.example/swaig?__token={token}".encode())
    assert secrets_watch.leaks() == []
    secrets_watch.see("the log of a server", f"GET /swaig {token}")
    assert len(secrets_watch.leaks()) == 1


#: Each test but the first leaks, although it passes.
LEAKING = r"""
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.wsgi import request
from swaig_wsgi import AuthHandler
from swaig_wsgi.testing import AgentClient
from swaig_wsgi.wsgi import log

SECRET = "s3cret-of-the-watch"

def refuse(environ, start_response):
    start_response("403 Forbidden", [("Content-Type", "application/json")])
    return [b'{"error": "' + SECRET.encode() + b'"}']

def test_nothing():
    AuthHandler(api_key=SECRET)
    log.warning("nothing")

def test_record():
    AuthHandler(api_key=SECRET)
    log.warning("it is %s", SECRET)

def test_response():
    AuthHandler(api_key=SECRET)
    assert request(refuse).status == 403

def test_agent_client():
    client = AgentClient(refuse, auth=("user", SECRET), url="http://127.0.0.1/")
    try:
        client.fetch_swml()
    except Exception:
        pass

def test_trace():
    AuthHandler(api_key=SECRET)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    provider.get_tracer("test").start_span(SECRET).end()

def test_server(gunicorn, tmp_path):
    (tmp_path / "program.py").write_text(
        "import os\n"
        "print(os.environ['SIGNALWIRE_SWAIG_SECRET'], flush=True)\n"
        "from swaig_wsgi.examples.basic import app\n"
    )
    server = gunicorn(
        "program:app", "-w1", cwd=str(tmp_path), SIGNALWIRE_SWAIG_SECRET=SECRET + "-12345"
    )
    assert server.request("GET", "/health").status == 200
"""


@pytest.mark.slow
def test_the_fixture_fails_every_test_that_leaks(tmp_path: Path) -> None:
    tests = Path(__file__).parent
    shutil.copy(tests / "conftest.py", tmp_path)
    (tmp_path / "test_leaking.py").write_text(LEAKING)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}"},
        capture_output=True,
        text=True,
        check=False,
    )
    failed = set(re.findall(r"^ERROR test_leaking\.py::(\w+)", done.stdout, re.M))
    leaking = {"test_record", "test_response", "test_agent_client", "test_trace", "test_server"}
    assert failed == leaking, done.stdout
    assert "6 passed, 5 errors" in done.stdout
