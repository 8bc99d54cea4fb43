"""Files of a directory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.security import safe_join
from werkzeug.utils import send_file

from ..wsgi import refuse, respond
from .conditional import precondition, settled

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# An agent's own policy lets a page load nothing, which would leave a site of files blank.
_POLICY = "default-src 'self'; frame-ancestors 'none'"


class StaticFiles:
    """Answer GET and HEAD below `route` with the files of a directory, and delegate the rest.

    Only regular files are served, and none whose name, or that of a directory on the way to it,
    starts with a dot. A symbolic link is followed only where it ends inside of the directory.
    Single ranges and conditional requests are answered as RFC 9110 says.

    Args:
        app: the application behind, asked for what is no file.
        directory: where the files are.
        route: the path above them, without trailing slash.

    Raises:
        ValueError: `directory` is none.
    """

    def __init__(self, app: WSGIApplication, directory: str | os.PathLike[str], route: str) -> None:
        self._app = app
        root = Path(directory)
        if not root.is_dir():
            raise ValueError(f"there is no directory {os.fspath(directory)!r} to serve files from")
        self._root = root.resolve()
        self._route = route + "/"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD") or not path.startswith(self._route):
            return self._app(environ, start_response)
        file = self._find(path[len(self._route) :])
        if file is None:
            return self._app(environ, start_response)
        try:
            about = file.stat()
            etag = f"{about.st_mtime_ns:x}-{about.st_size:x}-{about.st_ino:x}"
            status = precondition(environ, etag, about.st_mtime)
            own = settled(environ, about.st_size)
            response = send_file(
                file, own, conditional=status is None, etag=etag, last_modified=about.st_mtime
            )
        except RequestedRangeNotSatisfiable as error:
            return refuse(
                environ,
                start_response,
                416,
                "Range not satisfiable",
                event="request_refused",
                reason="range_not_satisfiable",
                headers=[("Content-Range", f"bytes */{error.length}")],
            )
        except OSError:
            return self._app(environ, start_response)
        if status is not None:
            kept = [(name, response.headers[name]) for name in ("ETag", "Last-Modified")]
            response.close()
            if status == 304:
                return respond(environ, start_response, 304, b"", kept)
            return refuse(
                environ,
                start_response,
                412,
                "Precondition failed",
                event="request_refused",
                reason="precondition_failed",
                headers=kept,
            )
        response.headers["Content-Security-Policy"] = _POLICY
        return response(own, start_response)

    def _find(self, name: str) -> Path | None:
        parts = name.split("/")
        if "\0" in name or "\\" in name or any(part.startswith(".") or not part for part in parts):
            return None
        joined = safe_join(os.fspath(self._root), *parts)
        if joined is None:
            return None
        try:
            found = Path(joined).resolve(strict=True)
            if not found.is_relative_to(self._root) or not stat.S_ISREG(found.stat().st_mode):
                return None
        except (OSError, RuntimeError):
            return None
        if any(part.startswith(".") for part in found.relative_to(self._root).parts):
            return None
        return found
