"""CORS for some paths, and for patterns of origins, around a site with CORS of its own."""

from __future__ import annotations

from wsgiref.validate import validator

import pytest
from support.wsgi import Recorder, environ, pass_through, request

from swaig_wsgi import ConfigurationError, Settings, harden
from swaig_wsgi.middleware import CORSMiddleware

APP = "https://app.example.com"
SUBDOMAIN = "https://a.tenant.example"
PATTERN = "https://*.tenant.example"
EVIL = "https://evil.example"
FONT = [
    ("Content-Type", "text/plain"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "X-Own"),
    ("Vary", "Accept-Encoding"),
]
API = ("/api/*",)
SPELLINGS = ["/api/../admin", "/api/%2e%2e/admin", "/api/..;/admin", "//api/me", "/x/../api/me"]


@pytest.fixture
def site():
    return Recorder(b"hello", FONT)


def guarded(site, origins=(APP, PATTERN), **options):
    return CORSMiddleware(validator(site), origins, **{"paths": API, **options})


def cors_headers(response):
    return {
        name: value for name, value in response.fields if name.lower().startswith("access-control-")
    }


def preflight(app, path, origin=APP, method="POST"):
    asked = {"HTTP_ORIGIN": origin, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": method}
    return request(app, "OPTIONS", path, **asked)


def post(app, path, origin=None, host="service.example", **fields):
    """Send a form to `host`, which is in the list of allowed hosts."""
    fields["swaig_wsgi.host_allowed"] = host
    return request(app, "POST", path, HTTP_ORIGIN=origin, HTTP_HOST=host, **fields)


@pytest.mark.parametrize("origin", [APP, SUBDOMAIN])
@pytest.mark.parametrize("path", ["/api", "/api/", "/api/me"])
def test_below_the_paths_the_policy_replaces_the_headers_of_the_application(site, origin, path):
    response = request(guarded(site), path=path, HTTP_ORIGIN=origin)
    assert cors_headers(response) == {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
    }
    assert response.headers.get_all("Vary") == ["Accept-Encoding, Origin"]


@pytest.mark.parametrize("origin", [APP, SUBDOMAIN, EVIL, "null", None])
@pytest.mark.parametrize("path", ["/", "/admin", "/static/font.woff2", "/apiary", *SPELLINGS])
def test_attack_outside_of_the_paths_no_origin_gets_credentials(site, origin, path):
    response = request(guarded(site), path=path, HTTP_ORIGIN=origin)
    assert response.fields == FONT
    asked = preflight(guarded(site), path, origin or APP)
    assert (asked.status, asked.fields) == (200, FONT)
    assert [each["REQUEST_METHOD"] for each in site.environs] == ["GET", "OPTIONS"]


@pytest.mark.parametrize(
    "origin",
    [
        EVIL,
        "null",
        "https://tenant.example",
        f"{SUBDOMAIN}.evil.example",
        "https://xtenant.example",
    ],
)
def test_attack_other_origins_read_nothing_below_the_paths(site, origin):
    response = request(guarded(site), path="/api/me", HTTP_ORIGIN=origin)
    assert cors_headers(response) == {}
    assert response.headers.get_all("Vary") == ["Accept-Encoding, Origin"]
    asked = preflight(guarded(site), "/api/me", origin)
    assert (asked.status, cors_headers(asked)) == (403, {})
    assert asked.headers["Vary"].startswith("Origin, ")


def test_a_preflight_of_a_pattern_depends_on_the_origin(site):
    asked = preflight(guarded(site, allow_methods=["PUT"]), "/api/me", SUBDOMAIN, "PUT")
    assert asked.status == 204
    assert asked.headers["Access-Control-Allow-Origin"] == SUBDOMAIN
    assert asked.headers["Vary"].startswith("Origin, ")
    assert site.environs == []


def test_the_same_response_is_not_cached_for_every_origin(site):
    for origin in (None, APP, EVIL):
        response = request(guarded(site, [PATTERN]), path="/api/me", HTTP_ORIGIN=origin)
        assert response.headers.get_all("Vary") == ["Accept-Encoding, Origin"]
        assert cors_headers(response) == {}


def test_an_exact_path_is_one_path(site):
    app = guarded(site, paths=("/feed",))
    assert "Access-Control-Allow-Credentials" in request(app, path="/feed", HTTP_ORIGIN=APP).headers
    for path in ("/feed/", "/feed/x"):
        assert request(app, path=path, HTTP_ORIGIN=APP).fields == FONT


def test_paths_are_below_the_mount_point(site):
    app = guarded(site)
    mounted = {"SCRIPT_NAME": "/api", "HTTP_ORIGIN": APP}
    assert request(app, path="/admin", **mounted).fields == FONT
    assert cors_headers(request(app, path="/api/me", **mounted)) != {}


@pytest.mark.parametrize("path", ["/api/me", "/admin", "", *SPELLINGS])
@pytest.mark.parametrize("origins", [(APP, PATTERN), ("*",)])
def test_attack_csrf_protection_goes_on_outside_of_the_paths(site, origins, path):
    app = guarded(site, origins, csrf_protection=True)
    own, refused = "http://service.example", [EVIL, SUBDOMAIN, "null", "https://service.example"]
    if path == "/api/me" and origins == ("*",):
        refused = []
    for origin in refused:
        assert post(app, path, origin).status == 403
        assert post(app, path, origin, HTTP_SEC_FETCH_SITE="same-origin").status == 403
    if refused:
        assert post(app, path, HTTP_SEC_FETCH_SITE="cross-site").status == 403
    assert site.environs == []
    # The service's own pages and clients that are no browsers pass.
    for origin in (own, None):
        assert post(app, path, origin).status == 200
    # An exact origin passes where it may read, and nowhere else: `paths` limits what is trusted.
    assert post(app, path, APP).status == (200 if path == "/api/me" else 403)
    # Without an allowlist of hosts, the origin that equals Host is not the service's own.
    response = request(
        app, "POST", path, HTTP_HOST="evil.example", HTTP_ORIGIN="http://evil.example"
    )
    assert response.status == (403 if refused else 200)


def test_a_page_reads_why_its_request_was_refused(site, caplog):
    app = guarded(site, csrf_protection=True)
    response = post(app, "/api/me", SUBDOMAIN)
    assert (response.status, response.json) == (403, {"error": "Forbidden: origin not allowed"})
    assert response.headers["Access-Control-Allow-Origin"] == SUBDOMAIN
    assert response.headers.get_all("Vary") == ["Origin"]
    for path, origin in (("/admin", SUBDOMAIN), ("/admin", EVIL), ("/api/me", EVIL)):
        assert cors_headers(post(app, path, origin)) == {}
    assert {record.event for record in caplog.records} == {"origin_refused"}


def test_iterable_exc_info_and_write_are_passed_through_outside():
    sent = pass_through(
        lambda app: CORSMiddleware(app, [APP], paths=API),
        environ(HTTP_ORIGIN=EVIL),
        [("Vary", "A")],
    )
    assert sent == [[("Vary", "A")]] * 2


@pytest.mark.parametrize("paths", [(), "/api/*", ("api",), ("/a*/b",), None])
def test_invalid_paths_are_rejected(site, paths):
    with pytest.raises(ValueError, match="path"):
        CORSMiddleware(site, [APP], paths=paths)


# In harden


def hardened(site, cors, **settings):
    return harden(validator(site), Settings.from_mapping(settings), cors=cors)


def test_harden_limits_the_origins_of_the_settings_to_paths(site):
    app = hardened(site, {"paths": API}, cors_origins=f"{APP}, {PATTERN}")
    for origin in (APP, SUBDOMAIN):
        response = request(app, path="/api/me", HTTP_ORIGIN=origin)
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
        response = request(app, path="/static/font.woff2", HTTP_ORIGIN=origin)
        assert [pair for pair in response.fields if pair in FONT] == FONT
        assert "Access-Control-Allow-Credentials" not in response.headers
        assert preflight(app, "/static/font.woff2", origin).status == 200


def test_refusals_of_inner_layers_are_readable_below_the_paths_only(site):
    app = hardened(site, {"paths": API}, cors_origins=[APP], rate_limit=1)
    statuses = [request(app, path="/api/me", HTTP_ORIGIN=APP).status for _ in range(2)]
    assert statuses == [200, 429]
    for path, readable in (("/api/me", True), ("/admin", False)):
        response = request(app, path=path, HTTP_ORIGIN=APP)
        assert response.status == 429
        assert ("Access-Control-Allow-Origin" in response.headers) is readable


def test_csrf_protection_must_protect_something(site):
    anyone = {"origins": ["*"], "csrf_protection": True}
    for options in (anyone, {**anyone, "paths": ["/api/*", "/*"]}):
        with pytest.raises(ConfigurationError, match="SWML_CSRF_PROTECTION: protects nothing"):
            hardened(site, options)
    app = hardened(site, {**anyone, "paths": iter(API)}, allowed_hosts=["service.example"])
    fields = {"HTTP_HOST": "service.example", "HTTP_ORIGIN": EVIL}
    assert request(app, "POST", "/api/me", **fields).status == 200
    assert request(app, "POST", "/admin", **fields).status == 403


def test_attack_a_page_for_refusals_opens_nothing_below_the_paths(site):
    def page(environ, start_response):
        reflected = ("Access-Control-Allow-Origin", environ.get("HTTP_ORIGIN", ""))
        credentials = ("Access-Control-Allow-Credentials", "true")
        start_response("200 OK", [("Content-Type", "text/plain"), reflected, credentials])
        return [b"refused"]

    options = {"paths": API, "csrf_protection": True, "allow_credentials": False}
    settings = Settings(cors_origins=[APP], rate_limit=1)
    app = harden(validator(site), settings, cors=options, refusal_app=page)
    assert request(app, path="/api/me").status == 200
    for method, origin, status, allowed in (
        ("POST", EVIL, 403, False),
        ("GET", EVIL, 429, False),
        ("GET", APP, 429, True),
    ):
        response = request(app, method, "/api/me", HTTP_ORIGIN=origin)
        assert (response.status, response.body) == (status, b"refused")
        assert "Access-Control-Allow-Credentials" not in response.headers
        assert response.headers.get("Access-Control-Allow-Origin") == (APP if allowed else None)
