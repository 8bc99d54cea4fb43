"""What type checkers make of the public API."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

SNIPPET = Path(__file__).parent / "typed" / "agent.py"


@pytest.mark.slow
def test_mypy_rejects_wrong_calls_and_accepts_right_ones(tmp_path: Path) -> None:
    lines = SNIPPET.read_text().splitlines()
    wrong = [number for number, line in enumerate(lines, 1) if line.endswith("# wrong")]
    assert len(wrong) == 9
    options = ["--no-error-summary", "--python-version=3.10", f"--cache-dir={tmp_path}"]
    output, errors, _ = api.run([*options, "--follow-imports=silent", str(SNIPPET)])
    assert errors == ""
    found = {int(line) for line in re.findall(rf"{SNIPPET.name}:(\d+): error", output)}
    assert sorted(found) == wrong, output
