"""Tool calls: registry, schemas, argument validation and results. Standard library only."""

from __future__ import annotations

from ._arguments import check_arguments, unexpected_arguments, unreadable_arguments
from ._formats import json_default
from ._options import ToolOptions, check_options
from ._registry import Tool, ToolRegistry, tool_name
from ._requests import (
    FunctionCall,
    call_id_of,
    parse_function_call,
    requested_functions,
    sip_username,
    summary_of,
)
from ._results import FunctionResult, to_response

__all__ = [
    "FunctionCall",
    "FunctionResult",
    "Tool",
    "ToolOptions",
    "ToolRegistry",
    "call_id_of",
    "check_arguments",
    "check_options",
    "json_default",
    "parse_function_call",
    "requested_functions",
    "sip_username",
    "summary_of",
    "to_response",
    "tool_name",
    "unexpected_arguments",
    "unreadable_arguments",
]
