"""A platform whose clients fetch documents and call tools all the time, and repeat nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from support.waiting import PATIENCE, wait_until
from support.wsgi import basic

from swaig_wsgi.core.signatures import sign_body

USER = "platform"
BASE = "https://agent.example.com"
CLIENTS = 6
#: Seconds; a worker that stops closes idle connections after 2.
IDLE = 1.0
#: Turns of each client in each phase: a document, and a call of each tool that it has a URL of.
TURNS = 5


def tool_call(number: int) -> dict[str, Any]:
    arguments = {"parsed": [{"number": number}]}
    return {"function": "transfer", "argument": arguments, "call_id": "call-1"}


def signed(key: str, target: str, body: bytes) -> dict[str, str]:
    return {
        "Host": "agent.example.com",
        "Content-Type": "application/json",
        "X-SignalWire-Sha256-Signature": sign_body(key, BASE + target, body),
    }


class Call:
    """A call in progress: the URL of its tool, as the document had it."""

    def __init__(self, document: Any) -> None:
        (tool,) = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
        url = urlsplit(tool["web_hook_url"])
        assert url.username
        assert url.password
        self.target = f"{url.path}?{url.query}"
        self.authorization = basic(unquote(url.username), unquote(url.password))


@dataclass
class Platform:
    """Clients that fetch documents and call tools in turn, with what the platform is given."""

    port: int
    password: str
    bearer: str
    api_key: str
    signing_key: str
    context: ssl.SSLContext | None = None
    clients: int = CLIENTS
    outcomes: Counter[str] = field(default_factory=Counter)
    #: Calls go on through all phases since this one.
    oldest: int = 0
    phase: int = 0

    def __post_init__(self) -> None:
        self._turns = [0] * self.clients
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=(number,)) for number in range(self.clients)
        ]
        for thread in self._threads:
            thread.start()

    def go_on(self) -> None:
        """Begin a phase, and return when each client has had some turns in it."""
        self.phase += 1
        end = [turns + TURNS for turns in self._turns]
        wait_until(
            lambda: self.failures or all(a >= b for a, b in zip(self._turns, end)), 5 * PATIENCE
        )
        assert self.failures == []

    def end_calls(self) -> None:
        """End all calls that began before this phase."""
        self.oldest = self.phase

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @property
    def failures(self) -> list[str]:
        return [outcome for outcome in list(self.outcomes) if outcome != "ok"]

    def _serve(self, number: int) -> None:
        # A half of them keeps its connection, a third each has Basic, a bearer token, an API key.
        client = Client(self.port, self.context, keep=number % 2 == 0)
        credential = ("password", "bearer", "api_key")[number % 3]
        calls: dict[int, Call] = {}
        with contextlib.closing(client):
            while not self._stopping.is_set():
                phase = self.phase
                try:
                    call = Call(self._fetch(client, credential))
                    calls.setdefault(phase, call)
                    calls = {begun: call for begun, call in calls.items() if begun >= self.oldest}
                    for each in (*calls.values(), call):
                        self._call(client, credential, each, number)
                except Exception as error:
                    with self._lock:
                        self.outcomes[f"phase {phase}, {credential}: {error!r}"] += 1
                    client.close()
                if phase == self.phase:
                    self._turns[number] += 1

    def _fetch(self, client: Client, credential: str) -> Any:
        return self._post(client, "/", {"call_id": "call-1"}, self._credentials(credential))

    def _call(self, client: Client, credential: str, call: Call, number: int) -> None:
        headers = self._credentials(credential)
        if credential == "password":
            headers = {"Authorization": call.authorization}
        result = self._post(client, call.target, tool_call(number), headers)
        assert result == {"response": f"transferred {number}"}

    def _credentials(self, kind: str) -> dict[str, str]:
        return {
            "password": {"Authorization": basic(USER, self.password)},
            "bearer": {"Authorization": f"Bearer {self.bearer}"},
            "api_key": {"X-Api-Key": self.api_key},
        }[kind]

    def _post(self, client: Client, target: str, value: Any, headers: dict[str, str]) -> Any:
        body = json.dumps(value).encode()
        headers = {**headers, **signed(self.signing_key, target, body)}
        status, raw = client.post(target, body, headers)
        assert status == 200, f"{status} {raw!r}"
        with self._lock:
            self.outcomes["ok"] += 1
        return json.loads(raw)


class Client:
    """An HTTP client that repeats nothing."""

    def __init__(self, port: int, context: ssl.SSLContext | None, *, keep: bool) -> None:
        self._port, self._context, self._keep = port, context, keep
        self._connection: Any = None
        self._used = 0.0

    def post(self, target: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        connection = self._open()
        connection.request("POST", target, body, headers)
        response = connection.getresponse()
        raw = response.read()
        self._used = time.monotonic()
        if not self._keep:
            self.close()
        return response.status, raw

    def _open(self) -> Any:
        # As connection pools do: a connection that the server has closed, or may be about to close
        # because it was idle, is not used again.
        if self._connection is not None and self._connection.sock is not None:
            idle = time.monotonic() - self._used
            if idle < IDLE and not select.select([self._connection.sock], [], [], 0)[0]:
                return self._connection
            self.close()
        if self._context is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        else:
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self._port, context=self._context, timeout=PATIENCE
            )
        self._connection = connection
        return connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextlib.contextmanager
def under_load(platform: Platform) -> Iterator[Platform]:
    try:
        yield platform
    finally:
        platform.stop()
        print(f"{platform.outcomes.total()} requests: {dict(platform.outcomes)}")
    # Neither refused nor lost.
    assert set(platform.outcomes) == {"ok"}
