"""Tool calls are spans where OpenTelemetry is used, and no failure of it affects them."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from support.waiting import PATIENCE
from support.wsgi import request

from swaig_wsgi import AgentApp, Settings
from swaig_wsgi.agent import spans
from swaig_wsgi.stores import MemoryStore, StoreError
from swaig_wsgi.tracing import redacting_exporter

AUTH = ("user", "a-long-password")
SECRET = "the-secret-of-the-handler"


def inner(name: str) -> None:
    """Record a span, as the client of a backend would."""
    with trace.get_tracer("handler").start_as_current_span(name):
        pass


def look(args: Any, raw: Any) -> str:
    inner("sync")
    return f"Seen {SECRET}."


async def look_async(args: Any, raw: Any) -> str:
    inner("async")
    await asyncio.wait_for(asyncio.to_thread(inner, "thread"), PATIENCE)
    return "Seen."


def fail(args: Any, raw: Any) -> str:
    raise RuntimeError(SECRET)


class Failing(MemoryStore):
    """A store that no longer adds."""

    def add(self, *args: Any) -> bool:
        raise StoreError("down")


@pytest.fixture
def agent() -> AgentApp:
    agent = AgentApp("desk", basic_auth=AUTH, settings=Settings())
    agent.define_tool("look", "Look.", {"x": {"type": "string"}}, look)
    agent.define_tool("look_async", "Look.", {}, look_async)
    agent.define_tool("plain", "Look.", {}, lambda args, raw: "Seen.")
    agent.define_tool("fail", "Fail.", {"x": {"type": "string"}}, fail)
    agent.define_tool("pay", "Pay.", {}, lambda args, raw: "Paid.", secure=True, once=60)
    agent.define_tool("beep", "Beep.", {}, lambda args, raw: "Beep.", secure=True, max_runs=1)
    return agent


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Return a function that returns the spans exported so far."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(redacting_exporter(exporter)))
    # The global provider can be set once only.
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return exporter.get_finished_spans


def call(app: Any, name: Any, *, token: str = "", **arguments: Any) -> Any:
    body = {"function": name, "call_id": "call-1", "argument": {"parsed": [arguments]}}
    query = f"__token={token}" if token else ""
    return request(
        app,
        *("POST", "/swaig"),
        body=body,
        query=query,
        auth=AUTH,
        HTTP_X_REQUEST_ID="the-request",
    )


def tool_span(spans: Any) -> Any:
    (span,) = (span for span in spans if span.name.startswith("execute_tool"))
    return span


def test_a_tool_call_is_a_span_with_the_facts_of_its_record(agent, exported):
    assert call(agent, "look").json == {"response": f"Seen {SECRET}."}
    span = tool_span(exported())
    assert span.name == "execute_tool look"
    assert span.parent is None
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes) == {
        "swaig.agent": "desk",
        "swaig.tool": "look",
        "swaig.outcome": "ran",
        "swaig.call_id": "call-1",
        "swaig.request_id": "the-request",
    }


@pytest.mark.parametrize(
    ("tool", "names"), [("look", {"sync"}), ("look_async", {"async", "thread"})]
)
@pytest.mark.parametrize("loop", [False, True])
def test_it_is_the_child_of_the_server_span_and_the_parent_of_the_handlers(
    agent, exported, tool, names, loop
):
    app = OpenTelemetryMiddleware(agent)

    async def call_in_loop() -> Any:
        return call(app, tool)

    response = asyncio.run(call_in_loop()) if loop else call(app, tool)
    assert response.status == 200
    found = exported()
    span = tool_span(found)
    (server,) = (each for each in found if each.kind is trace.SpanKind.SERVER)
    assert span.parent.span_id == server.context.span_id
    inside = [each for each in found if each not in (span, server)]
    assert {each.name for each in inside} == names
    assert {each.parent.span_id for each in inside} == {span.context.span_id}
    assert {each.context.trace_id for each in found} == {server.context.trace_id}
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_failed_call_is_an_error_without_arguments_or_messages(agent, exported):
    call(OpenTelemetryMiddleware(agent), "fail", x="an-argument")
    span = tool_span(exported())
    assert span.attributes["swaig.outcome"] == span.attributes["error.type"] == "failed"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert span.events == ()
    for each in exported():
        assert SECRET not in each.to_json()
        assert "an-argument" not in each.to_json()


def test_results_and_arguments_are_in_no_span(agent, exported):
    call(OpenTelemetryMiddleware(agent), "look", x="an-argument")
    assert len(exported()) == 3
    for each in exported():
        assert SECRET not in each.to_json()
        assert "an-argument" not in each.to_json()


def test_every_outcome_is_in_its_span(agent, exported):
    tokens = {name: agent.sessions.generate_token(name, "call-1") for name in ("pay", "beep")}
    for name in ("pay", "pay", "beep", "beep"):
        call(agent, name, token=tokens[name])
    call(agent, "pay")
    call(agent, "look", x=1)
    call(agent, "fail")
    call(agent, "invented")
    call(agent, 5)
    found = [(each.name, each.attributes["swaig.outcome"]) for each in exported()]
    assert found == [
        ("execute_tool pay", "ran"),
        ("execute_tool pay", "repeated"),
        ("execute_tool beep", "ran"),
        ("execute_tool beep", "limited"),
        ("execute_tool pay", "refused"),
        ("execute_tool look", "invalid_arguments"),
        ("execute_tool fail", "failed"),
        ("execute_tool -", "refused"),
        ("execute_tool -", "refused"),
    ]
    errors = [each.name for each in exported() if not each.status.is_unset]
    assert errors == ["execute_tool fail"]


def test_an_unknown_outcome_is_an_error(exported):
    agent = AgentApp("desk", basic_auth=AUTH, settings=Settings())
    agent._own_store = Failing()
    agent.define_tool("pay", "Pay.", {}, lambda args, raw: "Paid.", secure=True, once=60)
    agent._move("/")
    call(agent, "pay", token=agent.sessions.generate_token("pay", "call-1"))
    span = tool_span(exported())
    assert span.attributes["swaig.outcome"] == span.attributes["error.type"] == "unknown"
    assert span.status.status_code is StatusCode.ERROR


def test_attack_an_invented_tool_names_no_span(agent, exported):
    for name in ("invented", "look\n", "", None, ["look"]):
        call(agent, name)
    assert {each.name for each in exported()} == {"execute_tool -"}
    assert {each.attributes["swaig.tool"] for each in exported()} == {"-"}


def raising(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("OpenTelemetry is broken")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (trace, "get_tracer"),
        (TracerProvider, "get_tracer"),
        (trace, "set_span_in_context"),
        (context, "attach"),
        (context, "detach"),
        (Span, "set_attribute"),
        (Span, "set_status"),
        (Span, "end"),
    ],
)
@pytest.mark.parametrize("tool", ["plain", "fail"])
def test_a_broken_opentelemetry_breaks_no_call(
    agent, exported, monkeypatch, caplog, owner, name, tool
):
    monkeypatch.setattr(spans, "_failure_logged", False)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, raising)
        for _ in range(2):
            response = call(agent, tool)
            assert response.status == 200
            assert ("Seen." in response.json["response"]) is (tool == "plain")
    logged = [each for each in caplog.records if "OpenTelemetry failed" in each.getMessage()]
    assert len(logged) == (0 if (name, tool) == ("set_status", "plain") else 1)
    assert {each.levelno for each in logged} <= {logging.ERROR}


@pytest.mark.parametrize("module", [None, ModuleType("opentelemetry.trace")])
def test_an_opentelemetry_that_is_not_imported_completely_breaks_no_call(
    agent, monkeypatch, module
):
    monkeypatch.setattr(spans, "_failure_logged", True)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)
    assert call(agent, "plain").json == {"response": "Seen."}


def run_program(code: str, argument: str) -> Any:
    """Return the JSON that a program writes in its last line."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, argument],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


GEVENT = """
from gevent import monkey
monkey.patch_all()
import asyncio, json, sys
import gevent
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
sys.path.insert(0, sys.argv[1])
from support.wsgi import request
from swaig_wsgi import AgentApp, Settings

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

async def look(args, raw):
    with trace.get_tracer("handler").start_as_current_span(args["x"]):
        await asyncio.sleep(0.05)

agent = AgentApp("desk", basic_auth=("user", "a-long-password"), settings=Settings())
agent.define_tool("look", "Look.", {"x": {"type": "string"}}, look)

def call(x):
    body = {"function": "look", "call_id": x, "argument": {"parsed": [{"x": x}]}}
    auth = ("user", "a-long-password")
    assert request(agent, "POST", "/swaig", body=body, auth=auth).status == 200

gevent.joinall([gevent.spawn(call, str(each)) for each in range(5)], raise_error=True)
spans = {each.context.span_id: each for each in exporter.get_finished_spans()}
print(json.dumps(sorted(
    [each.name, spans[each.parent.span_id].attributes["swaig.call_id"]]
    for each in spans.values() if each.parent is not None
)))
"""


def test_greenlets_do_not_mix_up_their_spans():
    output = run_program(GEVENT, str(Path(__file__).parents[1]))
    assert output == [[str(each), str(each)] for each in range(5)]


PROGRAM = """
import json, sys
if sys.argv[1] == "missing":
    sys.modules["opentelemetry"] = None  # an import raises ImportError
from wsgiref.util import setup_testing_defaults
from swaig_wsgi import AgentApp, Settings
import io
agent = AgentApp("desk", basic_auth=("user", "a-long-password"), settings=Settings())
agent.define_tool("look", "Look.", {}, lambda args, raw: "Seen.")
body = json.dumps({"function": "look"}).encode()
environ = {
    "REQUEST_METHOD": "POST",
    "PATH_INFO": "/swaig",
    "QUERY_STRING": "",
    "REMOTE_ADDR": "192.0.2.7",
    "CONTENT_TYPE": "application/json",
    "CONTENT_LENGTH": str(len(body)),
    "HTTP_AUTHORIZATION": "Basic dXNlcjphLWxvbmctcGFzc3dvcmQ=",
    "wsgi.input": io.BytesIO(body),
}
setup_testing_defaults(environ)
response = b"".join(agent(environ, lambda *args: None))
imported = sorted(name for name, module in sys.modules.items()
                  if name.startswith("opentelemetry") and module is not None)
print(json.dumps([json.loads(response), imported, "swaig_wsgi.tracing" in sys.modules]))
"""


@pytest.mark.parametrize("state", ["installed", "missing"])
def test_a_tool_call_imports_no_opentelemetry(state):
    assert run_program(PROGRAM, state) == [{"response": "Seen."}, [], False]
