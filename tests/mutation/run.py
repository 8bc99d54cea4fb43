"""Mutation tests of ``core/`` and ``middleware/``: how many small faults do the tests notice?

``python tests/mutation/run.py`` runs all mutants, ``--sample 600 --seed 1`` some of them. Fails if
fewer than 95 % are killed, if one survives in a module that decides who may call, without an
explanation in ``survivors.txt``, or if that file explains what does not exist or is killed.

The hour that all take can be divided: ``--only core/hosts.py --write`` runs one module and replaces
its row in the table of ``docs/proof.md``, and the sums.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

from mutants import Mutant, explanations, mutants_of
from running import KILLED, LATE, PACKAGE, ROOT, run_layer
from table import with_rows

LAYERS = ("core", "middleware")
EXPLANATIONS = Path(__file__).with_name("survivors.txt")
PAGE = ROOT / "docs" / "proof.md"
GOAL = 95.0
#: Where each survivor needs an explanation.
GUARDED = {
    *("core/auth.py", "core/_credential_checks.py", "core/hosts.py", "core/networks.py"),
    *("core/proxies.py", "core/signatures.py", "core/tokens.py", "middleware/auth.py"),
    *("middleware/hosts.py", "middleware/proxies.py", "middleware/signatures.py"),
    *("middleware/tokens.py", "middleware/allowed_clients.py"),
}


def modules(only: str) -> list[str]:
    """Return the paths of the modules, or of those that a list separated by commas names."""
    every = [
        str(path.relative_to(PACKAGE))
        for layer in LAYERS
        for path in sorted((PACKAGE / layer).glob("*.py"))
    ]
    if not only:
        return every
    chosen = [path for path in every if {path, Path(path).stem} & set(only.split(","))]
    unknown = set(only.split(",")) - {part for path in chosen for part in (path, Path(path).stem)}
    if unknown:
        raise SystemExit(f"--only: no module {', '.join(sorted(unknown))}")
    return chosen


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sample", type=int, help="how many mutants; without it, all")
    parser.add_argument("--seed", type=int, default=1, help="chooses the sample (default: 1)")
    parser.add_argument("--only", default="", help="modules, such as core/hosts.py,tokens")
    parser.add_argument("--tests", default="test_*.py", help="files of tests, such as test_hosts*")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--list", action="store_true", help="print the mutants and stop")
    parser.add_argument("--write", action="store_true", help="into the table of docs/proof.md")
    options = parser.parse_args()
    if options.write and options.sample is not None:
        parser.error("--write is for whole modules, not for a --sample")
    os.chdir(ROOT)
    explained = explanations(EXPLANATIONS.read_text())
    every = mutants_of(PACKAGE, modules(""))
    mutants = [mutant for mutant in every if mutant.module in modules(options.only)]
    number = len(mutants)
    if options.sample is not None and options.sample < number:
        mutants = random.Random(options.seed).sample(mutants, options.sample)  # noqa: S311 - chosen to be repeated
    if options.list:
        print(*(f"{mutant.name}" for mutant in mutants), sep="\n")
        return 0
    started = time.monotonic()
    statuses: dict[str, int] = {}
    for layer in LAYERS:
        chosen = [mutant for mutant in mutants if mutant.module.startswith(f"{layer}/")]
        if chosen:
            files = sorted((ROOT / "tests" / layer).glob(options.tests))
            found, tests = run_layer(files, chosen, options.processes)
            statuses.update(found)
            print(f"{layer}: {len(chosen)} mutants, {tests} tests")
    faults = [
        f"explained, but there is no such mutant: {name}"
        for name in sorted(set(explained) - {mutant.name for mutant in every})
    ]
    survivors = report(mutants, statuses, explained, faults)
    killed = sum(status in (KILLED, LATE) for status in statuses.values())
    counted = killed + len(survivors)
    score = 100 * killed / counted if counted else 100.0
    late = Counter(statuses.values())[LATE]
    print(
        f"{len(mutants)} of {number} mutants in {time.monotonic() - started:.0f} s: {killed} killed"
        f" ({late} of them by the time limit), {len(survivors)} survived, "
        f"{len(mutants) - counted} survived and are explained: {score:.1f} %"
    )
    if score < GOAL:
        faults.append(f"the score is below {GOAL} %")
    if options.write:
        PAGE.write_text(with_rows(PAGE.read_text(), counts(mutants, statuses, explained)))
    print(*(f"error: {fault}" for fault in faults), sep="\n")
    return 1 if faults else 0


def counts(
    mutants: list[Mutant], statuses: dict[str, int], explained: dict[str, str]
) -> dict[str, list[int]]:
    """Return by module how many mutants there are, were killed, and are explained."""
    found: dict[str, list[int]] = {}
    for mutant in mutants:
        row = found.setdefault(mutant.module, [0, 0, 0])
        killed = statuses[mutant.name] in (KILLED, LATE)
        for column, counted in enumerate((True, killed, not killed and mutant.name in explained)):
            row[column] += counted
    return found


def report(
    mutants: list[Mutant], statuses: dict[str, int], explained: dict[str, str], faults: list[str]
) -> list[Mutant]:
    """Print and return the survivors that are not explained; add to `faults`."""
    survivors = []
    for mutant in mutants:
        survived = statuses[mutant.name] not in (KILLED, LATE)
        if mutant.name in explained:
            if not survived:
                faults.append(f"explained, but killed: {mutant.name}")
        elif survived:
            survivors.append(mutant)
            print(f"survived: line {mutant.line}, {mutant.name}")
            if mutant.module in GUARDED:
                faults.append(f"survived without an explanation: {mutant.name}")
    return survivors


if __name__ == "__main__":
    sys.exit(main())
