"""A warning for a service with TLS that is reached over plain HTTP."""

from __future__ import annotations

from collections.abc import Iterable

from ..wsgi import log
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment


class PlainHTTPAlarm:
    """Log an error, once, if a service with TLS receives a request over plain HTTP.

    An application cannot make its server use TLS: a server that is started without the
    certificate serves cleartext, whatever the settings are.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app
        self._logged = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self._logged and environ["wsgi.url_scheme"] == "http":
            self._logged = True
            log.error(
                "SWML_SSL_ENABLED is set, but a request came over plain HTTP, so this server does "
                "not use TLS and passwords cross the network in cleartext. Start it with "
                "gunicorn -c python:swaig_wsgi.gunicorn, which uses SWML_SSL_CERT_PATH and "
                "SWML_SSL_KEY_PATH or refuses to start; if a proxy terminates TLS, set "
                "SWML_TRUSTED_PROXIES (logged once)"
            )
        return self.app(environ, start_response)
