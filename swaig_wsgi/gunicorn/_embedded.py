"""gunicorn as a part of another program, with the settings of :mod:`swaig_wsgi.gunicorn`."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped, unused-ignore]

from .. import gunicorn as configuration
from ..core.refusals import internal_error
from ..wsgi import refuse
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Server"]


class Server(BaseApplication):  # type: ignore[misc, unused-ignore]
    """A server whose :meth:`run` serves until the process is told to stop.

    Args:
        load: returns the application; called in each worker.
        options: settings of gunicorn, beside or in place of ours. With `reload`, a worker in which
            `load` raises an exception logs it and refuses all requests, until a file is changed.
    """

    def __init__(self, load: Callable[[], WSGIApplication], options: dict[str, Any]) -> None:
        self._load = load
        self._options = options
        self._worker: Any = None
        super().__init__()

    def load_config(self) -> None:
        """Set the settings. Called by gunicorn, also at each SIGHUP."""
        settings = {name: getattr(configuration, name) for name in configuration.__all__}
        for name, value in {**settings, **self._options, "post_fork": self._keep}.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """Return the application. Called by gunicorn in each worker."""
        try:
            return self._load()
        except Exception as error:
            if not self.cfg.reload:
                raise
            logging.getLogger("gunicorn.error").error("not reloaded: %s", error)
            # gunicorn watches the modules that were imported; this one was not.
            for path in _files_of(error) | _files_of(error.__context__):
                self._worker.reloader.add_extra_file(path)
            return _refuse_all

    def _keep(self, server: Any, worker: Any) -> None:
        self._worker = worker


def _refuse_all(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return refuse(environ, start_response, internal_error())


def _files_of(error: BaseException | None) -> set[str]:
    """Return the files that an exception passed through: one of them has to be changed."""
    trace = None if error is None else error.__traceback__
    found = {frame.f_code.co_filename for frame, _ in traceback.walk_tb(trace)}
    if isinstance(error, SyntaxError) and error.filename:
        found.add(error.filename)
    return found
