"""The requests that the benchmarks compare, and the applications that serve them in one process.

``plain`` is what an author would write with Werkzeug and no security: a map of URLs, the body by
``Request.get_json()``, a ``Response``. ``agent`` does the same job behind all layers.
"""

from __future__ import annotations

import io
import json
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from werkzeug.middleware.proxy_fix import ProxyFix

if __package__ != "benchmarks":  # run as a script, or imported by one
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from benchmarks.plain import handler, plain
from support.wsgi import environ

from swaig_wsgi import AgentApp, harden
from swaig_wsgi.config import Settings

HOST = "agent.example.com"
USER, PASSWORD = "admin", "correct horse battery staple"
CALL_ID = "0b7c1d4e-9a3f-4c52-8f6b-1234567890ab"
PROXY = "10.0.0.1"
PARAMETERS = {
    "amount": {"type": "number", "description": "How much"},
    "account": {"type": "string", "description": "To whom"},
}

App = Callable[..., Iterable[bytes]]
Call = Callable[[], "tuple[str, bytes]"]


def agent_with(secure: int = 5, others: int = 5, **settings: Any) -> AgentApp:
    """Return an agent with as many tools, and the layers of `settings`."""
    agent = AgentApp(
        "bench",
        basic_auth=(USER, PASSWORD),
        secret_key="k" * 32,
        settings=Settings(**settings),
    )
    agent.prompt_add_section("Role", "You help callers.", bullets=["brief", "polite"])
    for number in range(secure + others):
        name = f"tool_{number}"
        agent.define_tool(name, "Send money", PARAMETERS, handler, secure=number < secure)
    return agent


#: Every layer that a usual deployment has; the limits are never reached.
LAYERS: dict[str, Any] = {
    "trusted_proxies": ("10.0.0.0/8", "192.168.7.1"),
    "allowed_hosts": (HOST, "*.example.com"),
    "rate_limit": 10**9,
    "auth_failure_limit": 10**9,
    "max_request_size": 1_048_576,
}


def proxied(app: App) -> App:
    return ProxyFix(app, x_for=1, x_proto=1, x_host=1)


def trivial(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def hardened() -> App:
    """Return `trivial` in all layers but authentication and size."""
    layers = {name: value for name, value in LAYERS.items() if name != "max_request_size"}
    del layers["auth_failure_limit"]
    return harden(trivial, Settings(**layers, cors_origins=("https://app.example.com",)))


def tool_call(size: int = 0) -> bytes:
    """Return the body of a tool call, with a log of the call that makes it `size` bytes long."""
    call: dict[str, Any] = {
        "function": "tool_0",
        "call_id": CALL_ID,
        "argument": {"parsed": [{"amount": 12.5, "account": "savings"}], "raw": "{}"},
        "caller_id_num": "+15551234567",
        "meta_data": {},
    }
    log: list[dict[str, Any]] = []
    while len(json.dumps(call)) < size:
        moment = 1_700_000_000_000_000 + 1_234_567 * len(log)
        log.append({"role": "user", "content": "Please send it.", "timestamp": moment, "tokens": 7})
        call["call_log"] = log
    return json.dumps(call).encode()


def request(app: App, method: str, path: str, body: bytes = b"", **options: Any) -> Call:
    """Return a function that sends `app` one request, and returns status and body."""
    usual = {"REMOTE_ADDR": "203.0.113.9", "HTTP_HOST": HOST, "HTTP_USER_AGENT": "platform"}
    usual["CONTENT_TYPE"] = "application/json" if body else ""
    given = environ(method, path, body=body or None, **{**usual, **options})
    status = ""

    def start_response(line: str, headers: Any, exc_info: Any = None) -> Any:
        nonlocal status
        status = line
        return None

    def call() -> tuple[str, bytes]:
        response = app({**given, "wsgi.input": io.BytesIO(body)}, start_response)
        sent = b"".join(response)
        if hasattr(response, "close"):
            response.close()
        return status, sent

    return call


def gunicorn_keys() -> dict[str, Any]:
    """Return what gunicorn adds to the environ, for the path ``/swaig``."""
    return {
        "wsgi.input_terminated": True,
        "gunicorn.socket": socket.socket(),
        "SERVER_SOFTWARE": "gunicorn/27.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "RAW_URI": "/swaig",
    }


#: What the trusted proxy adds.
FORWARDED = {
    "REMOTE_ADDR": PROXY,
    "HTTP_X_FORWARDED_FOR": "203.0.113.9",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_FORWARDED_HOST": HOST,
}


class Scenarios:
    """All requests by name; those of the reference start with ``plain``."""

    def __init__(self) -> None:
        agent, bare = agent_with(**LAYERS), plain()
        token = agent.sessions.generate_token("tool_0", CALL_ID)
        allowed: dict[str, Any] = {"auth": (USER, PASSWORD), "query": f"__token={token}"}
        body, long_body = tool_call(), tool_call(8192)
        fetch = json.dumps({"call_id": CALL_ID}).encode()
        gunicorn = gunicorn_keys()
        post = ("POST", "/swaig")
        self.agent = agent
        self.document = agent.render_swml(CALL_ID, base_url=f"https://{HOST}")
        limited = agent_with(**{**LAYERS, "rate_limit": 1})
        self.calls: dict[str, Call] = {
            "plain call": request(bare, *post, body),
            "tool call": request(agent, *post, body, **allowed),
            "plain call, gunicorn": request(bare, *post, body, **gunicorn),
            "tool call, gunicorn": request(agent, *post, body, **allowed, **gunicorn),
            "plain call, proxy": request(proxied(bare), *post, body, **FORWARDED),
            "tool call, proxy": request(agent, *post, body, **allowed, **FORWARDED),
            "plain call, 8 KB": request(proxied(bare), *post, long_body, **FORWARDED),
            "tool call, 8 KB": request(agent, *post, long_body, **allowed, **FORWARDED),
            "trivial": request(trivial, "GET", "/"),
            "harden": request(hardened(), "GET", "/"),
            "document": request(agent, "POST", "/", fetch, auth=(USER, PASSWORD)),
            # Another client: that of the calls above has not failed.
            "401": request(agent, *post, body, auth=(USER, "guess"), REMOTE_ADDR="203.0.113.66"),
            "403": request(agent, *post, body, HTTP_HOST="evil.example", **allowed),
            "429": request(limited, *post, body, **allowed),
        }
        expected = {"401": "401", "403": "403", "429": "429"}
        for name, call in self.calls.items():
            for _ in range(20):  # to fill the caches, and to end the records of refusals
                status, _ = call()
            assert status[:3] == expected.get(name, "200"), f"{name}: {status}"
