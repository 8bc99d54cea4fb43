"""``harden`` and ``stack``: which layers they add, and in which order."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from wsgiref.validate import validator

import pytest
from support.bodies import Unreadable
from support.wsgi import Recorder, request

from swaig_wsgi import AuthHandler, ConfigurationError, Settings, harden, middleware
from swaig_wsgi.core.headers import SECURITY_HEADERS, SITE_HEADERS
from swaig_wsgi.middleware import AuthMiddleware, SecurityHeadersMiddleware, signatures, tokens
from swaig_wsgi.middleware._agent_name import NamedAgent
from swaig_wsgi.middleware._application import layers_of
from swaig_wsgi.middleware._hardened import settings_of_outermost
from swaig_wsgi.middleware.harden import stack
from swaig_wsgi.stores import MemoryStore

ORIGIN = "https://app.example"
HANDLER = AuthHandler(bearer_token="a-token")
GOOD = {"HTTP_AUTHORIZATION": "Bearer a-token"}
PROXY = "10.0.0.1"
FOUR = dict(SECURITY_HEADERS)


site = Recorder(b"the site", [("Content-Type", "text/plain"), ("Set-Cookie", "a=1")])


def fetch(app, *args, **options):
    """Return the response to one request; `site` records only that one."""
    site.environs.clear()
    site.bodies.clear()
    return request(app, *args, **options)


def hardened(auth=None, **overrides):
    return harden(validator(site), Settings.from_mapping({}), auth=auth, **overrides)


# Layers


def test_without_settings_only_a_request_id_and_security_headers_are_added():
    request = {"HTTP_HOST": "any.example", "HTTP_ORIGIN": "https://evil.example", "body": b"x" * 99}
    request["HTTP_X_FORWARDED_FOR"] = "203.0.113.9"
    request["HTTP_X_REQUEST_ID"] = "of-the-client"
    untouched, plain = fetch(hardened(), "POST", **request), None
    seen, body = site.environs[0], site.bodies[0]
    plain = fetch(validator(site), "POST", **request)
    assert untouched.fields == [
        *plain.fields,
        ("X-Request-Id", "of-the-client"),
        *SITE_HEADERS,
    ]
    assert (untouched.status, untouched.body, body) == (plain.status, plain.body, site.bodies[0])
    added = {key for key in seen if key not in site.environs[0]}
    assert added == {"swaig_wsgi.request_id"}
    for key in seen.keys() - added:
        if not key.startswith("wsgi."):
            assert seen[key] == site.environs[0][key]


def test_refusals_name_the_agent_inside(caplog):
    refusing = {"allowed_hosts": ["a.example"], "trusted_proxies": [PROXY]}
    for app, name in (AgentLike(), "desk"), (SiteWithAgentName(), "-"), (site, "-"):
        caplog.clear()
        assert fetch(harden(app, Settings.from_mapping({}), **refusing)).status == 403
        (record,) = caplog.records
        assert (record.event, record.agent) == ("host_refused", name)


def test_no_health_or_agent_endpoints_are_added():
    for path in ("/health", "/ready", "/swaig", "/health/"):
        response = fetch(hardened(), path=path)
        assert (response.status, response.body) == (200, b"the site")


def is_proxy_layer(app):
    fetch(app, REMOTE_ADDR=PROXY, HTTP_X_FORWARDED_FOR="203.0.113.9", HTTP_HOST="a.example")
    return bool(site.environs) and site.environs[0]["REMOTE_ADDR"] == "203.0.113.9"


def has_hosts(app):
    return fetch(app, HTTP_HOST="evil.example").status == 403


def has_cors(app):
    response = fetch(app, HTTP_ORIGIN=ORIGIN, HTTP_HOST="a.example")
    return response.headers.get("Access-Control-Allow-Origin") == ORIGIN


def has_csrf(app):
    request = {"HTTP_ORIGIN": "https://evil.example", "HTTP_HOST": "a.example"}
    return fetch(app, "POST", **request).status == 403


def has_clients(app):
    return fetch(app, REMOTE_ADDR="198.51.100.9", HTTP_HOST="a.example").status == 403


def has_https(app):
    return fetch(app, HTTP_HOST="a.example").status == 403


def has_rate(app):
    return "RateLimit" in fetch(app, HTTP_HOST="a.example").headers


def has_size(app):
    return fetch(app, "POST", body=b"x" * 11, HTTP_HOST="a.example").status == 413


def has_hsts(app):
    response = fetch(app, wsgi_url_scheme="https", HTTP_HOST="a.example")
    assert "Strict-Transport-Security" not in fetch(app, HTTP_HOST="a.example").headers
    return "Strict-Transport-Security" in response.headers


PROBES = [
    is_proxy_layer,
    has_hosts,
    has_clients,
    has_cors,
    has_csrf,
    has_rate,
    has_size,
    has_hsts,
]
SETTINGS = [
    ({"trusted_proxies": [PROXY]}, {is_proxy_layer}),
    ({"trust_proxy_headers": True}, {is_proxy_layer}),
    ({"allowed_hosts": ["a.example"]}, {has_hosts}),
    ({"allowed_clients": ["192.0.2.0/24", PROXY]}, {has_clients}),
    ({"cors_origins": [ORIGIN]}, {has_cors}),
    ({"cors_origins": [ORIGIN], "csrf_protection": True}, {has_cors, has_csrf}),
    ({"csrf_protection": True}, {has_csrf}),
    ({"rate_limit": 100}, {has_rate}),
    ({"max_request_size": 10}, {has_size}),
    ({"ssl_enabled": True, "enforce_https": False}, {has_hsts}),
    ({"ssl_domain": "a.example"}, {has_hsts}),
    ({"use_hsts": True}, {has_hsts}),
    ({"ssl_domain": "a.example", "use_hsts": False}, set()),
    ({"ssl_enabled": True, "enforce_https": False, "use_hsts": False}, set()),
    ({"hsts_max_age": 60}, set()),
    ({"enforce_https": False}, set()),
]


@pytest.mark.parametrize(("given", "layers"), SETTINGS)
def test_each_layer_is_added_only_for_its_setting(given, layers):
    for settings, overrides in (
        (Settings.from_mapping(given), {}),
        (Settings.from_mapping({}), given),
    ):
        app = harden(validator(site), settings, **overrides)
        assert {probe for probe in PROBES if probe(app)} == layers


def test_agent_settings_add_no_layer():
    app = hardened(
        basic_auth_user="user",
        basic_auth_password="password",
        signing_key="a signing key",
        swaig_secret="a secret of some length",
        proxy_url_base="https://a.example",
        port=1234,
        rate_limit=0,
    )
    assert not [probe for probe in PROBES if probe(app)]
    assert fetch(app, "POST", body=b"{}").status == 200


@pytest.mark.parametrize(
    ("given", "required"),
    [
        ({}, False),
        ({"ssl_domain": "a.example"}, False),
        ({"ssl_enabled": True}, True),
        ({"ssl_enabled": True, "enforce_https": False}, False),
        ({"enforce_https": True}, True),
    ],
)
def test_https_is_enforced_with_tls_unless_the_setting_decides(given, required):
    assert has_https(hardened(**given)) is required
    assert fetch(hardened(**given), wsgi_url_scheme="https").body == b"the site"


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"ssl_enabled": True}, "max-age=31536000; includeSubDomains"),
        ({"ssl_enabled": True, "hsts_max_age": 60}, "max-age=60; includeSubDomains"),
        ({"use_hsts": True, "hsts_max_age": 0}, "max-age=0"),
        ({"ssl_domain": "a.example", "hsts_max_age": 0}, "max-age=0"),
        ({"ssl_enabled": True, "use_hsts": False, "hsts_max_age": 60}, None),
        ({"ssl_domain": "a.example", "use_hsts": False}, None),
    ],
)
def test_hsts_has_the_age_of_the_setting(given, value):
    response = fetch(hardened(**given), wsgi_url_scheme="https", HTTP_HOST="a.example")
    assert response.headers.get("Strict-Transport-Security") == value
    response = fetch(hardened(**given), HTTP_HOST="a.example")
    assert "Strict-Transport-Security" not in response.headers


def test_hsts_is_sent_only_for_the_configured_domain():
    app = hardened(ssl_domain="a.example")
    response = fetch(app, wsgi_url_scheme="https", HTTP_HOST="b.example")
    assert "Strict-Transport-Security" not in response.headers


def test_auth_adds_authentication():
    assert fetch(hardened(auth=HANDLER)).status == 401
    assert fetch(hardened(auth=HANDLER), **GOOD).status == 200


def test_settings_default_to_the_environment(monkeypatch):
    monkeypatch.setenv("SWML_ALLOWED_HOSTS", "a.example")
    assert has_hosts(harden(validator(site)))
    monkeypatch.setenv("SWML_RATE_LIMIT", "abc")
    with pytest.raises(ConfigurationError, match="SWML_RATE_LIMIT"):
        harden(site)


def test_overrides_replace_settings_and_are_validated():
    settings = Settings.from_mapping({"allowed_hosts": ["a.example"], "rate_limit": 5})
    app = harden(validator(site), settings, rate_limit=None, max_request_size=10)
    assert {probe for probe in PROBES if probe(app)} == {has_hosts, has_size}
    with pytest.raises(ConfigurationError, match="SWML_MAX_REQUEST_SIZE"):
        harden(site, settings, max_request_size="ten")
    with pytest.raises(ConfigurationError, match="no_such_setting"):
        harden(site, settings, no_such_setting=1)
    for name, meant in ("keep", "proxy_keep"), ("allowed_host", "allowed_hosts"):
        with pytest.raises(ConfigurationError, match=f"{name}: .* did you mean '{meant}'"):
            harden(site, settings, **{name: ("X-Forwarded-User",)})


# Applications


class Asynchronous:
    async def __call__(self, scope, receive, send):
        raise NotImplementedError


async def asynchronous(scope, receive, send):
    raise NotImplementedError


async def generates(environ, start_response):
    yield b""


class Flasklike:
    def __init__(self, wsgi_app):
        self.wsgi_app = wsgi_app

    def __call__(self, environ, start_response):
        return self.wsgi_app(environ, start_response)


@pytest.mark.parametrize(
    ("app", "message"),
    [
        (None, "^app must be a WSGI application, a callable, not None"),
        ("site:app", "a callable, not 'site:app'"),
        (itertools, "a callable, not <module 'itertools'"),
        (Recorder, "not the class Recorder: pass an instance"),
        (asynchronous, "ASGI"),
        (generates, "ASGI"),
        (Asynchronous(), "ASGI"),
        (Asynchronous().__call__, "ASGI"),
        (partial(asynchronous, {}), "ASGI"),
        (partial(Asynchronous()), "ASGI"),
        (partial(Recorder, b""), "not the class Recorder"),
    ],
)
def test_what_is_no_wsgi_application_is_a_type_error(app, message):
    with pytest.raises(TypeError, match=message):
        harden(app, Settings())


@NamedAgent.register
class AgentLike:
    agent_name = "desk"
    __call__ = site.__call__


class SiteWithAgentName:
    agent_name = "of the site"
    __call__ = site.__call__


class Layer:
    """A layer as those of other packages: it keeps the application under one name or another."""

    def __init__(self, app, name="app"):
        setattr(self, name, app)

    def __call__(self, environ, start_response):
        raise NotImplementedError

    @property
    def application(self):
        raise RuntimeError("outside of a request")


@pytest.mark.parametrize("app", [site, AgentLike()])
@pytest.mark.parametrize("settings", [Settings(), Settings(trusted_proxies=[PROXY])])
def test_an_application_is_hardened_once(app, settings):
    once = harden(app, settings)
    within = Flasklike(Layer(SecurityHeadersMiddleware(once)))
    partially = partial(partial(Layer(once)), x=1)
    for again in (once, Flasklike(once), Layer(Layer(once)), within, partially, once.__call__):
        with pytest.raises(TypeError, match="hardened already"):
            harden(again, settings)
    # The application itself is unchanged, and may be served with other settings, too.
    assert fetch(harden(app, settings)).status == 200


def test_a_hardened_application_may_be_mounted_in_a_dispatcher_that_is_hardened():
    dispatcher = Layer(site)
    dispatcher.mounts = {"/other": harden(Recorder(), Settings())}
    harden(dispatcher, Settings())


def test_layers_without_end_are_walked_as_far_as_a_bound():
    class Endless:
        __call__ = site.__call__

        @property
        def app(self):
            return Endless()

    assert fetch(harden(Endless(), Settings())).status == 200
    assert len(layers_of(Endless())) == 50


def test_each_layer_is_found_once():
    inner = Layer(None, "wsgi_app")
    outer = Layer(inner)
    inner.wsgi_app = outer
    assert layers_of(outer) == [outer, inner]


def test_the_settings_of_layers_are_those_of_the_outermost():
    settings = Settings(trusted_proxies=[PROXY], rate_limit=5)
    app, other = harden(site, settings), harden(site, Settings())
    assert settings_of_outermost(app) == settings
    assert settings_of_outermost(other) == Settings()
    assert settings_of_outermost(app.app) is None
    assert settings_of_outermost(site) is None


@pytest.mark.parametrize(
    ("name", "module"),
    [("ToolTokenMiddleware", tokens), ("WebhookSignatureMiddleware", signatures)],
)
def test_what_harden_does_not_need_is_imported_when_it_is_used(name, module, monkeypatch):
    monkeypatch.delitem(vars(middleware), name, raising=False)
    assert getattr(middleware, name) is getattr(module, name)
    with pytest.raises(AttributeError, match=f"has no attribute '{name}s'"):
        getattr(middleware, f"{name}s")


# Order


EVERYTHING = {
    "trusted_proxies": [PROXY],
    "allowed_hosts": ["a.example"],
    "allowed_clients": ["192.0.2.0/24", "203.0.113.0/24"],
    "cors_origins": [ORIGIN],
    "csrf_protection": True,
    "rate_limit": 1000,
    "max_request_size": 10,
    "ssl_enabled": True,
}
#: A request that no layer refuses.
SAFE = {"wsgi_url_scheme": "https", "HTTP_HOST": "a.example", **GOOD}
#: What each layer refuses, outermost first.
FAULTS = [
    ("https", 403, "Forbidden: https required", {"wsgi_url_scheme": "http"}),
    ("hosts", 403, "Forbidden: host not allowed", {"HTTP_HOST": "evil.example"}),
    ("clients", 403, "Forbidden: client not allowed", {"REMOTE_ADDR": "198.51.100.1"}),
    ("cors", 403, "Forbidden: origin not allowed", {"HTTP_ORIGIN": "https://evil.example"}),
    ("rates", 429, "Rate limit exceeded", {"REMOTE_ADDR": "203.0.113.1"}),
    ("auth", 401, "Unauthorized", {"HTTP_AUTHORIZATION": "Bearer wrong"}),
    ("size", 413, "Request too large", {"body": b"x" * 11}),
]


@pytest.fixture
def everything():
    """Return the full stack, in which one client has used up its requests."""
    store = MemoryStore()
    app = stack(validator(site), Settings.from_mapping(EVERYTHING), auth=HANDLER, store=store)
    for _ in range(1000):
        store.hit('rate:1000:60:"default":203.0.113.1', 60)
    return app


@pytest.mark.parametrize(
    ("outer", "inner"), list(itertools.combinations(FAULTS, 2)), ids=lambda fault: fault[0]
)
def test_the_outer_of_two_refusing_layers_responds(everything, outer, inner):
    request = {**SAFE, **inner[3], **outer[3]}
    response = fetch(everything, "POST", **request)
    assert response.status == outer[1]
    assert f'"{outer[2]}"'.encode() in response.body


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault[0])
def test_every_refusal_carries_security_and_cors_headers(everything, fault):
    request = {**SAFE, "HTTP_ORIGIN": ORIGIN, **fault[3]}
    response = fetch(everything, "POST", **request)
    assert response.status == fault[1]
    assert not site.environs
    assert FOUR.items() <= response.headers.items()
    assert ("Strict-Transport-Security" in response.headers) is (fault[0] != "https")
    readable = response.headers.get("Access-Control-Allow-Origin") == ORIGIN
    assert readable is (fault[0] in ("rates", "auth", "size"))
    head = fetch(everything, "HEAD", **request)
    assert head.body == b""
    assert FOUR.items() <= head.headers.items()


def test_preflights_need_no_credentials_and_are_not_rate_limited(everything):
    preflight = {"HTTP_ORIGIN": ORIGIN, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}
    request = {**SAFE, "REMOTE_ADDR": "203.0.113.1", **preflight}
    response = fetch(everything, "OPTIONS", **request)
    assert response.status == 204
    assert FOUR.items() <= response.headers.items()
    request["HTTP_HOST"] = "evil.example"
    assert fetch(everything, "OPTIONS", **request).status == 403


def test_forwarding_headers_are_resolved_before_other_layers(everything):
    forwarded = {
        "HTTP_X_FORWARDED_FOR": "203.0.113.1",
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_HOST": "inner.example",
        **GOOD,
    }
    response = fetch(everything, REMOTE_ADDR=PROXY, HTTP_X_FORWARDED_HOST="a.example", **forwarded)
    assert response.status == 429
    assert response.headers["Strict-Transport-Security"]
    assert fetch(everything, REMOTE_ADDR=PROXY, **forwarded).status == 403
    # Forwarding headers of other peers are ignored.
    response = fetch(everything, HTTP_X_FORWARDED_HOST="a.example", **forwarded)
    assert response.status == 403
    assert "Strict-Transport-Security" not in response.headers


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault[0] != "size"])
def test_the_body_of_a_refused_request_is_not_read(everything, fault):
    request = {**SAFE, **fault[3], "HTTP_TRANSFER_ENCODING": "chunked"}
    request.update(wsgi_input=Unreadable(), wsgi_input_terminated=True)
    assert fetch(everything, "POST", **request).status == fault[1]


PATHS = ["/health", "/ready", "/health/", "//health", "/static/x", "/favicon.ico", "", "/."]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_is_exempt(everything, path):
    for _, status, _, fault in FAULTS:
        request = {**SAFE, **fault, "SCRIPT_NAME": "/mount"}
        assert fetch(everything, "POST", path, **request).status == status


# Options of a stack


DROP = {"X-Frame-Options": None, "referrer-policy": None}


@pytest.mark.parametrize("name", ["X-Frame-Options", "x-frame-options", "X-FRAME-OPTIONS"])
def test_security_headers_can_be_replaced_added_and_dropped(name):
    changes = {name: "SAMEORIGIN", "Referrer-Policy": None, "Permissions-Policy": "camera=()"}
    for app in (
        harden(validator(site), Settings(), headers=changes),
        stack(validator(site), Settings(), headers={**changes, "X-XSS-Protection": None}),
    ):
        headers = [field for field in fetch(app).fields if field[0] not in dict(site.headers)]
        assert headers[1:] == [
            ("X-Content-Type-Options", "nosniff"),
            (name, "SAMEORIGIN"),
            ("Permissions-Policy", "camera=()"),
        ]


def test_the_xss_filter_is_configured_only_for_agents_and_on_request():
    assert "X-XSS-Protection" not in fetch(hardened()).headers
    given = {"headers": {"X-XSS-Protection": "0"}}
    assert fetch(hardened(**given)).headers["X-XSS-Protection"] == "0"
    assert fetch(hardened(headers={"X-XSS-Protection": None})).status == 200
    assert "X-XSS-Protection" not in fetch(harden(SiteWithAgentName(), Settings())).headers
    agent = harden(AgentLike(), Settings(), allowed_hosts=["a.example"])
    for host, status in (("a.example", 200), ("evil.example", 403)):
        response = fetch(agent, HTTP_HOST=host)
        assert response.status == status
        assert FOUR.items() <= response.headers.items()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault[0])
def test_attack_refusals_have_the_headers_that_the_application_sends_itself(fault, everything):
    store = MemoryStore()
    app = stack(validator(site), Settings(**EVERYTHING), auth=HANDLER, store=store, headers=DROP)
    for _ in range(1000):
        store.hit('rate:1000:60:"default":203.0.113.1', 60)
    response = fetch(app, "POST", **{**SAFE, **fault[3]})
    assert response.status == fault[1]
    assert FOUR.items() <= response.headers.items()
    # The application is left to itself.
    response = fetch(app, **SAFE)
    assert response.status == 200
    assert not {"X-Frame-Options", "Referrer-Policy"} & set(response.headers)


def test_a_policy_may_contain_a_nonce():
    policy = "script-src 'nonce-{nonce}'"
    app = harden(validator(site), Settings(), headers={"Content-Security-Policy": policy})
    sent = fetch(app).headers["Content-Security-Policy"]
    assert sent == policy.format(nonce=site.environs[0]["swaig_wsgi.csp_nonce"])


def test_attack_a_page_for_refusals_has_the_dropped_headers_and_the_nonce_of_the_policy():
    def pages(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html")])
        return [environ["swaig_wsgi.csp_nonce"].encode()]

    changes = {"Content-Security-Policy": "script-src 'nonce-{nonce}'", **DROP}
    app = harden(
        validator(site),
        Settings(allowed_hosts=["a.example"]),
        headers=changes,
        refusal_app=pages,
    )
    response = fetch(app, HTTP_HOST="evil.example", HTTP_ACCEPT="text/html")
    assert (response.status, response.headers["Content-Type"]) == (403, "text/html")
    assert response.headers["X-Frame-Options"] == "DENY"
    policy = response.headers["Content-Security-Policy"]
    assert policy == f"script-src 'nonce-{response.text}'"


@pytest.mark.parametrize(
    ("headers", "error", "message"),
    [
        ({"X-A": "1\r\nSet-Cookie: b=1"}, ValueError, "'X-A'"),
        ({"Content-Length": "1"}, ValueError, "for the server"),
        ({"Strict-Transport-Security": "max-age=1"}, ValueError, "HSTSMiddleware"),
        ({"Content-Security-Policy": "script-src 'nonce-{nonse}'"}, ValueError, "nonse"),
        ({"Content-Security-Policy": {"default-src": "'self'"}}, TypeError, "Content-Security"),
        ([("X-A", "1")], TypeError, "headers must be a mapping"),
        ("X-A: 1", TypeError, "headers must be a mapping"),
        ("", TypeError, "headers must be a mapping"),
        ({"x-frame-option": None}, ValueError, "'x-frame-option': .* mean 'X-Frame-Options'"),
        ({"Strict-Transport-Security": None}, ValueError, "use_hsts=False turns it off"),
        ({"x-request-id": None}, ValueError, "RequestIDMiddleware sends it"),
        ({"RateLimit": None}, ValueError, "rate_limit=None turns it off"),
        ({"RateLimit-Policy": None}, ValueError, "rate_limit=None turns it off"),
        ({"Permissions-Policy": None}, ValueError, "expected X-Content-Type-Options, X-Frame-O"),
    ],
)
def test_invalid_headers_are_rejected(headers, error, message):
    with pytest.raises(error, match=message):
        harden(site, Settings(), headers=headers)


def test_the_public_layer_gets_headers_but_skips_refusing_layers():
    def wrap(app):
        def wrapped(environ, start_response):
            if environ["PATH_INFO"] == "/open":
                start_response("200 OK", [("Content-Type", "text/plain")])
                return [b"open"]
            return app(environ, start_response)

        return wrapped

    settings = replace(Settings.from_mapping(EVERYTHING), trusted_proxies=None)
    app = stack(validator(site), settings, auth=HANDLER, public=wrap)
    response = fetch(app, path="/open", HTTP_HOST="evil.example", wsgi_url_scheme="https")
    assert response.body == b"open"
    assert FOUR.items() <= response.headers.items()
    assert response.headers["Strict-Transport-Security"]
    assert fetch(app, path="/other", HTTP_HOST="evil.example").status == 403


def test_nested_stacks_count_a_request_once():
    store, settings = MemoryStore(), Settings.from_mapping({**EVERYTHING, "rate_limit": 2})
    inner = stack(validator(site), settings, auth=HANDLER, store=store)
    app = stack(inner, settings, auth=HANDLER, store=store)
    request = {**SAFE, "HTTP_ORIGIN": ORIGIN}
    assert [fetch(app, **request).status for _ in range(3)] == [200, 200, 429]


def test_a_forwarded_host_outside_the_allowlist_is_not_the_same_origin():
    settings = Settings(trusted_proxies=[PROXY], csrf_protection=True)
    inner = harden(validator(site), settings)
    app = stack(inner, Settings(allowed_hosts=["good.example"]))
    request = {"REMOTE_ADDR": PROXY, "HTTP_HOST": "good.example"}
    assert fetch(app, "POST", HTTP_ORIGIN="http://good.example", **request).status == 200
    request["HTTP_X_FORWARDED_HOST"] = "evil.example"
    response = fetch(app, "POST", HTTP_ORIGIN="http://evil.example", **request)
    assert (response.status, site.environs) == (403, [])


def test_csrf_protection_without_origins_keeps_the_cors_of_the_application():
    def with_cors(environ, start_response):
        allowed = ("Access-Control-Allow-Origin", ORIGIN)
        start_response("200 OK", [("Content-Type", "text/plain"), allowed])
        return [b""]

    app = harden(validator(with_cors), Settings(csrf_protection=True, rate_limit=100))
    request = {"HTTP_HOST": "a.example", "HTTP_ORIGIN": ORIGIN}
    preflight = {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST", **request}
    for response in (fetch(app, **request), fetch(app, "OPTIONS", **preflight)):
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert has_csrf(app)


def test_failed_authentications_are_limited_inside_the_rate_limit(monkeypatch):
    monkeypatch.setenv("SWML_AUTH_FAILURE_LIMIT", "2")
    handler = AuthHandler(basic_auth=("user", "password"))
    protected = AuthMiddleware(site, handler)
    for app in (
        harden(site, auth=handler, rate_limit=5, cors_origins=[ORIGIN]),
        # An AuthMiddleware of the application's own.
        harden(protected, rate_limit=5, cors_origins=[ORIGIN]),
    ):
        responses = [fetch(app, auth=("user", "no"), HTTP_ORIGIN=ORIGIN) for _ in range(5)]
        assert [response.status for response in responses] == [401, 401, 429, 429, 429]
        assert responses[2].headers["RateLimit"] == '"default";r=2;t=60'
        assert "Retry-After" in responses[2].headers["Access-Control-Expose-Headers"]
        assert fetch(app, auth=("user", "no")).headers["RateLimit"] == '"default";r=0;t=60'


def test_allowed_clients_are_exempt_from_the_limit_on_failures():
    handler = AuthHandler(basic_auth=("user", "password"))
    app = harden(
        site, Settings(), auth=handler, auth_failure_limit=1, allowed_clients=["192.0.2.0/24"]
    )
    assert [fetch(app, auth=("user", "no")).status for _ in range(3)] == [401] * 3
    assert fetch(app, auth=("user", "password")).status == 200


# Options of CORS


def test_options_of_cors_replace_the_settings_and_the_defaults():
    options = {
        "origins": [ORIGIN],
        "allow_credentials": False,
        "allow_methods": ["PUT", "PATCH", "DELETE"],
        "allow_headers": ["X-One"],
        "expose_headers": ["X-Total"],
        "max_age": 5,
        "csrf_protection": True,
    }
    settings = Settings(cors_origins=["https://other.example"], rate_limit=100)
    app = harden(validator(site), settings, cors=options)
    asked = {"HTTP_ORIGIN": ORIGIN, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PATCH"}
    response = fetch(app, "OPTIONS", HTTP_ACCESS_CONTROL_REQUEST_HEADERS="x-one", **asked)
    assert {name: value for name, value in response.fields if name.startswith("Access-")} == {
        "Access-Control-Allow-Origin": ORIGIN,
        "Access-Control-Allow-Methods": "PUT, PATCH, DELETE",
        "Access-Control-Allow-Headers": "x-one",
        "Access-Control-Max-Age": "5",
    }
    response = fetch(app, "PATCH", HTTP_ORIGIN=ORIGIN)
    assert response.status == 200
    assert response.headers["Access-Control-Expose-Headers"] == (
        "X-Request-Id, RateLimit, RateLimit-Policy, Retry-After, X-Total"
    )
    assert "Access-Control-Allow-Credentials" not in response.headers
    response = fetch(app, HTTP_ORIGIN="https://other.example")
    assert "Access-Control-Allow-Origin" not in response.headers
    assert has_csrf(app)


def test_without_origins_in_cors_those_of_the_settings_apply():
    settings = Settings(cors_origins=[ORIGIN], csrf_protection=True)
    for options in ({}, {"max_age": 5}):
        app = harden(validator(site), settings, cors=options)
        assert {probe for probe in PROBES if probe(app)} == {has_cors, has_csrf}
    app = harden(validator(site), settings, cors={"csrf_protection": False})
    assert {probe for probe in PROBES if probe(app)} == {has_cors}
    assert has_csrf(hardened(cors={"csrf_protection": True}))
    assert not [probe for probe in PROBES if probe(hardened(cors={}))]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"allow_method": ["PUT"]}, TypeError, "cors: 'allow_method' .* did you mean 'allow_met"),
        ({"app": site}, TypeError, "cors: 'app' is not in a mapping of arguments of CORSMiddlew"),
        ({"q": 1}, TypeError, "expected origins, "),
        ({1: 1}, TypeError, "cors: 1 is not in"),
        (["origins"], TypeError, "cors must be a mapping .* not \\['origins'\\]"),
        ("*", TypeError, "cors must be a mapping"),
        ([], TypeError, "cors must be a mapping"),
        ({"origins": ORIGIN}, TypeError, "origins must be a sequence"),
        ({"origins": [ORIGIN], "expose_headers": "X"}, TypeError, "expose_headers must be a seq"),
        ({"origins": ["app.example"]}, ValueError, "no scheme"),
        ({"origins": None}, ValueError, "origins"),
        ({"max_age": 5}, ConfigurationError, "SWML_CORS_ORIGINS: not set, and cors contains no"),
    ],
)
def test_invalid_options_of_cors_are_rejected_by_name(options, error, message):
    with pytest.raises(error, match=message):
        hardened(cors=options)


def test_failures_are_counted_in_a_store_of_their_own():
    requests, failures = MemoryStore(), MemoryStore()
    settings = Settings(rate_limit=5, auth_failure_limit=5)
    app = stack(site, settings, auth=HANDLER, store=requests, failure_store=failures)
    assert fetch(app, HTTP_AUTHORIZATION="Bearer wrong").status == 401
    client = '5:60:"default":192.0.2.7'
    assert requests.peek(f"rate:{client}").count == 1
    assert requests.peek(f"auth-failures:rate:{client}") is None
    assert failures.peek(f"auth-failures:rate:{client}").count == 1


def test_protection_from_forgery_alone_may_be_spelled_out():
    app = harden(site, Settings(), cors={"origins": None, "csrf_protection": True})
    assert {probe for probe in PROBES if probe(app)} == {has_csrf}
