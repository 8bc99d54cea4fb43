"""How the master stops: first the load balancer learns it, then the workers end.

gunicorn stops accepting as soon as it receives TERM, while load balancers still send requests.
Here the first TERM begins a drain:

* ``/ready`` responds 503 in all workers, which read it from memory that they share with the master
  (:class:`~swaig_wsgi.processes.SharedState`). Responses end their connections.
* For ``SWML_DRAIN_SECONDS``, workers accept requests and the master supervises them as before.
* Then gunicorn stops as usual: workers finish what is in flight, for `graceful_timeout` at most.

Another TERM, INT or QUIT, in any of these steps, ends the server within two seconds. HUP is ignored
during a drain, as it would start workers that are about to end.

A master that shares its sockets with another one (USR2) does not drain. The other one accepts, and
as both accept from the same sockets, the load balancer could not tell them apart.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from typing import Any

from ..processes import current, is_draining

__all__ = ["empties_queue", "install"]

#: Whether the listening sockets outlive this server. systemd holds those that it passed.
_sockets_are_kept = False


def install(server: Any, seconds: int) -> None:
    """Make `server`, an arbiter, drain for `seconds` when it receives TERM.

    Called before the arbiter looks at the sockets that systemd passes.
    """
    global _sockets_are_kept
    _sockets_are_kept = "LISTEN_FDS" in os.environ
    # gunicorn looks up the handler of a signal by this name.
    server.handle_term = functools.partial(_begin, server, seconds, server.handle_term)


def empties_queue() -> bool:
    """Return whether connections would be lost that no worker accepts before it ends."""
    return is_draining() and not _sockets_are_kept


def _begin(server: Any, seconds: int, stop: Callable[[], None]) -> None:
    at_once = functools.partial(_stop_at_once, server, stop)
    server.handle_term = server.handle_int = server.handle_quit = at_once
    # While it stops, gunicorn obeys INT and QUIT alone.
    signal.signal(signal.SIGTERM, lambda _signal, frame: server.signal(signal.SIGQUIT, frame))
    state = current()
    if state is None or server.reexec_pid or server.master_pid:
        stop()
        return
    state.start_draining()
    if not seconds:
        stop()
        return
    server.log.info(
        "draining: /ready responds 503; accepting requests for %s more seconds (another TERM, INT "
        "or QUIT ends the server at once)",
        seconds,
    )
    server.handle_hup = lambda: server.log.warning("not reloaded: the server is about to stop")
    # A timer of the process, which workers that are started meanwhile do not inherit. A thread
    # would not survive in them, either, but they would fork while it runs.
    server.handle_alrm = stop
    signal.signal(signal.SIGALRM, server.signal)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _stop_at_once(server: Any, stop: Callable[[], None]) -> None:
    # Read by gunicorn while it stops. It waits for two seconds then; if it receives the signal
    # earlier, for `graceful_timeout`, as handlers in progress keep a worker from exiting.
    server.signal(signal.SIGQUIT, None)
    stop()
