"""Tracebacks with the request that they belong to."""

from __future__ import annotations

import time

from ._loggers import log
from ._records import request_fields
from ._repeats import ALLOWANCE, WINDOW
from ._types import WSGIEnvironment


def log_exception(environ: WSGIEnvironment, text: str, *args: object) -> None:
    """Log the exception that is being handled, with the request that it belongs to."""
    fields = request_fields(environ)
    log.exception(f"{text} request_id=%s", *args, fields["request_id"], extra=fields)


class CallbackErrors:
    """Log what code of the application raises for any client: ten tracebacks a minute.

    The refusals that follow are in the security log, which sums them.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._end = 0.0
        self._count = 0

    def log(self, environ: WSGIEnvironment | None = None) -> None:
        """Log the exception that is being handled."""
        now = time.monotonic()
        if now >= self._end:
            self._end, self._count = now + WINDOW, 0
        self._count += 1
        if self._count > ALLOWANCE:
            if self._count == ALLOWANCE + 1:
                log.error("%s; for up to a minute, no more tracebacks are logged", self._text)
        elif environ is None:
            log.exception(self._text)
        else:
            log_exception(environ, self._text)
