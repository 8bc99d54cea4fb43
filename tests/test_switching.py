"""Tests of races switch threads every microsecond, also in the programs that they start."""

from __future__ import annotations

import sys
from typing import Any

import pytest

PROGRAM = "import sys; print(f'{sys.getswitchinterval():g}')"


@pytest.mark.threads
def test_threads_are_switched_every_microsecond_in_tests_of_races(run_python: Any) -> None:
    assert sys.getswitchinterval() == pytest.approx(1e-6)
    assert run_python(PROGRAM) == "1e-06\n"


def test_other_tests_switch_threads_as_usual(run_python: Any) -> None:
    assert sys.getswitchinterval() == pytest.approx(0.005)
    assert run_python(PROGRAM) == "0.005\n"
