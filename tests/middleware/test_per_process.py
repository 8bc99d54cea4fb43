"""State that several processes do not share: requests are refused, and the log tells why once."""

from __future__ import annotations

import logging
import os
from wsgiref.validate import validator

import pytest
from support.wsgi import Recorder, request

from swaig_wsgi import Settings, harden
from swaig_wsgi.middleware import RateLimitMiddleware, ToolTokenMiddleware
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
def _nothing_logged(monkeypatch):
    monkeypatch.setattr(per_process, "_logged", set())


inside = Recorder(b"in")


def ask(app, path="/", multiprocess=True, query=""):
    response = request(app, path=path, query=query, wsgi_multiprocess=multiprocess)
    return response.status, response.body


MISCONFIGURED = (503, b'{"error": "Service misconfigured"}')


def guard(variables, **options):
    options.setdefault("allowed", False)
    return PerProcessGuard(validator(inside), lambda: variables, exempt={"/health"}, **options)


def test_one_process_may_keep_what_it_likes():
    assert ask(guard([SECRET, PASSWORD, STORAGE]), multiprocess=False) == (200, b"in")


def test_several_may_not():
    app = guard([SECRET])
    assert ask(app) == MISCONFIGURED
    assert ask(app, "/health") == (200, b"in")
    for path in ("/health/", "//health", "/health/../", "/Health", "/ready"):
        assert ask(app, path) == MISCONFIGURED


def test_nothing_is_wrong():
    assert ask(guard([])) == (200, b"in")


def test_the_operator_knows_better():
    assert ask(guard([SECRET], allowed=True)) == (200, b"in")


def test_the_log_says_once_what_to_set(caplog):
    app = guard([SECRET, STORAGE])
    with caplog.at_level(logging.WARNING, logger="swaig_wsgi"):
        ask(app)
        ask(app)
        ask(guard([STORAGE]))
    errors = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert len(errors) == 1
    for word in (SECRET, STORAGE, "gunicorn -c python:swaig_wsgi.gunicorn"):
        assert word in errors[0]
    assert PASSWORD not in errors[0]
    refusals = [each for each in caplog.records if each.name == "swaig_wsgi.security"]
    assert [each.reason for each in refusals] == ["per_process_state"] * 3


def test_a_second_variable_is_logged_too(caplog):
    ask(guard([SECRET]))
    ask(guard([PASSWORD]))
    ask(guard([SECRET, PASSWORD]))
    errors = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert len(errors) == 2


def test_a_limit_in_each_memory_is_no_limit():
    assert ask(RateLimitMiddleware(inside, 5)) == MISCONFIGURED
    assert ask(RateLimitMiddleware(inside, 5), multiprocess=False) == (200, b"in")
    assert ask(RateLimitMiddleware(inside, 5, allow_per_process=True)) == (200, b"in")
    assert ask(RateLimitMiddleware(inside, 5, exempt=["/"])) == (200, b"in")


def test_a_limit_in_a_file_is_one(tmp_path):
    app = RateLimitMiddleware(inside, 5, store=SQLiteStore(tmp_path / "store.db"))
    assert ask(app) == (200, b"in")


def test_harden_counts_where_the_settings_say(tmp_path):
    assert ask(harden(inside, Settings())) == (200, b"in")
    assert ask(harden(inside, Settings(rate_limit=1))) == MISCONFIGURED
    allowed = Settings(rate_limit=1, allow_per_process_state=True)
    assert ask(harden(inside, allowed)) == (200, b"in")
    stored = Settings(rate_limit=1, storage_url=f"sqlite:///{tmp_path}/store.db")
    assert ask(harden(inside, stored)) == (200, b"in")
    assert ask(harden(inside, stored))[0] == 429


def test_tokens_of_a_key_per_process():
    app = ToolTokenMiddleware(inside, SessionManager())
    assert ask(app, "/swaig") == MISCONFIGURED
    assert ask(app, "/other") == (200, b"in")
    assert ask(app, "/swaig", multiprocess=False)[0] == 403
    allowed = ToolTokenMiddleware(inside, SessionManager(), allow_per_process=True)
    assert ask(allowed, "/swaig")[0] == 403
    given = ToolTokenMiddleware(inside, SessionManager(secret_key="0123456789abcdef"))
    assert ask(given, "/swaig")[0] == 403


def test_what_the_parent_shares_is_used(monkeypatch):
    shared = SharedState()
    install(shared)
    try:
        shared.open_store()
        one, other = SessionManager(), SessionManager()
        app = RateLimitMiddleware(inside, 5)
        tokens = ToolTokenMiddleware(inside, one)
    finally:
        install(None)
    assert one.generated
    assert other.validate_token("call", "pay", one.generate_token("pay", "call"))
    assert one.store is other.store is app.store is shared.store
    # As in a worker, which is not the process that made it.
    monkeypatch.setattr(os, "getpid", lambda: shared.pid + 1)
    assert not unshared_variables(key_pid=one.key_made_by, store=app.store)
    assert ask(tokens, "/swaig")[0] == 403


def test_a_token_from_before_a_restart(caplog):
    before, now = SessionManager(), SessionManager()
    token = before.generate_token("pay", "call")
    query = f"__token={token}"
    assert ask(ToolTokenMiddleware(inside, now), "/swaig", False, query)[0] == 403
    assert ask(ToolTokenMiddleware(inside, now), "/swaig", False, "__token=junk")[0] == 403
    given = SessionManager(secret_key="0123456789abcdef")
    assert ask(ToolTokenMiddleware(inside, given), "/swaig", False, query)[0] == 403
    first, junk, configured = (each.getMessage() for each in caplog.records)
    assert "reason=bad_signature" in first
    assert "the key was generated at 20" in first
    assert SECRET in first
    for each in (junk, configured):
        assert "generated" not in each
