"""A real nginx with the configuration of examples/deploy_nginx."""

from __future__ import annotations

import getpass
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from support.ports import free_port
from support.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "deploy_nginx"
CERTS = ROOT / "tests" / "certs"
# .ci/run installs nginx, or reports that it cannot.
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def temporary_paths(directory: Path) -> str:
    """Return the directives for the temporary files of an nginx that is not the system's."""
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{name}_temp_path {directory}/{name};" for name in names)


class Nginx:
    """A running nginx with the configuration of the example."""

    def __init__(self, directory: Path, upstream: str, error_level: str = "emerg") -> None:
        assert NGINX is not None
        self.directory = directory
        self.https, self.http = free_port(), free_port()
        text = (EXAMPLE / "nginx.conf").read_text()
        for original, replacement in (
            ("user www-data;", f"user {getpass.getuser()}; daemon off;"),
            ("worker_processes auto", "worker_processes 1"),
            ("/run/nginx.pid", f"{directory}/nginx.pid"),
            ("/var/log/nginx/", f"{directory}/"),
            ("unix:/run/swaig-agent.sock", f"unix:{upstream}"),
            ("listen 80;", f"listen 127.0.0.1:{self.http};"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{self.https} ssl;"),
            ("/etc/ssl/agent/", f"{CERTS}/"),
            ("server_tokens off;", f"server_tokens off; {temporary_paths(directory)}"),
            ("error.log emerg;", f"error.log {error_level};"),
        ):
            assert original in text
            text = text.replace(original, replacement)
        (directory / "nginx.conf").write_text(text)
        arguments = [NGINX, "-e", "stderr", "-p", str(directory), "-c", "nginx.conf"]
        checked = subprocess.run([*arguments, "-t"], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        with (directory / "stderr.log").open("w") as errors:
            self.process = subprocess.Popen(arguments, stderr=errors, start_new_session=True)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.https), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)

    def stop(self) -> str:
        """Stop, and return what was logged."""
        self.process.terminate()
        try:
            self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        return "".join(path.read_text() for path in sorted(self.directory.glob("*.log")))

    def request(
        self, method: str, path: str, body: Any = None, *, over: str = "https", **headers: str
    ) -> Any:
        if over == "https":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection: Any = http.client.HTTPSConnection(
                "127.0.0.1", self.https, context=context, timeout=PATIENCE
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=PATIENCE)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        fields = {"Host": "agent.example.com", "Content-Type": "application/json", **fields}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        with closing(connection):
            connection.request(method, path, content, fields)
            response = connection.getresponse()
            response.content = response.read()
        return response

    def send(self, port: int, data: bytes) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            client.sendall(data)
            while client.recv(65_536):
                pass


@contextmanager
def serving(directory: Path, server: str, http: str = "") -> Iterator[int]:
    """Run an nginx with these directives in its blocks ``server`` and ``http``; yield its port."""
    assert NGINX is not None
    port = free_port()
    (directory / "nginx.conf").write_text(
        f"user {getpass.getuser()}; daemon off; worker_processes 1; pid {directory}/nginx.pid;\n"
        f"events {{}} http {{ access_log off; {temporary_paths(directory)}\n{http}\n"
        f"server {{ listen 127.0.0.1:{port};\n{server}\n}} }}"
    )
    arguments = [NGINX, "-e", "stderr", "-p", str(directory), "-c", "nginx.conf"]
    process = subprocess.Popen(arguments, start_new_session=True)
    try:
        wait_until(lambda: _is_open(port))
        yield port
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
