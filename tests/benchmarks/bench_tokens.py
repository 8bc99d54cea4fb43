"""Time one verification of a token, in units of one HMAC. Run it by hand.

Rounds of each are interleaved, so that a busy machine slows all of them alike; the medians of the
rounds are compared. A token that was seen before is already parsed and needs one HMAC; a new one
is also parsed.
"""

from __future__ import annotations

import hmac
import itertools
import statistics
import timeit
from collections.abc import Callable

from swaig_wsgi.core.tokens import SigningKey, sign_token, verify_token
from swaig_wsgi.sessions import SessionManager

ROUNDS = 200
CALLS = 500
SECRET = b"an example secret of 32 bytes..."
CALL_ID = "0b7c1d4e-9a3f-4c52-8f6b-1234567890ab"
FUNCTION = "transfer_funds"


def candidates() -> dict[str, Callable[[], object]]:
    """Return the calls to time, by name, the unit first."""
    keys = (SigningKey(SECRET),)
    text = sign_token(keys[0], FUNCTION, CALL_ID, 4_000_000_000, "a1b2c3d4")
    message = f"{CALL_ID}:{FUNCTION}:4000000000:a1b2c3d4".encode()
    # More than the cache holds, so each is new to it when its turn comes again.
    new = itertools.cycle(
        [sign_token(keys[0], FUNCTION, CALL_ID, 4_000_000_000, f"{n:08x}") for n in range(5000)]
    )
    sessions = SessionManager(secret_key=SECRET)
    token = sessions.generate_token(FUNCTION, CALL_ID)
    return {
        "hmac.digest": lambda: hmac.digest(SECRET, message, "sha256"),
        "verify_token": lambda: verify_token(
            keys, text, call_id=CALL_ID, function_name=FUNCTION, now=1_700_000_000
        ),
        "verify_token, at first sight": lambda: verify_token(
            keys, next(new), call_id=CALL_ID, function_name=FUNCTION, now=1_700_000_000
        ),
        "SessionManager.validate_token": lambda: sessions.validate_token(CALL_ID, FUNCTION, token),
        "SessionManager.generate_token": lambda: sessions.generate_token(FUNCTION, CALL_ID),
    }


def measure() -> dict[str, float]:
    """Return the median seconds that one call of each candidate takes."""
    calls = candidates()
    rounds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            rounds[name].append(timeit.timeit(call, number=CALLS) / CALLS)
    return {name: statistics.median(times) for name, times in rounds.items()}


if __name__ == "__main__":
    medians = measure()
    unit = medians["hmac.digest"]
    for name, seconds in medians.items():
        print(f"{name:32} {seconds * 1e6:6.2f} µs {seconds / unit:6.2f} x hmac.digest")
