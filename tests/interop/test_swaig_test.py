"""The command ``swaig-test`` of ``signalwire-sdk``, with the file that its page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.bank import APPLICATION
from support.sdk_pages import DOCS, SDK

COMMAND = Path(sys.executable).with_name("swaig-test")
USER, PASSWORD = "demo", "pass:w%40rd"


@pytest.fixture
def run(gunicorn, tmp_path):
    """Run the command against an agent that gunicorn serves, and return what it printed."""
    (tmp_path / "bank.py").write_text(APPLICATION)
    server = gunicorn("bank:app", cwd=str(tmp_path), SWML_BASIC_AUTH_PASSWORD="pass:w@rd")
    (bridge,) = re.findall(r"```python\n(import os\n.*?)```", (DOCS / SDK).read_text(), re.S)
    (tmp_path / "bridge.py").write_text(bridge)

    def run_command(*arguments):
        done = subprocess.run(
            [sys.executable, str(COMMAND), "bridge.py", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            env={**os.environ, "AGENT_URL": f"http://{USER}:{PASSWORD}@127.0.0.1:{server.port}"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run_command.server = server
    return run_command


def test_it_lists_our_tools(run):
    output = run("--list-tools")
    assert re.findall(r"^  (\w+) - (.*) \(EXTERNAL", output, re.M) == [
        ("price", "Tell a price"),
        ("ping", "Answer"),
        ("pay", "Pay"),
    ]
    assert "item (string) (required): Of what" in output


def test_it_calls_an_open_tool(run):
    output = run("--verbose", "--exec", "price", "--item", "cups", "--count", "3")
    assert "3 cups cost 5." in output
    assert "Thank you." in output


def test_it_calls_a_secure_tool_with_the_token_of_its_call(run):
    assert "paid" in run("--call-id", "test", "--exec", "pay")


def test_attack_it_cannot_call_a_secure_tool_in_another_call(run):
    assert "paid" not in run("--call-id", "other", "--exec", "pay")
    run.server.wait_for_log("tool_token_refused.*wrong_call")


def test_it_dumps_the_document_with_our_urls(run):
    output = run("--dump-swml", "--raw")
    assert f"127.0.0.1:{run.server.port}/swaig?__token=" in output
