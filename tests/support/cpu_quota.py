"""A share of one CPU for the processes of a server, as a container's limit of 100m gives them."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_PERIOD = 100_000  # microseconds, as the kernel's default
_CGROUPS = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def cpu_quota(
    pids: Sequence[int], share: float = 0.1, *, by_signals: bool = False
) -> Iterator[None]:
    """Let `pids` run for `share` of the time of one CPU, together.

    The kernel enforces this if this user may create control groups. Otherwise, or `by_signals`, the
    processes are stopped and continued in turn, so that each is also suspended while others run.
    """
    group = None if by_signals else _control_group(share)
    if group is None:
        done = threading.Event()
        thread = threading.Thread(target=_take_turns, args=(pids, share, done))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        return
    members = group / "cgroup.procs"
    try:
        for pid in pids:
            members.write_text(str(pid))
        yield
    finally:
        for pid in members.read_text().split():
            (group.parent / "cgroup.procs").write_text(pid)
        group.rmdir()


def _control_group(share: float) -> Path | None:
    """Return a new group with a quota, or None."""
    quota = round(share * _PERIOD)
    versions = (
        (_CGROUPS, "cpu.max", f"{quota} {_PERIOD}"),
        (_CGROUPS / "cpu", "cpu.cfs_quota_us", str(quota)),
    )
    for parent, name, value in versions:
        group = parent / f"quota-{os.getpid()}"
        if not (parent / "cgroup.procs").exists():
            continue
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / name).write_text(value)
            return group
        except OSError:
            group.rmdir()
    return None


def _take_turns(pids: Sequence[int], share: float, done: threading.Event) -> None:
    period = _PERIOD / 1_000_000
    while not done.wait(period * (1 - share)):
        for pid in pids:
            _send(pid, signal.SIGCONT)
            time.sleep(period * share / len(pids))
            _send(pid, signal.SIGSTOP)
    for pid in pids:
        _send(pid, signal.SIGCONT)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
