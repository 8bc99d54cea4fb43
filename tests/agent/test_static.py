"""Static files, and every way out of their directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from werkzeug.test import Client
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
    app = StaticFiles(Response("behind", status=404), root, route)
    return Client(validator(app))


def get(root: Path, path: str, **options: Any) -> Any:
    options.setdefault("environ_overrides", {})["PATH_INFO"] = path.encode().decode("latin-1")
    return client(root).get("/", buffered=True, **options)


def test_files_are_served(root: Path) -> None:
    page = get(root, "/static/index.html")
    assert (page.status_code, page.text) == (200, "<h1>Hello</h1>")
    assert page.mimetype == "text/html"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert get(root, "/static/css/a b.css").text == "body {}"
    assert get(root, "/static/inside.txt").text == "<h1>Hello</h1>"
    assert client(root).get("/static/ö.txt", buffered=True).text == "0123456789"
    assert client(root, "").get("/index.html", buffered=True).status_code == 200


def test_head_has_the_length_and_no_body(root: Path) -> None:
    answer = client(root).head("/static/ö.txt", buffered=True)
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Content-Length"] == "10"


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
def test_nothing_else_is(root: Path, path: str) -> None:
    answer = get(root, path)
    assert (answer.status_code, answer.text) == (404, "behind")


def test_other_methods_are_not_for_files(root: Path) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = client(root).open("/static/index.html", method=method, buffered=True)
        assert answer.text == "behind"


def ask(root: Path, method: str = "GET", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client(root).open("/static/ö.txt", method=method, headers=named, buffered=True)


LONG_AGO = "Mon, 01 Jan 2001 00:00:00 GMT"


def test_conditional_requests(root: Path) -> None:
    first = ask(root)
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
        response = ask(root, **headers)
        assert (headers, response.status_code) == (headers, status)
        if status == 304:
            assert response.data == b""
            assert response.headers["ETag"] == etag


def test_a_changed_file_has_another_etag(root: Path) -> None:
    first = ask(root).headers["ETag"]
    (root / "ö.txt").write_text("9876543210")
    assert ask(root).headers["ETag"] != first


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        ("bytes=0-3", 206, "0123", "bytes 0-3/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=5-", 206, "56789", "bytes 5-9/10"),
        ("bytes=0-999", 206, "0123456789", "bytes 0-9/10"),
        ("bytes=-10", 206, "0123456789", "bytes 0-9/10"),
    ],
)
def test_ranges(root: Path, asked: str, status: int, body: str, content_range: str) -> None:
    answer = get(root, "/static/ö.txt", headers={"Range": asked})
    assert (answer.status_code, answer.text) == (status, body)
    assert answer.headers["Content-Range"] == content_range


def test_a_range_past_the_end(root: Path) -> None:
    answer = get(root, "/static/ö.txt", headers={"Range": "bytes=10-"})
    assert (answer.status_code, answer.json) == (416, {"error": "Range not satisfiable"})
    assert answer.headers["Content-Range"] == "bytes */10"


def test_a_directory_is_needed(root: Path) -> None:
    for wrong in (root / "missing", root / "index.html"):
        with pytest.raises(ValueError, match="there is no directory"):
            StaticFiles(Response("x"), wrong, "/static")
