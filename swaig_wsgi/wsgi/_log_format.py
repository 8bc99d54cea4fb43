"""How records become lines of text or JSON that no client can forge, and without secrets."""

from __future__ import annotations

import copy
import json
import logging
import os
import re
import socket
import textwrap
import time
from typing import Any

from ..core.redaction import escape_control, filter_sensitive_headers, mask_known, redact_text
from ._loggers import keep_call_records, log, set_log_level

TEXT_FORMAT = "%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s"

# gunicorn's records of malformed requests, which may contain anything, so that only the kind of
# error is logged, and a length.
_MALFORMED = re.compile(
    r"(Invalid request from ip=\S*: |Ignored premature client disconnection\. )"
    r"(?!\[SSL)([^:'\"]*[:'\"])(.*)",
    re.DOTALL,
)
#: Characters of a traceback; what is in the middle of a longer one is cut.
_MAX_TRACEBACK = 16_384


class RedactingFilter(logging.Filter):
    """Makes records safe before any handler formats them, whatever clients send.

    Secrets are masked, control characters escaped, and malformed requests left out. Tracebacks
    become text, whose lines are indented, so that none of them passes for a record.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and return True."""
        if getattr(record, "_redacted", False):
            return True
        record._redacted = True
        try:
            message = record.getMessage()
        except Exception as error:
            message = f"{record.msg} (its arguments cannot be formatted: {type(error).__name__})"
        malformed = _MALFORMED.fullmatch(message)
        if malformed:
            start, kind, rest = malformed.groups()
            message = f"{start}{kind[:-1].rstrip()} ({len(rest)} characters)"
        record.msg, record.args = redact_text(message), None
        if record.exc_info and not record.exc_text:
            record.exc_text = _FORMATTER.formatException(record.exc_info)
        # Other formatters would format it again.
        record.exc_info = None
        if record.exc_text:
            record.exc_text = _indented(record.exc_text)
        if record.stack_info:
            record.stack_info = _indented(record.stack_info)
        return True


class LineFormatter(logging.Formatter):
    """One line a record, with its time in UTC.

    Safe even if the record has passed no :class:`RedactingFilter`.
    """

    def __init__(self, fmt: str = TEXT_FORMAT) -> None:
        super().__init__(fmt)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback below it."""
        record = copy.copy(record)
        _FILTER.filter(record)
        return super().format(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Return the time of the record, such as ``2026-03-01T12:34:56.789Z``."""
        return _time(record)


class JSONFormatter(logging.Formatter):
    """One JSON object a line, for collectors of logs.

    Its members are ``time`` (UTC), ``level``, ``logger``, ``host`` (``HOSTNAME``, else the name of
    the machine), ``process``, ``message`` and, if there is one, ``exception`` or ``stack``; also
    the record's extra attributes, those with secret names excepted. Text is without secrets, and
    in ASCII.
    """

    def __init__(self) -> None:
        super().__init__()
        # The variable tells replicas on one machine apart.
        self._host = os.environ.get("HOSTNAME") or socket.gethostname()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        extra = {str(name): each for name, each in vars(record).items() if name not in _ATTRIBUTES}
        record = copy.copy(record)
        _FILTER.filter(record)
        members = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "host": self._host,
            "process": record.process,
            "message": record.getMessage(),
        }
        for name, text in (("exception", record.exc_text), ("stack", record.stack_info)):
            if text:
                members[name] = textwrap.dedent(text)
        for name, value in filter_sensitive_headers(extra).items():
            members.setdefault(redact_text(name, 128), _member(value))
        return json.dumps(members)


_FORMATTER = logging.Formatter()
_FILTER = RedactingFilter()
#: The attributes that every record has, and those that formatting adds.
_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "_redacted"}


def formatter(log_format: str) -> logging.Formatter:
    """Return the formatter of a value of ``SIGNALWIRE_LOG_FORMAT``."""
    return JSONFormatter() if log_format == "json" else LineFormatter()


def configure_logging(log_format: str, level: str | None) -> None:
    """Log to stderr, unless the program has configured logging itself. For server commands.

    Args:
        log_format: ``text`` or ``json``, for all loggers.
        level: the level of ``swaig_wsgi``; by default ``INFO``.
    """
    root = logging.getLogger()
    if root.handlers or log.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(log_format))
    root.addHandler(handler)
    if level is not None or log.level == logging.NOTSET:
        set_log_level(level or "INFO")
        keep_call_records()


def _time(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.created % 1 * 1000):03d}Z"


def _member(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and value.bit_length() <= 64:
        return value
    # Infinity and NaN are not JSON.
    if isinstance(value, float) and abs(value) < float("inf"):
        return value
    try:
        text = str(value)
    except Exception as error:
        return f"(cannot be formatted: {type(error).__name__})"
    safe = redact_text(text)
    # JSON escapes control characters; a value that is escaped twice cannot be compared.
    return text if safe == escape_control(text) else safe


def _indented(text: str) -> str:
    # Over several lines; half a PEM block is not recognized as one.
    text = mask_known(text)
    half = _MAX_TRACEBACK // 2
    if len(text) > _MAX_TRACEBACK:
        text = f"{text[:half]}\n...\n{text[-half:]}"
    return "\n".join(f"    {redact_text(line) if line else line}" for line in text.splitlines())
