"""``check_url``: each finding on a running service, present and absent."""

from __future__ import annotations

import functools
import itertools
import json
import socket
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from support.waiting import PATIENCE

from swaig_wsgi import AgentApp, AgentServer, Settings
from swaig_wsgi.checks import CATALOG, ProbeError, _certificates
from swaig_wsgi.checks import check_url as check_url_with_timeout
from swaig_wsgi.checks._connection import parse_target
from swaig_wsgi.core.headers import SITE_HEADERS

# A timeout is a result, so none must pass by chance.
check_url = functools.partial(check_url_with_timeout, timeout=PATIENCE)
PAIR = ("platform", "mR7-tulip-Quartz-52")
GOOD = {
    "allowed_hosts": ["localhost"],
    "cors_origins": ["https://app.example.org"],
    "rate_limit": 5000,
    "use_hsts": True,
    "storage_url": "memory://",
}


def agent(**changes):
    options = {name: changes.pop(name) for name in ("route", "signing_key") if name in changes}
    app = AgentApp("shop", basic_auth=PAIR, settings=Settings(**{**GOOD, **changes}), **options)
    app.define_tool("hours", "Say when the shop is open", {}, lambda args, raw: "9 to 5")
    return app


def ids(found):
    return [each.id.removeprefix("swaig.") for each in found]


def changed(app, headers=None, drop=(), routes=None):
    """Return `app` with other response headers, or with other responses at some paths."""

    def application(environ, start_response):
        if routes and environ["PATH_INFO"] in routes:
            status, body = routes[environ["PATH_INFO"]]
            start_response(status, [("Content-Type", "application/json")])
            return [json.dumps(body).encode()]

        def start(status, fields, exc_info=None):
            fields = [field for field in fields if field[0] not in {*drop, *(headers or {})}]
            return start_response(status, [*fields, *(headers or {}).items()], exc_info)

        return app(environ, start)

    return application


def at(method, path, status, body, *, password=False, **options):
    """Return an agent with another response to requests without, or with, a password."""
    app = agent(**options)
    other = changed(app, routes={path: (status, body)})

    def application(environ, start_response):
        same = environ["REQUEST_METHOD"] == method and environ["PATH_INFO"] == path
        chosen = other if same and ("HTTP_AUTHORIZATION" in environ) is password else app
        return chosen(environ, start_response)

    return application


def accepting_any_password(app, path=None):
    def application(environ, start_response):
        from support.wsgi import basic

        if "HTTP_AUTHORIZATION" in environ and path in (None, environ["PATH_INFO"]):
            environ["HTTP_AUTHORIZATION"] = basic(*PAIR)
        return app(environ, start_response)

    return application


def reading_bodies(environ, start_response):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [])
    return [b""]


def document(**urls):
    functions = [{"function": name, "web_hook_url": url} for name, url in urls.items()]
    return {"version": "1.0.0", "sections": {"main": [{"ai": {"SWAIG": {"functions": functions}}}]}}


CORS = {"Access-Control-Allow-Origin": "https://probe.invalid"}
NOT_READY = agent()
NOT_READY.add_readiness_check("never", lambda: False)
RATE_FIELDS = ("RateLimit", "RateLimit-Policy")

#: The number of a finding, an application with it, and words of its message.
FOUND = [
    ("E101", changed(agent(), routes={"/swaig": ("400 Bad Request", {})}), "served at /swaig."),
    ("E101", changed(agent(), routes={"/post_prompt": ("200 OK", {})}), "served at /post_prompt."),
    ("E101", changed(agent(), routes={"/debug_events": ("500 Oops", {})}), "at /debug_events."),
    ("E101", changed(agent(), routes={"/metrics": ("200 OK", {})}), "served at /metrics."),
    ("E101", changed(agent(), routes={"/": ("200 OK", document())}), "served at /."),
    ("E101", at("POST", "/", "200 OK", document()), "served at /."),
    ("E101", at("POST", "/", "400 Bad Request", {}), "served at /."),
    ("E101", at("POST", "/swaig", "404 Not Found", {}), "names /swaig, but a client without cred"),
    ("E101", at("POST", "/swaig", "405 Oops", {}), "gets 405, not 401"),
    ("E102", accepting_any_password(agent()), "A random password is accepted at /, /swaig,"),
    ("E102", accepting_any_password(agent(), "/swaig"), "A random password is accepted at /swaig."),
    (
        "E102",
        accepting_any_password(at("POST", "/swaig", "404 Oops", {}, password=True), "/swaig"),
        "at /swaig.",
    ),
    ("W110", at("POST", "/swaig", "403 Forbidden", {}), "gets 403 at /swaig, not 401"),
    (
        "W110",
        at("POST", "/swaig", "404 Oops", {}, proxy_url_base="https://other.example.org"),
        "gets 404 at /swaig, not 401",
    ),
    ("E106", changed(agent(), {**CORS, "Access-Control-Allow-Credentials": "true"}), "cookies"),
    ("E107", NOT_READY, "/ready is 503"),
    ("E107", changed(agent(), routes={"/health": ("500 Oops", {})}), "/health is 500"),
    ("E108", changed(agent(), routes={"/": ("503 Oops", {})}), "The service fails: 503."),
    ("E108", at("GET", "/", "500 Oops", {}, password=True), "with the password: 500."),
    ("W109", agent(allowed_hosts=["bot.example.org"]), "refuses the probe, 403,"),
    ("W101", changed(agent(), drop=["X-Frame-Options", "Content-Security-Policy"]), "X-Frame-Op"),
    ("W101", changed(agent(), drop=["X-XSS-Protection"]), "lack X-XSS-Protection."),
    ("W101", changed(agent(), {"X-Content-Type-Options": "sniff"}), "nosniff"),
    ("W102", agent(use_hsts=False), "lack Strict-Transport-Security"),
    ("W105", agent(allowed_hosts=["*"]), "the host probe.invalid"),
    ("W106", agent(cors_origins=["*"]), "Pages of any origin"),
    ("W106", changed(agent(), CORS), "Pages of any origin"),
    ("W107", agent(max_request_size=2**25), "is announced"),
    ("W108", agent(proxy_url_base="https://other.example.org"), "host: other.example.org."),
    ("I101", agent(rate_limit=None), "no rate-limit headers"),
    ("I102", changed(agent(), routes={"/health": ("404 Not Found", {})}), "There is no /health"),
]


@pytest.mark.parametrize(("number", "app", "words"), FOUND)
def test_each_finding_is_present(serve_app, number, app, words):
    url = serve_app(app)
    found = {each.id: each for each in check_url(url, credentials=PAIR)}
    assert words in found[f"swaig.{number}"].message


def test_a_good_service_has_no_findings(serve_app):
    assert check_url(serve_app(agent()), credentials=PAIR) == []
    assert check_url(serve_app(agent(route="/a/b")) + "/a/b/", credentials=PAIR) == []
    signed = agent(signing_key="Pq7uV2gRm5zXn8tKe4wYa1Co")
    assert ids(check_url(serve_app(signed), credentials=PAIR)) == []
    framed = {"Content-Security-Policy": "frame-ancestors 'self'"}
    app = changed(agent(), framed, drop=["X-Frame-Options"])
    assert check_url(serve_app(app), credentials=PAIR) == []


def test_a_site_needs_no_xss_filter(serve_app):
    def site(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html"), *SITE_HEADERS])
        return [b"a page"]

    assert "W101" not in ids(check_url(serve_app(site)))


def test_credentials_in_the_url_take_precedence(serve_app):
    url = serve_app(agent())
    user, password = PAIR
    assert check_url(url.replace("://", f"://{user}:{password}@"), credentials=("a", "b")) == []


def test_no_credentials_and_wrong_ones_are_found(serve_app):
    url = serve_app(agent())
    assert ids(check_url(url)) == ["I103"]
    found = check_url(url, credentials=("platform", "another-password"))
    assert ids(found) == ["E103"]
    assert "401" in found[0].message


def test_plain_http_is_found(serve_app):
    url = serve_app(agent(), tls=False)
    assert ids(check_url(url, credentials=PAIR)) == ["E104"]


def test_webhook_urls_on_plain_http_are_found(serve_app):
    app = agent()
    url = serve_app(changed(app))
    app.settings = Settings(**GOOD, proxy_url_base=url.replace("https", "http"))
    app._move("/")
    found = check_url(url, credentials=PAIR)
    assert ids(found) == ["W108"]
    assert "plain HTTP" in found[0].message


def test_a_rejected_certificate_is_found(serve_app, monkeypatch):
    found = check_url(serve_app(agent(), cert="expired.pem"), credentials=PAIR)
    assert ids(found) == ["E105", "I103"]
    monkeypatch.delenv("SSL_CERT_FILE")
    (found, _) = check_url(serve_app(agent()), credentials=PAIR)
    assert found.message == "Clients reject the certificate: self-signed certificate."


def test_a_certificate_that_expires_soon_is_found(serve_app, monkeypatch):
    end = _certificates.ssl.cert_time_to_seconds("Jan  1 00:00:00 2120 GMT")
    monkeypatch.setattr(_certificates, "time", SimpleNamespace(time=lambda: end - 29 * 86_400))
    assert ids(check_url(serve_app(agent()), credentials=PAIR)) == ["W104"]


def test_old_versions_of_tls_are_found(serve_app):
    (found,) = check_url(serve_app(agent(), old=True), credentials=PAIR)
    assert found.id == "swaig.W103"
    assert found.message == "The server speaks TLS 1.0 and TLS 1.1 (RFC 8996)."


def test_a_server_that_waits_for_a_large_body_is_found(serve_app):
    found = check_url(serve_app(reading_bodies, tls=False), timeout=3)
    (text,) = [each.message for each in found if each.id == "swaig.W107"]
    assert "the server waits for it" in text


def test_webhooks_of_the_document_are_probed_on_this_host_alone(serve_app):
    asked = []

    def other(environ, start_response):
        asked.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b""]

    elsewhere = serve_app(other)
    site = {}
    url = serve_app(changed(agent(), routes=site))
    urls = {"here": f"{url}/tools/pay?x=1", "there": f"{elsewhere}/tools/pay"}
    site.update({"/": ("200 OK", document(**urls)), "/tools/pay": ("200 OK", {})})
    (found,) = [each for each in check_url(url) if each.id == "swaig.E101"]
    assert found.message == "Clients without credentials are served at /, /tools/pay."
    assert asked == []


def test_every_endpoint_of_known_agents_is_probed(serve_app):
    shop, desk = agent(route="/shop"), agent(route="/desk")
    desk.name = "desk"
    shop.register_routing_callback(lambda body, headers: None, "/sip")
    served = AgentServer(settings=Settings(**GOOD))
    served.register(shop)
    served.register(desk)
    opened = {}
    url = serve_app(changed(served, routes=opened))
    for at in ("", "/shop"):
        for path in ("/shop/sip", "/shop/swaig", "/desk", "/desk/post_prompt", "/desk/metrics"):
            opened.clear()
            opened[path] = ("200 OK", {})
            found = check_url(url + at, credentials=PAIR, agents=[shop, desk])
            (text,) = [each.message for each in found if each.id == "swaig.E101"]
            assert text == f"Clients without credentials are served at {path}."
        opened.clear()
        found = check_url(url + at, credentials=PAIR, agents=[shop, desk])
        assert "E101" not in ids(found)


def test_every_finding_of_the_probe_is_tested():
    elsewhere = {"E103", "E104", "E105", "W103", "W104", "I103"}
    numbers = {id.removeprefix("swaig.") for id in CATALOG}
    assert {number for number, *_ in FOUND} | elsewhere == {n for n in numbers if n[1] == "1"}


def test_paths_are_percent_encoded(serve_app):
    asked = []

    def app(environ, start_response):
        asked.append(environ["PATH_INFO"].encode("latin-1").decode())
        start_response("200 OK", [])
        return [json.dumps(body).encode()]

    url = serve_app(app, tls=False)
    body = document(one=f"{url}/éx y", two=f"{url}/\ud800", three=f"{url}/%C3%A9?é")
    found = check_url(f"{url}/bänk")
    assert {"/bänk", "/éx y", "/?", "/é"} <= set(asked)
    assert "/%C3%A9x%20y" in str(found)


def test_an_agent_whose_route_is_not_ascii_is_probed(serve_app):
    app = agent(route="/bänk")
    url = serve_app(app)
    for path in ("/bänk", "/b%C3%A4nk"):
        assert check_url(url + path, credentials=PAIR, agents=[app]) == []
    opened = changed(app, routes={"/bänk/metrics".encode().decode("latin-1"): ("200 OK", {})})
    found = check_url(serve_app(opened) + "/bänk", credentials=PAIR, agents=[app])
    assert [each.message for each in found if each.id == "swaig.E101"] == [
        "Clients without credentials are served at /b%C3%A4nk/metrics."
    ]


def catch_all(*, body=b"a page", status="200 OK", swaig=None):
    """Return a site with a page at every path, and perhaps another one at /swaig."""
    count = itertools.count()

    def application(environ, start_response):
        start_response(status, [("Content-Type", "text/html")])
        if swaig is not None and environ["PATH_INFO"] == "/swaig":
            return [swaig]
        return [body % next(count) if b"%d" in body else body]

    return application


def test_a_site_with_a_page_at_every_path_serves_no_tools(serve_app):
    assert not {"E101", "W110"} & set(ids(check_url(serve_app(catch_all()))))
    assert not {"E101", "W110"} & set(ids(check_url(serve_app(catch_all(status="418 Tea")))))


def test_a_page_at_every_path_that_differs_is_unclear(serve_app):
    found = check_url(serve_app(catch_all(body=b"page %d")))
    assert "E101" not in ids(found)
    (text,) = [each.message for each in found if each.id == "swaig.W110"]
    assert text.startswith("A client without credentials gets 200 at /swaig, /post_prompt")
    found = check_url(serve_app(catch_all(swaig=b"{}")))
    (text,) = [each.message for each in found if each.id == "swaig.W110"]
    assert text.startswith("A client without credentials gets 200 at /swaig, not")
    opened = changed(catch_all(), routes={"/swaig": ("200 OK", {})})
    assert "E101" in ids(check_url(serve_app(opened)))


@pytest.mark.parametrize(
    "url",
    [
        "agent.example.com",
        "ftp://localhost/",
        "https://u:s3cret-word@ho st/",
        "https://u:s3cret/word@localhost:x/",
        "https://localhost:443/s3cret@localhost/",
        "https://localhost/?a=s3cret",
        "https://127.0.0.1:1",
        "http://u:s3cret-word@127.0.0.1:1",
    ],
)
def test_what_cannot_be_probed_is_an_error_without_secrets(url):
    with pytest.raises(ProbeError) as error:
        check_url(url)
    assert "s3cret" not in str(error.value)


def test_a_server_without_tls_or_http_is_an_error(serve_app):
    url = serve_app(agent(), tls=False).replace("http:", "https:")
    with pytest.raises(ProbeError, match="localhost: "):
        check_url(url)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ProbeError, match="localhost: no response: "):
            check_url(f"http://localhost:{port}", timeout=0.5)


# Attacks


def recording(app, seen):
    def application(environ, start_response):
        seen.append(environ.get("HTTP_AUTHORIZATION"))
        return app(environ, start_response)

    return application


def test_attack_credentials_are_not_sent_where_others_could_read_them(serve_app, monkeypatch):
    from support.wsgi import basic

    seen = []
    app = recording(agent(allowed_hosts=["localhost", "bot.example.org"]), seen)
    verified = serve_app(app)
    check_url(verified, credentials=PAIR)
    assert basic(*PAIR) in seen
    del seen[:]
    check_url(serve_app(app, cert="expired.pem"), credentials=PAIR)
    assert len(seen) > 5
    assert basic(*PAIR) not in seen
    # Over plain HTTP to another machine, which is this one.
    port = int(serve_app(app, tls=False).rpartition(":")[2])
    lookup = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *args, **more: lookup("127.0.0.1", *args, **more)
    )
    del seen[:]
    found = check_url(f"http://bot.example.org:{port}", credentials=PAIR)
    assert {"E104", "I103"} <= set(ids(found))
    assert len(seen) > 5
    assert basic(*PAIR) not in seen


@pytest.mark.parametrize(
    "url",
    [
        "http://demo:RealPass/word@{}/swaig",
        "http://demo:12345/RealPass@{}/swaig",
        "http://demo:12345?RealPass/x@{}/swaig",
        "http://RealPass:word@elsewhere.example/swaig?__token=RealPass",
        "http://{}/RealPass@x/swaig?password=RealPass",
        "http://{}/hook;token=RealPass",
    ],
)
def test_attack_a_secret_in_a_webhook_url_is_not_shown(serve_app, url):
    site = {}
    origin = serve_app(changed(agent(), routes=site), tls=False)
    hook = url.format(origin.rpartition("/")[2])
    site.update({"/": ("200 OK", document(pay=hook))})
    site.update({"/hook;token=RealPass": ("200 OK", {}), "/RealPass@x/swaig": ("200 OK", {})})
    found = check_url(origin)
    assert "RealPass" not in str(found)
    assert "12345" not in str(found)


def test_attack_open_tools_are_found_although_an_empty_request_is_refused(
    serve_app,
):
    ran = []

    def wrong(status):
        app = agent()

        def application(environ, start_response):
            if environ["PATH_INFO"] != "/swaig":
                return app(environ, start_response)
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            ran.extend(name for name in ("hours",) if name.encode() in body)
            start_response("200 OK" if b"hours" in body else status, [])
            return [b"{}"]

        return application

    for status, number in (("404 Not Found", "E101"), ("403 Forbidden", "W110")):
        assert number in ids(check_url(serve_app(wrong(status)), credentials=PAIR))
    assert ran == []


def test_attack_wrong_passwords_of_the_probe_do_not_lock_its_operator_out(serve_app):
    url = serve_app(agent(auth_failure_limit=10))
    assert check_url(url, credentials=PAIR) == []
    assert check_url(url, credentials=PAIR) == []


def test_attack_a_redirect_does_not_carry_credentials_elsewhere(serve_app):
    seen = []
    elsewhere = serve_app(recording(agent(), seen))

    def redirecting(environ, start_response):
        start_response("302 Found", [("Location", f"{elsewhere}/")])
        return [b""]

    check_url(serve_app(redirecting), credentials=PAIR)
    assert seen == []


def test_attack_the_probe_runs_no_tool_and_no_callback(serve_app):
    ran = []

    class Shop(AgentApp):
        def on_function_call(self, name, args, raw_data):
            ran.append(name)

        def on_summary(self, summary, raw_data):
            ran.append("summary")

        def on_debug_event(self, event):
            ran.append("event")

    app = Shop("shop", basic_auth=PAIR, settings=Settings(**GOOD))
    app.define_tool("pay", "Pay", {}, lambda args, raw: ran.append("pay"))
    check_url(serve_app(app), credentials=PAIR)
    check_url(serve_app(accepting_any_password(app)))
    assert ran == []


def test_attack_findings_contain_no_text_that_the_server_chose(serve_app):
    evil = "\x1b]0;owned\x07"

    def application(environ, start_response):
        start_response(f"200 {evil}", [("X-Frame-Options", evil), ("Server", evil)])
        host = f"http://{evil}/swaig"
        return [json.dumps(document(pay=host)).encode()]

    found = check_url(serve_app(application), credentials=PAIR)
    assert "\x1b" not in str([each.to_dict() for each in found])
    assert "owned" not in " ".join(each.message for each in found if each.id != "swaig.W108")

    with pytest.raises(ProbeError) as error:
        check_url(_serve_raw(f"{evil} nothing\r\n\r\n".encode()))
    assert "owned" not in str(error.value)


@pytest.mark.parametrize("timeout", [0.5, PATIENCE])
@pytest.mark.parametrize(
    "endless",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nX-Long: 1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;" + b"x" * 30_000,
        b"H" * 60_000,
    ],
)
def test_attack_an_endless_response_does_not_hold_the_probe(endless, timeout):
    # Either bytes come without end, or at last only one by one.
    pieces = itertools.repeat(endless * 10)
    if timeout < PATIENCE:
        drops = itertools.repeat(b"\r\n" if endless.endswith(b"\n") else b"x")
        pieces = itertools.chain([endless], drops)
    with _endless(pieces, pause=0 if timeout == PATIENCE else 0.05) as (url, gone):
        target = parse_target(url, None, timeout)
        reply = target.try_request("GET", "/")
        assert reply.status in (0, 200)
        assert not reply.complete or reply.status == 0
        assert gone.wait(PATIENCE)  # the client closed the connection while the server sent


def test_attack_a_service_that_hangs_does_not_hold_the_probe(serve_app):
    ended, requests = threading.Event(), []

    def hanging(environ, start_response):
        requests.append(environ["PATH_INFO"])
        if len(requests) > 3:
            ended.wait(PATIENCE)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"a page"]

    try:
        found = check_url(serve_app(hanging, tls=False), total_timeout=3)
    finally:
        ended.set()
    assert [each.message for each in found if each.id == "swaig.E108"] == [
        "The service is too slow: after 3 seconds, the probe had not seen everything."
    ]
    # What was not seen is neither good nor bad.
    assert not {"E107", "W105", "W106", "W107", "I102"} & set(ids(found))


def test_attack_a_stream_without_end_is_served_all_the_same():
    start = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    with _endless(itertools.chain([start], itertools.repeat(b"x")), pause=0.05) as (url, gone):
        reply = parse_target(url, None, 0.5).try_request("GET", "/")
        assert (reply.status, reply.timed_out, reply.complete) == (200, True, False)
        assert gone.wait(PATIENCE)


@contextmanager
def _endless(pieces, *, pause):
    """Send `pieces` to one client; yield the URL, and an event that the client is gone."""
    listener = socket.create_server(("127.0.0.1", 0))
    gone, done = threading.Event(), threading.Event()

    def respond():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            for piece in pieces:
                if done.wait(pause):
                    return
                try:
                    connection.sendall(piece)
                except OSError:
                    gone.set()
                    return

    thread = threading.Thread(target=respond, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{listener.getsockname()[1]}", gone
    finally:
        done.set()
        thread.join(PATIENCE)
        listener.close()


def _serve_raw(response):
    listener = socket.create_server(("127.0.0.1", 0))

    def respond():
        with listener:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(response)

    threading.Thread(target=respond, daemon=True).start()
    return f"http://localhost:{listener.getsockname()[1]}"
