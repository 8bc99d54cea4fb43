from __future__ import annotations

import logging
from wsgiref.validate import validator

import pytest
from support.wsgi import Recorder, check_delegates, environ, send

from swaig_wsgi.middleware.hosts import AllowedHostsMiddleware
from swaig_wsgi.wsgi import allowed_host

ALLOWED = ("agent.example.com", "127.0.0.1", "localhost", "::1")


def make_request(host=None, path="/", method="GET", **extra):
    """Return the environ of a request with this Host header."""
    return environ(method, path, HTTP_HOST=host, **extra)


def guarded(request, allowed=ALLOWED, **options):
    """Return the response to a request through the middleware."""
    inner = validator(Recorder(b"inner"))
    return send(AllowedHostsMiddleware(inner, allowed, **options), request)


def status(*args, **options):
    return guarded(make_request(*args), **options).status


@pytest.mark.parametrize(
    "host",
    [
        "agent.example.com",
        "agent.example.com.",
        "AGENT.example.com:8443",
        "[::1]:3000",
        "[0:0:0::1]",
        "127.0.0.1:3000",
        "localhost",
    ],
)
def test_allowed_hosts_reach_the_application(host):
    assert guarded(make_request(host)).body == b"inner"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_hosts_are_forbidden(method, caplog):
    response = guarded(make_request("evil.example", method=method))
    assert response.status == 403
    assert response.headers == {
        "Content-Type": "application/json",
        "Content-Length": str(len(response.body)),
    }
    assert response.json == {"error": "Forbidden: host not allowed"}
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("swaig_wsgi.security", logging.WARNING)
    assert (record.event, record.reason) == ("host_refused", "host_not_allowed")
    assert record.client == "192.0.2.7"


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (None, "missing_host"),
        ("", "malformed_host"),
        ("agent.example.com,evil.example", "malformed_host"),
        ("agent.example.com, agent.example.com", "malformed_host"),
        ("user@agent.example.com", "malformed_host"),
        ("agent.example.com@evil.example", "malformed_host"),
        ("agent.example.com:port", "malformed_host"),
        ("agent.example.com/..", "malformed_host"),
        ("agent.example.com\\.evil.example", "malformed_host"),
        ("[::1", "malformed_host"),
    ],
)
@pytest.mark.parametrize("allowed", [ALLOWED, ("*",)])
def test_a_missing_or_malformed_host_is_a_bad_request(host, reason, allowed, caplog):
    response = guarded(make_request(host), allowed)
    assert response.status == 400
    assert response.json == {"error": "Bad request: malformed Host header"}
    (record,) = caplog.records
    assert (record.event, record.reason) == ("host_refused", reason)


def test_an_http_1_0_request_without_a_host_is_refused():
    request = make_request(SERVER_PROTOCOL="HTTP/1.0", SERVER_NAME="agent.example.com")
    assert guarded(request).status == 400


def test_a_refusal_of_head_has_no_body():
    response = guarded(make_request("evil.example", method="HEAD"))
    assert (response.status, response.body) == (403, b"")
    assert int(response.headers["Content-Length"]) > 0


def test_dns_rebinding_to_a_loopback_address_is_refused():
    assert status("rebound.attacker.example:3000") == 403


@pytest.mark.parametrize("key", ["RAW_URI", "REQUEST_URI"])
def test_an_absolute_target_cannot_name_another_host(key):
    def status_for(target):
        return guarded(make_request("agent.example.com", **{key: target})).status

    assert status_for("/path?query") == 200
    assert status_for("*") == 200
    assert status_for("http://agent.example.com:80/path") == 200
    assert status_for("http://evil.example/path") == 403
    assert status_for("http://agent.example.com@evil.example/path") == 400


def test_forwarding_headers_are_ignored():
    request = make_request(
        "evil.example",
        HTTP_X_FORWARDED_HOST="agent.example.com",
        HTTP_FORWARDED="host=agent.example.com",
        SERVER_NAME="agent.example.com",
    )
    assert guarded(request).status == 403


def test_exempt_paths_are_compared_exactly():
    def status_for(path, **environ):
        return guarded(make_request("10.0.0.1", path, **environ), exempt=("/health",)).status

    assert status_for("/health") == 200
    for path in ("/", "/health/", "/health/../swaig", "//health", "/Health", "/healthy", ""):
        environ = {} if path else {"SCRIPT_NAME": "/health"}
        assert status_for(path, **environ) == 403
    assert status_for("/swaig", SCRIPT_NAME="/health") == 403


def test_an_exempt_path_needs_no_host():
    assert status(None, "/health", exempt=("/health",)) == 200


def test_invalid_options_are_rejected():
    for allowed, message in (
        ("agent.example.com", "sequence"),
        ((), "no host patterns"),
        (("a b",), "'a b'"),
        (("https://agent.example.com",), "without scheme"),
    ):
        with pytest.raises(ValueError, match=message):
            AllowedHostsMiddleware(Recorder(), allowed)
    with pytest.raises(ValueError, match="'health'"):
        AllowedHostsMiddleware(Recorder(), ["a.example"], exempt=("health",))


def test_iterable_and_start_response_are_passed_through():
    request = make_request("localhost")
    before = dict(request)
    check_delegates(lambda app: AllowedHostsMiddleware(app, ALLOWED), request)
    assert request == {**before, "swaig_wsgi.host_allowed": "localhost"}


def test_environ_records_only_a_host_of_the_allowlist():
    def recorded(allowed, host="agent.example.com", **options):
        inner = Recorder()
        request = make_request(host, **{"swaig_wsgi.host_allowed": "forged"})
        send(AllowedHostsMiddleware(inner, allowed, **options), request)
        return [seen.get("swaig_wsgi.host_allowed") for seen in inner.environs]

    assert recorded(ALLOWED) == ["agent.example.com"]
    assert recorded(("*",)) == [None]
    assert recorded((*ALLOWED, "*")) == [None]
    assert recorded(ALLOWED, "evil.example", exempt=("/",)) == [None]


def test_a_host_changed_later_does_not_count_as_allowed():
    request = make_request("agent.example.com")
    assert allowed_host(request) is None
    guarded(request)
    assert allowed_host(request) == "agent.example.com"
    request["HTTP_HOST"] = "evil.example"
    assert allowed_host(request) is None
    del request["HTTP_HOST"]
    assert allowed_host(request) is None
    assert allowed_host({}) is None
