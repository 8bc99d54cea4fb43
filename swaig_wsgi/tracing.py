"""Spans of OpenTelemetry without secrets; needs the extra ``tracing``.

No other module imports OpenTelemetry, and this one only when it is used.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .core.redaction import (
    MASK,
    escape_control,
    filter_sensitive_headers,
    redact_text,
    redact_url,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["redacting_exporter"]

_log = logging.getLogger("swaig_wsgi")

_T = TypeVar("_T")

#: Attributes whose values are URLs, or parts of them.
_URL_PREFIXES = ("client.", "http.", "net.", "server.", "url.")
#: Text in which nothing could be masked; most attributes are like this. Secrets are longer.
_PLAIN = re.compile(r"[\w./-]{0,7}")
_HEADER_PREFIXES = ("http.request.header.", "http.response.header.")


def redacting_exporter(exporter: _T, *, secret_headers: Iterable[str] = ()) -> _T:
    """Return a span exporter that passes spans on to `exporter` without the secrets in them.

    Masked are tool tokens, userinfo and secret parameters of URLs, credentials and secret members
    of other text, as by :func:`~swaig_wsgi.core.redaction.redact_text`, and the whole value of a
    secret header field or attribute, such as ``http.request.header.cookie`` and ``db.password``.
    It applies to the name, the attributes, the events (exceptions included), the links and the
    status of every span, also where handlers and other libraries set them. Other values are not
    changed. A span that cannot be masked is not exported; the first one is logged.

    The work is done by the thread that exports: with ``BatchSpanProcessor`` not by the one that
    handles the request.

    Args:
        exporter: an :class:`opentelemetry.sdk.trace.export.SpanExporter`.
        secret_headers: names of further header fields with secrets, if they are captured; see
            ``OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST``.

    Raises:
        ImportError: ``opentelemetry-sdk`` is not installed.
    """
    try:
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError as error:
        raise ImportError("tracing needs opentelemetry-sdk: swaig-wsgi[tracing]") from error
    masking: Any = _RedactingExporter(exporter, tuple(secret_headers))
    return masking  # type: ignore[no-any-return]


class _RedactingExporter:
    """A SpanExporter; a subclass of it would have to import OpenTelemetry."""

    def __init__(self, exporter: Any, secret_headers: tuple[str, ...]) -> None:
        self._exporter = exporter
        self._secret_headers = secret_headers
        self._failed = False

    def export(self, spans: Sequence[ReadableSpan]) -> Any:
        masked = []
        for span in spans:
            try:
                masked.append(_masked_span(span, self._secret_headers))
            except Exception:
                # Without the traceback, which could show what could not be masked.
                if not self._failed:
                    self._failed = True
                    _log.error("a span was not exported: it could not be masked (logged once)")
        return self._exporter.export(masked)

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return bool(self._exporter.force_flush(timeout_millis))


def _masked_span(span: ReadableSpan, secret_headers: tuple[str, ...]) -> ReadableSpan:
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Link, Status

    def attributes(owner: Any) -> dict[str, Any]:
        return {
            name: _masked_value(name, value, secret_headers)
            for name, value in (owner.attributes or {}).items()
        }

    description = span.status.description
    return ReadableSpan(
        # The name of a server span ends with its path, which may contain spaces.
        name=_masked_text(span.name, is_url=True),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes(span),
        events=[
            Event(_masked_text(each.name), attributes(each), each.timestamp) for each in span.events
        ],
        links=[Link(each.context, attributes(each)) for each in span.links],
        kind=span.kind,
        status=Status(
            span.status.status_code, None if description is None else _masked_text(description)
        ),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _masked_value(name: str, value: Any, secret_headers: tuple[str, ...]) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        return tuple(_masked_value(name, each, secret_headers) for each in value)
    header = next((name[len(each) :] for each in _HEADER_PREFIXES if name.startswith(each)), None)
    if _is_secret(header or name, secret_headers if header else ()):
        return MASK
    if isinstance(value, Mapping):
        return {key: _masked_value(key, each, secret_headers) for key, each in value.items()}
    if not isinstance(value, str):
        return MASK
    return _masked_text(value, is_url=header is None and name.startswith(_URL_PREFIXES))


@functools.lru_cache(maxsize=1024)
def _is_secret(name: str, secret_headers: tuple[str, ...]) -> bool:
    return not filter_sensitive_headers({name: ""}, secret_headers)


def _masked_text(text: str, *, is_url: bool = False) -> str:
    if _PLAIN.fullmatch(text):
        return text
    # A text without spaces may also be a URL or a query, whatever its name is.
    masks: list[Callable[[str], str]] = [redact_text]
    if is_url or not any(map(str.isspace, text)):
        masks.insert(0, redact_url)
    for mask in masks:
        masked = mask(text)
        # What has no secret is left as it is, not escaped.
        if masked != escape_control(text):
            text = masked
    return text
