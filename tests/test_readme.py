"""The snippets of the README and the documentation run as pasted."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from support.waiting import wait_until

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


# The commands, with two workers

_COMMAND = re.compile(r"<!-- (serve with two workers|production) -->\n```sh\n(.*?)```", re.DOTALL)


def commands(page: Path) -> list[tuple[str, int]]:
    """Return the commands of a page that serve an application, and their positions."""
    text = page.read_text()
    found = [(match[2], text.count("\n", 0, match.start())) for match in _COMMAND.finditer(text)]
    return [(command.replace(".venv/bin/", ""), line) for command, line in found]


def served_by(page: Path, line: int) -> Any:
    """Return the program that a command serves: the last one before it that is an application."""
    return [
        program
        for program in PROGRAMS
        if program.page == page.name
        and program.line < line
        and (program.files or program.is_asked or "AgentApp(" in program.code)
    ][-1]


def write(program: Any, directory: Path) -> None:
    if program.files:
        snippets._start_project(directory, program.files)
    else:
        (directory / "app.py").write_text(program.code)


def start(
    serve_command: Any,
    command: str,
    directory: Path,
    workers: int = 2,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    env = {
        **variables,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GUNICORN_CMD_ARGS": f"--bind=127.0.0.1:0 --workers={workers}",
    }
    server = serve_command(["bash", "-c", command], env, cwd=str(directory))
    # A command of a page may start more.
    wait_until(lambda: server.log.count("Booting worker") >= workers)
    return server


SERVED = [(page, command, line) for page in PAGES for command, line in commands(page)]


def test_the_readme_and_the_pages_of_frameworks_say_how_to_serve() -> None:
    pages = [page.name for page, _, _ in SERVED]
    assert pages.count("README.md") == 3
    assert {"flask.md", "django.md", "deployment.md", "workers.md"} <= set(pages)
    for _, command, _ in SERVED:
        assert "gunicorn -c python:swaig_wsgi.gunicorn " in command


@pytest.mark.parametrize(
    ("page", "command", "line"), SERVED, ids=[f"{page.name}:{line}" for page, _, line in SERVED]
)
def test_the_commands_serve_with_two_workers(
    serve_command: Any, tmp_path: Path, page: Path, command: str, line: int
) -> None:
    if "swaig_wsgi.examples" not in command:
        write(served_by(page, line), tmp_path)
    server = start(serve_command, command, tmp_path)
    statuses = {server.request("GET", "/").status for _ in range(10)}
    assert max(statuses) < 500
    assert "several processes" not in server.log


@pytest.mark.parametrize(("number", "app"), [(0, "app:app"), (1, "mysite.wsgi")])
def test_plain_gunicorn_logs_at_the_start_what_it_will_refuse(
    serve_command: Any, tmp_path: Path, number: int, app: str
) -> None:
    page = ROOT / "README.md"
    _, line = [each for each in commands(page) if "examples" not in each[0]][number]
    write(served_by(page, line), tmp_path)
    server = start(serve_command, f"SWML_RATE_LIMIT=120 gunicorn {app}", tmp_path)
    assert "SWML_STORAGE_URL" in server.wait_for_log("several processes serve")
    assert server.request("GET", "/").status == 503
    store = f"sqlite:///{tmp_path}/store.db"
    if number == 0:
        command = f"SWML_RATE_LIMIT=120 SWML_STORAGE_URL={store} gunicorn {app}"
    else:
        with (tmp_path / "mysite" / "settings.py").open("a") as file:
            file.write(f"\nSWAIG_WSGI['storage_url'] = {store!r}\n")
        command = f"gunicorn {app}"
    server = start(serve_command, command, tmp_path)
    assert max(server.request("GET", "/").status for _ in range(10)) < 500
    assert "several processes" not in server.log


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
