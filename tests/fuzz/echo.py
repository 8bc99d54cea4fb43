"""What test_http_bytes.py serves: it responds with what it has read of each request."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote

from swaig_wsgi import harden
from swaig_wsgi.examples.basic import app as agent


def _echo(environ: dict[str, Any], start_response: Any) -> Any:
    if environ["PATH_INFO"].startswith("/agent"):
        environ["PATH_INFO"] = environ["PATH_INFO"][len("/agent") :]
        return agent(environ, start_response)
    headers = [("Content-Type", "text/plain")]
    if not environ["PATH_INFO"].startswith("/unread"):
        # The size limit of `harden` has set the length, if there is a body.
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers.append(("X-Body", hashlib.sha256(body).hexdigest()))
    start_response("200 OK", headers)
    return [b"ok"]


_hardened = harden(_echo)


def app(environ: dict[str, Any], start_response: Any) -> Any:
    """Name the request in its response, also in a refusal of the layers."""
    seen = quote(f"{environ['REQUEST_METHOD']} {environ['RAW_URI']}", safe="")

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        return start_response(status, [*headers, ("X-Seen", seen)], exc_info)

    return _hardened(environ, start)
