"""How long each target is fuzzed, and how many inputs it was given.

A target is a test with `@given` in this directory. By default each gets the same few inputs in
every run, so that a failure is due to a change. With ``--minutes`` all of them together get new
ones for that long. With ``--write`` the table of docs/fuzzing.md is replaced.
"""

from __future__ import annotations

import collections
import functools
import platform
import re
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

PAGE = Path(__file__).parents[2] / "docs" / "fuzzing.md"
_TABLE = re.compile(r"(?<=<!-- inputs -->\n).*?(?=<!-- end of inputs -->)", re.DOTALL)

_inputs: collections.Counter[str] = collections.Counter()
_seconds: collections.Counter[str] = collections.Counter()

# The duration of an input depends on how busy the machine is.
_COMMON: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("short", max_examples=100, derandomize=True, database=None, **_COMMON)
settings.register_profile("long", max_examples=400, print_blob=True, **_COMMON)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--minutes", type=float, help="fuzz all targets together for that long")
    parser.addoption("--write", action="store_true", help=f"replace the table of docs/{PAGE.name}")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("short" if config.option.minutes is None else "long")


def _is_target(item: pytest.Item) -> bool:
    return hasattr(getattr(item, "obj", None), "hypothesis")


@pytest.hookimpl(trylast=True)  # without those that -k has left out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    targets = sum(map(_is_target, items))
    for item in items:
        item.stash[_share] = (config.option.minutes or 0) * 60 / max(targets, 1)


_share = pytest.StashKey[float]()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Call a target until its time is over, and count its inputs."""
    if not _is_target(pyfuncitem):
        return None
    target = f"{Path(pyfuncitem.path).stem[5:]}: {pyfuncitem.name[5:].replace('_', ' ')}"
    watch = pyfuncitem.funcargs["secrets_watch"]
    check = pyfuncitem.obj.hypothesis.inner_test

    @functools.wraps(check)
    def counted(*args: Any, **kwargs: Any) -> None:
        check(*args, **kwargs)
        _inputs[target] += 1
        # At once, not only after the test: a long run would remember millions of records.
        assert watch.leaks() == []
        watch.forget()

    pyfuncitem.obj.hypothesis.inner_test = counted
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    started = time.monotonic()
    try:
        while True:
            pyfuncitem.obj(**arguments)
            if time.monotonic() - started >= pyfuncitem.stash[_share]:
                return True
    finally:
        pyfuncitem.obj.hypothesis.inner_test = check
        _seconds[target] += time.monotonic() - started


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not _inputs:
        return
    rows = [f"| {name} | {_inputs[name]:,} | {_seconds[name]:.0f} |" for name in sorted(_seconds)]
    total = f"| all | {_inputs.total():,} | {sum(_seconds.values()):.0f} |"
    table = "\n".join(["| target | inputs | seconds |", "|---|--:|--:|", *rows, total])
    terminalreporter.write_sep("-", "inputs")
    terminalreporter.write_line(table)
    if config.option.write and not terminalreporter.stats.get("failed"):
        today = f"{datetime.now(timezone.utc):%Y-%m-%d}"
        python = f"{platform.python_implementation()} {platform.python_version()}"
        command = f"`tox -e fuzz -- --minutes={config.option.minutes:g}`"
        text = f"{today}, {command}, {python}, no failures:\n\n{table}\n"
        PAGE.write_text(_TABLE.sub(lambda _: text, PAGE.read_text()))
