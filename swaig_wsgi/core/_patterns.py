"""Regular expressions that are compiled when they are first used.

Compiling all of a program's takes more time than importing the rest of it, and most programs use
few: those that read malformed input, or features that are off.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast

__all__ = ["lazy_pattern"]


def lazy_pattern(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return an object with the methods and attributes of ``re.compile(pattern, flags)``."""
    return cast("re.Pattern[AnyStr]", _LazyPattern(pattern, flags))


class _LazyPattern:
    def __init__(self, pattern: Any, flags: int) -> None:
        self.pattern = pattern
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        # Called for what is not an attribute yet; from then on, it is one.
        value = getattr(re.compile(self.pattern, self._flags), name)
        setattr(self, name, value)
        return value
