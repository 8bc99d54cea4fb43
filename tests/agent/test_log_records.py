"""Log records of an agent: what they contain."""

from __future__ import annotations

import pytest
from support.wsgi import request

from swaig_wsgi import AgentApp, Settings
from swaig_wsgi.middleware import BodySizeMiddleware


def test_the_detail_that_the_client_gets_is_logged(caplog):
    app = BodySizeMiddleware(lambda *args: [], 10)
    response = request(app, "POST", CONTENT_LENGTH="ten", validate=False)
    assert response.json["error"] == f"Bad request: {caplog.records[0].detail}"
    agent = AgentApp("desk", basic_auth=("user", "a-long-password"), settings=Settings())
    for body, what in [
        (b"{", "body is not JSON"),
        (b"", "body is empty"),
        (b'{"function": 1}', "function must be a non-empty string"),
        (b'{"function": "f", "call_id": 1}', "call_id must be a string"),
    ]:
        caplog.clear()
        response = request(agent, "POST", "/swaig", body=body, auth=("user", "a-long-password"))
        assert response.json == {"error": f"Bad request: {what}"}
        (record,) = caplog.records
        assert record.detail == what
        assert record.getMessage().endswith(f"({what})")


@pytest.mark.parametrize(
    ("options", "event"),
    [
        ({"HTTP_HOST": "evil.example"}, "host_refused"),
        ({"auth": None}, "auth_refused"),
        ({"CONTENT_LENGTH": "x"}, "body_refused"),
        ({"path": "/nothing"}, "request_refused"),
    ],
)
def test_refusals_name_the_agent_whichever_layer_refuses(caplog, options, event):
    settings = Settings(allowed_hosts=["127.0.0.1"])
    agent = AgentApp("desk", basic_auth=("user", "a-long-password"), settings=settings)
    options = {"auth": ("user", "a-long-password"), "path": "/", **options}
    response = request(agent, "POST", validate=False, **options)
    (record,) = caplog.records
    assert (record.event, record.agent) == (event, "desk")
    assert record.request_id == response.headers["X-Request-Id"]
    assert (record.method, record.path) == ("POST", options["path"])
    assert getattr(record, "user", None) == (
        None if event in ("auth_refused", "host_refused") else "user"
    )


def test_a_refused_tool_call_names_tool_and_call(caplog):
    agent = AgentApp("desk", basic_auth=("user", "a-long-password"), settings=Settings())
    agent.define_tool("pay", "Pay.", {}, lambda args, raw: "paid", secure=True)
    call = {"function": "pay", "call": {"call_id": "call-7"}}
    request(agent, "POST", "/swaig", body=call, auth=("user", "a-long-password"))
    record = next(each for each in caplog.records if each.name == "swaig_wsgi.security")
    assert (record.event, record.reason) == ("tool_token_refused", "missing")
    assert (record.tool, record.call_id, record.user) == ("pay", "call-7", "user")
