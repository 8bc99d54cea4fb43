"""An API that stacks the layers itself, in another order than `harden`.

The limit for each account is inside authentication, which identifies the account. The limit on
failed authentications is outside, and counts by address: valid requests of clients that share an
address, as the platform's do, use up nothing. Load balancers may fetch `/health`
under any host. Only the API requires authentication, and only one origin may call it.
"""

from __future__ import annotations

import json
import os

from swaig_wsgi import AuthHandler
from swaig_wsgi.middleware import (
    AllowedHostsMiddleware,
    AuthFailureLimitMiddleware,
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
    result = environ.get("swaig_wsgi.auth")
    body = json.dumps({"account": result.username if result else None}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


def account(environ):
    result = environ.get("swaig_wsgi.auth")
    return result.username if result else "anonymous"


# Innermost first.
app = api
app = BodySizeMiddleware(app, 64_000)
app = RateLimitMiddleware(app, 5, key=account, name="account", store=store, exempt=("/health",))
app = AuthMiddleware(app, accounts, protect=("/api/*",), realm="own order")
app = AuthFailureLimitMiddleware(app, 10, store=store, exempt=("/health",))
app = CORSMiddleware(app, ("https://app.example.com",), allow_methods=("GET", "POST", "DELETE"))
app = AllowedHostsMiddleware(app, ("api.example.com", "localhost"), exempt=("/health",))
app = SecurityHeadersMiddleware(app, {"X-XSS-Protection": None, "Cache-Control": "no-store"})
app = TrustedProxyMiddleware(app, ("127.0.0.1", "unix"))
