"""Settings of django-cors-headers, and what replaces them: each row of the page is run."""

from __future__ import annotations

from typing import Any

import pytest
from corsheaders.signals import check_request_enabled
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import JsonResponse
from django.test import override_settings
from django.urls import path
from support.differences import Call, ask, in_words, only, rows_of
from werkzeug.test import Client

from swaig_wsgi import Settings, harden

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["www.example.com"],
        MIDDLEWARE=[],
        ROOT_URLCONF=__name__,
        SECRET_KEY="a key of the sessions",
    )

APPS = ["https://app.example.com", "https://www.example.com"]
APP, OTHER, SUBDOMAIN = (
    {"Origin": f"https://{host}"} for host in ("app.example.com", "evil.example", "a.example.com")
)


def preflight(method: str) -> dict[str, str]:
    return {
        **APP,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type",
        "Access-Control-Request-Private-Network": "true",
    }


CALLS = [
    Call("no origin", "/api/orders"),
    Call("the app", "/api/orders", headers=APP),
    Call("a subdomain", "/api/orders", headers=SUBDOMAIN),
    Call("another origin", "/api/orders", headers=OTHER),
    Call("preflight", "/api/orders", "OPTIONS", preflight("POST")),
    Call("preflight for DELETE", "/api/orders", "OPTIONS", preflight("DELETE")),
    Call("page for the app", headers=APP),
]
ROWS = [row[1:] for row in rows_of("django.md", ["Settings of corsheaders"])]


def orders(request: Any) -> JsonResponse:
    return JsonResponse({"orders": [1]})


urlpatterns = [path("", orders), path("api/orders", orders)]


def below_api(sender: Any, request: Any, **kwargs: Any) -> bool:
    return request.path.startswith("/api/")


def before_with(code: str) -> dict[str, dict[str, str]]:
    """Return what the site responds with corsheaders and its settings."""
    names = {"APPS": APPS, "below_api": below_api, "check_request_enabled": check_request_enabled}
    chosen: dict[str, Any] = {"MIDDLEWARE": ["corsheaders.middleware.CorsMiddleware"]}
    exec(code, names, chosen)  # noqa: S102 - code of the page
    try:
        with override_settings(**chosen):
            return ask(Client(WSGIHandler()).open, CALLS)
    finally:
        check_request_enabled.disconnect(below_api)


def after_with(code: str) -> dict[str, dict[str, str]]:
    """Return what the site responds with what replaces them."""
    app = eval(  # noqa: S307 - code of the page
        f"harden(app, empty, {code})",
        {"APPS": APPS, "app": WSGIHandler(), "empty": Settings.from_mapping({}), "harden": harden},
    )
    return ask(Client(app).open, CALLS)


def test_the_table_has_every_setting():
    shown = " ".join(before for _, before, _, _ in ROWS)
    for name in (
        "ALLOWED_ORIGINS",
        "ALLOWED_ORIGIN_REGEXES",
        "ALLOW_ALL_ORIGINS",
        "ALLOW_CREDENTIALS",
        "ALLOW_HEADERS",
        "ALLOW_METHODS",
        "ALLOW_PRIVATE_NETWORK",
        "EXPOSE_HEADERS",
        "PREFLIGHT_MAX_AGE",
        "URLS_REGEX",
    ):
        assert f"CORS_{name} = " in shown


@pytest.mark.parametrize(
    ("compared", "before", "after", "difference"),
    ROWS,
    ids=[f"{number}-{row[0]}" for number, row in enumerate(ROWS)],
)
def test_what_replaces_a_setting(compared, before, after, difference):
    old, new = only(compared, before_with(before)), only(compared, after_with(after))
    # The setting or its replacement changes the site.
    plain = only(compared, ask(Client(WSGIHandler()).open, CALLS))
    assert plain != old or plain != new
    assert in_words(CALLS, old, new) == difference
