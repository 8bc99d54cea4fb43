"""How gunicorn logs under ``python:swaig_wsgi.gunicorn``."""

from __future__ import annotations

import copy
import logging
import re
from typing import Any

from gunicorn import glogging  # type: ignore[import-untyped, unused-ignore]

from ..core.redaction import MASK, escape_control, redact_url
from ..wsgi import log, set_log_level

_FORMAT = "%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s"
_DATE_FORMAT = "%Y-%m-%dT%H:%M:%S%z"

# gunicorn writes whole request lines and URLs into its errors. Tokens are looked for everywhere,
# other secrets in words that may be URLs or queries.
_TOKEN = re.compile(r"((?:_|%5f){2}token(?:=|%3d))[^&#;\s\"']*", re.IGNORECASE)
_WORD = re.compile(r"\S+")
_URL_SIGNS = re.compile(r"[/?&@]")
# What may follow a URL in a sentence.
_AFTER_URL = "'\"`)]}>.,:"
#: Longer than any request line; what is longer still is masked as a whole.
_MAX_URL = 8192


class LineFormatter(logging.Formatter):
    """One line a record, whatever clients send: control characters escaped, secrets masked.

    Tracebacks follow in lines of their own, indented, so that no text in them passes for a record.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback below it."""
        # The first handler that formats a record stores the text of its traceback for the others.
        record = copy.copy(record)
        text = record.exc_text
        record.exc_text = _indented(text) if text and not record.exc_info else None
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line, with the message made safe."""
        record.message = _safe(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Return the traceback, indented."""
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        """Return the stack, indented."""
        return _indented(super().formatStack(stack_info))


class Logger(glogging.Logger):  # type: ignore[misc, unused-ignore]
    """gunicorn's logger, with one format and one destination for it and for ``swaig_wsgi``.

    An operator's own logging configuration (``--log-config`` and its kind) is left alone.
    """

    error_fmt = access_fmt = _FORMAT
    datefmt = _DATE_FORMAT

    def setup(self, cfg: Any) -> None:
        """Set up the handlers; gunicorn does this at its start and at each reload."""
        super().setup(cfg)
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


def _safe(text: str) -> str:
    text = _TOKEN.sub(rf"\1{MASK}", text)
    safe, end = [], 0
    for word in _WORD.finditer(text):
        safe += [escape_control(text[end : word.start()]), _safe_word(word[0])]
        end = word.end()
    return "".join(safe) + escape_control(text[end:])


def _safe_word(word: str) -> str:
    if not _URL_SIGNS.search(word):
        return escape_control(word)
    if len(word) > _MAX_URL:
        return MASK
    url = word.rstrip(_AFTER_URL)
    after = escape_control(word[len(url) :])
    first, ampersand, rest = url.partition("&")
    if ampersand and "=" in first and not _URL_SIGNS.search(first):
        # A query alone: its first name follows no question mark.
        return redact_url(f"?{first}")[1:] + redact_url(f"&{rest}") + after
    return redact_url(url) + after


def _indented(text: str) -> str:
    return "\n".join(f"    {_safe(line)}" for line in text.splitlines())
