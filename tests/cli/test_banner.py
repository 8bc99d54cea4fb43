"""What the banner shows for which address and tool; test_serve_reload.py serves for real."""

from __future__ import annotations

import io
import shlex

import pytest

from swaig_wsgi import AgentApp, Settings
from swaig_wsgi.cli._banner import facts_of, show_banner

SCHEMA = {
    "type": "object",
    "properties": {
        "count": {"type": "integer"},
        "sure": {"type": "boolean"},
        "kind": {"type": "string", "enum": ["it's"]},
        "level": {"enum": [2]},
        "names": {"type": "array"},
        "more": {"type": "object"},
        "optional": {"type": "string"},
    },
    "required": ["count", "sure", "kind", "level", "names", "more"],
}


def banner(host, port=3000, scheme="http", **options):
    agent = AgentApp("bank", route="/bank", **options)
    agent.define_tool("pay", "Pay", SCHEMA, lambda args, raw: "paid")
    stream = io.StringIO()
    show_banner(facts_of(agent), Settings(ssl_enabled=scheme == "https"), host, port, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "http://127.0.0.1:3000/bank"),
        ("0.0.0.0", "http://127.0.0.1:3000/bank"),  # noqa: S104 - only compared or bound by this test
        ("::", "http://[::1]:3000/bank"),
        ("::1", "http://[::1]:3000/bank"),
        ("agent.internal", "http://agent.internal:3000/bank"),
    ],
)
def test_the_call_goes_where_the_server_listens(host, shown):
    assert f"swaig-wsgi call {shown} pay " in banner(host)


def test_a_unix_socket_is_not_called():
    text = banner("unix:///run/agent.sock", 0)
    assert "URL for the platform" in text
    assert "swaig-wsgi call" not in text


def test_sample_arguments_fit_the_schema():
    (line,) = (each for each in banner("127.0.0.1").splitlines() if "swaig-wsgi call" in each)
    values = [each for each in shlex.split(line) if "=" in each]
    assert values == ["count=1", "sure=true", "kind=it's", "level:=2", "names=[]", "more={}"]


def test_attack_the_representation_of_facts_has_no_password():
    agent = AgentApp("bank")
    _, password = agent.get_basic_auth_credentials()
    assert password not in repr(facts_of(agent))


def test_credentials_in_code_are_not_shown():
    text = banner("127.0.0.1", basic_auth=("demo", "a-password-in-code"))
    assert "http://demo:****@127.0.0.1:3000/bank" in text
    assert "a-password-in-code" not in text
    assert "generated" not in text
