"""The reference: a tool call in plain Werkzeug, as an author would write it without security."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response


def handler(args: dict[str, Any], raw_data: dict[str, Any]) -> str:
    """Do what the tool does, in every application that is compared."""
    return f"Sent {args['amount']} to {args['account']}."


def plain() -> Callable[..., Iterable[bytes]]:
    """Return the application."""
    routes = Map([Rule("/swaig", endpoint="swaig", methods=["POST"]), Rule("/", endpoint="swml")])

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        routes.bind_to_environ(environ).match()
        body = request.get_json()
        result = handler(body["argument"]["parsed"][0], body)
        response = Response(json.dumps({"response": result}), mimetype="application/json")
        return response(environ, start_response)

    return app
