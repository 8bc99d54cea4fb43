"""A soak test: mixed traffic against four workers while workers, stores and disks fail.

``python tests/soak/soak.py`` takes ten minutes, ``--seconds 45`` one round of faults. It prints a
report, and fails if a request resulted in anything but what is expected of it at the time, if a
call ran twice, if secrets or tracebacks are in the log, or if file descriptors or memory grew.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import platform
import re
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import serving_commands
from service import (
    AGENTS,
    PASSWORD,
    SECRET,
    Sample,
    Service,
    Windows,
    in_own_mounts,
    small_disk,
)
from support.waiting import wait_until
from traffic import SCARCE, STOLEN, Tally, Traffic

Cause = Callable[[], None]

#: Seconds that a process must have lived for its growth to be judged, and that are its warm-up.
JUDGED, WARM_UP = 60, 20
#: How much a process may grow after its warm-up: caches of bounded size fill, and a request that
#: is in flight at the time has a descriptor or two.
MORE_MEMORY, MORE_DESCRIPTORS = 4.0, 12
#: Seconds before the loss of a primary in which what it stored may not have reached the replica.
UNREPLICATED = 2.0
#: Seconds that the library waits for a store, which is too late if a thread waits for a processor
#: for as long within `WATCHED` seconds.
STORE_TIMEOUT, WATCHED = 0.25, 0.5
#: The faults after which all workers are new.
REPLACING = {"reload (HUP)", "rolling restart"}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=600, help="duration (default: 600)")
    parser.add_argument(
        "--faults",
        type=lambda text: tuple(filter(None, text.split(","))),
        metavar="NAME,...",
        help="only faults whose names begin so; with '' none (default: all)",
    )
    parser.add_argument(
        "--pause", type=float, default=0.02, help="seconds between a client's requests (0.02)"
    )
    options = parser.parse_args()
    in_own_mounts()
    with (
        tempfile.TemporaryDirectory() as name,
        small_disk(Path(name)) as disk,
        serving_commands() as start,
        contextlib.closing(Service(start, Path(name), disk)) as service,
    ):
        windows = Windows()
        faults = chosen(service.faults(), options.faults)
        tally = Tally(windows, errors=lambda: service.logs[-1].errors(3))
        traffic = Traffic(service, tally, options.pause)
        started = time.monotonic()
        sampler = threading.Thread(target=sample, args=(service, traffic, started))
        watch = threading.Thread(target=watch_waits, args=(service, traffic, windows))
        sampler.start()
        watch.start()
        try:
            rounds = fail_again_and_again(faults, traffic, windows, started + options.seconds)
        except Exception:
            print(windows.now, traffic.tally.failures, service.log[-5000:], file=sys.stderr)
            raise
        finally:
            traffic.stop()
            sampler.join()
            watch.join()
        elapsed = time.monotonic() - started
        if service.stop() != 0:
            traffic.tally.fail("the server did not stop as told")
        tally.settle()
        check_runs(service, traffic, windows)
        check_log(service, traffic.tally)
        return report(service, faults, traffic, windows, rounds, elapsed)


def sample(service: Service, traffic: Traffic, started: float) -> None:
    while not traffic.stopping.wait(1):
        service.sample(time.monotonic() - started)


def watch_waits(service: Service, traffic: Traffic, windows: Windows) -> None:
    """Record when a thread waits for a processor for as long as the library for a store."""
    before, since = service.waits(), time.monotonic()
    stopping = False
    while not stopping:
        stopping = traffic.stopping.wait(WATCHED)
        waits, now = service.waits(), time.monotonic()
        longest = max((wait - before.get(thread, 0) for thread, wait in waits.items()), default=0)
        if longest >= STORE_TIMEOUT:
            # A wait is counted when it is over.
            windows.starved.append((since - longest, now))
        before, since = waits, now


def chosen(faults: dict[str, Cause], beginnings: tuple[str, ...] | None) -> dict[str, Cause]:
    if beginnings is None:
        return faults
    return {name: cause for name, cause in faults.items() if name.startswith(beginnings)}


def fail_again_and_again(
    faults: dict[str, Cause], traffic: Traffic, windows: Windows, end: float
) -> int:
    """Let everything fail in turn, at least once, until the time is over; return the rounds."""
    # Long enough in long runs that workers grow old; only each third round replaces all of them.
    calm = 1.0 if end - time.monotonic() < 300 else 14.0
    rounds = 0
    while rounds == 0 or time.monotonic() < end:
        for name, cause in faults.items():
            if name in REPLACING and rounds % 3:
                continue
            traffic.stopping.wait(calm)
            with windows.of(name):
                cause()
                recover(traffic)
            if rounds and time.monotonic() > end:
                break
        rounds += 1
        if not faults:
            traffic.stopping.wait(end - time.monotonic())
    traffic.stopping.wait(calm)
    return rounds


def recover(traffic: Traffic) -> None:
    """Wait until both agents are ready and pay again, on every worker that responds."""

    def well() -> bool:
        tally = traffic.tally
        before = Counter(tally.outcomes)
        time.sleep(1.5)
        since = Counter(tally.outcomes) - before
        kinds = {"bank": "ok", "shop": "ok", "ready": "200", "document": "200"}
        return all(
            {outcome for kind, outcome in since if kind == each} == {good}
            for each, good in kinds.items()
        )

    wait_until(well, 120)


def check_runs(service: Service, traffic: Traffic, windows: Windows) -> None:
    for agent in AGENTS:
        runs = Counter(map(int, (service.directory / f"record-{agent}").read_text().split()))
        if STOLEN in runs:
            traffic.tally.fail(f"{agent}: a call of an attacker ran")
        lost = traffic.paid[agent] - runs.keys()
        if lost:
            traffic.tally.fail(f"{agent}: {len(lost)} calls did not run, but were said to have")
        for number, times in runs.items():
            if times > 1 and not (agent == "bank" and unreplicated(traffic.made[number], windows)):
                traffic.tally.fail(f"{agent}: a call ran {times} times")


def unreplicated(made: float, windows: Windows) -> bool:
    """Return whether a claim may have been lost with a primary; see docs/stores.md."""
    return any(
        name == "store failover" and begun - UNREPLICATED <= made <= begun + UNREPLICATED
        for name, begun, _ in windows.past
    )


def check_log(service: Service, tally: Tally) -> None:
    log = service.log
    for secret in (PASSWORD, SECRET):
        if secret in log:
            tally.fail("a secret is in the log")
    if re.search(r"__token=(?!\*)", log):
        tally.fail("a token is in the log")
    for text in ("Traceback", "WORKER TIMEOUT", "Logging error"):
        if text in log:
            place = log.index(text)
            tally.fail(f"the log says {text}")
            print(log[max(0, place - 500) : place + 2000], file=sys.stderr)


def growth(samples: list[Sample]) -> list[tuple[int, int, float, float]]:
    """Return, of each process that is old enough: age, descriptors and memory gained, memory.

    Compared are the medians of the first and the last quarter after its warm-up.
    """
    found = []
    for pid in dict.fromkeys(each.pid for each in samples):
        own = [each for each in samples if each.pid == pid]
        age = own[-1].seconds - own[0].seconds
        late = [each for each in own if each.seconds - own[0].seconds >= WARM_UP]
        if age < JUDGED or len(late) < 8:
            continue
        first, last = late[: len(late) // 4], late[-(len(late) // 4) :]
        descriptors = statistics.median(
            each.descriptors.total() for each in last
        ) - statistics.median(each.descriptors.total() for each in first)
        memory = statistics.median(each.memory for each in last)
        gained = memory - statistics.median(each.memory for each in first)
        found.append((int(age), int(descriptors), gained, memory))
    return found


def latest_growth(samples: list[Sample]) -> list[float]:
    """Return the MiB that each process of three minutes or more gained in its last minute.

    By then its caches are full: what remains is what it would gain in each further minute.
    """
    found = []
    for pid in dict.fromkeys(each.pid for each in samples):
        own = [each for each in samples if each.pid == pid]
        end = own[-1].seconds
        before = [each.memory for each in own if end - 70 <= each.seconds <= end - 60]
        if before and end - own[0].seconds >= 180:
            latest = [each.memory for each in own if each.seconds >= end - 10]
            found.append(statistics.median(latest) - statistics.median(before))
    return found


def met(tally: Tally, name: str) -> str:
    """Return the results that a fault excused."""
    found = [
        f"{number} {kind} {outcome}"
        for (fault, kind, outcome), number in sorted(tally.excused.items())
        if fault == name
    ]
    return ", ".join(found) or "nothing"


def report(
    service: Service,
    faults: dict[str, Cause],
    traffic: Traffic,
    windows: Windows,
    rounds: int,
    elapsed: float,
) -> int:
    tally = traffic.tally
    grown = growth(service.samples)
    for age, descriptors, gained, _ in grown:
        if descriptors > MORE_DESCRIPTORS or gained > MORE_MEMORY:
            tally.fail(f"a process of {age} s gained {descriptors} descriptors, {gained:.1f} MiB")
    hostile = sum(number for (kind, _), number in tally.outcomes.items() if kind[:7] == "hostile")
    total = sum(tally.outcomes.values())
    times = sorted(tally.times)
    print(
        f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC, "
        f"CPython {platform.python_version()}, {elapsed:.0f} s, {rounds} rounds of faults"
    )
    print(
        f"requests: {total}, of which {hostile} hostile; {traffic.slow_ended} slow connections "
        "ended by the server"
    )
    print(
        f"good requests outside of faults: median {statistics.median(times) * 1000:.0f} ms, "
        f"99 % within {times[len(times) * 99 // 100] * 1000:.0f} ms"
    )
    if service.disk is None:
        print("NOT RUN: disk full, since no file system can be mounted here")
    for name in faults:
        lasted = [over - begun for each, begun, over in windows.past if each == name]
        print(
            f"{name}: {len(lasted)} times, recovered after at most {max(lasted):.1f} s; "
            f"met {met(tally, name)}"
        )
    starved = sum(over - begun for begun, over in windows.starved)
    print(f"{SCARCE}: {min(starved, elapsed):.0f} s; met {met(tally, SCARCE)}")
    for agent in AGENTS:
        print(f"{agent}: {len(traffic.paid[agent])} calls paid, each once")
    if grown:
        print(
            f"{len(grown)} processes older than {JUDGED} s, up to {max(each[0] for each in grown)}"
            f" s: gained at most {max(each[1] for each in grown)} descriptors and "
            f"{max(each[2] for each in grown):.1f} MiB (median "
            f"{statistics.median(each[2] for each in grown):.1f}) after their first {WARM_UP} s; "
            f"largest {max(each[3] for each in grown):.0f} MiB"
        )
    if latest := latest_growth(service.samples):
        print(
            f"{len(latest)} processes older than 180 s: gained at most {max(latest):.1f} MiB "
            f"(median {statistics.median(latest):.1f}) in their last minute"
        )
    print(f"failures: {sum(tally.failures.values())}")
    for what, number in tally.failures.most_common(20):
        print(f"  {number} x {what}")
        for line in tally.details.get(what, ()):
            print(f"      {line}", file=sys.stderr)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
