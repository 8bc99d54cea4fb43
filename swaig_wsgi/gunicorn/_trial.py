"""Whether the application can be loaded, before running workers are replaced.

gunicorn ends the whole service if a new worker cannot load the application, because its
configuration is invalid, or a file that it reads, or its code. Therefore a reload begins with a
process that loads it and ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import tempfile
import time
import traceback
from typing import Any

from ..config import ConfigurationError, keep_secret_files

__all__ = ["load_problem"]

_METRICS = "PROMETHEUS_MULTIPROC_DIR"
#: Characters of a traceback that are kept, its end; a pipe has room for it in UTF-8.
_MAX_TRACEBACK = 8192


def load_problem(server: Any) -> str | None:
    """Return why the application of `server`, an arbiter, cannot be loaded; None if it can.

    It may take as long as in a worker.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="swaig-wsgi-trial-") as scratch:
            os.chown(scratch, server.cfg.uid, server.cfg.gid)
            return _load_in_child(server, scratch)
    except OSError as error:
        return f"the application cannot be tried: {error}"


def _load_in_child(server: Any, scratch: str) -> str | None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _load(server, writer, scratch)
    os.close(writer)
    try:
        result = _read(reader, server.cfg.timeout)
    finally:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if result == b"loaded":
        return None
    if result is None:
        return f"the application was not loaded within {server.cfg.timeout} s"
    return result.decode(errors="replace") or "the application ends its process"


def _load(server: Any, writer: int, scratch: str) -> None:
    """Load the application, write the result, and end the process, which is a copy of the master.

    What it writes and logs would appear twice.
    """
    result = b"loaded"
    try:
        for number in (*server.SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        logging.disable(logging.CRITICAL)
        if _METRICS in os.environ:
            # Otherwise its gauges would be shown beside those of the workers.
            os.environ[_METRICS] = scratch
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        # The configuration module can be imported without gunicorn.
        from gunicorn import util  # type: ignore[import-untyped, unused-ignore]

        cfg = server.cfg
        util.set_owner_process(cfg.uid, cfg.gid, initgroups=cfg.initgroups)
        keep_secret_files()
        server.app.wsgi()
    except ConfigurationError as error:
        result = str(error).encode(errors="replace")
    except BaseException:  # also SystemExit
        trace = traceback.format_exc()[-_MAX_TRACEBACK:]
        result = f"the application cannot be loaded: {trace}".encode(errors="replace")
    finally:
        os.write(writer, result)
        # Nothing that the master has registered to run at its exit.
        os._exit(0)


def _read(reader: int, seconds: float) -> bytes | None:
    """Return what comes until the end of a pipe; None if that takes too long (0: no limit)."""
    result, end = b"", time.monotonic() + seconds
    while True:
        wait = max(end - time.monotonic(), 0) if seconds else None
        if not select.select([reader], [], [], wait)[0]:
            return None
        data = os.read(reader, _MAX_TRACEBACK)
        if not data:
            return result
        result += data
