"""The servers that the end-to-end tests run behind, and how they differ."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.ports import free_port


@dataclass(frozen=True)
class ServerKind:
    """A WSGI server, how to start it, and what an application behind it has to know.

    docs/servers.md says the same in prose; the tests hold both to it.
    """

    name: str
    #: Arguments: ``module:app``, an address (a path for a Unix socket), a private directory.
    command: Callable[[str, str, Path], list[str]]
    listening: str
    ready: str = ""
    #: Seconds after which eight clients that stall their bodies no longer occupy all workers.
    stalled: float = 1
    #: A chunked body: ``streamed`` to the application, ``buffered`` until it is whole and then
    #: given a Content-Length, or ``refused`` by us (411), as the application cannot see its end.
    chunked: str = "streamed"
    #: Content-Length together with Transfer-Encoding: ``refused``, or ``chunked`` wins, and the
    #: connection is ``closed`` then, as RFC 9112 section 6.3 has it, or ``kept``.
    contradiction: str = "refused"
    #: Two Content-Lengths: ``refused``, or the ``last`` counts.
    lengths: str = "refused"
    #: ``X_Name`` beside ``X-Name``: ``dropped``, or ``joined`` with it.
    underscores: str = "dropped"
    #: Whether a response goes out before the whole body has come.
    early: bool = True
    #: Whether ``%2F`` in a path reaches the application.
    encoded_slash: bool = True
    #: REMOTE_ADDR on a Unix socket; None where the server has no such sockets.
    unix_peer: str | None = ""
    #: How it stops without waiting a second more.
    stop_by: signal.Signals = signal.SIGTERM
    #: What makes it serve with two processes; None where it has one only.
    two_processes: str | None = None
    #: What lets the forwarding headers of a proxy through to the application.
    forwarding: tuple[str, ...] = ()
    #: Fields by which it takes a request from loopback for https itself.
    scheme_fields: tuple[str, ...] = ()
    #: SCRIPT_NAME in a header from loopback: ``dropped``, or ``accepted`` and removed from the
    #: path; a target that does not begin with it is 500 then.
    script_name: str = "dropped"
    #: Targets that the server rewrites, and the paths that reach the application.
    rewrites: tuple[tuple[str, str], ...] = ()


def _gunicorn_kind(name: str, *options: str, **facts: Any) -> ServerKind:
    def command(app: str, address: str, scratch: Path) -> list[str]:
        bind = address if ":" in address else f"unix:{address}"
        return [sys.executable, "-m", "gunicorn", f"--bind={bind}", *options, app]

    listening = r"Listening at: (?:https?://127\.0\.0\.1:(\d+)|unix:)"
    facts.setdefault("two_processes", "--workers=2")
    facts["scheme_fields"] = ("X-Forwarded-Proto", "X-Forwarded-Ssl", "X-Forwarded-Protocol")
    facts["script_name"] = "accepted"
    return ServerKind(name, command, listening, "Booting worker", **facts)


def _waitress_command(app: str, address: str, scratch: Path) -> list[str]:
    bind = f"--listen={address}" if ":" in address else f"--unix-socket={address}"
    return [sys.executable, "-m", "waitress", bind, app]


def _werkzeug_command(app: str, address: str, scratch: Path) -> list[str]:
    host, _, port = address.rpartition(":")
    where = [f"--host={host}", f"--port={port}"] if host else [f"--host=unix://{port}", "--port=0"]
    return [sys.executable, "-m", "swaig_wsgi.cli", "serve", app, *where]


def _uwsgi_command(app: str, address: str, scratch: Path) -> list[str]:
    module, _, name = app.partition(":")
    return [
        str(Path(sys.executable).with_name("uwsgi")),
        f"--http-socket={address}",
        *("--master", "--need-app", "--die-on-term", "--threads=4"),
        *("--pythonpath=.", f"--module={module}", f"--callable={name}"),
        # By default it logs whole URLs, and with them tokens.
        '--log-format=%(addr) "%(method) %(var.PATH_INFO) %(proto)" %(status)',
    ]


def _mod_wsgi_command(app: str, address: str, scratch: Path) -> list[str]:
    module, _, name = app.partition(":")
    # Apache does not serve as root, and another user could not read this interpreter.
    unprivileged = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    return [
        *(unprivileged if os.geteuid() == 0 else []),
        *(str(Path(sys.executable).with_name("mod_wsgi-express")), "start-server"),
        *("--application-type=module", module, f"--callable-object={name}"),
        *("--host=127.0.0.1", f"--port={free_port()}", f"--server-root={scratch / 'apache'}"),
        *("--python-path=.", "--log-to-terminal", "--locale=C.UTF-8", "--threads=4"),
        # It waits for the whole body before it responds, and holds a thread meanwhile.
        *("--body-timeout=1", "--body-max-timeout=2", "--chunked-request"),
    ]


SERVERS = {
    kind.name: kind
    for kind in (
        _gunicorn_kind("gunicorn-sync", "--worker-class=sync", stalled=2),
        _gunicorn_kind("gunicorn-gthread", "--worker-class=gthread", "--threads=4"),
        # Our worker class, without the other settings of our configuration.
        _gunicorn_kind(
            "gunicorn-swaig",
            "--worker-class=swaig_wsgi.gunicorn._worker.Worker",
            "--threads=4",
        ),
        _gunicorn_kind("gunicorn-gevent", "--worker-class=gevent", stop_by=signal.SIGINT),
        ServerKind(
            "waitress",
            _waitress_command,
            r"Serving on http://(?:127\.0\.0\.1:(\d+)|unix:)",
            chunked="buffered",
            contradiction="kept",
            early=False,
            unix_peer="localhost",
            forwarding=("--no-clear-untrusted-proxy-headers",),
            rewrites=(("//health", "/health"), ("/%2fhealth", "/health")),
        ),
        ServerKind(
            "werkzeug",
            _werkzeug_command,
            r"Running on (?:http://127\.0\.0\.1:(\d+)|unix:)",
            lengths="last",
            unix_peer="<local>",
            rewrites=(("//health", "/health"),),
        ),
        ServerKind(
            "uwsgi",
            _uwsgi_command,
            r"uwsgi socket 0 bound to (?:TCP address 127\.0\.0\.1:(\d+)|UNIX)",
            "spawned uWSGI worker 1",
            chunked="refused",
            underscores="joined",
            unix_peer="0.0.0.0",  # noqa: S104 - only compared or bound by this test
            two_processes="--processes=2",
            scheme_fields=("X-Forwarded-Proto", "X-Forwarded-Ssl"),
            rewrites=(
                ("/./health", "/health"),
                ("/swaig/../health", "/health"),
                ("/x//../api", "/x/api"),
                ("//api/..", "//"),
            ),
        ),
        ServerKind(
            "mod_wsgi",
            _mod_wsgi_command,
            r"Server URL +: http://127\.0\.0\.1:(\d+)",
            "resuming normal operations",
            contradiction="closed",
            stalled=10,
            early=False,
            encoded_slash=False,
            unix_peer=None,
            two_processes="--processes=2",
            rewrites=(
                ("//health", "/health"),
                ("/./health", "/health"),
                ("/swaig/../health", "/health"),
                ("//api/..", "/"),
            ),
        ),
    )
}
