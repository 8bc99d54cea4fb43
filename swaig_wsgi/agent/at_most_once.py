"""At most once: tools that must not run again when the platform repeats a call."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from ..core.tokens import ToolToken
from ..stores._base import Store, StoreError
from ..wsgi import encode_json, log

#: Seconds that a repeat waits for the first call to end.
WAIT = 5.0
#: Seconds between two signs of life of a running call.
BEAT = 1.0
#: Seconds for which a claim outlives the last sign of life, beside the tool's own window: a
#: process that was merely stopped for a while must not find its call taken.
GRACE = 60.0

_POLL = 0.05

#: What a repeat hears.
IN_PROGRESS = (
    "That is still in progress. Nothing was started a second time; please ask again in a moment."
)
UNKNOWN = (
    "It is unknown whether that was done, because the service was interrupted. It was not started "
    "a second time. Please check before trying again."
)
#: What a repeat hears of an answer that was too long to be kept.
NOT_KEPT = "That has been done already, and was not done a second time."
#: What a call hears that could not be claimed.
UNCLAIMED = "I'm sorry, but I can't do that right now. Nothing has been done."


class Once:
    """Runs a call unless the same one has run, or is running, in any process.

    The first call claims its key in the store, and leaves its answer there. While it runs it
    gives signs of life; a claim without them, and without an answer, is that of a process that
    died, and nobody knows how far it got.

    Args:
        store: shared by all processes that serve the agent.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def run(
        self, key: str, window: float, handler: Callable[[], bytes], *, lifetime: float = 0
    ) -> bytes:
        """Return what `handler` answers, or what it answered to the same call before.

        Args:
            key: names the call; see :func:`call_key`.
            window: seconds after the answer in which the same call is a repeat.
            handler: runs the tool and returns its answer, a JSON object in ASCII; called at most
                once per `key` and window.
            lifetime: seconds for which a repeat can come at all. A call that ended without an
                answer, because its process died, is not run again before that.

        Whatever the store does, `handler` does not run without a claim, nor without signs of life.
        """
        ttl = max(window + GRACE, lifetime)
        try:
            if not self._store.add(key, {"beat": 0}, ttl):
                return self._wait(key)
        except StoreError:
            log.exception("a call of a tool that runs at most once could not be claimed")
            return encode_json({"response": UNCLAIMED})
        try:
            beat = _Beat(self._store, key, ttl)
        except Exception:
            log.exception("a call of a tool that runs at most once found no thread beside it")
            self._take_back(key)
            return encode_json({"response": UNCLAIMED})
        try:
            answer = handler()
        finally:
            beat.stop()
        try:
            self._keep(key, answer, window)
        except StoreError:
            # The claim stays, so a repeat hears that the outcome is unknown.
            log.exception("the answer of a tool that runs at most once could not be kept")
        return answer

    def _keep(self, key: str, answer: bytes, window: float) -> None:
        try:
            self._store.set(key, {"answer": answer.decode("ascii")}, window)
        except ValueError:
            log.exception("the answer of a tool that runs at most once is too long to be kept")
            shorter = encode_json({"response": NOT_KEPT}).decode("ascii")
            self._store.set(key, {"answer": shorter}, window)

    def _take_back(self, key: str) -> None:
        try:
            self._store.delete(key)
        except StoreError:
            # A repeat hears that the outcome is unknown, which is too careful, until it expires.
            log.exception("the claim of a call that never ran could not be taken back")

    def _wait(self, key: str) -> bytes:
        end = time.monotonic() + WAIT
        first = last = None
        while True:
            try:
                claim = self._store.get(key)
            except StoreError:
                log.exception("a repeated call could not be looked up")
                return encode_json({"response": UNKNOWN})
            if claim is None:
                return encode_json({"response": UNKNOWN})
            answer = claim.get("answer")
            if isinstance(answer, str):
                return answer.encode("ascii")
            last = claim.get("beat")
            first = last if first is None else first
            if time.monotonic() >= end:
                return encode_json({"response": UNKNOWN if last == first else IN_PROGRESS})
            time.sleep(_POLL)


class _Beat:
    """Signs of life of a running call, from a thread of their own."""

    def __init__(self, store: Store, key: str, ttl: float) -> None:
        self._store, self._key, self._ttl = store, key, ttl
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="swaig-once", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the signs of life; none comes after this returns."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        beat = 0
        while not self._stopped.wait(BEAT):
            beat += 1
            try:
                self._store.set(self._key, {"beat": beat}, self._ttl)
            except StoreError:
                log.warning("a running call could not give a sign of life", exc_info=True)


def call_key(agent_name: str, proof: ToolToken, arguments: dict[str, Any]) -> str:
    """Return a key that two calls share only when they are the same one.

    Args:
        agent_name: agents may share a store.
        proof: the token that let the call run. Its nonce is part of the key: a token of another
            document is another wish.
        arguments: as the handler gets them; the order of members does not matter.
    """
    call = [agent_name, proof.call_id, proof.function_name, proof.nonce, arguments]
    said = json.dumps(call, sort_keys=True)
    return "once:" + hashlib.sha256(said.encode("ascii")).hexdigest()
