"""Runs of the tests of one layer, each in a forked process with one mutant.

A process imports pytest, the package and the tests once. For each mutant in a function it forks;
the child gives the functions the code of the mutant and runs the tests that call the function, the
fastest first, until one fails. What that cannot reach (constants of a module, defaults, results
that were computed during the import) is run again by a child of a process that has imported pytest
but neither the package nor its tests: the child imports the mutated module in its place.
"""

from __future__ import annotations

import gc
import importlib.abc
import importlib.machinery
import importlib.util
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from mutants import Mutant

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "swaig_wsgi"
SURVIVED, KILLED, OUT_OF_REACH, LATE = range(4)

T = TypeVar("T")
_ERRORS = os.fdopen(os.dup(2), "w", buffering=1)

# The same examples for each mutant, and none that only explain a failure.
settings.register_profile(
    "mutation",
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
OPTIONS = [
    *("-q", "-x", "-p", "no:cacheprovider", "--tb=no", "-m", "not slow"),
    # Hypothesis, and for a mutant everything else, is imported before pytest starts.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
    *("--hypothesis-profile=mutation", f"--rootdir={ROOT}", f"--confcutdir={ROOT}"),
]
#: Fixtures that start processes, in which there is no mutant.
PROCESSES = {"gunicorn", "own_valkey", "run_python", "serve", "serve_command", "start_python"} | {
    *("valkey", "valkey_url", "valkeys", "serve_for_module", "serve_command_for_module"),
}


@dataclass
class Test:
    """What is known of a test: how long it takes, and the functions of the package it calls."""

    seconds: float
    #: Module, name, first line.
    calls: set[tuple[str, str, int]]


@dataclass
class Known:
    """The tests of a layer by their ids, and the modules that they import besides the package."""

    tests: dict[str, Test] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that may notice a mutant, the fastest first.

        They are those that call its functions. If it is in none, they are those that call any
        function of the module, or none of the layer, which look at its tables and classes. (Every
        test calls some functions of other layers, through its fixtures.)
        """
        keys = {(mutant.module, *function) for function in mutant.functions}
        layer = mutant.module.partition("/")[0] + "/"
        found = [
            name
            for name, test in self.tests.items()
            if (
                test.calls & keys
                if keys
                else any(key[0] == mutant.module for key in test.calls)
                or not any(key[0].startswith(layer) for key in test.calls)
            )
        ]
        return sorted(found, key=lambda name: self.tests[name].seconds)


# -- processes


def in_forks(jobs: Iterable[T], run: Callable[[T], int], processes: int) -> Iterator[tuple[T, int]]:
    """Run each job in a process of its own, and yield it with the status that `run` returns."""
    running: dict[int, T] = {}

    def wait() -> tuple[T, int]:
        pid, status = os.wait()
        code = os.waitstatus_to_exitcode(status)
        late = code in (-signal.SIGPROF, -signal.SIGALRM)
        return running.pop(pid), LATE if late else code if code in range(3) else KILLED

    for job in jobs:
        if len(running) >= processes:
            yield wait()
        pid = os.fork()
        if pid == 0:
            _run_as_child(job, run)
        running[pid] = job
    while running:
        yield wait()


def _run_as_child(job: T, run: Callable[[T], int]) -> None:
    status = KILLED
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(null, stream)
        status = run(job)
    except BaseException:
        traceback.print_exc(file=_ERRORS)
    os._exit(status)


class _Limits:
    """Ends the process at the first failure, and in a test that takes much longer than usual.

    The limit is one of processor time, which does not depend much on what else is running. What
    waits forever takes none, and is ended after two minutes.

    Args:
        seconds: how long tests take without a mutant; there is no limit for others.
        note: where to write the name of the test that failed.
    """

    def __init__(self, seconds: Mapping[str, float], note: Path | None = None) -> None:
        self._seconds, self._note = seconds, note

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        # Without a handler, both end the process.
        if nodeid in self._seconds:
            signal.setitimer(signal.ITIMER_PROF, 3 + 20 * self._seconds[nodeid])
            signal.alarm(120)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            if self._note is not None:
                self._note.write_text(report.nodeid)
            os._exit(KILLED)


def _is_suitable(item: pytest.Item) -> bool:
    """Return whether a test runs in this process and does not depend on the load of the machine."""
    code = getattr(getattr(item, "function", None), "__code__", None)
    names = {*getattr(item, "fixturenames", ())}
    return not names & PROCESSES and not (code and "fastest" in code.co_names)


# -- mutants in functions


class Layer:
    """Runs tests that are collected once: a plugin for pytest, in a process of its own."""

    def __init__(
        self, mutants: list[Mutant], processes: int, results: Path, seconds: dict[str, float]
    ) -> None:
        self._mutants, self._processes, self._results = mutants, processes, results
        self._seconds = seconds

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = filter(_is_suitable, items)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        known = self._examine(list(items.values()))
        self._seconds.update({name: test.seconds for name, test in known.tests.items()})
        functions = _functions_of_package()

        def run(mutant: Mutant) -> int:
            if not _give_code(functions.get(mutant.module, []), mutant):
                return OUT_OF_REACH
            _run_items([items[name] for name in known.tests_of(mutant)])
            return SURVIVED

        reachable = [mutant for mutant in self._mutants if mutant.functions]
        statuses = {}
        for mutant, status in in_forks(reachable, run, self._processes):
            statuses[mutant.name] = status
        self._results.write_bytes(pickle.dumps((known, statuses)))
        return True

    def _examine(self, items: list[pytest.Item]) -> Known:
        """Run the tests without a mutant, and note what each of them calls."""
        files = Counter(item.path for item in items)
        shares: list[list[pytest.Item]] = [[] for _ in range(self._processes)]
        for path, _ in files.most_common():
            min(shares, key=len).extend(item for item in items if item.path == path)
        with tempfile.TemporaryDirectory() as directory:

            def run(number: int) -> int:
                known = Known({item.nodeid: _traced(item) for item in shares[number]})
                known.imports = _other_imports()
                Path(directory, str(number)).write_bytes(pickle.dumps(known))
                return SURVIVED

            known = Known()
            for number, status in in_forks(range(len(shares)), run, self._processes):
                if status != SURVIVED:
                    raise SystemExit("tests fail without a mutant")
                part = pickle.loads(Path(directory, str(number)).read_bytes())  # noqa: S301 - written by a fork of this process
                known.tests.update(part.tests)
                known.imports |= part.imports
        return known


def _run_items(items: list[pytest.Item]) -> None:
    for item, after in zip(items, [*items[1:], None]):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)


def _traced(item: pytest.Item) -> Test:
    codes: dict[int, CodeType] = {}

    def trace(frame: Any, event: str, argument: Any) -> None:
        codes[id(frame.f_code)] = frame.f_code

    started = time.process_time()
    threading.settrace(trace)
    sys.settrace(trace)
    _run_items([item])
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    calls = {
        (os.path.relpath(code.co_filename, PACKAGE), code.co_name, code.co_firstlineno)
        for code in codes.values()
        if code.co_filename.startswith(f"{PACKAGE}/")
    }
    return Test(time.process_time() - started, calls)


def _other_imports() -> set[str]:
    ours = ("swaig_wsgi", "support", "tests", "conftest", "test_", "mutants", "running", "__main")
    return {name for name in sys.modules if not name.startswith((*ours, "gevent", "greenlet"))}


def _functions_of_package() -> dict[str, list[FunctionType]]:
    found: dict[str, list[FunctionType]] = {}
    for function in gc.get_objects():
        if isinstance(function, FunctionType):
            path = function.__code__.co_filename
            if path.startswith(f"{PACKAGE}/"):
                found.setdefault(os.path.relpath(path, PACKAGE), []).append(function)
    return found


def _give_code(functions: list[FunctionType], mutant: Mutant) -> bool:
    """Give functions the code that they have in a mutant; return whether that was possible.

    Names, defaults and closures stay those that they have, and everything that refers to them, such
    as another module that imported them, refers to the mutated ones.
    """
    codes: dict[tuple[str, int], list[CodeType]] = {}
    waiting = [compile(mutant.tree(), str(PACKAGE / mutant.module), "exec")]
    while waiting:
        for each in waiting.pop().co_consts:
            if isinstance(each, CodeType):
                codes.setdefault((each.co_name, each.co_firstlineno), []).append(each)
                waiting.append(each)
    done = False
    for function in functions:
        key = (function.__code__.co_name, function.__code__.co_firstlineno)
        new = codes.get(key, [])
        if len(new) == 1 and new[0].co_freevars == function.__code__.co_freevars:
            function.__code__ = new[0]
            done |= key in mutant.functions
    return done


# -- mutants in modules


class _MutatedModule(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Imports a mutant in the place of its module."""

    def __init__(self, mutant: Mutant) -> None:
        parts = [PACKAGE.name, *Path(mutant.module).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        super().__init__(name, str(PACKAGE / mutant.module))
        self._tree = mutant.tree()

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._tree, self.path, "exec")


class _Selection:
    """Runs these tests only, in this order."""

    def __init__(self, names: list[str]) -> None:
        self._order = {name: index for index, name in enumerate(names)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if item.nodeid in self._order]
        items[:] = sorted(chosen, key=lambda item: self._order[item.nodeid])


def run_imported(mutant: Mutant, names: list[str], seconds: Mapping[str, float]) -> int:
    """Import a mutant and run tests, those beside its module first."""
    sys.meta_path.insert(0, _MutatedModule(mutant))
    stem = f"test_{Path(mutant.module).stem.strip('_')}"
    beside = [name for name in names if Path(name.partition("::")[0]).stem.startswith(stem)]
    others = [name for name in names if name not in beside]
    # The others are imported only for a mutant that those beside the module do not kill.
    if beside and others:
        child = os.fork()
        if child == 0:
            _run_selected(beside, seconds)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status < 0:
            os.kill(os.getpid(), -status)
        if status != SURVIVED:
            return KILLED
    _run_selected(others or beside, seconds)
    return SURVIVED


def _run_selected(names: list[str], seconds: Mapping[str, float]) -> None:
    files = sorted({name.partition("::")[0] for name in names})
    status = pytest.main([*OPTIONS, *files], plugins=[_Selection(names), _Limits(seconds)])
    nothing = status == pytest.ExitCode.NO_TESTS_COLLECTED
    os._exit(SURVIVED if nothing or status == pytest.ExitCode.OK else KILLED)


def run_layer(
    files: list[Path], mutants: list[Mutant], processes: int
) -> tuple[dict[str, int], int]:
    """Run the tests in `files` with each mutant, and return the statuses by name.

    Also returned is the number of tests. Tests that fail without a mutant are a `SystemExit`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        results, failed, log = (Path(scratch, name) for name in ("results", "failed", "log"))
        child = os.fork()
        if child == 0:
            seconds: dict[str, float] = {}
            plugins = [Layer(mutants, processes, results, seconds), _Limits(seconds, failed)]
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 1)
            try:
                pytest.main([*OPTIONS, *map(str, files)], plugins=plugins)
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)
        if not results.exists():
            name = failed.read_text() if failed.exists() else log.read_text()
            raise SystemExit(f"fails without a mutant: {name}")
        known, statuses = pickle.loads(results.read_bytes())  # noqa: S301 - written by a fork of this process
    for name in sorted(known.imports):
        try:
            importlib.import_module(name)
        except Exception:  # noqa: S112 - it is only imported to save time
            continue
    rest = [each for each in mutants if statuses.get(each.name) in (None, SURVIVED, OUT_OF_REACH)]
    selected = {mutant.name: known.tests_of(mutant) for mutant in rest}
    seconds = {name: test.seconds for name, test in known.tests.items()}
    for mutant, status in in_forks(
        [mutant for mutant in rest if selected[mutant.name]],
        lambda mutant: run_imported(mutant, selected[mutant.name], seconds),
        processes,
    ):
        statuses[mutant.name] = status
    return {mutant.name: statuses.get(mutant.name, SURVIVED) for mutant in mutants}, len(
        known.tests
    )
