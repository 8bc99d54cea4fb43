"""Observers see every record, and harm no request."""

from __future__ import annotations

import pytest
from support.wsgi import Recorder, environ, request

from swaig_wsgi.middleware import AllowedHostsMiddleware
from swaig_wsgi.wsgi import add_observer, log_security, remove_observer


@pytest.fixture
def observe():
    """Return a function that adds an observer, which is removed at the end."""
    added = []

    def add(callback):
        added.append(callback)
        add_observer(callback)

    yield add
    for callback in added:
        remove_observer(callback)


def test_an_observer_sees_each_record_even_those_that_are_summed(observe, caplog):
    seen = []
    observe(lambda kind, fields: seen.append((kind, dict(fields))))
    for _ in range(30):
        log_security(environ(HTTP_X_REQUEST_ID="the-request"), "event", "reason", "why")
    assert len(caplog.records) == 10
    assert len(seen) == 30
    assert seen[29] == (
        "security",
        {
            "level": 30,
            "event": "event",
            "reason": "reason",
            "client": "192.0.2.7",
            "request_id": "the-request",
            "agent": "-",
            "method": "GET",
            "path": "/",
            "detail": "why",
        },
    )


class Failing:
    calls = 0

    def observe(self, kind, fields):
        self.calls += 1
        raise RuntimeError("no metrics")


def test_a_failing_observer_is_logged_once_and_breaks_no_request(observe, caplog):
    seen, failing = [], Failing()
    observe(failing.observe)
    observe(lambda kind, fields: seen.append(kind))
    app = AllowedHostsMiddleware(Recorder(), ["a.example"])
    assert [request(app).status for _ in range(3)] == [403] * 3
    assert (failing.calls, seen) == (3, ["security"] * 3)
    failures = [record for record in caplog.records if record.name == "swaig_wsgi"]
    assert len(failures) == 1
    assert failures[0].exc_info


def test_a_removed_observer_is_not_called_and_may_be_removed_again():
    failing = Failing()
    add_observer(failing.observe)
    # A bound method is a new object each time, but an equal one.
    remove_observer(failing.observe)
    remove_observer(failing.observe)
    log_security({}, "event", "reason")
    assert failing.calls == 0
