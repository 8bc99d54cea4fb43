"""The command ``swaig_cli`` of the package ``signalwire-swaig``, against a running gunicorn."""

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from support.bank import APPLICATION

CLI = Path(sys.executable).with_name("swaig_cli")
#: The command encodes passwords as Latin-1.
USER, PASSWORD = "demo", "p@ss:w/ö%"


@pytest.fixture
def run(gunicorn, tmp_path):
    """Run the command against an agent, and return what it printed."""
    (tmp_path / "bank.py").write_text(APPLICATION)
    server = gunicorn("bank:app", cwd=str(tmp_path), SWML_BASIC_AUTH_PASSWORD=PASSWORD)

    def run_cli(*arguments, typed="", password=PASSWORD):
        url = f"http://{USER}:{quote(password, safe='')}@127.0.0.1:{server.port}/swaig"
        done = subprocess.run(
            [sys.executable, str(CLI), "--url", url, *arguments],
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout

    run_cli.server = server
    return run_cli


def response_in(output):
    return json.loads(output.partition("Server Response:\n")[2])


def test_it_lists_our_tools(run):
    code, output = run("--get-signatures")
    assert code == 0
    signatures = {each["function"]: each for each in json.loads(output)}
    assert list(signatures) == ["price", "ping", "pay"]
    assert signatures["price"]["description"] == "Tell a price"
    assert signatures["price"]["parameters"]["required"] == ["item"]
    assert signatures["ping"]["parameters"] == {"type": "object", "properties": {}, "required": []}
    assert "__token" not in output


def test_it_lists_the_tools_it_asked_for(run):
    code, output = run("--get-signatures", "--function", "ping,pay")
    assert code == 0
    assert [each["function"] for each in json.loads(output)] == ["ping", "pay"]


def test_it_calls_an_open_tool(run):
    code, output = run("--function", "price", "--json", '{"item": "cups", "count": "3"}')
    assert code == 0
    assert response_in(output) == {
        "response": "3 cups cost 5.",
        "action": [{"say": "Thank you."}],
    }


def test_it_calls_a_tool_with_what_is_typed(run):
    code, output = run("--function", "price", typed="cups\n3\n")
    assert code == 0
    assert response_in(output)["response"] == "3 cups cost 5."
    code, output = run("--function", "ping")
    assert code == 0
    assert response_in(output) == {"response": "pong"}


def test_an_invalid_argument_is_reported_to_it(run):
    code, output = run("--function", "price", "--json", '{"count": 3}')
    assert code == 0
    assert "item" in response_in(output)["response"]


def test_it_cannot_call_a_secure_tool(run):
    code, output = run("--function", "pay", "--json", "{}")
    assert code == 0
    assert "paid" not in response_in(output)["response"]
    assert "action" not in response_in(output)
    run.server.wait_for_log("tool_token_refused.*missing")


def test_it_needs_the_password(run):
    code, output = run("--get-signatures", password="wrong")
    assert code == 1
    assert "Authentication failed" in output


def test_an_unknown_tool_has_no_signature(run):
    code, output = run("--function", "steal", "--json", "{}")
    assert code == 1
    assert "No function signatures received" in output
