import logging

import pytest

from swaig_wsgi.wsgi import log_security


@pytest.mark.parametrize("environ", [{}, {"REMOTE_ADDR": ""}, {"REMOTE_ADDR": None}])
def test_a_missing_client_address_is_logged_as_a_dash(caplog, environ):
    log_security(environ, "event", "reason")
    assert caplog.records[0].client == "-"


@pytest.mark.parametrize(
    "forged", ["1.2.3.4\nauth_accepted", "a\rb", "a\x1b[2Jb", "a\u2028b", "a\u202eb", "a\x00b"]
)
def test_control_characters_cannot_forge_a_log_line(caplog, forged):
    log_security({"REMOTE_ADDR": forged}, forged, forged)
    (record,) = caplog.records
    for text in (record.getMessage(), record.event, record.reason, record.client):
        assert text.isprintable()


def test_percent_signs_are_not_formatted(caplog):
    log_security({"REMOTE_ADDR": "%s%(x)d%n"}, "%s", "%d")
    assert caplog.records[0].getMessage() == "%s reason=%d client=%s%(x)d%n"


def test_every_record_has_event_reason_and_client(caplog):
    log_security({"REMOTE_ADDR": "192.0.2.7"}, "event", "reason", "more\ndetail", logging.ERROR)
    (record,) = caplog.records
    assert (record.event, record.reason, record.client) == ("event", "reason", "192.0.2.7")
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "event reason=reason client=192.0.2.7 (more\\ndetail)"
