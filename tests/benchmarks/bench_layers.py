"""Compare requests through all layers, in one process, with the same in plain Werkzeug.

Run it by hand: ``python tests/benchmarks/bench_layers.py``. The candidates of a row take turns in
each round, so that a busy machine slows all of them alike, and the ratio is the median of the
rounds' ratios. Times are of the processor, not of the clock on the wall.
"""

from __future__ import annotations

import argparse
import hmac
import itertools
import json
import logging
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

if __package__ != "benchmarks":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from benchmarks.scenarios import CALL_ID, Scenarios

from swaig_wsgi.core.tokens import SigningKey, sign_token, verify_token

SECRET = b"an example secret of 32 bytes..."
FUNCTION = "transfer_funds"


class Row(NamedTuple):
    """A candidate and its reference, by their names in the table; the target is of their ratio."""

    what: str
    call: Callable[[], Any]
    reference: str
    base: Callable[[], Any]
    target: float
    #: Whether the figure is the difference in microseconds instead of the ratio.
    difference: bool = False


def rows() -> list[Row]:
    """Return the rows of the table."""
    scenarios = Scenarios()
    calls = scenarios.calls
    made = [
        Row(f"tool call{what}", calls[f"tool call{what}"], f"plain Werkzeug{proxy}", base, target)
        for what, proxy, target in (
            ("", "", 1.0),
            (", gunicorn", "", 1.1),
            (", proxy", " and ProxyFix", 1.2),
            (", 8 KB", " and ProxyFix", 1.4),
        )
        for base in (calls[f"plain call{what}"],)
    ]
    made.append(Row("harden", calls["harden"], "no layers", calls["trivial"], 8.0, True))
    document = scenarios.document
    dumps = lambda: json.dumps(document)  # noqa: E731
    made.append(Row("SWML of 10 tools", calls["document"], "json.dumps of it", dumps, 3.3))
    made += token_rows()
    for status in ("401", "403", "429"):
        made.append(Row(status, calls[status], "a served call", calls["tool call"], 0.75))
    return made


def token_rows() -> list[Row]:
    """Return the rows of the verification of a token that is new, and of a known one."""
    keys = (SigningKey(SECRET),)
    expiry, now = 4_000_000_000, 1_700_000_000
    message = f"{CALL_ID}:{FUNCTION}:{expiry}:a1b2c3d4".encode()
    # More than the cache holds, so each is new to it when its turn comes again.
    texts = [sign_token(keys[0], FUNCTION, CALL_ID, expiry, f"{n:08x}") for n in range(5000)]
    new = itertools.cycle(texts)

    def verify(text: str) -> object:
        return verify_token(keys, text, call_id=CALL_ID, function_name=FUNCTION, now=now)

    def digest() -> bytes:
        return hmac.digest(SECRET, message, "sha256")

    known = sign_token(keys[0], FUNCTION, CALL_ID, expiry, "ffffffff")
    return [
        Row("token, first sight", lambda: verify(next(new)), "one hmac.digest", digest, 2.5),
        Row("token, known", lambda: verify(known), "one hmac.digest", digest, 1.4),
    ]


def measure(row: Row, rounds: int) -> tuple[float, float, float]:
    """Return the figure of `row`, and the microseconds of its candidate and of its reference."""
    number = repetitions(row.call), repetitions(row.base)
    taken: list[tuple[float, float]] = []
    for _ in range(rounds):
        taken.append((microseconds(row.call, number[0]), microseconds(row.base, number[1])))
    figures = [a - b if row.difference else a / b for a, b in taken]
    call, base = (statistics.median(times) for times in zip(*taken))
    return statistics.median(figures), call, base


def repetitions(call: Callable[[], Any]) -> int:
    """Return how often to call `call` in a round that takes five milliseconds."""
    return max(1, int(5000 / microseconds(call, 50)))


def microseconds(call: Callable[[], Any], number: int) -> float:
    start = time.process_time()
    for _ in itertools.repeat(None, number):
        call()
    return (time.process_time() - start) / number * 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="of each row (%(default)s)")
    rounds = parser.parse_args().rounds
    log = logging.getLogger("swaig_wsgi")
    log.propagate = False
    log.addHandler(logging.NullHandler())
    print(f"| {'what':20} | {'reference':26} | ratio | target |    µs | reference µs |")
    for row in rows():
        figure, call, base = measure(row, rounds)
        text = f"+{figure:.1f}" if row.difference else f"{figure:.2f}"
        print(
            f"| {row.what:20} | {row.reference:26} | {text:>5} | {row.target:6} "
            f"| {call:5.1f} | {base:12.1f} |"
        )


if __name__ == "__main__":
    main()
