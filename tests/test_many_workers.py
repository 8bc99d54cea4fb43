"""Servers with several processes, killed and reloaded, share passwords, keys and counts."""

from __future__ import annotations

import http.client
import itertools
import os
import random
import re
import signal
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import redis
from support.waiting import PATIENCE, wait_until

CONFIG = ("-c", "python:swaig_wsgi.gunicorn")
GENERATED = {"SWML_BASIC_AUTH_USER": "", "SWML_BASIC_AUTH_PASSWORD": ""}
DROPPED = (ConnectionError, http.client.HTTPException, TimeoutError)

AGENT = """
import os
from swaig_wsgi import AgentApp

app = AgentApp("bank")
app.set_prompt_text(f"Process {os.getpid()}.")

def pay(args, raw_data):
    return f"Paid by {os.getpid()} for {raw_data['verified_call_id']}."

app.define_tool("pay", "Pay", {}, pay, secure=True)

with open(f"credentials-{os.getpid()}", "w") as file:
    file.write("\\n".join(app.get_basic_auth_credentials(True)))
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "bank.py").write_text(AGENT)
    return tmp_path


@pytest.fixture
def start(gunicorn: Any, directory: Path) -> Any:
    """Return a function that starts the agent ``bank`` and waits until all workers serve."""

    def start(*options: str, workers: int = 4, **env: str) -> Any:
        loaded = len(credentials_in(directory)) + (1 if "--preload" in options else workers)
        server = gunicorn("bank:app", "-w", str(workers), *options, cwd=str(directory), **env)

        def serves() -> bool:
            assert server.process.poll() is None, server.log
            return len(credentials_in(directory)) >= loaded

        wait_until(serves)
        return server

    return start


def credentials_in(directory: Path) -> list[tuple[str, ...]]:
    texts = [path.read_text() for path in directory.glob("credentials-*")]
    return [tuple(text.splitlines()) for text in texts if text.count("\n") == 2]


def reload(server: Any, directory: Path) -> None:
    """Replace the workers with four new ones."""
    loaded = len(credentials_in(directory)) + 4
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(credentials_in(directory)) >= loaded)


def fetch(server: Any, call_id: str, auth: tuple[str, str]) -> tuple[str, str]:
    """Return the URL of the tool, with its token, and the process that issued it."""
    response = server.request("POST", "/", {"call_id": call_id}, auth=auth)
    assert response.status == 200, response.body
    ai = next(verb["ai"] for verb in response.json["sections"]["main"] if "ai" in verb)
    return ai["SWAIG"]["functions"][0]["web_hook_url"], ai["prompt"]["text"]


def pay(server: Any, url: str, call_id: str) -> str:
    """Call the tool with the credentials in its URL, and return the process that ran it."""
    parts = urlsplit(url)
    auth = (unquote(parts.username or ""), unquote(parts.password or ""))
    body = {"function": "pay", "argument": {"parsed": [{}]}, "call_id": call_id}
    response = server.request("POST", f"{parts.path}?{parts.query}", body, auth=auth)
    assert response.status == 200, response.body
    match = re.fullmatch(rf"Paid by (\d+) for {call_id}\.", response.json["response"])
    assert match, response.body
    return match[1]


class Load:
    """Threads that call a function repeatedly and record its errors.

    Args:
        step: called with the number of the call.
        threads: their number.
        times: calls of all threads together; None for no limit.
    """

    def __init__(
        self, step: Callable[[int], None], *, threads: int = 8, times: int | None = None
    ) -> None:
        self.done = 0
        self.dropped: list[BaseException] = []
        self.failed: list[BaseException] = []
        self._step = step
        self._times = times
        self._started = 0
        self._stop = False
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stop:
            with self._lock:
                number = self._started
                if number == self._times:
                    return
                self._started += 1
            try:
                self._step(number)
            except DROPPED as error:
                self.dropped.append(error)
            except BaseException as error:
                self.failed.append(error)
            with self._lock:
                self.done += 1

    def wait_for(self, done: int) -> None:
        wait_until(lambda: self.done >= done, 5 * PATIENCE)

    def join(self, stop: bool = False) -> None:
        self._stop = stop
        for thread in self._threads:
            thread.join(5 * PATIENCE)
            assert not thread.is_alive()
        assert self.failed == []


class Calls:
    """Tool calls with tokens that are fetched from any worker, a new one for every tenth call."""

    def __init__(self, server: Any, auth: tuple[str, str]) -> None:
        self.server, self.auth = server, auth
        self.issuers: Counter[str] = Counter()
        self.payers: Counter[str] = Counter()
        self._tokens: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        for number in range(16):
            self._fetch(number)

    def _fetch(self, number: int) -> None:
        call_id = f"call-{number}"
        url, issuer = fetch(self.server, call_id, self.auth)
        with self._lock:
            self.issuers[issuer] += 1
        self._tokens.append((call_id, url))

    def step(self, number: int) -> None:
        if number % 10 == 0:
            self._fetch(number)
        call_id, url = random.choice(self._tokens)  # noqa: S311 - no secret
        payer = pay(self.server, url, call_id)
        with self._lock:
            self.payers[payer] += 1


# -- calls


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["each loads", "preloaded"])
def test_every_worker_accepts_tokens_of_every_worker(
    options: list[str], start: Any, directory: Path
) -> None:
    server = start(*CONFIG, *options, **GENERATED)
    (user, password, source), *others = credentials_in(directory)
    assert source == "generated"
    assert re.fullmatch("[0-9a-f]{32}", password)
    assert all(other == (user, password, source) for other in others)
    assert len(others) == (0 if options else 3)
    calls = Calls(server, (user, password))
    load = Load(calls.step, times=2000)
    load.join()
    assert load.dropped == []
    assert sum(calls.payers.values()) == 2000
    assert len(calls.payers) == 4
    assert len(calls.issuers) == (1 if options else 4)


def test_killed_workers_lose_only_their_connections(start: Any, directory: Path) -> None:
    server = start(*CONFIG, SWML_RATE_LIMIT="1000000", **GENERATED)
    user, password, _ = credentials_in(directory)[0]
    calls = Calls(server, (user, password))
    load = Load(calls.step, times=2000)
    kills = 0
    for done in (300, 700, 1100, 1500):
        load.wait_for(done)
        os.kill(random.choice(server.worker_pids()), signal.SIGKILL)  # noqa: S311 - no secret
        kills += 1
    load.join()
    # Each thread has one connection at a time, possibly to the killed worker.
    assert len(load.dropped) <= kills * 8
    assert sum(calls.payers.values()) + len(load.dropped) == 2000
    assert len(calls.payers) > 4
    assert set(credentials_in(directory)) == {(user, password, "generated")}


def test_a_reload_keeps_earlier_tokens_valid(start: Any, directory: Path) -> None:
    server = start(*CONFIG, **GENERATED)
    user, password, _ = credentials_in(directory)[0]
    calls = Calls(server, (user, password))
    before = list(calls._tokens)
    load = Load(calls.step, threads=4)
    for _ in range(2):
        reload(server, directory)
        load.wait_for(load.done + 100)
    load.join(stop=True)
    assert load.dropped == []
    for call_id, url in before:
        pay(server, url, call_id)
    assert set(credentials_in(directory)) == {(user, password, "generated")}


def test_no_call_is_refused_while_the_secret_is_rotated(start: Any, directory: Path) -> None:
    secret, fallbacks = directory / "secret", directory / "fallbacks"
    old, new, oldest = (f"{name} secret of some length" for name in ("old", "new", "oldest"))
    secret.write_text(old)
    fallbacks.write_text(oldest)
    server = start(
        *CONFIG,
        SIGNALWIRE_SWAIG_SECRET_FILE=str(secret),
        SIGNALWIRE_SWAIG_SECRET_FALLBACKS_FILE=str(fallbacks),
    )
    auth = ("demo", "p@ss:w/ö")
    calls = Calls(server, auth)
    before = list(calls._tokens)
    load = Load(calls.step, threads=4)
    # While workers of two generations serve, each must accept the key of the other. Therefore the
    # new key is a fallback first, and signs only when every worker accepts it.
    for step, (signs, verifies) in enumerate([(old, new), (new, old), (new, oldest)], 1):
        secret.write_text(signs)
        fallbacks.write_text(verifies)
        if step == 3:
            load.join(stop=True)
        reload(server, directory)
        if step < 3:
            load.wait_for(load.done + 200)
            for call_id, url in before:
                pay(server, url, call_id)
    assert load.dropped == []
    # Once the old key is removed, its tokens are refused.
    wait_until(lambda: len(server.worker_pids()) == 4)
    with pytest.raises(AssertionError):
        pay(server, before[0][1], before[0][0])
    server.wait_for_log("reason=bad_signature")


# -- counts


def count_statuses(servers: list[Any], requests: int, threads: int = 20) -> Counter[int]:
    """Send concurrent requests, and return how many responses had each status."""
    statuses: Counter[int] = Counter()
    lock = threading.Lock()

    def step(number: int) -> None:
        status = servers[number % len(servers)].request("GET", "/").status
        with lock:
            statuses[status] += 1

    load = Load(step, threads=threads, times=requests)
    load.join()
    assert load.dropped == []
    return statuses


def count_with_store(begin: Callable[[], list[Any]], requests: int) -> Counter[int]:
    """Count the statuses of requests to new servers.

    On a machine so busy that the store does not reply in time, workers log that and count alone.
    Nothing is said about such servers here; others are started instead.
    """
    for _ in range(5):
        servers = begin()
        statuses = count_statuses(servers, requests)
        if not any("store_failed" in server.log for server in servers):
            break
    return statuses


@pytest.mark.parametrize("kind", ["private file", "file", "valkey"])
def test_a_limit_is_exact_across_workers(
    kind: str, start: Any, directory: Path, request: Any
) -> None:
    urls = {"private file": lambda: "", "file": lambda: f"sqlite:///{directory}/{next(numbers)}.db"}
    numbers = itertools.count()

    def begin() -> list[Any]:
        url = urls[kind]() if kind in urls else request.getfixturevalue("own_valkey")().url
        return [start(*CONFIG, SWML_RATE_LIMIT="100", SWML_STORAGE_URL=url)]

    assert count_with_store(begin, 1000) == {200: 100, 429: 900}


@pytest.mark.threads
def test_a_limit_is_exact_without_the_configuration_module(start: Any, directory: Path) -> None:
    server = start(
        SWML_RATE_LIMIT="100",
        SWML_STORAGE_URL="sqlite:///store.db",
        SIGNALWIRE_SWAIG_SECRET="a secret of some length",
    )
    assert count_statuses([server], 300) == {200: 100, 429: 200}
    assert (directory / "store.db").exists()


def test_a_limit_is_exact_across_two_servers(start: Any, own_valkey: Any) -> None:
    def begin() -> list[Any]:
        env = {"SWML_RATE_LIMIT": "100", "SWML_STORAGE_URL": own_valkey().url}
        return [start(*CONFIG, workers=2, **env) for _ in range(2)]

    assert count_with_store(begin, 1000) == {200: 100, 429: 900}


@pytest.mark.threads
def test_a_limit_survives_killed_workers(start: Any) -> None:
    server = start(*CONFIG, SWML_RATE_LIMIT="100")
    assert count_statuses([server], 60) == {200: 60}
    for pid in server.worker_pids():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(re.findall("Booting worker", server.log)) >= 8)
    assert count_statuses([server], 100) == {200: 40, 429: 60}


def test_requests_are_served_while_the_store_is_down(start: Any, own_valkey: Any) -> None:
    valkey = own_valkey()
    server = start(*CONFIG, SWML_RATE_LIMIT="100", SWML_STORAGE_URL=valkey.url)
    durations: list[float] = []
    usual: list[float] = []  # of simultaneous requests that do not use the store
    statuses: Counter[int] = Counter()

    def step(number: int) -> None:
        for path, seconds in (("/", durations), ("/health", usual)):
            start_time = time.monotonic()
            status = server.request("GET", path).status
            seconds.append(time.monotonic() - start_time)
            if path == "/":
                statuses[status] += 1
        time.sleep(0.005)

    load = Load(step, threads=4)
    load.wait_for(150)
    valkey.stop()
    stopped = load.done
    load.wait_for(stopped + 300)
    valkey.start()
    load.wait_for(load.done + 300)
    load.join(stop=True)
    assert load.dropped == []
    assert set(statuses) == {200, 429}
    # On a busy machine other requests are slow, too.
    assert max(durations) < 1 + 5 * max(usual)
    server.wait_for_log("rate limit: the store failed")
    # Each worker tries the store again within a second, and once more if a busy machine lets the
    # store fail again.
    for _ in range(5):
        time.sleep(1.1)
        with redis.Redis.from_url(valkey.url) as client:
            client.flushall()
        counted = count_statuses([server], 300)
        if counted == {200: 100, 429: 200}:
            break
    assert counted == {200: 100, 429: 200}


@pytest.mark.threads
def test_an_added_worker_shares_the_count(start: Any) -> None:
    server = start(*CONFIG, workers=1, SWML_RATE_LIMIT="50")
    assert count_statuses([server], 10) == {200: 10}
    first = server.worker_pids()
    server.process.send_signal(signal.SIGTTIN)
    wait_until(lambda: len(server.worker_pids()) == 2 and server.worker_pids()[0] != first[0])
    assert count_statuses([server], 200) == {200: 50, 429: 150}


# -- without the configuration module


def is_refused(server: Any) -> bool:
    responses = [
        server.request("GET", "/"),
        server.request("GET", "/", auth=None),
        server.request("POST", "/swaig", {"function": "pay"}),
        server.request("GET", "/ready", auth=None),
    ]
    assert server.request("GET", "/health", auth=None).status == 200
    statuses = {response.status for response in responses}
    assert statuses <= {503} or 503 not in statuses
    if statuses == {503}:
        assert {response.body for response in responses} == {b'{"error": "Service misconfigured"}'}
        assert responses[0].headers["X-Content-Type-Options"] == "nosniff"
    return statuses == {503}


SECRET = {"SIGNALWIRE_SWAIG_SECRET": "a secret of some length"}


@pytest.mark.parametrize(
    ("options", "env", "missing"),
    [
        ([], GENERATED, ["SIGNALWIRE_SWAIG_SECRET", "SWML_BASIC_AUTH_PASSWORD"]),
        ([], {}, ["SIGNALWIRE_SWAIG_SECRET"]),
        ([], {**SECRET, **GENERATED}, ["SWML_BASIC_AUTH_PASSWORD"]),
        ([], {**SECRET, "SWML_RATE_LIMIT": "9"}, ["SWML_STORAGE_URL"]),
        (
            [],
            {**SECRET, "SWML_RATE_LIMIT": "9", "SWML_STORAGE_URL": "sqlite://"},
            ["SWML_STORAGE_URL"],
        ),
        (["--preload"], {**GENERATED, "SWML_RATE_LIMIT": "9"}, ["SWML_STORAGE_URL"]),
        (
            [*CONFIG],
            {"SWML_RATE_LIMIT": "9", "SWML_STORAGE_URL": "memory://"},
            ["SWML_STORAGE_URL"],
        ),
    ],
)
def test_per_process_state_is_refused(
    options: list[str], env: dict[str, str], missing: list[str], start: Any
) -> None:
    server = start(*options, workers=2, **env)
    for _ in range(4):
        assert is_refused(server)
    line = server.wait_for_log("several processes serve")
    assert "gunicorn -c python:swaig_wsgi.gunicorn" in line
    variables = ("SIGNALWIRE_SWAIG_SECRET", "SWML_BASIC_AUTH_PASSWORD", "SWML_STORAGE_URL")
    assert [variable for variable in variables if variable in line] == missing
    # At most once in each process.
    assert server.log.count("several processes serve") <= 2


@pytest.mark.parametrize(
    ("options", "workers", "env"),
    [
        ([], 2, SECRET),
        ([], 1, {**GENERATED, "SWML_RATE_LIMIT": "99"}),
        (["--preload"], 2, GENERATED),
        (["--preload"], 2, {"SWML_RATE_LIMIT": "99", "SWML_STORAGE_URL": "sqlite://"}),
        ([*CONFIG], 2, {**GENERATED, "SWML_RATE_LIMIT": "99", "SWML_STORAGE_URL": "sqlite://"}),
        ([], 2, {**GENERATED, "SWML_RATE_LIMIT": "99", "SWML_ALLOW_PER_PROCESS_STATE": "true"}),
    ],
)
def test_shared_state_is_served(
    options: list[str], workers: int, env: dict[str, str], start: Any
) -> None:
    server = start(*options, workers=workers, **env)
    for _ in range(2):
        assert not is_refused(server)
    assert "several processes serve" not in server.log


def test_the_log_contains_the_time_when_a_key_was_generated(start: Any, directory: Path) -> None:
    url, _ = fetch(start(*CONFIG, workers=2), "call-1", ("demo", "p@ss:w/ö"))
    restarted = start(*CONFIG, workers=2)
    with pytest.raises(AssertionError, match="not able to do that"):
        pay(restarted, url, "call-1")
    line = restarted.wait_for_log("reason=bad_signature")
    assert re.search(r"the key was generated at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line)
    assert "SIGNALWIRE_SWAIG_SECRET" in line


def basic(user: str, password: str) -> str:
    return b64encode(f"{user}:{password}".encode()).decode()


def test_generated_secrets_are_not_in_the_environment(start: Any, directory: Path) -> None:
    (directory / "bank.py").write_text(
        AGENT + "import subprocess\n"
        "def environment(args, raw_data):\n"
        "    return subprocess.run(['env'], capture_output=True, text=True).stdout\n"
        "app.define_tool('environment', 'Show it', {}, environment)\n"
    )
    server = start(*CONFIG, workers=2, **GENERATED)
    user, password, _ = credentials_in(directory)[0]
    body = {"function": "environment", "argument": {"parsed": [{}]}, "call_id": "x"}
    seen = server.request("POST", "/swaig", body, auth=(user, password)).json["response"]
    assert "PATH=" in seen
    for pid in (server.process.pid, *server.worker_pids()):
        seen += Path(f"/proc/{pid}/environ").read_text()
    for secret in (password, basic(user, password)):
        assert secret not in seen
        assert secret not in server.log
