"""Answers to load balancers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..wsgi import refuse, respond_json

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class HealthEndpoints:
    """Answer ``/health`` and ``/ready`` below `route` to anyone, and delegate the rest.

    Load balancers call by address, without credentials and often; so this stands outside the
    checks of hosts, rates and credentials. Both paths are compared exactly, byte for byte, so
    that no other spelling gets past those checks. Neither answer tells anything but yes or no;
    whoever brings credentials and asks for a readiness that is not there is sent on inside, where
    the application may say why.

    Args:
        app: the application behind.
        route: the path under which the agent lives, without trailing slash.
        is_ready: whether the service can take calls; ``/ready`` answers 503 when it cannot.
    """

    def __init__(self, app: WSGIApplication, route: str, is_ready: Callable[[], bool]) -> None:
        self._app = app
        self._health = frozenset({f"{route}/health", f"{route}/health/"})
        self._ready = frozenset({f"{route}/ready", f"{route}/ready/"})
        self._is_ready = is_ready

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path not in self._health and path not in self._ready:
            return self._app(environ, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return refuse(
                environ,
                start_response,
                405,
                "Method not allowed",
                event="request_refused",
                reason="method_not_allowed",
                headers=[("Allow", "GET, HEAD")],
            )
        if path in self._health:
            return respond_json(environ, start_response, 200, {"status": "ok"})
        if self._is_ready():
            return respond_json(environ, start_response, 200, {"status": "ready"})
        if "HTTP_AUTHORIZATION" in environ:
            # What is wrong is told behind the checks, where guessing passwords is limited.
            return self._app(environ, start_response)
        return respond_json(environ, start_response, 503, {"status": "not ready"})
