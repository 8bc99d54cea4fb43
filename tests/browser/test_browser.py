"""What a browser lets pages do with our responses, and what it keeps from other origins."""

from __future__ import annotations

import json
from typing import Any

import pytest

AGENT = "swaig_wsgi.examples.basic:app"
USER, PASSWORD = "demo", "only-for-a-demo"
AUTHORIZATION = {"Authorization": "Basic ZGVtbzpvbmx5LWZvci1hLWRlbW8="}
JSON = {"Content-Type": "application/json"}

SITE = """
from swaig_wsgi import harden

TRANSFERS = []
BODIES = {
    "/script.txt": ("text/plain", b"window.executed = true; parent.postMessage('loaded', '*')"),
    "/untyped": (None, b"<!doctype html><html><script>window.executed = true</script></html>"),
    "/page": ("text/html", b"<!doctype html><script>parent.postMessage('loaded', '*')</script>"),
}

def site(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/transfer" and environ["REQUEST_METHOD"] == "POST":
        TRANSFERS.append(environ.get("HTTP_COOKIE", ""))
    kind, body = BODIES.get(path, ("text/plain", repr(
        TRANSFERS if path == "/transfers" else environ.get("HTTP_COOKIE", "")
    ).encode()))
    headers = [("Content-Length", str(len(body)))]
    if kind is not None:
        headers.append(("Content-Type", kind))
    if path == "/login":
        headers.append(("Set-Cookie", "session=visitor; HttpOnly; SameSite=Lax; Path=/"))
    if path.startswith("/cached"):
        headers.append(("Cache-Control", "max-age=600"))
        if path == "/cached-without-vary" and "HTTP_ORIGIN" in environ:
            headers.append(("Access-Control-Allow-Origin", environ["HTTP_ORIGIN"]))
    start_response("200 OK", headers)
    return [body]

app = harden(site)
bare = site
"""


ACCESS_LOG = ("--access-logfile=-", "--access-logformat=%(m)s %(U)s %(s)s")
#: Gives whether a frame at `url` came to run its script, once it has loaded something.
FRAME = """
url => new Promise(done => {
    const frame = document.createElement("iframe");
    let heard = false;
    addEventListener("message", event => { heard ||= event.source === frame.contentWindow; });
    frame.onload = () => setTimeout(() => done(heard));
    frame.src = url;
    document.body.append(frame);
})
"""
#: Gives whether `url` was executed as a script.
SCRIPT = """
url => new Promise(done => {
    const script = document.createElement("script");
    script.onload = script.onerror = () => done(window.executed === true);
    script.src = url;
    document.body.append(script);
})
"""
#: Gives whether a document of no origin may read `url`.
SANDBOX = """
url => new Promise(done => {
    addEventListener("message", event => done(event.data));
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    frame.srcdoc = `<script>
        fetch(${JSON.stringify(url)}).then(
            () => parent.postMessage([origin, "read"], "*"),
            () => parent.postMessage([origin, "blocked"], "*"),
        )</script>`;
    document.body.append(frame);
})
"""
#: Sends a form, as any page may to anywhere; with a policy of `referrer`, if given.
FORM = """
(url, referrer) => {
    if (referrer) {
        const meta = document.createElement("meta");
        meta.name = "referrer";
        meta.content = referrer;
        document.head.append(meta);
    }
    const form = document.createElement("form");
    form.method = "post";
    form.enctype = "text/plain";
    form.action = url;
    form.innerHTML = `<input name='{"amount": 5, "x": "' value='"}'>`;
    document.body.append(form);
    form.submit();
}
"""


@pytest.fixture
def agent(gunicorn: Any) -> Any:
    """Start the example agent; return its address and its server."""

    def start(**env: str) -> Any:
        env = {"SWML_BASIC_AUTH_USER": USER, "SWML_BASIC_AUTH_PASSWORD": PASSWORD, **env}
        server = gunicorn(AGENT, "--threads=4", *ACCESS_LOG, **env)
        return f"http://localhost:{server.port}", server

    return start


@pytest.fixture
def site(gunicorn: Any, tmp_path: Any) -> Any:
    """Start a site with sessions, hardened as `env` says, or bare."""
    (tmp_path / "site_under_test.py").write_text(SITE)

    def start(name: str = "app", **env: str) -> Any:
        server = gunicorn(
            f"site_under_test:{name}", "--threads=4", *ACCESS_LOG, cwd=str(tmp_path), **env
        )
        return f"http://localhost:{server.port}", server

    return start


def log_in(page: Any, at: str) -> None:
    """Visit an agent as a user who types in the password, which the browser then remembers."""
    page.open(at.replace("//", f"//{USER}:{PASSWORD}@") + "/?call_id=call-1")
    assert '"version"' in page.run("() => document.body.innerText")


def requests_of(server: Any, method: str) -> list[str]:
    """Return the lines of the access log about `method` since this was asked last."""
    marker = f"/marker-{len(server.lines)}"
    assert server.request("GET", marker).status
    server.wait_for_log(f"GET {marker} ")
    lines = [line.strip() for line in server.lines]
    markers = [number for number, line in enumerate(lines) if line.startswith("GET /marker-")]
    since = markers[-2] + 1 if len(markers) > 1 else 0
    return [line for line in lines[since : markers[-1]] if line.startswith(f"{method} ")]


def test_an_allowed_origin_reads_documents_and_refusals(
    agent: Any, page: Any, origins: Any
) -> None:
    at, server = agent(SWML_CORS_ORIGINS=origins.app, SWML_MAX_REQUEST_SIZE="1000")
    page.open(origins.app)
    refused = page.fetch(f"{at}/")
    assert (refused.status, refused.json) == (401, {"error": "Unauthorized"})
    assert refused.type == "cors"
    document = page.fetch(f"{at}/", headers=AUTHORIZATION)
    assert (document.status, document.json["version"]) == (200, "1.0.0")
    missing = page.fetch(f"{at}/nowhere", headers=AUTHORIZATION)
    assert (missing.status, missing.json) == (404, {"error": "Not found"})
    call = {"function": "get_time", "argument": {"parsed": [{}], "raw": "{}"}, "call_id": "call-1"}
    headers = {**AUTHORIZATION, **JSON}
    called = page.fetch(f"{at}/swaig", method="POST", headers=headers, body=json.dumps(call))
    assert called.status == 200
    assert called.json["response"].startswith("It is ")
    assert set(requests_of(server, "OPTIONS")) == {
        "OPTIONS / 204",
        "OPTIONS /nowhere 204",
        "OPTIONS /swaig 204",
    }


@pytest.mark.parametrize("length", [1001, 70_000, 1_000_000])
@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ({**JSON, **AUTHORIZATION}, 413, "Request too large"),
        (JSON, 401, "Unauthorized"),
    ],
)
def test_refusals_of_long_bodies_are_readable_again_and_again(
    agent: Any, page: Any, origins: Any, length: int, headers: Any, status: int, error: str
) -> None:
    """On a reused connection, the rest of one body must not become the next response."""
    at, server = agent(SWML_CORS_ORIGINS=origins.app, SWML_MAX_REQUEST_SIZE="1000")
    page.open(origins.app)
    for _ in range(4):
        response = page.fetch(f"{at}/swaig", method="POST", headers=headers, body="x" * length)
        assert (response.status, response.json) == (status, {"error": error})
    assert requests_of(server, "POST") == [f"POST /swaig {status}"] * 4
    assert "Invalid request" not in server.log


def test_a_limit_is_readable_and_preflights_do_not_count(
    agent: Any, page: Any, origins: Any
) -> None:
    at, server = agent(SWML_CORS_ORIGINS=origins.app, SWML_RATE_LIMIT="3")
    page.open(origins.app)
    responses = []
    for number in range(9):  # a minute may pass meanwhile, and the count begin again
        responses.append(page.fetch(f"{at}/?n={number}", headers={"X-Number": "1"}))
        if responses[-1].status == 429:
            break
    assert len(responses) >= 4
    assert {response.status for response in responses[:-1]} == {401}
    assert (responses[-1].status, responses[-1].json) == (429, {"error": "Rate limit exceeded"})
    assert set(requests_of(server, "OPTIONS")) == {"OPTIONS / 204"}


def test_a_page_that_is_not_allowed_reads_nothing(agent: Any, page: Any, origins: Any) -> None:
    at, server = agent(SWML_CORS_ORIGINS=origins.app)
    log_in(page, at)
    page.open(origins.app)
    mine = page.fetch(f"{at}/", credentials="include")
    assert (mine.status, mine.json["version"]) == (200, "1.0.0")
    for origin in (origins.evil, origins.evil_site):
        page.open(origin)
        for path in ("/", "/nowhere", "/swaig"):
            for credentials in ("include", "omit"):
                response = page.fetch(f"{at}{path}", credentials=credentials)
                assert response.blocked == "MissingAllowOriginHeader"
        # Cross-Origin-Resource-Policy withholds even the opaque response.
        blocked = page.fetch(f"{at}/", mode="no-cors")
        assert (blocked.type, blocked.status, blocked.text) == ("error", 0, "")
        assert page.run(SANDBOX, f"{at}/") == ["null", "blocked"]
    requests_of(server, "POST")
    for headers in (AUTHORIZATION, {"X-Custom": "1"}, JSON):
        response = page.fetch(f"{at}/swaig", method="POST", headers=headers, body="{}")
        assert response.blocked == "PreflightMissingAllowOriginHeader"
    assert requests_of(server, "POST") == []
    server.wait_for_log("preflight_refused reason=origin_not_allowed")


def test_any_origin_never_goes_with_the_visitors_credentials(
    agent: Any, page: Any, origins: Any
) -> None:
    at, _ = agent()
    log_in(page, at)
    page.open(origins.evil)
    refused = page.fetch(f"{at}/")
    assert (refused.status, refused.json) == (401, {"error": "Unauthorized"})
    assert page.fetch(f"{at}/", credentials="include").blocked == "WildcardOriginNotAllowed"
    # Who has the password needs no visitor.
    assert page.fetch(f"{at}/", headers=AUTHORIZATION).status == 200


def test_cookies_are_for_allowed_origins(site: Any, page: Any, origins: Any) -> None:
    at, _ = site(SWML_CORS_ORIGINS=f"{origins.app},{origins.other_app}")
    page.open(f"{at}/login")
    for origin in (origins.app, origins.other_app):
        page.open(origin)
        assert page.fetch(f"{at}/me", credentials="include").text == "'session=visitor'"
        assert page.fetch(f"{at}/me").text == "''"
    page.open(origins.evil)
    assert page.fetch(f"{at}/me", credentials="include").blocked == "MissingAllowOriginHeader"
    at, _ = site(SWML_CORS_ORIGINS="*")
    page.open(origins.app)
    assert page.fetch(f"{at}/me").text == "''"
    assert page.fetch(f"{at}/me", credentials="include").blocked == "WildcardOriginNotAllowed"


def test_preflights_decide_about_methods_and_are_remembered(
    site: Any, page: Any, origins: Any
) -> None:
    at, server = site(SWML_CORS_ORIGINS=origins.app)
    page.open(origins.app)
    for _ in range(3):
        response = page.fetch(f"{at}/me", method="POST", headers={**JSON, "X-Any": "1"}, body="{}")
        assert response.status == 200
    assert requests_of(server, "OPTIONS") == ["OPTIONS /me 204"]
    for method in ("PUT", "DELETE", "PATCH"):
        response = page.fetch(f"{at}/me", method=method)
        assert response.blocked == "PreflightMissingAllowOriginHeader"
        assert requests_of(server, method) == []


def test_what_a_cache_keeps_is_of_one_origin(site: Any, page: Any, origins: Any) -> None:
    """Pages of one site share a cache; a response for one origin must not do for another."""
    at, server = site(SWML_CORS_ORIGINS=f"{origins.app},{origins.other_app}")
    page.open(origins.app)
    assert page.fetch(f"{at}/cached", mode="no-cors").type == "opaque"
    assert page.fetch(f"{at}/cached").status == 200
    assert page.fetch(f"{at}/cached").status == 200
    page.open(origins.other_app)
    assert page.fetch(f"{at}/cached").status == 200
    page.open(origins.evil)
    assert page.fetch(f"{at}/cached").blocked == "MissingAllowOriginHeader"
    # Without an origin, once for each of three: the second of one came from the cache.
    asked = [line for line in requests_of(server, "GET") if "/cached" in line]
    assert asked == ["GET /cached 200"] * 4

    at, _ = site("bare")
    page.open(origins.app)
    assert page.fetch(f"{at}/cached-without-vary").status == 200
    page.open(origins.other_app)
    assert page.fetch(f"{at}/cached-without-vary").blocked == "AllowOriginMismatch"


def test_documents_with_credentials_are_not_cached(agent: Any, page: Any, origins: Any) -> None:
    at, server = agent(SWML_CORS_ORIGINS=origins.app)
    page.open(origins.app)
    for _ in range(2):
        assert page.fetch(f"{at}/", headers=AUTHORIZATION, cache="force-cache").status == 200
    assert requests_of(server, "GET") == ["GET / 200"] * 2


def test_framing_is_refused(site: Any, agent: Any, page: Any, origins: Any) -> None:
    at, _ = site("bare")
    page.open(origins.app)
    assert page.run(FRAME, f"{at}/page") is True

    at, _ = site(SWML_CORS_ORIGINS=origins.app)
    page.open(origins.app)
    assert page.run(FRAME, f"{at}/page") is False
    assert "'X-Frame-Options' to 'deny'" in page.logged("Refused to display")
    page.open(f"{at}/page")
    assert page.run(FRAME, f"{at}/page") is False

    at, _ = agent(SWML_CORS_ORIGINS=origins.app)
    page.open(origins.app)
    assert page.run(FRAME, f"{at}/health") is False
    assert "frame-ancestors 'none'" in page.logged("Framing")
    (frame,) = page.call("Page.getFrameTree")["frameTree"]["childFrames"]
    assert frame["frame"]["unreachableUrl"] == f"{at}/health"


def test_types_are_not_guessed(site: Any, agent: Any, page: Any, origins: Any) -> None:
    at, _ = site("bare")
    page.open(f"{at}/page")
    assert page.run(SCRIPT, f"{at}/script.txt") is True
    page.open(f"{at}/untyped")
    guessed = page.run("() => [document.contentType, window.executed === true]")
    assert guessed == ["text/html", True]

    at, _ = site()
    page.open(f"{at}/page")
    assert page.run(SCRIPT, f"{at}/script.txt") is False
    assert "strict MIME type checking is enabled" in page.logged("Refused to execute script")
    page.open(origins.evil)
    assert page.run(SCRIPT, f"{at}/script.txt") is False
    page.open(f"{at}/untyped")
    shown = page.run("() => [document.contentType, window.executed === true]")
    assert shown == ["text/plain", False]


def test_a_form_of_another_site_is_refused(site: Any, page: Any, origins: Any) -> None:
    # Without the protection, any page can make its visitor act.
    at, server = site(SWML_CORS_ORIGINS=origins.app)
    page.open(f"{at}/login")
    page.open(origins.evil)
    assert page.leave(FORM, f"{at}/transfer", "").status == 200
    assert server.request("GET", "/transfers").body == b"['session=visitor']"

    at, server = site(
        SWML_CORS_ORIGINS=origins.app,
        SWML_CSRF_PROTECTION="true",
        SWML_ALLOWED_HOSTS="localhost,127.0.0.1",
    )
    page.open(f"{at}/login")
    # Without a referrer, a browser sends the origin "null".
    for origin in (origins.evil, origins.evil_site):
        for referrer in ("", "no-referrer"):
            page.open(origin)
            response = page.leave(FORM, f"{at}/transfer", referrer)
            assert (response.status, response.json) == (
                403,
                {"error": "Forbidden: origin not allowed"},
            )
    page.open(origins.evil)
    sent = page.fetch(
        f"{at}/transfer", method="POST", mode="no-cors", credentials="include", body="{}"
    )
    assert (sent.type, sent.status) == ("opaque", 0)
    assert server.request("GET", "/transfers").body == b"[]"
    assert len(requests_of(server, "POST")) == 5
    # The site's own forms, and those of the origins that it names, go through.
    page.open(f"{at}/page")
    assert page.leave(FORM, f"{at}/transfer", "").status == 200
    page.open(origins.app)
    assert page.leave(FORM, f"{at}/transfer", "").status == 200
    assert server.request("GET", "/transfers").body == b"['session=visitor', 'session=visitor']"
    # With no-referrer a browser sends "null" on the site's own pages, too, like on a hostile one.
    page.open(f"{at}/page")
    assert page.leave(FORM, f"{at}/transfer", "no-referrer").status == 403


def test_a_form_cannot_speak_to_an_agent(agent: Any, page: Any, origins: Any) -> None:
    at, server = agent(SWML_CSRF_PROTECTION="true")
    log_in(page, at)
    for path in ("/", "/swaig"):
        page.open(origins.evil)
        response = page.leave(FORM, f"{at}{path}", "")
        assert (response.status, response.json) == (403, {"error": "Forbidden: origin not allowed"})
    server.wait_for_log("origin_refused reason=origin_not_allowed")
