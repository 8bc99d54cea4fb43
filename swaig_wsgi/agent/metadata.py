"""The store of session metadata, whose failures are also reported to observers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..stores import StoreError
from ..stores._scoped import ScopedStore
from ..wsgi._observer import observe_store_failure

__all__ = ["MetadataStore"]


class MetadataStore(ScopedStore):
    """An agent's store as its handlers use it, through :class:`SessionManager`.

    They get the errors of the store, so that nothing here would notice them otherwise.
    """

    def get(self, key: str) -> dict[str, Any] | None:
        with _reported():
            return super().get(key)

    def merge(self, key: str, value: Mapping[str, Any], ttl: float) -> dict[str, Any]:
        with _reported():
            return super().merge(key, value, ttl)

    def delete(self, key: str) -> bool:
        with _reported():
            return super().delete(key)


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except StoreError:
        observe_store_failure()
        raise
