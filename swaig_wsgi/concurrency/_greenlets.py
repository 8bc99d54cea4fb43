"""The system's own threads, where gevent has put greenlets into the place of Python's.

Greenlets share one thread, which can run one event loop. And what gevent puts into the place of
locks does not reliably keep that thread and others apart.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def are_threads() -> bool:
    """Tell whether what Python calls a thread is a greenlet here."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def run_elsewhere() -> bool:
    """Tell whether this thread is another than the one in which an application's greenlets run.

    What waits by gevent, such as a socket, works only in the thread that made it.
    """
    return are_threads() and not importlib.import_module("gevent").get_hub().main_hub


def thread_pool() -> ThreadPoolExecutor:
    """Return a pool of one thread of the system's; who waits for its results lets others run."""
    executor: Any = ThreadPoolExecutor
    if are_threads():
        executor = importlib.import_module("gevent.threadpool").ThreadPoolExecutor
    pool: ThreadPoolExecutor = executor(max_workers=1)
    return pool


def system_lock() -> Any:
    """Return a lock as of :class:`threading.Lock`, between threads of the system's.

    Who holds it must not let another greenlet run, which could wait for it in the same thread.
    """
    return _original("_thread", "allocate_lock", threading.Lock)()


def system_sleep(seconds: float) -> None:
    """Sleep, and let no other greenlet of this thread run."""
    _original("time", "sleep", time.sleep)(seconds)


def _original(module: str, name: str, present: Any) -> Any:
    monkey = sys.modules.get("gevent.monkey")
    return present if monkey is None else monkey.get_original(module, name)
