"""Time rendering, and requests through the whole stack in one process.

Run by hand: ``python tests/benchmarks/bench_agent.py``. The candidates take turns in each round;
each figure is the median over the rounds.
"""

from __future__ import annotations

import io
import json
import logging
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from werkzeug.wrappers import Request, Response

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.wsgi import environ

from swaig_wsgi import AgentApp

ROUNDS = 30


def compare(times: int, **candidates: Callable[[], Any]) -> dict[str, float]:
    """Return the microseconds that a call of each candidate takes."""
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
    """Read JSON and respond with JSON, which is the least that a Werkzeug handler can do."""
    body = json.loads(request.get_data())
    return Response(json.dumps({"response": body["function"]}), mimetype="application/json")


def end_to_end() -> None:
    agent = agent_with(10)
    token = agent.sessions.generate_token("tool_0", "call-1")
    call = {"function": "tool_0", "call_id": "call-1", "argument": {"parsed": [{"amount": 5}]}}
    body = json.dumps(call).encode()

    def request(app: Any, path: str, query: str, body: bytes) -> Callable[[], None]:
        given = environ("POST", path, query=query, body=body, auth=("admin", "hunter2"))
        given.update({"CONTENT_TYPE": "application/json", "wsgi.input_terminated": True})

        def once() -> None:
            response = app({**given, "wsgi.input": io.BytesIO(body)}, start_response)
            b"".join(response)

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
    end_to_end()
