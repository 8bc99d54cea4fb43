"""The loggers of this library, and their levels."""

from __future__ import annotations

import logging

log = logging.getLogger("swaig_wsgi")
security_log = logging.getLogger("swaig_wsgi.security")
call_log = logging.getLogger("swaig_wsgi.calls")
#: Apart from the log of calls, which has one record for each call.
start_log = logging.getLogger("swaig_wsgi.calls.started")


def set_log_level(level: int | str) -> None:
    """Set the level of the logger ``swaig_wsgi``.

    The security log stays at WARNING unless it has a level of its own: lowering verbosity must
    not silence refusals.
    """
    log.setLevel(level)
    if security_log.level == logging.NOTSET:
        security_log.setLevel(logging.WARNING)


def keep_call_records() -> None:
    """Set the log of calls to INFO unless it has a level of its own. For server commands.

    With ``SIGNALWIRE_LOG_LEVEL=warn``, too, the log must show whether a payment was made.
    """
    if call_log.level == logging.NOTSET:
        call_log.setLevel(logging.INFO)
