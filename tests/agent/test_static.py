"""Static files, and attempts to leave their directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.wsgi import Client
from werkzeug.wrappers import Response

from swaig_wsgi.agent.static import StaticFiles


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "public"
    (root / "css").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "index.html").write_text("<h1>Hello</h1>")
    (root / "css" / "a b.css").write_text("body {}")
    (root / "ö.txt").write_text("0123456789")
    (root / ".env").write_text("s3cret")
    (root / ".git" / "config").write_text("s3cret")
    (tmp_path / "secret.txt").write_text("s3cret")
    (tmp_path / "public-too").mkdir()
    (tmp_path / "public-too" / "secret.txt").write_text("s3cret")
    (root / "inside.txt").symlink_to(root / "index.html")
    (root / "outside.txt").symlink_to(tmp_path / "secret.txt")
    (root / "sideways.txt").symlink_to(tmp_path / "public-too" / "secret.txt")
    (root / "up").symlink_to(tmp_path)
    (root / "hidden.txt").symlink_to(root / ".env")
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe")
    return root


def client(root: Path, route: str = "/static") -> Client:
    app = StaticFiles(Response("fallback", status=404), root, route)
    return Client(app)


def get(root: Path, path: str, **options: Any) -> Any:
    return client(root).get("/", PATH_INFO=path.encode().decode("latin-1"), **options)


def test_files_are_served(root: Path) -> None:
    page = get(root, "/static/index.html")
    assert (page.status, page.text) == (200, "<h1>Hello</h1>")
    assert page.headers["Content-Type"].startswith("text/html")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert get(root, "/static/css/a b.css").text == "body {}"
    assert get(root, "/static/inside.txt").text == "<h1>Hello</h1>"
    assert client(root).get("/static/ö.txt").text == "0123456789"
    assert client(root, "").get("/index.html").status == 200


def test_head_sends_the_length_and_no_body(root: Path) -> None:
    response = client(root).head("/static/ö.txt")
    assert (response.status, response.body) == (200, b"")
    assert response.headers["Content-Length"] == "10"


@pytest.mark.parametrize(
    "path",
    [
        "/static",
        "/static/",
        "/static/css",
        "/static/css/",
        "/static/index.html/",
        "/static//index.html",
        "/static/./index.html",
        "/static/css/../index.html",
        "/static/../secret.txt",
        "/static/../../../../../../etc/passwd",
        "/static//etc/passwd",
        "/static/..\\secret.txt",
        "/static/css\\..\\..\\secret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/..%2fsecret.txt",
        "/static/index.html\0.css",
        "/static/.env",
        "/static/.git/config",
        "/static/hidden.txt",
        "/static/outside.txt",
        "/static/sideways.txt",
        "/static/up/secret.txt",
        "/static/loop",
        "/static/pipe",
        "/static/missing.txt",
        "/static/" + "x" * 5000,
        "/static/" + "a/" * 2000 + "b",
        "/static-too/index.html",
        "/staticindex.html",
        "/index.html",
    ],
)
def test_other_paths_are_passed_on(root: Path, path: str) -> None:
    response = get(root, path)
    assert (response.status, response.text) == (404, "fallback")


def test_other_methods_are_passed_on(root: Path) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        response = client(root).open(method, "/static/index.html")
        assert response.text == "fallback"


def fetch(root: Path, method: str = "GET", **headers: str) -> Any:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return client(root).open(method, "/static/ö.txt", headers=fields)


LONG_AGO = "Mon, 01 Jan 2001 00:00:00 GMT"


def test_conditional_requests_are_supported(root: Path) -> None:
    first = fetch(root)
    etag, changed = first.headers["ETag"], first.headers["Last-Modified"]
    for headers, status in (
        ({"If_None_Match": etag}, 304),
        ({"If_None_Match": '"other"'}, 200),
        ({"If_Modified_Since": changed}, 304),
        ({"If_Modified_Since": LONG_AGO}, 200),
        ({"If_Match": etag}, 200),
        ({"If_Match": '"other"'}, 412),
        ({"If_Range": etag, "Range": "bytes=0-3"}, 206),
        ({"If_Range": '"other"', "Range": "bytes=0-3"}, 200),
    ):
        response = fetch(root, **headers)
        assert (headers, response.status) == (headers, status)
        if status == 304:
            assert response.body == b""
            assert response.headers["ETag"] == etag


def test_changing_a_file_changes_its_etag(root: Path) -> None:
    first = fetch(root).headers["ETag"]
    (root / "ö.txt").write_text("9876543210")
    assert fetch(root).headers["ETag"] != first


@pytest.mark.parametrize(
    ("value", "status", "body", "content_range"),
    [
        ("bytes=0-3", 206, "0123", "bytes 0-3/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=5-", 206, "56789", "bytes 5-9/10"),
        ("bytes=0-999", 206, "0123456789", "bytes 0-9/10"),
        ("bytes=-10", 206, "0123456789", "bytes 0-9/10"),
    ],
)
def test_satisfiable_ranges_are_206(
    root: Path, value: str, status: int, body: str, content_range: str
) -> None:
    response = get(root, "/static/ö.txt", headers={"Range": value})
    assert (response.status, response.text) == (status, body)
    assert response.headers["Content-Range"] == content_range


def test_a_range_past_the_end_is_416(root: Path) -> None:
    response = get(root, "/static/ö.txt", headers={"Range": "bytes=10-"})
    assert (response.status, response.json) == (416, {"error": "Range not satisfiable"})
    assert response.headers["Content-Range"] == "bytes */10"


def test_a_missing_directory_is_rejected(root: Path) -> None:
    for path in (root / "missing", root / "index.html"):
        with pytest.raises(ValueError, match="there is no directory"):
            StaticFiles(Response("x"), path, "/static")
