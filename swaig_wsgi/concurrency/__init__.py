"""Event loops for async callbacks; system threads and locks under gevent and fork."""

from ._awaiting import CALLBACK_ERRORS, CALLBACK_ERRORS_AND_EXIT, resolve
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
    "outside_main_hub",
    "renew_in_children",
    "resolve",
    "system_lock",
    "system_sleep",
    "thread_pool",
    "threads_are_greenlets",
]
