"""OpenTelemetry traces, exported as the documentation shows, contain no secret."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, Status, StatusCode
from snippets import programs
from support.waiting import PATIENCE
from support.wsgi import Recorder, request

from swaig_wsgi.tracing import redacting_exporter

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tracing.md"
SECRET = "c2VjcmV0LXRva2Vu"
TARGETS = [
    f"/bank/swaig?__token={SECRET}",
    f"/bank/swaig?a=1&__token={SECRET}&b=2",
    f"/bank/swaig?%5F_token={SECRET}",
    f"/bank/swaig?__token={SECRET}&__token=other",
    f"/bank/swaig%3F__token={SECRET}",
    f"/bank/swaig%3Fpassword={SECRET}%20{SECRET}",
    f"/bank/swaig?a=1&password={SECRET}",
    f"/bank/post_prompt?__token={SECRET}#x",
    f"/?url=https%3A%2F%2Fx.example%2F%3F__token%3D{SECRET}",
    f"http://u:{SECRET}@localhost/bank/swaig?__token={SECRET}",
]
HEADERS = {
    "X-Api-Key": SECRET,
    "Cookie": f"sid={SECRET}",
    "Referer": f"https://u:{SECRET}@a.example/?__token={SECRET}",
    "X-Forwarded-Uri": f"/bank?__token={SECRET}",
    "X-Note": f"Bearer {SECRET}",
}
#: The page leaves the exporter to the reader. The handler does what must not leak.
PROGRAM = """
@agent.tool(secure=True)
def pay(amount: float) -> str:
    "Pay."
    with trace.get_tracer("handler").start_as_current_span("backend") as span:
        span.set_attribute("note", "https://u:{secret}@bank.example/?key={secret}")
        raise RuntimeError("refused: https://bank.example/?__token={secret}")
"""


@pytest.mark.parametrize("conventions", ["", "http", "http/dup"])
def test_attack_no_span_of_a_server_contains_a_secret(
    gunicorn: Any, tmp_path: Path, conventions: str
) -> None:
    (program,) = (snippet for snippet in programs(PAGE) if "opentelemetry" in snippet.code)
    lines = "ConsoleSpanExporter(formatter=lambda span: span.to_json(indent=None) + '\\n')"
    code = program.code.replace("ConsoleSpanExporter()", lines)
    (tmp_path / "traced.py").write_text(code + PROGRAM.format(secret=SECRET))
    server = gunicorn(
        "traced:app",
        *("-c", "python:swaig_wsgi.gunicorn", "-w2"),
        cwd=str(tmp_path),
        OTEL_SEMCONV_STABILITY_OPT_IN=conventions,
        OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST=".*",
        OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE=".*",
        OTEL_BSP_SCHEDULE_DELAY="100",
    )
    document = server.request("GET", "/bank?call_id=call-1").json
    (function,) = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
    url = urlsplit(function["web_hook_url"])
    body = {"function": "pay", "call_id": "call-1", "argument": {"parsed": [{"amount": 5}]}}
    failed = server.request("POST", f"{url.path}?{url.query}", body)
    assert "something went wrong" in failed.json["response"]
    for target in TARGETS:
        server.request("POST", target, {}, HEADERS)
    server.wait_for_log('"name": "backend"')
    for _ in range(2):
        server.request("GET", "/last?x=1")
    server.process.terminate()
    server.process.wait(PATIENCE)
    server.wait()  # Workers send the last spans before they stop.
    # The traceback of the handler is logged in full lines; the spans are lines of JSON.
    spans = [json.loads(line) for line in server.lines if line.startswith('{"name"')]
    exported = json.dumps(spans)
    assert SECRET not in exported
    assert url.query.partition("__token=")[2] not in exported
    assert re.search("p.ss.w", exported) is None
    kinds = [span["kind"] for span in spans]
    assert kinds.count("SpanKind.SERVER") == len(TARGETS) + 4
    old, new = '"http.target": "/bank/swaig?__token=****"', '"url.query": "__token=****"'
    assert (old in exported) is (conventions != "http")
    assert (new in exported) is (conventions != "")
    for name in ("authorization", "cookie", "x_api_key"):
        assert f'"http.request.header.{name}": ["****"]' in exported
    assert '"http.request.header.x_note": ["Bearer ****"]' in exported
    by_name = {span["name"]: span for span in spans}
    tool, backend = by_name["execute_tool pay"], by_name["backend"]
    assert tool["attributes"]["swaig.outcome"] == "failed"
    assert backend["parent_id"] == tool["context"]["span_id"]
    parents = [span for span in spans if span["context"]["span_id"] == tool["parent_id"]]
    assert [span["kind"] for span in parents] == ["SpanKind.SERVER"]


@pytest.mark.parametrize("propagators", ["tracecontext,baggage", "baggage"])
def test_the_operator_decides_whether_a_client_continues_a_trace(
    gunicorn: Any, tmp_path: Path, propagators: str
) -> None:
    (program,) = (snippet for snippet in programs(PAGE) if "opentelemetry" in snippet.code)
    sampler = "ParentBased(TraceIdRatioBased(0))"
    code = program.code.replace("TracerProvider()", f"TracerProvider(sampler={sampler})")
    imports = "from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased\n"
    (tmp_path / "traced.py").write_text(imports + code)
    server = gunicorn("traced:app", cwd=str(tmp_path), OTEL_PROPAGATORS=propagators)
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    fields = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    assert server.request("GET", "/bank", None, fields, auth=None).status == 401
    server.process.terminate()
    server.process.wait(PATIENCE)
    server.wait()
    assert (trace_id in server.log) is (propagators != "baggage")


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    masking = redacting_exporter(exporter, secret_headers=("X-Desk",))
    provider.add_span_processor(SimpleSpanProcessor(masking))
    return provider


def only(exporter: InMemorySpanExporter) -> Any:
    (span,) = exporter.get_finished_spans()
    return span


def test_attack_no_part_of_a_span_keeps_a_secret(
    exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    url = f"https://u:{SECRET}@a.example/x?__token={SECRET}&q=1"
    link = Link(SpanContext(1, 2, is_remote=True), {"url": url})
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span(f"GET {url}", links=[link]) as span:
        span.set_attributes(
            {
                "http.url": url,
                "url.full": url,
                "url.query": f"token={SECRET}",
                "query": f"pin={SECRET}",
                "net.host.name": f"u:{SECRET}@host",
                "db.password": SECRET,
                "http.request.header.authorization": [f"Basic {SECRET}"],
                "http.request.header.x_desk": [SECRET],
                "http.response.header.location": [url, url],
                "statement": f'{{"password": "{SECRET}", "n": 1}}',
                "multi": f"first\nAuthorization: Bearer {SECRET}\nlast",
                "long": "x" * 10_000 + f" Bearer {SECRET}",
            }
        )
        span.add_event(f"sent {url}", {"body": f"password='{SECRET}'"})
        span.record_exception(ValueError(f"{url} password='{SECRET}'"))
        span.set_status(Status(StatusCode.ERROR, f"ValueError: {url}"))
    span = only(exporter)
    assert SECRET not in span.to_json()
    masked = "https://****@a.example/x?__token=****&q=1"
    assert span.name == f"GET {masked}"
    assert span.attributes["http.url"] == span.attributes["url.full"] == masked
    assert span.attributes["url.query"] == "token=****"
    assert span.attributes["http.request.header.authorization"] == ("****",)
    assert tuple(span.attributes["http.response.header.location"]) == (masked, masked)
    assert span.events[1].name == "exception"
    assert span.events[1].attributes["exception.type"] == "ValueError"
    assert "ValueError" in span.events[1].attributes["exception.stacktrace"]
    assert span.status.description == f"ValueError: {masked}"
    assert span.links[0].attributes["url"] == masked


def test_everything_else_is_exported_unchanged(
    exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    plain = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(plain))
    tracer = provider.get_tracer("test", "1.2")
    with tracer.start_as_current_span("outer"):
        with tracer.start_as_current_span("POST /a b\\c") as span:
            span.set_attributes(
                {
                    "http.target": "/a%20b?x=1&y=2",
                    "http.status_code": 200,
                    "code.file.path": "C:\\new\\x.py",
                    "text": "two\nlines = 'x'",
                    "tokens": 12,
                    "flags": [True, False],
                    "floats": (0.5,),
                    "user_agent.original": "Mozilla/5.0 (X11; Linux; rv:1) a/b",
                }
            )
            span.add_event("cached", {"hits": 3})
        assert exporter.get_finished_spans()[0].to_json() == plain.get_finished_spans()[0].to_json()
    assert exporter.get_finished_spans()[0].instrumentation_scope.version == "1.2"


def test_a_span_that_cannot_be_masked_is_not_exported(
    exporter: InMemorySpanExporter,
    provider: TracerProvider,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(text: str) -> str:
        if "bad" in text:
            raise RuntimeError(text)
        return text

    monkeypatch.setattr("swaig_wsgi.tracing.redact_text", fail)
    for name in ("bad?", "good", "bad too"):
        provider.get_tracer("test").start_span(name).end()
    assert only(exporter).name == "good"
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.ERROR, None)
    assert record.getMessage().startswith("a span was not exported")


def test_the_exporter_is_flushed_and_shut_down(exporter: InMemorySpanExporter) -> None:
    masking = redacting_exporter(exporter)
    assert masking.force_flush() is True
    masking.shutdown()
    assert exporter._stopped


def test_attack_an_exception_of_the_application_shows_no_secret(
    exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        raise RuntimeError(f"GET /?__token={SECRET} failed, password='{SECRET}'")

    with pytest.raises(RuntimeError):
        request(OpenTelemetryMiddleware(app, tracer_provider=provider), query=f"__token={SECRET}")
    span = only(exporter)
    assert SECRET not in span.to_json()
    assert span.events[0].name == "exception"


def test_the_wrapped_application_gets_the_request_as_it_is(provider: TracerProvider) -> None:
    app = Recorder()
    request(OpenTelemetryMiddleware(app, tracer_provider=provider), query=f"__token={SECRET}")
    assert app.environs[0]["QUERY_STRING"] == f"__token={SECRET}"
