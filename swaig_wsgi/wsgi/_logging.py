"""The loggers of this library, and the security log."""

from __future__ import annotations

import logging

from ..core.redaction import escape_control
from ._types import WSGIEnvironment

log = logging.getLogger("swaig_wsgi")
security_log = logging.getLogger("swaig_wsgi.security")


def set_log_level(level: int | str) -> None:
    """Set the level of the logger ``swaig_wsgi``.

    The security log stays at WARNING unless it has a level of its own: lowering verbosity must
    not silence refusals.
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

    The record has the attributes `event`, `reason` and `client` for structured logging. `detail`
    follows in parentheses. None of them may be a secret. Control characters are escaped.
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
