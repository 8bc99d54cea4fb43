"""Refusal of requests while processes that must share state do not.

Whether other processes serve, the server says in each request. gunicorn's own options say so when
the application is constructed; then the log has the reason before the first request.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Callable

from ..core.refusals import Refusal, service_misconfigured
from ..processes import EXPLANATIONS
from ..wsgi import log, refuse
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._inner_app import InnerApp

#: The variables that were logged, by process: a forked worker logs them again.
_logged: set[tuple[int, str]] = set()


def log_unshared(find: Callable[[], Iterable[str]], *, allowed: bool) -> None:
    """Log what :func:`refuse_unshared` is going to refuse, as far as gunicorn's options tell.

    Called when a middleware is constructed, with the same arguments.
    """
    if not allowed and _gunicorn_workers() > 1:
        variables = sorted(find())
        if variables:
            _log(variables)


def _gunicorn_workers() -> int:
    """Return how many workers this process's gunicorn was told to start, or 1.

    A configuration file may name another number, which only gunicorn knows. With ``--preload``
    workers inherit what this process generates, so that nothing is certain yet.
    """
    # Imported where gunicorn runs, but not in programs that merely inherit its environment.
    if "gunicorn.arbiter" not in sys.modules:
        return 1
    return configured_workers(
        os.environ.get("GUNICORN_CMD_ARGS", ""), os.environ.get("WEB_CONCURRENCY"), sys.argv[1:]
    )


def configured_workers(variable: str, default: str | None, arguments: Iterable[str] = ()) -> int:
    """Return the number of workers in gunicorn's options, or 1 if they inherit their state.

    Args:
        variable: the value of ``GUNICORN_CMD_ARGS``.
        default: that of ``WEB_CONCURRENCY``.
        arguments: the command line.
    """
    import argparse
    import shlex

    # From lowest to highest precedence, as in gunicorn.
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    # A program that embeds gunicorn may use `-w` for something else: no value is an error here.
    parser.add_argument("-w", "--workers", nargs="?", default=default)
    parser.add_argument("--preload", action="store_true")
    options, _ = parser.parse_known_args([*shlex.split(variable), *arguments])
    workers = str(options.workers)
    return int(workers) if workers.isdecimal() and not options.preload else 1


def refuse_unshared(
    environ: WSGIEnvironment, find: Callable[[], Iterable[str]], *, allowed: bool
) -> Refusal | None:
    """Return the refusal of a request that several processes would serve inconsistently, or None.

    If each process had its own tool-token secret or password, most requests would fail with
    misleading messages; if each counted for itself, a limit would admit a multiple. So every
    request is refused instead, and each process logs once which variables to set.

    Args:
        environ: the request; ``wsgi.multiprocess`` is true if other processes serve too.
        find: returns the variables to set; see
            :func:`~swaig_wsgi.processes.unshared_variables`.
        allowed: whether unshared state is acceptable, because the server reports its processes
            incorrectly or always routes a client to the same one.
    """
    if allowed or not environ.get("wsgi.multiprocess"):
        return None
    variables = find()
    if not variables:
        return None
    _log(sorted(variables))
    return service_misconfigured("per_process_state")


class PerProcessGuard:
    """Refuse requests while state that all processes must share is not shared.

    Args:
        app: the wrapped application.
        find, allowed: as in :func:`refuse_unshared`.
        exempt: paths that are always served, compared exactly with ``PATH_INFO``.
    """

    app = InnerApp()
    _next: WSGIApplication

    def __init__(
        self,
        app: WSGIApplication,
        find: Callable[[], Iterable[str]],
        *,
        allowed: bool,
        exempt: Iterable[str] = (),
    ) -> None:
        self.app = app
        self._find = find
        self._allowed = allowed
        self._exempt = frozenset(exempt)
        log_unshared(find, allowed=allowed)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        refusal = refuse_unshared(environ, self._find, allowed=self._allowed)
        if refusal is not None and environ.get("PATH_INFO", "") not in self._exempt:
            return refuse(environ, start_response, refusal)
        return self._next(environ, start_response)


def _log(variables: list[str]) -> None:
    pid = os.getpid()
    if all((pid, variable) in _logged for variable in variables):
        return
    _logged.update((pid, variable) for variable in variables)
    log.error(
        "several processes serve, but %s. Every request is refused with 503. Start the server with "
        "gunicorn -c python:swaig_wsgi.gunicorn, or set %s to the same value for all processes; "
        "if the server is wrong about its processes, set SWML_ALLOW_PER_PROCESS_STATE=true",
        "; ".join(EXPLANATIONS[variable] for variable in variables),
        " and ".join(variables),
    )
