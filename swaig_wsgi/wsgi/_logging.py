"""The loggers of this library, and the security log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..core.redaction import escape_control

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

log = logging.getLogger("swaig_wsgi")
security_log = logging.getLogger("swaig_wsgi.security")


def set_log_level(level: int | str) -> None:
    """Set from which level on the logger ``swaig_wsgi`` writes.

    The security log goes on at WARNING, unless somebody has given it a level of its own: who logs
    less must not thereby lose the record of what was refused.
    """
    log.setLevel(level)
    if security_log.level == logging.NOTSET:
        security_log.setLevel(logging.WARNING)


def log_security(
    environ: WSGIEnvironment,
    event: str,
    reason: str,
    detail: str = "",
    level: int = logging.WARNING,
) -> None:
    """Write one record to the logger ``swaig_wsgi.security``; nothing else writes there.

    The record has attributes `event`, `reason` and `client` for structured logging; `detail`, for
    whoever reads it, stands in brackets at the end. None of them may be a secret; control
    characters are escaped here.
    """
    client = escape_control(str(environ.get("REMOTE_ADDR") or "-"))
    event, reason = escape_control(event), escape_control(reason)
    security_log.log(
        level,
        "%s reason=%s client=%s%s",
        event,
        reason,
        client,
        f" ({escape_control(detail)})" if detail else "",
        extra={"event": event, "reason": reason, "client": client},
    )
