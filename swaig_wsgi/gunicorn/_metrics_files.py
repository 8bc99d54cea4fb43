"""The directory in which the workers count for Prometheus.

``prometheus_client`` decides when it is imported whether it counts in files, so the master names
the directory before it loads an application. The files of a worker outlive it, so that no restart
and no HUP loses a count.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import sys
import tempfile
from typing import Any

from ..stores._file_access import UnsafeFileError, check_access

__all__ = ["forget", "prepare"]

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

_prepared = False


def prepare(cfg: Any) -> None:
    """Create or empty the directory, once, and set ``PROMETHEUS_MULTIPROC_DIR``.

    Called in the master before it loads an application.

    Raises:
        RuntimeError: ``prometheus_client`` is missing or was imported too early, or the directory
            cannot be used. gunicorn exits with the message.
    """
    global _prepared
    if _prepared:
        return
    if importlib.util.find_spec("prometheus_client") is None:
        raise RuntimeError(
            "SWML_METRICS: requires prometheus_client: pip install 'swaig-wsgi[metrics]'"
        )
    # gunicorn sets the variables of `raw_env` only later.
    configured = cfg.env.get(_DIRECTORY) or os.environ.get(_DIRECTORY)
    if not os.environ.get(_DIRECTORY) and "prometheus_client" in sys.modules:
        raise RuntimeError(
            f"SWML_METRICS: prometheus_client was imported before {_DIRECTORY} could be set, so "
            "the workers would count for themselves; do not import it in the configuration file"
        )
    try:
        directory = _use(configured, cfg) if configured else _create()
        if cfg.uid != os.geteuid() and os.stat(directory).st_uid == os.geteuid():
            os.chown(directory, cfg.uid, cfg.gid)
    except UnsafeFileError as error:
        raise RuntimeError(str(error)) from None
    except OSError as error:
        raise RuntimeError(f"{_DIRECTORY}: no directory for metrics: {error}") from None
    os.environ[_DIRECTORY] = directory
    _prepared = True


def _create() -> str:
    directory = tempfile.mkdtemp(prefix="swaig-wsgi-metrics-")
    atexit.register(_remove, directory, os.getpid())
    return directory


def _remove(directory: str, pid: int) -> None:
    # Workers inherit the exit handlers of the master.
    if os.getpid() == pid:
        shutil.rmtree(directory, ignore_errors=True)


def _use(directory: str, cfg: Any) -> str:
    """Create or empty a directory that the operator has named."""
    directory = os.path.abspath(directory)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    status = os.stat(directory)
    check_access(f"{_DIRECTORY}: the directory it names", status)
    if status.st_uid not in (0, os.geteuid(), cfg.uid):
        raise UnsafeFileError(f"{_DIRECTORY}: the directory it names belongs to another user")
    # The workers of a running master (USR2) still count there.
    if "GUNICORN_PID" not in os.environ:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(".db") and entry.is_file(follow_symlinks=False):
                    os.unlink(entry.path)
    return directory


def forget(pid: int) -> None:
    """Remove what is true only of a running process, after it has ended: its live gauges."""
    from .._metrics import mark_process_dead

    mark_process_dead(pid)  # type: ignore[no-untyped-call, unused-ignore]
