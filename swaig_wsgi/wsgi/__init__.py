"""What every middleware uses: responses, logging, headers, URLs and bodies of requests."""

from ._bodies import LimitedInput, declared_length, read_body, replay_body, spool_body
from ._call_log import CallRecord, log_started, recording_call
from ._log_format import JSONFormatter, LineFormatter, configure_logging, formatter
from ._loggers import (
    call_log,
    keep_call_records,
    log,
    security_log,
    set_log_level,
    start_log,
)
from ._observer import add_observer, remove_observer
from ._public_url import (
    HOST_ALLOWED,
    allowed_host,
    public_base_url,
    public_request_url,
    raw_target,
)
from ._records import AGENT, CALL_ID, CLAIMED_CALL_ID, TOOL, request_fields
from ._refusal_app import PAGE_FIELDS, REFUSAL, REFUSAL_APP, USER_FIELDS, RefusalApp
from ._request_headers import EnvironHeaders, FoldedHeaders
from ._request_id import request_id
from ._responses import encode_json, refuse, respond, respond_json
from ._security_log import log_security
from ._tracebacks import log_exception
from ._unread import (
    BODY_READ,
    SERVER_LINGERS,
    UnreadBodyResponse,
    end_unread_body,
    leaves_body,
)

__all__ = [
    "AGENT",
    "BODY_READ",
    "CALL_ID",
    "CLAIMED_CALL_ID",
    "HOST_ALLOWED",
    "PAGE_FIELDS",
    "REFUSAL",
    "REFUSAL_APP",
    "SERVER_LINGERS",
    "TOOL",
    "USER_FIELDS",
    "CallRecord",
    "EnvironHeaders",
    "FoldedHeaders",
    "JSONFormatter",
    "LimitedInput",
    "LineFormatter",
    "RefusalApp",
    "UnreadBodyResponse",
    "add_observer",
    "allowed_host",
    "call_log",
    "configure_logging",
    "declared_length",
    "encode_json",
    "end_unread_body",
    "formatter",
    "keep_call_records",
    "leaves_body",
    "log",
    "log_exception",
    "log_security",
    "log_started",
    "public_base_url",
    "public_request_url",
    "raw_target",
    "read_body",
    "recording_call",
    "refuse",
    "remove_observer",
    "replay_body",
    "request_fields",
    "request_id",
    "respond",
    "respond_json",
    "security_log",
    "set_log_level",
    "spool_body",
    "start_log",
]
