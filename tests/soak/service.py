"""The service under test: two agents behind gunicorn with four workers, and what can go wrong.

The agent ``bank`` keeps its claims in Valkey, behind Sentinels; ``shop`` in an SQLite file on a
disk of 128 MB. Each has a tool that must run at most once per call and appends the number of the
call to a file. The clock of the processes is that of the system plus what a file says.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import Valkey
from support.valkeys import Sentinels, client, replicate
from support.waiting import PATIENCE, wait_until

WORKERS = 4
USER, PASSWORD = "platform", "a-password-of-the-platform"
SECRET = "a secret for the tokens of tools"
AGENTS = ("bank", "shop")

PROGRAM = """
import dataclasses, os, time
from swaig_wsgi import AgentApp, AgentServer, Settings

settings = Settings.from_env()
disk = dataclasses.replace(settings, storage_url=os.environ["DISK_URL"])
app = AgentServer()


def agent(name, settings):
    made = AgentApp(name, route="/" + name, settings=settings)
    record = os.open(os.environ["RECORDS"] + name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    @made.tool(secure=True, once=600)
    def pay(number: int) -> str:
        '''Pay a bill.

        Args:
            number: Number of the bill
        '''
        time.sleep(0.005)
        os.write(record, b"%d\\n" % number)
        return f"Paid {number}."

    app.register(made)


agent("bank", settings)
agent("shop", disk)
"""

#: Read at the start of each Python process. Only wall-clock time is affected, as by NTP.
CLOCK = """
import os, time
real, path = time.time, os.environ.get("CLOCK_OFFSET")
if path:
    def shifted():
        with open(path) as file:
            return real() + float(file.read() or 0)
    time.time = shifted
"""

#: Start the service with a listening socket, as systemd does.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class Sample:
    """What the system says of a process of the service at one time."""

    seconds: float
    pid: int
    #: Without those of connections that their clients have open, by the kind of what is open.
    descriptors: Counter[str]
    #: Resident memory, in MiB.
    memory: float


class Followed:
    """What the log of a server says, read piece by piece: it grows by megabytes a minute."""

    def __init__(self, server: Any) -> None:
        self._server, self._start, self._lock = server, 0, threading.Lock()
        self._booted: list[int] = []
        self._reloads = 0

    def _follow(self) -> None:
        with self._lock:
            piece = self._server.read(self._start)
            piece = piece[: piece.rfind(b"\n") + 1]
            self._start += len(piece)
            self._booted += map(int, re.findall(rb"Booting worker with pid: (\d+)", piece))
            self._reloads += piece.count(b"reloaded; ")

    def workers(self) -> list[int]:
        """Return the workers that are alive, in the order of their start."""
        self._follow()
        master = self._server.process.pid
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return [pid for pid in self._booted if str(pid) in children]

    def reloads(self) -> int:
        self._follow()
        return self._reloads

    def errors(self, number: int) -> list[str]:
        """Return the latest records of errors, of those that are not old."""
        text = self._server.read(max(0, self._start - 100_000)).decode(errors="replace")
        return [line for line in text.split("\n") if "ERROR" in line][-number:]


class Service:
    """Everything that is running, in a directory of its own."""

    def __init__(self, start: Any, directory: Path, disk: Path | None) -> None:
        self._start, self.directory, self.disk = start, directory, disk
        (directory / "program.py").write_text(PROGRAM)
        (directory / "sitecustomize.py").write_text(CLOCK)
        self._offset = directory / "offset"
        self._offset.write_text("0")
        self.servers: list[Any] = []
        self.logs: list[Followed] = []
        self.samples: list[Sample] = []
        self._valkeys = [Valkey(directory / f"valkey{number}") for number in range(2)]
        replicate(self._valkeys[1].port, self._valkeys[0].port)
        self._sentinels = Sentinels(directory, self._valkeys[0].port)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port: int = self.listener.getsockname()[1]
        self._start_server()

    @property
    def server(self) -> Any:
        return self.servers[-1]

    def _start_server(self) -> None:
        store = self.disk or self.directory
        # Slow clients, which keep a thread for 30 seconds, should not delay each reload as long.
        options = [f"-w{WORKERS}", "--graceful-timeout=10", "program:app"]
        gunicorn = [sys.executable, "-m", "gunicorn", "-c", "python:swaig_wsgi.gunicorn", *options]
        environment = {
            "SWML_BASIC_AUTH_USER": USER,
            "SWML_BASIC_AUTH_PASSWORD": PASSWORD,
            "SIGNALWIRE_SWAIG_SECRET": SECRET,
            "SWML_STORAGE_URL": f"redis+sentinel://{self._sentinels.hosts}/mymaster?db=0",
            "SWML_ALLOWED_HOSTS": "agent.example.com",
            "SWML_RATE_LIMIT": "1000000",
            "SWML_AUTH_FAILURE_LIMIT": "20",
            "SWML_DRAIN_SECONDS": "1",
            "DISK_URL": f"sqlite:///{store}/private/store.db",
            "RECORDS": f"{self.directory}/record-",
            "CLOCK_OFFSET": str(self._offset),
            "PYTHONPATH": str(self.directory),
        }
        os.makedirs(store / "private", mode=0o700, exist_ok=True)
        fd = self.listener.fileno()
        self.servers.append(
            self._start(
                [sys.executable, "-c", ACTIVATE, str(fd), *gunicorn],
                environment,
                listening=r"Listening at: http://127\.0\.0\.1:(\d+)",
                pass_fds=(fd,),
            )
        )
        self.logs.append(Followed(self.server))
        wait_until(self.complete)

    def complete(self) -> bool:
        """Return whether all workers of the newest server run."""
        with contextlib.suppress(OSError):
            return len(self.logs[-1].workers()) == WORKERS
        return False

    def processes(self) -> list[int]:
        """Return the master of the newest server and its workers."""
        with contextlib.suppress(OSError):
            return [self.server.process.pid, *self.logs[-1].workers()]
        return []

    def sample(self, seconds: float) -> None:
        """Record what each process uses.

        How many connections a process has is the choice of its clients: now and then one worker
        accepts all of those that are slow. So only those count that the client has closed.
        """
        found = {pid: (_open_files(pid), _memory(pid)) for pid in self.processes()}
        # After the files: of what was closed meanwhile, no connection is found here.
        clients = _connections(self.port)
        for pid, (files, memory) in found.items():
            kinds = Counter(name.partition(":")[0] for name in files if name not in clients)
            if files:  # otherwise it has ended
                self.samples.append(Sample(seconds, pid, kinds, memory))

    def waits(self) -> dict[int, float]:
        """Return the seconds that each thread, also of the stores, has waited for a processor.

        It is empty where the system does not count them.
        """
        pids = [each.process.pid for each in (*self._valkeys, self.server) if each.process]
        pids += [each.pid for each in self._sentinels.processes]
        for log in self.logs:
            with contextlib.suppress(OSError):  # the server has ended
                pids += log.workers()
        found = {}
        for path in (
            path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat")
        ):
            with contextlib.suppress(OSError):
                found[int(path.parent.name)] = int(path.read_text().split()[1]) / 1e9
        return found

    @property
    def log(self) -> str:
        return "".join(server.log for server in self.servers)

    def stop(self) -> int:
        """Tell the server to stop, and return its exit status."""
        self.server.process.terminate()
        return int(self.server.process.wait(PATIENCE))

    def close(self) -> None:
        self._sentinels.stop()
        for each in self._valkeys:
            each.stop()
        self.listener.close()

    # Faults. Each returns when it is over, but for what the service still has to notice.

    def kill_a_worker(self) -> None:
        os.kill(self.logs[-1].workers()[0], signal.SIGKILL)
        time.sleep(0.5)
        wait_until(self.complete)

    def fail_over(self) -> None:
        port = self._sentinels.primary()
        (old,) = (each for each in self._valkeys if each.port == port)
        old.stop()
        wait_until(lambda: self._sentinels.primary() != port)
        new = self._sentinels.primary()
        wait_until(lambda: _replication(new)["role"] == "master")
        old.start()
        wait_until(lambda: _replication(port).get("master_link_status") == "up")

    def fill_the_disk(self) -> None:
        assert self.disk is not None
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file:
            for size in (2**20, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"x" * size)
        time.sleep(4)
        filler.unlink()

    def set_the_clock(self) -> None:
        for offset in ("7200", "-7200", "0"):
            # Replaced, so that no process reads it half written.
            (self.directory / "new").write_text(offset)
            (self.directory / "new").replace(self._offset)
            time.sleep(1.5)

    def reload(self) -> None:
        log = self.logs[-1]
        before = log.reloads()
        self.server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log.reloads() > before)

    def restart(self) -> None:
        """Start a new server on the same socket, and then stop the old one."""
        old = self.server
        self._start_server()
        old.process.terminate()
        assert old.process.wait(PATIENCE) == 0, "a server did not stop in time"

    def faults(self) -> dict[str, Callable[[], None]]:
        """Return the faults by their names, those that replace the workers last."""
        found = {
            "worker killed": self.kill_a_worker,
            "store failover": self.fail_over,
            "disk full": self.fill_the_disk,
            "clock steps": self.set_the_clock,
            "reload (HUP)": self.reload,
            "rolling restart": self.restart,
        }
        if self.disk is None:
            del found["disk full"]
        return found


def _open_files(pid: int) -> list[str]:
    """Return what the descriptors of a process refer to, such as ``socket:[4711]``."""
    names = []
    with contextlib.suppress(OSError):
        for each in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                names.append(os.readlink(each.path))
    return names


def _memory(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    with contextlib.suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return 0.0


def _connections(port: int) -> set[str]:
    """Return the sockets of connections to a local port that neither end has closed."""
    found = set()
    with open("/proc/net/tcp", "rb") as file:
        for line in file:
            if b" 01 " in line:  # most lines are of connections that have ended
                _, local, _, state, *_, inode = line.split()[:10]
                if state == b"01" and local.endswith(b":%04X" % port):
                    found.add(f"socket:[{inode.decode()}]")
    return found


def _replication(port: int) -> dict[str, str]:
    """Return what a server says of its role. A Sentinel ends connections when it changes that."""
    with contextlib.suppress(Exception), client(port) as connected:
        return dict(connected.info("replication"))
    return {"role": "unknown"}


@dataclass
class Windows:
    """The times of faults. What a request may meet depends on those that it overlaps."""

    past: list[tuple[str, float, float]] = field(default_factory=list)
    now: tuple[str, float] | None = None
    #: Times in which a thread had to wait for a processor: from, to.
    starved: list[tuple[float, float]] = field(default_factory=list)

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[None]:
        self.now = (name, time.monotonic())
        yield
        self.past.append((*self.now, time.monotonic()))
        self.now = None

    def overlapping(self, start: float, end: float) -> set[str]:
        # The new window is appended to the past before it ceases to be the present.
        now = {self.now[0]} if self.now is not None and self.now[1] <= end else set()
        return now | {name for name, begun, over in self.past if begun <= end and start <= over}


@contextlib.contextmanager
def small_disk(directory: Path) -> Iterator[Path | None]:
    """Mount a file system of 128 MB, or yield None where that is not permitted."""
    disk = directory / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128m,mode=0700", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield disk
    finally:
        umount = ["umount", "--lazy", str(disk)]
        subprocess.run(umount, check=True)


def in_own_mounts() -> None:
    """Run this program again where it may mount file systems that other processes do not see."""
    if os.environ.get("OWN_MOUNTS"):
        return
    users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    unshare = ["unshare", *users, "--mount"]
    with contextlib.suppress(OSError):
        if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0:
            os.environ["OWN_MOUNTS"] = "yes"
            os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])  # noqa: S606 - this program
