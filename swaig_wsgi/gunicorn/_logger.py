"""How gunicorn logs under ``python:swaig_wsgi.gunicorn``."""

from __future__ import annotations

import atexit
import logging
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from gunicorn import glogging  # type: ignore[import-untyped, unused-ignore]

from ..config import Settings
from ..core.redaction import redact_text
from ..wsgi import (
    JSONFormatter,
    LineFormatter,
    call_log,
    keep_call_records,
    log,
    security_log,
    set_log_level,
    start_log,
)
from ..wsgi._log_format import TEXT_FORMAT, RedactingFilter
from ..wsgi._repeats import Fields, Repeats

#: gunicorn's records of malformed HTTP, and of connections to a TLS port without TLS; those of
#: applications that raise, also in the middle of a response.
_SUMMED = re.compile(r"Invalid request from ip=(?P<client>\S*): |Error handling request\b")


class Atoms(glogging.SafeAtoms):  # type: ignore[misc, unused-ignore]
    """The values of an access log's line, each made safe before it is quoted.

    Escaping the line as a whole would double the backslash before a quotation mark, which would
    then end a quoted value.
    """

    def __init__(self, atoms: dict[str, Any]) -> None:
        dict.__init__(self, atoms)

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        return redact_text(value).replace('"', '\\"') if isinstance(value, str) else value


class _AccessFilter(RedactingFilter):
    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, Atoms):
            with suppress(Exception):  # An unusable format is reported as that of other records.
                record.msg, record.args = record.getMessage(), None
                record._redacted = True
        return super().filter(record)


class _SummingFilter(logging.Filter):
    """Sums gunicorn's records of requests, as the security log sums refusals.

    Records of invalid requests are summed by client, tracebacks of applications all together. Sums
    that are due are written with the next such record, the next request, or at the exit.
    """

    def __init__(self) -> None:
        super().__init__()
        self._repeats = Repeats()
        atexit.register(lambda: self._write(self._repeats.flush()))

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write the record now."""
        message = record.getMessage()
        found = _SUMMED.match(message)
        if found is None or hasattr(record, "repeated"):
            return True
        fields = {
            "event": "invalid_request" if found["client"] else "error",
            "reason": "",
            "client": found["client"] or "",
            "agent": "",
            "level": record.levelno,
            "message": message,
            "logger": record.name,
        }
        due = self._repeats.add(fields)
        self._write(each for each in due if each is not fields)
        return any(each is fields for each in due)

    def write_due(self) -> None:
        """Write the sums that are due."""
        self._write(self._repeats.due())

    def _write(self, sums: Iterable[Fields]) -> None:
        for each in sums:
            extra = {name: each[name] for name in ("client", "repeated") if each[name]}
            logging.getLogger(each["logger"]).log(
                each["level"],
                "%s repeated=%d",
                each["message"],
                each["repeated"],
                # It is redacted already, and must not be escaped again.
                extra={**extra, "_redacted": True},
            )


_FILTER = RedactingFilter()
_ACCESS_FILTER = _AccessFilter()
_SUMMING_FILTER = _SummingFilter()


def _replace_handlers(logger: logging.Logger, handlers: list[logging.Handler]) -> None:
    for handler in {*logger.handlers} - {*handlers}:
        if hasattr(handler, "_gunicorn"):  # made by gunicorn, before a reload or for this log alone
            handler.close()
    logger.handlers[:] = handlers


class Logger(glogging.Logger):  # type: ignore[misc, unused-ignore]
    """gunicorn's logger, with one format and one destination for it and for ``swaig_wsgi``.

    An operator's own logging configuration (``--log-config`` and its kind) decides on handlers and
    formats, and on nothing else: records are redacted before.
    """

    error_fmt = access_fmt = TEXT_FORMAT
    atoms_wrapper_class = Atoms

    def setup(self, cfg: Any) -> None:
        """Set up the handlers; gunicorn does this at its start and at each reload."""
        super().setup(cfg)
        self.access_log.addFilter(_ACCESS_FILTER)
        for logger in (self.error_log, log, security_log, call_log, start_log):
            logger.addFilter(_FILTER)
        self.error_log.addFilter(_SUMMING_FILTER)
        if cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json:
            return
        if cfg.accesslog == cfg.errorlog:
            _replace_handlers(self.access_log, self.error_log.handlers)
        as_json = Settings.from_env().log_format == "json"
        for handler in {*self.error_log.handlers, *self.access_log.handlers}:
            line = getattr(handler.formatter, "_fmt", TEXT_FORMAT)
            handler.setFormatter(JSONFormatter() if as_json else LineFormatter(line))
        _replace_handlers(log, self.error_log.handlers)
        log.propagate = False
        set_log_level(self.loglevel)
        keep_call_records()

    def access(self, *args: Any) -> None:
        """Log a request, and the sums that are due. Called after each one."""
        _SUMMING_FILTER.write_due()
        super().access(*args)
