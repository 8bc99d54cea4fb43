"""The SWML document: prompt, contexts, AI settings, call flow and rendering.

Standard library only.
"""

from __future__ import annotations

from ._ai import AISettings
from ._call_flow import CallFlow
from ._contexts import Context, ContextBuilder
from ._document import Endpoints, ai_of, check_functions, merge_changes, render_document, signature
from ._prompt import Prompt
from ._steps import Step
from ._template import Templates
from ._webhooks import Webhooks

__all__ = [
    "AISettings",
    "CallFlow",
    "Context",
    "ContextBuilder",
    "Endpoints",
    "Prompt",
    "Step",
    "Templates",
    "Webhooks",
    "ai_of",
    "check_functions",
    "merge_changes",
    "render_document",
    "signature",
]
