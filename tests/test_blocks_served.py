"""Every block of the documentation that is an application is served as pasted, by two workers.

Those that their page serves with a command of its own are in ``test_readme.py``.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from test_readme import PROGRAMS, ROOT, SERVED, served_by, start, write

#: Names of applications, those that others may be part of first.
NAMES = ("app", "application", "server", "agent")


#: Of applications that are for one path only.
PATHS = {"tokens.md": "/swaig"}


def application_of(program: Any) -> str:
    """Return what gunicorn serves of a program, or an empty string."""
    if program.files:
        return "mysite.wsgi"
    assigned = {
        target.id
        for statement in ast.parse(program.code).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    return next((f"app:{name}" for name in NAMES if name in assigned), "")


SERVED_BY_PAGES = [
    served_by(page, line) for page, command, line in SERVED if "examples" not in command
]
CASES = [
    pytest.param(program, application_of(program), id=f"{program.page}:{program.line}")
    for program in PROGRAMS
    if program.is_run and application_of(program) and program not in SERVED_BY_PAGES
]


@pytest.fixture(autouse=True)
def _package_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.parametrize(("program", "target"), CASES)
def test_applications_are_served_by_two_workers(
    serve_command: Any, tmp_path: Path, program: Any, target: str
) -> None:
    write(program, tmp_path)
    server = start(
        serve_command,
        f"gunicorn -c python:swaig_wsgi.gunicorn {target}",
        tmp_path,
        variables=program.variables,
    )
    path = PATHS.get(program.page, "/")
    statuses = {server.request("GET", path).status for _ in range(10)}
    assert max(statuses) < 500
    assert "several processes" not in server.log


def test_most_pages_have_an_application() -> None:
    assert len(CASES) + len(SERVED_BY_PAGES) >= 30
