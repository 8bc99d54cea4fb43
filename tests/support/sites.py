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
from urllib.parse import unquote, urlsplit

import snippets
from support.waiting import wait_until

from swaig_wsgi.core.urls import with_credentials
from swaig_wsgi.testing import AgentClient

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


def call_with_nothing_else(server: Any, password: str) -> Any:
    """Return the result of a tool that is called at its URL, as the platform does."""
    site = with_credentials(f"http://127.0.0.1:{server.port}/swml", "platform", password)
    client = AgentClient(site)
    client.fetch_swml("call-1")
    (tool,) = client.tools
    assert urlsplit(tool["web_hook_url"]).path == "/swaig"
    return client.call_tool("opening_hours", {"day": "Monday"})


def call_across_a_rotation(start: Any, path: str, password: str, secret: str) -> Any:
    """Return the result of a tool whose URL is older than the site's password and secret.

    Args:
        start: a function that serves the site with variables.
        path: that of the document.
        password: the current one; the user is ``platform``.
        secret: the current one, which signs tokens.
    """

    def tool_url(server: Any, password: str) -> Any:
        site = f"http://127.0.0.1:{server.port}{path}"
        client = AgentClient(with_credentials(site, "platform", password))
        client.fetch_swml("call-1")
        return urlsplit(client.tools[0]["web_hook_url"])

    old = {"SWML_BASIC_AUTH_PASSWORD": password, "SIGNALWIRE_SWAIG_SECRET": secret}
    new = {name: f"the next {name}" for name in old}
    fallbacks = {f"{name}_FALLBACKS": value for name, value in old.items()}
    url = tool_url(start(SWML_BASIC_AUTH_USER="platform", **old), password)
    server = start(SWML_BASIC_AUTH_USER="platform", **new, **fallbacks)
    call = {"function": "opening_hours", "call_id": "call-1", "argument": {"parsed": [{}]}}
    auth = (unquote(url.username), unquote(url.password))
    response = server.request("POST", f"{url.path}?{url.query}", call, auth=auth)
    assert response.status == 200, response
    # Documents are fetched with the earlier password, too, and have the new one.
    current = tool_url(server, password)
    assert unquote(current.password) == new["SWML_BASIC_AUTH_PASSWORD"]
    return response.json
