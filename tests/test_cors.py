"""The example of docs/cors.md, served by two workers, and what its tables say."""

from __future__ import annotations

import re
from typing import Any

import pytest
from test_readme import ROOT, SERVED, served_by, start, write

from swaig_wsgi.core.cors import cors_policy, parse_origin_pattern

PAGE = ROOT / "docs" / "cors.md"
WWW = "https://www.example.com"
TENANTS = ["https://a.tenants.example.com", "https://b.a.tenants.example.com"]
OTHERS = [
    "https://tenants.example.com",
    "https://tenants.example.com.evil.example",
    "http://a.tenants.example.com",
    "https://a.tenants.example.com:8443",
    "https://example.com",
    "https://xtenants.example.com",
    "null",
]
FONTS = """

@app.after_request
def readable_fonts(response):
    if request.path.startswith("/static/"):
        response.headers["Access-Control-Allow-Origin"] = "*"
    return response
"""


@pytest.fixture
def server(serve_command: Any, tmp_path: Any) -> Any:
    """Serve the example by its own command, with fonts as WhiteNoise serves them."""
    ((page, command, line),) = [each for each in SERVED if each[0] == PAGE]
    program = served_by(page, line)
    program = type(program)(program.page, program.line, program.code + FONTS)
    write(program, tmp_path)
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "font.woff2").write_bytes(b"font")
    return start(serve_command, command, tmp_path)


def cors_headers(response: Any) -> dict[str, str]:
    return {
        name: value
        for name, value in response.fields
        if name.lower().startswith("access-control-") or name.lower() == "vary"
    }


def preflight(server: Any, path: str, origin: str, method: str) -> Any:
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    return server.request("OPTIONS", path, auth=None, headers=headers)


def test_two_workers_serve_what_the_page_says(server: Any) -> None:
    def get(path: str, origin: str) -> Any:
        return server.request("GET", path, auth=None, headers={"Origin": origin})

    for origin in (WWW, *TENANTS) * 2:
        response = get("/api/me", origin)
        assert (response.status, cors_headers(response)) == (
            200,
            {
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Allow-Credentials": "true",
                "Access-Control-Expose-Headers": "X-Request-Id",
                "Vary": "Origin",
            },
        )
        asked = preflight(server, "/api/me", origin, "PUT")
        assert (asked.status, asked.headers["Access-Control-Allow-Origin"]) == (204, origin)
        assert asked.headers["Access-Control-Allow-Methods"] == "GET, POST, PUT, PATCH, DELETE"
    for origin in OTHERS:
        assert cors_headers(get("/api/me", origin)) == {"Vary": "Origin"}
        assert preflight(server, "/api/me", origin, "PUT").status == 403
    for origin in (WWW, *TENANTS, *OTHERS):
        assert cors_headers(get("/admin", origin)) == {}
        asked = preflight(server, "/admin", origin, "PUT")
        # Of Flask.
        assert (asked.status, cors_headers(asked)) == (200, {})
        response = get("/static/font.woff2", origin)
        assert (response.body, cors_headers(response)) == (
            b"font",
            {"Access-Control-Allow-Origin": "*"},
        )


@pytest.mark.parametrize(
    "path",
    [
        "/api/../admin",
        "/api/%2e%2e/admin",
        "/api/..%2fadmin",
        "/api/%252e%252e/admin",
        "/api/..%3b/admin",
        "/api//../admin",
        "//api/../admin",
    ],
)
def test_attack_no_spelling_of_another_path_grants_credentials(server: Any, path: str) -> None:
    for origin in (WWW, *TENANTS):
        response = server.request("GET", path, auth=None, headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in response.headers
        assert preflight(server, path, origin, "PUT").status != 204


def test_the_table_of_patterns_is_true() -> None:
    text = PAGE.read_text().partition("## Patterns")[2].partition("\n## ")[0]
    rows = [
        [re.findall(r"`(.+?)`", cell) for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("| `")
    ]
    assert len(rows) == 3
    for patterns, allowed, others in rows:
        if not allowed:
            for pattern in patterns:
                with pytest.raises(ValueError, match="label|address"):
                    parse_origin_pattern(pattern)
            continue
        policy = cors_policy(patterns)
        assert all(map(policy.allows, allowed))
        assert others
        assert not any(map(policy.allows, others))
