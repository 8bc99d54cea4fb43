"""Locks that are free in every forked child, even if a thread of the parent held them."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class LockOwner(Protocol):
    """An object that holds locks."""

    def renew_locks(self) -> None:
        """Replace all locks: a thread that the child does not have may have held them."""


_owners: weakref.WeakSet[LockOwner] = weakref.WeakSet()


def renew_in_children(owner: LockOwner) -> None:
    """Call ``owner.renew_locks()`` first thing in each child that this process forks.

    Only the forking thread exists in the child, so nothing there would release a lock that another
    thread held. The owner is referenced weakly.
    """
    _owners.add(owner)


def _after_fork_in_child() -> None:
    for owner in list(_owners):
        owner.renew_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
