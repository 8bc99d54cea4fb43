"""What a shared cache, a real nginx, gives to clients of a site with a rate limit."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any

import pytest
from support.nginx import NGINX, serving
from support.waiting import PATIENCE

ROOT = Path(__file__).parent.parent
#: Flask serves files, and a page that is for its user alone.
SITE = """
from flask import Flask, make_response
from swaig_wsgi import harden

app = Flask(__name__)
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 60

@app.get("/page")
def page():
    response = make_response("a page")
    response.cache_control.private = True
    return response

app.wsgi_app = harden(app.wsgi_app, rate_limit=100, cors_origins=["https://app.example"])
"""
ONE_CLIENT = {"RateLimit", "RateLimit-Policy", "X-Request-Id"}


def fetch(port: int, path: str, source: str, request_id: str) -> Any:
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=PATIENCE, source_address=(source, 0)
    )
    connection.request("GET", path, headers={"X-Request-Id": request_id})
    response = connection.getresponse()
    assert response.status == 200
    response.read()
    connection.close()
    return response.headers


if NGINX is not None:

    @pytest.mark.slow
    def test_attack_no_client_gets_the_fields_of_another_from_a_cache(
        gunicorn: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "app.py").write_text(SITE)
        (tmp_path / "static").mkdir()
        (tmp_path / "static" / "site.css").write_text("body {}")
        server = gunicorn(
            "app:app",
            *("-c", "python:swaig_wsgi.gunicorn", "--workers=2"),
            cwd=str(tmp_path),
            PYTHONPATH=str(ROOT),
        )
        directives = (
            f"proxy_cache_path {tmp_path}/cache keys_zone=site:1m;",
            f"location / {{ proxy_pass http://127.0.0.1:{server.port}; proxy_cache site;"
            " add_header X-Cache $upstream_cache_status; }",
        )
        with serving(tmp_path, directives[1], directives[0]) as port:
            first = fetch(port, "/static/site.css", "127.0.0.2", "chosen-by-ann")
            second = fetch(port, "/static/site.css", "127.0.0.3", "chosen-by-bob")
            assert (first["X-Cache"], second["X-Cache"]) == ("MISS", "HIT")
            for headers in (first, second):
                assert not ONE_CLIENT & set(headers.keys())
                assert "chosen-by" not in str(headers)
                assert headers["X-Content-Type-Options"] == "nosniff"
            for name in ("ann", "bob"):
                headers = fetch(port, "/page", "127.0.0.2", f"chosen-by-{name}")
                assert headers["X-Cache"] == "MISS"
                assert set(headers.keys()) >= ONE_CLIENT
                assert headers["X-Request-Id"] == f"chosen-by-{name}"
