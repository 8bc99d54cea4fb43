"""Run the Python blocks of Markdown files: ``python tests/snippets.py README.md``.

Every block that opens with three backticks and ``python`` is a program, run in an empty directory.
Comments in the lines above the block change that:

``<!-- with: NAME=value NAME=value -->``
    Run it with these variables set.
``<!-- ask -->``
    Request ``/`` from its ``app``, a WSGI application, which must respond.
``<!-- continued -->``
    Append it to the previous block of the page.
``<!-- django: settings.py -->``
    Append it to that file of a new Django project, together with all such blocks of the page; run
    the project's ``wsgi.py``, and request ``/`` from it. A block that opens with ``html`` is a
    template: ``<!-- django: templates/home.html -->``.
``<!-- site: NAME FILE -->``
    Only compile it. The tests in ``tests/interop``, which have the packages that it needs, append
    it to that file of a site.
``<!-- not run: why -->``
    Only compile it.

With ``--only WORD``, run only the blocks that contain the word; ``--only django`` selects the
Django projects.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK = re.compile(
    r"^(?P<comments>(?:<!-- [^\n]* -->\n)*)^```(?:python|html)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_MARK = re.compile(r"<!-- (with|ask|continued|django|site|not run)(?:: (.+))? -->")

#: Request ``/`` as a server would.
_ASK = """
def _ask(app):
    from wsgiref.util import setup_testing_defaults
    environ = {"REMOTE_ADDR": "127.0.0.1", "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    started = []
    response = app(environ, lambda status, headers, exc_info=None: started.append(status))
    body = b"".join(response)
    getattr(response, "close", lambda: None)()
    assert started and int(started[-1][:3]) < 500, (started, body)
_ask(app)
"""


@dataclass
class Program:
    """The program of one process: code, or text for the files of a Django project."""

    page: str
    line: int
    code: str = ""
    files: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    is_run: bool = True
    is_asked: bool = False
    #: The site to which the code belongs, and its file there.
    site: str = ""
    file: str = ""

    @property
    def text(self) -> str:
        """The Python code, of all files."""
        python = (code for name, code in self.files.items() if name.endswith(".py"))
        return self.code + "".join(python)


def programs(path: Path) -> list[Program]:
    """Return the programs of a page."""
    text = path.read_text(encoding="utf-8")
    found: list[Program] = []
    django: Program | None = None
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code"))
        comments = {}
        for given in match["comments"].splitlines():
            mark = _MARK.fullmatch(given)
            if mark is None:
                raise ValueError(f"{path.name}:{line}: unknown mark {given}")
            comments[mark[1]] = mark[2] or ""
        if "django" in comments:
            if django is None:
                django = Program(path.name, line)
                found.append(django)
            name = comments["django"]
            django.files[name] = django.files.get(name, "") + match["code"]
            continue
        if "continued" not in comments:
            found.append(Program(path.name, line))
        program = found[-1]
        program.code += match["code"]
        program.is_run = not comments.keys() & {"not run", "site"}
        program.site, _, program.file = comments.get("site", "").partition(" ")
        program.is_asked = "ask" in comments
        program.variables.update(
            pair.split("=", 1) for pair in shlex.split(comments.get("with", ""))
        )
    return found


def run(program: Program) -> str:
    """Run `program`, and return its error, or an empty string."""
    compile(program.text, f"{program.page}:{program.line}", "exec")
    if not program.is_run:
        return ""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SWML_", "SIGNALWIRE_", "DJANGO_")) and name != "PORT"
    }
    environment = {**kept, **program.variables}
    with tempfile.TemporaryDirectory() as directory:
        if program.files:
            code = _start_project(Path(directory), program.files)
        else:
            code = program.code + (_ASK if program.is_asked else "")
        file = Path(directory) / "snippet.py"
        file.write_text(code, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-W", "error", file.name],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    return "" if done.returncode == 0 else f"{program.page}:{program.line}\n{done.stderr}"


def _start_project(directory: Path, files: dict[str, str]) -> str:
    command = [sys.executable, "-m", "django", "startproject", "mysite", str(directory)]
    subprocess.run(command, check=True, timeout=60)
    for name, code in files.items():
        file = directory / "mysite" / name
        file.parent.mkdir(exist_ok=True)
        with file.open("a", encoding="utf-8") as appended:
            appended.write(("\n" if file.suffix == ".py" else "") + code)
    return "from mysite.wsgi import application as app\n" + _ASK


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    chosen = [
        program
        for page in arguments.pages
        for program in programs(page)
        if arguments.only in program.text.lower()
    ]
    failures = [failure for failure in map(run, chosen) if failure]
    print(*failures, f"{len(chosen)} run, {len(failures)} failed", sep="\n")
    return 1 if failures or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
