"""How gunicorn logs under ``python:swaig_wsgi.gunicorn``."""

from __future__ import annotations

from typing import Any

from gunicorn import glogging  # type: ignore[import-untyped, unused-ignore]

from ..config import Settings
from ..wsgi import JSONFormatter, LineFormatter, call_log, log, security_log, set_log_level
from ..wsgi._log_format import TEXT_FORMAT, RedactingFilter

_FILTER = RedactingFilter()


class Logger(glogging.Logger):  # type: ignore[misc, unused-ignore]
    """gunicorn's logger, with one format and one destination for it and for ``swaig_wsgi``.

    An operator's own logging configuration (``--log-config`` and its kind) decides on handlers and
    formats, and on nothing else: records are redacted before.
    """

    error_fmt = access_fmt = TEXT_FORMAT

    def setup(self, cfg: Any) -> None:
        """Set up the handlers; gunicorn does this at its start and at each reload."""
        super().setup(cfg)
        for logger in (self.error_log, self.access_log, log, security_log, call_log):
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
