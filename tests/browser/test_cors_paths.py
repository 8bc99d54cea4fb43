"""What a browser lets pages of subdomains read, below the paths of CORS and elsewhere."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest

#: A font of one empty glyph.
FONT = zlib.decompress(
    base64.b64decode(
        "eNpjYGRgYOBiaGBgZlDwD9Y3crSwn8rAwKgBFE1Izk0sYOBmmALk9wD5Juk5lWkMYMB4BERkpCam6Fau/wVkrwFi"
        "swygAIMggxCQ/QSIVTJySyoYBMDqO4AES05+ciJU/wEQPzexooCBCQgZGDmAfIW8xNxUhp01J4B8IGawKcgvLgG6"
        "CwiYWEDyDCC3AvGx+MPT4vltvgLlwKY/N9xZiUxDATPIZIh1QAxWCSUhIsiAEWY2FDAxoAOgXYwTGFgZWBgIAxTT"
        "7YEASDkCIS6gAHcZE9gmBgYRIMkIplnAsixACOI7/v8PIf/vx/ADC4MZVAzZN0xgHtA0Fk4gDQptCBvEYikJYihh"
        "CIKEMW4AAEpYMaU="
    )
)
SITE = """
from swaig_wsgi import harden

def site(environ, start_response):
    path, cookie = environ["PATH_INFO"], environ.get("HTTP_COOKIE", "").encode()
    headers = [("Content-Type", "text/plain")]
    if path == "/login":
        headers.append(("Set-Cookie", "session=visitor; HttpOnly; SameSite=Lax; Path=/"))
    if path == "/api/cached":
        headers.append(("Cache-Control", "max-age=600"))
    body = environ["REQUEST_METHOD"].encode() + b" " + cookie
    if path.startswith("/static/"):
        # As WhiteNoise does.
        headers.append(("Access-Control-Allow-Origin", "*"))
        body = FONT
    start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
    return [body]

app = harden(site, cors=CORS)
"""
OPTIONS = {"paths": ["/api/*"], "allow_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"]}
VISITOR = "GET session=visitor"
#: Gives whether the browser loads a font, which it fetches without credentials.
LOAD_FONT = """
url => new FontFace("tested", `url(${url})`).load().then(() => true, () => false)
"""
#: Sends a form, as any page may to anywhere.
FORM = """
url => {
    const form = document.createElement("form");
    form.method = "post";
    form.action = url;
    document.body.append(form);
    form.submit();
}
"""


@pytest.fixture
def site(gunicorn: Any, tmp_path: Any) -> Any:
    """Start a site in two workers, hardened with options of CORS; return its address."""

    def start(options: Any, **env: str) -> str:
        code = f"FONT = {FONT!r}\nCORS = {options!r}\n{SITE}"
        (tmp_path / "site_under_test.py").write_text(code)
        server = gunicorn(
            "site_under_test:app", "--workers=2", "--threads=4", cwd=str(tmp_path), **env
        )
        # One site with the pages of its subdomains, which send its cookies.
        return f"http://www.tenants.localhost:{server.port}"

    return start


def subdomain(origin: str, name: str) -> str:
    return origin.replace("localhost", f"{name}.localhost")


def pattern(origin: str) -> str:
    return subdomain(origin, "*.tenants")


def test_a_page_of_an_allowed_subdomain_reads_the_api_and_not_admin(
    site: Any, page: Any, origins: Any
) -> None:
    at = site(OPTIONS, SWML_CORS_ORIGINS=f"{pattern(origins.app)},{origins.other_app}")
    page.open(f"{at}/login")
    for name in ("a.tenants", "c.b.tenants"):
        page.open(subdomain(origins.app, name))
        read = page.fetch(f"{at}/api/me", credentials="include")
        assert (read.type, read.status, read.text) == ("cors", 200, VISITOR)
        for method in ("PUT", "PATCH", "DELETE"):
            read = page.fetch(f"{at}/api/me", method=method, credentials="include")
            assert (read.status, read.text) == (200, f"{method} session=visitor")
        for path in ("/admin", "/", "/apiary", "/api/..%2fadmin"):
            blocked = page.fetch(f"{at}{path}", credentials="include")
            assert blocked.blocked == "MissingAllowOriginHeader"
            assert page.fetch(f"{at}{path}").blocked == "MissingAllowOriginHeader"
            blocked = page.fetch(f"{at}{path}", method="PUT", credentials="include")
            assert blocked.blocked == "PreflightMissingAllowOriginHeader"


def test_attack_pages_elsewhere_read_nothing(site: Any, page: Any, origins: Any) -> None:
    at = site(OPTIONS, SWML_CORS_ORIGINS=pattern(origins.app))
    page.open(f"{at}/login")
    for origin in (
        subdomain(origins.app, "tenants"),
        subdomain(origins.app, "xtenants"),
        subdomain(origins.app, "a.tenants.localhost.evil"),
        subdomain(origins.other_app, "a.tenants"),
        origins.app,
        origins.evil_site,
    ):
        page.open(origin)
        for path in ("/api/me", "/admin"):
            blocked = page.fetch(f"{at}{path}", credentials="include")
            assert blocked.blocked == "MissingAllowOriginHeader"
            blocked = page.fetch(f"{at}{path}", method="PUT")
            assert blocked.blocked == "PreflightMissingAllowOriginHeader"


def test_a_font_of_the_application_stays_readable(site: Any, page: Any, origins: Any) -> None:
    at = site(OPTIONS, SWML_CORS_ORIGINS=pattern(origins.app))
    page.open(f"{at}/login")
    font = f"{at}/static/font.woff2"
    for origin in (subdomain(origins.app, "a.tenants"), origins.app, origins.evil_site):
        page.open(origin)
        assert page.run(LOAD_FONT, font) is True
        assert page.fetch(font).status == 200
        # Of the application's "*", browsers make nothing with credentials.
        assert page.fetch(font, credentials="include").blocked == "WildcardOriginNotAllowed"


def test_without_paths_the_whole_site_is_readable_and_fonts_are_not(
    site: Any, page: Any, origins: Any
) -> None:
    at = site({}, SWML_CORS_ORIGINS=pattern(origins.app))
    page.open(f"{at}/login")
    page.open(subdomain(origins.app, "a.tenants"))
    assert page.fetch(f"{at}/admin", credentials="include").text == VISITOR
    page.open(origins.app)
    assert page.run(LOAD_FONT, f"{at}/static/font.woff2") is False


def test_what_a_cache_keeps_is_of_one_subdomain(site: Any, page: Any, origins: Any) -> None:
    """Pages of one site share a cache; a response for one of them must not do for another."""
    at = site(OPTIONS, SWML_CORS_ORIGINS=pattern(origins.app))
    page.open(subdomain(origins.app, "a.tenants"))
    assert page.fetch(f"{at}/api/cached", mode="no-cors").type == "opaque"
    for name in ("a.tenants", "b.tenants", "a.tenants"):
        page.open(subdomain(origins.app, name))
        assert page.fetch(f"{at}/api/cached").status == 200
    page.open(subdomain(origins.app, "tenants"))
    assert page.fetch(f"{at}/api/cached").blocked == "MissingAllowOriginHeader"


def test_attack_no_subdomain_acts_as_its_visitor(site: Any, page: Any, origins: Any) -> None:
    exact = subdomain(origins.other_app, "exact.tenants")
    at = site(
        {**OPTIONS, "csrf_protection": True},
        SWML_CORS_ORIGINS=f"{pattern(origins.app)},{exact}",
        SWML_ALLOWED_HOSTS="www.tenants.localhost,127.0.0.1",
    )
    page.open(f"{at}/login")
    refusal = {"error": "Forbidden: origin not allowed"}
    for path in ("/api/me", "/admin", "/"):
        for origin in (subdomain(origins.app, "a.tenants"), origins.evil, origins.evil_site):
            page.open(origin)
            response = page.leave(FORM, f"{at}{path}")
            assert (response.status, response.json) == (403, refusal)
        # The site's own forms go through, below the paths also those of an origin that is listed.
        for origin in (f"{at}/login", exact):
            page.open(origin)
            response = page.leave(FORM, f"{at}{path}")
            if origin == exact and path != "/api/me":
                assert (response.status, response.json) == (403, refusal)
            else:
                assert response.text == "POST session=visitor"
    # A page that may read learns why.
    page.open(subdomain(origins.app, "a.tenants"))
    headers = {"Content-Type": "application/json"}
    read = page.fetch(
        f"{at}/api/me", method="POST", headers=headers, body=json.dumps({}), credentials="include"
    )
    assert (read.status, read.json) == (403, refusal)
