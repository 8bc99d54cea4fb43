"""Framing and Content-Security-Policy in a browser: the sites of docs/csp.md, and caches."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import snippets
from support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "csp.md"
INJECTED = "<script>document.title = 'injected'</script>"

#: Loads `url` in a frame.
FRAME = """
url => new Promise(done => {
    const frame = document.createElement("iframe");
    frame.onload = done;
    frame.src = url;
    document.body.append(frame);
}).then(() => null)
"""

CACHED = """
from swaig_wsgi import harden

CONDITIONS = []
POLICY = "script-src 'nonce-{nonce}'"
PAGE = '<!doctype html><script nonce="%s">document.title = "ran"</script>'

def site(environ, start_response):
    headers = [("ETag", '"1"'), ("Cache-Control", "no-cache"), ("Content-Type", "text/html")]
    if environ["PATH_INFO"] == "/":
        CONDITIONS.append(environ.get("HTTP_IF_NONE_MATCH"))
    if environ["PATH_INFO"] == "/conditions":
        body = repr(CONDITIONS).encode()
    elif environ.get("HTTP_IF_NONE_MATCH"):
        start_response("304 Not Modified", headers)
        return []
    else:
        body = (PAGE % environ["swaig_wsgi.csp_nonce"]).encode()
    start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
    return [body]

app = harden(site, headers={"Content-Security-Policy": POLICY})

def replacing(environ, start_response):
    # What not to do: the policy of each request on each response, 304 included.
    def start(status, headers, exc_info=None):
        nonce = environ["swaig_wsgi.csp_nonce"]
        headers = [field for field in headers if field[0] != "Content-Security-Policy"]
        policy = ("Content-Security-Policy", POLICY.format(nonce=nonce))
        return start_response(status, [*headers, policy], exc_info)
    return app(environ, start)
"""


@pytest.fixture
def documented(serve_command: Any, tmp_path: Path) -> Any:
    """Start a site of the documentation with its command and two workers.

    For Django, lines that contain `without` are left out of the settings, and `more` precedes what
    the page adds to files.
    """

    def start(
        name: str, without: str | None = None, more: dict[str, str] | None = None, **env: str
    ) -> tuple[str, Any]:
        names = ("static", "flask", "django")
        program = dict(zip(names, snippets.programs(PAGE)))[name]
        text = PAGE.read_text()
        found = re.findall(r"<!-- serve with two workers -->\n```sh\n(.*?)```", text, re.DOTALL)
        command = found[name == "django"]
        if program.files:
            files = dict(program.files)
            for file, code in (more or {}).items():
                files[file] = code + files[file]
            if without is not None:
                settings = files["settings.py"].splitlines(keepends=True)
                files["settings.py"] = "".join(line for line in settings if without not in line)
            snippets._start_project(tmp_path, files)
        else:
            (tmp_path / "app.py").write_text(program.code)
        env |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "GUNICORN_CMD_ARGS": "--bind=127.0.0.1:0 --workers=2",
        }
        server = serve_command(["bash", "-c", command], env, cwd=str(tmp_path))
        wait_until(lambda: server.log.count("Booting worker") >= 2)
        return f"http://localhost:{server.port}", server

    return start


def is_framed(page: Any, origin: str, url: str) -> bool:
    """Return whether a page of `origin` shows `url` in a frame."""
    page.open(origin)
    page.run(FRAME, url)
    (child,) = page.call("Page.getFrameTree")["frameTree"]["childFrames"]
    frame = child["frame"]
    assert frame.get("unreachableUrl", frame["url"]) == url
    return "unreachableUrl" not in frame


@pytest.mark.parametrize("framework", ["flask", "django"])
def test_attack_an_injected_script_does_not_run_and_the_pages_own_does(
    documented: Any, page: Any, framework: str
) -> None:
    at, server = documented(framework)
    nonces = set()
    for _ in range(6):
        response = server.request("GET", "/", auth=None)
        (in_policy,) = re.findall(
            r"'nonce-([\w-]{22})'", response.headers["Content-Security-Policy"]
        )
        (in_page,) = re.findall(r'nonce="([^"]*)"', response.body.decode())
        assert in_page == in_policy
        nonces.add(in_page)
    assert len(nonces) == 6
    for injected in (
        INJECTED,
        f"<script nonce='{nonces.pop()}'>document.title = 'injected'</script>",
    ):
        page.open(f"{at}/?q={quote(injected)}")
        shown = page.run("() => [document.title, document.getElementById('status').innerText]")
        assert shown == ["Shop", "open"]
        blocked = page.logged("Content Security Policy")
        assert "script-src 'self' 'nonce-" in blocked
        assert "injected" in page.run("() => document.documentElement.outerHTML")


def test_a_static_policy_blocks_every_inline_script(documented: Any, page: Any) -> None:
    at, server = documented("static")
    policy = server.request("GET", "/nowhere").headers["Content-Security-Policy"]
    assert policy == "default-src 'self'; object-src 'none'; base-uri 'none'"
    page.open(f"{at}/nowhere")
    add = """() => {
        const script = document.createElement("script");
        script.textContent = "document.title = 'injected'";
        document.body.append(script);
        return document.title;
    }"""
    assert page.run(add) == "404 Not Found"
    page.logged("Content Security Policy")


def test_without_the_policy_the_injected_script_runs(documented: Any, page: Any) -> None:
    at, _ = documented("flask")
    page.call("Page.setBypassCSP", enabled=True)
    page.open(f"{at}/?q={quote(INJECTED)}")
    assert page.run("() => document.title") == "injected"


def test_flask_pages_are_framed_where_their_policy_says_so(
    documented: Any, page: Any, origins: Any
) -> None:
    at, server = documented("flask")
    assert is_framed(page, origins.app, f"{at}/widget")
    assert server.request("GET", "/widget").headers["X-Frame-Options"] == "DENY"
    for path in ("/", "/nowhere"):
        assert not is_framed(page, origins.app, f"{at}{path}")
        page.logged("Refused to display")


def test_django_pages_are_framed_only_if_exempt(documented: Any, page: Any, origins: Any) -> None:
    at, _ = documented("django")
    assert is_framed(page, origins.app, f"{at}/widget/")
    for path in ("/", "/nowhere", "/admin/login/"):
        assert not is_framed(page, origins.app, f"{at}{path}")
        page.logged("Refused to display")


@pytest.mark.parametrize("is_first", [True, False])
def test_responses_outside_of_the_view_cannot_be_framed(
    documented: Any, is_first: bool, tmp_path: Path
) -> None:
    _, server = documented("django", without=None if is_first else "CLICKJACKING")

    def fetch(path: str, **headers: str) -> tuple[int, list[str]]:
        response = server.request("GET", path, headers=headers, auth=None)
        return response.status, response.headers.get_all("X-Frame-Options") or []

    assert fetch("/widget/") == (200, [])
    assert fetch("/") == (200, ["DENY"])
    assert fetch("/nowhere") == (404, ["DENY"])
    # Django refuses the host, before a middleware that comes later.
    assert fetch("/widget/", Host="evil.example") == (400, ["DENY"] if is_first else [])
    assert fetch("/widget") == (301, ["DENY"] if is_first else [])


def test_attack_refusals_of_an_exempt_page_cannot_be_framed(
    documented: Any, page: Any, origins: Any
) -> None:
    at, server = documented("django", SWML_RATE_LIMIT="1")
    assert is_framed(page, origins.app, f"{at}/widget/")
    # A minute may pass in between.
    for _ in range(3):
        response = server.request("GET", "/widget/", auth=None)
        if response.status == 429:
            break
    assert response.headers["X-Frame-Options"] == "DENY"
    assert not is_framed(page, origins.app, f"{at}/widget/")
    page.logged("Refused to display")


@pytest.mark.parametrize("name", ["app", "replacing"])
def test_attack_a_304_keeps_the_policy_of_the_stored_page(
    gunicorn: Any, page: Any, tmp_path: Path, name: str
) -> None:
    (tmp_path / "cached_site.py").write_text(CACHED)
    server = gunicorn(f"cached_site:{name}", "--threads=4", cwd=str(tmp_path))
    at = f"http://localhost:{server.port}"
    titles = []
    for _ in range(3):
        page.open(f"{at}/")
        titles.append(page.run("() => document.title"))
        page.open("about:blank")
    assert server.request("GET", "/conditions").body == b"""[None, '"1"', '"1"']"""
    assert titles == ["ran", *(["ran", "ran"] if name == "app" else ["", ""])]


@pytest.mark.slow
def test_the_admin_of_django_works_with_the_policy(
    documented: Any, page: Any, tmp_path: Path
) -> None:
    static = (
        "from django.contrib.staticfiles.handlers import StaticFilesHandler\n"
        "application = StaticFilesHandler(application)\n"
    )
    at, server = documented("django", more={"wsgi.py": static})
    env = {**server.env, "DJANGO_SUPERUSER_PASSWORD": "only-for-a-test"}
    user = ["createsuperuser", "--noinput", "--username=root", "--email=root@example.com"]
    for command in (["migrate", "--verbosity=0"], user):
        subprocess.run(
            [sys.executable, "manage.py", *command], cwd=tmp_path, env=env, check=True, timeout=120
        )
    page.open(f"{at}/admin/login/?next=/admin/")
    log_in = """() => {
        document.getElementById("id_username").value = "root";
        document.getElementById("id_password").value = "only-for-a-test";
        document.querySelector("form").submit();
    }"""
    assert "Recent actions" in page.leave(log_in).text
    for path in ("auth/user/", "auth/user/add/", "auth/user/1/change/", "auth/group/add/"):
        page.open(f"{at}/admin/{path}")
        assert page.run("() => typeof django.jQuery") == "function"
        events = [event for event in page.tools.events if event["method"] == "Log.entryAdded"]
        entries = [event["params"]["entry"] for event in events]
        errors = [each for each in entries if each["level"] == "error"]
        assert [each for each in errors if not each.get("url", "").endswith("/favicon.ico")] == []
