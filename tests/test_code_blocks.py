"""Blocks of the documentation that are not Python are correct in their language.

Python and HTML are run by test_readme.py, lines of logs (``text``) by test_quoted_lines.py, and
many blocks of the other languages by the tests of their topic, too.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jinja2
import pytest
import yaml
from gunicorn.config import Config
from support.nginx import NGINX, temporary_paths

from swaig_wsgi.cli._main import _parser
from swaig_wsgi.config import known_variables

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/*/README.md")
    for path in ROOT.glob(pattern)
)
BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S
)
#: By the modules named above, and by Sphinx.
ELSEWHERE = {"python", "html", "text", "{eval-rst}"}


class Block(NamedTuple):
    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        for match in BLOCK.finditer(page):
            line = page.count("\n", 0, match.start()) + 1
            indent = len(match["indent"])
            text = "".join(each[indent:] for each in match["text"].splitlines(keepends=True))
            yield Block(str(path.relative_to(ROOT)), line, match["language"], text)


BLOCKS = list(blocks())


def of(*languages: str) -> pytest.MarkDecorator:
    found = [block for block in BLOCKS if block.language in languages]
    assert found
    return pytest.mark.parametrize("block", found, ids=str)


def script(block: Block) -> str:
    """Return what a reader types."""
    if block.language != "console":
        return block.text
    return "".join(line[2:] for line in block.text.splitlines(keepends=True) if line[:2] == "$ ")


def commands(text: str, program: str) -> Iterator[list[str]]:
    """Yield the arguments of each command that starts `program`, as a shell splits them."""
    for line in text.replace("\\\n", " ").splitlines():
        if re.search(rf"(^|[ /]){program} ", line):
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, ";"]:
                if set(word) <= set(";&|()<>"):
                    while words and re.match(r"\w+=|exec$", words[0]):
                        del words[0]
                    if words and words[0].rpartition("/")[2] == program:
                        yield words[1:]
                    words = []
                else:
                    words.append(word)


@of("sh", "console")
def test_the_syntax_of_commands_is_valid(block: Block) -> None:
    done = subprocess.run(
        ["bash", "-n"],  # noqa: S607 - found on PATH
        input=script(block),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@of("sh", "console")
def test_variables_and_options_of_commands_exist(block: Block) -> None:
    text = script(block)
    assert set(re.findall(r"\b((?:SWML|SIGNALWIRE)_\w+)=", text)) <= known_variables()
    for arguments in commands(text, "gunicorn"):
        Config().parser().parse_args(arguments)
    for arguments in commands(text, "swaig-wsgi"):
        _parser().parse_args(arguments)


@of("json")
def test_json_can_be_read(block: Block) -> None:
    for line in block.text.splitlines():
        assert isinstance(json.loads(line), dict)


@of("yaml")
def test_yaml_can_be_read(block: Block) -> None:
    assert list(yaml.safe_load_all(block.text))


@of("jinja")
def test_templates_can_be_read(block: Block) -> None:
    assert jinja2.Environment(autoescape=True).parse(block.text).body


if NGINX is not None:

    @of("nginx")
    def test_nginx_accepts_its_directives(block: Block, tmp_path: Path) -> None:
        assert NGINX is not None
        upstreams = re.findall(r"^upstream .*$", block.text, re.M)
        server = re.sub(r"^upstream .*$", "", block.text, flags=re.M)
        (tmp_path / "nginx.conf").write_text(
            f"pid {tmp_path}/pid; error_log stderr; events {{}}\n"
            f"http {{ {temporary_paths(tmp_path)} access_log off; {' '.join(upstreams)}\n"
            f"server {{ listen 127.0.0.1:1;\n{server} }} }}\n"
        )
        arguments = [NGINX, "-e", "stderr", "-p", str(tmp_path), "-c", "nginx.conf", "-t"]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_every_language_is_checked() -> None:
    checked = {"sh", "console", "json", "yaml", "jinja", "nginx"}
    others = [block for block in BLOCKS if block.language not in checked | ELSEWHERE]
    # Diagrams have no language.
    assert [(str(block), block.language) for block in others if block.language] == []
    assert [
        str(block) for block in others if not re.search("[→│├└▲▼]|^    \\w+/", block.text)
    ] == []


def test_commands_are_found_as_a_shell_splits_them() -> None:
    text = "A=1 \\\n  .venv/bin/gunicorn -w 2 'a:b()' && gunicorn c  # gunicorn d\nx | gunicorn e\n"
    assert list(commands(text, "gunicorn")) == [["-w", "2", "a:b()"], ["c"], ["e"]]
