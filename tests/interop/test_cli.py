"""The command line reaches agents of the package ``signalwire-sdk``, secure tools included."""

import json
import threading

import pytest
import signalwire
import uvicorn
from support.ports import free_port
from support.waiting import wait_until

from swaig_wsgi.cli._main import main

AUTH = ("user", "the-password-of-the-agent")


@pytest.fixture
def url():
    port = free_port()
    agent = signalwire.AgentBase("bank", route="/bank", port=port, basic_auth=AUTH)
    agent.define_tool(
        "pay",
        "Pay",
        {"amount": {"type": "number"}},
        lambda args, raw_data: signalwire.FunctionResult(f"{args} in {raw_data['call_id']}"),
        secure=True,
    )
    server = uvicorn.Server(uvicorn.Config(agent.get_app(), port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive())
    yield f"http://127.0.0.1:{port}/bank"
    server.should_exit = True
    thread.join()


def test_a_secure_tool_of_the_sdk_is_called(url, capsys, monkeypatch):
    monkeypatch.setenv("SWML_BASIC_AUTH_USER", AUTH[0])
    monkeypatch.setenv("SWML_BASIC_AUTH_PASSWORD", AUTH[1])
    assert main(["call", url, "pay", "--arg=amount=5", "--call-id=call-1"]) == 0
    assert capsys.readouterr().out == "{'amount': 5} in call-1\n"
    assert main(["tools", url, "--json"]) == 0
    (tool,) = json.loads(capsys.readouterr().out)
    assert (tool["function"], tool["secure"]) == ("pay", True)
    assert main(["swml", url, "--show-secrets"]) == 0
    document = json.loads(capsys.readouterr().out)
    ai = next(each["ai"] for each in document["sections"]["main"] if "ai" in each)
    webhook = ai["SWAIG"]["functions"][0]["web_hook_url"]
    assert main(["token", "inspect", webhook, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tool"] == "pay"
    assert main(["swml", url]) == 0
    assert AUTH[1] not in capsys.readouterr().out
