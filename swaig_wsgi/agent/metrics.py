"""``/metrics``, and the observation of requests that it counts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ..core.refusals import Refusal, method_not_allowed, service_misconfigured
from ..middleware.auth import AuthHandler, AuthMiddleware
from ..wsgi import log, refuse, respond
from ..wsgi._logging import agent_label
from ..wsgi._observer import observe
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from .routes import raw_path

__all__ = [
    "AGENT_ENDPOINTS",
    "ROUTING",
    "SERVER_ENDPOINTS",
    "MeasuredRequests",
    "ServerMetrics",
    "metrics_of",
]

#: The labels of the endpoints, by path.
SERVER_ENDPOINTS = {"/health": "health", "/ready": "ready", "/metrics": "metrics"}
AGENT_ENDPOINTS = {
    "": "document",
    "/swaig": "swaig",
    "/post_prompt": "post_prompt",
    "/debug_events": "debug_events",
    **SERVER_ENDPOINTS,
}
#: The label of all routing callbacks, and that of all paths without an endpoint.
ROUTING = "routing"
_OTHER = "other"

#: The processes that have logged that they cannot sum up the figures of all.
_logged: set[int] = set()


class MeasuredRequests:
    """Report each request to the observers, with endpoint, status and duration.

    It ends when the response has begun, before the client receives any of it: a client that has its
    response finds its request counted.

    Args:
        app: the wrapped application.
        route: the path of the service, without a trailing slash.
        endpoints: the labels of the endpoints, by path below the route.
    """

    def __init__(self, app: WSGIApplication, route: str, endpoints: Mapping[str, str]) -> None:
        self.app = app
        self._endpoints = {
            raw_path(route + path) + slash: label
            for path, label in endpoints.items()
            for slash in ("", "/")
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        endpoint = self._endpoints.get(environ.get("PATH_INFO", ""), _OTHER)
        status = "500"

        def start(line: str, *args: Any) -> Any:
            nonlocal status
            status = line[:3]
            return start_response(line, *args)

        started = time.perf_counter()
        try:
            return self.app(environ, start)
        finally:
            observe(
                "request",
                {
                    "event": "request",
                    "agent": agent_label(environ),
                    "endpoint": endpoint,
                    "status": status,
                    "seconds": time.perf_counter() - started,
                },
            )


class ServerMetrics:
    """Respond to ``/metrics`` with the figures of all agents.

    Args:
        app: the application for all other paths.
        credentials: the pairs of user and password that are accepted.
        allow_per_process: as for :func:`metrics_of`.
    """

    def __init__(
        self,
        app: WSGIApplication,
        credentials: Iterable[tuple[str, str]],
        *,
        allow_per_process: bool,
    ) -> None:
        self.app = app
        self._metrics = AuthMiddleware(self._respond, AuthHandler(basic_auth=list(credentials)))
        self._allow_per_process = allow_per_process

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        own = environ.get("PATH_INFO") in ("/metrics", "/metrics/")
        return (self._metrics if own else self.app)(environ, start_response)

    def _respond(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
                raise method_not_allowed(["GET", "HEAD"])
            body, content_type = metrics_of(
                None, environ, allow_per_process=self._allow_per_process
            )
        except Refusal as refusal:
            return refuse(environ, start_response, refusal)
        return respond(environ, start_response, 200, body, content_type=content_type)


def metrics_of(
    agent: str | None, environ: Mapping[str, Any], *, allow_per_process: bool
) -> tuple[bytes, str]:
    """Return the metrics of an agent, or of all, and their content type.

    Args:
        agent: the label of the agent, or None for all.
        environ: the request.
        allow_per_process: whether the figures of one of several processes are acceptable.

    Raises:
        Refusal: other processes serve, too, and their figures are unknown here. A counter that
            each response reads from another process seems to be reset all the time, so that every
            rate would be wrong.
    """
    from .. import _metrics

    if environ.get("wsgi.multiprocess") and not (_metrics.is_multiprocess() or allow_per_process):
        if os.getpid() not in _logged:
            _logged.add(os.getpid())
            log.error(
                "several processes serve, but each counts for itself, so /metrics responds 503. "
                "Start the server with gunicorn -c python:swaig_wsgi.gunicorn and SWML_METRICS=true"
                " in its environment, or set %s to a directory that is private and empty at each "
                "start; if the server is wrong about its processes, set "
                "SWML_ALLOW_PER_PROCESS_STATE=true",
                _metrics.DIRECTORY,
            )
        raise service_misconfigured("per_process_state")
    return _metrics.render(environ.get("HTTP_ACCEPT", ""), agent)
