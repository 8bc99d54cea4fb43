"""Report whether the time of a credential check depends on where credentials differ.

Run manually on an idle machine: ``python tests/benchmarks/bench_auth.py``. Each kind of wrong
credential is measured beside a reference, in random order. Secrets and what is sent are random
for all kinds alike; nothing but how they differ tells the kinds apart. Where objects lie in
memory shows, too, so there are many rounds with fresh objects, and a t-test asks whether a
kind's mean differs from the reference's in the same direction round after round. An absolute t
below 4.5 means that this many rounds show no dependence. The plain ``==`` is the control: it
shows what the method can see.
"""

from __future__ import annotations

import argparse
import base64
import pathlib
import random
import statistics
import string
import sys
import time
from collections.abc import Callable
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from swaig_wsgi.core.auth import constant_time_equal
from swaig_wsgi.middleware.auth import AuthHandler

THRESHOLD = 4.5
POOL = 100
LETTERS = string.ascii_letters + string.digits
#: A check and its argument.
Case = tuple[Callable[[Any], object], Any]
Kinds = dict[str, Callable[[], Case]]


def text(length: int) -> str:
    return "".join(random.choices(LETTERS, k=length))  # noqa: S311 - no secret


def other(value: str, position: int | None) -> str:
    """Return a new string like `value`, with another character at `position`."""
    characters = list(value)
    if position is not None:
        characters[position] = random.choice(LETTERS.replace(characters[position], ""))  # noqa: S311 - no secret
    return "".join(characters)


def basic(user_differs: int | None, password_differs: int | None) -> Callable[[], Case]:
    def make() -> Case:
        user, password = text(20), text(64)
        sent = f"{other(user, user_differs)}:{other(password, password_differs)}"
        headers = {"Authorization": "Basic " + base64.b64encode(sent.encode()).decode()}
        return AuthHandler(basic_auth=(user, password)).validate, headers

    return make


def bearer(differs: int) -> Callable[[], Case]:
    def make() -> Case:
        token = text(64)
        headers = {"Authorization": "Bearer " + other(token, differs)}
        return AuthHandler(bearer_token=token).validate, headers

    return make


def comparison(equal: Callable[[str, str], bool], differs: int) -> Callable[[], Case]:
    def make() -> Case:
        secret = text(4096)
        return (lambda value: equal(secret, value)), other(secret, differs)

    return make


def measure(kinds: Kinds, samples: int) -> dict[str, float]:
    """Return the mean nanoseconds of each kind, without the slowest tenth (interruptions)."""
    rows: list[tuple[str, list[Case], list[int]]] = [(name, [], []) for name in kinds]
    for _ in range(POOL):
        for name, pool, _ in random.sample(rows, len(rows)):
            pool.append(kinds[name]())
    clock = time.perf_counter_ns
    for _ in range(samples):
        # No dict lookups here: collisions of names would show in the times.
        for _, pool, times in random.sample(rows, len(rows)):
            check, candidate = random.choice(pool)  # noqa: S311 - no secret
            check(candidate)  # warms the caches for this candidate
            start = clock()
            check(candidate)
            times.append(clock() - start)
    kept = samples * 9 // 10
    return {name: statistics.fmean(sorted(times)[:kept]) for name, _, times in rows}


def report(title: str, kinds: Kinds, rounds: int, samples: int) -> None:
    means = [measure(kinds, samples) for _ in range(rounds)]
    reference = next(iter(kinds))
    print(f"\n{title}, compared with: {reference}")
    for name in kinds:
        differences = [each[name] - each[reference] for each in means]
        mean, spread = statistics.fmean(differences), statistics.stdev(differences)
        t = mean / (spread / rounds**0.5) if spread else 0.0
        verdict = "same" if abs(t) < THRESHOLD else "DIFFERENT"
        time_taken = statistics.fmean(each[name] for each in means)
        print(f"  {name:24} {time_taken:9.1f} ns  {mean:+7.1f} ns  t {t:7.2f}  {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--samples", type=int, default=1000, help="for each kind and round")
    size = vars(parser.parse_args())
    report(
        "Basic",
        {
            "wrong password, last": basic(None, -1),
            "wrong password, first": basic(None, 0),
            "wrong user, last": basic(-1, None),
            "wrong user, first": basic(0, None),
            "both wrong": basic(0, 0),
        },
        **size,
    )
    positions = {"differs at the last": -1, "differs at the first": 0, "differs in the middle": 32}
    report("Bearer", {name: bearer(at) for name, at in positions.items()}, **size)
    equals = {"constant_time_equal": constant_time_equal, "control: ==": str.__eq__}
    for title, equal in equals.items():
        report(title, {name: comparison(equal, at) for name, at in positions.items()}, **size)


if __name__ == "__main__":
    main()
