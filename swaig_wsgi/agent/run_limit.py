"""How often a tool may run in one call: ``max_runs``, against an AI in a loop.

A run is counted in the store, under the verified call id and the tool's name, before it starts: one
decision of the store, shared by all workers, documents and tokens of the call. Counts are never
taken back. A run that was counted and did not start, because the store's reply was lost or the
claim of ``once`` could not be confirmed, uses up one of `max_runs`: taking it back would take a
store that has just failed, and could admit a run too many. When in doubt, a tool runs less often.
"""

from __future__ import annotations

import hashlib
import json
import logging

from ..stores._base import Store, StoreError
from ..swaig import Tool
from ..wsgi import CallRecord, encode_json, log_security
from ..wsgi._observer import observe_store_failure
from ..wsgi._types import WSGIEnvironment

__all__ = ["RunLimit"]

#: Longer than any call, in seconds: SWML ends one after 4 hours unless its document says otherwise.
_LONGEST_CALL = 86_400
#: The longest window of a store, in seconds.
_LONGEST_WINDOW = 10**10

# Messages to the AI.
LIMITED = "I'm sorry, but that is no longer possible in this call. Nothing was done this time."
#: If the store fails.
UNCOUNTED = "I'm sorry, but I can't do that right now. Nothing was done this time."


class RunLimit:
    """The counters of an agent's tools.

    Args:
        store: shared by all processes that serve the agent, and by no other agent.
        token_expiry: lifetime of the agent's tokens, in seconds.
    """

    def __init__(self, store: Store, token_expiry: float) -> None:
        self._store = store
        # The window starts with the first run. Each document fetched during the call has new
        # tokens, so a call outlasts the lifetime of one, and the last token outlasts the call.
        self._window = min(_LONGEST_CALL + token_expiry, _LONGEST_WINDOW)

    def refusal(
        self, environ: WSGIEnvironment, tool: Tool, call_id: str, record: CallRecord
    ) -> bytes | None:
        """Count a run of `tool`; return None if it may start, else the result for the AI.

        `record` gets the outcome and the reason if it may not.
        """
        if tool.max_runs is None:
            return None
        try:
            count = self._store.hit(_key(tool.name, call_id), self._window).count
        except StoreError as error:
            observe_store_failure()
            detail = f"tool {tool.name!r} did not run: {error}"
            log_security(environ, "tool_limited", "store_failed", detail, logging.ERROR)
            record.set_outcome("limited", "store_failed")
            return encode_json({"response": UNCOUNTED})
        if count <= tool.max_runs:
            return None
        detail = f"tool {tool.name!r}, at most {tool.max_runs} in one call"
        log_security(environ, "tool_limited", "max_runs", detail)
        record.set_outcome("limited", "max_runs")
        return encode_json({"response": LIMITED})


def _key(name: str, call_id: str) -> str:
    text = json.dumps([call_id, name])
    return "runs:" + hashlib.sha256(text.encode("ascii")).hexdigest()
