"""Pages of a site's own for refused requests.

The application that renders them runs for requests that have passed no check, so it gets a
harmless copy of `environ`: a GET without body, query, cookies and credentials. It decides only on
the page: the status and the fields of the refusal stay, and its own fields cannot let a cache store
the page, or replace a cookie that it has not seen.

The page is rendered completely before anything is sent, so that JSON can replace it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any, Optional

from ..core._patterns import lazy_pattern
from ..core._validation import shorten
from ..core.headers import is_token
from ..core.redaction import filter_sensitive_headers
from ..core.refusals import Refusal
from ._loggers import log
from ._tracebacks import log_exception
from ._types import WSGIApplication, WSGIEnvironment

#: In ``environ``: the `RefusalApp` to use, or None while it renders a page.
REFUSAL_APP = "swaig_wsgi.refusal_app"
#: In ``environ``: the refusal of the request.
REFUSAL = "swaig_wsgi.refusal"

#: In ``environ``: the names, in lower case, of the fields that a page itself sends.
PAGE_FIELDS = "swaig_wsgi.refusal_page_fields"
#: In ``environ``: the keys of the fields in which trusted proxies pass the user of the request.
USER_FIELDS = "swaig_wsgi.proxies.user_fields"

Page = Optional["tuple[bytes, str, list[tuple[str, str]]]"]

#: What a page is rendered with, of that which is not a field of the request: not its user
#: (``REMOTE_USER``, ``SSL_CLIENT_S_DN``), and not the environment of the process.
_KEPT = frozenset(
    [
        "GATEWAY_INTERFACE",
        "HTTPS",
        "PATH_INFO",
        "REMOTE_ADDR",
        "REMOTE_HOST",
        "REMOTE_PORT",
        "REQUEST_SCHEME",
        "SCRIPT_NAME",
        "SERVER_ADDR",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_PROTOCOL",
        "SERVER_SOFTWARE",
    ]
)
#: Request fields about its body, preconditions and user.
_REMOVED = lazy_pattern(
    "HTTP_(?:CONTENT_|EXPECT$|IF_|RANGE$|TRANSFER_"
    "|.*(?:USER(?!_AGENT)|EMAIL|GROUPS|IDENTITY|SSL_CLIENT|CLIENT_(?:CERT|DN)))"
)
_REMOVED_KEYS = frozenset(
    ["swaig_wsgi.auth", "swaig_wsgi.auth_failure", USER_FIELDS, "wsgi.file_wrapper"]
)
#: Fields of a page that are replaced, or not sent: those of the refusal, of CORS and of the
#: connection, and what caches and proxies in front read, such as ``CDN-Cache-Control`` (RFC 9213).
_DROPPED = lazy_pattern(
    "age|.*cache-control|connection|content-length|content-type|edge-control|etag|expires"
    "|keep-alive|last-modified|set-cookie|surrogate-control|transfer-encoding|upgrade|x-accel-.*"
    "|x-sendfile|access-control-.*|allow|proxy-authenticate|ratelimit|ratelimit-policy|retry-after"
    "|www-authenticate",
    re.IGNORECASE,
)
#: PEP 3333 and RFC 9110 section 5.5: a control character might begin another field.
_VALUE = lazy_pattern(r"[\t\x20-\x7e\x80-\xff]*")
_STATUS = lazy_pattern(r"[1-9][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?")


class _MalformedPageError(ValueError):
    """The application for refusals did not respond as PEP 3333 requires."""


class RefusalApp:
    """The application that renders the pages, and what it must not see.

    Args:
        app: a WSGI application.
        secret_headers: names of request fields with secrets, in addition to common ones.
    """

    def __init__(self, app: WSGIApplication, secret_headers: Iterable[str] = ()) -> None:
        self.app = app
        self._secret_headers = tuple(secret_headers)
        self._failure_logged = False

    def render(self, environ: WSGIEnvironment, refusal: Refusal) -> Page:
        """Return body, content type and fields of the page, or None if it failed.

        The first failure in this process is logged. What is not an :exc:`Exception` is raised, as
        from a view: servers end a worker or a greenlet that has timed out by raising SystemExit or
        the like in the code that it runs.
        """
        try:
            body, content_type, fields = self._render(self._harmless(environ, refusal))
        except Exception as error:
            if not self._failure_logged:
                if isinstance(error, _MalformedPageError):
                    log.error("refusal_app %s; refusals are JSON instead", error)
                else:
                    log_exception(environ, "refusal_app raised; refusals are JSON instead")
            self._failure_logged = True
            return None
        own = {name.lower() for name, _ in refusal.headers} - {"vary"}
        fields = [
            field
            for field in fields
            if field[0].lower() not in own and not _DROPPED.fullmatch(field[0])
        ]
        environ[PAGE_FIELDS] = frozenset(name.lower() for name, _ in fields) - {"vary"}
        return body, content_type, [*fields, *refusal.headers, ("Cache-Control", "no-store")]

    def _harmless(self, environ: WSGIEnvironment, refusal: Refusal) -> WSGIEnvironment:
        of_user = environ.get(USER_FIELDS, ())
        texts = {
            key: value
            for key, value in environ.items()
            if key in _KEPT
            or (key.startswith("HTTP_") and key not in of_user and not _REMOVED.match(key))
        }
        return {
            **filter_sensitive_headers(texts, self._secret_headers),
            # Omit what servers and other layers add, such as sockets and parsed requests.
            **{
                key: value
                for key, value in environ.items()
                if key.startswith(("wsgi.", "swaig_wsgi.")) and key not in _REMOVED_KEYS
            },
            "REQUEST_METHOD": "GET",
            "QUERY_STRING": "",
            "CONTENT_LENGTH": "0",
            "wsgi.input": io.BytesIO(),
            "wsgi.input_terminated": True,
            REFUSAL: refusal,
            REFUSAL_APP: None,
        }

    def _render(self, environ: WSGIEnvironment) -> tuple[bytes, str, list[tuple[str, str]]]:
        started: list[tuple[Any, Any]] = []
        parts: list[bytes] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Any:
            started.append((status, headers))
            return parts.append

        result = self.app(environ, start_response)
        try:
            parts.extend(result)
        finally:
            if hasattr(result, "close"):
                result.close()
        if not started:
            raise _MalformedPageError("did not call start_response")
        status, headers = started[-1]
        if not isinstance(status, str) or _STATUS.fullmatch(status) is None:
            raise _MalformedPageError(
                f"must pass a status such as '200 OK' to start_response, not {shorten(status)}"
            )
        fields = _checked_fields(headers)
        types = [value for name, value in fields if name.lower() == "content-type"]
        # Browsers must not run a page without a type.
        return b"".join(parts), types[-1] if types else "text/plain; charset=utf-8", fields


def _checked_fields(headers: Any) -> list[tuple[str, str]]:
    if not isinstance(headers, (list, tuple)):
        raise _MalformedPageError(
            f"must pass a list of fields to start_response, not {type(headers).__name__}"
        )
    for field in headers:
        if not (isinstance(field, (list, tuple)) and len(field) == 2 and is_token(field[0])):
            raise _MalformedPageError(
                "must pass fields as pairs of a name, a token (RFC 9110 section 5.1), and a value"
            )
        if not isinstance(field[1], str) or _VALUE.fullmatch(field[1]) is None:
            # Not the value, which may be a secret.
            raise _MalformedPageError(
                f"must pass Latin-1 text without control characters as the value of {field[0]!r}"
            )
    return [(name, value) for name, value in headers]
