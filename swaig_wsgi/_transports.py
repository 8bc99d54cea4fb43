"""How requests are sent to an agent as the platform sends them: over HTTP, or in process."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from urllib.parse import SplitResult, unquote, urlsplit

from .wsgi._types import WSGIApplication

#: Sends (method, URL without credentials, headers, body); returns (status, headers, body).
Send = Callable[[str, str, "dict[str, str]", bytes], "tuple[int, dict[str, str], bytes]"]


def in_process(app: WSGIApplication, base: str) -> Send:
    """Return a function that sends requests below the URL `base` to `app`, without a socket."""
    from werkzeug.test import Client

    client = Client(app, use_cookies=False)
    # A path in the base is one that a proxy strips.
    origin = split_url(base)._replace(path="").geturl()

    def send(
        method: str, url: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if not is_below(url, base):
            raise LookupError(f"{url.partition('?')[0]} is not below {base}: it runs elsewhere")
        response = client.open(
            url[len(base) :] or "/",
            base_url=origin,
            method=method,
            headers=headers,
            data=body,
            environ_base={"REMOTE_ADDR": "127.0.0.1"},
        )
        try:
            fields = {name.lower(): value for name, value in response.headers.items()}
            return response.status_code, fields, response.get_data()
        finally:
            response.close()

    return send


def over_http(
    ssl_context: ssl.SSLContext | None, timeout: float, address: tuple[str, int] | None = None
) -> Send:
    """Return a function that sends requests to the host of each URL, or always to `address`."""

    def send(
        method: str, url: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        parts = split_url(url)
        host, port = address or (parts.hostname or "", parts.port)
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl_context or ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
        target = parts._replace(scheme="", netloc="", fragment="").geturl()
        # The host as in the URL, because signatures cover it; http.client leaves out default ports.
        try:
            connection.request(method, target, body, {"Host": parts.netloc, **headers})
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return response.status, fields, response.read()
        finally:
            connection.close()

    return send


def split_url(url: str) -> SplitResult:
    """Split an absolute URL, or raise ValueError, which shows neither password nor query."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        shown = parts._replace(query="").geturl().rpartition("@")[2]
        raise ValueError(f"an agent's URL must be absolute, with http or https: {shown!r}")
    return parts


def credentials_in(parts: SplitResult) -> tuple[str, str] | None:
    """Return the user and the password in a URL, or None."""
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def is_below(url: str, base: str) -> bool:
    """Return whether `url` begins with `base`, at the border of a segment."""
    rest = url[len(base) :]
    return url.startswith(base) and rest[:1] in ("", "/", "?")
