"""``/metrics`` for Prometheus."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from ..config import ConfigurationError
from ..core.refusals import Refusal, method_not_allowed, service_misconfigured
from ..wsgi import log, refuse, respond
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from .auth import Authenticator, AuthMiddleware

__all__ = ["MetricsMiddleware", "metrics_module", "metrics_of"]

#: Processes that have logged that they cannot sum the figures of all.
_logged: set[int] = set()


class MetricsMiddleware:
    """Respond to a path with all metrics of the process, or of all workers of the server.

    Under ``gunicorn -c python:swaig_wsgi.gunicorn`` with ``SWML_METRICS``, or where
    ``PROMETHEUS_MULTIPROC_DIR`` is set, these are sums over all workers. With any other server that
    has several processes the response is 503, because each would show figures of its own.

    Args:
        app: the application for all other paths.
        auth: authenticates the scraper, usually an ``AuthHandler``.
        path: path of the metrics, with or without a trailing slash.
        allow_per_process: respond with the figures of one of several processes.

    Raises:
        ConfigurationError: ``prometheus_client`` is not installed, or it was imported before
            ``PROMETHEUS_MULTIPROC_DIR`` was set.
    """

    def __init__(
        self,
        app: WSGIApplication,
        auth: Authenticator,
        *,
        path: str = "/metrics",
        allow_per_process: bool = False,
    ) -> None:
        metrics_module()
        self.app = app
        self._paths = (path, f"{path}/")
        self._metrics = AuthMiddleware(self._respond, auth)
        self._allow_per_process = allow_per_process

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        own = environ.get("PATH_INFO") in self._paths
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
    _metrics = metrics_module()
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
    rendered: tuple[bytes, str] = _metrics.render(environ.get("HTTP_ACCEPT", ""), agent)
    return rendered


def metrics_module() -> Any:
    """Return the module that counts.

    Raises:
        ConfigurationError: see :class:`MetricsMiddleware`.
    """
    try:
        return import_module(".._metrics", __package__)
    except ModuleNotFoundError:  # of prometheus_client, or in a copy, of our module
        raise ConfigurationError(
            "SWML_METRICS: requires prometheus_client: pip install 'swaig-wsgi[metrics]'"
        ) from None
