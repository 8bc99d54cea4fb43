"""Requests that need state which the worker processes do not share are refused."""

from __future__ import annotations

import logging
import os
import sys
from types import ModuleType
from wsgiref.validate import validator

import pytest
from support.wsgi import Recorder, request

from swaig_wsgi import Settings, harden
from swaig_wsgi.middleware import (
    AuthFailureLimitMiddleware,
    RateLimitMiddleware,
    ToolTokenMiddleware,
)
from swaig_wsgi.middleware import _per_process as per_process
from swaig_wsgi.middleware._per_process import PerProcessGuard
from swaig_wsgi.processes import (
    PASSWORD,
    SECRET,
    STORAGE,
    SharedState,
    install,
    unshared_variables,
)
from swaig_wsgi.sessions import SessionManager
from swaig_wsgi.stores import SQLiteStore


@pytest.fixture(autouse=True)
def _reset_logged(monkeypatch):
    monkeypatch.setattr(per_process, "_logged", set())


application = Recorder(b"in")


def fetch(app, path="/", multiprocess=True, query=""):
    response = request(app, path=path, query=query, wsgi_multiprocess=multiprocess)
    return response.status, response.body


MISCONFIGURED = (503, b'{"error": "Service misconfigured"}')


def guard(variables, **options):
    options.setdefault("allowed", False)
    return PerProcessGuard(validator(application), lambda: variables, exempt={"/health"}, **options)


def test_one_process_needs_no_shared_state():
    assert fetch(guard([SECRET, PASSWORD, STORAGE]), multiprocess=False) == (200, b"in")


def test_several_processes_without_shared_state_are_refused():
    app = guard([SECRET])
    assert fetch(app) == MISCONFIGURED
    assert fetch(app, "/health") == (200, b"in")
    for path in ("/health/", "//health", "/health/../", "/Health", "/ready"):
        assert fetch(app, path) == MISCONFIGURED


def test_several_processes_with_shared_state_are_admitted():
    assert fetch(guard([])) == (200, b"in")


def test_unshared_state_can_be_allowed():
    assert fetch(guard([SECRET], allowed=True)) == (200, b"in")


def test_the_log_names_the_missing_settings_once(caplog):
    app = guard([SECRET, STORAGE])
    with caplog.at_level(logging.WARNING, logger="swaig_wsgi"):
        fetch(app)
        fetch(app)
        fetch(guard([STORAGE]))
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    for word in (SECRET, STORAGE, "gunicorn -c python:swaig_wsgi.gunicorn"):
        assert word in errors[0]
    assert PASSWORD not in errors[0]
    refusals = [record for record in caplog.records if record.name == "swaig_wsgi.security"]
    assert [record.reason for record in refusals] == ["per_process_state"] * 3


def test_each_missing_setting_is_logged_once(caplog):
    fetch(guard([SECRET]))
    fetch(guard([PASSWORD]))
    fetch(guard([SECRET, PASSWORD]))
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    fetch(guard([SECRET, STORAGE]))
    assert "set SIGNALWIRE_SWAIG_SECRET and SWML_STORAGE_URL" in caplog.text


def test_a_rate_limit_in_memory_is_refused():
    assert fetch(RateLimitMiddleware(application, 5)) == MISCONFIGURED
    assert fetch(RateLimitMiddleware(application, 5), multiprocess=False) == (200, b"in")
    assert fetch(RateLimitMiddleware(application, 5, allow_per_process=True)) == (200, b"in")
    assert fetch(RateLimitMiddleware(application, 5, exempt=["/"])) == (200, b"in")


def test_a_rate_limit_in_a_file_is_admitted(tmp_path):
    app = RateLimitMiddleware(application, 5, store=SQLiteStore(tmp_path / "store.db"))
    assert fetch(app) == (200, b"in")


def test_harden_uses_the_configured_store(tmp_path):
    assert fetch(harden(application, Settings())) == (200, b"in")
    assert fetch(harden(application, Settings(rate_limit=1))) == MISCONFIGURED
    allowed = Settings(rate_limit=1, allow_per_process_state=True)
    assert fetch(harden(application, allowed)) == (200, b"in")
    stored = Settings(rate_limit=1, storage_url=f"sqlite:///{tmp_path}/store.db")
    assert fetch(harden(application, stored)) == (200, b"in")
    assert fetch(harden(application, stored))[0] == 429


def test_tokens_signed_with_a_generated_key_are_refused():
    app = ToolTokenMiddleware(application, SessionManager())
    assert fetch(app, "/swaig") == MISCONFIGURED
    assert fetch(app, "/other") == (200, b"in")
    assert fetch(app, "/swaig", multiprocess=False)[0] == 403
    allowed = ToolTokenMiddleware(application, SessionManager(), allow_per_process=True)
    assert fetch(allowed, "/swaig")[0] == 403
    configured = ToolTokenMiddleware(application, SessionManager(secret_key="0123456789abcdef"))
    assert fetch(configured, "/swaig")[0] == 403


def test_state_shared_by_the_parent_process_is_used(monkeypatch):
    shared = SharedState()
    install(shared)
    try:
        shared.open_store()
        one, other = SessionManager(), SessionManager()
        app = RateLimitMiddleware(application, 5)
        tokens = ToolTokenMiddleware(application, one)
    finally:
        install(None)
    assert one.generated
    assert other.validate_token("call", "pay", one.generate_token("pay", "call"))
    assert one.store is other.store is app.store is shared.store
    # As in a worker, which runs in another process than the one that created the state.
    monkeypatch.setattr(os, "getpid", lambda: shared.pid + 1)
    assert not unshared_variables(key_pid=one.key_made_by, store=app.store)
    assert fetch(tokens, "/swaig")[0] == 403


def test_a_token_signed_before_a_restart_is_logged_with_the_age_of_the_key(caplog):
    before, now = SessionManager(), SessionManager()
    token = before.generate_token("pay", "call")
    query = f"__token={token}"
    assert fetch(ToolTokenMiddleware(application, now), "/swaig", False, query)[0] == 403
    assert fetch(ToolTokenMiddleware(application, now), "/swaig", False, "__token=junk")[0] == 403
    with_key = SessionManager(secret_key="0123456789abcdef")
    assert fetch(ToolTokenMiddleware(application, with_key), "/swaig", False, query)[0] == 403
    first, junk, configured = (record.getMessage() for record in caplog.records)
    assert "reason=bad_signature" in first
    assert "the key was generated at 20" in first
    assert SECRET in first
    for record in (junk, configured):
        assert "generated" not in record


# What gunicorn's options say before the first request


@pytest.fixture
def gunicorn_options(monkeypatch):
    """Return a function that sets the options of the gunicorn that seems to run here."""

    def set_options(*options, **env):
        monkeypatch.setitem(sys.modules, "gunicorn.arbiter", ModuleType("gunicorn.arbiter"))
        monkeypatch.setattr(sys, "argv", ["gunicorn", *options])
        for name, value in env.items():
            monkeypatch.setenv(name, value)

    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    monkeypatch.delenv("GUNICORN_CMD_ARGS", raising=False)
    return set_options


SEVERAL = [
    (["-w", "2", "site:app"], {}),
    (["-w2", "site:app"], {}),
    (["--workers=3", "-b", ":8000", "site:app"], {}),
    (["site:app"], {"WEB_CONCURRENCY": "2"}),
    (["site:app"], {"GUNICORN_CMD_ARGS": "--bind=:8000 --workers 2"}),
    (["-w2", "site:app"], {"WEB_CONCURRENCY": "1", "GUNICORN_CMD_ARGS": "-w1"}),
]
ONE_OR_UNKNOWN = [
    (["site:app"], {}),
    (["-w1", "site:app"], {"WEB_CONCURRENCY": "2"}),
    (["-w2", "--preload", "site:app"], {}),
    (["-c", "file.py", "site:app"], {}),
    # Options of a program that embeds gunicorn.
    (["-w", "fast"], {}),
    (["-w"], {}),
    (["--help"], {}),
    (["--work=2"], {}),
]


@pytest.mark.parametrize(("options", "env"), SEVERAL)
def test_what_will_be_refused_is_logged_at_the_start(gunicorn_options, caplog, options, env):
    gunicorn_options(*options, **env)
    guard([SECRET])
    assert SECRET in caplog.text
    caplog.clear()
    harden(application, Settings.from_mapping({"rate_limit": 5}))
    assert STORAGE in caplog.text
    caplog.clear()
    ToolTokenMiddleware(application, SessionManager())
    assert caplog.text == ""  # logged already


@pytest.mark.parametrize(
    ("make", "variable"),
    [
        (lambda: guard([SECRET]), SECRET),
        (lambda: ToolTokenMiddleware(application, SessionManager()), SECRET),
        (lambda: RateLimitMiddleware(application, 5), STORAGE),
        (lambda: AuthFailureLimitMiddleware(application, 5), STORAGE),
    ],
)
def test_each_layer_logs_at_the_start_what_it_will_refuse(gunicorn_options, caplog, make, variable):
    gunicorn_options("-w2", "site:app")
    make()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert f"or set {variable} to the same value" in record.getMessage()


@pytest.mark.parametrize(("options", "env"), ONE_OR_UNKNOWN)
def test_nothing_is_logged_at_the_start_unless_it_is_certain(
    gunicorn_options, caplog, options, env
):
    gunicorn_options(*options, **env)
    guard([SECRET])
    harden(application, Settings.from_mapping({"rate_limit": 5}))
    assert "several processes" not in caplog.text


def test_nothing_is_logged_at_the_start_if_it_is_allowed_or_shared(gunicorn_options, caplog):
    gunicorn_options("-w2", "site:app")
    guard([SECRET], allowed=True)
    guard([])
    RateLimitMiddleware(application, 5, allow_per_process=True)
    ToolTokenMiddleware(application, SessionManager(secret_key="a secret of some length"))
    assert caplog.text == ""


def test_the_options_of_a_server_that_started_this_program_mean_nothing(monkeypatch, caplog):
    monkeypatch.delitem(sys.modules, "gunicorn.arbiter", raising=False)
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    guard([SECRET])
    assert caplog.text == ""
