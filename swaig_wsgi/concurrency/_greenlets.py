"""The operating system's threads, where gevent has replaced Python's with greenlets.

All greenlets of an application share one thread, which can run one event loop. gevent's
replacements for locks do not reliably exclude other threads.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


def threads_are_greenlets() -> bool:
    """Return whether gevent has patched :mod:`threading`."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def outside_main_hub() -> bool:
    """Return whether this thread is not the one in which the application's greenlets run.

    Objects that wait through gevent, such as sockets, work only in the thread that created them.
    """
    return threads_are_greenlets() and not importlib.import_module("gevent").get_hub().main_hub


def thread_pool() -> ThreadPoolExecutor:
    """Return a pool of one system thread; waiting for its results lets other greenlets run."""
    module = "gevent.threadpool" if threads_are_greenlets() else "concurrent.futures"
    executor: Any = importlib.import_module(module).ThreadPoolExecutor
    pool: ThreadPoolExecutor = executor(max_workers=1)
    return pool


def system_lock() -> Any:
    """Return a lock like :class:`threading.Lock` that excludes system threads.

    Its holder must not switch to another greenlet, which could wait for it in the same thread.
    """
    return _original("_thread", "allocate_lock", threading.Lock)()


def system_sleep(seconds: float) -> None:
    """Sleep without switching to another greenlet of this thread."""
    _original("time", "sleep", time.sleep)(seconds)


def _original(module: str, name: str, present: Any) -> Any:
    monkey = sys.modules.get("gevent.monkey")
    return present if monkey is None else monkey.get_original(module, name)
