"""Event loops for async callbacks; threads and locks that stay real under gevent and fork."""

from ._awaiting import FAULTS, FAULTS_AND_EXIT, resolve
from ._forks import renew_in_children
from ._greenlets import are_threads, run_elsewhere, system_lock, system_sleep, thread_pool

__all__ = [
    "FAULTS",
    "FAULTS_AND_EXIT",
    "are_threads",
    "renew_in_children",
    "resolve",
    "run_elsewhere",
    "system_lock",
    "system_sleep",
    "thread_pool",
]
