"""Compare the time of imports and cold starts with those of Werkzeug.

``python tests/benchmarks/bench_startup.py``. Each runs in fresh processes, which take turns; times
are of the processor, the median of the rounds, and less than those of a bare Python.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROUNDS = 15

BARE = "pass"
PROGRAMS = {
    "import of werkzeug": "import werkzeug.wrappers, werkzeug.routing",
    "import of harden": "from swaig_wsgi import harden",
    "import of AgentApp": "from swaig_wsgi import AgentApp",
    "cold start of plain Werkzeug": "from benchmarks.plain import plain; plain()",
    "cold start of examples.basic": "import swaig_wsgi.examples.basic",
}
#: What a program is compared with, and the most that the ratio should be.
REFERENCES = {
    "import of harden": ("import of werkzeug", 0.8),
    "import of AgentApp": ("import of werkzeug", 1.5),
    "cold start of examples.basic": ("cold start of plain Werkzeug", 1.25),
}


def seconds(program: str, cache: str) -> float:
    """Return the time of the processor that a program takes, with its bytecode in `cache`."""
    kept = {name: os.environ[name] for name in os.environ if name != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join([str(HERE.parent), str(HERE.parents[1])])
    added = {"PYTHONPATH": path, "PYTHONPYCACHEPREFIX": cache, "SIGNALWIRE_LOG_LEVEL": "error"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", program], env={**kept, **added}, capture_output=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure() -> dict[str, dict[str, float]]:
    """Return milliseconds and ratios by program."""
    taken: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as cache:
        for program in (BARE, *PROGRAMS.values()):
            seconds(program, cache)  # compiles it
        for _ in range(ROUNDS):
            bare = seconds(BARE, cache)
            for name, program in PROGRAMS.items():
                taken[name].append(1000 * (seconds(program, cache) - bare))
    found = {}
    for name, times in taken.items():
        found[name] = {"ms": statistics.median(times)}
        if name in REFERENCES:
            reference, found[name]["target"] = REFERENCES[name]
            pairs = zip(times, taken[reference])
            found[name]["ratio"] = statistics.median(one / two for one, two in pairs)
    return found


def main() -> None:
    """Print the figures."""
    for name, figures in measure().items():
        ratio = f", {figures['ratio']:.2f} of Werkzeug's" if "ratio" in figures else ""
        print(f"{name:30} {figures['ms']:6.1f} ms{ratio}")


if __name__ == "__main__":
    main()
