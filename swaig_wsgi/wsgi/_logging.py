"""The loggers of this library: the security log, and the log of calls."""

from __future__ import annotations

import atexit
import logging
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..core.redaction import redact_text, redact_url
from ..core.refusals import Refusal
from ._observer import is_observed, observe
from ._repeats import ALLOWANCE, WINDOW, Repeats
from ._request_id import request_id
from ._types import WSGIEnvironment

log = logging.getLogger("swaig_wsgi")
security_log = logging.getLogger("swaig_wsgi.security")
call_log = logging.getLogger("swaig_wsgi.calls")
#: Apart from the log of calls, which has one record for each call.
start_log = logging.getLogger("swaig_wsgi.calls.started")

#: In ``environ``: the agent that serves the request, the tool that is called.
AGENT = "swaig_wsgi.agent"
TOOL = "swaig_wsgi.tool"
#: In ``environ``: the verified call id, and the one that an unverified request names.
CALL_ID = "swaig_wsgi.call_id"
CLAIMED_CALL_ID = "swaig_wsgi.claimed_call_id"

#: Characters; what clients choose must not make a record arbitrarily long.
_MAX_NAME = 128
_MAX_PATH = 512
_MAX_DETAIL = 1024
#: Characters that are searched for secrets; longer than any token.
_MAX_REDACTED = 8192

_repeats = Repeats()


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
    fields: dict[str, Any] = {
        "level": level,
        "event": _escape(event),
        "reason": _escape(reason),
        **request_fields(environ),
    }
    if detail:
        fields["detail"] = _escape(detail, _MAX_DETAIL)
    observe("security", fields)
    for each in _repeats.add(fields):
        _write(security_log, each)


@dataclass
class CallRecord:
    """The outcome of a call, and its tool if that is known; the rest is in ``environ``."""

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
        if isinstance(error, Refusal):
            self._record.set_outcome("refused", error.reason)
        elif error is not None:
            self._record.set_outcome("failed")
        seconds = time.perf_counter() - self._started
        _log_call(self._environ, self._event, self._record, seconds)


def log_started(environ: WSGIEnvironment, record: CallRecord) -> None:
    """Record that a tool is about to run: a process that dies in it leaves no other record."""
    if start_log.isEnabledFor(logging.INFO):
        fields = {"level": logging.INFO, "event": "tool_call_started", **request_fields(environ)}
        if record.once is not None:
            fields["once"] = record.once
        _write(start_log, fields)


def _log_call(environ: WSGIEnvironment, event: str, record: CallRecord, seconds: float) -> None:
    level = logging.WARNING if record.outcome == "unknown" else logging.INFO
    enabled = call_log.isEnabledFor(level)
    if not enabled and not is_observed():
        return
    fields: dict[str, Any] = {"level": level, "event": event, "outcome": record.outcome}
    if record.reason is not None:
        fields["reason"] = _escape(record.reason)
    fields.update(request_fields(environ))
    # A name that the client made up would be a new label of every metric.
    fields.pop("tool", None)
    if event == "tool_call":
        fields["tool"] = _escape(record.tool)
    if record.once is not None:
        fields["once"] = record.once
    fields["milliseconds"] = round(1000 * seconds, 1)
    observe("call", fields)
    if enabled:
        _write(call_log, fields)


def request_fields(environ: WSGIEnvironment) -> dict[str, Any]:
    """Return what a record says about the request, escaped and of bounded length."""
    user = getattr(environ.get("swaig_wsgi.auth"), "username", None)
    call_id = environ.get(CALL_ID) or environ.get(CLAIMED_CALL_ID)
    fields = {
        "client": _escape(environ.get("REMOTE_ADDR")),
        "request_id": request_id(environ),
        "agent": agent_label(environ),
        "method": _escape(environ.get("REQUEST_METHOD")),
        "path": _path(environ),
    }
    for name, value in (("tool", environ.get(TOOL)), ("call_id", call_id), ("user", user)):
        if value:
            fields[name] = _escape(value)
    return fields


def agent_label(environ: WSGIEnvironment) -> str:
    """Return what a record says about the agent that serves the request, or ``-``."""
    return _escape(environ.get(AGENT))


def write_repeats(*, all_open: bool = False) -> None:
    """Write the sums of repeated records that are due, or those of all open windows, too."""
    for each in _repeats.flush() if all_open else _repeats.due():
        _write(security_log, each)


atexit.register(write_repeats, all_open=True)


def _write(logger: logging.Logger, fields: Mapping[str, Any]) -> None:
    extra = {name: value for name, value in fields.items() if name != "level"}
    # Every field is safe by itself. Redacting the message would escape it a second time, and where
    # `"` is escaped with two backslashes, it ends the quoted value.
    safe = {**extra, "_redacted": True}
    logger.log(fields["level"], "%s", format_message(extra), extra=safe)


def format_message(fields: Mapping[str, Any]) -> str:
    """Return ``event name=value ... (detail)``, with quotation marks where they are needed."""
    pairs = [
        f" {name}={_quoted(str(value))}"
        for name, value in fields.items()
        if name not in ("event", "detail")
    ]
    detail = ""
    if "detail" in fields:
        # In parentheses, spaces alone forge nothing.
        detail = f" ({_quoted(fields['detail'], _UNSAFE.replace(' ', ''))})"
    return f"{fields['event']}{''.join(pairs)}{detail}"


def _path(environ: WSGIEnvironment) -> str:
    path = f"{environ.get('SCRIPT_NAME') or ''}{environ.get('PATH_INFO') or ''}"
    # Readable also if the server did not decode it as WSGI requires.
    if not path.isascii():
        with suppress(UnicodeEncodeError):
            path = path.encode("latin-1").decode("utf-8", "surrogateescape")
    # A client may have quoted the question mark before a token.
    safe = redact_url(path[:_MAX_REDACTED])
    return (safe if len(safe) <= _MAX_PATH else _cut(safe, _MAX_PATH)) or "-"


def _escape(value: object, max_length: int = _MAX_NAME) -> str:
    safe = redact_text(str(value or "-"), _MAX_REDACTED)
    return safe if len(safe) <= max_length else _cut(safe, max_length)


def _cut(safe: str, max_length: int) -> str:
    # After redaction: half a token is not recognized as one. Not in the middle of an escape.
    return re.sub(r"(?<!\\)((?:\\\\)*)\\?\Z", r"\1", safe[:max_length]) + "..."


#: A value with one of these could forge another field.
_UNSAFE = " \"'="


def _quoted(value: str, unsafe: str = _UNSAFE) -> str:
    if not value or any(char in value for char in unsafe):
        return '"' + value.replace('"', '\\"') + '"'
    return value
