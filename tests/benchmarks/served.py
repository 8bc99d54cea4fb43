"""The applications that servers serve for the benchmarks: a tool call, with and without security.

Each is a factory, for ``gunicorn benchmarks.served:agent()`` or ``uvicorn --factory``.
"""

from __future__ import annotations

import json
import os
from typing import Any

from benchmarks import scenarios
from benchmarks.plain import handler
from benchmarks.plain import plain as reference

#: All applications accept tokens that are signed with it.
SECRET = "k" * 32


def plain() -> scenarios.App:
    """Return the handler in plain Werkzeug, without security."""
    return reference()


def agent() -> scenarios.App:
    """Return the agent, in all layers."""
    layers = {**scenarios.LAYERS, "storage_url": os.environ.get("BENCH_STORE")}
    return scenarios.agent_with(**layers, swaig_secret=SECRET)


def flask() -> Any:
    """Return the handler in Flask with the extensions that secure it as the agent is secured."""
    from flask import Flask, abort, request
    from flask_cors import CORS
    from flask_httpauth import HTTPBasicAuth
    from flask_limiter import Limiter
    from flask_limiter.util import get_remote_address
    from flask_talisman import Talisman
    from itsdangerous import BadData, URLSafeTimedSerializer
    from werkzeug.middleware.proxy_fix import ProxyFix

    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 1_048_576
    app.config["TRUSTED_HOSTS"] = [".example.com", "127.0.0.1"]
    Talisman(app, force_https=False, content_security_policy="default-src 'none'")
    CORS(app)
    Limiter(get_remote_address, app=app, default_limits=["1000000000/minute"], headers_enabled=True)
    auth = HTTPBasicAuth()
    tokens = URLSafeTimedSerializer(SECRET)

    @auth.verify_password
    def verify(user: str, password: str) -> bool:
        import hmac

        pair = f"{user}:{password}".encode(), f"{scenarios.USER}:{scenarios.PASSWORD}".encode()
        return hmac.compare_digest(*pair)

    @app.post("/swaig")
    @auth.login_required
    def swaig() -> Any:
        body = request.get_json()
        try:
            claims = tokens.loads(request.args["__token"], max_age=3600)
        except (BadData, KeyError):
            abort(403)
        if claims != [body["call_id"], body["function"]]:
            abort(403)
        args = body["argument"]["parsed"][0]
        return {"response": handler(args, body)}

    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    return app


def sdk() -> Any:
    """Return an agent of signalwire-sdk with the same tool, as an ASGI application."""
    from signalwire import AgentBase, FunctionResult

    made = AgentBase(
        "bench", route="/", basic_auth=(scenarios.USER, scenarios.PASSWORD), use_pom=False
    )

    def tool(args: dict[str, Any], raw_data: dict[str, Any]) -> Any:
        return FunctionResult(handler(args, raw_data))

    made.define_tool("tool_0", "Send money", scenarios.PARAMETERS, tool, secure=False)
    return made.get_app()


def target_for(name: str) -> str:
    """Return the path of the tool call to the application `name`, with the token it expects."""
    if name == "sdk":
        return "/swaig"
    if name == "flask":
        from itsdangerous import URLSafeTimedSerializer

        token = str(URLSafeTimedSerializer(SECRET).dumps([scenarios.CALL_ID, "tool_0"]))
    else:
        made: Any = agent()
        token = made.sessions.generate_token("tool_0", scenarios.CALL_ID)
    return f"/swaig?__token={token}"


def request_lua(name: str) -> str:
    """Return the script with which wrk sends the tool call to the application `name`."""
    from support.wsgi import basic

    fields = {
        "Authorization": basic(scenarios.USER, scenarios.PASSWORD),
        "Content-Type": "application/json",
        "Host": scenarios.HOST,
    }
    lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(fields[name])}" for name in fields]
    body = json.dumps(scenarios.tool_call().decode())
    return "\n".join(
        [
            'wrk.method = "POST"',
            f"wrk.path = {json.dumps(target_for(name))}",
            f"wrk.body = {body}",
            *lines,
            # Refusals would be fast, too.
            "function done(summary)",
            '    if summary.errors.status > 0 then print("refused " .. summary.errors.status) end',
            "end",
        ]
    )
