"""Locks in forked children."""

from __future__ import annotations

import gc
import weakref

from swaig_wsgi.concurrency import _forks as forks


class Owner:
    renewed = 0

    def renew_locks(self):
        self.renewed += 1


def test_owners_renew_their_locks_in_each_child_and_only_in_children(run_python):
    program = """
import os
from swaig_wsgi.concurrency import renew_in_children

class Owner:
    renewed = 0
    def renew_locks(self):
        self.renewed += 1

first, second = Owner(), Owner()
renew_in_children(first)
renew_in_children(second)
pid = os.fork()
if pid == 0:
    os._exit(10 * first.renewed + second.renewed)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), first.renewed, second.renewed)
"""
    assert run_python(program) == "11 0 0\n"


def test_owners_are_referenced_weakly():
    owner = Owner()
    forks.renew_in_children(owner)
    forks._after_fork_in_child()
    assert owner.renewed == 1
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None
    forks._after_fork_in_child()
