"""OpenTelemetry traces, with the span processor of the documentation, contain no token."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from snippets import programs

PAGE = Path(__file__).resolve().parent.parent / "docs" / "urls.md"
#: The documentation leaves the exporter to the reader; this one writes to standard output.
EXPORTER = """
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
exporter = ConsoleSpanExporter(formatter=lambda span: span.to_json(indent=None) + "\\n")
provider.add_span_processor(SimpleSpanProcessor(exporter))
"""
SECRET = "c2VjcmV0LXRva2Vu"
TARGETS = [
    f"/swaig?__token={SECRET}",
    f"/swaig?a=1&__token={SECRET}&b=2",
    f"/swaig?%5F_token={SECRET}",
    f"/swaig?__token={SECRET}&__token=other",
    f"/swaig%3F__token={SECRET}",
    f"/post_prompt?__token={SECRET}#x",
    f"/?url=https%3A%2F%2Fx.example%2F%3F__token%3D{SECRET}",
    f"http://u:{SECRET}@localhost/swaig?__token={SECRET}",
]


@pytest.mark.parametrize("conventions", ["", "http", "http/dup"])
def test_attack_no_span_contains_a_token(gunicorn: Any, tmp_path: Path, conventions: str) -> None:
    (program,) = [snippet for snippet in programs(PAGE) if "opentelemetry" in snippet.code]
    (tmp_path / "traced.py").write_text(program.code + EXPORTER)
    server = gunicorn("traced:app", cwd=str(tmp_path), OTEL_SEMCONV_STABILITY_OPT_IN=conventions)
    for target in TARGETS:
        server.request("POST", target, {})
    server.request("GET", "/last?x=1")
    server.wait_for_log('"name": "GET /last"')
    assert SECRET not in server.log
    assert len(re.findall('"kind": "SpanKind.SERVER"', server.log)) == len(TARGETS) + 1
    old, new = '"http.target": "/swaig?__token=****"', '"url.query": "__token=****"'
    assert (old in server.log) is (conventions != "http")
    assert (new in server.log) is (conventions != "")
