"""CORS of a site for some paths, beside what WhiteNoise and Flask-CORS do elsewhere."""

from __future__ import annotations

import pytest

SITE = """
from flask import Flask
from flask_cors import CORS
from whitenoise import WhiteNoise

from swaig_wsgi import harden

app = Flask(__name__)
CORS(app, origins=["https://partner.example"], supports_credentials=True)


@app.route("/api/me", methods=["GET", "PUT"])
@app.route("/feed", methods=["GET", "PUT"])
@app.get("/admin")
def view():
    return "text"


app.wsgi_app = WhiteNoise(app.wsgi_app, root="files", prefix="static/")
app.wsgi_app = harden(
    app.wsgi_app,
    cors={
        "origins": ["https://*.tenants.example"],
        "paths": ("/api/*",),
        "allow_methods": ("GET", "PUT"),
    },
)
"""
TENANT, PARTNER = "https://a.tenants.example", "https://partner.example"
FONT = b"wOF2" * 1000


@pytest.fixture
def site(gunicorn, tmp_path):
    (tmp_path / "site_with_cors.py").write_text(SITE)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "font.woff2").write_bytes(FONT)
    return gunicorn("site_with_cors:app", "--workers=2", cwd=str(tmp_path))


def send(site, method, path, origin, **headers):
    fields = {"Origin": origin, **{name.replace("_", "-"): each for name, each in headers.items()}}
    response = site.request(method, path, auth=None, headers=fields)
    cors = {name: value for name, value in response.fields if name.startswith("Access-Control-")}
    return response, cors


def test_fonts_of_whitenoise_stay_open_to_all(site):
    for origin in (TENANT, PARTNER, "https://other.example") * 2:
        response, cors = send(site, "GET", "/static/font.woff2", origin)
        assert (response.body, cors) == (FONT, {"Access-Control-Allow-Origin": "*"})
        response, cors = send(site, "GET", "/static/font.woff2", origin, Range="bytes=0-3")
        assert (response.status, response.body) == (206, b"wOF2")
        assert cors == {"Access-Control-Allow-Origin": "*"}


def test_flask_cors_decides_outside_of_the_paths_only(site):
    for path in ("/feed", "/admin"):
        cors = send(site, "GET", path, PARTNER)[1]
        assert cors["Access-Control-Allow-Credentials"] == "true"
        assert cors["Access-Control-Allow-Origin"] == PARTNER
        assert send(site, "GET", path, TENANT)[1] == {}
    asked, cors = send(site, "OPTIONS", "/feed", PARTNER, Access_Control_Request_Method="PUT")
    assert (asked.status, cors["Access-Control-Allow-Origin"]) == (200, PARTNER)
    for origin, allowed in ((TENANT, True), (PARTNER, False)):
        cors = send(site, "GET", "/api/me", origin)[1]
        assert ("Access-Control-Allow-Origin" in cors) is allowed
        asked, cors = send(site, "OPTIONS", "/api/me", origin, Access_Control_Request_Method="PUT")
        assert asked.status == (204 if allowed else 403)
        assert ("Access-Control-Allow-Origin" in cors) is allowed
