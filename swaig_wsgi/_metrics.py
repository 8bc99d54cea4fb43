"""What is counted for Prometheus; the only module that imports ``prometheus_client``.

It is imported only with ``SWML_METRICS``. Everything is counted from what observers see, so the
layers that decide know nothing of Prometheus. The values of labels are bounded: agents and tools
are named by the code, and everything else is from the lists below, or ``other``.

The metrics are in the default registry of ``prometheus_client``, beside those of the application.
If ``PROMETHEUS_MULTIPROC_DIR`` is set, each process counts in files of that directory, and the
process that is asked sums up the files of all, those of processes that have ended included.
"""

from __future__ import annotations

import glob
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import REGISTRY, Counter, Histogram, exposition, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from .config import ConfigurationError
from .wsgi import add_observer

__all__ = ["DIRECTORY", "is_multiprocess", "mark_process_dead", "render", "start_counting"]

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

#: The refusals that are counted: the reasons of each event. docs/events.md describes them.
REFUSALS: Mapping[str, frozenset[str]] = {
    event: frozenset(reasons.split())
    for event, reasons in {
        "auth_refused": "missing_credentials bad_credentials malformed_credentials"
        " refused_by_validate_basic_auth nothing_configured validator_error bad_url",
        "auth_failures": "limit_exceeded",
        "client_refused": "client_not_allowed unknown_client",
        "https_refused": "plain_http",
        "host_refused": "host_not_allowed missing_host malformed_host",
        "origin_refused": "origin_not_allowed",
        "preflight_refused": "origin_not_allowed method_not_allowed header_not_allowed",
        "signature_refused": "missing_signature bad_sha256 bad_sha1 malformed_signature"
        " repeated_body_hash body_hash_mismatch body_hash_moved"
        " malformed_form url_only bad_url sha1_unavailable",
        "tool_token_refused": "missing expired bad_signature malformed wrong_function wrong_call"  # nosec B105 # reasons, no secret
        " repeated",
        "tool_limited": "max_runs store_failed",
        "request_refused": "bad_request repeated_token not_found unknown_function"
        " method_not_allowed unsupported_media_type range_not_satisfiable",
        "body_refused": "too_large too_large_chunked length_required malformed_length"
        " conflicting_framing unsupported_coding incomplete_body unreadable_body spool_failed",
        "rate_limited": "limit_exceeded",
        "rate_limit_unavailable": "store_failed",
        "auth_failure_limit_unavailable": "store_failed",
        "service_misconfigured": "per_process_state conflicting_proxy_policies",
        "request_failed": "exception",
    }.items()
}
#: Security events that refuse nothing.
REPORTS: Mapping[str, frozenset[str]] = {
    "auth_failures": frozenset({"exempt_client"}),
    "fallback_credential": frozenset(
        {"password", "bearer", "api_key", "signing_key", "tool_secret"}
    ),
    "signature_url_unverified": frozenset({"host_not_verified"}),
    "rate_limit_shared": frozenset({"empty_key", "untrusted_forwarding"}),
    "auth_failure_limit_shared": frozenset({"empty_key", "untrusted_forwarding"}),
    "rate_limit_store_failed": frozenset({"store_failed"}),
    "auth_failure_limit_store_failed": frozenset({"store_failed"}),
}
OTHER = "other"

_NO_VERSION = re.compile(r"version=(?!\d{1,4}(?:\.\d{1,4}){0,2}\s*(?:[,;]|$))")

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def _check_mode() -> None:
    """Reject a directory that does not exist or that ``prometheus_client`` was imported without."""
    directory = os.environ.get(DIRECTORY)
    if directory is None:
        return
    if not os.path.isdir(directory):
        raise ConfigurationError(f"{DIRECTORY}: expected an existing directory")
    if not values.ValueClass._multiprocess:
        problem = "set after prometheus_client was imported, which counts in this process alone"
        raise ConfigurationError(f"{DIRECTORY}: {problem}; set it before the server starts")


_check_mode()
_requests = Counter(
    "swaig_requests",
    "Requests to agents, by endpoint and status.",
    ("agent", "endpoint", "status"),
)
_refusals = Counter(
    "swaig_refusals",
    "Refused requests and tool calls, by security event and reason.",
    ("agent", "event", "reason"),
)
_tool_calls = Counter(
    "swaig_tool_calls",
    "Tool calls, by outcome.",
    ("agent", "tool", "outcome"),
)
_tool_starts = Counter(
    "swaig_tool_starts",
    "Handlers of once and max_runs tools that were about to run.",
    ("agent", "tool"),
)
_tool_seconds = Histogram(
    "swaig_tool_seconds",
    "Duration of tool calls whose handler ran.",
    ("agent", "tool"),
    buckets=_SECONDS,
)
_request_seconds = Histogram(
    "swaig_request_seconds",
    "Duration of requests to agents, up to the response.",
    ("agent", "endpoint"),
    buckets=_SECONDS,
)
_store_failures = Counter("swaig_store_failures", "Failed operations of a store.")
_fallbacks = Counter(
    "swaig_fallback_credentials",
    "Requests with an earlier credential that is still accepted.",
    ("kind",),
)

_lock = threading.Lock()
_counting = False


def start_counting() -> None:
    """Count from now on, in this process and those that fork from it."""
    global _counting
    with _lock:
        if not _counting:
            add_observer(_count)
        _counting = True


def _count(kind: str, fields: Mapping[str, Any]) -> None:
    if kind == "request":
        agent, endpoint = fields["agent"], fields["endpoint"]
        _requests.labels(agent, endpoint, fields["status"]).inc()
        _request_seconds.labels(agent, endpoint).observe(fields["seconds"])
    elif kind == "call" and fields["event"] == "tool_call":
        agent, tool, outcome = fields["agent"], fields["tool"], fields["outcome"]
        _tool_calls.labels(agent, tool, outcome).inc()
        if outcome in ("ran", "failed"):
            _tool_seconds.labels(agent, tool).observe(fields["milliseconds"] / 1000)
    elif kind == "start":
        _tool_starts.labels(fields["agent"], fields["tool"]).inc()
        # The figures from which it is subtracted must exist, be they 0.
        _tool_calls.labels(fields["agent"], fields["tool"], "ran")
    elif kind == "security":
        _count_event(fields["agent"], fields["event"], fields["reason"])
    elif kind == "store":
        _store_failures.inc()


def _count_event(agent: str, event: str, reason: str) -> None:
    reports = REPORTS.get(event, frozenset())
    if event == "fallback_credential":
        _fallbacks.labels(reason if reason in reports else OTHER).inc()
    elif reason not in reports:
        # An authenticator of the application may have made up the reason.
        reasons = REFUSALS.get(event)
        event = OTHER if reasons is None else event
        _refusals.labels(agent, event, reason if reason in (reasons or ()) else OTHER).inc()


def is_multiprocess() -> bool:
    """Return whether the figures are those of all processes of the server."""
    return DIRECTORY in os.environ


class _View:
    """What is exposed: everything, or of our metrics those of one agent and of none."""

    def __init__(self, agent: str | None) -> None:
        self._agent = agent

    def collect(self) -> Iterator[Metric]:
        shown = (self._agent, "-")
        for family in _collect():
            if self._agent is not None and family.name.startswith("swaig_"):
                family.samples = [
                    each for each in family.samples if each.labels.get("agent", "-") in shown
                ]
            yield family


def _collect() -> Iterable[Metric]:
    if not is_multiprocess():
        return REGISTRY.collect()
    files = glob.glob(os.path.join(glob.escape(os.environ[DIRECTORY]), "*.db"))
    # A worker that starts creates its files empty, and prometheus_client cannot read those.
    merge: Any = MultiProcessCollector.merge
    families: Iterable[Metric] = merge([each for each in files if _size(each)])
    return families


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:  # of a live gauge, whose worker has just ended
        return 0


def render(accept: str, agent: str | None = None) -> tuple[bytes, str]:
    """Return the metrics and their content type.

    Args:
        accept: the field ``Accept`` of the request.
        agent: leave out the figures of other agents; None for those of all.
    """
    # prometheus_client compares versions as numbers, and repeats them in the content type.
    encode, content_type = exposition.choose_encoder("" if _NO_VERSION.search(accept) else accept)
    return encode(_View(agent)), content_type
