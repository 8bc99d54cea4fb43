"""An alarm where TLS was asked for and is not spoken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..wsgi import log

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class PlainHTTPAlarm:
    """Logs as an error, once, that a service with TLS of its own is asked over plain HTTP.

    No application can make its server speak TLS: one that is started without the certificate
    serves in clear text, whatever the settings say.

    Args:
        app: the application of a service whose server is to speak TLS.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app
        self._raised = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self._raised and environ["wsgi.url_scheme"] == "http":
            self._raised = True
            log.error(
                "SWML_SSL_ENABLED is set, but a request came over plain HTTP, so this server does "
                "not speak TLS and passwords cross the network in clear text. Start it with "
                "gunicorn -c python:swaig_wsgi.gunicorn, which takes SWML_SSL_CERT_PATH and "
                "SWML_SSL_KEY_PATH or refuses to start; where TLS ends at a proxy, set "
                "SWML_TRUSTED_PROXIES (logged once)"
            )
        return self.app(environ, start_response)
