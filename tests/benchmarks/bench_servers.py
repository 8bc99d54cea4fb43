"""Compare servers under load: the agent, plain Werkzeug, Flask with extensions, signalwire-sdk.

``python tests/benchmarks/bench_servers.py``; needs wrk, and for the last two the packages of
``requirements.txt`` in this directory. Requests a second are the most that one worker serves to
four connections. The servers take turns, and each ratio is the median of the rounds' ratios.
Latencies are those at a fixed load of 200 requests a second, from the moment at which each request
was due: one that had to wait for its predecessor counts from then.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

if __package__ != "benchmarks":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from benchmarks import scenarios, served
from support.ports import free_port
from support.wsgi import basic

HERE = Path(__file__).parent
ROUNDS = 5
SECONDS = 3
#: The fixed load: requests a second, connections, seconds.
RATE, CONNECTIONS, DURATION = 200, 4, 5


class Server(NamedTuple):
    """A server to measure."""

    name: str
    application: str
    arguments: tuple[str, ...] = ()
    workers: int = 1


GUNICORN = (sys.executable, "-m", "gunicorn", "--log-level=error", "--no-control-socket")
MODULE = ("-c", "python:swaig_wsgi.gunicorn")
SERVERS = (
    Server("plain Werkzeug, sync", "plain"),
    Server("agent, sync", "agent"),
    Server("plain Werkzeug, gthread", "plain", ("--threads=4",)),
    Server("agent, our module", "agent", MODULE),
    Server("Flask with extensions, sync", "flask"),
    Server("signalwire-sdk, uvicorn", "sdk"),
)


class Load(NamedTuple):
    """What a server did under load."""

    rate: float
    #: Seconds of the processor for each request, all processes of the server together.
    cpu: float


def is_available(server: Server) -> bool:
    """Return whether the packages of an application are installed."""
    check = f"from benchmarks import served; served.{server.application}()"
    ran = subprocess.run([sys.executable, "-c", check], env=environment(), capture_output=True)
    return ran.returncode == 0


def environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SWML_", "SIGNALWIRE_", "GUNICORN_"))
    }
    path = os.pathsep.join([str(HERE.parent), str(HERE.parents[1])])
    return {**kept, "PYTHONPATH": path, "SIGNALWIRE_LOG_LEVEL": "error"}


@contextlib.contextmanager
def running(server: Server, **variables: str) -> Iterator[tuple[int, int]]:
    """Start `server`; yield its port and the id of its first process."""
    port = free_port()
    application = f"benchmarks.served:{server.application}"
    if server.application == "sdk":
        bound = ("--host=127.0.0.1", f"--port={port}", "--log-level=error", "--no-access-log")
        command = (sys.executable, "-m", "uvicorn", "--factory", application, *bound)
    else:
        options = (f"--bind=127.0.0.1:{port}", f"--workers={server.workers}", *server.arguments)
        command = (*GUNICORN, *options, f"{application}()")
    process = subprocess.Popen(command, env={**environment(), **variables})
    try:
        wait_until_ready(port, server.application)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def wait_until_ready(port: int, application: str) -> None:
    """Send the tool call until it is served."""
    url = f"http://127.0.0.1:{port}{served.target_for(application)}"
    headers = {
        "Authorization": basic(scenarios.USER, scenarios.PASSWORD),
        "Content-Type": "application/json",
        "Host": scenarios.HOST,
    }
    request = urllib.request.Request(url, scenarios.tool_call(), headers)
    for attempt in range(300):
        try:
            with urllib.request.urlopen(request) as response:  # noqa: S310 - the test's own server
                if b"Sent 12.5" not in response.read():
                    raise RuntimeError(f"{application} did not run the tool")
            return
        except OSError:
            if attempt == 299:
                raise
            time.sleep(0.1)


def descendants(pid: int) -> list[int]:
    """Return the process and all that it started."""
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, children.read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """Return the time of the processor that a process has taken, with all that it started."""
    total = 0
    for each in descendants(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def private_bytes(pid: int) -> int:
    """Return the unique set size of the largest process that `pid` started: a worker's."""
    sizes = []
    for each in descendants(pid)[1:] or [pid]:
        text = Path(f"/proc/{each}/smaps_rollup").read_text()
        sizes.append(sum(map(int, re.findall(r"Private_\w+: +(\d+) kB", text))))
    return 1024 * max(sizes)


def load(port: int, pid: int, script: Path) -> Load:
    """Load the server with wrk."""
    before = cpu_seconds(pid)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script)]
    ran = subprocess.run(
        [*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True
    )
    found = re.search(r"(\d+) requests in", ran.stdout)
    rate = re.search(r"Requests/sec: +([\d.]+)", ran.stdout)
    if found is None or rate is None or "refused" in ran.stdout or "Socket errors" in ran.stdout:
        raise RuntimeError(ran.stdout)
    return Load(float(rate[1]), (cpu_seconds(pid) - before) / int(found[1]))


def latencies(port: int, application: str) -> list[float]:
    """Return the milliseconds that requests take at a fixed load, sorted."""
    path = served.target_for(application)
    headers = {
        "Authorization": basic(scenarios.USER, scenarios.PASSWORD),
        "Content-Type": "application/json",
        "Host": scenarios.HOST,
    }
    body, taken = scenarios.tool_call(), []
    begin = time.monotonic() + 0.1

    def send(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for number in range(first, RATE * DURATION, CONNECTIONS):
            due = begin + number / RATE
            time.sleep(max(0.0, due - time.monotonic()))
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            response.read()
            if response.will_close:
                connection.close()
            taken.append(1000 * (time.monotonic() - due))

    threads = [threading.Thread(target=send, args=(each,)) for each in range(CONNECTIONS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return sorted(taken)


def scripts(directory: str, servers: list[Server]) -> dict[str, Path]:
    """Write the scripts of wrk, by application."""
    written = {}
    for name in {each.application for each in servers}:
        written[name] = Path(directory, f"{name}.lua")
        written[name].write_text(served.request_lua(name))
    return written


def measure() -> dict[str, dict[str, float]]:
    """Return the figures of each server, by name."""
    if shutil.which("wrk") is None:
        raise RuntimeError("wrk is not installed (Debian: apt-get install wrk)")
    servers = [each for each in SERVERS if is_available(each)]
    found: dict[str, dict[str, float]] = {}
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as directory:
        lua = scripts(directory, servers)
        up = {each: stack.enter_context(running(each)) for each in servers}
        rounds: dict[Server, list[Load]] = {each: [] for each in servers}
        for _ in range(ROUNDS):
            for each in servers:
                rounds[each].append(load(*up[each], lua[each.application]))
        for each in servers:
            kind = "gthread" if "gthread" in each.name or "module" in each.name else "sync"
            base = next(s for s in servers if s.application == "plain" and kind in s.name)
            pairs = list(zip(rounds[each], rounds[base]))
            taken = latencies(up[each][0], each.application)
            found[each.name] = {
                "requests/s": statistics.median(one.rate for one in rounds[each]),
                "rate ratio": statistics.median(one.rate / two.rate for one, two in pairs),
                "CPU ratio": statistics.median(one.cpu / two.cpu for one, two in pairs),
                "p50 ms": taken[len(taken) // 2],
                "p95 ms": taken[len(taken) * 95 // 100],
                "p99 ms": taken[len(taken) * 99 // 100],
                "USS MB": private_bytes(up[each][1]) / 1e6,
            }
    return found


def scaling() -> dict[str, dict[str, float]]:
    """Return the requests a second of four workers by those of one, with exact counts."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        store = f"sqlite:///{directory}/store.db"
        for application, arguments in (("plain", ("--threads=4",)), ("agent", MODULE)):
            rates = {}
            for workers in (1, 4):
                server = Server("", application, arguments, workers)
                lua = scripts(directory, [server])[application]
                variables = {"WEB_CONCURRENCY": str(workers), "BENCH_STORE": store}
                with running(server, **variables) as (port, pid):
                    rates[workers] = statistics.median(
                        load(port, pid, lua).rate for _ in range(ROUNDS)
                    )
            found[application] = {"4 workers / 1": rates[4] / rates[1]}
    found["agent"]["ratio to plain"] = (
        found["agent"]["4 workers / 1"] / found["plain"]["4 workers / 1"]
    )
    return found


def main() -> None:
    """Print the figures."""
    for name, figures in {**measure(), **scaling()}.items():
        print(f"{name:30}", ", ".join(f"{key} {value:.2f}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
