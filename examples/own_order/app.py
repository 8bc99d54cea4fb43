"""An API that stacks the layers itself, since it wants them otherwise than `harden` has them.

Each account has a limit of its own, so that limit stands inside authentication; one by address
stands outside of it, so that guessing passwords is limited. Load balancers may ask for the health
under any host. Only the API is guarded, and only its pages' origin may call it.
"""

from __future__ import annotations

import json
import os

from swaig_wsgi import AuthHandler
from swaig_wsgi.middleware import (
    AllowedHostsMiddleware,
    AuthMiddleware,
    BodySizeMiddleware,
    CORSMiddleware,
    RateLimitMiddleware,
    SecurityHeadersMiddleware,
    TrustedProxyMiddleware,
)
from swaig_wsgi.stores import open_store

store = open_store(os.environ.get("SWML_STORAGE_URL", "memory://"))
accounts = AuthHandler(basic_auth=(os.environ["API_USER"], os.environ["API_PASSWORD"]))


def api(environ, start_response):
    who = environ.get("swaig_wsgi.auth")
    body = json.dumps({"account": who.username if who else None}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


def account(environ):
    who = environ.get("swaig_wsgi.auth")
    return who.username if who else "nobody"


# Innermost first.
app = api
app = BodySizeMiddleware(app, 64_000)
app = RateLimitMiddleware(app, 5, key=account, name="account", store=store, exempt=("/health",))
app = AuthMiddleware(app, accounts, protect=("/api/*",), realm="own order")
app = RateLimitMiddleware(app, 20, name="address", store=store, exempt=("/health",))
app = CORSMiddleware(app, ("https://app.example.com",), allow_methods=("GET", "POST", "DELETE"))
app = AllowedHostsMiddleware(app, ("api.example.com", "localhost"), exempt=("/health",))
app = SecurityHeadersMiddleware(app, {"X-XSS-Protection": None, "Cache-Control": "no-store"})
app = TrustedProxyMiddleware(app, ("127.0.0.1", "unix"))
