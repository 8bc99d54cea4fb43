"""Exercise a copy with nothing installed: each decision of the core, and the parts above it.

    python3.9 -S -E -I tests/vendored/check.py COPY [--fips]

Prints the names of what was checked. COPY is the directory of the copy; it may be of the core
alone.
"""

from __future__ import annotations

import base64
import importlib
import io
import logging
import sys
import tempfile
from pathlib import Path

KEY = b"0123456789abcdef0123456789abcdef"
ORIGIN = "https://app.example.com"


def equal(got, expected):
    if got != expected:
        raise AssertionError(f"{got!r} is not {expected!r}")


def refuses(error, function, *args, **options):
    try:
        function(*args, **options)
    except error as caught:
        return caught
    raise AssertionError(f"{function.__name__}{args!r} was not refused")


def check_auth(auth):
    secret = auth.BasicSecret("ann", "p:w")
    policy = auth.CredentialPolicy(basic=secret.matches, bearer=auth.Secret("t0ken").matches)
    right = base64.b64encode(b"ann:p:w").decode()
    wrong = base64.b64encode(b"ann:p:x").decode()
    equal(policy.decide(f"Basic {right}", None).result, auth.AuthResult("basic", "ann"))
    equal(policy.decide("Bearer t0ken", None).result, auth.AuthResult("bearer"))
    equal(policy.decide(f"Basic {wrong}", None).reason, "bad_credentials")
    equal(policy.decide("Bearer t0ken, Bearer t0ken", None).reason, "malformed_credentials")
    equal(policy.decide(None, None).reason, "missing_credentials")
    equal(auth.constant_time_equal("ä", "ä"), True)
    equal(auth.constant_time_equal("a", "ab"), False)


def check_body_size(body_size):
    equal(body_size.body_length("5", None, False, 10), 5)
    equal(body_size.body_length(None, "chunked", True, 10), None)
    equal(refuses(body_size.BodyError, body_size.body_length, "11", None, False, 10).status, 413)
    equal(refuses(body_size.BodyError, body_size.body_length, "+5", None, False, 10).status, 400)
    both = refuses(body_size.BodyError, body_size.body_length, "5", "chunked", True, 10)
    equal(both.status, 400)


def check_caching(caching):
    for value, shared in (("public", True), ("max-age=60", True), ("private, max-age=60", False)):
        equal(caching.may_be_shared([("Cache-Control", value)]), shared)


def check_cors(cors):
    policy = cors.cors_policy([ORIGIN])
    allowed = cors.preflight(policy, ORIGIN, "POST", "content-type")
    equal(allowed.refused, "")
    equal(("Access-Control-Allow-Origin", ORIGIN) in allowed.headers, True)
    evil = cors.preflight(policy, "https://evil.example", "POST")
    equal(evil, cors.Preflight((), "origin_not_allowed"))
    equal(cors.response_headers(policy, "null"), ())
    equal(cors.refuses_origin(policy, "POST", "https://evil.example", "https", "a.example"), True)
    refuses(ValueError, cors.cors_policy, ["app.example.com"])


def check_headers(headers):
    names = [name for name, _ in headers.security_headers()]
    equal("X-Content-Type-Options" in names and "X-Frame-Options" in names, True)
    equal(headers.hsts_value(60), "max-age=60; includeSubDomains")
    refuses(ValueError, headers.security_headers, {"X-A": "1\r\nSet-Cookie: b"})


def check_hosts(hosts):
    patterns = hosts.host_patterns(["agent.example.com", "*.example.org", "::1"])
    for good in ("AGENT.example.com.:3000", "a.example.org", "[::1]:3000"):
        equal(patterns.refusal(good), None)
    equal(patterns.refusal("agent.example.com.evil.example"), "host_not_allowed")
    equal(patterns.refusal("agent.example.com@evil.example"), "malformed_host")
    equal(patterns.refusal(None), "missing_host")


def check_kept_fields(kept_fields):
    equal(
        kept_fields.kept_fields(["X-Forwarded-User"]), {"HTTP_X_FORWARDED_USER": "X-Forwarded-User"}
    )
    refuses(ValueError, kept_fields.kept_fields, ["X-Forwarded-For"])
    equal(kept_fields.is_single_value("ann,bob"), False)


def check_networks(networks):
    clients = networks.NetworkSet(networks.client_networks(["192.0.2.0/24", "2001:db8::/32"]))
    peers = ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "192.0.3.1", "fe80::1%eth0")
    found = [networks.client_address(peer) in clients for peer in peers]
    equal(found, [True, True, True, False, False])
    equal(networks.client_address("localhost"), None)
    refuses(ValueError, networks.client_networks, ["192.0.2.7/24"])


def check_paths(paths):
    scope = paths.path_scope(["/api/*"], ["/api/open"])
    covered = [scope.covers(path) for path in ("/api", "/x/../api/a", "//api/a", "/other")]
    equal(covered, [True, True, True, False])
    equal((scope.covers("/api/open"), scope.covers("/api/./open")), (False, True))


def check_proxies(proxies):
    trusted = proxies.trusted_proxies(["10.0.0.0/8"])
    hops = proxies.parse_x_forwarded(addresses="203.0.113.9, 192.0.2.7", scheme="http, https")
    client = proxies.resolve_client("10.0.0.1", hops, trusted)
    equal((client.address, client.scheme), ("192.0.2.7", "https"))
    equal(proxies.resolve_client("192.0.2.1", hops, trusted), proxies.Client())
    equal(proxies.parse_forwarded("for=192.0.2.7;proto=https").addresses, ("192.0.2.7",))


def check_rate_limit(rate_limit):
    limit = rate_limit.RateLimit(2)
    equal([limit.decide(count, 9.5).allowed for count in (1, 2, 3)], [True, True, False])
    equal(limit.decide(3, 9.5).reset, 10)
    equal(rate_limit.client_key("2001:db8:1:2:3::4"), "2001:db8:1:2::/64")
    equal(rate_limit.client_key("unknown"), "")
    equal(len(rate_limit.bounded_key("x" * 1000)), 71)
    refuses(ValueError, rate_limit.RateLimit, 0)


def check_refusals(refusals):
    equal(refusals.too_large().status, 413)
    equal(refusals.method_not_allowed(["POST", "GET"]).headers, (("Allow", "GET, POST"),))


def check_the_validation(load):
    validation = load("core._validation")
    equal(validation.check_int("x", 3, 1, 5), 3)
    refuses(TypeError, validation.check_int, "x", "3", 1, 5)
    refuses(ValueError, validation.check_int, "x", 6, 1, 5)


def check_redaction(redaction):
    url = "https://ann:hunter2@a.example/swaig?__token=s3cret&x=1"
    redacted = redaction.redact_url(url)
    equal("hunter2" in redacted or "s3cret" in redacted, False)
    equal("a.example/swaig" in redacted and "x=1" in redacted, True)
    equal(redaction.escape_control("a\nb\x1b"), "a\\nb\\x1b")
    kept = redaction.filter_sensitive_headers({"Authorization": "Basic x", "Accept": "*/*"})
    equal(kept, {"Accept": "*/*"})


def check_signatures(signatures, fips):
    url, body = "https://agent.example.com/swaig", b'{"function": "f"}'
    sha256 = signatures.sign_body("key", url, body)
    verify = signatures.verify_request
    equal(verify("key", url, body, sha256_signature=sha256).valid, True)
    equal(verify("key", url, body + b" ", sha256_signature=sha256).reason, "bad_sha256")
    equal(verify("other", url, body, sha256_signature=sha256).reason, "bad_sha256")
    # The platform's test vector: HMAC-SHA1 of URL and body.
    vector = {
        "sha1_signature": "c3c08c1fefaf9ee198a100d5906765a6f394bf0f",
        "content_type": "application/json",
    }
    key, url = "PSKtest1234567890abcdef", "https://example.ngrok.io/webhook"
    body = b'{"event":"call.state","params":{"call_id":"abc-123","state":"answered"}}'
    if fips:
        equal(verify(key, url, body, **vector).reason, "sha1_unavailable")
        error = refuses(signatures.Sha1Unavailable, signatures.sign_form, key, url, ())
        equal("SHA-1" in str(error) and "FIPS" in str(error), True)
    else:
        equal(verify(key, url, body, **vector).valid, True)
        equal(verify(key, url, body + b" ", **vector).reason, "bad_sha1")


def check_store_urls(store_urls):
    equal(store_urls.check_store_url("redis://host:6379/0"), "redis://host:6379/0")
    equal(store_urls.sqlite_path("sqlite:////run/a.db"), "/run/a.db")
    error = refuses(ValueError, store_urls.check_store_url, "postgres://ann:hunter2@host/")
    equal("hunter2" in str(error), False)


def check_strict_json(strict_json):
    equal(strict_json.loads_object(b'{"a": [1, 2.5]}'), {"a": [1, 2.5]})
    deep = b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    long = b'{"a": ' + b"9" * 5_000 + b"}"
    for junk in (b"[1]", b'{"a": NaN}', b'{"a": 1', b'{"a": "\\ud800"}', b"\xff{}", deep, long):
        refuses(strict_json.JSONBodyError, strict_json.loads_object, junk)


def check_calls(calls):
    equal(calls.call_id_in({"call": {"call_id": "root.2"}}), "root.2")
    equal(calls.call_id_in({"call_id": "a", "call": {"call_id": "b"}}), "a")
    equal(calls.call_id_in({}), None)
    for junk in ({"call_id": 5}, {"call": "x"}, {"call_id": "x" * 1025}):
        refuses(ValueError, calls.call_id_in, junk)


def check_tokens(tokens):
    key = tokens.SigningKey(KEY)
    token = tokens.sign_token(key, "transfer_funds", "root.2", 2_000, "a1b2c3d4")

    def reason(text, call_id="root.2", function_name="transfer_funds", now=1_000, keys=(key,)):
        options = {"call_id": call_id, "function_name": function_name, "now": now}
        return refuses(tokens.TokenError, tokens.verify_token, keys, text, **options).reason

    opened = tokens.verify_token(
        (tokens.SigningKey(b"x" * 32), key),
        token,
        call_id="root.2",
        function_name="transfer_funds",
        now=1_000,
    )
    equal((opened.call_id, opened.expiry), ("root.2", 2_000))
    equal(reason(token, call_id="root.3"), "wrong_call")
    equal(reason(token, function_name="get_time"), "wrong_function")
    equal(reason(token, now=2_000), "expired")
    equal(reason(token, keys=(tokens.SigningKey(b"x" * 32),)), "bad_signature")
    forged = base64.urlsafe_b64decode(token + "==").replace(b".2000.", b".9000.")
    equal(reason(base64.urlsafe_b64encode(forged).decode().rstrip("=")), "bad_signature")
    equal(reason("junk"), "malformed")


def check_urls(urls):
    url = urls.with_credentials("https://a.example", "ann", "p@ss:w/ö")
    equal(url, "https://ann:p%40ss%3Aw%2F%C3%B6@a.example")
    url = urls.tool_url("https://a.example/x?y=1", "abc_-", ("ann", "p@ss"))
    equal(url, "https://ann:p%40ss@a.example/x?y=1&__token=abc_-")
    equal(urls.join_url("https://a.example/x", "/swaig"), "https://a.example/x/swaig")


def check_ssrf(ssrf):
    def resolver(address):
        return lambda host, port: [(0, 0, 0, "", (address, port))]

    checked = ssrf.validate_url("https://a.example/", resolver=resolver("93.184.216.34"))
    equal(checked.addresses, ("93.184.216.34",))
    for private in ("127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "fd00::1"):
        resolve = resolver(private)
        refuses(ssrf.UrlError, ssrf.validate_url, "https://a.example/", resolver=resolve)
    refuses(ssrf.UrlError, ssrf.validate_url, "http://2130706433/")


def check_the_concurrency(load):
    concurrency = load("concurrency")

    async def reply():
        return "awaited"

    equal(concurrency.resolve(reply()), "awaited")
    equal(concurrency.resolve("plain"), "plain")
    equal(concurrency.threads_are_greenlets(), False)
    with concurrency.system_lock() as held, concurrency.thread_pool() as pool:
        equal(held, True)
        equal(pool.submit(lambda: 2).result(), 2)


def check_the_stores(load):
    stores = load("stores")
    with tempfile.TemporaryDirectory() as directory:
        opened = [stores.open_store(f"sqlite:///{directory}/s.db"), stores.open_store("memory://")]
        for store in opened:
            equal([store.hit("k", 60).count for _ in range(3)], [1, 2, 3])
            equal((store.add("c", {}, 60), store.add("c", {}, 60)), (True, False))
            equal(store.merge("v", {"a": 1}, 60), {"a": 1})
            equal(store.merge("v", {"b": 2}, 60), {"a": 1, "b": 2})
            store.close()
    error = refuses(ImportError, stores.open_store, "redis://127.0.0.1/0")
    equal("swaig-wsgi[redis]" in str(error), True)


def check_the_sessions(load):
    sessions = load("sessions").SessionManager(secret_key=KEY, fallback_keys=[b"old" * 16])
    token = sessions.generate_token("transfer_funds", "call-1")
    equal(sessions.validate_token("call-1", "transfer_funds", token), True)
    equal(sessions.validate_token("call-2", "transfer_funds", token), False)
    sessions.set_session_metadata("call-1", {"plan": "pro"})
    equal(sessions.get_session_metadata("call-1"), {"plan": "pro"})


def check_the_stack(load):
    config, middleware = load("config"), load("middleware")
    refuses(config.ConfigurationError, config.Settings.from_env, {"SWML_RATE_LIMIT": "abc"})
    settings = config.Settings.from_env(
        {
            "SWML_ALLOWED_HOSTS": "agent.example.com",
            "SWML_CORS_ORIGINS": ORIGIN,
            "SWML_RATE_LIMIT": "4",
            "SWML_MAX_REQUEST_SIZE": "10",
        }
    )

    def inside(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))]

    handler = middleware.AuthHandler(basic_auth=("ann", "secret-of-ann"))
    app = middleware.harden(inside, settings, auth=handler)

    def request(body=b"hello", host="agent.example.com", password="secret-of-ann"):
        credentials = base64.b64encode(f"ann:{password}".encode()).decode()
        environ = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/",
            "QUERY_STRING": "",
            "REMOTE_ADDR": "192.0.2.1",
            "SERVER_NAME": "inner",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": host,
            "HTTP_AUTHORIZATION": f"Basic {credentials}",
            "HTTP_X_FORWARDED_USER": "ann",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.url_scheme": "https",
            "wsgi.version": (1, 0),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        seen = []

        def start_response(status, headers, exc_info=None):
            seen.append((int(status[:3]), dict(headers)))
            return seen.append

        content = b"".join(app(environ, start_response))
        status, headers = seen[0]
        equal(headers["X-Content-Type-Options"], "nosniff")
        return status, content

    equal(request(), (200, b"hello"))
    equal(request(host="evil.example"), (403, b'{"error": "Forbidden: host not allowed"}'))
    equal(request(password="wrong")[0], 401)
    equal(request(b"x" * 11)[0], 413)
    equal(request()[0], 200)
    equal(request()[0], 429)

    def pages(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"page {environ['swaig_wsgi.refusal'].status}".encode()]

    # With every argument of harden.
    app = middleware.harden(
        inside,
        settings,
        headers={"X-Frame-Options": None},
        cors={"allow_methods": ("PUT",)},
        rate_limit={
            "limit": 2,
            "exempt": ("/static/*",),
            "key": lambda environ: environ["HTTP_X_FORWARDED_USER"],
        },
        refusal_app=pages,
        trusted_proxies=["192.0.2.1"],
        proxy_keep=["X-Forwarded-User"],
    )
    equal(request(b"x" * 11), (413, b"page 413"))
    equal(request(), (200, b"hello"))
    equal(request(), (429, b"page 429"))


def main():
    copy = Path(sys.argv[1]).resolve()
    fips = "--fips" in sys.argv
    here = str(Path(__file__).resolve().parent)
    sys.dont_write_bytecode = True
    logging.disable()
    sys.path.insert(0, here)
    import guard

    sys.path[0] = str(copy.parent)
    installed = [path for path in sys.path if "site-packages" in path or "dist-packages" in path]
    equal(installed, [])
    if fips:
        guard.refuse_weak_digests()
    guard.hold_to_standard_library(copy.name)

    def load(name):
        return importlib.import_module(f"{copy.name}.{name}")

    checks = {
        name[len("check_") :]: function
        for name, function in globals().items()
        if name.startswith("check_") and not name.startswith("check_the_")
    }
    modules = {path.stem for path in (copy / "core").glob("[!_]*.py")}
    equal(sorted(checks), sorted(modules))
    for name, function in checks.items():
        module = load(f"core.{name}")
        function(module, fips) if name == "signatures" else function(module)
    check_the_validation(load)
    parts = ["core"]
    if (copy / "stores").is_dir():
        check_the_concurrency(load)
        check_the_stores(load)
        check_the_sessions(load)
        parts.append("stores")
    if (copy / "middleware").is_dir():
        check_the_stack(load)
        parts.append("middleware")
    for path in sorted(copy.rglob("*.py")):
        names = path.relative_to(copy.parent).with_suffix("").parts
        importlib.import_module(".".join(name for name in names if name != "__init__"))
    foreign = [
        name
        for name, module in sys.modules.items()
        if module is not None
        and name.partition(".")[0] not in (copy.name, "guard", "__main__")
        and not guard.is_standard(name)
    ]
    equal(foreign, [])
    print(f"Python {sys.version.split()[0]}: {', '.join([*parts, *sorted(checks)])}")


if __name__ == "__main__":
    main()
