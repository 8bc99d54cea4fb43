"""``vendor --check`` in a hook of pre-commit and in CI, as docs/vendoring.md shows both."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from swaig_wsgi import __version__
from swaig_wsgi.cli._copies import make_copy

ROOT = Path(__file__).resolve().parents[2]
COPY = "myproject/_vendor/swaig"
FILES = {
    match[1]: match[2]
    for match in re.finditer(
        r"```yaml\n# (\S+)\n(.*?)```", (ROOT / "docs" / "vendoring.md").read_text(), re.DOTALL
    )
}
HOOKS, WORKFLOW = FILES[".pre-commit-config.yaml"], FILES[".github/workflows/vendored.yml"]


def hook_entry() -> str:
    (repository,) = yaml.safe_load(HOOKS)["repos"]
    (hook,) = repository["hooks"]
    return str(hook["entry"])


class Project:
    """A repository with a copy, in which the command is installed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.copy = directory / COPY
        make_copy(self.copy, middleware=True)
        self.env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PRE_COMMIT_HOME": str(directory.parent / "pre-commit"),
            "HOME": str(directory.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_NAME": "A Name" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "a@example.com" for who in ("AUTHOR", "COMMITTER")},
        }

    def run(self, *command: str) -> Any:
        return subprocess.run(
            command, cwd=self.directory, env=self.env, capture_output=True, text=True, check=False
        )

    def shell(self, command: str) -> Any:
        return self.run("bash", "-ec", command)

    def commit(self) -> Any:
        self.run("git", "add", "--all")
        return self.run("git", "commit", "--quiet", "--message=A change")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def change(project: Project) -> None:
    with (project.copy / "core" / "auth.py").open("a") as file:
        file.write("# a local change\n")


def add(project: Project) -> None:
    (project.copy / "core" / "extra.py").write_text("")


def remove(project: Project) -> None:
    (project.copy / "core" / "auth.py").unlink()


REPORTED = [
    (change, "changed: core/auth.py"),
    (add, "added: core/extra.py"),
    (remove, "missing: core/auth.py"),
]


@pytest.mark.parametrize(("make", "reported"), REPORTED)
def test_the_line_of_ci_fails_for_a_copy_that_differs(
    project: Project, make: Any, reported: str
) -> None:
    *_, install, check = yaml.safe_load(WORKFLOW)["jobs"]["swaig"]["steps"]
    assert install["run"] == f"python -m pip install swaig-wsgi=={__version__}"
    assert project.shell(check["run"]).returncode == 0
    make(project)
    done = project.shell(check["run"])
    assert (done.returncode, done.stdout) == (1, f"{reported}\n")


@pytest.mark.parametrize(("make", "reported"), REPORTED)
def test_the_entry_of_the_hook_fails_for_a_copy_that_differs(
    project: Project, make: Any, reported: str
) -> None:
    assert project.shell(hook_entry()).returncode == 0
    make(project)
    done = project.shell(hook_entry())
    assert (done.returncode, done.stdout) == (1, f"{reported}\n")


# In an environment without pre-commit, the entry alone is tested.
if find_spec("pre_commit") is not None:

    @pytest.mark.slow
    def test_the_hook_rejects_a_commit_that_changes_the_copy(project: Project) -> None:
        (project.directory / ".pre-commit-config.yaml").write_text(HOOKS)
        assert project.run("git", "init", "--quiet").returncode == 0
        installed = project.run(sys.executable, "-m", "pre_commit", "install")
        assert installed.returncode == 0, installed.stderr
        first = project.commit()
        assert first.returncode == 0, first.stderr
        for make, reported in REPORTED:
            make(project)
            rejected = project.commit()
            assert rejected.returncode == 1
            assert reported in rejected.stderr
            project.run("git", "reset", "--quiet", "--hard")
        (project.directory / "app.py").write_text("")
        assert project.commit().returncode == 0
