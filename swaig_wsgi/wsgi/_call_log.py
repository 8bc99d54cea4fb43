"""The log of calls: what became of each tool call, document and summary."""

from __future__ import annotations

import logging
import time
from typing import Any

from ..core.refusals import Refusal
from ._loggers import call_log, start_log
from ._observer import is_observed, observe
from ._records import escape, request_fields, write
from ._types import WSGIEnvironment


class CallRecord:
    """The outcome of a call, and its tool if that is known; the rest is in ``environ``."""

    # Defaults of the class: most calls change only the tool.
    outcome: str = "ran"
    #: Why it was refused, limited or invalid. Also in the security log, but that sums up.
    reason: str | None = None
    tool: str | None = None
    #: Equal for repeats of one call of a ``once`` tool.
    once: str | None = None

    def set_outcome(self, outcome: str, reason: str | None = None) -> None:
        self.outcome, self.reason = outcome, reason


class recording_call:  # noqa: N801 - a context manager; a generator would take twice the time
    """Write one record to the logger ``swaig_wsgi.calls`` when the block ends.

    The block sets the outcome. A :class:`Refusal` makes it ``refused``, for its reason, another
    exception ``failed``; both are raised again. ``unknown`` is a WARNING, everything else INFO.
    """

    __slots__ = ("_environ", "_event", "_record", "_started")

    def __init__(self, environ: WSGIEnvironment, event: str) -> None:
        self._environ = environ
        self._event = event

    def __enter__(self) -> CallRecord:
        self._record = CallRecord()
        self._started = time.perf_counter()
        return self._record

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        if error is not None:
            reason = error.reason if isinstance(error, Refusal) else None
            self._record.set_outcome("failed" if reason is None else "refused", reason)
        record = self._record
        level = logging.WARNING if record.outcome == "unknown" else logging.INFO
        enabled = call_log.isEnabledFor(level)
        if enabled or is_observed():
            seconds = time.perf_counter() - self._started
            fields = _call_fields(self._environ, self._event, record, level, seconds)
            observe("call", fields)
            if enabled:
                write(call_log, fields)


def log_started(environ: WSGIEnvironment, record: CallRecord) -> None:
    """Record that a tool is about to run: a process that dies in it leaves no other record."""
    enabled = start_log.isEnabledFor(logging.INFO)
    if not enabled and not is_observed():
        return
    fields = {"level": logging.INFO, "event": "tool_call_started", **request_fields(environ)}
    if record.once is not None:
        fields["once"] = record.once
    observe("start", fields)
    if enabled:
        write(start_log, fields)


def _call_fields(
    environ: WSGIEnvironment, event: str, record: CallRecord, level: int, seconds: float
) -> dict[str, Any]:
    fields: dict[str, Any] = {"level": level, "event": event, "outcome": record.outcome}
    if record.reason is not None:
        fields["reason"] = escape(record.reason)
    fields.update(request_fields(environ))
    # A name that the client made up would be a new label of every metric.
    fields.pop("tool", None)
    if event == "tool_call":
        fields["tool"] = escape(record.tool)
    if record.once is not None:
        fields["once"] = record.once
    fields["milliseconds"] = round(1000 * seconds, 1)
    return fields
