"""Event loops for async callbacks; system threads and locks under gevent and fork."""

from __future__ import annotations

from ._awaiting import Errors, callback_errors, callback_errors_and_exit, resolve
from ._forks import renew_in_children
from ._greenlets import (
    outside_main_hub,
    system_lock,
    system_sleep,
    thread_pool,
    threads_are_greenlets,
)

__all__ = [
    "CALLBACK_ERRORS",
    "CALLBACK_ERRORS_AND_EXIT",
    "callback_errors",
    "callback_errors_and_exit",
    "outside_main_hub",
    "renew_in_children",
    "resolve",
    "system_lock",
    "system_sleep",
    "thread_pool",
    "threads_are_greenlets",
]

CALLBACK_ERRORS: Errors
CALLBACK_ERRORS_AND_EXIT: Errors


def __getattr__(name: str) -> Errors:
    """Return the constants, which include an error of asyncio, and so import it."""
    if name not in ("CALLBACK_ERRORS", "CALLBACK_ERRORS_AND_EXIT"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import asyncio  # noqa: F401 - which callback_errors() looks for

    return callback_errors() if name == "CALLBACK_ERRORS" else callback_errors_and_exit()
