"""A flood of refusals leaves few records, and every one is counted."""

from __future__ import annotations

import logging
import threading
import tracemalloc
from collections import Counter

import pytest

from swaig_wsgi.core.auth import AuthResult
from swaig_wsgi.core.redaction import hide_values
from swaig_wsgi.middleware import RequestIDMiddleware
from swaig_wsgi.wsgi import _security_log, log_security, remove_observer
from swaig_wsgi.wsgi._repeats import ALLOWANCE, MAX_WINDOWS, WINDOW, Repeats


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_security_log, "_repeats", Repeats(clock))
    return clock


def refuse(times=1, client="192.0.2.7", reason="missing", level=logging.WARNING, **more):
    for _ in range(times):
        log_security({"REMOTE_ADDR": client, **more}, "auth_refused", reason, level=level)


def repeats(records):
    return [record.repeated for record in records if hasattr(record, "repeated")]


def total(records):
    """Return how many events the records stand for."""
    return sum(getattr(record, "repeated", 1) for record in records)


def test_equal_records_are_summed_once_a_minute_after_the_tenth(clock, caplog):
    refuse(422)
    assert len(caplog.records) == 10
    clock.now += WINDOW
    caplog.clear()
    refuse(reason="other")
    summed, other = caplog.records
    assert (summed.repeated, summed.reason, summed.levelname) == (412, "missing", "WARNING")
    assert summed.getMessage().endswith(" repeated=412")
    assert summed.getMessage().startswith("auth_refused reason=missing client=192.0.2.7 ")
    assert other.reason == "other"


def test_a_sum_has_the_fields_of_the_last_of_its_records(clock, caplog):
    refuse(11, PATH_INFO="/first")
    refuse(1, PATH_INFO="/last", HTTP_X_REQUEST_ID="the-last-one")
    clock.now += WINDOW
    refuse(reason="other")
    summed = caplog.records[10]
    assert (summed.path, summed.request_id, summed.repeated) == ("/last", "the-last-one", 2)


def test_records_that_differ_are_not_summed(clock, caplog):
    for client in ("192.0.2.1", "192.0.2.2"):
        for reason in ("missing", "wrong"):
            for agent in ("desk", "sales"):
                refuse(10, client, reason, **{"swaig_wsgi.agent": agent})
    assert len(caplog.records) == 80


def test_a_flood_leaves_one_record_a_minute(clock, caplog):
    for _ in range(60):
        refuse(100)
        clock.now += WINDOW
    refuse()
    assert len(caplog.records) == 10 + 60
    assert repeats(caplog.records) == [90, *[100] * 59]


def test_after_a_calm_minute_records_are_written_again(clock, caplog):
    refuse(100)
    clock.now += WINDOW
    refuse(5)
    clock.now += WINDOW
    caplog.clear()
    refuse(5)
    assert repeats(caplog.records) == [5]
    assert len(caplog.records) == 6


def test_errors_are_summed_but_one_is_written_at_once_each_minute(clock, caplog):
    for minute in range(3):
        caplog.clear()
        refuse(100, level=logging.ERROR)
        errors = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert len([each for each in errors if not hasattr(each, "repeated")]) == (
            1 if minute else 10
        )
        clock.now += WINDOW


def test_one_error_among_warnings_makes_the_sum_an_error(clock, caplog):
    refuse(20)
    refuse(1, level=logging.ERROR)
    refuse(20)
    clock.now += WINDOW
    refuse(reason="other")
    assert [(each.repeated, each.levelno) for each in caplog.records[10:11]] == [(31, 40)]


def test_other_kinds_of_records_write_what_is_due(clock, caplog):
    refuse(20)
    clock.now += WINDOW
    caplog.clear()
    _security_log.write_repeats()
    assert repeats(caplog.records) == [10]
    _security_log.write_repeats()
    _security_log.write_repeats(all_open=True)
    assert repeats(caplog.records) == [10]


def test_the_next_request_writes_what_is_due(clock, caplog):
    refuse(20)
    caplog.clear()
    app = RequestIDMiddleware(lambda environ, start_response: [])
    app({}, lambda *_: None)
    assert repeats(caplog.records) == []
    clock.now += WINDOW
    app({}, lambda *_: None)
    assert repeats(caplog.records) == [10]


def test_everything_pending_is_written_at_exit(clock, caplog):
    refuse(20)
    refuse(30, "192.0.2.8")
    _security_log.write_repeats(all_open=True)
    assert sorted(repeats(caplog.records)) == [10, 20]


def test_a_process_that_ends_writes_its_sums(run_python):
    code = (
        "import logging, sys\n"
        "from swaig_wsgi.wsgi import log_security\n"
        "logging.basicConfig(stream=sys.stdout)\n"
        "for _ in range(50): log_security({}, 'event', 'reason')\n"
    )
    assert run_python(code).splitlines()[-1].endswith(" repeated=40")


@pytest.mark.threads
def test_a_forked_child_does_not_write_the_sums_of_its_parent(run_python):
    code = (
        "import logging, os, sys\n"
        "from swaig_wsgi.wsgi import log_security\n"
        "logging.basicConfig(stream=sys.stdout)\n"
        "for _ in range(50): log_security({}, 'event', 'reason')\n"
        "sys.stdout.flush()\n"
        "if os.fork(): os.wait()\n"
        "else: log_security({}, 'event', 'reason')\n"
    )
    lines = run_python(code).splitlines()
    assert len(lines) == 12
    assert [line.rpartition(" ")[2] for line in lines if "repeated" in line] == ["repeated=40"]


@pytest.mark.threads
def test_no_record_is_lost_or_counted_twice_between_threads(clock, caplog):
    def flood():
        for number in range(500):
            refuse(1, f"192.0.2.{number % 3}")
            clock.now += 0.1

    threads = [threading.Thread(target=flood) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _security_log.write_repeats(all_open=True)
    assert total(caplog.records) == 4000


def test_attack_addresses_of_one_ipv6_network_are_one_client(clock, caplog):
    for number in range(1000):
        refuse(1, f"2001:db8:1:2::{number:x}")
    assert len(caplog.records) == ALLOWANCE


def test_attack_a_flood_from_many_clients_is_summed_in_bounded_memory(clock, caplog, secrets_watch):
    remove_observer(secrets_watch.observe)  # it would keep every record, as caplog would
    logger, counted = logging.getLogger("swaig_wsgi.security"), []
    handler = logging.Handler()
    handler.emit = lambda record: counted.append(getattr(record, "repeated", 1))
    logger.propagate = False
    logger.addHandler(handler)
    try:
        tracemalloc.start()
        for number in range(20_000):
            refuse(1, f"10.0.{number >> 8}.{number & 255}")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        logger.propagate = True
        logger.removeHandler(handler)
    assert len(counted) == MAX_WINDOWS + ALLOWANCE
    assert peak < 2_000_000
    _security_log.write_repeats(all_open=True)
    (summed,) = caplog.records
    assert sum(counted) + summed.repeated == 20_000
    assert (summed.client, summed.event, summed.agent) == ("*", "auth_refused", "-")


def test_attack_records_that_are_only_counted_are_as_safe_as_others(clock, caplog, secrets_watch):
    remove_observer(secrets_watch.observe)  # without observers, records are escaped when written
    hide_values(["correct-horse-battery"])
    for path in ("/a\nforged", "/correct-horse-battery", "/" + "x" * 60_000):
        caplog.clear()
        refuse(12, reason=path[:3], PATH_INFO=path)
        clock.now += 2 * WINDOW
        _security_log.write_repeats()
        written = {record.path for record in caplog.records}
        assert len(caplog.records) == ALLOWANCE + 1
        assert len(written) == 1
        assert written <= {"/a\\nforged", "/****", "/" + "x" * 511 + "..."}


def test_attack_long_paths_that_are_only_counted_fill_no_memory(clock, monkeypatch, secrets_watch):
    remove_observer(secrets_watch.observe)
    logger = logging.getLogger("swaig_wsgi.security")
    monkeypatch.setattr(logger, "propagate", False)  # caplog would keep the records
    monkeypatch.setattr(logger, "handlers", [logging.NullHandler()])
    tracemalloc.start()
    for number in range(300):
        refuse(11, f"10.0.{number >> 8}.{number & 255}", PATH_INFO="/" + "x" * 60_000)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 2_000_000


def test_attack_unbounded_reasons_fill_no_memory_and_are_all_written(clock, caplog):
    for number in range(3 * MAX_WINDOWS):
        refuse(1, reason=f"reason-{number}")
    assert len(caplog.records) == 3 * MAX_WINDOWS
    assert len(_security_log._repeats._windows) <= 2 * MAX_WINDOWS


def test_no_user_of_an_earlier_password_is_hidden_by_another(clock, caplog):
    for user, times in (("alice", 40), ("bob", 3), ("alice", 40)):
        auth = AuthResult("basic", user)
        for _ in range(times):
            log_security({"swaig_wsgi.auth": auth}, "fallback_credential", "password")
    _security_log.write_repeats(all_open=True)
    counts = Counter()
    for record in caplog.records:
        counts[record.user] += getattr(record, "repeated", 1)
    assert counts == {"alice": 80, "bob": 3}
    assert len(caplog.records) == 10 + 3 + 1
