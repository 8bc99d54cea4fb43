"""The command: ``serve`` in a separate process, the other commands in this one."""

from __future__ import annotations

import base64
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from swaig_wsgi import SessionManager, __version__
from swaig_wsgi.cli._main import main
from swaig_wsgi.config import Settings

ROOT = Path(__file__).resolve().parents[2]
CERTS = ROOT / "tests" / "certs"
AGENT = "swaig_wsgi.examples.basic:app"
RUNNING = r"Running on https?://127\.0\.0\.1:(\d+)"
TLS = {
    "SWML_SSL_ENABLED": "true",
    "SWML_SSL_CERT_PATH": str(CERTS / "cert.pem"),
    "SWML_SSL_KEY_PATH": str(CERTS / "key.pem"),
}


@pytest.fixture
def command(tmp_path):
    """Return the command as a script elsewhere; only the command adds the current directory."""
    script = tmp_path / "bin" / "swaig-wsgi.py"
    script.parent.mkdir()
    script.write_text(
        f"import sys\nsys.path.append({str(ROOT)!r})\n"
        "from swaig_wsgi.cli._main import main\nsys.exit(main())\n"
    )
    return str(script)


@pytest.fixture
def site(tmp_path):
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "served_site.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [environ['wsgi.url_scheme'].encode()]\n"
    )
    return str(directory)


def run(command, *arguments, flags=(), cwd=None, **variables):
    return subprocess.run(
        [sys.executable, *flags, command, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=variables,
        timeout=60,
    )


def check_failure(result, status, *words):
    assert result.returncode == status
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


# -- serve


def test_an_agent_is_served(serve_command, command):
    server = serve_command(
        [sys.executable, command, "serve", AGENT, "--host=127.0.0.1", "--port=0"],
        {"SWML_BASIC_AUTH_USER": "demo", "SWML_BASIC_AUTH_PASSWORD": "p@ss:w/ö"},
        listening=RUNNING,
    )
    assert server.request("GET", "/health", auth=None).status == 200
    assert server.request("GET", "/", auth=None).status == 401
    response = server.request("GET", "/?call_id=call-1")
    assert response.status == 200
    assert f"127.0.0.1:{server.port}" in response.body.decode()


def test_an_application_in_the_current_directory_is_served(serve_command, command, site):
    server = serve_command(
        [sys.executable, command, "serve", "served_site:app", "--port=0"],
        listening=RUNNING,
        cwd=site,
    )
    assert server.request("GET", "/").body == b"http"


def test_tls_is_served_when_it_is_enabled(serve_command, command, site):
    server = serve_command(
        [sys.executable, command, "serve", "served_site:app", "--port=0"],
        TLS,
        listening=RUNNING,
        cwd=site,
    )
    context = ssl.create_default_context(cafile=str(CERTS / "cert.pem"))
    url = f"https://127.0.0.1:{server.port}/"
    with urllib.request.urlopen(url, context=context, timeout=60) as response:
        assert response.read() == b"https"


@pytest.mark.parametrize("application", [AGENT, "served_site:app"])
def test_tls_does_not_start_without_its_certificate(command, site, application):
    missing = {**TLS, "SWML_SSL_CERT_PATH": "/missing.pem"}
    result = run(command, "serve", application, "--port=0", cwd=site, **missing)
    check_failure(result, 2, "SWML_SSL_CERT_PATH", "/missing.pem")


@pytest.mark.parametrize("application", [AGENT, "served_site:app"])
def test_an_invalid_variable_is_named(command, site, application):
    result = run(command, "serve", application, "--port=0", cwd=site, SWML_RATE_LIMIT="abc")
    check_failure(result, 2, "SWML_RATE_LIMIT")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["served_site:nothing"], "has no 'nothing'"),
        (["served_nowhere:app"], "no module 'served_nowhere'"),
        (["served_site:app", "--port=65536"], "from 0 to 65535"),
        (["served_site:app", "--port=http"], "from 0 to 65535"),
        (["served_site:app", "--port=0655355"], "from 0 to 65535"),
        ([], "MODULE:APP"),
        (["served_exit:app"], "served_exit:app cannot be imported: SystemExit: 7"),
        (["served_site:app", "--host=bad host"], "--host 'bad host': no address of this machine: "),
        (["served_site:app", "--host=192.0.2.1"], "--host '192.0.2.1': no address of this mach"),
        (["served_site:app", "--host=ü..x"], "--host 'ü..x': no address of this machine: "),
        (["served_site:app", "--host=192.0.2.1", "--workers=1"], "--host '192.0.2.1': no addr"),
    ],
)
def test_a_usage_error_is_reported(command, site, arguments, words):
    Path(site, "served_exit.py").write_text("raise SystemExit(7)\n")
    # Without a locale that encodes it, an argument that is not ASCII could not be passed.
    check_failure(run(command, "serve", *arguments, cwd=site, PYTHONUTF8="1"), 2, words)


@pytest.mark.parametrize(
    ("streams", "arguments", "words"),
    [
        (">/dev/full", ["secret"], "write error: No space left on device"),
        (">/dev/full", ["swml", AGENT], "write error: No space left on device"),
        (">/dev/full", ["check"], "write error: No space left on device"),
        (">&-", ["secret"], "standard output is closed"),
        (">&-", ["tools", AGENT], "standard output is closed"),
        (">&- <&-", ["call", AGENT, "get_balance"], "standard output is closed"),
        ("<&-", ["token", "inspect", "-"], "standard input is closed"),
        ("2>&-", ["tools", "served_nowhere:app"], ""),
        ("2>/dev/full", ["tools", "served_nowhere:app"], ""),
    ],
)
def test_streams_that_are_full_or_closed_are_an_error(command, streams, arguments, words):
    line = f'exec "$@" {streams}'
    result = subprocess.run(
        ["sh", "-c", line, "sh", sys.executable, command, *arguments],  # noqa: S607 - found on PATH
        capture_output=True,
        text=True,
        env={},
        timeout=60,
    )
    check_failure(result, 2, words)
    assert result.stdout == ""
    assert not words or result.stderr.endswith(f"swaig-wsgi: {words}\n")


def test_closed_streams_cost_neither_results_nor_the_server(command, serve_command):
    result = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&- <&-', "sh", sys.executable, command, "tools", AGENT],  # noqa: S607 - found on PATH
        capture_output=True,
        text=True,
        env={},
        timeout=60,
    )
    assert (result.returncode, result.stdout.count("secure")) == (0, 1)
    # The pipes of its processes must not get the numbers of closed streams.
    served = [sys.executable, command, "serve", AGENT, "--port=0", "--workers=1"]
    server = serve_command(
        ["sh", "-c", 'exec "$@" >&- <&-', "sh", *served], {}, listening=r"http://\S+:(\d+)"
    )
    assert server.request("GET", "/health", auth=None).status == 200


def test_without_werkzeug_the_extra_is_named(command, site):
    bare = {"flags": ("-S", "-E", "-I"), "cwd": site}
    check_failure(run(command, "serve", "served_site:app", **bare), 2, "'swaig-wsgi[app]'")
    check_failure(run(command, "swml", "served_site:app", **bare), 2, "'swaig-wsgi[app]'")
    for option in ("--workers=2", "--reload"):
        result = run(command, "serve", "served_site:app", option, **bare)
        check_failure(result, 2, "'swaig-wsgi[serve]'")


def test_the_other_commands_need_nothing_installed(command, tmp_path):
    bare = {"flags": ("-S", "-E", "-I", "-W", "error"), "cwd": str(tmp_path)}
    token = SessionManager().generate_token("pay", "call-1")
    for arguments in (
        ["check"],
        ["secret"],
        ["token", "inspect", token],
        ["vendor", "copied"],
        ["vendor", "copied", "--check"],
    ):
        result = run(command, *arguments, **bare)
        assert (result.returncode, result.stderr) == (0, "")


# -- secret, vendor, version


def test_each_secret_is_new_and_usable(capsys):
    secrets = set()
    for _ in range(2):
        assert main(["secret"]) == 0
        secret = capsys.readouterr().out.strip()
        assert len(base64.urlsafe_b64decode(secret + "=")) == 32
        assert Settings(swaig_secret=secret).swaig_secret == secret
        secrets.add(secret)
    assert len(secrets) == 2


def test_a_copy_is_made_and_checked(capsys, tmp_path):
    dest = str(tmp_path / "vendored")
    assert main(["vendor", dest, "--stores"]) == 0
    assert capsys.readouterr().out == f"{dest}: swaig-wsgi {__version__}, core, stores\n"
    assert main(["vendor", "--check", dest]) == 0
    (tmp_path / "vendored" / "core" / "auth.py").write_text("")
    assert main(["vendor", dest, "--check"]) == 1
    assert capsys.readouterr().out == "changed: core/auth.py\n"
    assert main(["vendor", dest]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["vendor", dest, "--force", "--middleware"]) == 0
    assert "core, stores, middleware" in capsys.readouterr().out
    assert main(["vendor", dest, "--check"]) == 0


def test_copies_that_cannot_be_made_or_checked_fail(capsys, tmp_path):
    assert main(["vendor", str(tmp_path / "not-a-name")]) == 2
    assert "identifier" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["vendor", str(tmp_path / "file" / "inside")]) == 2
    assert "swaig-wsgi: " in capsys.readouterr().err
    assert main(["vendor", "--check", str(tmp_path)]) == 1
    assert "is missing" in capsys.readouterr().err
    assert main(["vendor", "--check", "--force", str(tmp_path)]) == 2
    assert "stands alone" in capsys.readouterr().err


def test_the_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"swaig-wsgi {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["nonsense"]])
def test_without_a_command_the_usage_is_printed(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: swaig-wsgi" in capsys.readouterr().err
