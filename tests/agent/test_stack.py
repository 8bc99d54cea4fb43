"""State of an agent or a server that several processes must share."""

from __future__ import annotations

import os
from typing import Any

import pytest
from support.wsgi import Client

from swaig_wsgi import AgentApp, AgentServer, Settings
from swaig_wsgi.agent.stack import unshared_state
from swaig_wsgi.processes import PASSWORD, SECRET, STORAGE, SharedState, install

CREDENTIALS = ("admin", "a password")
KEY = "a secret of some length"
MISCONFIGURED = (503, {"error": "Service misconfigured"})


def agent(name: str = "bank", *, settings: Settings | None = None, **options: Any) -> AgentApp:
    options.setdefault("basic_auth", CREDENTIALS)
    options.setdefault("secret_key", KEY)
    return AgentApp(name, settings=settings or Settings(), **options)


def get(app: Any, path: str, multiprocess: bool = True) -> tuple[int, Any]:
    response = Client(app).get(path, auth=CREDENTIALS, wsgi_multiprocess=multiprocess)
    return response.status, response.json


def test_an_agent_with_configured_secrets_needs_no_shared_state() -> None:
    assert not unshared_state(agent())
    assert get(agent(), "/")[0] == 200


def test_generated_secrets_are_refused_in_several_processes() -> None:
    assert unshared_state(agent(secret_key=None)) == {SECRET}
    assert unshared_state(agent(basic_auth=None)) == {PASSWORD}
    both = agent(basic_auth=None, secret_key=None)
    assert unshared_state(both) == {SECRET, PASSWORD}
    for path in ("/", "/ready", "/swaig", "/nowhere"):
        assert get(both, path) == MISCONFIGURED
    assert get(both, "/health") == (200, {"status": "ok"})
    assert get(both, "/ready", multiprocess=False)[0] == 200


def test_a_memory_store_is_unshared_once_it_is_used() -> None:
    assert unshared_state(agent(settings=Settings(rate_limit=5))) == {STORAGE}
    assert unshared_state(agent(settings=Settings(auth_failure_limit=5))) == {STORAGE}
    once = agent()
    once.define_tool("pay", "Pay", {}, lambda args, raw: "Paid.", secure=True, once=60)
    assert unshared_state(once) == {STORAGE}
    limited = agent()
    limited.define_tool("pay", "Pay", {}, lambda args, raw: "Paid.", secure=True, max_runs=3)
    assert unshared_state(limited) == {STORAGE}
    with_metadata = agent()
    assert not unshared_state(with_metadata)
    # Reading needs a shared store too, because another process may have written.
    assert with_metadata.sessions.get_session_metadata("call") == {}
    assert unshared_state(with_metadata) == {STORAGE}
    assert get(with_metadata, "/") == MISCONFIGURED


def test_a_store_in_a_file_is_shared(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    assert not unshared_state(agent(settings=Settings(rate_limit=5, storage_url=url)))


def test_unshared_state_can_be_allowed() -> None:
    allowed = Settings(rate_limit=5, allow_per_process_state=True)
    assert get(agent(settings=allowed, secret_key=None), "/")[0] == 200


@pytest.mark.parametrize(
    "settings", [Settings(), Settings(rate_limit=5), Settings(auth_failure_limit=5)]
)
def test_a_server_refuses_requests_if_state_is_unshared(settings: Settings) -> None:
    server = AgentServer(settings=settings, listing=True)
    server.register(agent("shared"), "/shared")
    if not settings.counts_requests:
        assert get(server, "/ready")[0] == 200
        server.register(agent("unshared", secret_key=None), "/unshared")
    assert get(server, "/shared")[0] == 200
    for path in ("/", "/ready", "/nowhere"):
        assert get(server, path) == MISCONFIGURED
    assert get(server, "/health") == (200, {"status": "ok"})


def test_state_shared_by_the_parent_process_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SharedState()
    install(shared)
    try:
        shared.open_store()
        settings = Settings(rate_limit=5)
        one, same, other = (
            agent(name, settings=settings, basic_auth=None, secret_key=None)
            for name in ("bank", "bank", "sales")
        )
        server = AgentServer(settings=settings)
    finally:
        install(None)
    credentials = one.get_basic_auth_credentials(True)
    assert credentials == same.get_basic_auth_credentials(True)
    assert credentials[1] != other.get_basic_auth_credentials()[1]
    assert credentials[2] == "generated"
    token = one.sessions.generate_token("pay", "call")
    assert same.sessions.validate_token("call", "pay", token)
    assert not other.sessions.validate_token("call", "pay", token)
    assert one.store is other.store is shared.store
    assert set(unshared_state(one)) == {SECRET, PASSWORD, STORAGE}
    # As in a worker, which runs in another process than the one that created the state.
    monkeypatch.setattr(os, "getpid", lambda: shared.pid + 1)
    assert not unshared_state(one)
    server.register(one, "/bank")
    assert get(server, "/nowhere")[0] == 404


def test_a_refused_token_is_logged_with_the_age_of_a_generated_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = agent(secret_key=None)
    token = agent(secret_key=None).sessions.generate_token("post_prompt", "call")
    response = Client(now).post(
        f"/post_prompt?__token={token}", body={"call_id": "call"}, auth=CREDENTIALS
    )
    assert response.status == 403
    (record,) = (record for record in caplog.records if record.name == "swaig_wsgi.security")
    assert "the key was generated at 20" in record.getMessage()
    assert "generated" not in response.text
