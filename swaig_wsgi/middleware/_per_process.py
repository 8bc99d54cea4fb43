"""State that a process made for itself alone, though other processes serve, too."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Callable

from ..processes import EXPLANATIONS, PASSWORD, SECRET, STORAGE, unshared_variables
from ..wsgi import log, refuse

__all__ = [
    "PASSWORD",
    "SECRET",
    "STORAGE",
    "PerProcessGuard",
    "PerProcessState",
    "unshared_key",
    "unshared_store",
]

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from ..sessions import SessionManager
    from ..stores._base import Store

#: Variables that :class:`PerProcessState` has named in this process; another one logs anew.
_named: set[tuple[int, str]] = set()


class PerProcessState:
    """Tells whether a server with several processes would give wrong answers.

    A request that reaches another worker than the one before it would meet another password,
    another signing key and another count: most calls would fail with messages that point
    elsewhere, and a limit would let through a multiple. So nothing is answered but that.

    Args:
        find: returns the variables that would make the state shared; of :data:`SECRET`,
            :data:`PASSWORD`, :data:`STORAGE`.
        allowed: whether it is fine as it is: for a server that wrongly says that it has several
            processes, or which sends a client always to the same one.
    """

    def __init__(self, find: Callable[[], Iterable[str]], *, allowed: bool = False) -> None:
        self._find = find
        self._allowed = allowed

    def found(self, environ: WSGIEnvironment) -> bool:
        """Tell whether this request must not be served; what to set is logged, once a process."""
        if not environ.get("wsgi.multiprocess") or self._allowed:
            return False
        variables = tuple(sorted(self._find()))
        if variables:
            _report(variables)
        return bool(variables)

    def refuse(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer 503; the log has what to set."""
        return refuse(
            environ,
            start_response,
            503,
            "Service misconfigured",
            event="service_misconfigured",
            reason="per_process_state",
        )


class PerProcessGuard:
    """Lets requests reach `app` only where its `state` is shared by all processes.

    Args:
        app: the application.
        state: of the application.
        exempt: paths that are let through, each exactly as in ``PATH_INFO``.
    """

    def __init__(
        self, app: WSGIApplication, state: PerProcessState, *, exempt: Iterable[str] = ()
    ) -> None:
        self.app = app
        self.state = state
        self._exempt = frozenset(exempt)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self.state.found(environ) and environ.get("PATH_INFO", "") not in self._exempt:
            return self.state.refuse(environ, start_response)
        return self.app(environ, start_response)


def unshared_store(store: Store) -> tuple[str, ...]:
    """Return the variable that would make `store` shared, unless it is."""
    return tuple(unshared_variables(store=store))


def unshared_key(sessions: SessionManager) -> tuple[str, ...]:
    """Return the variable that would make the key of `sessions` shared, unless it is."""
    return tuple(unshared_variables(key_pid=sessions.key_made_by))


def _report(variables: tuple[str, ...]) -> None:
    pid = os.getpid()
    if all((pid, variable) in _named for variable in variables):
        return
    _named.update((pid, variable) for variable in variables)
    log.error(
        "several processes serve, but %s. Every request is answered 503. Start the server with "
        "gunicorn -c python:swaig_wsgi.gunicorn, or set %s to the same for all processes; where "
        "the server is wrong about its processes, set SWML_ALLOW_PER_PROCESS_STATE=true",
        "; ".join(EXPLANATIONS[variable] for variable in variables),
        " and ".join(variables),
    )
