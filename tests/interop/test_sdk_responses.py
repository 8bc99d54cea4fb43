"""The statuses in the tables of differences are those of the installed releases, and ours."""

import contextlib
import http.client
import json
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
from signalwire.core.security.session_manager import SessionManager
from support.sdk_pages import SDK, SWAIG, rows

import swaig_wsgi
from swaig_wsgi import AgentApp
from swaig_wsgi.testing import AgentClient

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


def rendered(agent):
    """Return the document as text."""
    with served(agent) as port:
        user, password, *_ = agent.get_basic_auth_credentials()
        basic = b64encode(f"{user}:{password}".encode()).decode()
        return send(port, "GET", "/", headers={"Authorization": f"Basic {basic}"})[1]


@contextlib.contextmanager
def served(application):
    """Serve an agent of the SDK with uvicorn, and any other application with wsgiref."""
    if isinstance(application, signalwire.AgentBase):
        config = uvicorn.Config(application.get_app(), port=0, log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        (listening,) = server.servers[0].sockets
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()
    else:
        with wsgiref.simple_server.make_server(
            "127.0.0.1", 0, application, handler_class=Quiet
        ) as wsgi:
            thread = threading.Thread(target=wsgi.serve_forever)
            thread.start()
            try:
                yield wsgi.server_port
            finally:
                wsgi.shutdown()
                thread.join()


@pytest.fixture(scope="module")
def ports():
    """Serve one agent of each package, and return their ports."""
    agents = {
        SDK: filled(signalwire.AgentBase("bank", basic_auth=AUTH), secure=False),
        SWAIG: flask_application(),
        "here": filled(AgentApp("bank", basic_auth=AUTH)),
    }
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(served(agent)) for name, agent in agents.items()}


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


def test_defaults_are_as_listed(monkeypatch):
    for name in ("SWML_BASIC_AUTH_USER", "SWML_BASIC_AUTH_PASSWORD", "SIGNALWIRE_SWAIG_SECRET"):
        monkeypatch.delenv(name, raising=False)
    theirs, ours = signalwire.AgentBase("bank"), AgentApp("bank")
    assert theirs.get_basic_auth_credentials()[0] == "signalwire"
    assert ours.get_basic_auth_credentials()[0] == "bank"
    for agent, secure in ((theirs, True), (ours, False)):
        agent.define_tool("look", "Look", {}, lambda args, raw_data: "Seen.")
        assert ("__token" in rendered(agent)) == secure
    theirs.define_tool("typo", "x", {}, lambda args, raw_data: "", secured=True)
    assert '"secured": true' in rendered(theirs)
    with pytest.raises(TypeError, match="no option 'secured'"):
        ours.define_tool("typo", "x", {}, lambda args, raw_data: "", secured=True)
    assert '"pom": []' in rendered(theirs)
    assert '"You are bank, a helpful AI assistant."' in rendered(ours)
    assert SessionManager().token_expiry_secs == 900
    assert swaig_wsgi.SessionManager().token_expiry_secs == 3600


@pytest.mark.parametrize(("library", "times"), [(signalwire.AgentBase, 2), (AgentApp, 1)])
def test_how_often_a_dynamic_configuration_is_called_is_as_listed(library, times):
    calls = []
    agent = library("bank", basic_auth=AUTH)
    agent.define_tool("count", "Count", {}, lambda args, raw_data: "ran", secure=False)
    agent.set_dynamic_config_callback(lambda *arguments: calls.append(arguments))
    with served(agent) as port:
        assert send(port, "GET", "/")[0] == 200
        assert "ran" in send(port, "POST", "/swaig", CALL)[1]
    assert len(calls) == times


def test_responses_to_summaries_are_as_listed(ports):
    for name, expected in ((SDK, {"success": True}), ("here", {"status": "ok"})):
        _, text = send(ports[name], "POST", "/", {"call_id": "c"})
        (ai,) = [verb["ai"] for verb in json.loads(text)["sections"]["main"] if "ai" in verb]
        url = urlsplit(ai["post_prompt_url"])
        body = {"call_id": "c", "post_prompt_data": {"raw": "Done."}}
        status, text = send(ports[name], "POST", f"{url.path}?{url.query}", body)
        assert (status, json.loads(text)) == (200, expected)


def test_a_finished_data_map_of_the_sdk_becomes_a_tool():
    weather = signalwire.DataMap("weather").description("Tell the weather")
    weather = weather.parameter("city", "string", "Where", required=True)
    weather = weather.webhook("GET", "https://weather.example/${args.city}")
    definition = weather.output(signalwire.FunctionResult("It rains.")).to_swaig_function()
    agent = AgentApp("bank", basic_auth=AUTH).register_swaig_function(definition)
    (tool,) = AgentClient(agent).tools
    assert tool["data_map"] == definition["data_map"]
    assert tool["parameters"]["required"] == ["city"]
