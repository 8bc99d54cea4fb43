"""Sites whose files are blocks of a page of the documentation.

A block after ``<!-- site: NAME FILE -->`` belongs to that file of the site; several blocks are one
file. A Django site is a new project, whose files they extend. A command after
``<!-- serves: NAME -->`` serves the site.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import snippets
from support.waiting import wait_until

DOCS = Path(__file__).parent.parent.parent / "docs"


def files_of(page: str, site: str) -> dict[str, str]:
    """Return the text of the files of a site."""
    files: dict[str, str] = {}
    for program in snippets.programs(DOCS / page):
        if program.site == site:
            files[program.file] = files.get(program.file, "") + program.code
    assert files, f"{page} has no site {site}"
    return files


def command_of(page: str, site: str) -> str:
    """Return the command that serves a site."""
    block = re.compile(rf"<!-- serves: {site} -->\n```sh\n(.*?)```", re.DOTALL)
    (command,) = block.findall((DOCS / page).read_text())
    return str(command)


def write(page: str, site: str, directory: Path, *, django: bool = False) -> None:
    """Write the files of a site."""
    files = files_of(page, site)
    if django:
        command = [sys.executable, "-m", "django", "startproject", "mysite", str(directory)]
        subprocess.run(command, check=True, timeout=60)
    for name, code in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" + code)


def serve(serve_command: Any, directory: Path, command: str, **env: str) -> Any:
    """Serve a site by a command of its page, with two workers."""
    env = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GUNICORN_CMD_ARGS": "--bind=127.0.0.1:0 --workers=2",
        **env,
    }
    server = serve_command(["bash", "-c", command], env, cwd=str(directory))
    wait_until(lambda: server.log.count("Booting worker") >= 2)
    return server
