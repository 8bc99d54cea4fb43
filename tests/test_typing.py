"""What mypy makes of the public API; for pyright see tests/typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api
from support.typed import SNIPPET, WRONG, reveal_forwarded


def mypy(path: Path, cache: Path) -> str:
    options = ["--no-error-summary", "--python-version=3.10", f"--cache-dir={cache}"]
    output, errors, _ = api.run([*options, "--follow-imports=silent", str(path)])
    assert errors == ""
    return output


@pytest.mark.slow
def test_mypy_rejects_wrong_calls_and_accepts_right_ones(tmp_path: Path) -> None:
    assert len(WRONG) == 10
    output = mypy(SNIPPET, tmp_path)
    found = {int(line) for line in re.findall(rf"{SNIPPET.name}:(\d+): error", output)}
    assert sorted(found) == WRONG, output


@pytest.mark.slow
def test_mypy_shows_what_forwarded_methods_return(tmp_path: Path) -> None:
    expected = reveal_forwarded(tmp_path / "forwarded.py")
    assert len(expected) > 40
    output = mypy(tmp_path / "forwarded.py", tmp_path)
    assert "error" not in output
    found = re.findall(r'note: Revealed type is "(.*)"', output)
    for revealed, end in zip(found, expected[2:], strict=True):
        assert re.search(rf"-> (\w+\.)*{end}$", revealed), (revealed, end)
