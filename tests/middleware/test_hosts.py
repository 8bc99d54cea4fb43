from __future__ import annotations

import json
import logging
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from swaig_wsgi.middleware.hosts import AllowedHostsMiddleware
from swaig_wsgi.wsgi import allowed_host

ALLOWED = ("agent.example.com", "127.0.0.1", "localhost", "::1")


class Iterable:
    def __init__(self):
        self.closed = False

    def __iter__(self):
        return iter([b"inner"])

    def close(self):
        self.closed = True


def inner(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"inner"]


def request(host=None, path="/", method="GET", **environ):
    environ = {"QUERY_STRING": "", "SCRIPT_NAME": "", **environ}
    environ.update(REQUEST_METHOD=method, PATH_INFO=path, REMOTE_ADDR="192.0.2.7")
    setup_testing_defaults(environ)
    environ.pop("HTTP_HOST")
    if host is not None:
        environ["HTTP_HOST"] = host
    return environ


def call(environ, allowed=ALLOWED, **options):
    started = []

    def start_response(status, headers, exc_info=None):
        started.append((int(status.split()[0]), dict(headers)))
        return lambda data: None

    app = validator(AllowedHostsMiddleware(validator(inner), allowed, **options))
    answer = app(environ, start_response)
    body = b"".join(answer)
    answer.close()
    return (*started[0], body)


def status(*args, **options):
    return call(request(*args), **options)[0]


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
    assert call(request(host))[2] == b"inner"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_host_is_forbidden(method, caplog):
    code, headers, body = call(request("evil.example", method=method))
    assert code == 403
    assert headers == {"Content-Type": "application/json", "Content-Length": str(len(body))}
    assert json.loads(body) == {"error": "Forbidden: host not allowed"}
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
    code, _, body = call(request(host), allowed)
    assert code == 400
    assert json.loads(body) == {"error": "Bad request: malformed Host header"}
    (record,) = caplog.records
    assert (record.event, record.reason) == ("host_refused", reason)


def test_http_1_0_without_a_host_is_refused_as_well():
    environ = request(SERVER_PROTOCOL="HTTP/1.0", SERVER_NAME="agent.example.com")
    assert call(environ)[0] == 400


def test_a_refusal_of_head_has_no_body():
    code, headers, body = call(request("evil.example", method="HEAD"))
    assert (code, body) == (403, b"")
    assert int(headers["Content-Length"]) > 0


def test_dns_rebinding_to_a_loopback_address_is_refused():
    assert status("rebound.attacker.example:3000") == 403


@pytest.mark.parametrize("key", ["RAW_URI", "REQUEST_URI"])
def test_an_absolute_target_cannot_name_another_host(key):
    def answered(target):
        return call(request("agent.example.com", **{key: target}))[0]

    assert answered("/path?query") == 200
    assert answered("*") == 200
    assert answered("http://agent.example.com:80/path") == 200
    assert answered("http://evil.example/path") == 403
    assert answered("http://agent.example.com@evil.example/path") == 400


def test_forwarded_fields_say_nothing_here():
    environ = request(
        "evil.example",
        HTTP_X_FORWARDED_HOST="agent.example.com",
        HTTP_FORWARDED="host=agent.example.com",
        SERVER_NAME="agent.example.com",
    )
    assert call(environ)[0] == 403


def test_exempt_paths_are_compared_exactly():
    def answered(path, **environ):
        return call(request("10.0.0.1", path, **environ), exempt=("/health",))[0]

    assert answered("/health") == 200
    for path in ("/", "/health/", "/health/../swaig", "//health", "/Health", "/healthy", ""):
        environ = {} if path else {"SCRIPT_NAME": "/health"}
        assert answered(path, **environ) == 403
    assert answered("/swaig", SCRIPT_NAME="/health") == 403


def test_an_exempt_path_needs_no_host_at_all():
    assert status(None, "/health", exempt=("/health",)) == 200


def test_bad_configuration_is_named_at_construction():
    for allowed, message in (
        ("agent.example.com", "sequence"),
        ((), "no host patterns"),
        (("a b",), "'a b'"),
        (("https://agent.example.com",), "without scheme"),
    ):
        with pytest.raises(ValueError, match=message):
            AllowedHostsMiddleware(inner, allowed)
    with pytest.raises(ValueError, match="'health'"):
        AllowedHostsMiddleware(inner, ["a.example"], exempt=("health",))


def test_the_application_is_passed_through_untouched():
    iterable = Iterable()
    seen = {}

    def app(environ, start_response):
        seen["environ"] = environ
        seen["start_response"] = start_response
        return iterable

    def start_response(status, headers, exc_info=None):
        raise AssertionError

    environ = request("localhost")
    before = dict(environ)
    assert AllowedHostsMiddleware(app, ALLOWED)(environ, start_response) is iterable
    assert not iterable.closed
    assert seen["environ"] is environ
    assert environ.pop("swaig_wsgi.ran.hosts")
    assert environ == {**before, "swaig_wsgi.host_allowed": "localhost"}
    assert seen["start_response"] is start_response


def test_inner_layers_learn_of_a_host_that_was_listed():
    def seen_by_the_application(allowed, host="agent.example.com", **options):
        seen = []

        def app(environ, start_response):
            seen.append(environ.get("swaig_wsgi.host_allowed"))
            return inner(environ, start_response)

        environ = request(host, **{"swaig_wsgi.host_allowed": "forged"})
        AllowedHostsMiddleware(app, allowed, **options)(environ, lambda *args: None)
        return seen

    assert seen_by_the_application(ALLOWED) == ["agent.example.com"]
    assert seen_by_the_application(("*",)) == [None]
    assert seen_by_the_application((*ALLOWED, "*")) == [None]
    assert seen_by_the_application(ALLOWED, "evil.example", exempt=("/",)) == [None]


def test_a_host_that_was_put_there_later_is_not_the_one_that_was_listed():
    environ = request("agent.example.com")
    assert allowed_host(environ) is None
    AllowedHostsMiddleware(inner, ALLOWED)(environ, lambda *args: None)
    assert allowed_host(environ) == "agent.example.com"
    environ["HTTP_HOST"] = "evil.example"
    assert allowed_host(environ) is None
    del environ["HTTP_HOST"]
    assert allowed_host(environ) is None
    assert allowed_host({}) is None
