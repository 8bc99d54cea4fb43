"""``swml``, ``tools`` and ``call``, in process and over sockets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from swaig_wsgi.cli._main import main

USER, PASSWORD = "demo", "p@ss:w/ö-of-the-agent"
URL_PASSWORD = "p%40ss%3Aw%2F%C3%B6-of-the-agent"

MODULE = '''
from swaig_wsgi import AgentApp, AgentServer, FunctionResult, harden

def make(name, route="/"):
    app = AgentApp(name, route=route)

    @app.tool(secure=True)
    def pay(amount: float, to: str, urgent: bool = False, raw_data=None) -> FunctionResult:
        """Pay somebody."""
        print("printed by the handler")
        text = f"{name} paid {amount!r} to {to!r}, {urgent!r}, in {raw_data['call_id']}"
        return FunctionResult(text).add_action("hangup", True)

    @app.tool
    def look() -> str:
        """Look around."""
        return "\\x1b[31mred\\x1b[0m"

    return app

print("printed by the module")
app = make("bank", "/bank")
server = AgentServer()
server.register(make("first", "/first"))
server.register(make("second", "/second"))
hardened = harden(make("inner", "/inner"))
'''


@pytest.fixture
def site(tmp_path, monkeypatch):
    (tmp_path / "called_site.py").write_text(MODULE)
    (tmp_path / "broken_site.py").write_text("raise RuntimeError('no database')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "called_site", raising=False)
    return tmp_path


@pytest.fixture
def credentials(monkeypatch):
    monkeypatch.setenv("SWML_BASIC_AUTH_USER", USER)
    monkeypatch.setenv("SWML_BASIC_AUTH_PASSWORD", PASSWORD)


@pytest.fixture
def run(capsys):
    """Return a function that runs the command and returns its status, output and errors."""

    def run(*arguments):
        status = main(arguments)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def endpoint():
    """Return a function that serves one fixed response, and what it received."""
    servers = []

    def serve(status=200, body=b"{}", headers=()):
        seen = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                received = self.rfile.read(int(self.headers["Content-Length"]))
                seen.append((self.path, dict(self.headers), received))
                self.send_response(status)
                for name, value in (*headers, ("Content-Length", str(len(body)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}", seen

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def document(*functions, **members):
    ai = {"SWAIG": {"functions": list(functions)}, **members}
    return json.dumps({"version": "1.0.0", "sections": {"main": [{"ai": ai}]}}).encode()


# -- in process


def test_a_secure_tool_is_called_in_process(run, site):
    arguments = ["--arg", "amount=5", "--arg", "to=007", "--call-id", "call-1"]
    status, out, err = run("call", "called_site:app", "pay", *arguments)
    assert status == 0
    assert out.splitlines() == [
        "bank paid 5.0 to '007', False, in call-1",
        'action {"hangup": true}',
    ]
    assert "printed by the module" in err
    assert "printed by the handler" in err


def test_json_is_the_result_as_the_agent_sent_it(run, site):
    arguments = ["--arg=amount=1.5", "--arg=to=A", "--arg=urgent=true", "--call-id=c", "--json"]
    status, out, _ = run("call", "called_site:app", "pay", *arguments)
    assert status == 0
    assert json.loads(out) == {
        "response": "bank paid 1.5 to 'A', True, in c",
        "action": [{"hangup": True}],
    }


def test_the_tools_are_listed(run, site):
    status, out, _ = run("tools", "called_site:app")
    assert status == 0
    assert out.splitlines() == [
        "pay(amount: number, to: string, [urgent: boolean])  secure",
        "    Pay somebody.",
        "look()  open",
        "    Look around.",
    ]
    listed = json.loads(run("tools", "called_site:app", "--json")[1])
    assert [(each["function"], each["secure"]) for each in listed] == [
        ("pay", True),
        ("look", False),
    ]


def test_the_document_is_printed_without_its_secrets(run, site, credentials):
    for option in ((), ("--json",)):
        status, out, _ = run("swml", "called_site:app", "--call-id", "c", *option)
        assert status == 0
        (ai,) = (each["ai"] for each in json.loads(out)["sections"]["main"] if "ai" in each)
        pay = ai["SWAIG"]["functions"][0]
        assert pay["web_hook_url"] == "http://****@localhost/bank/swaig?__token=****"
        assert URL_PASSWORD not in out


def test_secrets_are_shown_on_request(run, site, credentials):
    _, out, _ = run("swml", "called_site:app", "--show-secrets")
    assert f"http://demo:{URL_PASSWORD}@localhost/bank/swaig?__token=" in out
    assert "****" not in out


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SWML_ALLOWED_HOSTS", "agent.example.com"),
        ("SIGNALWIRE_SIGNING_KEY", "PSK_0123456789abcdef"),
        ("SWML_ENFORCE_HTTPS", "true"),
        ("SWML_PROXY_URL_BASE", "https://agent.example.com/voice"),
    ],
)
@pytest.mark.parametrize("app", ["app", "hardened", "server"])
def test_an_agent_with_settings_of_production_is_called(run, site, monkeypatch, name, value, app):
    monkeypatch.setenv(name, value)
    options = ("--route", "/first") if app == "server" else ()
    status, output, errors = run(
        "call", f"called_site:{app}", "pay", "--arg", "amount=5", "--arg", "to=A", *options
    )
    assert status == 0, errors
    assert "paid 5.0 to 'A'" in output


@pytest.mark.parametrize(
    ("target", "route", "name"),
    [
        ("called_site:server", ["--route=/second"], "second"),
        ("called_site:hardened", [], "inner"),
    ],
)
def test_an_agent_inside_another_application_is_found(run, site, target, route, name):
    status, out, _ = run("call", target, "pay", "--arg=amount=1", "--arg=to=A", *route)
    assert status == 0
    assert out.startswith(f"{name} paid 1.0 to 'A'")


def test_one_of_several_agents_must_be_chosen(run, site):
    status, out, err = run("tools", "called_site:server")
    assert (status, out) == (2, "")
    assert "--route, of /first, /second" in err


# -- over sockets


def test_a_secure_tool_of_two_workers_is_called(run, gunicorn, site, credentials):
    server = gunicorn(
        "called_site:app",
        *("-c", "python:swaig_wsgi.gunicorn", "--workers=2"),
        cwd=str(site),
        SWML_BASIC_AUTH_USER=USER,
        SWML_BASIC_AUTH_PASSWORD=PASSWORD,
    )
    url = f"http://127.0.0.1:{server.port}/bank"
    for number in range(4):
        call_id = f"call-{number}"
        arguments = ["--arg=amount=5", "--arg=to=A", "--call-id", call_id]
        status, out, err = run("call", url, "pay", *arguments)
        assert (status, err) == (0, "")
        assert out.startswith(f"bank paid 5.0 to 'A', False, in {call_id}\n")
    assert json.loads(run("tools", url, "--json")[1])[0]["secure"] is True
    status, out, err = run("swml", url.replace("//", f"//demo:{URL_PASSWORD}@"))
    assert (status, err) == (0, "")
    assert URL_PASSWORD not in out


def test_a_url_with_credentials_is_called(run, serve_command, site):
    server = serve_command(
        [sys.executable, "-m", "swaig_wsgi.cli", "serve", "called_site:app", "--port=0"],
        {
            "SWML_BASIC_AUTH_USER": USER,
            "SWML_BASIC_AUTH_PASSWORD": PASSWORD,
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        },
        listening=r"Running on http://127\.0\.0\.1:(\d+)",
        cwd=str(site),
    )
    where = f"127.0.0.1:{server.port}/bank"
    status, out, _ = run(
        "call", f"http://demo:{URL_PASSWORD}@{where}", "pay", "--arg=amount=2", "--arg=to=B"
    )
    assert status == 0
    assert "bank paid 2.0 to 'B'" in out
    status, out, err = run("swml", f"http://demo:wrong-password@{where}")
    assert (status, out) == (1, "")
    assert "401 Unauthorized" in err
    assert "wrong-password" not in err
    status, _, err = run("swml", f"http://demo:{URL_PASSWORD}@127.0.0.1:{server.port}/nowhere")
    assert status == 1
    assert "404 Not Found" in err
    assert "ss" not in err.partition("@")[0].partition("//")[2]


def test_requests_are_signed_with_the_key_of_the_environment(run, endpoint, monkeypatch):
    monkeypatch.setenv("SIGNALWIRE_SIGNING_KEY", "PSK_the-key-of-the-platform")
    url, seen = endpoint(body=document())
    assert run("swml", url)[0] == 0
    assert "X-SignalWire-Sha256-Signature" in seen[0][1]


def test_attack_a_redirect_gets_no_credentials(run, endpoint, credentials):
    other, seen = endpoint()
    location = other.replace("//", "//us:secret-of-location@") + "/x?__token=secret-token"
    url, _ = endpoint(302, b"", [("Location", location)])
    status, out, err = run("swml", url)
    assert (status, out, seen) == (1, "", [])
    assert "redirects are not followed" in err
    assert "secret" not in err


def test_attack_a_tool_on_another_host_gets_no_credentials(run, endpoint, credentials):
    other, seen = endpoint(body=b'{"response": "from there"}')
    url, _ = endpoint(
        body=document({"function": "look", "web_hook_url": f"{other}/t?__token=secret-token"})
    )
    status, out, err = run("call", url, "look")
    assert (status, out) == (0, "from there\n")
    assert "Authorization" not in seen[0][1]
    assert f"look runs on another host: {other}/t?__token=****" in err


def test_the_url_of_a_tool_that_cannot_be_reached_is_named(run, endpoint, credentials):
    url, _ = endpoint(
        body=document({"function": "look", "web_hook_url": "http://127.0.0.1:1/t?__token=secret"})
    )
    status, _, err = run("call", url, "look")
    assert status == 2
    assert "http://127.0.0.1:1/t?__token=****: no response: Connection refused" in err
    assert "see SWML_PROXY_URL_BASE of the service" in err


def test_a_refused_signature_says_what_may_be_wrong(run, endpoint, credentials):
    url, _ = endpoint(403, body=b'{"error": "Forbidden: invalid signature"}')
    status, _, err = run("tools", url)
    assert status == 1
    assert "SIGNALWIRE_SIGNING_KEY differs" in err
    assert "another public URL (SWML_PROXY_URL_BASE)" in err


def test_the_caller_can_be_chosen(run, endpoint, credentials):
    url, seen = endpoint(body=document({"function": "look", "data_map": {}}))
    assert run("tools", url, "--from", "+15555550123")[0] == 0
    assert json.loads(seen[0][2])["call"]["from"] == "+15555550123"
    assert json.loads(seen[0][2])["call"]["to"] == "+15555550199"


def test_only_the_module_has_the_agents_of_another_application(run, site, credentials):
    (site / "several_site.py").write_text(MODULE + "\ndef app(environ, start_response): pass\n")
    status, _, err = run("tools", "several_site:app")
    assert status == 2
    assert "the module of several_site:app has several agents: choose one by --route" in err


def test_attack_the_password_of_the_environment_is_not_sent_in_the_clear(run, credentials):
    status, _, err = run("swml", "http://agent.invalid/")
    assert status == 2
    assert "not sent to agent.invalid over plain HTTP" in err
    assert PASSWORD not in err


@pytest.mark.parametrize(
    "url",
    [
        "http://demo:sec/ret@agent.invalid/",
        "http://demo:12/secret@agent.invalid/",
        "http://demo:12?secret@agent.invalid/",
        "http://demo:sec#ret@agent.invalid/",
        "http://demo:sec@ret@agent.invalid/",
        "http://demo:se cret@agent.invalid/",
        "ftp://demo:secret@agent.invalid/",
        "http://demo:secret@agent.invalid:port/",
        "http://demo:secret@/",
        "http://demo:secret@agent.invalid/a b",
        "demo:secret@agent.invalid",
        "demo:secret@agent.invalid/route",
        "agent.invalid:3000/secret",
        "localhost:3000",
        "demo:sec(ret@agent.invalid",
    ],
)
def test_attack_a_malformed_url_is_not_printed(run, url):
    status, out, err = run("swml", url)
    assert (status, out) == (2, "")
    assert "percent-encoded" in err
    assert "ret" not in err


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_attack_a_response_cannot_control_the_terminal(run, endpoint, site, option):
    assert "\x1b" not in run("call", "called_site:app", "look", *option)[1]
    body = document(
        {"function": "look\x1b[2J", "description": "\x9b31m\u202e", "parameters": {"\x07": 1}}
    )
    url, _ = endpoint(body=body)
    for command in ("tools", "swml"):
        status, out, _ = run(command, url, *option)
        assert status == 0
        assert not set("\x1b\x9b\u202e\x07") & set(out)
    _, _, err = run("call", url, "unknown\x1b[2J", *option)
    assert "it has look\\x1b[2J" in err
    assert "\x1b" not in err
    error = json.dumps({"error": "no\x1b[2J \x9b"}).encode()
    url, _ = endpoint(500, error)
    status, out, err = run("swml", url, *option)
    assert (status, out) == (1, "")
    assert "500 Internal Server Error: no" in err
    assert not set("\x1b\x9b") & set(err)


def test_attack_header_fields_and_texts_of_a_document_are_masked(run, endpoint):
    webhook = {"url": "https://u:p4ssw0rd@api.invalid/", "headers": {"Authorization": "p4ssw0rd"}}
    url, _ = endpoint(
        body=document(
            {"function": "f", "data_map": {"webhooks": [webhook]}},
            prompt={"text": "See\nhttps://u:p4ssw0rd@api.invalid/ or C:\\ 50% \u00e4"},
        )
    )
    _, out, _ = run("swml", url)
    assert "p4ssw0rd" not in out
    shown = json.loads(out)["sections"]["main"][0]["ai"]
    assert shown["prompt"]["text"] == "See\nhttps://****@api.invalid/ or C:\\ 50% \u00e4"


# -- errors


def test_an_unknown_tool_lists_those_of_the_agent(run, site):
    status, out, err = run("call", "called_site:app", "pya")
    assert (status, out) == (2, "")
    assert "no tool 'pya'; it has pay, look" in err


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["swml", "called_site:nothing"], 2, "has no 'nothing'"),
        (["swml", "no_such_site:app"], 2, "no module 'no_such_site'"),
        (["swml", "broken_site:app"], 2, "RuntimeError: no database"),
        (["swml", "called_site:make('x', '/x')", "--route=x"], 2, "such as /bank"),
        (["swml", "called_site:app", "--route=/nowhere"], 1, "name its path with --route"),
        (["swml", "called_site:app", "--call-id="], 2, "expected the id of a call"),
        (["swml", "http://127.0.0.1:1/"], 2, "no response: Connection refused"),
        (["swml", "http://127.0.0.1:1/", "--route=/x"], 2, "write the path into the URL"),
        (["call", "called_site:app", "pay", "--arg=amount=x"], 2, "expected number, not 'x'"),
        (["call", "called_site:app", "pay", "--arg=amount"], 2, "expected name=value"),
    ],
)
def test_an_error_names_what_was_wrong(run, site, arguments, status, words):
    found, out, err = run(*arguments)
    assert (found, out) == (status, "")
    assert words in err


def test_an_invalid_setting_is_named(run, site, monkeypatch):
    monkeypatch.setenv("SWML_RATE_LIMIT", "abc")
    status, _, err = run("tools", "called_site:app")
    assert status == 2
    assert "SWML_RATE_LIMIT" in err


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "no ai verb"),
        (b'{"sections": []}', "malformed"),
        (b'{"sections": {"main": [{"ai": {"SWAIG": []}}]}}', "malformed"),
        (document("f"), "malformed"),
        (b"[" * 100_000, "nested too deeply"),
        (document({"name": "f"}), "malformed"),
    ],
)
def test_what_is_no_document_is_reported(run, endpoint, body, words):
    url, _ = endpoint(body=body)
    status, out, err = run("tools", url)
    assert (status, out) == (1, "")
    assert words in err


def test_a_tool_that_the_platform_runs_is_not_called(run, endpoint):
    url, _ = endpoint(body=document({"function": "f", "data_map": {}}))
    assert "f()  run by the platform" in run("tools", url)[1]
    status, _, err = run("call", url, "f")
    assert status == 2
    assert "the platform itself runs f" in err


def test_a_result_without_a_response_is_printed_whole(run, endpoint):
    other, _ = endpoint(body=b'{"error": "no such call"}')
    url, _ = endpoint(body=document({"function": "f", "web_hook_url": other}))
    status, out, _ = run("call", url, "f")
    assert (status, json.loads(out)) == (0, {"error": "no such call"})


def test_a_reader_may_close_the_output(site):
    command = [sys.executable, "-m", "swaig_wsgi.cli", "swml", "called_site:app"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, text=True, env=environ, timeout=60
    )
    os.close(writer)
    assert result.returncode == 141
    assert "BrokenPipe" not in result.stderr


def test_errors_of_another_application_are_not_hidden(run, site):
    (site / "failing_site.py").write_text("def app(environ, start_response):\n    return {}['x']\n")
    with pytest.raises(KeyError):
        main(["swml", "failing_site:app"])
