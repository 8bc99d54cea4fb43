"""Observers of security and call records, for metrics and traces; none is added by default."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Callable

Observer = Callable[[str, Mapping[str, Any]], object]

_log = logging.getLogger("swaig_wsgi")

# Replaced as a whole, never changed: other threads may be iterating over them.
_observers: tuple[Observer, ...] = ()
_failed: tuple[Observer, ...] = ()


def add_observer(callback: Observer) -> None:
    """Call ``callback(kind, fields)`` for each record from now on, in the thread that serves.

    `kind` is ``"security"``, ``"call"``, or for ``tool_call_started`` ``"start"``. `fields` are the
    attributes of the record, and its ``level``. They include records that are not written, because
    they repeat others or because of the logger's level. All observers share one mapping, which must
    not be changed.

    Two further kinds have no records: ``"store"``, for each operation of a store that failed
    (`event`), and with ``SWML_METRICS`` ``"request"``, for each request to an agent (`event`,
    `agent`, `endpoint`, `status`, `seconds`).

    An exception in `callback` is logged once, and does not affect the request.
    """
    global _observers
    _observers = (*_observers, callback)


def remove_observer(callback: Observer) -> None:
    """Stop calling `callback`. Do nothing if it was not added."""
    global _observers, _failed
    _observers = tuple(each for each in _observers if each != callback)
    _failed = tuple(each for each in _failed if each != callback)


def is_observed() -> bool:
    """Return whether there are observers."""
    return bool(_observers)


def observe(kind: str, fields: Mapping[str, Any]) -> None:
    """Call the observers, if there are any."""
    if _observers:
        _call(kind, fields)


def observe_store_failure() -> None:
    """Report one failed operation of a store."""
    observe("store", {"event": "store_failed"})


def _call(kind: str, fields: Mapping[str, Any]) -> None:
    global _failed
    for callback in _observers:
        try:
            callback(kind, fields)
        except Exception:
            if callback not in _failed:
                _failed = (*_failed, callback)
                _log.exception("the observer %r failed (logged once)", callback)
