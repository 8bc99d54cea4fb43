"""``swaig-wsgi serve``."""

from __future__ import annotations

import os
import socket
import sys

from ..config import ConfigurationError, Settings
from ._banner import facts_of, show_banner
from ._errors import CommandError, needing
from ._loading import load_to_serve
from ._workers import serve_with_gunicorn


def serve(
    application: str,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    reload: bool = False,
) -> int:
    """Serve ``MODULE:APP`` for development until interrupted.

    An agent serves itself, by :meth:`AgentApp.run`. Any other application is served with the
    settings of the environment, TLS included, on 127.0.0.1 and ``PORT``, by default 3000. With
    `workers` or `reload`, gunicorn serves it.
    """
    if host is not None:
        _check_host(host)
    sys.path.insert(0, os.getcwd())
    pid = os.getpid()
    try:
        if workers is not None or reload:
            serve_with_gunicorn(application, host, port, workers or 1, reload)
        else:
            _serve_with_werkzeug(application, host, port)
    except ConfigurationError as error:
        raise CommandError(error) from None
    except KeyboardInterrupt:
        pass
    except SystemExit as error:
        if os.getpid() != pid:
            raise  # a worker of gunicorn, whose master reads its status
        # The server has printed why it does not start, for instance that the port is in use.
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        return 2 if error.code else 0
    return 0


def _check_host(host: str) -> None:
    """Listen on `host` for a moment, since the servers' own errors do not name it."""
    if host.startswith("unix:"):
        return
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = found[0]
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CommandError(f"--host {host!r}: no address of this machine: {reason}") from None


def _serve_with_werkzeug(application: str, host: str | None, port: int | None) -> None:
    with needing("werkzeug", message="serve needs Werkzeug: pip install 'swaig-wsgi[app]'"):
        # Imported here, so that the other commands need nothing installed.
        from ..agent import dev_server
        from ..agent.app import AgentApp
    app = load_to_serve(application)
    settings = app.settings if isinstance(app, AgentApp) else Settings.from_env()
    facts = facts_of(app)
    with dev_server.calling_when_listening(
        lambda host, port: show_banner(facts, settings, host, port, sys.stderr)
    ):
        if isinstance(app, AgentApp):
            app.run(host, port)
        else:
            port = (settings.port or 3000) if port is None else port
            dev_server.serve(app, settings, host or "127.0.0.1", port)
