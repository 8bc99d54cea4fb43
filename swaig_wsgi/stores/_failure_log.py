"""Which failures of a store are logged: one outage fails every request, but has one cause."""

from __future__ import annotations

from collections.abc import Hashable

from ._base import StoreError

#: Seconds between records of the same failure.
INTERVAL = 60.0
#: The most causes that are told apart: a server writes the text of its errors.
_MOST = 32


class FailureLog:
    """Failures that were logged. Each cause is due at once, and then once a minute."""

    def __init__(self) -> None:
        self._logged_at: dict[Hashable, float] = {}

    def is_due(self, error: Exception, now: float, kind: str = "") -> bool:
        """Return whether to log `error`, and record that it was logged.

        Args:
            now: monotonic time, in seconds.
            kind: what failed, if different failures are logged separately.
        """
        cause = (error.cause if isinstance(error, StoreError) else "") or type(error).__name__
        key: Hashable = (kind, cause)
        if key not in self._logged_at and len(self._logged_at) >= _MOST:
            key = None
        if now - self._logged_at.get(key, float("-inf")) < INTERVAL:
            return False
        self._logged_at[key] = now
        return True
