"""Files of a directory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import parse_range_header
from werkzeug.security import safe_join
from werkzeug.utils import send_file

from ..middleware.answers import refuse

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
        asked = parse_range_header(environ.get("HTTP_RANGE"))
        if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
            # RFC 9110 section 14.2: what is malformed, of another unit, or more than wanted here
            # is ignored, and the whole file is the answer.
            environ.pop("HTTP_RANGE", None)
        try:
            response = send_file(file, environ, conditional=True)
        except RequestedRangeNotSatisfiable as error:
            length = str(error.length)
            return refuse(
                environ,
                start_response,
                416,
                "Range not satisfiable",
                event="request_refused",
                reason="range_not_satisfiable",
                headers=[("Content-Range", f"bytes */{length}")],
            )
        except OSError:
            return self._app(environ, start_response)
        response.headers["Content-Security-Policy"] = _POLICY
        return response(environ, start_response)

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
