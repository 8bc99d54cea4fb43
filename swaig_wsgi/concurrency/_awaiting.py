"""Results of callbacks that may be ``async``, for synchronous callers."""

from __future__ import annotations

import contextvars
import inspect
import sys
from collections.abc import Awaitable
from typing import Any

from . import _greenlets as greenlets

Errors = tuple[type[BaseException], ...]


def callback_errors() -> Errors:
    """Return what a user's callback may raise without ending the worker.

    Since Python 3.8, the error of a canceled task is not an Exception, but it must not be taken for
    a worker's shutdown. Nothing can raise it before asyncio is imported, which takes as long as
    importing all of this package. Call this in an ``except`` clause, which runs only if there is
    an exception.
    """
    asyncio: Any = sys.modules.get("asyncio")
    try:
        return (Exception, asyncio.CancelledError)
    except AttributeError:  # not loaded, or another thread is just importing it
        return (Exception,)


def callback_errors_and_exit() -> Errors:
    """Like :func:`callback_errors`, with the error of ``sys.exit()``."""
    return (*callback_errors(), SystemExit)


#: What most callbacks return; inspect.isawaitable() takes a microsecond.
_NEVER_AWAITABLE = frozenset({bool, dict, str, type(None)})


def resolve(value: Any) -> Any:
    """Return `value`, or its result if it is awaitable.

    An awaitable runs to completion in an event loop of its own. Where this thread already runs a
    loop, or gevent has replaced threads, that loop runs in a fresh thread while this one waits.
    The awaitable can read the caller's context variables either way. A coroutine returned by a
    coroutine is awaited as well. Generators, including asynchronous ones, are not awaitable and
    are returned unchanged.

    Raises:
        RuntimeError: the awaitable belongs to another event loop.
        BaseException: whatever the awaitable raises.
    """
    if type(value) in _NEVER_AWAITABLE or not inspect.isawaitable(value):
        return value
    import asyncio

    try:
        if not greenlets.threads_are_greenlets():
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
        # If no loop or thread could be created, the coroutine never started.
        if inspect.iscoroutine(value):
            value.close()


def _outcome(value: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    # gevent prints an exception that leaves one of its threads, secrets included.
    try:
        return _run(value), None
    except BaseException as error:
        return None, error


def _run(value: Awaitable[Any]) -> Any:
    import asyncio

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
