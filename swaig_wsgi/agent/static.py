"""Static files, served by Werkzeug."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from werkzeug.exceptions import NotFound, RequestedRangeNotSatisfiable
from werkzeug.utils import send_from_directory

from ..core.refusals import range_not_satisfiable
from ..wsgi import end_unread_body, refuse
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["StaticFiles"]

# With an agent's own policy a page could load nothing.
_POLICY = "default-src 'self'; frame-ancestors 'none'"


class StaticFiles:
    """Respond to GET and HEAD below `route` with the files of a directory; pass on the rest.

    Only regular files are served, and none whose name starts with a dot, or that is below a
    directory whose name does. A symbolic link is followed only if its target is in the directory.

    Args:
        app: the wrapped application; receives every request that is not for a file.
        directory: the directory of the files.
        route: the path above them, without a trailing slash.

    Raises:
        ValueError: `directory` does not exist.
    """

    def __init__(self, app: WSGIApplication, directory: str | os.PathLike[str], route: str) -> None:
        self.app = app
        if not Path(directory).is_dir():
            raise ValueError(f"there is no directory {os.fspath(directory)!r} to serve files from")
        self._root = Path(directory).resolve()
        self._route = route + "/"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD") or not path.startswith(self._route):
            return self.app(environ, start_response)
        try:
            name = self._resolve(path[len(self._route) :])
            response = send_from_directory(self._root, name, environ)
        except (NotFound, OSError, RuntimeError, ValueError):
            return self.app(environ, start_response)
        except RequestedRangeNotSatisfiable as error:
            return refuse(environ, start_response, range_not_satisfiable(error.length or 0))
        response.headers["Content-Security-Policy"] = _POLICY
        return end_unread_body(environ, response(environ, start_response))

    def _resolve(self, name: str) -> str:
        """Return the path of a file below the root, with links resolved.

        Raise OSError, RuntimeError or ValueError if it does not exist, is hidden or is outside.
        """
        parts = name.split("/")
        if "\\" in name or any(not part or part.startswith(".") for part in parts):
            raise ValueError("hidden file")
        found = self._root.joinpath(*parts).resolve(strict=True).relative_to(self._root)
        if any(part.startswith(".") for part in found.parts):
            raise ValueError("hidden file")
        return found.as_posix()
