"""At most once: tools that must not run again when the platform repeats a tool call.

A tool call claims its key in the store in two steps, runs, and replaces the claim by its result::

    (no value) --add--> claimed --replace_if--> confirmed --replace_if--> result --> (no value)
         ^                 |                     |     ^                         window
         +-----------------+                     +-----+
            after 5 seconds                     heartbeat

=========  ==============================================  ========================================
state      value; TTL                                      what it means
=========  ==============================================  ========================================
claimed    ``{"owner": <random>, "heartbeat": 0}``; 5 s    the tool has not run for this owner
confirmed  ``{"owner": ..., "heartbeat": 0, 1, ...}``; at  it runs, or has run; without heartbeats
           least until repeats are impossible              its process died, or never learned of it
result     ``{"result": <text>}``; the window              it has run; repeats return the text
=========  ==============================================  ========================================

A store may execute an operation whose reply is lost, even later. Therefore the tool runs only when
the store has replied that the claim is confirmed, and every write after the first names the owner:
a late one cannot touch the claim or the result of another tool call. A claim whose reply was lost
is never confirmed, so it frees itself. A confirmation whose reply was lost lets nothing run, and
if it was executed, there are no heartbeats.

A repeat waits for the result. It hears that the call is in progress only if it saw a heartbeat a
moment ago: near the end of its wait it responds to the first one, not to one that it remembers,
because the owner may have died since. In every other case the outcome is unknown to it: the claim
cannot be read or has vanished, or its owner is silent. Messages to the AI state only what this
process knows, because the AI repeats them to people.

While the tool runs, a thread renews the claim; if the store has lost it, because its clock was set
or it was restarted, the thread makes it again.
"""

from __future__ import annotations

import hashlib
import secrets
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from ..core._validation import ArgumentTypeError
from ..core.tokens import ToolToken
from ..stores._base import Store, StoreError
from ..stores._failure_log import FailureLog
from ..swaig._arguments import canonical
from ..wsgi import encode_json, log
from ..wsgi._observer import observe_store_failure

__all__ = ["Once", "call_key"]

#: Seconds that a repeat waits for the result of the first tool call.
WAIT = 5.0
#: Seconds at the end of `WAIT` in which a heartbeat shows that the first tool call runs. One is due
#: every second; the rest is patience with slow processes.
LISTEN = 2.0
#: Heartbeat interval, in seconds.
HEARTBEAT = 1.0
#: Seconds, in addition to the tool's window, for which a claim outlives its last heartbeat: a
#: process that was only suspended must not lose its claim.
GRACE = 60.0

#: Seconds within which a claim must be confirmed. That takes one round trip; the rest is patience
#: with slow processes, and how long an abandoned claim blocks its tool call.
UNCONFIRMED = 5.0

_POLL_INTERVAL = 0.05
#: The TTL that ends a claim: it is replaced, because `delete` does not look at the owner.
_AT_ONCE = sys.float_info.min

# Messages to the AI.
#: For a repeat of a running tool call.
IN_PROGRESS = (
    "That is still in progress. Nothing was started a second time; please ask again in a moment."
)
#: For a tool call that may or may not have run before.
UNKNOWN = (
    "It is unknown whether that was done. Nothing was started this time; please check before "
    "trying again."
)
#: For a repeat of a tool call whose result was too long for the store.
NOT_KEPT = (
    "That has already run to its end, and was not started a second time. Its result was too long "
    "to keep."
)
#: For a tool call that was claimed first and then could not be run.
UNCLAIMED = "I'm sorry, but I can't do that right now. Nothing was done this time."


class Once:
    """Tool calls that run only if the same one has not run, and is not running, in any process.

    Args:
        store: shared by all processes that serve the agent.

    Raises:
        TypeError: `store` has no method ``replace_if``. Without it, a process could confirm the
            claim of another.
    """

    def __init__(self, store: Store) -> None:
        if not hasattr(getattr(store, "base", store), "replace_if"):
            kind = type(getattr(store, "base", store)).__name__
            raise ArgumentTypeError(f"tools with once= need a store with replace_if, not {kind}")
        self._store = store
        self._failure_log = FailureLog()

    def run(
        self,
        key: str,
        window: float,
        handler: Callable[[], bytes],
        *,
        lifetime: float = 0,
        admit: Callable[[], bytes | None] = lambda: None,
        on_outcome: Callable[..., object] = lambda *outcome: None,
    ) -> bytes:
        """Run `handler` and return its result, or the stored one if the same tool call has run.

        `handler` never runs without a confirmed claim and a heartbeat, whatever the store does.

        Args:
            key: identifies the tool call; see :func:`call_key`.
            window: seconds after the result for which the same tool call is a repeat.
            handler: runs the tool and returns its result, a JSON object in ASCII; called at most
                once per `key` and window.
            lifetime: seconds for which repeats are possible. A tool call whose process died is not
                run again within them.
            admit: called when the claim is made and before it is confirmed, so for no repeat. A
                result other than None is returned instead of running `handler`, and is not stored.
            on_outcome: called with ``repeated``, ``unknown``, or ``refused`` and the reason, if the
                response is neither that of `handler` nor that of `admit`.
        """
        claim = _Claim(self._store, key, max(window + GRACE, lifetime))
        try:
            if not claim.make():
                return self._wait(key, on_outcome)
            refusal = admit()
            if refusal is None and not claim.confirm():
                # It expired first, and another tool call may have claimed the key.
                return self._wait(key, on_outcome)
        except StoreError as error:
            self._report("a call could not be claimed", error)
            on_outcome("unknown")
            return encode_json({"response": UNKNOWN})
        if refusal is None:
            try:
                heartbeat = _Heartbeat(claim, self._report)
            except Exception as error:
                self._report("no thread for the heartbeat could be started", error)
                on_outcome("refused", "no_thread")
                refusal = encode_json({"response": UNCLAIMED})
        if refusal is not None:
            self._release(claim)
            return refusal
        try:
            result = handler()
        finally:
            heartbeat.stop()
        try:
            self._store_result(claim, result, window)
        except StoreError as error:
            # The claim remains, so a repeat learns that the outcome is unknown.
            self._report("a result could not be stored", error)
        return result

    def _store_result(self, claim: _Claim, result: bytes, window: float) -> None:
        try:
            stored = claim.replace({"result": result.decode("ascii")}, window)
        except ValueError as error:
            self._report("a result is too long to be stored", error)
            shorter = encode_json({"response": NOT_KEPT}).decode("ascii")
            stored = claim.replace({"result": shorter}, window)
        if not stored:
            log.error("at most once: a result was not stored: another call has claimed its key")

    def _release(self, claim: _Claim) -> None:
        try:
            claim.release()
        except StoreError as error:
            # Until the claim expires, a repeat learns that the outcome is unknown.
            self._report("the claim of a call that never ran could not be released", error)

    def _wait(self, key: str, on_outcome: Callable[[str], object]) -> bytes:
        outcome, response = self._find_result(key)
        on_outcome(outcome)
        return response

    def _find_result(self, key: str) -> tuple[str, bytes]:
        end = time.monotonic() + WAIT
        before: dict[str, Any] = {}
        while True:
            try:
                claim = self._store.get(key)
            except StoreError as error:
                self._report("a repeated call could not be looked up", error)
                return "unknown", encode_json({"response": UNKNOWN})
            if claim is None:
                return "unknown", encode_json({"response": UNKNOWN})
            result = claim.get("result")
            if isinstance(result, str):
                return "repeated", result.encode("ascii")
            # The claim of another owner is no heartbeat: it may never be confirmed.
            alive = claim != before and claim.get("owner") == before.get("owner")
            now = time.monotonic()
            if before and alive and now >= end - LISTEN:
                return "repeated", encode_json({"response": IN_PROGRESS})
            if now >= end:
                return "unknown", encode_json({"response": UNKNOWN})
            before = claim
            time.sleep(_POLL_INTERVAL)

    def _report(self, problem: str, error: Exception) -> None:
        """Log a failure, each kind and cause at most once a minute."""
        if isinstance(error, StoreError):
            observe_store_failure()
        if self._failure_log.is_due(error, time.monotonic(), problem):
            log.error("at most once: %s: %s", problem, error)


class _Claim:
    """The claim of one tool call; raises StoreError if the outcome of an operation is unknown."""

    def __init__(self, store: Store, key: str, ttl: float) -> None:
        self._store, self._key, self._ttl = store, key, ttl
        # Random, so that processes cannot have the same one, not even after a fork.
        self._owner = secrets.token_hex(8)
        self._heartbeat = 0

    def make(self) -> bool:
        """Make the claim for a few seconds, unless there is one or a result."""
        return self._store.add(self._key, self._value(), UNCONFIRMED)

    def confirm(self) -> bool:
        """Make it last, if it is still there."""
        return self._store.replace_if(self._key, self._owner, self._value(), self._ttl)

    def release(self) -> bool:
        """End it, if it is still there."""
        return self._store.replace_if(self._key, self._owner, {}, _AT_ONCE)

    def renew(self) -> bool:
        """Record a heartbeat."""
        self._heartbeat += 1
        return self.replace(self._value(), self._ttl)

    def replace(self, value: dict[str, Any], ttl: float) -> bool:
        """Replace it, also if the store lost it; return False if another call has claimed the key.

        The claim must have been confirmed.
        """
        replaced = self._store.replace_if(self._key, self._owner, value, ttl)
        return replaced or self._store.add(self._key, value, ttl)

    def _value(self) -> dict[str, Any]:
        return {"heartbeat": self._heartbeat, "owner": self._owner}


class _Heartbeat:
    """The heartbeats of a running tool call, from their own thread."""

    def __init__(self, claim: _Claim, report: Callable[[str, Exception], None]) -> None:
        self._claim, self._report = claim, report
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="swaig-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop; no heartbeat is sent after this returns."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(HEARTBEAT):
            try:
                if not self._claim.renew():
                    log.error("at most once: a running call lost its claim to another one")
                    return
            except StoreError as error:
                self._report("a heartbeat failed", error)


def call_key(agent_name: str, token: ToolToken, arguments: dict[str, Any]) -> str:
    """Return the key of a tool call; only repeats of the same tool call share it.

    Args:
        agent_name: agents may share a store.
        token: the token of the tool call. Its nonce is part of the key: the same tool call with a
            token of another document is not a repeat.
        arguments: as passed to the handler, simplified as by :class:`~swaig_wsgi.swaig.Tool`.
            Neither the order of members matters nor how numbers are written: 5 equals 5.0.
    """
    call = [agent_name, token.call_id, token.function_name, token.nonce, arguments]
    return "once:" + hashlib.sha256(canonical(call).encode("ascii")).hexdigest()
