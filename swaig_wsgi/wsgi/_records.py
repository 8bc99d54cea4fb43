"""What records say about a request: escaped, of bounded length, and without secrets."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..core.redaction import are_harmless, redact_text, redact_url
from ._request_id import request_id
from ._types import WSGIEnvironment

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

#: Among fields, marks them as safe.
SAFE = "_safe"
_SAFE_BY_FORM = frozenset({"request_id", "level", "repeated"})

#: A value with one of these could forge another field.
_UNSAFE = " \"'="


def request_fields(environ: WSGIEnvironment) -> dict[str, Any]:
    """Return what a record says about the request, escaped and of bounded length."""
    return record_fields(environ, {})


def record_fields(environ: WSGIEnvironment, others: Mapping[str, object]) -> dict[str, Any]:
    """Return `others` and :func:`request_fields`, all of them escaped and of bounded length."""
    return safe_fields(raw_fields(environ, others))


def raw_fields(environ: WSGIEnvironment, others: Mapping[str, object]) -> dict[str, Any]:
    """As :func:`record_fields`, but as the client sent them, for :func:`safe_fields`."""
    get = environ.get
    fields: dict[str, Any] = {
        **others,
        "client": get("REMOTE_ADDR") or "-",
        "request_id": request_id(environ),
        "agent": get(AGENT) or "-",
        "method": get("REQUEST_METHOD") or "-",
        "path": f"{get('SCRIPT_NAME') or ''}{get('PATH_INFO') or ''}" or "-",
    }
    tool, call_id, auth = get(TOOL), get(CALL_ID) or get(CLAIMED_CALL_ID), get("swaig_wsgi.auth")
    if tool:
        fields["tool"] = tool
    if call_id:
        fields["call_id"] = call_id
    user = None if auth is None else getattr(auth, "username", None)
    if user:
        fields["user"] = user
    return fields


def safe_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return `fields` escaped and of bounded length.

    Some are safe by their form: the request id, which is checked, and numbers. Fields that are
    marked as :data:`SAFE` are returned without the mark.
    """
    texts = {name: value for name, value in fields.items() if name not in _SAFE_BY_FORM}
    if texts.pop(SAFE, False) or are_harmless(texts.values()):
        escaped = texts
    else:
        escaped = {name: _escaped(name, value) for name, value in texts.items()}
    return {name: escaped.get(name, value) for name, value in fields.items() if name != SAFE}


def agent_label(environ: WSGIEnvironment) -> str:
    """Return what a record says about the agent that serves the request, or ``-``."""
    return escape(environ.get(AGENT))


def escape(value: object, max_length: int = _MAX_NAME) -> str:
    """Return a value of a client without secrets and control characters, and not too long."""
    safe = redact_text(str(value or "-"), _MAX_REDACTED)
    return safe if len(safe) <= max_length else _cut(safe, max_length)


def write(logger: logging.Logger, fields: Mapping[str, Any]) -> None:
    """Write a record with `fields`, all of them safe, at their ``level``."""
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


def _escaped(name: str, value: Any) -> str:
    if name == "path":
        return _safe_path(value)
    return escape(value, _MAX_DETAIL if name == "detail" else _MAX_NAME)


def _safe_path(path: str) -> str:
    # Readable also if the server did not decode it as WSGI requires.
    if not path.isascii():
        with suppress(UnicodeEncodeError):
            path = path.encode("latin-1").decode("utf-8", "surrogateescape")
    # A client may have quoted the question mark before a token.
    safe = redact_url(path[:_MAX_REDACTED])
    return (safe if len(safe) <= _MAX_PATH else _cut(safe, _MAX_PATH)) or "-"


def _cut(safe: str, max_length: int) -> str:
    # After redaction: half a token is not recognized as one. Not in the middle of an escape.
    return re.sub(r"(?<!\\)((?:\\\\)*)\\?\Z", r"\1", safe[:max_length]) + "..."


def _quoted(value: str, unsafe: str = _UNSAFE) -> str:
    if not value or any(char in value for char in unsafe):
        return '"' + value.replace('"', '\\"') + '"'
    return value
