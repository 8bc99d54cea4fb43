"""Each cause of a store's failures is logged at once, and then once a minute."""

import pytest
import redis

from swaig_wsgi.stores import RedisStore, SQLiteStore, StoreError
from swaig_wsgi.stores._failure_log import FailureLog


def test_each_cause_and_kind_is_due_once_a_minute():
    log = FailureLog()
    refused, full = (StoreError("it failed", cause=cause) for cause in ("refused", "full"))
    assert [log.is_due(refused, now) for now in (0.0, 1.0, 59.9)] == [True, False, False]
    assert [log.is_due(full, now) for now in (1.0, 1.5)] == [True, False]
    assert [log.is_due(refused, 60.0), log.is_due(full, 60.0)] == [True, False]
    assert log.is_due(full, 60.0, "a heartbeat failed")
    assert [log.is_due(RuntimeError(), 61.0), log.is_due(RuntimeError(), 61.0)] == [True, False]


def test_attack_a_server_that_invents_causes_does_not_fill_the_log():
    log = FailureLog()
    errors = [StoreError("it failed", cause=str(number)) for number in range(1000)]
    assert sum(log.is_due(error, 0.0) for error in errors) == 33
    assert sum(log.is_due(error, 60.0) for error in errors) == 33


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (redis.ConnectionError("Error 111 connecting to 127.0.0.1:6379."), "ConnectionError"),
        (redis.ConnectionError("Error 111 connecting to 127.0.0.2:6379."), "ConnectionError"),
        (redis.ReadOnlyError("You can't write against a read only replica."), "ReadOnlyError"),
        (redis.ResponseError("MISCONF Errors writing to the AOF"), "ResponseError MISCONF"),
        (redis.ResponseError("OOM command not allowed"), "ResponseError OOM"),
    ],
)
def test_the_causes_of_redis_are_its_errors(monkeypatch, error, cause):
    store = RedisStore("redis://127.0.0.1:1")

    def fail():
        raise error

    with pytest.raises(StoreError) as raised:
        store._wrap_errors(fail)
    assert raised.value.cause == cause


def test_a_damaged_file_has_another_cause_than_a_missing_directory(tmp_path):
    (tmp_path / "damaged.db").write_bytes(b"no database" * 1000)
    causes = []
    for name in ("damaged.db", "missing/store.db"):
        with pytest.raises(StoreError) as raised:
            SQLiteStore(tmp_path / name).get("key")
        causes.append(raised.value.cause)
    assert "" not in causes
    assert causes[0] != causes[1]
