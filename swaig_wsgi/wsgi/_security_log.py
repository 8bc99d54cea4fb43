"""The security log: one record for each refusal, unless it repeats others."""

from __future__ import annotations

import atexit
import logging

from ._loggers import security_log
from ._observer import is_observed, observe
from ._records import SAFE, raw_fields, safe_fields, write
from ._repeats import Repeats
from ._types import WSGIEnvironment

#: The number of fields of a record that names neither tool nor user, and has no `detail`.
_USUAL = 8
#: Characters.
_SHORT = 512

_repeats = Repeats()


def log_security(
    environ: WSGIEnvironment,
    event: str,
    reason: str,
    detail: str = "",
    level: int = logging.WARNING,
) -> None:
    """Write one record to the logger ``swaig_wsgi.security``; nothing else writes there.

    The record has the attributes `event`, `reason`, `client`, `request_id`, `agent`, `method` and
    `path`, as far as they are known `tool`, `call_id` and `user`, and `detail`, if there is one.
    The message consists of the same, `detail` in parentheses. None of them may be a secret. Control
    characters are escaped. The path has no query.

    From the eleventh in a minute on, records of equal event, reason, client and agent, and of
    ``fallback_credential`` also of equal user, are counted, and written as one record with the
    attribute `repeated`; see :mod:`._repeats`.
    """
    named = {"level": level, "event": event or "-", "reason": reason or "-"}
    fields = raw_fields(environ, named)
    if detail:
        fields["detail"] = detail
    # Most records of a flood are only counted, so what is short enough to be kept meanwhile is
    # escaped when it is written.
    if is_observed() or len(fields) > _USUAL or len(f"{fields['method']}{fields['path']}") > _SHORT:
        safe = safe_fields(fields)
        observe("security", safe)
        fields = {**safe, SAFE: True}
    for each in _repeats.add(fields):
        write(security_log, safe_fields(each))


def write_repeats(*, all_open: bool = False) -> None:
    """Write the sums of repeated records that are due, or those of all open windows, too."""
    for each in _repeats.flush() if all_open else _repeats.due():
        write(security_log, safe_fields(each))


atexit.register(write_repeats, all_open=True)
