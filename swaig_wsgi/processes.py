"""What the processes of one server have in common without any configuration.

The parent makes it before it forks, and the workers inherit it in memory. It never goes through
``os.environ``, which every program that a handler starts would inherit, too.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from typing import NamedTuple

from .concurrency import renew_in_children, system_lock
from .core.tokens import derive_key
from .stores._base import Place, Store
from .stores._url import open_store
from .stores.memory import MemoryStore
from .stores.sqlite import SQLiteStore


class GeneratedKey(NamedTuple):
    """A signing key that nobody configured."""

    key: bytes
    #: The process that made it; those that forked from it later have it, too.
    made_by: int
    #: Seconds since the epoch.
    made_at: float

    def __repr__(self) -> str:
        return f"GeneratedKey(made_by={self.made_by}, made_at={self.made_at})"


class SharedState:
    """Secrets and a store for all processes that fork from the one that makes this."""

    __slots__ = ("__weakref__", "_lock", "_password_key", "_secret", "_store", "made_at", "pid")

    def __init__(self) -> None:
        #: The process that made it, which alone removes what it holds.
        self.pid = os.getpid()
        #: When, in seconds since the epoch.
        self.made_at = time.time()
        self._secret = secrets.token_bytes(32)
        self._password_key = secrets.token_bytes(32)
        self._store: SQLiteStore | None = None
        self._lock = system_lock()
        renew_in_children(self)

    def renew_locks(self) -> None:
        """Begin anew in a forked child, where nobody would release what another thread held."""
        self._lock = system_lock()

    def __reduce__(self) -> str:
        raise TypeError("what is inherited in memory is not written anywhere")

    def key(self, context: str) -> GeneratedKey:
        """Return the key that signs for `context` alone where no secret is configured."""
        return GeneratedKey(derive_key(self._secret, context), self.pid, self.made_at)

    def password(self, name: str) -> str:
        """Return 16 hex characters, the password of the agent `name` where none is configured.

        Whoever knows the password of one agent knows nothing of those of others.
        """
        message = name.encode("utf-8", "surrogatepass")
        return hmac.new(self._password_key, message, hashlib.sha256).hexdigest()[:16]

    @property
    def store(self) -> SQLiteStore | None:
        """The store where none is configured; None until it is opened."""
        return self._store

    def open_store(self) -> SQLiteStore:
        """Return the store, a private SQLite file, made by the first call.

        Raises:
            OSError: its directory could not be made.
        """
        with self._lock:
            if self._store is None:
                self._store = SQLiteStore()
            return self._store


#: The place of every store in memory that :func:`default_store` makes.
IN_MEMORY = Place("memory://")

_installed: SharedState | None = None


def install(state: SharedState | None) -> None:
    """Make `state` what :func:`current` returns in this process and those that fork from it."""
    global _installed
    _installed = state


def current() -> SharedState | None:
    """Return what the parent made for all its processes, or None."""
    return _installed


def generated_key(context: str) -> GeneratedKey:
    """Return a key for `context`: the parent's for all its processes, else one of this process."""
    shared = current()
    if shared is not None:
        return shared.key(context)
    return GeneratedKey(secrets.token_bytes(32), os.getpid(), time.time())


def generated_password(name: str) -> tuple[str, int]:
    """Return a password for the agent `name`, and the process that made it.

    It is the parent's for all its processes, else one of this process; 16 hex characters.
    """
    shared = current()
    if shared is not None:
        return shared.password(name), shared.pid
    return secrets.token_hex(8), os.getpid()


def default_store(url: str | None = None) -> Store:
    """Return the store that `url` chooses, where it leaves that open the parent's, else memory.

    ``sqlite://`` leaves it open, too: a private file is shared only if the parent made it.

    Raises:
        ValueError, ImportError: as :func:`.url.open_store`.
    """
    if url is None or url == "sqlite://":
        shared = current()
        if shared is not None and shared.store is not None:
            return shared.store
    store = MemoryStore() if url is None else open_store(url)
    if isinstance(store, MemoryStore):
        # One of several that nobody chose: a request that one has counted is counted.
        store.place = IN_MEMORY
    return store


def is_shared(store: Store) -> bool:
    """Tell whether other processes of this server see what this process puts into `store`."""
    if isinstance(store, MemoryStore):
        return False
    # A private file that was made before the fork is one for all.
    return not (getattr(store, "private", False) and getattr(store, "pid", None) == os.getpid())
