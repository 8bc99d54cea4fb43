"""The guide has a page for each topic of the SDK's guide, with every setting and its default.

Each page shows an example first, and ends with what can go wrong, as the log says it.
"""

from __future__ import annotations

import contextlib
import http.client
import inspect
import io
import os
import re
import secrets
import shlex
import shutil
import ssl
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, Callable

import pytest
from support.nginx import CERTS
from support.ports import free_port
from support.servers import SERVERS
from support.waiting import PATIENCE
from support.wsgi import request
from test_quoted_lines import BLOCK, BLOCKS
from test_readme import ROOT, snippets, start

from swaig_wsgi import (
    AgentApp,
    AuthHandler,
    SessionManager,
    Settings,
    SslConfig,
    harden,
    middleware,
    tool_url,
)
from swaig_wsgi.core.headers import AGENT_HEADERS, SECURITY_HEADERS, SITE_HEADERS

TESTS = ROOT / "tests"
DOCS = ROOT / "docs"
INDEX = (DOCS / "index.md").read_text(encoding="utf-8")

#: The topics of the SDK's guide, in its order, and their pages.
TOPICS = {
    "Overview": "configuration",
    "Authentication": "authentication",
    "SSL/TLS": "tls",
    "Security Headers": "headers",
    "CORS": "cors",
    "Rate Limiting": "limits",
    "Host Validation": "hosts",
    "Request Size Limits": "request-size",
    "Secure Tools (HMAC Tokens)": "tokens",
    "Production Checklist": "checklist",
}
#: The page of each constructor whose arguments are settings of a topic.
CONSTRUCTORS: dict[Callable[..., Any], str] = {
    AuthHandler: "authentication",
    middleware.AuthMiddleware: "authentication",
    SslConfig: "tls",
    middleware.HSTSMiddleware: "tls",
    middleware.SecurityHeadersMiddleware: "headers",
    middleware.CORSMiddleware: "cors",
    middleware.RateLimitMiddleware: "limits",
    middleware.AuthFailureLimitMiddleware: "limits",
    middleware.BodySizeMiddleware: "request-size",
    middleware.TrustedProxyMiddleware: "network",
    SessionManager: "tokens",
    middleware.ToolTokenMiddleware: "tokens",
    middleware.WebhookSignatureMiddleware: "signatures",
    middleware.MetricsMiddleware: "metrics",
    AgentApp: "agents",
}
#: Arguments that every layer has, and that a table omits if their defaults are these.
COMMON = {"protect": ("/*",), "exempt": (), "methods": None}
#: Defaults that a table names.
NAMED = {SECURITY_HEADERS: "SECURITY_HEADERS"}

#: Pages that are not about something to set up: they compare, list, or report.
OTHERS = {
    *("api", "architecture", "changelog", "checklist", "contributing", "fuzzing", "index"),
    *("from-signalwire-sdk", "from-signalwire-swaig", "from-typescript-sdk", "migration"),
    *("performance", "proof", "releasing", "security-model", "security-policy"),
}
GUIDE = [path for path in sorted(DOCS.glob("*.md")) if path.stem not in OTHERS]
BOX = "| symptom | log line | cause and remedy |"
CSP = "Content-Security-Policy"
#: Messages of exceptions in the boxes, and what raises them.
RAISED: dict[str, Callable[[], Any]] = {
    "expected a whole number from 0 to 1000000000": lambda: Settings(rate_limit="many"),
    "cannot read the file it names": lambda: Settings.from_env(
        {"SIGNALWIRE_SWAIG_SECRET_FILE": "/missing"}
    ),
    "without scheme, port, path or spaces": lambda: Settings(allowed_hosts="https://a.example"),
    "None drops a default, and this is not one": lambda: harden(site, headers={"X-A": None}),
    "a nonce is written 'nonce-{nonce}'": lambda: harden(site, headers={CSP: "'nonce-abc'"}),
    "refusal_app runs the views of the application": lambda: harden(site, refusal_app=site),
    "the URL has a token already": lambda: tool_url("https://a.example/?__token=a", "abc"),
    "the URL has credentials already": lambda: tool_url("https://a:b@h/", "abc", ("a", "b")),
}


def site(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return []


def text_of(page: str) -> str:
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


def tables(page: str) -> dict[str, list[list[str]]]:
    """Return the rows of each table of a page, by the first cell of its head."""
    found: dict[str, list[list[str]]] = {}
    rows = None
    for line in text_of(page).splitlines():
        if not line.startswith("|"):
            rows = None
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if rows is None:
            rows = found.setdefault(cells[0].strip("`"), [])
        elif set(cells[0]) != {"-"}:
            rows.append(cells)
    return found


def test_the_topics_of_the_sdks_guide_are_listed_in_its_order() -> None:
    (row,) = re.findall(r"^\| The topics of the SDK's guide.*$", INDEX, re.M)
    assert re.findall(r"\]\(([\w-]+)\.md\)", row) == list(TOPICS.values())
    (tree,) = re.findall(r"<!-- toctree: Security\n(.*?)-->", INDEX, re.S)
    assert tree.split() == list(TOPICS.values())


def test_every_setting_is_on_the_page_of_its_topic_and_no_other() -> None:
    overview = tables("configuration")["variable"]
    listed = [row[:4] for row in overview if row[0].startswith("`")]
    found: dict[str, str] = {}
    for path in DOCS.glob("*.md"):
        if path.stem == "configuration":
            continue
        for row in tables(path.stem).get("variable", ()):
            assert row in listed, (path.name, row[0])
            for name in re.findall(r"`(\w+)`", row[1]):
                assert name not in found, (name, path.name, found[name])
                found[name] = path.stem
    linked = {
        name: re.sub(r"\[([\w-]+)\]\(\1\.md\)", r"\1", row[4])
        for row in overview
        if len(row) > 4
        for name in re.findall(r"`(\w+)`", row[1])
    }
    assert found == linked
    assert found.keys() == {each.name for each in fields(Settings)}


@pytest.mark.parametrize("constructor", CONSTRUCTORS, ids=lambda each: each.__name__)
def test_every_argument_is_listed_with_its_default(constructor: Callable[..., Any]) -> None:
    title = "option" if constructor is middleware.CORSMiddleware else constructor.__name__
    rows = {row[0].strip("`"): row[1] for row in tables(CONSTRUCTORS[constructor])[title]}
    parameters = inspect.signature(constructor).parameters
    expected = parameters.keys() - {"app"}
    omitted = {name for name in COMMON if name in expected and name not in rows}
    assert rows.keys() == expected - omitted
    for name in omitted:
        assert parameters[name].default == COMMON[name]
    for name, cell in rows.items():
        default = parameters[name].default
        if constructor is middleware.CORSMiddleware and name in ("origins", "csrf_protection"):
            assert cell.startswith("`SWML_")  # those of `harden`
        elif default is inspect.Parameter.empty:
            assert cell == "required", name
        elif callable(default):
            assert cell == f"`time.{default.__name__}`", name
        else:
            spelled = NAMED.get(default, repr(default).replace("'", '"'))
            assert cell.partition(":")[0] == f"`{spelled}`", name


def test_the_headers_are_listed_with_their_values() -> None:
    rows = tables("headers")["header"]
    spelled = [[cell.strip("`") for cell in row] for row in rows]
    assert {name: value for name, value, _ in spelled if value} == dict(SITE_HEADERS)
    agents = {name: value for name, _, value in spelled}
    assert agents == {**dict(SECURITY_HEADERS), **AGENT_HEADERS}


# The shape of a page


@pytest.mark.parametrize("path", GUIDE, ids=lambda path: path.stem)
def test_a_page_begins_with_an_example(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    block, table = BLOCK.search(text), re.search(r"^\|", text, re.M)
    assert block is not None
    # The first table of this page is its contents.
    assert table is None or block.start() < table.start() or path.stem == "rotation"


@pytest.mark.parametrize("path", GUIDE, ids=lambda path: path.stem)
def test_a_page_ends_with_what_can_go_wrong(path: Path) -> None:
    *_, section = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.M)
    if path.stem == "rotation":
        section = path.read_text(encoding="utf-8").partition("## Not reloaded")[2]
    parts = all(f"- **{part}**" in section for part in ("Symptom", "Log", "Cause", "Remedy"))
    assert parts or BOX in section or path.stem == "incidents"


@pytest.mark.parametrize("message", RAISED)
def test_the_messages_of_exceptions_are_as_quoted(message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        RAISED[message]()


DJANGO = """
import logging
import sys
logging.basicConfig(stream=sys.stdout)
import django
from django.conf import settings
settings.configure(
    ALLOWED_HOSTS=["www.example.com"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware",
                "django.middleware.csrf.CsrfViewMiddleware"],
    ROOT_URLCONF="__main__",
)
django.setup()
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.urls import path
from support.wsgi import request
urlpatterns = [path("swaig", lambda request: HttpResponse("done"))]
request(WSGIHandler(), path="/swaig", HTTP_HOST="evil.example")
request(WSGIHandler(), path="/swaig", method="POST", HTTP_HOST="www.example.com")
"""


def test_the_lines_of_django_are_as_quoted() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DJANGO],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    for line in ("Invalid HTTP_HOST header", "Forbidden (CSRF cookie not set.)"):
        assert line in done.stdout
        assert f"`{line}`, by Django" in text_of("django")


def test_every_log_line_of_a_box_is_expected_by_a_test() -> None:
    """Events are those of test_quoted_lines.py, which also produces the lines in blocks."""
    sources = "".join(
        re.sub(r'"\s*\n\s*r?f?"', "", source.read_text(encoding="utf-8"))
        for source in TESTS.rglob("test_*.py")
    ).replace("\\", "")
    sources += "".join(block.text for block in BLOCKS)
    quoted = {
        (path.name, line)
        for path in GUIDE
        for row in tables(path.stem).get("symptom", ())
        for line in re.findall(r"`([^`]+)`", row[1])
        if not re.fullmatch(r"([a-z_]+ reason|tool_call outcome)=\w+", line)
    }
    assert len(quoted) > 30
    missing = sorted(f"{page}: {line}" for page, line in quoted if line not in sources)
    assert missing == []


# Blocks that are not Python


def assignments(path: Path) -> list[dict[str, str]]:
    """Return the blocks of a page that only set variables; of alternatives, each line."""
    found: list[dict[str, str]] = []
    for _, language, text in BLOCK.findall(path.read_text(encoding="utf-8")):
        lines = text.splitlines()
        if language != "sh" or not all(re.fullmatch(r"(export )?\w+=\S+", each) for each in lines):
            continue
        pairs = [shlex.split(each)[-1].split("=", 1) for each in lines]
        each_alone = len({name for name, _ in pairs}) < len(pairs)
        found.extend([{name: value} for name, value in pairs] if each_alone else [dict(pairs)])
    return found


@pytest.mark.parametrize(
    "variables", [each for path in GUIDE for each in assignments(path)], ids=" ".join
)
def test_blocks_of_variables_are_valid_settings(variables: dict[str, str], tmp_path: Path) -> None:
    for number, name in enumerate(variables):
        if name.endswith("_FILE"):
            file = tmp_path / str(number)
            file.write_text("" if "FALLBACKS" in name else f"secret number {number} of the tests\n")
            file.chmod(0o400)
            variables = {**variables, name: str(file)}
        elif variables[name].startswith("$(swaig-wsgi secret)"):
            variables = {**variables, name: secrets.token_urlsafe(32)}
    settings = Settings.from_env(variables)
    set_here = {
        each.name
        for each in fields(Settings)
        if variables.keys() & {each.metadata["variable"], f"{each.metadata['variable']}_FILE"}
    }
    changed = {name for name in set_here if getattr(settings, name) != getattr(Settings(), name)}
    assert changed == {name for name in set_here if "fallbacks" not in name}


def test_the_site_with_two_limits_of_size_refuses_larger_bodies() -> None:
    (program,) = snippets.programs(DOCS / "request-size.md")
    namespace: dict[str, Any] = {"__name__": "app"}
    exec(compile(program.code, "app.py", "exec"), namespace)  # noqa: S102 - the page's own
    for path, size, status in (
        ("/comment", 100_000, 200),
        ("/comment", 100_001, 413),
        ("/upload", 100_001, 200),
        ("/upload", 50_000_001, 413),
    ):
        fields = {"CONTENT_LENGTH": str(size), "wsgi.input": io.BytesIO(b"x" * min(size, 10**6))}
        response = request(namespace["app"], path=path, method="POST", **fields)
        assert response.status == status, (path, size)


def test_the_commands_for_tls_serve_as_described(serve_command: Any, tmp_path: Path) -> None:
    own, behind_a_proxy = re.findall(r"```sh\n(.*?)```", text_of("tls"), re.S)[:2]
    (tmp_path / "app.py").write_text("from swaig_wsgi import AgentApp\napp = AgentApp('bank')\n")
    shutil.copy(CERTS / "key.pem", tmp_path)
    (tmp_path / "key.pem").chmod(0o400)
    own = own.replace("/etc/ssl/fullchain.pem", str(CERTS / "cert.pem"))
    own = own.replace("/etc/ssl/private/key.pem", "key.pem")
    server = start(serve_command, own, tmp_path)
    context = ssl.create_default_context(cafile=str(CERTS / "cert.pem"))
    connection = http.client.HTTPSConnection("localhost", server.port, context=context)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        response = connection.getresponse()
        assert response.status == 401
        assert "max-age=31536000" in response.headers["Strict-Transport-Security"]
        response.read()

    behind_a_proxy = behind_a_proxy.replace("10.0.0.5", "127.0.0.1")
    server = start(serve_command, behind_a_proxy, tmp_path)
    for scheme, status in (("https", 401), ("http", 403)):
        passed = {"X-Forwarded-Proto": scheme, "X-Forwarded-Host": "agent.example.com"}
        response = server.request("GET", "/", auth=None, headers=passed)
        assert response.status == status
        assert ("Strict-Transport-Security" in response.headers) is (scheme == "https")
    assert server.request("GET", "/health", auth=None).status == 200


def test_the_commands_of_servers_are_those_of_the_tests(serve_command: Any, tmp_path: Path) -> None:
    (block,) = re.findall(r"```sh\n(gunicorn .*?)```", text_of("servers"), re.S)
    own, waitress, *others = block.splitlines()
    (tmp_path / "app.py").write_text("from swaig_wsgi import AgentApp\napp = AgentApp('bank')\n")
    servers = [start(serve_command, own, tmp_path)]
    command = waitress.replace("127.0.0.1:8000", f"127.0.0.1:{free_port()}")
    program = [sys.executable, "-m", "waitress", *shlex.split(command)[1:]]
    listening = SERVERS["waitress"].listening
    servers.append(serve_command(program, listening=listening, cwd=str(tmp_path)))
    for server in servers:
        assert server.request("GET", "/", auth=None).status == 401
    # These run in `tox -e servers`.
    for name, line in zip(("uwsgi", "mod_wsgi"), others):
        known = SERVERS[name].command("app:app", "127.0.0.1:8000", tmp_path)
        assert set(shlex.split(line)[1:]) <= set(known)


def test_the_loop_shows_that_two_replicas_share_a_limit(gunicorn: Any, tmp_path: Path) -> None:
    (loop,) = re.findall(r"```sh\n(for n in .*?)```", text_of("workers"), re.S)
    options = ("swaig_wsgi.examples.basic:app", "-c", "python:swaig_wsgi.gunicorn", "-w2")
    shared = {
        "SWML_AUTH_FAILURE_LIMIT": "10",
        "SWML_ALLOWED_HOSTS": "agent.example.com",
        "SWML_STORAGE_URL": f"sqlite:///{tmp_path}/store.db",
    }
    first, second = (gunicorn(*options, **shared).port for _ in range(2))
    loop = loop.replace("10.0.0.$((11 + n % 2)):8000", f"127.0.0.1:$((n % 2 ? {first} : {second}))")
    done = subprocess.run(
        ["bash", "-c", loop],  # noqa: S607 - found on PATH
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout.split() == ["401"] * 10 + ["429"]
