"""Pages of a site's own for refused requests.

The application that renders them runs for requests that have passed no check, so it gets a
harmless copy of `environ`: a GET without body, query, cookies and credentials. It decides only on
the page: the status and the fields of the refusal stay, and its own fields cannot let a cache store
the page, or replace a cookie that it has not seen.

The page is rendered completely before anything is sent, so that JSON can replace it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, Optional

from ..core.redaction import filter_sensitive_headers
from ..core.refusals import Refusal
from ._logging import log, log_exception
from ._types import WSGIApplication, WSGIEnvironment

#: In ``environ``: the `RefusalApp` to use, or None while it renders a page.
REFUSAL_APP = "swaig_wsgi.refusal_app"
#: In ``environ``: the refusal of the request.
REFUSAL = "swaig_wsgi.refusal"

Page = Optional["tuple[bytes, str, list[tuple[str, str]]]"]

#: What a page is rendered without: the request's body, query and preconditions, and its user.
_REMOVED = frozenset(
    [
        "CONTENT_TYPE",
        "HTTP_EXPECT",
        "HTTP_RANGE",
        "RAW_URI",
        "REQUEST_URI",
        "UNENCODED_URL",
        "swaig_wsgi.auth",
        "swaig_wsgi.auth_failure",
        "wsgi.file_wrapper",
    ]
)
_REMOVED_PREFIXES = ("HTTP_CONTENT_", "HTTP_IF_", "HTTP_TRANSFER_")
#: Fields of a page that are replaced, or not sent.
_DROPPED = frozenset(
    [
        "age",
        "cache-control",
        "cdn-cache-control",
        "connection",
        "content-length",
        "content-type",
        "etag",
        "expires",
        "last-modified",
        "set-cookie",
        "transfer-encoding",
    ]
)


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

        The first failure in this process is logged.
        """
        try:
            page = self._render(self._harmless(environ, refusal), refusal)
        except Exception:
            if not self._failure_logged:
                log_exception(environ, "refusal_app raised; refusals are JSON instead")
            page = None
        else:
            if page is None and not self._failure_logged:
                log.error("refusal_app did not call start_response; refusals are JSON instead")
        self._failure_logged |= page is None
        return page

    def _harmless(self, environ: WSGIEnvironment, refusal: Refusal) -> WSGIEnvironment:
        kept = {
            key: value
            for key, value in environ.items()
            if key not in _REMOVED and not key.startswith(_REMOVED_PREFIXES)
        }
        texts = {key: value for key, value in kept.items() if key.isupper()}
        return {
            **filter_sensitive_headers(texts, self._secret_headers),
            # Omit what servers and other layers add, such as sockets and parsed requests.
            **{key: kept[key] for key in kept if key.startswith(("wsgi.", "swaig_wsgi."))},
            "REQUEST_METHOD": "GET",
            "QUERY_STRING": "",
            "CONTENT_LENGTH": "0",
            "wsgi.input": io.BytesIO(),
            "wsgi.input_terminated": True,
            REFUSAL: refusal,
            REFUSAL_APP: None,
        }

    def _render(self, environ: WSGIEnvironment, refusal: Refusal) -> Page:
        started: list[list[tuple[str, str]]] = []
        parts: list[bytes] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Any:
            started.append(headers)
            return parts.append

        result = self.app(environ, start_response)
        try:
            parts.extend(result)
        finally:
            if hasattr(result, "close"):
                result.close()
        if not started:
            return None
        fields = [(name, value) for name, value in started[-1]]
        types = [value for name, value in fields if name.lower() == "content-type"]
        own = {name.lower() for name, _ in refusal.headers} - {"vary"}
        kept = [field for field in fields if field[0].lower() not in _DROPPED | own]
        kept += [*refusal.headers, ("Cache-Control", "no-store")]
        # Browsers must not run a page without a type.
        return b"".join(parts), types[-1] if types else "text/plain; charset=utf-8", kept
