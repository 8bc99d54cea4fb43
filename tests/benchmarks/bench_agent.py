"""What an agent costs: rendering, and the whole way of a request in one process.

Run by hand: ``python tests/benchmarks/bench_agent.py``. Each figure is a median over rounds in
which what is compared takes turns.
"""

from __future__ import annotations

import io
import json
import logging
import statistics
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Request, Response

from swaig_wsgi import AgentApp

ROUNDS = 30


def compare(times: int, **candidates: Callable[[], Any]) -> dict[str, float]:
    """Return microseconds a call of each candidate."""
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS):
        for name, candidate in candidates.items():
            start = time.perf_counter()
            for _ in range(times):
                candidate()
            taken[name].append((time.perf_counter() - start) / times * 1e6)
    return {name: statistics.median(each) for name, each in taken.items()}


def agent_with(tools: int) -> AgentApp:
    agent = AgentApp("bench", basic_auth=("admin", "hunter2"), secret_key="k" * 32)
    agent.prompt_add_section("Role", "You help callers.", bullets=["brief", "polite"])
    parameters = {
        "amount": {"type": "number", "description": "How much"},
        "account": {"type": "string", "description": "To whom"},
    }
    for number in range(tools):
        agent.define_tool(f"tool_{number}", "Do it", parameters, handler, secure=True)
    return agent


def handler(args: dict[str, Any], raw_data: dict[str, Any]) -> str:
    return "Done."


def rendering() -> None:
    for tools in (1, 10, 100, 1000):
        agent = agent_with(tools)
        document = agent.render_swml("call-1", base_url="https://x.example")
        found = compare(
            max(1, 300 // tools),
            render_and_dump=lambda a=agent: json.dumps(
                a.render_swml("call-1", base_url="https://x.example")
            ),
            dump=lambda d=document: json.dumps(d),
            sign=lambda a=agent, n=tools: [
                a.sessions.generate_token("tool_0", "call-1") for _ in range(n)
            ],
        )
        ratio = found["render_and_dump"] / (found["dump"] + found["sign"])
        print(
            f"{tools:5} secure tools: {found['render_and_dump']:8.0f} µs, "
            f"{ratio:.2f} x (json.dumps {found['dump']:.0f} + signatures {found['sign']:.0f})"
        )


@Request.application
def plain(request: Request) -> Response:
    """Read JSON and answer JSON: the least that a Werkzeug handler can do."""
    body = json.loads(request.get_data())
    return Response(json.dumps({"response": body["function"]}), mimetype="application/json")


def whole_way() -> None:
    agent = agent_with(10)
    token = agent.sessions.generate_token("tool_0", "call-1")
    call = {"function": "tool_0", "call_id": "call-1", "argument": {"parsed": [{"amount": 5}]}}
    body = json.dumps(call).encode()
    basic = "Basic " + b64encode(b"admin:hunter2").decode()

    def request(app: Any, path: str, query: str, body: bytes) -> Callable[[], None]:
        def once() -> None:
            environ = {
                "REQUEST_METHOD": "POST",
                "SCRIPT_NAME": "",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "SERVER_NAME": "127.0.0.1",
                "SERVER_PORT": "8000",
                "SERVER_PROTOCOL": "HTTP/1.1",
                "HTTP_HOST": "127.0.0.1:8000",
                "HTTP_AUTHORIZATION": basic,
                "CONTENT_TYPE": "application/json",
                "CONTENT_LENGTH": str(len(body)),
                "REMOTE_ADDR": "127.0.0.1",
                "wsgi.url_scheme": "http",
                "wsgi.input": io.BytesIO(body),
                "wsgi.input_terminated": True,
            }
            answer = app(environ, start_response)
            b"".join(answer)

        return once

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        assert status.startswith("200"), status
        return lambda data: None

    found = compare(
        200,
        plain=request(plain, "/swaig", "", body),
        call=request(agent, "/swaig", f"__token={token}", body),
        fetch=request(agent, "/", "", b'{"call_id": "call-1"}'),
    )
    for name, label in (
        ("plain", "plain Werkzeug handler"),
        ("call", "secured tool call"),
        ("fetch", "document with 10 secure tools"),
    ):
        print(f"{label:30} {found[name]:7.1f} µs, {found[name] / found['plain']:.2f} x plain")


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    rendering()
    whole_way()
