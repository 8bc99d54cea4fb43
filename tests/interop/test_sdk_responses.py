"""The statuses in the tables of differences are those of the installed releases, and ours."""

import http.client
import json
import logging
import re
import threading
import time
import wsgiref.simple_server
from base64 import b64encode
from urllib.parse import urlsplit

import flask
import pytest
import signalwire
import signalwire_swaig
import uvicorn
import werkzeug.test
from support.sdk_pages import SDK, SWAIG, rows

from swaig_wsgi import AgentApp

AUTH = ("user", "password")
BASIC = {"Authorization": "Basic " + b64encode(b"user:password").decode()}
JSON = {"Content-Type": "application/json"}
SCHEMA = {"count": {"type": "integer"}}


def broken(args, raw_data):
    raise RuntimeError("disk 7 failed")


def filled(app, **options):
    app.set_post_prompt("Summarize.")
    app.define_tool("count", "Count", SCHEMA, lambda args, raw_data: f"ran {args}", **options)
    app.define_tool("broken", "Fail", {}, broken, **options)
    app.define_tool("pay", "Pay", {}, lambda args, raw_data: raw_data["call_id"], secure=True)
    return app


def flask_application():
    application = flask.Flask("swaig")
    swaig = signalwire_swaig.SWAIG(application, auth=AUTH)

    @swaig.endpoint("Count", count=signalwire_swaig.SWAIGArgument("integer", "how many"))
    def count(count=0, meta_data=None, meta_data_token=None):
        return f"ran {count!r}"

    @swaig.endpoint("Fail")
    def broken(meta_data=None, meta_data_token=None):
        raise RuntimeError("disk 7 failed")

    return application


@pytest.fixture(scope="module")
def ports():
    """Serve one agent of each package, and return their ports."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    agent = filled(signalwire.AgentBase("bank", basic_auth=AUTH), secure=False)
    server = uvicorn.Server(uvicorn.Config(agent.get_app(), port=0, log_level="error"))
    threads = [threading.Thread(target=server.run)]
    wsgi = {
        "here": wsgiref.simple_server.make_server(
            "127.0.0.1", 0, filled(AgentApp("bank", basic_auth=AUTH)), handler_class=Quiet
        ),
        SWAIG: wsgiref.simple_server.make_server(
            "127.0.0.1", 0, flask_application(), handler_class=Quiet
        ),
    }
    threads += [threading.Thread(target=each.serve_forever) for each in wsgi.values()]
    for thread in threads:
        thread.start()
    while not server.started:
        assert threads[0].is_alive()
        time.sleep(0.01)
    (listening,) = server.servers[0].sockets
    found = {name: each.server_port for name, each in wsgi.items()}
    yield {**found, SDK: listening.getsockname()[1]}
    server.should_exit = True
    for each in wsgi.values():
        each.shutdown()
        each.server_close()
    for thread in threads:
        thread.join()


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


def send(port, method, path, body=None, headers=BASIC):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, {**headers, **(JSON if data else {})})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def row(page, label):
    (found,) = [each for each in rows(page) if each.cells[0] == label]
    return found.cells


CALL = {"function": "count", "call_id": "c"}
REQUESTS = [
    (SDK, "`GET /swaig`, `GET /post_prompt`", ("GET", "/swaig")),
    (SDK, "`GET /swaig`, `GET /post_prompt`", ("GET", "/post_prompt")),
    (SDK, "`HEAD /`", ("HEAD", "/")),
    (SDK, "unknown function", ("POST", "/swaig", {"function": "x"})),
    (SDK, "unknown path", ("GET", "/x/y")),
    (SDK, "body that is not JSON", ("POST", "/swaig", b"{")),
    (SDK, "body that is a list", ("POST", "/swaig", [1])),
    (SDK, '`"action": "get_signature"`', ("POST", "/swaig", {"action": "get_signature"})),
    (SWAIG, "request without credentials", ("POST", "/swaig", CALL, {})),
    (SWAIG, "`GET /swaig`", ("GET", "/swaig")),
    (SWAIG, "unknown function", ("POST", "/swaig", {"function": "x"})),
    (SWAIG, "request without a function", ("POST", "/swaig", {})),
    (SWAIG, "body that is not JSON", ("POST", "/swaig", b"{")),
    (SWAIG, "body that is a list", ("POST", "/swaig", [1])),
]
#: What the cells mean that begin with no status.
STATUSES = {"as GET": 200, "definitions": 200, "treated as empty": 400}


@pytest.mark.parametrize(("page", "label", "request_"), REQUESTS)
def test_statuses_are_as_listed(ports, page, label, request_):
    for name, cell in zip((page, "here"), row(page, label)[1:], strict=True):
        expected = re.match(r"\d{3}\b", cell)
        status, text = send(ports[name], *request_)
        if expected is None:
            (expected,) = [value for words, value in STATUSES.items() if cell.startswith(words)]
        else:
            expected = int(expected[0])
        assert status == expected, (name, text)
        for quoted in re.findall(r"`([^`]*'?x?'? not \w+)`", cell):
            assert quoted in text


@pytest.mark.parametrize("page", [SDK, SWAIG])
def test_responses_for_the_ai_are_as_listed(ports, page):
    wrong = {**CALL, "argument": {"parsed": [{"count": "many"}]}}
    raised = {"function": "broken", "call_id": "c"}
    assert row(page, "handler that raises")[1] == "the AI is told the exception's text"
    assert "disk 7 failed" in send(ports[page], "POST", "/swaig", raised)[1]
    assert "disk 7 failed" not in send(ports["here"], "POST", "/swaig", raised)[1]
    assert "ran" in send(ports[page], "POST", "/swaig", wrong)[1]
    assert "must be a whole number" in send(ports["here"], "POST", "/swaig", wrong)[1]


def test_large_bodies_are_as_listed(ports):
    _, theirs, ours = row(SDK, "body over 1 MiB")
    body = json.dumps({**CALL, "more": "x" * 2_000_000}).encode()
    assert theirs.startswith("accepted")
    assert send(ports[SDK], "POST", "/swaig", body)[0] == 200
    # In process: a client that still sends may lose a response over a socket.
    client = werkzeug.test.Client(AgentApp("bank", basic_auth=AUTH))
    response = client.post("/swaig", data=body, auth=AUTH, content_type="application/json")
    assert str(response.status_code) == ours[:3] == "413"


def test_arguments_that_cannot_be_read_are_as_listed(ports):
    unreadable = {**CALL, "argument": {"raw": "{'count': 1}"}}
    label = "`argument.raw` that is not JSON"
    assert row(SDK, label)[1] == "the handler runs without arguments"
    assert "ran {}" in send(ports[SDK], "POST", "/swaig", unreadable)[1]
    assert "ran" not in send(ports["here"], "POST", "/swaig", unreadable)[1]


def test_a_token_for_a_conversation_is_as_listed(ports):
    for name, call_id in ((SDK, "c"), ("here", "conversation")):
        _, text = send(ports[name], "POST", "/", {"call_id": "conversation"})
        functions = next(
            verb["ai"]["SWAIG"]["functions"]
            for verb in json.loads(text)["sections"]["main"]
            if "ai" in verb
        )
        url = urlsplit(
            next(each["web_hook_url"] for each in functions if each["function"] == "pay")
        )
        body = {"function": "pay", "call_id": "c", "conversation_id": "conversation"}
        _, text = send(ports[name], "POST", f"{url.path}?{url.query}", body)
        assert json.loads(text)["response"] == call_id
