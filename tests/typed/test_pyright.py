"""What pyright, of the extra ``dev``, makes of the public API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.typed import SNIPPET, WRONG, reveal_forwarded


def pyright(path: Path, severity: str) -> dict[int, str]:
    """Return messages by line."""
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, path],
        capture_output=True,
        text=True,
        # No look-up of newer releases.
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
    )
    assert done.returncode in (0, 1), done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["generalDiagnostics"]
    return {
        each["range"]["start"]["line"] + 1: each["message"]
        for each in found
        if each["severity"] == severity
    }


def test_pyright_rejects_wrong_calls_and_accepts_right_ones() -> None:
    found = pyright(SNIPPET, "error")
    assert sorted(found) == WRONG, found


def test_pyright_shows_what_forwarded_methods_return(tmp_path: Path) -> None:
    expected = reveal_forwarded(tmp_path / "forwarded.py")
    assert len(expected) > 40
    found = pyright(tmp_path / "forwarded.py", "information")
    for number, end in enumerate(expected, 1):
        assert found.get(number, "").rstrip('"').endswith(end and f"-> {end}"), found.get(number)
    assert pyright(tmp_path / "forwarded.py", "error") == {}
