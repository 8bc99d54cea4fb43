"""Spans of OpenTelemetry around tool calls, in programs that use OpenTelemetry.

Nothing here imports it: a program that records spans has imported ``opentelemetry.trace`` itself.
An error of OpenTelemetry is logged once, and never affects the tool call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ..wsgi import CallRecord, log, recording_call, request_fields
from ..wsgi._types import WSGIEnvironment

__all__ = ["recording_tool_call"]

_ERRORS = ("failed", "unknown")

_failure_logged = False


def recording_tool_call(environ: WSGIEnvironment, tool: str) -> AbstractContextManager[CallRecord]:
    """As ``recording_call(environ, "tool_call")``, in a span with the same facts.

    The span is current in the block, so that those of the handler are its children.

    Args:
        tool: the tool's name, or ``-`` if the agent has no such tool.
    """
    if "opentelemetry.trace" not in sys.modules:
        return recording_call(environ, "tool_call")
    return _in_span(environ, tool)


@contextmanager
def _in_span(environ: WSGIEnvironment, tool: str) -> Iterator[CallRecord]:
    opened = _guard(_start, environ, tool)
    record = None
    try:
        with recording_call(environ, "tool_call") as record:
            yield record
    finally:
        if opened is not None and record is not None:
            _guard(_end, *opened, environ, record)


def _guard(function: Callable[..., Any], *args: Any) -> Any:
    global _failure_logged
    try:
        return function(*args)
    except Exception:
        if not _failure_logged:
            _failure_logged = True
            log.exception("OpenTelemetry failed to record a tool call (logged once)")
        return None


def _start(environ: WSGIEnvironment, tool: str) -> tuple[Any, Any]:
    trace: Any = sys.modules["opentelemetry.trace"]
    attributes = {"swaig.agent": request_fields(environ)["agent"], "swaig.tool": tool}
    # Looked up for each call, since the provider may be configured after the agent.
    span = trace.get_tracer("swaig_wsgi").start_span(f"execute_tool {tool}", attributes=attributes)
    context = sys.modules["opentelemetry.context"]
    # Not use_span(): it could raise between the handler and its result.
    return span, context.attach(trace.set_span_in_context(span))


def _end(span: Any, token: Any, environ: WSGIEnvironment, record: CallRecord) -> None:
    try:
        fields = request_fields(environ)
        span.set_attribute("swaig.outcome", record.outcome)
        for name in ("call_id", "request_id"):
            if name in fields:
                span.set_attribute(f"swaig.{name}", fields[name])
        if record.outcome in _ERRORS:
            # No description, and no exception event: both have the handler's message.
            span.set_attribute("error.type", record.outcome)
            span.set_status(sys.modules["opentelemetry.trace"].StatusCode.ERROR)
        span.end()
    finally:
        sys.modules["opentelemetry.context"].detach(token)
