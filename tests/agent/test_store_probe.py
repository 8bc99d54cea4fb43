"""Whether /ready notices that a store refuses writes, with real stores that do."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from support.valkeys import Forwarder, replicate, say
from support.waiting import wait_until
from support.wsgi import Client

from swaig_wsgi import AgentApp, AgentServer
from swaig_wsgi.agent import health
from swaig_wsgi.agent.at_most_once import UNKNOWN
from swaig_wsgi.agent.health import accepts_writes
from swaig_wsgi.config import Settings
from swaig_wsgi.stores import MemoryStore, SQLiteStore, StoreError, _failure_log

AUTH = ("admin", "p@ss:w/ö")


def new_agent(url: str, name: str = "bank", **settings: Any) -> AgentApp:
    return AgentApp(name, basic_auth=AUTH, settings=Settings(storage_url=url, **settings))


def ready(app: Any) -> Any:
    response = Client(app, auth=AUTH).get("/ready")
    return response.status, response.json


NOT_READY = (503, {"status": "not ready", "failed": ["store"]})
READY = (200, {"status": "ready"})


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check at each request, not once a second."""
    monkeypatch.setattr(health, "INTERVAL", 0)


def refuses(agent: AgentApp, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """Check that the store refuses claims, and that the agent is not ready meanwhile."""
    with pytest.raises(StoreError, match=reason):
        agent.store.add("claim", {}, 60)
    # It can still be read, which is what an earlier check of the store did.
    assert ready(agent) == NOT_READY
    assert reason in caplog.text


# Redis


@pytest.fixture
def server(own_valkey: Any) -> Iterator[tuple[Any, Any]]:
    """Return a server of this test alone, and a client of it."""
    server = own_valkey()
    client = redis.Redis.from_url(server.url)
    yield server, client
    client.close()


def test_a_replica_is_not_ready(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    valkey, client = server
    agent = new_agent(valkey.url)
    assert ready(agent) == READY
    client.replicaof("127.0.0.1", 1)
    refuses(agent, "read only replica", caplog)
    client.replicaof("NO", "ONE")
    assert ready(agent) == READY


def test_after_a_failover_behind_one_address_the_agent_is_ready_without_a_restart(
    own_valkey: Any, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"repl-diskless-sync-delay": "0"}
    old, new = own_valkey(config=config), own_valkey(config=config)
    replicate(new.port, old.port)
    address = Forwarder(old.port)
    agent = new_agent(address.url)
    assert ready(agent) == READY
    say(new.port, "REPLICAOF", "NO", "ONE")
    replicate(old.port, new.port)
    # The address still leads to the old server.
    refuses(agent, "read only replica", caplog)
    address.target = new.port
    assert ready(agent) == READY
    assert agent.store.add("claim", {}, 60)
    agent.store.close()
    address.close()


def test_the_log_names_the_cause_of_a_second_failure_at_once(
    server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    valkey, client = server
    agent = new_agent(valkey.url)
    valkey.stop()
    refuses(agent, "Connection refused", caplog)
    valkey.start()
    wait_until(lambda: ready(agent) == READY)
    client.replicaof("127.0.0.1", 1)
    refuses(agent, "read only replica", caplog)


def test_a_full_server_is_not_ready(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    valkey, client = server
    agent = new_agent(valkey.url)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    assert agent.store.get("ready") is None
    refuses(agent, "OutOfMemoryError", caplog)
    client.config_set("maxmemory", 0)
    assert ready(agent) == READY


def test_a_server_that_cannot_save_is_not_ready(
    server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    valkey, client = server
    agent = new_agent(valkey.url)
    client.config_set("save", "3600 1")
    directory = client.config_get("dir")["dir"]
    os.mkdir(os.path.join(directory, "dump.rdb"))
    client.set("key", 1)
    client.bgsave()
    wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
    refuses(agent, "MISCONF", caplog)


def test_a_server_that_loads_its_data_is_not_ready(
    server: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    valkey, client = server
    with client.pipeline() as pipeline:
        for number in range(10_000):
            pipeline.set(f"key{number}", "x" * 1024)
        pipeline.execute()
    client.config_set("rdbcompression", "no")
    client.save()
    shutil.copy(os.path.join(client.config_get("dir")["dir"], "dump.rdb"), tmp_path)
    program = os.readlink(f"/proc/{valkey.process.pid}/exe")
    valkey.stop()
    # 10,000 keys, each of which takes 5 ms. After each key, the server replies to clients.
    options = ("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024")
    process = subprocess.Popen(
        [program, "--port", str(valkey.port), "--dir", tmp_path, "--save", "", *options],
        stdout=subprocess.DEVNULL,
    )
    try:
        agent = new_agent(valkey.url)
        wait_until(lambda: is_loading(client))
        with pytest.raises(StoreError, match="loading"):
            agent.store.get("key")
        refuses(agent, "loading", caplog)
    finally:
        process.kill()
        process.wait()


def is_loading(client: Any) -> bool:
    try:
        return bool(client.info("persistence")["loading"])
    except redis.ConnectionError:
        return False


def test_a_server_that_is_gone_is_not_ready(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    valkey, _ = server
    agent = new_agent(valkey.url)
    valkey.stop()
    refuses(agent, "Connection refused", caplog)
    valkey.start()
    assert ready(agent) == READY


def test_processes_write_one_key_each_which_expires(server: Any) -> None:
    valkey, client = server
    agents = [new_agent(valkey.url, f"agent{number}") for number in range(3)]
    agent_server = AgentServer(settings=Settings(storage_url=valkey.url))
    for agent in agents:
        agent_server.register(agent, f"/{agent.name}")
    for _ in range(3):
        assert Client(agent_server).get("/ready").status == 200
        assert agents[0].is_ready()
    (key,) = client.keys("*")
    assert 0 < client.pttl(key) <= health.PROBE_TTL * 1000
    code = (
        "import sys; from swaig_wsgi.agent.health import accepts_writes; "
        "from swaig_wsgi.stores import open_store; "
        "assert accepts_writes(open_store(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, valkey.url], check=True)
    assert len(client.keys("*")) == 2


# SQLite


def test_a_locked_file_is_not_ready(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    agent = new_agent(f"sqlite:///{tmp_path}/store.db")
    assert ready(agent) == READY
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert agent.store.get("ready") is None
    refuses(agent, "locked", caplog)
    other.close()
    assert ready(agent) == READY


FULL_DISK = """
import resource, sys
from support.wsgi import Client
from swaig_wsgi import AgentApp, Settings
from swaig_wsgi.agent import health
from swaig_wsgi.stores import StoreError

health.INTERVAL = 0
agent = AgentApp(
    "bank", basic_auth=("user", "password"), settings=Settings(storage_url=sys.argv[1])
)
client = Client(agent)
assert client.get("/ready").status == 200
# No file can grow, as on a full disk.
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
try:
    agent.store.add("claim", {}, 60)
except StoreError:
    pass
else:
    raise AssertionError("the store accepted a claim")
assert client.get("/ready").status == 503
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert client.get("/ready").status == 200
"""


def test_a_full_disk_is_not_ready(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, f"sqlite:///{tmp_path}/store.db"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "the store does not accept writes" in result.stderr


# Any store


class Counting(MemoryStore):
    """A store that counts writes and can refuse them."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.works = True

    def set(self, key: str, value: Any, ttl: float) -> None:
        self.writes.append(key)
        if not self.works:
            raise StoreError("full")
        super().set(key, value, ttl)


@pytest.mark.threads
def test_all_requests_share_one_write_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "INTERVAL", 60)
    store = Counting()
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(accepts_writes(store))) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 16
    assert len(store.writes) == 1
    monkeypatch.setattr(health, "INTERVAL", 0)
    store.works = False
    assert not accepts_writes(store)
    store.works = True
    assert accepts_writes(store)
    assert len(store.writes) == 3
    assert len(set(store.writes)) == 1


def test_a_failing_store_is_logged_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Counting()
    store.works = False
    for _ in range(5):
        assert not accepts_writes(store)
    assert caplog.text.count("the store does not accept writes: full") == 1
    monkeypatch.setattr(_failure_log, "INTERVAL", 0)
    assert not accepts_writes(store)
    assert caplog.text.count("the store does not accept writes: full") == 2


def test_only_stores_that_share_their_state_share_results(tmp_path: Path) -> None:
    full, empty = MemoryStore(max_keys=1), MemoryStore()
    full.set("key", {}, 60)
    assert not accepts_writes(full)
    assert accepts_writes(empty)
    first, second = (SQLiteStore(tmp_path / "store.db") for _ in range(2))
    assert accepts_writes(first)
    assert accepts_writes(second)
    with sqlite3.connect(tmp_path / "store.db") as connection:
        assert connection.execute("SELECT count(*) FROM swaig_values").fetchone() == (1,)
    first.close()
    second.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
@pytest.mark.threads
def test_a_forked_child_has_its_own_key_and_lock(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "store.db")
    assert accepts_writes(store)
    probe = health._probes[store.place]
    with probe._lock:
        pid = os.fork()
        if pid == 0:
            os._exit(0 if accepts_writes(store) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    with sqlite3.connect(tmp_path / "store.db") as connection:
        assert connection.execute("SELECT count(*) FROM swaig_values").fetchone() == (2,)
    store.close()


# SWML_READY_WITHOUT_STORE


def test_ready_without_store_stays_ready_counts_locally_and_refuses_once(
    own_valkey: Any, caplog: pytest.LogCaptureFixture
) -> None:
    valkey = own_valkey()
    agent = new_agent(valkey.url, ready_without_store=True, rate_limit=3)
    runs: list[int] = []

    @agent.tool(secure=True, once=60)
    def pay() -> str:
        """Pay."""
        runs.append(1)
        return "Paid."

    valkey.stop()
    assert ready(agent) == READY
    assert "the store does not accept writes" in caplog.text
    assert "ready, but some checks fail: 'store'" in caplog.text
    client = Client(agent, auth=AUTH)
    document = client.post("/", {"call_id": "call-1"})
    assert document.status == 200
    verb = next(verb["ai"] for verb in document.json["sections"]["main"] if "ai" in verb)
    (function,) = verb["SWAIG"]["functions"]
    query = function["web_hook_url"].partition("/swaig")[2]
    body = {"function": "pay", "call_id": "call-1", "argument": {"parsed": [{}]}}
    response = client.post(f"/swaig{query}", body)
    assert (response.json, runs) == ({"response": UNKNOWN}, [])
    # The process counts by itself.
    assert [client.post("/", {}).status for _ in range(2)] == [200, 429]
    valkey.start()
    assert ready(agent) == READY
    assert "ready again" in caplog.text


def test_ready_without_store_still_needs_the_other_checks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    agent = new_agent(f"sqlite:///{tmp_path}/missing/store.db", ready_without_store=True)
    assert ready(agent) == READY
    agent.add_readiness_check("database", lambda: False)
    assert ready(agent) == (503, {"status": "not ready", "failed": ["database"]})
    assert "not ready: 'store', 'database'" in caplog.text


def test_the_variable_keeps_an_agent_ready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SWML_STORAGE_URL", f"sqlite:///{tmp_path}/missing/store.db")
    assert ready(AgentApp("bank", basic_auth=AUTH)) == NOT_READY
    monkeypatch.setenv("SWML_READY_WITHOUT_STORE", "true")
    assert ready(AgentApp("bank", basic_auth=AUTH)) == READY


def test_a_store_that_hangs_is_no_reason_either(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(health, "TIMEOUT", 0.05)
    agent = new_agent("memory://", ready_without_store=True)
    release = threading.Event()
    monkeypatch.setattr(agent.store, "set", lambda *args: release.wait(60))
    try:
        assert ready(agent) == READY
    finally:
        release.set()
    for thread in agent._readiness._hanging.values():
        thread.join(60)
