"""How gunicorn logs under ``python:swaig_wsgi.gunicorn``."""

from __future__ import annotations

import copy
import logging
import re
from typing import Any

from gunicorn import glogging  # type: ignore[import-untyped, unused-ignore]

from ..core.redaction import redact_text
from ..wsgi import call_log, log, security_log, set_log_level

_FORMAT = "%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s"
_DATE_FORMAT = "%Y-%m-%dT%H:%M:%S%z"

# A malformed request may contain anything, so that only the kind of error is logged, and a length.
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
    """One line a record, safe even if the record has passed no :class:`RedactingFilter`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback below it."""
        record = copy.copy(record)
        _FILTER.filter(record)
        return super().format(record)


_FORMATTER = logging.Formatter()
_FILTER = RedactingFilter()


class Logger(glogging.Logger):  # type: ignore[misc, unused-ignore]
    """gunicorn's logger, with one format and one destination for it and for ``swaig_wsgi``.

    An operator's own logging configuration (``--log-config`` and its kind) decides on handlers and
    formats, and on nothing else: records are redacted before.
    """

    error_fmt = access_fmt = _FORMAT
    datefmt = _DATE_FORMAT

    def setup(self, cfg: Any) -> None:
        """Set up the handlers; gunicorn does this at its start and at each reload."""
        super().setup(cfg)
        for logger in (self.error_log, self.access_log, log, security_log, call_log):
            logger.addFilter(_FILTER)
        if cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json:
            return
        if cfg.accesslog == cfg.errorlog:
            self.access_log.handlers[:] = self.error_log.handlers
        for handler in {*self.error_log.handlers, *self.access_log.handlers}:
            line = getattr(handler.formatter, "_fmt", _FORMAT)
            handler.setFormatter(LineFormatter(line, _DATE_FORMAT))
        log.handlers[:] = self.error_log.handlers
        log.propagate = False
        set_log_level(self.loglevel)


def _indented(text: str) -> str:
    half = _MAX_TRACEBACK // 2
    if len(text) > _MAX_TRACEBACK:
        text = f"{text[:half]}\n...\n{text[-half:]}"
    return "\n".join(f"    {redact_text(line)}" for line in text.splitlines())
