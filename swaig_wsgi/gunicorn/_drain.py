"""How the master stops: load balancers learn of it first, then the workers end.

gunicorn stops accepting as soon as it receives TERM, while load balancers still send requests.
Here the first TERM begins a drain:

* ``/ready`` responds 503 in all workers, which read it from memory that they share with the master
  (:class:`~swaig_wsgi.processes.SharedState`). Responses end their connections.
* For ``SWML_DRAIN_SECONDS``, workers accept requests and the master supervises them as before.
* Then gunicorn stops as usual: workers finish what is in flight, within `graceful_timeout`. They
  also serve the connections that wait in the kernel's queue, unless systemd keeps the queue for the
  next start.

Another TERM, INT or QUIT, in any of these steps, ends the server within two seconds. HUP is ignored
during a drain, as it would start workers that are about to end.

A master that shares its sockets with another one (USR2) does not drain. The other one accepts, and
as both accept from the same sockets, the load balancer could not tell them apart.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from ..processes import current, is_draining

__all__ = ["empties_queue", "install"]

#: Whether the listening sockets outlive this server. systemd holds those that it passed.
_sockets_are_kept = False


def install(server: Any, seconds: int) -> None:
    """Make `server`, an arbiter, drain for `seconds` when it receives TERM.

    Called before the arbiter sets its signal handlers, and before it removes the variables that
    systemd passes with a socket.
    """
    global _sockets_are_kept
    _sockets_are_kept = os.environ.get("LISTEN_PID") == str(os.getpid())
    _Stopping(server, seconds)


def empties_queue() -> bool:
    """Return whether connections would be lost that no worker accepts before it ends."""
    return is_draining() and not _sockets_are_kept


class _Stopping:
    """Replaces an arbiter's reactions to signals; it looks them up as attributes."""

    def __init__(self, server: Any, seconds: int) -> None:
        self._server = server
        self._seconds = seconds
        self._enqueue = server.signal
        self._stop = server.handle_term
        self._received = 0
        server.signal = self._receive
        server.handle_term = self._begin

    def _receive(self, number: int, frame: Any) -> None:
        """Enqueue a signal. Called as the handler of all signals."""
        if number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self._received += 1
            if self._received > 1:
                # While it stops, gunicorn obeys INT and QUIT alone.
                number = signal.SIGQUIT
        self._enqueue(number, frame)

    def _begin(self) -> None:
        server, state = self._server, current()
        server.handle_term = server.handle_int = server.handle_quit = self._stop_at_once
        if self._received > 1:
            # Both are in one batch, of which gunicorn forgets the rest when it stops.
            self._stop_at_once()
        if state is None or server.reexec_pid or server.master_pid:
            self._stop()
            return
        state.start_draining()
        if not self._seconds:
            self._stop()
            return
        server.log.info(
            "draining: /ready responds 503; accepting requests for %s more seconds (another TERM, "
            "INT or QUIT ends the server at once)",
            self._seconds,
        )
        server.handle_hup = lambda: server.log.warning("not reloaded: the server is about to stop")
        # A timer of the process, not a thread: the master forks workers meanwhile. They do not
        # inherit the timer.
        server.handle_alrm = self._stop
        signal.signal(signal.SIGALRM, server.signal)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def _stop_at_once(self) -> None:
        # gunicorn reads the signal when it has begun to stop, and then kills workers after two
        # seconds. Its own handlers of INT and QUIT wait for `graceful_timeout`: a worker cannot
        # exit while one of its threads runs a handler.
        self._enqueue(signal.SIGQUIT, None)
        self._stop()
