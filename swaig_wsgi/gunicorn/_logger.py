"""How gunicorn logs under ``python:swaig_wsgi.gunicorn``."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from gunicorn import glogging  # type: ignore[import-untyped, unused-ignore]

from ..config import Settings
from ..core.redaction import redact_text
from ..wsgi import JSONFormatter, LineFormatter, call_log, log, security_log, set_log_level
from ..wsgi._log_format import TEXT_FORMAT, RedactingFilter


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


_FILTER = RedactingFilter()
_ACCESS_FILTER = _AccessFilter()


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
        for logger in (self.error_log, log, security_log, call_log):
            logger.addFilter(_FILTER)
        if cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json:
            return
        if cfg.accesslog == cfg.errorlog:
            self.access_log.handlers[:] = self.error_log.handlers
        as_json = Settings.from_env().log_format == "json"
        for handler in {*self.error_log.handlers, *self.access_log.handlers}:
            line = getattr(handler.formatter, "_fmt", TEXT_FORMAT)
            handler.setFormatter(JSONFormatter() if as_json else LineFormatter(line))
        log.handlers[:] = self.error_log.handlers
        log.propagate = False
        set_log_level(self.loglevel)
