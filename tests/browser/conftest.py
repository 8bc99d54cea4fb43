"""A real browser, driven over its DevTools pipe, and the pages it opens."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

COMMANDS = ("chromium", "chromium-browser", "google-chrome")
NO_BROWSER = (
    "no Chromium here: install it with"
    " 'apt-get update && apt-get install -y --no-install-recommends chromium'"
)
FLAGS = [
    "--headless",
    "--no-sandbox",  # does not work as root; the browser opens nothing but these tests' own pages
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--host-resolver-rules=MAP localhost 127.0.0.1, MAP *.localhost 127.0.0.1,"
    " MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
]
#: Chromium takes commands on descriptor 3 and responses on 4.
LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4);"
    "os.execv(sys.argv[3], sys.argv[3:])"
)
SECONDS = 60
#: Reports what a script learns of a response, which is nothing where the browser blocks it.
FETCH = """
async (url, options) => {
    let response;
    try {
        response = await fetch(url, options);
    } catch {
        return null;
    }
    return {
        type: response.type,
        status: response.status,
        headers: Object.fromEntries(response.headers),
        text: await response.text(),
    };
}
"""

Event = dict[str, Any]


class DevTools:
    """The DevTools protocol: JSON messages, each ended by a NUL."""

    def __init__(self, process: subprocess.Popen[bytes], commands: int, responses: int) -> None:
        self.process = process
        self.commands = commands
        self.responses = responses
        self.buffer = b""
        self.sent = 0
        self.events: list[Event] = []

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self.sent += 1
        message: Event = {"id": self.sent, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.commands, data) :]
        deadline = time.monotonic() + SECONDS
        while True:
            response = self._receive(deadline, method)
            if response.get("id") == self.sent:
                assert "error" not in response, f"{method}: {response['error']}"
                result: dict[str, Any] = response["result"]
                return result

    def wait(
        self, session: str, method: str, is_it: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Return the parameters of the first event that `is_it`, seen before or to come."""
        deadline = time.monotonic() + SECONDS
        seen = 0
        while True:
            for event in self.events[seen:]:
                params: dict[str, Any] = event["params"]
                ours = (event.get("sessionId"), event["method"]) == (session, method)
                if ours and is_it(params):
                    return params
            seen = len(self.events)
            self._receive(deadline, method)

    def _receive(self, deadline: float, what: str) -> Event:
        while b"\0" not in self.buffer:
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self.responses], [], [], left)
            assert ready, f"{what}: nothing from the browser in {SECONDS} seconds"
            data = os.read(self.responses, 65536)
            assert data, f"{what}: the browser has gone, status {self.process.poll()}"
            self.buffer += data
        raw, _, self.buffer = self.buffer.partition(b"\0")
        message: Event = json.loads(raw)
        if "id" not in message:
            self.events.append(message)
        return message


@dataclass(frozen=True)
class Read:
    """What a script learned of a response: nothing where it is `blocked`, and only we know why."""

    type: str = "error"
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    blocked: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Page:
    """A tab."""

    def __init__(self, tools: DevTools, context: str) -> None:
        self.tools = tools
        target = tools.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = tools.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.tools.call(method, self.session, **params)

    def wait(self, method: str, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        return self.tools.wait(self.session, method, is_it)

    def open(self, url: str) -> Page:
        """Go to `url`, and wait until everything on it is loaded."""
        self.tools.events.clear()
        navigation = self.call("Page.navigate", url=url)
        assert "errorText" not in navigation, navigation
        self.wait("Page.loadEventFired", lambda _: True)
        return self

    def run(self, function: str, *args: Any) -> Any:
        """Call a JavaScript function on the page and return what it, or its promise, gives."""
        given = ", ".join(map(json.dumps, args))
        result = self.call(
            "Runtime.evaluate",
            expression=f"({function})({given})",
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def fetch(self, url: str, **options: Any) -> Read:
        """Fetch `url` by a script of the page."""
        self.tools.events.clear()
        response = self.run(FETCH, url, options)
        if response is not None:
            return Read(**response)
        failed = self.wait("Network.loadingFailed", lambda _: True)
        why = failed.get("corsErrorStatus", {}).get("corsError", failed["errorText"])
        return Read(blocked=why)

    def leave(self, function: str, *args: Any) -> Read:
        """Run what navigates away, such as a form that is sent, and return where that led."""
        self.tools.events.clear()
        self.run(function, *args)
        came = self.wait("Network.responseReceived", lambda event: event["type"] == "Document")
        self.wait("Page.loadEventFired", lambda _: True)
        text = self.run("() => document.body.innerText")
        response = came["response"]
        return Read("basic", response["status"], response["headers"], text)

    def logged(self, text: str) -> str:
        """Wait for an entry of the browser's own log that holds `text`, and return it."""
        event = self.wait("Log.entryAdded", lambda event: text in event["entry"]["text"])
        entry: str = event["entry"]["text"]
        return entry


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevTools]:
    """Run one browser for all tests; it is stopped however they end."""
    command = next(filter(None, map(shutil.which, COMMANDS)), None)
    if command is None:
        pytest.skip(NO_BROWSER)
    directory = tmp_path_factory.mktemp("chromium")
    pipes = []
    for _ in range(2):
        ends = os.pipe()
        pipes.append([fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends])
        for end in ends:
            os.close(end)
    (theirs_in, ours_out), (ours_in, theirs_out) = pipes
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", LAUNCH, str(theirs_in), str(theirs_out)),
                *(command, *FLAGS, f"--user-data-dir={directory / 'profile'}", "about:blank"),
            ],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        os.close(theirs_in)
        os.close(theirs_out)
        yield DevTools(process, ours_out, ours_in)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(ours_out)
        os.close(ours_in)


@pytest.fixture
def context(chromium: DevTools) -> Iterator[str]:
    """Give each test a browser without cookies, passwords and cache of another."""
    context = chromium.call("Target.createBrowserContext", disposeOnDetach=True)
    identity: str = context["browserContextId"]
    yield identity
    chromium.call("Target.disposeBrowserContext", browserContextId=identity)


@pytest.fixture
def page(chromium: DevTools, context: str) -> Page:
    return Page(chromium, context)


class EmptyPage(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"<!doctype html><title>page</title><body>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@dataclass(frozen=True)
class Origins:
    """Where pages come from. All are one site to a browser, which sends cookies from each."""

    app: str
    other_app: str
    evil: str

    @property
    def evil_site(self) -> str:
        """The same as `evil`, as another site, whose requests carry no cookies with Lax."""
        return self.evil.replace("localhost", "127.0.0.1")


@pytest.fixture(scope="session")
def origins() -> Iterator[Origins]:
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage) for _ in range(3)]
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in servers]
    for server, thread in zip(servers, threads):
        server.daemon_threads = True
        thread.start()
    yield Origins(*(f"http://localhost:{server.server_port}" for server in servers))
    for server, thread in zip(servers, threads):
        server.shutdown()
        thread.join()
        server.server_close()
