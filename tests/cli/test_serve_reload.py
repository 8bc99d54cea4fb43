"""``serve`` on a terminal and in a pipe, with several workers, and when modules change."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.waiting import PATIENCE, wait_until

USER, PASSWORD = "demo", "p@ss:w/ö"
ROOT = Path(__file__).resolve().parents[2]
LISTENING = r"(?:Listening at: |Running on )http://127\.0\.0\.1:(\d+)"
AGENT = '''
import os
from swaig_wsgi import AgentApp
app = AgentApp("my bank", route="/bank", host="127.0.0.1")

@app.tool(secure=True)
def pay(amount: float, to: str) -> str:
    """Pay."""
    return f"{RESULT} {os.getpid()}"
'''


@pytest.fixture
def site(tmp_path):
    """Return the file of a module with an agent, whose tool returns "one" and the process."""
    path = tmp_path / "site" / "reloaded_site.py"
    path.parent.mkdir()
    path.write_text(AGENT.replace("{RESULT}", "one"))
    return path


@pytest.fixture
def environ(tmp_path):
    """Return an environment in which ``swaig-wsgi`` is a command of a shell."""
    script = tmp_path / "bin" / "swaig-wsgi"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m swaig_wsgi.cli "$@"\n')
    script.chmod(0o755)
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    return {"PYTHONPATH": str(ROOT), "PATH": path, "TERM": "xterm"}


class Terminal:
    """A process whose terminal this is."""

    def __init__(self, command, cwd, environ):
        self._master, slave = pty.openpty()
        self._output = b""
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**os.environ, **environ},
            start_new_session=True,
            # A shell ignores SIGINT in what it runs in the background, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(slave)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with contextlib.suppress(OSError):  # Linux reports the end of a terminal as an error
            while True:
                self._output += os.read(self._master, 65_536)

    @property
    def text(self):
        return self._output.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(self, pattern):
        wait_until(lambda: re.search(pattern, self.text) or self.process.poll() is not None)
        match = re.search(pattern, self.text)
        assert match is not None, self.text
        return match

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(site, environ):
    """Return a function that runs ``swaig-wsgi serve`` on a terminal."""
    started = []

    def start(*options, **variables):
        command = [sys.executable, "-m", "swaig_wsgi.cli", "serve", "reloaded_site:app"]
        found = Terminal([*command, "--port=0", *options], site.parent, {**environ, **variables})
        started.append(found)
        return found

    yield start
    for each in started:
        each.stop()


def run(line, environ):
    """Run a line in a shell, and return its output or "status N"."""
    result = subprocess.run(  # noqa: S602 - the command of this test
        line,
        shell=True,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    return result.stdout.strip() or f"status {result.returncode}: {result.stderr}"


def plain(text):
    return re.sub(r"\x1b\[\d*m", "", text)


@pytest.mark.parametrize("options", [(), ("--workers=2",)])
def test_the_banner_on_a_terminal_has_what_the_platform_and_a_shell_need(
    terminal, environ, options
):
    server = terminal(*options)
    server.wait_for(r"call a tool .*\n")
    text = plain(server.text)
    (url,) = re.findall(r"URL for the platform  (\S+)\n", text)
    match = re.fullmatch(r"http://my%20bank:([0-9a-f]{32})@(127\.0\.0\.1:\d+/bank)", url)
    assert match is not None
    (line,) = re.findall(r"call a tool +(\S.*)\n", text)
    assert line == (
        f"SWML_BASIC_AUTH_USER='my bank' SWML_BASIC_AUTH_PASSWORD={match[1]} "
        f"swaig-wsgi call http://{match[2]} pay --arg amount=1 --arg to=text"
    )
    assert run(line, environ).startswith("one ")
    assert run(f"swaig-wsgi tools {url}", environ).startswith("pay(")
    # The log on the same terminal has no password.
    log = [each for each in text.splitlines() if re.match(r"\d{4}-|agent '", each)]
    assert log
    assert not any(match[1] in each for each in log)


@pytest.mark.parametrize("options", [(), ("--workers=2",)])
def test_attack_a_generated_password_does_not_get_into_a_pipe(
    serve_command, site, environ, options
):
    command = [sys.executable, "-m", "swaig_wsgi.cli", "serve", "reloaded_site:app", "--port=0"]
    server = serve_command([*command, *options], environ, listening=LISTENING, cwd=str(site.parent))
    server.wait_for_log("call a tool")
    assert f"http://my%20bank:****@127.0.0.1:{server.port}/bank" in server.log
    assert "shown on a terminal only" in server.log
    assert re.search(r"[0-9a-f]{32}", server.log) is None
    assert "\x1b" not in server.log


@pytest.mark.parametrize("options", [(), ("--workers=1",)])
def test_attack_a_configured_password_is_never_shown(terminal, environ, options):
    variables = {"SWML_BASIC_AUTH_USER": USER, "SWML_BASIC_AUTH_PASSWORD": "a-password-in-use"}
    server = terminal(*options, **variables)
    server.wait_for(r"call a tool .*\n")
    text = plain(server.text)
    assert "a-password-in-use" not in text
    assert f"http://{USER}:****@127.0.0.1:" in text
    (line,) = re.findall(r"call a tool +(swaig-wsgi .*)\n", text)
    assert run(line, {**environ, **variables}).startswith("one ")


def test_colors_are_for_terminals_that_want_them(terminal):
    for variables, colored in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        server = terminal(**variables)
        server.wait_for(r"call a tool .*\n")
        banner = server.text.partition("my bank")[2].partition("call a tool")[0]
        assert ("\x1b[36mhttp://" in banner) == colored, variables


def test_the_other_commands_have_colors_on_terminals_only(site, environ):
    def output(*arguments, **variables):
        command = [sys.executable, "-m", "swaig_wsgi.cli", *arguments]
        found = Terminal(command, site.parent, {**environ, **variables})
        wait_until(lambda: found.process.poll() is not None)
        wait_until(lambda: "pay" in found.text)
        text = found.text
        found.stop()
        return text

    for command in ("tools", "swml"):
        assert "\x1b[" in output(command, "reloaded_site:app")
        assert "\x1b[" not in output(command, "reloaded_site:app", NO_COLOR="1")
        assert "\x1b[" not in output(command, "reloaded_site:app", "--json")
        assert "\x1b[" not in run(
            f"cd {shlex.quote(str(site.parent))} && swaig-wsgi {command} reloaded_site:app", environ
        )


@pytest.mark.slow
def test_changed_modules_are_reloaded_and_the_password_stays(terminal, environ, site):
    server = terminal("--workers=2", "--reload")
    server.wait_for(r"call a tool .*\n")
    (line,) = re.findall(r"call a tool +(\S.*)\n", plain(server.text))

    def responds(text, times):
        return all(text in run(line, environ) for _ in range(times))

    def change(content):
        # Each content has another size: otherwise, bytecode of the same second would be used.
        site.write_text(content)

    assert responds("one ", 2)
    change(AGENT.replace("{RESULT}", "number two"))
    wait_until(lambda: responds("number two ", 4))
    change(AGENT.replace("{RESULT}", "three") + "\nundefined_name\n")
    wait_until(lambda: responds("500 Internal Server Error", 4))
    assert "NameError" in server.text
    change(AGENT.replace("{RESULT}", "number four"))
    wait_until(lambda: responds("number four ", 4))
    change("raise SystemExit\n")
    wait_until(lambda: responds("500 Internal Server Error", 4))
    change("def broken(:\n")
    wait_until(lambda: responds("500 Internal Server Error", 4))
    # No part of a traceback reaches a client.
    assert "Traceback" not in run(line, environ)
    change(AGENT.replace("{RESULT}", "the fifth"))
    wait_until(lambda: responds("the fifth ", 4))


def test_two_workers_share_what_was_generated(serve_command, site, environ):
    command = [sys.executable, "-m", "swaig_wsgi.cli", "serve", "reloaded_site:app", "--port=0"]
    variables = {"SWML_BASIC_AUTH_USER": USER, "SWML_BASIC_AUTH_PASSWORD": PASSWORD}
    server = serve_command(
        [*command, "--workers=2"],
        {**environ, **variables},
        listening=LISTENING,
        cwd=str(site.parent),
    )
    line = f"swaig-wsgi call http://127.0.0.1:{server.port}/bank pay --arg amount=1 --arg to=x"
    workers = set()

    def both_have_run():
        text = run(line, {**environ, **variables})
        assert text.startswith("one "), text
        workers.add(text)
        return len(workers) == 2

    wait_until(both_have_run)
    status = server.request("GET", "/bank").status
    assert (status, server.request("GET", "/bank", auth=None).status) == (200, 401)


@pytest.mark.parametrize("option", ["--workers=2", "--reload"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("app = 1\n", "not a WSGI application"),
        ("", "has no 'app'"),
        ("import missing_module_of_the_site\n", "missing_module_of_the_site"),
        ("raise SystemExit\n", "reloaded_site:app cannot be imported: SystemExit"),
        ("import os\nos._exit(3)\n", "ends its process"),
    ],
)
def test_nothing_is_served_if_the_application_cannot_be_loaded(
    site, environ, content, words, option
):
    site.write_text(content)
    where = shlex.quote(str(site.parent))
    text = run(f"cd {where} && swaig-wsgi serve reloaded_site:app --port=0 {option}", environ)
    assert text.startswith("status 2: ")
    assert words in text
    # The directory of the shell is no secret.
    assert f'File "{site}", line 1' in text or content != "import missing_module_of_the_site\n"


@pytest.mark.parametrize("workers", ["0", "-1", "1000", "two"])
def test_the_number_of_workers_is_checked(environ, workers):
    text = run(f"swaig-wsgi serve reloaded_site:app --workers={workers}", environ)
    assert text.startswith("status 2: ")
    assert "from 1 to 999" in text


def test_a_wrong_setting_is_named(site, environ):
    where = shlex.quote(str(site.parent))
    text = run(
        f"cd {where} && SWML_RATE_LIMIT=abc swaig-wsgi serve reloaded_site:app --workers=2", environ
    )
    assert text.startswith("status 2: swaig-wsgi: SWML_RATE_LIMIT: ")


def test_an_application_without_agents_is_served_without_a_banner(serve_command, site, environ):
    site.write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [b'plain']\n"
    )
    command = [sys.executable, "-m", "swaig_wsgi.cli", "serve", "reloaded_site:app", "--port=0"]
    server = serve_command(
        [*command, "--workers=1"], environ, listening=LISTENING, cwd=str(site.parent)
    )
    assert server.request("GET", "/").body == b"plain"
    assert "call a tool" not in server.log


@pytest.mark.slow
@pytest.mark.parametrize("option", [[], ["--workers=1"]])
def test_a_port_in_use_is_reported(site, environ, option):
    command = [sys.executable, "-m", "swaig_wsgi.cli", "serve", "reloaded_site:app"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = subprocess.run(
            [*command, f"--port={port}", *option],
            cwd=site.parent,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    assert result.returncode == 2
    assert "in use" in result.stderr
    assert "call a tool" not in result.stderr


@pytest.mark.parametrize("options", [(), ("--workers=2",)])
def test_interrupting_is_success(terminal, options):
    server = terminal(*options)
    server.wait_for("call a tool")
    # Also while the second worker imports the application.
    server.wait_for("generated credentials")
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(PATIENCE) == 0


def test_workers_serve_tls(serve_command, site, environ):
    certs = ROOT / "tests" / "certs"
    variables = {
        "SWML_SSL_ENABLED": "true",
        "SWML_SSL_CERT_PATH": str(certs / "cert.pem"),
        "SWML_SSL_KEY_PATH": str(certs / "key.pem"),
        "SWML_BASIC_AUTH_USER": USER,
        "SWML_BASIC_AUTH_PASSWORD": PASSWORD,
    }
    command = [sys.executable, "-m", "swaig_wsgi.cli", "serve", "reloaded_site:app", "--port=0"]
    server = serve_command(
        [*command, "--workers=1"],
        {**environ, **variables},
        listening=LISTENING.replace("http:", "https:"),
        cwd=str(site.parent),
    )
    server.wait_for_log("call a tool")
    url = f"https://127.0.0.1:{server.port}/bank"
    assert f"swaig-wsgi call {url} pay" in server.log
    line = f"swaig-wsgi call {url} pay --arg amount=1 --arg to=x"
    trusted = {**environ, **variables, "SSL_CERT_FILE": str(certs / "cert.pem")}
    assert run(line, trusted).startswith("one ")
    assert "CERTIFICATE_VERIFY_FAILED" in run(line, {**environ, **variables})


@pytest.mark.parametrize(
    ("code", "routes"),
    [
        ("app = harden(make('a', '/a'))", ["/a"]),
        (
            "app = AgentServer()\napp.register(make('a', '/a'))\napp.register(make('b', '/b'))",
            ["/a", "/b"],
        ),
        ("app = DispatcherMiddleware(make('a', '/a'), {'/x': make('b', '/b')})", ["/a"]),
    ],
)
def test_the_banner_shows_the_agents_whose_urls_are_known(terminal, site, code, routes):
    site.write_text(
        "from swaig_wsgi import AgentApp, AgentServer, harden\n"
        "from werkzeug.middleware.dispatcher import DispatcherMiddleware\n"
        f"make = lambda name, route: AgentApp(name, route=route)\n{code}\n"
    )
    server = terminal("--workers=1")
    server.wait_for("Booting worker")
    found = re.findall(
        r"URL for the platform  http://[ab]:\w+@127\.0\.0\.1:\d+(/\S+)", plain(server.text)
    )
    assert found == routes


def test_the_banner_shows_the_public_url(serve_command, site, environ):
    command = [sys.executable, "-m", "swaig_wsgi.cli", "serve", "reloaded_site:app", "--port=0"]
    server = serve_command(
        command,
        {**environ, "SWML_PROXY_URL_BASE": "https://agent.example.com/voice"},
        listening=LISTENING,
        cwd=str(site.parent),
    )
    server.wait_for_log("call a tool")
    assert "https://my%20bank:****@agent.example.com/voice/bank\n" in server.log
    assert f"swaig-wsgi call http://127.0.0.1:{server.port}/bank pay " in server.log
