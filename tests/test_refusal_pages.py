"""The error pages of docs/refusals.md, as pasted, under gunicorn with two workers."""

from __future__ import annotations

import http.client
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from support.waiting import PATIENCE
from support.wsgi import request
from test_readme import ROOT, snippets, write

from swaig_wsgi import AgentApp, AgentServer, Settings, harden
from swaig_wsgi.middleware import RequestIDMiddleware

PAGE = ROOT / "docs" / "refusals.md"
FLASK, DJANGO = snippets.programs(PAGE)
TEMPLATE = re.search(r"```jinja\n(.*?)```", PAGE.read_text(), re.DOTALL)
BASE = "<!doctype html><title>The site</title>{% block content %}{% endblock %}"
#: For Django, which has other ways to write what the page of Flask shows.
DJANGO_TEMPLATE = """{% extends "base.html" %}{% block content %}
<h1>{{ refusal.error }}</h1><p>{{ retry_after }} {{ user.is_anonymous }} {{ request.method }}</p>
{% endblock %}"""
WORKERS = ["-c python:swaig_wsgi.gunicorn", "--worker-class=sync", "--worker-class=gthread"]


def serve(gunicorn: Any, directory: Path, kind: str, options: str, limit: int = 600) -> Any:
    program, app, template = (
        (FLASK, "app:app", TEMPLATE[1] if TEMPLATE else "")
        if kind == "flask"
        else (DJANGO, "mysite.wsgi", DJANGO_TEMPLATE)
    )
    write(program, directory)
    (directory / "templates").mkdir()
    (directory / "templates" / "base.html").write_text(BASE)
    (directory / "templates" / "refused.html").write_text(template)
    module = directory / ("app.py" if kind == "flask" else "mysite/wsgi.py")
    code = module.read_text()
    assert "rate_limit=600" in code
    module.write_text(code.replace("rate_limit=600", f"rate_limit={limit}"))
    return gunicorn(
        app,
        *options.split(),
        "--workers=2",
        cwd=str(directory),
        PYTHONPATH=f"{ROOT}:{directory}",
        SWML_STORAGE_URL=f"sqlite:///{directory}/store.db",
    )


@pytest.mark.parametrize("kind", ["flask", "django"])
def test_too_many_requests(gunicorn: Any, tmp_path: Path, kind: str) -> None:
    server = serve(gunicorn, tmp_path, kind, WORKERS[0], limit=2)
    allowed = [server.request("GET", "/", auth=None) for _ in range(2)]
    assert {each.status for each in allowed} == {200}
    for _ in range(5):
        response = server.request("POST", "/", b"x", auth=None)
        assert response.status == 429
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "<title>The site</title>" in response.text
        assert response.headers["Retry-After"] in response.text
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        if kind == "flask":
            assert f"<p>{response.headers['X-Request-Id']}</p>" in response.text
        else:
            assert "True GET" in response.text
    head = server.request("HEAD", "/", auth=None)
    assert (head.status, head.body) == (429, b"")
    assert int(head.headers["Content-Length"]) > len("<title>The site</title>")
    if kind == "flask":
        api = server.request("GET", "/api/x", auth=None)
        assert (api.status, api.json) == (429, {"error": "Rate limit exceeded"})
    assert "Traceback" not in server.log


@pytest.mark.parametrize("options", WORKERS)
@pytest.mark.parametrize("kind", ["flask", "django"])
@pytest.mark.parametrize("framing", ["declared", "chunked"])
def test_a_client_that_is_still_sending_reads_the_page(
    gunicorn: Any, tmp_path: Path, kind: str, options: str, framing: str
) -> None:
    server = serve(gunicorn, tmp_path, kind, options)
    field = "Content-Length: 50000000" if framing == "declared" else "Transfer-Encoding: chunked"
    head = f"POST /upload HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n".encode()
    piece = b"x" * 100_000
    piece = piece if framing == "declared" else b"%x\r\n%s\r\n" % (len(piece), piece)
    for _ in range(4):
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
            # A chunked body is refused when it is over the limit, a declared one before.
            client.sendall(head + piece * (1 if framing == "declared" else 11))
            response = http.client.HTTPResponse(client)
            response.begin()
            page = response.read().decode()
        assert response.status == 413
        assert response.getheader("Content-Type") == "text/html; charset=utf-8"
        assert "<title>The site</title>" in page
        assert ("This file is too large" if kind == "flask" else "Request too large") in page
    small = server.request("POST", "/upload", b"x" * 1000, auth=None)
    assert small.status == (200 if kind == "flask" else 404)
    assert "Traceback" not in server.log


def test_a_template_that_is_missing_costs_the_page_and_not_the_refusal(
    gunicorn: Any, tmp_path: Path
) -> None:
    server = serve(gunicorn, tmp_path, "flask", WORKERS[0], limit=1)
    (tmp_path / "templates" / "refused.html").unlink()
    server.request("GET", "/", auth=None)
    for _ in range(20):
        response = server.request("GET", "/", auth=None)
        assert (response.status, response.json) == (429, {"error": "Rate limit exceeded"})
    logged = server.log.count("refusal_app raised; refusals are JSON instead")
    assert 1 <= logged <= 2  # once in each worker
    assert "TemplateNotFound" in server.log


def test_attack_no_view_of_django_renders_refusals(tmp_path: Path) -> None:
    from django.core.handlers.wsgi import WSGIHandler

    handler = WSGIHandler.__new__(WSGIHandler)  # without settings
    for pages in (handler, RequestIDMiddleware(handler)):
        with pytest.raises(TypeError, match="runs the views"):
            harden(lambda environ, start_response: [], Settings(), refusal_app=pages)


def test_agents_respond_with_json_inside_a_site_with_pages() -> None:
    def pages(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"<h1>a page</h1>"]

    settings = Settings(basic_auth_user="user", basic_auth_password="a password")
    server = AgentServer(settings=settings)
    server.register(AgentApp("desk", settings=settings), "/desk")
    for app, path, status in (
        (AgentApp("desk", settings=settings), "/", 401),
        (server, "/desk", 401),
        (server, "/none", 404),
    ):
        site = harden(app, Settings(allowed_hosts=["a.example"]), refusal_app=pages)
        inside = request(site, "GET", path, HTTP_HOST="a.example")
        assert (inside.status, inside.headers["Content-Type"]) == (status, "application/json")
        outside = request(site, "GET", path, HTTP_HOST="evil.example")
        assert (outside.status, outside.body) == (403, b"<h1>a page</h1>")
