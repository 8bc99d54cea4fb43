"""The result of something that may have been ``async``, for callers that are not."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable
from typing import Any

from . import _greenlets as greenlets

#: What other people's code may raise without more being at fault than itself. A task that was
#: cancelled is no Exception since Python 3.8, and must not look like a worker being shut down.
FAULTS = (Exception, asyncio.CancelledError)

#: The same where ``sys.exit()`` ends what other people's code was asked for, and not the worker.
FAULTS_AND_EXIT = (*FAULTS, SystemExit)


def resolve(value: Any) -> Any:
    """Return `value`, or what it comes to when it is awaitable.

    An awaitable is run to completion in an event loop of its own; where this thread already runs
    a loop, or gevent has made greenlets of threads, in a fresh thread, while this one waits.
    Context variables of the caller can be read in both. A coroutine that a coroutine returns is
    awaited as well. Generators, asynchronous ones included, are not awaitable and come back as
    they are.

    Raises:
        whatever the awaitable raises; RuntimeError when it belongs to another event loop.
    """
    if not inspect.isawaitable(value):
        return value
    try:
        if not greenlets.are_threads():
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                return _run(value)
        context = contextvars.copy_context()
        with greenlets.thread_pool() as pool:
            result, error = pool.submit(context.run, _outcome, value).result()
        if error is not None:
            raise error
        return result
    finally:
        # Where no loop or thread could be had, the coroutine never started.
        if inspect.iscoroutine(value):
            value.close()


def _outcome(value: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    # An exception that leaves one of its threads is one that gevent prints, secrets and all.
    try:
        return _run(value), None
    except BaseException as error:
        return None, error


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
