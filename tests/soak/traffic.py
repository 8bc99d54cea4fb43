"""Clients of the service, good, hostile and slow, and what each of their requests may result in."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from service import AGENTS, PASSWORD, USER, Service, Windows
from support.wsgi import basic

from swaig_wsgi.agent.at_most_once import IN_PROGRESS, UNCLAIMED, UNKNOWN
from swaig_wsgi.agent.tool_calls import REFUSED

#: Seconds after which a request has failed, whatever happens at the time.
TIMEOUT = 30
HOST = "agent.example.com"
CREDENTIALS = basic(USER, PASSWORD)
_TEXTS = {
    UNKNOWN: "unknown",
    UNCLAIMED: "unclaimed",
    IN_PROGRESS: "in progress",
    REFUSED: "refused",
}
#: The number of all calls of attackers.
STOLEN = 10**9

#: What requests of good clients may result in besides "ok" while a fault lasts: by the kind of
#: request, or for all.
EXCUSED: dict[str, dict[str, set[str]]] = {
    # Connections of the worker end, and a repeat must not run what may have run.
    "worker killed": {"": {"lost"}, "bank": {"unknown"}, "shop": {"unknown"}},
    # The agent whose claims are there runs nothing that it could not claim.
    "store failover": {"bank": {"unknown", "unclaimed"}, "ready": {"503"}},
    "disk full": {"shop": {"unknown", "unclaimed"}, "ready": {"503"}},
    # Tokens expire.
    "clock steps": {"bank": {"refused"}, "shop": {"refused"}},
    "reload (HUP)": {},
    # Load balancers are told to use the other server.
    "rolling restart": {"ready": {"503"}},
}
#: What they may result in while a thread of the service or of its stores waits for a processor for
#: as long as the library waits for a store, which then is too late (docs/limits.md).
SCARCE = "processors scarce"
EXCUSED_IF_SCARCE = {
    "bank": {"unknown", "unclaimed"},
    "shop": {"unknown", "unclaimed"},
    "ready": {"503"},
}
#: The part of those requests that may meet it.
SCARCE_AT_MOST = 1 / 1000


@dataclass
class Unexpected:
    """A request with another result than the expected one."""

    what: str
    kind: str
    outcome: str
    start: float
    end: float
    details: list[str]


@dataclass
class Tally:
    """What came of all requests."""

    windows: Windows
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    excused: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    #: When each failure happened first, and what the log said then.
    details: dict[str, list[str]] = field(default_factory=dict)
    errors: Callable[[], list[str]] = list
    #: Seconds that good requests outside of faults took.
    times: list[float] = field(default_factory=list)
    unexpected: list[Unexpected] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)
    _lock: Any = field(default_factory=threading.Lock)

    def add(self, kind: str, outcome: str, allowed: set[str], start: float) -> None:
        """Count a request of a `kind`; `allowed` is what it may always result in."""
        end = time.monotonic()
        # A fault may have begun before this thread could look.
        faults = self.windows.overlapping(start, end)
        excuse = next((name for name in sorted(faults) if _excuses(name, kind, outcome)), "")
        with self._lock:
            self.outcomes[kind, outcome] += 1
            if outcome in allowed:
                if not faults and not kind.startswith("hostile"):
                    self.times.append(end - start)
            elif excuse:
                self.excused[excuse, kind, outcome] += 1
            else:
                what = f"{kind}: {outcome}, during {', '.join(faults) or 'no fault'}"
                details = [f"after {start - self._started:.1f} s, for {end - start:.2f} s"]
                if len(self.unexpected) < 100:
                    details += self.errors()
                self.unexpected.append(Unexpected(what, kind, outcome, start, end, details))

    def settle(self) -> None:
        """Decide which unexpected results are failures, when all is known about their time."""
        for each in self.unexpected:
            if each.outcome in EXCUSED_IF_SCARCE.get(each.kind, ()) and any(
                begun <= each.end and each.start <= over for begun, over in self.windows.starved
            ):
                self.excused[SCARCE, each.kind, each.outcome] += 1
            else:
                self.fail(each.what)
                self.details.setdefault(each.what, []).extend(each.details)
        met = sum(number for (fault, *_), number in self.excused.items() if fault == SCARCE)
        asked = sum(
            number for (kind, _), number in self.outcomes.items() if kind in EXCUSED_IF_SCARCE
        )
        if met > asked * SCARCE_AT_MOST:
            self.fail(f"{met} of {asked} requests met scarce processors")

    def fail(self, what: str) -> None:
        with self._lock:
            self.failures[what] += 1


def _excuses(fault: str, kind: str, outcome: str) -> bool:
    excused = EXCUSED[fault]
    return outcome in excused.get("", ()) or outcome in excused.get(kind, ())


@dataclass
class Traffic:
    """The threads of all clients."""

    service: Service
    tally: Tally
    #: Seconds between the requests of a client.
    pause: float
    stopping: threading.Event = field(default_factory=threading.Event)
    #: The numbers of calls whose results say that they ran, for each agent.
    paid: dict[str, set[int]] = field(default_factory=lambda: {name: set() for name in AGENTS})
    #: When each call was made first.
    made: dict[int, float] = field(default_factory=dict)
    slow_ended: int = 0

    def __post_init__(self) -> None:
        self._numbers = itertools.count()
        self._threads = [
            threading.Thread(target=self._repeat, args=(each,))
            for each in [*[self._good] * 6, *[self._hostile] * 3, self._poll, self._slow]
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, turn: Callable[[random.Random], None]) -> None:
        # Clients are other machines: they must not take the processors from what is tested. On
        # Linux each thread has a priority of its own.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        chooser = random.Random(threading.get_ident())  # noqa: S311 - of requests
        while not self.stopping.is_set():
            try:
                turn(chooser)
            except Exception as error:
                self.tally.fail(f"the client: {error!r}")

    # Good clients

    def _good(self, chooser: random.Random) -> None:
        """Fetch a document and pay, some calls twice; repeat what was lost."""
        agent = chooser.choice(AGENTS)
        status, body = self._ask("document", "POST", f"/{agent}", {"call_id": "call-1"})
        if status != "200":
            return
        (tool,) = body["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
        url = urlsplit(tool["web_hook_url"])
        number = next(self._numbers)
        self.made[number] = time.monotonic()
        allowed = {"ok"}
        for _ in range(chooser.choice((1, 1, 2))):
            for _ in range(3):
                outcome = self._pay(agent, f"{url.path}?{url.query}", number, allowed)
                if outcome in ("lost", "unknown"):
                    # Its worker has been killed, or could not store the result: that remains so.
                    allowed = {"ok", "unknown"}
                if outcome != "lost":
                    break
        self.stopping.wait(self.pause)

    def _pay(self, agent: str, target: str, number: int, allowed: set[str]) -> str:
        call = {
            "function": "pay",
            "argument": {"parsed": [{"number": number}]},
            "call_id": "call-1",
        }
        start = time.monotonic()
        status, body = self._exchange("POST", target, call)
        outcome = status
        if status == "200":
            text = body.get("response")
            outcome = "ok" if text == f"Paid {number}." else _TEXTS.get(text, f"wrong text {text}")
        if outcome == "ok":
            self.paid[agent].add(number)
        self.tally.add(agent, outcome, allowed, start)
        return outcome

    def _poll(self, chooser: random.Random) -> None:
        for path in ("/health", "/bank/ready", "/shop/ready"):
            kind = path.rpartition("/")[2]
            self._ask(kind, "GET", path)
        self.stopping.wait(0.2)

    def _ask(self, kind: str, method: str, target: str, value: Any = None) -> tuple[str, Any]:
        start = time.monotonic()
        status, body = self._exchange(method, target, value)
        self.tally.add(kind, status, {"200"}, start)
        return status, body

    def _exchange(self, method: str, target: str, value: Any) -> tuple[str, Any]:
        headers = {"Host": HOST, "Content-Type": "application/json", "Authorization": CREDENTIALS}
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=TIMEOUT)
        try:
            connection.request(method, target, value and json.dumps(value), headers)
            response = connection.getresponse()
            return str(response.status), json.loads(response.read())
        except TimeoutError:
            return f"nothing for {TIMEOUT} s", None
        except (OSError, http.client.HTTPException):
            return "lost", None
        finally:
            connection.close()

    # Hostile clients

    def _hostile(self, chooser: random.Random) -> None:
        name, request, allowed = chooser.choice(ATTACKS)
        start = time.monotonic()
        # Who guesses passwords is soon refused altogether: from addresses that only do that.
        source = chooser.randrange(10, 15) if allowed == _REFUSED else chooser.randrange(20, 60)
        status = self._raw(request, f"127.0.0.{source}")
        # A client that still sends may lose the response with the connection.
        self.tally.add(f"hostile: {name}", status, {*allowed, "lost"}, start)
        self.stopping.wait(self.pause)

    def _raw(self, request: bytes, source: str) -> str:
        raw = b""
        try:
            with socket.create_connection(
                ("127.0.0.1", self.service.port), TIMEOUT, source_address=(source, 0)
            ) as connection:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(request)
                while piece := connection.recv(4096):
                    raw += piece
        except TimeoutError:
            return f"nothing for {TIMEOUT} s"
        except OSError:
            pass
        head, _, body = raw.partition(b"\r\n\r\n")
        status = head.split(b" ")[1].decode() if head.count(b" ") else "lost"
        if status == "200":
            # What the AI is told of an invalid token.
            return _TEXTS.get(json.loads(body).get("response"), "200")
        return status

    # Slow clients

    def _slow(self, chooser: random.Random) -> None:
        """Open connections that send a byte a second until the server ends them."""
        served: dict[socket.socket, str] = {}
        for number, name in zip(range(SLOW_CLIENTS), itertools.cycle(SLOW)):
            with contextlib.suppress(OSError):
                connection = socket.create_connection(
                    ("127.0.0.1", self.service.port),
                    5,
                    source_address=(f"127.0.0.{60 + number}", 0),
                )
                connection.sendall(SLOW[name])
                served[connection] = name
        opened = [*served]
        end = time.monotonic() + SLOW_SERVED
        while served and time.monotonic() < end and not self.stopping.wait(1):
            for connection in [*served]:
                try:
                    connection.send(b"a")
                    connection.setblocking(False)
                    if not connection.recv(65_536):
                        del served[connection]
                except BlockingIOError:
                    pass
                except OSError:
                    del served[connection]
        if not self.stopping.is_set():
            for name in served.values():
                self.tally.fail(f"a slow client was served for {SLOW_SERVED} s: {name}")
        self.slow_ended += len(opened) - len(served)
        for connection in opened:
            connection.close()


def _request(
    line: str, body: bytes = b"", *fields: str, credentials: str | None = CREDENTIALS
) -> bytes:
    lines = [f"{line} HTTP/1.1", f"Host: {HOST}", "Connection: close", *fields]
    if credentials is not None:
        lines.append(f"Authorization: {credentials}")
    if body and not any(each.startswith(("Content-Length", "Transfer")) for each in fields):
        lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
    return "\r\n".join([*lines, "", ""]).encode() + body


_CALL = json.dumps(
    {"function": "pay", "argument": {"parsed": [{"number": STOLEN}]}, "call_id": "call-1"}
).encode()
_REFUSED = {"401", "429"}
_CHUNK = b"10000\r\n" + b"a" * 65_536 + b"\r\n"

#: Name, request, and what it may result in.
ATTACKS: list[tuple[str, bytes, set[str]]] = [
    ("no credentials", _request("POST /bank", b"{}", credentials=None), _REFUSED),
    ("wrong password", _request("GET /bank", credentials=basic(USER, "guess")), _REFUSED),
    ("wrong scheme", _request("GET /bank", credentials="Negotiate YQ=="), _REFUSED),
    (
        "spoofed address",
        _request("GET /bank", b"", "X-Forwarded-For: 127.0.0.1", credentials=basic(USER, "guess")),
        _REFUSED,
    ),
    ("no token", _request("POST /bank/swaig", _CALL), {"refused"}),
    ("forged token", _request(f"POST /bank/swaig?__token={'QUJD' * 30}", _CALL), {"refused"}),
    ("foreign host", _request("GET /bank").replace(HOST.encode(), b"evil.example"), {"403"}),
    ("large body", _request("POST /bank", b"", "Content-Length: 99000000"), {"413"}),
    (
        "large chunked body",
        _request("POST /bank", b"", "Transfer-Encoding: chunked", "Content-Type: application/json")
        + _CHUNK * 40,
        {"413"},
    ),
    ("broken JSON", _request("POST /bank", b'{"call_id": '), {"400"}),
    ("deep JSON", _request("POST /bank", b"[" * 50_000), {"400"}),
    ("repeated keys", _request("POST /bank", b'{"call_id": "a", "call_id": "b"}'), {"400"}),
    ("wrong method", _request("DELETE /bank"), {"405"}),
    ("traversal", _request("GET /bank/../../etc/passwd"), {"400", "404"}),
    ("encoded traversal", _request("GET /bank/%2e%2e/%2e%2e/etc/passwd"), {"400", "404"}),
    (
        "two lengths",
        _request("POST /bank", b"{}", "Content-Length: 2", "Transfer-Encoding: chunked"),
        {"400"},
    ),
    (
        "many fields",
        _request("GET /bank", b"", *(f"X-{each}: a" for each in range(200))),
        {"400", "431"},
    ),
    ("long line", _request(f"GET /bank?{'a' * 20_000}"), {"400", "414"}),
    ("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {"400"}),
    ("split line", _request("GET /bank\r\nX: y"), {"400"}),
]

#: How slow clients begin. Bodies of clients with valid credentials are read by threads, and as many
#: of them as a worker has threads stop it (docs/workers.md). One worker may accept all connections,
#: so that kind must be fewer.
SLOW = {
    "nothing": b"",
    "request line": b"GET /bank",
    "field": b"GET /bank HTTP/1.1\r\nHost: agent.example.com\r\nX-A: ",
    "body": _request("POST /bank", b"", "Content-Length: 9000", "Content-Type: application/json"),
    "body without credentials": _request(
        "POST /bank", b"", "Content-Length: 9000", credentials=None
    ),
}
SLOW_CLIENTS = 24
#: Seconds after which the server must have ended the connection of a slow client.
SLOW_SERVED = 40
