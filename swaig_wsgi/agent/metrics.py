"""The observation of requests that ``/metrics`` counts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from ..wsgi._observer import observe
from ..wsgi._records import agent_label
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from .routes import raw_path

__all__ = [
    "AGENT_ENDPOINTS",
    "ROUTING",
    "SERVER_ENDPOINTS",
    "MeasuredRequests",
]

#: The labels of a server's endpoints, by path.
SERVER_ENDPOINTS = {"/health": "health", "/ready": "ready", "/metrics": "metrics"}
#: The same for an agent, below its route.
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
