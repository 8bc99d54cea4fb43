"""Rate limits as sites use them: through ``harden``, several at once, and off in tests."""

from __future__ import annotations

import logging

import pytest
from support.rates import statuses
from support.wsgi import Recorder, request

from swaig_wsgi import AuthHandler, ConfigurationError, Settings, harden
from swaig_wsgi.middleware import AuthFailureLimitMiddleware, RateLimitMiddleware
from swaig_wsgi.middleware.rate_limit import client_address_key
from swaig_wsgi.stores import MemoryStore

FIELDS = {"RateLimit", "RateLimit-Policy"}
LIMIT = Settings(rate_limit=2)


def fetched(app, count, method="GET", path="/", **options):
    """Return the status of each of `count` requests."""
    return [request(app, method, path, **options).status for _ in range(count)]


def fields_of(response):
    return FIELDS & set(response.headers)


# Through harden


def test_a_mapping_holds_the_arguments_of_the_limit():
    options = {
        "limit": 2,
        "window": 9,
        "name": "site",
        "protect": ("/app/*",),
        "exempt": ("/app/static/*",),
        "methods": ("POST",),
        "key": lambda environ: environ.get("HTTP_X_TENANT"),
        "store": MemoryStore(),
    }
    app = harden(Recorder(), Settings(), rate_limit=options)
    tenant = {"HTTP_X_TENANT": "a"}
    assert fetched(app, 3, "POST", "/app/x", **tenant) == [200, 200, 429]
    assert fetched(app, 1, "POST", "/app/x", HTTP_X_TENANT="b") == [200]
    refused = request(app, "POST", "/app", **tenant)
    assert (refused.status, refused.headers["RateLimit-Policy"]) == (429, '"site";q=2;w=9')
    for method, path in (("GET", "/app/x"), ("POST", "/"), ("POST", "/app/static/a.css")):
        assert request(app, method, path, **tenant).status == 200
    assert fetched(app, 3, "POST", "/app/x") == [200, 200, 200]
    # The mapping is the caller's.
    assert len(options) == 8


def test_static_files_are_exempt_from_the_limit_of_the_settings():
    app = harden(Recorder(), LIMIT, rate_limit={"exempt": ("/static/*",)})
    assert fetched(app, 5, path="/static/site.css") == [200] * 5
    assert fetched(app, 3) == [200, 200, 429]
    assert fetched(app, 1, path="/static/../x") == [429]


def test_without_a_limit_in_the_mapping_that_of_the_settings_is_required():
    with pytest.raises(ConfigurationError, match="SWML_RATE_LIMIT: not set, and rate_limit"):
        harden(Recorder(), Settings(), rate_limit={"exempt": ("/static/*",)})


@pytest.mark.parametrize("given", [2, "2", {"limit": 2}, {"limit": "2"}])
def test_a_limit_replaces_that_of_the_settings(given):
    app = harden(Recorder(), Settings(rate_limit=5), rate_limit=given)
    assert fetched(app, 3) == [200, 200, 429]


@pytest.mark.parametrize("scope", [{"protect": ("/login",)}, {"methods": ["POST"]}])
@pytest.mark.parametrize("limit", [2, "2", 0])
def test_attack_a_limit_for_some_requests_leaves_that_of_the_settings_to_all(scope, limit):
    app = harden(Recorder(), Settings(rate_limit=5), rate_limit={"limit": limit, **scope})
    allowed = int(limit) or 3
    assert fetched(app, allowed, "POST", "/login") == [200] * allowed
    if limit:
        assert fetched(app, 1, "POST", "/login") == [429]
    # Every request counts toward the limit of the settings.
    counted = allowed + bool(limit)
    assert fetched(app, 6 - counted, path="/x") == [200] * (5 - counted) + [429]


@pytest.mark.parametrize("scope", [{"protect": ["/*"]}, {"methods": None}, {"exempt": ["/a"]}])
def test_a_limit_for_all_requests_replaces_that_of_the_settings(scope):
    app = harden(Recorder(), LIMIT, rate_limit={"limit": 3, **scope})
    assert fetched(app, 4) == [200, 200, 200, 429]


@pytest.mark.parametrize("given", [None, 0, "0", {"limit": 0}])
def test_none_or_0_turns_the_limit_of_the_settings_off(given):
    app = harden(Recorder(), LIMIT, rate_limit=given)
    assert fetched(app, 3) == [200, 200, 200]
    assert not fields_of(request(app))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"limit": 5, "exmpt": ()}, TypeError, "rate_limit: 'exmpt' .* did you mean 'exempt'"),
        ({"limit": 5, "colour": 1}, TypeError, "expected limit, window, algorithm, store"),
        ({"app": None, "limit": 5}, TypeError, "'app'"),
        ({"limit": 5, "exempt": "/static/*"}, TypeError, "exempt"),
        ({"limit": 5, "window": 0}, ValueError, "window"),
        ({"limit": -1}, ConfigurationError, "SWML_RATE_LIMIT"),
        (["limit", 5], ConfigurationError, "SWML_RATE_LIMIT"),
        (True, ConfigurationError, "SWML_RATE_LIMIT"),
    ],
)
def test_invalid_options_are_rejected(given, error, message):
    with pytest.raises(error, match=message):
        harden(Recorder(), Settings(), rate_limit=given)


# Several limits


def test_a_limit_of_a_path_and_a_method_inside_that_of_the_site():
    login = RateLimitMiddleware(Recorder(), 5, name="login", protect=("/login",), methods=("POST",))
    app = harden(login, Settings(), rate_limit=600)
    responses = [request(app, "POST", "/login") for _ in range(6)]
    assert [response.status for response in responses] == [200] * 5 + [429]
    # The limit that is announced is the one that refuses.
    assert responses[0].headers["RateLimit"] == '"login";r=4;t=60'
    assert responses[5].headers["RateLimit-Policy"] == '"login";q=5;w=60'
    assert fetched(app, 9, path="/login") == [200] * 9
    # Every one of these counted for the site, too.
    assert request(app).headers["RateLimit"] == '"default";r=584;t=60'


def test_limits_with_one_name_and_store_but_other_paths_count_together():
    store = MemoryStore()
    app = RateLimitMiddleware(Recorder(), 2, protect=("/login",), store=store)
    app = RateLimitMiddleware(app, 2, protect=("/reset",), store=store)
    assert [fetched(app, 1, path=path)[0] for path in ("/login", "/reset", "/login")] == [
        200,
        200,
        429,
    ]


def user_key(environ):
    user = environ.get("REMOTE_USER")
    return client_address_key(environ) if user is None else f"user:{user}"


def test_a_limit_by_verified_user_inside_authentication():
    pairs = [("ann", "ann's password"), ("bob", "bob's password")]
    limit = RateLimitMiddleware(Recorder(), 2, name="user", key=user_key)
    app = harden(limit, Settings(), auth=AuthHandler(basic_auth=pairs))
    ann, bob = pairs
    # Wherever a user calls from, and whatever the client claims.
    for client, expected in (("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.3", 429)):
        assert fetched(app, 1, auth=ann, REMOTE_ADDR=client) == [expected]
    assert fetched(app, 1, auth=ann, HTTP_REMOTE_USER="bob") == [429]
    assert fetched(app, 3, auth=bob) == [200, 200, 429]


def test_attack_a_user_named_like_an_address_uses_up_no_clients_limit():
    store = MemoryStore()
    named = {"limit": 2, "store": store}
    by_user = RateLimitMiddleware(Recorder(), key=lambda environ: environ["USER"], **named)
    by_address = RateLimitMiddleware(Recorder(), **named)
    for name in ("192.0.2.7", "2001:db8::/64"):
        assert fetched(by_user, 3, USER=name) == [200, 200, 429]
    assert statuses(by_address, 3, address="192.0.2.7") == [200, 200, 429]
    assert statuses(by_address, 3, address="2001:db8::1") == [200, 200, 429]


# Responses that caches give to others

SHARED = ["public", "max-age=60", "max-age=31536000, public, immutable", "private, s-maxage=60"]


@pytest.mark.parametrize("value", SHARED)
def test_attack_no_field_of_one_client_is_in_a_response_for_all(value):
    headers = [("Content-Type", "text/css"), ("Cache-Control", value)]
    app = harden(
        Recorder(headers=headers), Settings(cors_origins=["https://a.example"]), rate_limit=2
    )
    sent = {"HTTP_X_REQUEST_ID": "chosen-by-a-client", "HTTP_ORIGIN": "https://a.example"}
    response = request(app, **sent)
    assert not (FIELDS | {"X-Request-Id", "Retry-After"}) & set(response.headers)
    assert "chosen-by-a-client" not in str(response.fields)
    # What depends on the origin says so.
    assert response.headers["Vary"] == "Origin"
    # It counts nevertheless.
    assert fetched(app, 2) == [200, 429]


@pytest.mark.parametrize("value", ["private, max-age=60", "no-store", "no-cache", "max-age=0"])
def test_other_responses_have_all_fields(value):
    headers = [("Content-Type", "text/css"), ("Cache-Control", value)]
    response = request(harden(Recorder(headers=headers), LIMIT), HTTP_X_REQUEST_ID="of-the-client")
    assert fields_of(response) == FIELDS
    assert response.headers["X-Request-Id"] == "of-the-client"


# Off in a test suite


def test_one_line_turns_all_limits_off(monkeypatch, caplog):
    login = RateLimitMiddleware(Recorder(), 1, name="login", protect=("/login",))
    app = harden(
        login, Settings(auth_failure_limit=1), rate_limit=2, auth=AuthHandler(bearer_token="right")
    )
    valid, wrong = ({"HTTP_AUTHORIZATION": f"Bearer {each}"} for each in ("right", "wrong"))
    monkeypatch.setattr(RateLimitMiddleware, "enabled", False)
    monkeypatch.setattr(AuthFailureLimitMiddleware, "enabled", False)
    assert fetched(app, 5, path="/login", **valid) == [200] * 5
    assert fetched(app, 5, path="/login", **wrong) == [401] * 5
    # Applications that are constructed later have no limits either.
    assert fetched(harden(Recorder(), LIMIT), 5) == [200] * 5
    off = [record.getMessage() for record in caplog.records if "is False" in record.getMessage()]
    assert off == [
        "rate limit: off, because `enabled` is False",
        "auth failure limit: off, because `enabled` is False",
        "rate limit: off, because `enabled` is False",
        "rate limit: off, because `enabled` is False",
    ]
    assert all(record.levelno >= logging.WARNING for record in caplog.records)
    # A test of a limit turns them on again.
    monkeypatch.setattr(RateLimitMiddleware, "enabled", True)
    assert fetched(app, 2, path="/login", **valid) == [200, 429]


def test_no_environment_variable_turns_a_limit_in_code_off(monkeypatch):
    monkeypatch.setenv("SWML_RATE_LIMIT", "0")
    assert fetched(harden(Recorder(), rate_limit=2), 3) == [200, 200, 429]
