"""Middlewares that wrap an application twice are idempotent, count once, or conflict."""

from __future__ import annotations

import io

import pytest
from support.wsgi import CLIENT, Recorder, request

from swaig_wsgi.middleware import (
    AllowedHostsMiddleware,
    AuthHandler,
    AuthMiddleware,
    BodySizeMiddleware,
    CORSMiddleware,
    HSTSMiddleware,
    RateLimitMiddleware,
    SecurityHeadersMiddleware,
    ToolTokenMiddleware,
    TrustedProxyMiddleware,
)
from swaig_wsgi.sessions import SessionManager
from swaig_wsgi.stores import MemoryStore, SQLiteStore, StoreError

PROXY = "10.0.0.1"


application = Recorder()


def recorder(record, app=application):
    """Return an application that records the environ of each request."""

    def recording(environ, start_response):
        record.append(dict(environ))
        return app(environ, start_response)

    return recording


def test_a_client_cannot_mark_a_request_as_counted():
    forged = {
        "HTTP_SWAIG_WSGI_RATE_LIMITS": "1",
        "HTTP_SWAIG_WSGI.RATE_LIMITS": "1",
        "HTTP_SWAIG_WSGI.PROXIES.POLICY": "1",
    }
    app = AllowedHostsMiddleware(RateLimitMiddleware(application, 1), ["agent.example"])
    assert request(app, HTTP_HOST="evil.example", **forged).status == 403
    assert request(app, HTTP_HOST="agent.example", **forged).status == 200
    assert request(app, HTTP_HOST="agent.example", **forged).status == 429


# Rates


class Counting(MemoryStore):
    def __init__(self):
        super().__init__()
        self.keys = []

    def hit(self, key, window):
        self.keys.append(key)
        return super().hit(key, window)


def test_equal_rate_limits_count_a_request_once():
    store = Counting()
    app = RateLimitMiddleware(RateLimitMiddleware(application, 2, store=store), 2, store=store)
    responses = [request(app) for _ in range(3)]
    assert [response.status for response in responses] == [200, 200, 429]
    assert len(store.keys) == 3
    assert responses[0].headers.get_all("RateLimit") == ['"default";r=1;t=60']
    assert len(responses[0].headers.get_all("RateLimit-Policy")) == 1


def test_a_client_resolved_between_two_limits_is_counted_by_the_inner_one():
    store = Counting()
    app = RateLimitMiddleware(application, 2, store=store)
    app = RateLimitMiddleware(TrustedProxyMiddleware(app, 1), 2, store=store)
    responses = [
        request(app, REMOTE_ADDR=f"10.0.0.{number}", HTTP_X_FORWARDED_FOR=CLIENT).status
        for number in range(4)
    ]
    assert responses == [200, 200, 429, 429]
    assert len(store.keys) == 8
    direct = RateLimitMiddleware(app, 2, store=(other := Counting()))
    direct.app = RateLimitMiddleware(application, 2, store=other)
    assert request(direct).status == 200
    assert len(other.keys) == 1


@pytest.mark.parametrize(
    "wrap",
    [
        lambda app: SecurityHeadersMiddleware(app),
        lambda app: HSTSMiddleware(app),
        lambda app: CORSMiddleware(app, ["https://a.example"]),
        lambda app: AllowedHostsMiddleware(app, ["127.0.0.1"]),
        lambda app: BodySizeMiddleware(app),
        lambda app: RateLimitMiddleware(app, 5),
        lambda app: TrustedProxyMiddleware(app, [PROXY]),
    ],
)
def test_an_application_may_clear_environ(wrap):
    def clearing(environ, start_response):
        environ.clear()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    def failing(environ, start_response):
        environ.clear()
        raise RuntimeError("failed")

    assert request(wrap(clearing), validate=False).body == b"ok"
    with pytest.raises(RuntimeError, match="failed"):
        request(wrap(failing), validate=False)


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 3},
        {"window": 61},
        {"name": "inner"},
        {"key": lambda environ: "all clients"},
        {"store": MemoryStore()},
        {"store": None},
    ],
)
def test_different_policies_or_stores_count_separately(options):
    outer = RateLimitMiddleware(application, 2, store=(store := Counting()))
    inner = {"limit": 2, "store": store, **options}
    outer.app = RateLimitMiddleware(application, inner.pop("limit"), **inner)
    assert request(outer).status == 200
    store_inside = outer.app.store
    assert len(store.keys) == (2 if store_inside is store else 1)
    assert (
        store_inside.hit(outer.app._prefix + outer.app._key({"REMOTE_ADDR": CLIENT}), 61).count == 2
    )


def test_two_default_stores_count_a_request_once():
    inner = RateLimitMiddleware(application, 2)
    app = RateLimitMiddleware(inner, 2)
    assert inner.store is not app.store
    responses = [request(app) for _ in range(3)]
    assert [response.status for response in responses] == [200, 200, 429]
    assert [request(inner).status for _ in range(3)] == [200, 200, 429]


def test_limits_that_differ_in_on_store_failure_count_once():
    store = Counting()
    inner = RateLimitMiddleware(application, 2, store=store, on_store_failure="deny")
    request(RateLimitMiddleware(inner, 2, store=store, on_store_failure="allow"))
    assert len(store.keys) == 1


def test_the_inner_limit_denies_after_a_store_failure_in_the_outer_one():
    class Failing(MemoryStore):
        def hit(self, key, window):
            raise StoreError("gone")

    store = Failing()
    inner = RateLimitMiddleware(application, 2, store=store, on_store_failure="deny")
    for outer in ("allow", "local"):
        app = RateLimitMiddleware(inner, 2, store=store, on_store_failure=outer)
        assert request(app).status == 503


def test_a_path_exempt_outside_is_limited_inside():
    store = Counting()
    inner = RateLimitMiddleware(application, 1, store=store)
    app = RateLimitMiddleware(inner, 1, store=store, exempt=["/health"])
    assert [request(app, path="/health").status for _ in range(2)] == [200, 429]


def test_stores_at_the_same_location_count_once(tmp_path):
    path = tmp_path / "counts.db"
    pairs = [
        (SQLiteStore(path), SQLiteStore(path), 1),
        (SQLiteStore(), SQLiteStore(), 2),
        (MemoryStore(), MemoryStore(), 2),
    ]
    for outer, inner, runs in pairs:
        record = []
        for store in (outer, inner):
            hit = store.hit

            def counted(key, window, hit=hit, record=record):
                record.append(key)
                return hit(key, window)

            store.hit = counted
        app = RateLimitMiddleware(application, 2, store=inner)
        assert request(RateLimitMiddleware(app, 2, store=outer)).status == 200
        assert len(record) == runs
        outer.close()
        inner.close()


# Hosts


def test_an_equal_host_policy_inside_changes_nothing():
    record = []
    app = AllowedHostsMiddleware(recorder(record), ["agent.example"])
    app = AllowedHostsMiddleware(app, ("agent.example",))
    assert request(app, HTTP_HOST="agent.example").status == 200
    assert record[0]["swaig_wsgi.host_allowed"] == "agent.example"
    assert request(app, HTTP_HOST="evil.example").status == 403


def test_a_narrower_host_policy_inside_still_refuses():
    app = AllowedHostsMiddleware(application, ["agent.example"])
    app = AllowedHostsMiddleware(app, ["agent.example", "www.example"])
    assert request(app, HTTP_HOST="www.example").status == 403


def proxy_fix(app):
    def fixed(environ, start_response):
        environ["HTTP_HOST"] = environ.get("HTTP_X_FORWARDED_HOST", environ["HTTP_HOST"])
        return app(environ, start_response)

    return fixed


@pytest.mark.parametrize("rewrite", [lambda app: TrustedProxyMiddleware(app, [PROXY]), proxy_fix])
def test_a_host_rewritten_between_two_layers_is_checked_again(rewrite):
    app = AllowedHostsMiddleware(application, ["inner.example"])
    app = AllowedHostsMiddleware(rewrite(app), ["inner.example"])
    options = {"REMOTE_ADDR": PROXY, "HTTP_HOST": "inner.example", "HTTP_X_FORWARDED_FOR": CLIENT}
    assert request(app, **options).status == 200
    assert request(app, HTTP_X_FORWARDED_HOST="evil.example", **options).status == 403


def test_a_path_exempt_outside_is_checked_inside():
    app = AllowedHostsMiddleware(application, ["agent.example"])
    app = AllowedHostsMiddleware(app, ["agent.example"], exempt=["/health"])
    assert request(app, path="/health", HTTP_HOST="evil.example").status == 403


# Responses


HEADERS = (
    lambda app: SecurityHeadersMiddleware(app),
    lambda app: HSTSMiddleware(app),
    lambda app: CORSMiddleware(app, ["https://app.example"]),
)
FIELDS = ("X-Frame-Options", "Strict-Transport-Security", "Access-Control-Allow-Origin")
BROWSER = {"HTTP_ORIGIN": "https://app.example", "wsgi_url_scheme": "https"}


@pytest.mark.parametrize(("layer", "field"), list(zip(HEADERS, FIELDS)))
def test_an_equal_layer_adds_its_headers_once(layer, field):
    once, twice = (
        request(layer(application), **BROWSER),
        request(layer(layer(application)), **BROWSER),
    )
    assert len(twice.headers.get_all(field)) == 1
    assert twice.fields == once.fields


@pytest.mark.parametrize(("layer", "field"), list(zip(HEADERS, FIELDS)))
def test_a_second_application_of_a_cascade_gets_the_headers(layer, field):
    first, second = layer(application), layer(application)

    def cascade(environ, start_response):
        first(environ, lambda status, headers, exc_info=None: None)
        return second(environ, start_response)

    assert len(request(cascade, **BROWSER).headers.get_all(field)) == 1


def test_headers_of_the_inner_layer_win():
    inner = SecurityHeadersMiddleware(application, {"X-Frame-Options": "SAMEORIGIN"})
    response = request(SecurityHeadersMiddleware(inner))
    assert response.headers.get_all("X-Frame-Options") == ["SAMEORIGIN"]


def test_hsts_applies_behind_a_proxy_layer():
    app = HSTSMiddleware(TrustedProxyMiddleware(HSTSMiddleware(application), [PROXY]))
    response = request(app, REMOTE_ADDR=PROXY, HTTP_X_FORWARDED_PROTO="https")
    assert len(response.headers.get_all("Strict-Transport-Security")) == 1


def test_a_different_inner_cors_policy_applies():
    inner = CORSMiddleware(application, ["https://app.example"], csrf_protection=True)
    app = CORSMiddleware(inner, ["https://app.example"])
    assert request(app, "POST", HTTP_ORIGIN="https://evil.example").status == 403


def test_csrf_protection_without_origins_does_not_replace_an_inner_cors_policy():
    inner = CORSMiddleware(application, (), csrf_protection=True)
    app = CORSMiddleware(inner, None, csrf_protection=True)
    options = {"HTTP_ORIGIN": "https://evil.example", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT"}
    assert request(app, "OPTIONS", **options).status == 403


def test_csrf_protection_applies_to_a_rewritten_host_or_method():
    def override(app):
        def overriding(environ, start_response):
            environ["REQUEST_METHOD"] = environ.get("HTTP_X_METHOD", environ["REQUEST_METHOD"])
            return app(environ, start_response)

        return overriding

    def csrf(app):
        return CORSMiddleware(app, (), csrf_protection=True)

    app = csrf(override(csrf(application)))
    assert request(app, HTTP_ORIGIN="https://evil.example").status == 200
    assert request(app, HTTP_ORIGIN="https://evil.example", HTTP_X_METHOD="POST").status == 403
    app = AllowedHostsMiddleware(
        csrf(TrustedProxyMiddleware(csrf(application), [PROXY])), ["a.example"]
    )
    options = {"REMOTE_ADDR": PROXY, "HTTP_HOST": "a.example", "HTTP_ORIGIN": "http://a.example"}
    assert request(app, "POST", **options).status == 200
    assert request(app, "POST", HTTP_X_FORWARDED_HOST="b.example", **options).status == 403


# Bodies


@pytest.mark.parametrize("terminated", [False, True])
def test_an_equal_size_limit_passes_the_same_body(terminated):
    def echo(environ, start_response):
        body = environ["wsgi.input"].read(100)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body]

    app = BodySizeMiddleware(BodySizeMiddleware(echo, 10), 10)
    options = {"wsgi_input_terminated": terminated, "CONTENT_LENGTH": "5"}
    assert request(app, "POST", body=b"hello", **options).body == b"hello"
    assert request(app, "POST", body=b"hello world", CONTENT_LENGTH="11").status == 413
    chunked = {"wsgi_input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    assert request(app, "POST", body=b"hello", CONTENT_LENGTH=None, **chunked).body == b"hello"
    assert request(app, "POST", body=b"hello world", CONTENT_LENGTH=None, **chunked).status == 413


def test_a_smaller_limit_inside_still_refuses():
    app = BodySizeMiddleware(BodySizeMiddleware(application, 4), 10)
    assert request(app, "POST", body=b"hello", CONTENT_LENGTH="5").status == 413


def test_a_body_replaced_between_two_layers_is_measured_again():
    def unpack(app):
        def unpacking(environ, start_response):
            body = environ["wsgi.input"].read(5) * 3
            environ.update({"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))})
            return app(environ, start_response)

        return unpacking

    app = BodySizeMiddleware(unpack(BodySizeMiddleware(application, 10)), 10)
    assert request(app, "POST", body=b"hello", CONTENT_LENGTH="5").status == 413


# Proxies

REQUEST = {
    "REMOTE_ADDR": PROXY,
    "HTTP_HOST": "inner.example",
    "HTTP_X_FORWARDED_FOR": CLIENT,
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_FORWARDED_HOST": "public.example",
    "HTTP_X_FORWARDED_PREFIX": "/agents",
}
VIEW = ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST", "SCRIPT_NAME")


def test_an_equal_proxy_layer_does_nothing():
    record = []
    inner = TrustedProxyMiddleware(recorder(record), [PROXY])
    app = TrustedProxyMiddleware(recorder(record, inner), [PROXY])
    assert request(app, **REQUEST).status == 200
    outside, inside = record
    assert inside == outside
    assert [inside[key] for key in VIEW] == [CLIENT, "https", "public.example", "/agents"]
    assert inside["swaig_wsgi.proxies.original"]["REMOTE_ADDR"] == PROXY


def test_an_equal_proxy_layer_ignores_headers_that_the_outer_one_dropped():
    record = []
    app = TrustedProxyMiddleware(recorder(record), [PROXY])
    app = TrustedProxyMiddleware(app, [PROXY])
    request(app, **{**REQUEST, "REMOTE_ADDR": "203.0.113.9"})
    assert [record[0][key] for key in VIEW] == ["203.0.113.9", "http", "inner.example", ""]
    assert "HTTP_X_FORWARDED_FOR" not in record[0]


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (([PROXY], "x-forwarded"), (1, "x-forwarded")),
        ((1, "x-forwarded"), ([PROXY], "x-forwarded")),
        (([PROXY], "x-forwarded"), ([PROXY], "forwarded")),
        (([PROXY], "x-forwarded"), (["10.0.0.0/24"], "x-forwarded")),
    ],
)
@pytest.mark.parametrize("request_", [REQUEST, {"REMOTE_ADDR": "203.0.113.9"}])
def test_different_proxy_policies_are_refused_as_misconfigured(outer, inner, request_, caplog):
    record = []
    app = TrustedProxyMiddleware(recorder(record), inner[0], family=inner[1])
    app = TrustedProxyMiddleware(app, outer[0], family=outer[1])
    responses = [request(app, **request_) for _ in range(3)]
    assert [response.status for response in responses] == [503] * 3
    assert responses[0].body == b'{"error": "Service misconfigured"}'
    assert record == []
    errors = [record for record in caplog.records if record.name == "swaig_wsgi"]
    assert len(errors) == 1
    assert "TrustedProxyMiddleware with different policies" in errors[0].getMessage()


# Never skipped


def test_authentication_runs_in_both_layers():
    calls = []

    class Asking(AuthHandler):
        def decide(self, request):
            calls.append(request.method)
            return super().decide(request)

    handler = Asking(bearer_token="a-token")
    app = AuthMiddleware(AuthMiddleware(application, handler), handler)
    assert request(app, HTTP_AUTHORIZATION="Bearer a-token").status == 200
    assert len(calls) == 2


def test_tokens_are_verified_in_both_layers():
    sessions = SessionManager(secret_key="a secret of some length")
    token = sessions.generate_token("transfer_funds", "call-1")
    calls = []
    open_token = sessions.open_token
    sessions.open_token = lambda text: calls.append(text) or open_token(text)
    app = ToolTokenMiddleware(ToolTokenMiddleware(application, sessions), sessions)
    body = b'{"function": "transfer_funds", "call_id": "call-1"}'
    options = {"CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json"}
    query = {"QUERY_STRING": f"__token={token}"}
    assert request(app, "POST", "/swaig", body=body, **{**options, **query}).status == 200
    assert len(calls) == 2
