"""Tool calls whose arguments are in shapes that the platform does not send, over a socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swaig_wsgi.testing import AgentClient

SHAPES = """
from swaig_wsgi import AgentApp

app = AgentApp("bank")


@app.tool(secure=True)
def pay(amount: float = 1.0, to: str = "default") -> str:
    '''Pay'''
    print("PAID", amount, to, flush=True)
    return f"Paid {amount} to {to}."


@app.tool(secure=True, parameters={"amount": {"type": "number"}, "name": {"type": "string"}})
def plain(args, raw_data):
    '''Pay'''
    print("PAID", args, flush=True)
    return f"Paid {args.get('amount', 1.0)} to {args.get('to', 'default')}."


@app.tool(secure=True)
def untyped(args, raw_data):
    '''Pay'''
    return f"Got {sorted(args)}."


@app.tool(secure=True)
def ping() -> str:
    '''Ping'''
    return "Pong."
"""
INNER = {"amount": 500}


@pytest.mark.parametrize("tool", ["pay", "plain"])
def test_attack_an_argument_object_of_another_shape_pays_nothing(
    gunicorn: Any, tmp_path: Path, tool: str
) -> None:
    (tmp_path / "shapes.py").write_text(SHAPES)
    server = gunicorn("shapes:app", cwd=str(tmp_path))
    client = AgentClient(f"http://127.0.0.1:{server.port}/", auth=("demo", "p@ss:w/ö"))

    def post(name: str, **members: Any) -> Any:
        return client.call_tool(name, **{"argument": None, **members})["response"]

    for name in ("args", "Arguments", "input", "parameters", "argument", "other", "RAW", "Args"):
        for inner in (INNER, json.dumps(INNER), [INNER]):
            assert '"amount"' in post(tool, argument={name: inner})
            assert '"amount"' in post(tool, argument={"parsed": [{name: inner}]})
            if name not in ("args", "argument", "other"):  # `args` is a parameter of the client
                assert '"amount"' in post(tool, **{name: inner})
                assert '"amount"' in post(tool, argument={}, **{name: inner})
    for argument in (
        {"name": tool, "arguments": INNER},
        {"name": tool, "arguments": json.dumps(INNER)},
        {"type": "function", "function": {"name": tool, "arguments": json.dumps(INNER)}},
        {"substituted": json.dumps(INNER)},
        {"parsed": [], "raw": "", "substituted": json.dumps(INNER)},
        {"raw": json.dumps({"arguments": INNER})},
        {"parsed": [{"arguments": INNER}]},
        {"sum": 500},
        # No object at all.
        json.dumps({"arguments": INNER}),
        json.dumps([INNER]),
        "Pay 500 to Jo.",
        "{'amount': 500}",
        [{"arguments": INNER}],
        ["Pay 500 to Jo."],
        500,
        False,
    ):
        assert '"amount"' in post(tool, argument=argument), argument
    assert "PAID" not in server.log
    for members in (
        {"argument": {"arguments": INNER, "substituted": ""}},
        {"argument": {}, "arguments": INNER},
        {"argument": {"parsed": [{}], "raw": "{}"}, "arguments": INNER},
        {"argument": {"amount": 500, "reason": "rent"}},
        {"argument": json.dumps(INNER)},
        {"argument": [INNER]},
    ):
        assert post(tool, **members).startswith("Paid 500")
    # No arguments at all, and tools that declare none.
    for argument in ({}, {"parsed": [{}], "raw": "{}", "substituted": ""}, "{}", "", []):
        assert post(tool, argument=argument) == "Paid 1.0 to default."
    assert post("untyped", argument={"sum": 500}) == "Got ['sum']."
    assert post("ping", argument={"sum": 500}) == "Pong."


def test_attack_a_misspelled_argument_leaves_no_default_in_force(
    gunicorn: Any, tmp_path: Path
) -> None:
    (tmp_path / "shapes.py").write_text(SHAPES)
    server = gunicorn("shapes:app", cwd=str(tmp_path))
    client = AgentClient(f"http://127.0.0.1:{server.port}/", auth=("demo", "p@ss:w/ö"))

    def pay(**args: Any) -> Any:
        return client.call_tool("pay", args)["response"]

    for name in ("ammount", "Amount", "amout", "amount_usd", "amounts"):
        expected = f"The argument '{name}' is unknown; if \"amount\" is meant, write that."
        assert pay(to="Jo", **{name: 500}) == expected
    assert "PAID" not in server.log
    assert pay(to="Jo", amount=5, ammount=500) == "Paid 5.0 to Jo."
    assert pay(to="Jo", reason="rent") == "Paid 1.0 to Jo."
