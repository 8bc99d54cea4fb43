"""gunicorn as a part of another program, with the settings of :mod:`swaig_wsgi.gunicorn`."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
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
        options: settings of gunicorn, beside or in place of ours.
        watched: None, or files to watch in addition to those of imported modules. Each worker
            stops gracefully after one of them is changed, and its successor imports them again. A
            worker in which `load` raises an exception logs it and refuses all requests until then.
    """

    def __init__(
        self,
        load: Callable[[], WSGIApplication],
        options: dict[str, Any],
        watched: Iterable[str] | None = None,
    ) -> None:
        self._load = load
        self._options = options
        self._watched = None if watched is None else {*watched}
        self._worker: Any = None
        super().__init__()

    def load_config(self) -> None:
        """Set the settings. Called by gunicorn, also at each SIGHUP."""
        settings = {name: getattr(configuration, name) for name in configuration.__all__}
        for name, value in {**settings, **self._options, "post_fork": self._keep}.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """Return the application. Called by gunicorn in each worker."""
        if self._watched is None:
            return self._load()
        # The clock of a file system is some milliseconds behind.
        started = time.time() - 0.05
        try:
            application = self._load()
        except (Exception, SystemExit) as error:
            if not self._worker.alive:
                raise  # told to stop while it was loading
            message = "not loaded; requests are refused until a file is changed"
            logging.getLogger("gunicorn.error").error(message, exc_info=error)
            self._watched |= _files_of(error)
            application = _refuse_all
        watch = threading.Thread(target=self._stop_after_change, args=(started,), daemon=True)
        watch.start()
        return application

    def _keep(self, server: Any, worker: Any) -> None:
        self._worker = worker

    def _stop_after_change(self, started: float) -> None:
        # Not gunicorn's own reloader: what is changed before its first look, it never notices, and
        # it sends the traceback of a SyntaxError to every client.
        seen: dict[str, float] = {}
        while True:
            for path in {*(self._watched or ()), *_module_files()}:
                try:
                    modified = os.stat(path).st_mtime
                except OSError:
                    continue  # an editor is replacing it
                since = seen.setdefault(path, modified)
                if modified != since or started < modified <= time.time():
                    logging.getLogger("gunicorn.error").info("reloading: %s was changed", path)
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
            time.sleep(0.5)


def _refuse_all(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return refuse(environ, start_response, internal_error())


def _module_files() -> set[str]:
    files = (getattr(module, "__file__", None) for module in [*sys.modules.values()])
    return {path for path in files if path}


def _files_of(error: BaseException) -> set[str]:
    """Return the files that an exception passed through: one of them has to be changed."""
    trace = traceback.walk_tb(error.__traceback__)
    found = {frame.f_code.co_filename for frame, _ in trace}
    if isinstance(error, SyntaxError) and error.filename:
        found.add(error.filename)
    return found
