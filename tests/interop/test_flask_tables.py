"""Options of Flask's security extensions, and what replaces them: each row of the page is run."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
from flask import Flask, render_template_string, request, session, url_for
from flask_cors import CORS
from flask_httpauth import HTTPBasicAuth, HTTPTokenAuth, MultiAuth
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_talisman import Talisman
from support.differences import Call, ask, in_words, only, rows_of
from support.wsgi import basic
from werkzeug.middleware.proxy_fix import ProxyFix

from swaig_wsgi import AuthHandler, Settings, harden
from swaig_wsgi.middleware import AuthMiddleware, HSTSMiddleware

ANN = ("ann", "the password of ann")
APPS = ["https://app.example.com", "https://www.example.com"]
TOKEN = "a-token-of-some-length"
APP, OTHER, SUBDOMAIN = (
    {"Origin": f"https://{host}"} for host in ("app.example.com", "evil.example", "a.example.com")
)


def preflight(origin: dict[str, str], method: str = "POST") -> dict[str, str]:
    fields = {"Access-Control-Request-Method": method}
    return {**origin, **fields, "Access-Control-Request-Headers": "content-type"}


FORWARDED = {
    "X-Forwarded-For": "192.0.2.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "www.example.com",
    "X-Forwarded-Prefix": "/shop",
}
FORGED = {**FORWARDED, "X-Forwarded-Host": "evil.example"}


CALLS = {
    "ProxyFix": [
        Call("proxy", "/where", headers=FORWARDED, peer="10.0.0.1"),
        Call(
            "two proxies",
            "/where",
            headers={**FORWARDED, "X-Forwarded-For": "192.0.2.7, 10.0.0.2"},
            peer="10.0.0.1",
        ),
        Call("client", "/where", headers=FORGED, peer="203.0.113.9"),
    ],
    "Flask-Talisman": [Call("https"), Call("http", headers={"X-Forwarded-Proto": "http"})],
    "Flask-Limiter": [
        Call("4 pages", times=4),
        Call("4 posts", method="POST", times=4),
        Call("4 files", "/static/shop.css", times=4),
    ],
    "Flask-CORS": [
        Call("no origin", "/api/orders"),
        Call("the app", "/api/orders", headers=APP),
        Call("a subdomain", "/api/orders", headers=SUBDOMAIN),
        Call("another origin", "/api/orders", headers=OTHER),
        Call("preflight", "/api/orders", "OPTIONS", preflight(APP)),
        Call("preflight for DELETE", "/api/orders", "OPTIONS", preflight(APP, "DELETE")),
        Call("page for the app", "/", headers=APP),
    ],
    "Flask-HTTPAuth": [
        Call("no credentials"),
        Call("password", headers={"Authorization": basic(*ANN)}),
        Call("wrong password", headers={"Authorization": basic("ann", "wrong")}),
        Call("token", headers={"Authorization": f"Bearer {TOKEN}"}),
        Call("key", headers={"X-Api-Key": TOKEN}),
        Call("wrong key", headers={"X-Api-Key": "wrong"}),
    ],
}


def site() -> Flask:
    app = Flask(__name__, static_folder=None)
    app.secret_key = "a key of the sessions"

    @app.route("/", methods=["GET", "POST"])
    def home() -> str:
        session["visit"] = 1
        nonce = "{% if csp_nonce %}<script nonce='{{ csp_nonce() }}'></script>{% endif %}"
        return render_template_string(nonce)

    @app.route("/api/orders")
    @app.route("/static/shop.css")
    def orders() -> dict[str, list[int]]:
        return {"orders": [1]}

    @app.route("/where")
    def where() -> dict[str, Any]:
        return {"client": request.remote_addr, "url": url_for("where", _external=True)}

    return app


def check_password(user: str, password: str) -> Any:
    return user if (user, password) == ANN else None


def check_token(token: str) -> Any:
    return "ann" if token == TOKEN else None


def replaced_by(code: str) -> str:
    """Return the statement of the column "after"."""
    if code.startswith("app."):
        return code
    if not code.partition("(")[0].endswith("Middleware"):
        code = f"harden(app.wsgi_app, Settings.from_mapping({{}}), {code})"
    return f"app.wsgi_app = {code}"


def installed(code: str) -> Flask:
    """Return a site with an extension or with what replaces it."""
    app = site()
    with warnings.catch_warnings():
        # Limiter warns that its counts are in the memory of the process.
        warnings.simplefilter("ignore")
        exec(code, {**NAMES, "app": app})  # noqa: S102 - code of this test
    return app


def open_in(app: Flask) -> Any:
    """Return a function that sends a request, with the cookies of no other."""
    return lambda *args, **options: app.test_client().open(*args, **options)


ROWS = list(rows_of("flask.md", CALLS))
#: What the cells of the tables use.
NAMES = {
    each.__name__: each
    for each in (
        AuthHandler,
        AuthMiddleware,
        CORS,
        HSTSMiddleware,
        HTTPBasicAuth,
        HTTPTokenAuth,
        Limiter,
        MultiAuth,
        ProxyFix,
        Settings,
        Talisman,
        check_password,
        check_token,
        get_remote_address,
        harden,
    )
}
NAMES.update(APPS=APPS, request=request)


def test_each_extension_has_a_table():
    assert {section for section, *_ in ROWS} == set(CALLS)
    assert len(ROWS) >= 40


@pytest.mark.parametrize(
    ("section", "compared", "before", "after", "difference"),
    ROWS,
    ids=[f"{number}-{row[0]}-{row[1]}" for number, row in enumerate(ROWS)],
)
def test_what_replaces_an_option(section, compared, before, after, difference):
    calls = CALLS[section]
    sites = [installed(code) for code in (before, replaced_by(after))]
    old, new, plain = (only(compared, ask(open_in(app), calls)) for app in (*sites, site()))
    # The option or its replacement changes the site.
    assert plain != old or plain != new or re.search("None|False", before + after)
    assert in_words(calls, old, new) == difference
