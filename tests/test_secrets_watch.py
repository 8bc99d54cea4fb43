"""The fixture `secrets_watch` finds secrets, wherever a test may leak them."""

from __future__ import annotations

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
