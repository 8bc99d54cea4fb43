"""The snippets of the README and the documentation run as pasted."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def load_snippets() -> Any:
    spec = importlib.util.spec_from_file_location("snippets", ROOT / "tests" / "snippets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["snippets"] = module
    spec.loader.exec_module(module)
    return module


snippets = load_snippets()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = [program for page in PAGES for program in snippets.programs(page)]


@pytest.fixture(autouse=True)
def _package_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: f"{program.page}:{program.line}")
def test_snippets_run_as_pasted(program: Any) -> None:
    assert snippets.run(program) == ""


def test_the_readme_shows_short_snippets_for_flask_and_django() -> None:
    readme = [program for program in PROGRAMS if program.page == "README.md"]
    assert [program for program in readme if "from flask import" in program.code]
    (django,) = [program for program in readme if program.files]
    assert django.files.keys() == {"settings.py", "wsgi.py"}
    for code in (
        *django.files.values(),
        *(program.code for program in readme if "flask" in program.code),
    ):
        assert len(code.splitlines()) <= 6


# The runner of the snippets


def page(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "page.md"
    path.write_text(text)
    return path


def test_failing_snippets_are_reported(tmp_path: Path) -> None:
    failing = "```python\nraise SystemExit('it failed')\n```\n"
    broken = "def app(environ, start_response):\n    raise ValueError('no')\n"
    app = f"<!-- ask -->\n```python\n{broken}```\n"
    not_run = "<!-- not run: it fails -->\n" + failing
    first, second, third = snippets.programs(page(tmp_path, failing + app + not_run))
    assert "it failed" in snippets.run(first)
    assert "ValueError: no" in snippets.run(second)
    assert snippets.run(third) == ""


def test_snippets_can_be_continued_and_set_variables(tmp_path: Path) -> None:
    text = (
        "<!-- with: A=1 B='2 3' -->\n```python\nimport os\n```\n"
        "Then:\n\n<!-- continued -->\n```python\nassert os.environ['B'] == '2 3'\n```\n"
    )
    (program,) = snippets.programs(page(tmp_path, text))
    assert snippets.run(program) == ""


def test_an_unknown_directive_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dont run"):
        snippets.programs(page(tmp_path, "<!-- dont run -->\n```python\n```\n"))
