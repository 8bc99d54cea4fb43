"""The result of something that may have been ``async``, for callers that are not."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
import sys
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def resolve(value: Any) -> Any:
    """Return `value`, or what it comes to when it is awaitable.

    An awaitable is run to completion in an event loop of its own; where this thread already runs
    a loop, or gevent has made greenlets of threads, in a fresh thread, while this one waits.
    Context variables of the caller can be read in both. A coroutine that a coroutine returns is awaited as well. Generators, asynchronous
    ones included, are not awaitable and come back as they are.

    Raises:
        whatever the awaitable raises; RuntimeError when it belongs to another event loop.
    """
    if not inspect.isawaitable(value):
        return value
    try:
        threads: Any = _real_threads()
        if threads is None:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                return _run(value)
            threads = ThreadPoolExecutor
        context = contextvars.copy_context()
        with threads(max_workers=1) as executor:
            return executor.submit(context.run, _run, value).result()
    finally:
        # Where no loop or thread could be had, the coroutine never started.
        if inspect.iscoroutine(value):
            value.close()


def _real_threads() -> Any:
    """Return what makes threads of the system where gevent has taken Python's, else None.

    All its greenlets share one thread, which can run one loop: a second request, while the first
    awaits something, would find the loop running, and could run none of its own.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return None
    return importlib.import_module("gevent.threadpool").ThreadPoolExecutor


def _run(value: Awaitable[Any]) -> Any:
    main = _complete(value)
    try:
        return asyncio.run(main)
    finally:
        main.close()


async def _complete(value: Awaitable[Any]) -> Any:
    result = await value
    while inspect.iscoroutine(result):
        result = await result
    return result
