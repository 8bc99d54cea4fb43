"""Records of the security log: what they say, and that no client can forge them."""

from __future__ import annotations

import json
import logging
import shlex

import pytest
from support.wsgi import environ, request

from swaig_wsgi.core.auth import AuthResult, BasicSecret
from swaig_wsgi.core.tokens import SigningKey, sign_token
from swaig_wsgi.middleware import AllowedHostsMiddleware
from swaig_wsgi.wsgi import JSONFormatter, LineFormatter, log_security

ALWAYS = ("event", "reason", "client", "request_id", "agent", "method", "path")


@pytest.mark.parametrize("environ", [{}, {"REMOTE_ADDR": ""}, {"REMOTE_ADDR": None}])
def test_what_is_missing_is_logged_as_a_dash(caplog, environ):
    log_security(environ, "event", "reason")
    (record,) = caplog.records
    assert (record.client, record.agent, record.method, record.path) == ("-",) * 4
    assert not {"tool", "call_id", "user", "detail", "repeated"} & record.__dict__.keys()


@pytest.mark.parametrize(
    "forged", ["1.2.3.4\nauth_accepted", "a\rb", "a\x1b[2Jb", "a\u2028b", "a\u202eb", "a\x00b"]
)
def test_attack_control_characters_cannot_forge_a_log_line(caplog, forged):
    keys = ("agent", "tool", "call_id", "claimed_call_id", "request_id")
    request = {f"swaig_wsgi.{key}": forged for key in keys}
    request.update(REMOTE_ADDR=forged, REQUEST_METHOD=forged, PATH_INFO=forged, SCRIPT_NAME=forged)
    request["swaig_wsgi.auth"] = AuthResult(method="basic", username=forged)
    log_security(request, forged, forged, forged)
    (record,) = caplog.records
    for text in (record.getMessage(), *(getattr(record, name) for name in ALWAYS)):
        assert text.isprintable()
    assert record.tool.isprintable()
    assert record.call_id.isprintable()
    assert record.user.isprintable()
    assert record.detail.isprintable()


def test_attack_values_cannot_forge_fields(caplog):
    path = '/x reason=ok client=1.2.3.4 "quoted" agent=x'
    request = environ(path=path, HTTP_X_REQUEST_ID="the-request")
    log_security({**request, "swaig_wsgi.agent": "front desk"}, "event", "reason")
    assert caplog.records[0].path == path
    assert caplog.records[0].getMessage() == (
        "event reason=reason client=192.0.2.7 request_id=the-request "
        'agent="front desk" method=GET '
        'path="/x reason=ok client=1.2.3.4 \\"quoted\\" agent=x"'
    )


@pytest.mark.parametrize("formatter", [LineFormatter(), JSONFormatter()])
@pytest.mark.parametrize(
    "forgery",
    [
        '/x" user=admin tool=pay outcome=ran z="',
        '/x\\" user=admin z="',
        "/x' user=admin z='",
        "/x user=admin",
        "/x\\",
        '/cookie: "pin": /?pin=',
    ],
)
def test_attack_no_formatter_lets_a_value_forge_a_field(caplog, formatter, forgery):
    request = environ(path=forgery)
    request.update({"swaig_wsgi.tool": forgery, "swaig_wsgi.call_id": forgery})
    log_security(request, "event", "reason", forgery)
    line = formatter.format(caplog.records[0])
    if line.startswith("{"):
        line = json.loads(line)["message"]
    fields = [each.partition("=")[0] for each in shlex.split(line.partition("event ")[2])]
    known = ["reason", "client", "request_id", "agent", "method", "path", "tool", "call_id"]
    assert fields[: len(known)] == known
    assert not {"user", "outcome", "z"} & {*fields}
    # Escaped once, so that a reader gets the value back.
    assert caplog.records[0].getMessage() in line


def test_attack_secrets_are_masked_in_the_path_and_in_names(caplog):
    password = "correct-horse-battery"
    BasicSecret("demo", password)
    token = sign_token(SigningKey(b"k" * 16), "pay", "call-1", 1_800_000_000, "0a" * 8)
    for secret in (password, token):
        path = f"/{secret}/token={secret}/demo:{secret}@h/swaig/__token/{secret}"
        names = ("tool", "call_id", "agent")
        request = {**environ(path=path), **{f"swaig_wsgi.{name}": secret for name in names}}
        log_security(request, "event", secret[:4], f"no function {secret}")
        assert caplog.records[-1].path == "/****/token=****/****@h/swaig/__token/****"
        assert caplog.records[-1].detail == "no function ****"
        assert (caplog.records[-1].tool, caplog.records[-1].call_id) == ("****", "****")
    for each in caplog.records:
        assert password not in str(vars(each))
        assert token not in str(vars(each))


def test_attack_no_part_of_a_token_is_left_where_a_value_is_cut(caplog):
    token = sign_token(SigningKey(b"k" * 16), "pay", "call-1", 1_800_000_000, "0a" * 8)
    log_security({"swaig_wsgi.tool": "x" * 100 + " " + token}, "event", "reason")
    log_security({"PATH_INFO": "/" + "x" * 500 + "/" + token}, "event", "other")
    assert token[:20] not in caplog.text
    log_security({"swaig_wsgi.tool": "x" * 127 + "\\"}, "event", "third")
    assert caplog.records[-1].tool == "x" * 127 + "..."


def test_percent_signs_are_not_formatted(caplog):
    log_security({"REMOTE_ADDR": "%s%(x)d%n"}, "%s", "%d")
    assert caplog.records[0].getMessage().startswith("%s reason=%d client=%s%(x)d%n ")


def test_every_record_names_the_request(caplog):
    request = environ(
        "POST",
        "/agent/swaig",
        query="__token=a.b.c",
        SCRIPT_NAME="/mount",
        HTTP_X_REQUEST_ID="1-to-8-9",
    )
    request.update(
        {
            "swaig_wsgi.agent": "desk",
            "swaig_wsgi.tool": "pay",
            "swaig_wsgi.call_id": "call-1",
            "swaig_wsgi.claimed_call_id": "call-2",
            "swaig_wsgi.auth": AuthResult(method="basic", username="platform"),
        }
    )
    log_security(request, "event", "reason", "more\ndetail", logging.ERROR)
    (record,) = caplog.records
    assert [getattr(record, name) for name in ALWAYS] == [
        "event",
        "reason",
        "192.0.2.7",
        "1-to-8-9",
        "desk",
        "POST",
        "/mount/agent/swaig",
    ]
    assert (record.tool, record.call_id, record.user) == ("pay", "call-1", "platform")
    assert record.detail == "more\\ndetail"
    assert record.levelno == logging.ERROR
    assert record.getMessage() == (
        "event reason=reason client=192.0.2.7 request_id=1-to-8-9 agent=desk method=POST "
        "path=/mount/agent/swaig tool=pay call_id=call-1 user=platform (more\\ndetail)"
    )


def test_attack_a_token_in_a_quoted_query_is_masked(caplog):
    request = environ(path="/swaig?__token=secret-token&call_id=1", query="__token=secret-token")
    log_security(request, "event", "reason")
    assert caplog.records[0].path == "/swaig?__token=****&call_id=1"
    assert "secret-token" not in caplog.text


@pytest.mark.parametrize(
    ("raw", "logged"),
    [
        ("/öffnen".encode().decode("latin-1"), "/öffnen"),
        ("/\xff", "/\\udcff"),
        ("/" + "a" * 5000, "/" + "a" * 511 + "..."),
        ("", "-"),
        ("/€", "/€"),
    ],
)
def test_paths_are_readable_and_bounded(caplog, raw, logged):
    log_security({"PATH_INFO": raw}, "event", "reason")
    assert caplog.records[0].path == logged


def test_attack_long_values_make_no_long_records(caplog):
    long = "x" * 100_000
    keys = ("agent", "tool", "call_id", "request_id")
    request = {f"swaig_wsgi.{key}": long for key in keys}
    request.update(REMOTE_ADDR=long, REQUEST_METHOD=long, PATH_INFO=long)
    log_security(request, long, long, long)
    assert len(caplog.records[0].getMessage()) < 4000


def test_a_record_without_a_layer_of_its_own_has_the_incoming_id(caplog):
    app = AllowedHostsMiddleware(lambda *args: [], ["a.example"])
    request(app, HTTP_HOST="evil.example", HTTP_X_REQUEST_ID="of-the-proxy")
    assert caplog.records[0].request_id == "of-the-proxy"


def test_two_records_of_one_request_have_one_id(caplog):
    request = environ()
    log_security(request, "event", "first")
    log_security(request, "event", "second")
    first, second = caplog.records
    assert first.request_id == second.request_id
