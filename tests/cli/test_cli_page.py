"""The example at the beginning of docs/cli.md, in a shell."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


def test_the_first_example_prints_what_the_page_shows(tmp_path, serve_command):
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    example = re.search(r"```console\n(.*?)```", page, re.DOTALL)
    assert example is not None
    export, start, *calls = re.findall(r"\$ (.*)\n((?:[^$].*\n)*)", example[1])
    script = tmp_path / "swaig-wsgi"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m swaig_wsgi.cli "$@"\n')
    script.chmod(0o755)
    pairs = dict(each.split("=") for each in export[0].split()[1:])
    environ = {**pairs, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    server = serve_command(
        ["/bin/sh", "-c", f"exec {start[0].rstrip(' &')} --host=127.0.0.1 --port=0"],
        environ,
        listening=r"Running on http://127\.0\.0\.1:(\d+)",
    )
    assert len(calls) == 2
    for line, expected in calls:
        result = subprocess.run(  # noqa: S602 - the command of this test
            line.replace(":3000", f":{server.port}"),
            shell=True,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert (result.returncode, result.stdout, result.stderr) == (0, expected, "")
