"""Locks that are free in every forked child, whoever held them in the parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Owner(Protocol):
    """Has locks."""

    def renew_locks(self) -> None:
        """Put fresh locks into the place of those that a thread of the parent may have held."""


_owners: weakref.WeakSet[Owner] = weakref.WeakSet()


def renew_in_children(owner: Owner) -> None:
    """Call ``owner.renew_locks()`` in each child that this process forks, before it does anything.

    Of the threads only the one that forks lives on in the child: what another one held there is
    never released. The owner may be garbage at any time.
    """
    _owners.add(owner)


def _after_fork_in_child() -> None:
    for owner in list(_owners):
        owner.renew_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
