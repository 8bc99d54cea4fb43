"""At most once: tools that must not run again when the platform repeats a tool call.

The first tool call claims its key in the store and later stores its result there. While it runs, a
thread renews the claim by heartbeats, each after it has confirmed that the claim is still that of
its tool call: a store may lose one, because its clock was set or it was restarted. A repeat waits
for the result. A claim without a result and without heartbeats belongs to a process that died:
whether the tool ran is unknown, and it is not run again.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from ..core.tokens import ToolToken
from ..stores._base import Store, StoreError
from ..wsgi import encode_json, log

__all__ = ["Once", "call_key"]

#: Seconds that a repeat waits for the result of the first tool call.
WAIT = 5.0
#: Heartbeat interval, in seconds.
HEARTBEAT = 1.0
#: Seconds, in addition to the tool's window, for which a claim outlives its last heartbeat: a
#: process that was only suspended must not lose its claim.
GRACE = 60.0

_POLL_INTERVAL = 0.05

# Messages to the AI.
#: For a repeat of a running tool call.
IN_PROGRESS = (
    "That is still in progress. Nothing was started a second time; please ask again in a moment."
)
#: For a repeat of a tool call whose process died.
UNKNOWN = (
    "It is unknown whether that was done, because the service was interrupted. It was not started "
    "a second time. Please check before trying again."
)
#: For a repeat of a tool call whose result was too long for the store.
NOT_KEPT = "That has been done already, and was not done a second time."
#: For a tool call that could not be claimed.
UNCLAIMED = "I'm sorry, but I can't do that right now. Nothing has been done."


class Once:
    """Tool calls that run only if the same one has not run, and is not running, in any process.

    Args:
        store: shared by all processes that serve the agent.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def run(
        self, key: str, window: float, handler: Callable[[], bytes], *, lifetime: float = 0
    ) -> bytes:
        """Run `handler` and return its result, or the stored one if the same tool call has run.

        `handler` never runs without a claim and a heartbeat, whatever the store does.

        Args:
            key: identifies the tool call; see :func:`call_key`.
            window: seconds after the result for which the same tool call is a repeat.
            handler: runs the tool and returns its result, a JSON object in ASCII; called at most
                once per `key` and window.
            lifetime: seconds for which repeats are possible. A tool call whose process died is not
                run again within them.
        """
        ttl = max(window + GRACE, lifetime)
        claim = {"heartbeat": 0, "owner": secrets.token_hex(8)}
        try:
            if not self._store.add(key, claim, ttl):
                return self._wait(key)
        except StoreError:
            log.exception("at most once: a call could not be claimed")
            return encode_json({"response": UNCLAIMED})
        try:
            heartbeat = _Heartbeat(self._store, key, claim, ttl)
        except Exception:
            log.exception("at most once: no thread for the heartbeat could be started")
            self._release(key)
            return encode_json({"response": UNCLAIMED})
        try:
            result = handler()
        finally:
            heartbeat.stop()
        try:
            self._store_result(key, result, window)
        except StoreError:
            # The claim remains, so a repeat learns that the outcome is unknown.
            log.exception("at most once: a result could not be stored")
        return result

    def _store_result(self, key: str, result: bytes, window: float) -> None:
        try:
            self._store.set(key, {"result": result.decode("ascii")}, window)
        except ValueError:
            log.exception("at most once: a result is too long to be stored")
            shorter = encode_json({"response": NOT_KEPT}).decode("ascii")
            self._store.set(key, {"result": shorter}, window)

    def _release(self, key: str) -> None:
        try:
            self._store.delete(key)
        except StoreError:
            # Until the claim expires, a repeat learns that the outcome is unknown.
            log.exception("at most once: the claim of a call that never ran could not be released")

    def _wait(self, key: str) -> bytes:
        end = time.monotonic() + WAIT
        first = last = None
        while True:
            try:
                claim = self._store.get(key)
            except StoreError:
                log.exception("at most once: a repeated call could not be looked up")
                return encode_json({"response": UNKNOWN})
            if claim is None:
                return encode_json({"response": UNKNOWN})
            result = claim.get("result")
            if isinstance(result, str):
                return result.encode("ascii")
            last = claim.get("heartbeat")
            first = last if first is None else first
            if time.monotonic() >= end:
                return encode_json({"response": UNKNOWN if last == first else IN_PROGRESS})
            time.sleep(_POLL_INTERVAL)


class _Heartbeat:
    """The heartbeats of a running tool call, from their own thread."""

    def __init__(self, store: Store, key: str, claim: dict[str, Any], ttl: float) -> None:
        self._store, self._key, self._claim, self._ttl = store, key, claim, ttl
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="swaig-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop; no heartbeat follows after this returns."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(HEARTBEAT):
            self._claim["heartbeat"] += 1
            try:
                if not self._renew():
                    log.error("at most once: a running call lost its claim to another one")
                    return
            except StoreError:
                log.warning("at most once: a heartbeat failed", exc_info=True)

    def _renew(self) -> bool:
        """Renew the claim, or make it again if the store lost it; return whether it is ours."""
        found = self._store.get(self._key)
        if found is None:
            return self._store.add(self._key, self._claim, self._ttl)
        if found.get("owner") != self._claim["owner"]:
            return False
        self._store.set(self._key, self._claim, self._ttl)
        return True


def call_key(agent_name: str, token: ToolToken, arguments: dict[str, Any]) -> str:
    """Return the key of a tool call; only repeats of the same tool call share it.

    Args:
        agent_name: agents may share a store.
        token: the token of the tool call. Its nonce is part of the key: the same tool call with a
            token of another document is not a repeat.
        arguments: as passed to the handler; the order of members does not matter.
    """
    call = [agent_name, token.call_id, token.function_name, token.nonce, arguments]
    text = json.dumps(call, sort_keys=True)
    return "once:" + hashlib.sha256(text.encode("ascii")).hexdigest()
