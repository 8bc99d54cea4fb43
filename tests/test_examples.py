"""Every program in examples/ runs, and every deployment file does what its README says.

The Flask and Django projects have test modules of their own.
"""

from __future__ import annotations

import configparser
import dataclasses
import getpass
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from support.ports import PATIENCE, free_port

from swaig_wsgi import Settings
from swaig_wsgi.config import ConfigurationError
from swaig_wsgi.core.headers import SECURITY_HEADERS

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
CERTS = ROOT / "tests" / "certs"
SECRET = "a secret of some length"
CONFIG = ["-c", "python:swaig_wsgi.gunicorn"]
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

VARIABLES = {each.metadata["variable"] for each in dataclasses.fields(Settings)} | {
    f"{each.metadata['variable']}_FILE"
    for each in dataclasses.fields(Settings)
    if each.metadata["secret"]
}


@pytest.fixture
def serve(gunicorn: Any) -> Any:
    """Serve ``app:app`` of an example under our configuration."""

    def start(example: str, app: str = "app:app", **env: str) -> Any:
        env = {"PYTHONPATH": str(ROOT), "SIGNALWIRE_SWAIG_SECRET": SECRET, **env}
        return gunicorn(app, *CONFIG, "--workers=2", cwd=str(EXAMPLES / example), **env)

    return start


def test_each_example_has_a_short_readme_and_a_test() -> None:
    tests = "".join(
        (ROOT / "tests" / name).read_text()
        for name in ("test_examples.py", "test_flask.py", "test_django.py")
    )
    names = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
    assert len(names) >= 8
    for name in names:
        lines = (EXAMPLES / name / "README.md").read_text().splitlines()
        assert lines[0].startswith("# ")
        assert len(lines) <= 30
        assert f'"{name}"' in tests


def test_plain_wsgi(serve: Any) -> None:
    assert len((EXAMPLES / "plain_wsgi" / "app.py").read_text().splitlines()) <= 11
    server = serve("plain_wsgi", API_TOKEN="a-token", SWML_ALLOWED_HOSTS="127.0.0.1")
    good = {"Authorization": "Bearer a-token"}
    response = server.request("GET", "/", headers=good, auth=None)
    assert (response.status, response.body) == (200, b"Hello, authenticated client.\n")
    assert dict(SECURITY_HEADERS).items() <= response.headers.items()
    assert server.request("GET", "/", auth=None).status == 401
    evil = {**good, "Host": "evil.example"}
    assert server.request("GET", "/", headers=evil, auth=None).status == 403


def test_own_order(serve: Any, tmp_path: Path) -> None:
    server = serve(
        "own_order",
        API_USER="me",
        API_PASSWORD="a password",
        SWML_STORAGE_URL=f"sqlite:///{tmp_path}/counts.db",
    )
    me, local = ("me", "a password"), {"Host": "localhost"}

    def get(path: str, **options: Any) -> Any:
        headers = {**local, **options.pop("headers", {})}
        return server.request("GET", path, headers=headers, **options)

    response = get("/api/x", auth=me)
    assert response.json == {"account": "me"}
    assert response.headers["RateLimit-Policy"] == '"account";q=5;w=60'
    assert response.headers["Cache-Control"] == "no-store"
    assert "X-XSS-Protection" not in response.headers
    assert get("/api/x", auth=None).status == 401
    assert get("/other", auth=None).json == {"account": None}
    # The account's limit counts its requests from every address.
    statuses = [
        get("/api/x", auth=me, headers={"X-Forwarded-For": f"192.0.2.{number}"}).status
        for number in range(6)
    ]
    assert statuses == [200] * 4 + [429] * 2
    # The address's limit ends guessing.
    guesses = [get("/api/x", auth=("me", str(number))).status for number in range(20)]
    assert guesses[0] == 401
    assert guesses[-1] == 429
    assert server.request("GET", "/health", auth=None, headers={"Host": "10.0.0.1"}).status == 200
    preflight = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "DELETE"}
    response = server.request("OPTIONS", "/api/x", auth=None, headers={**local, **preflight})
    assert response.status == 204


def test_multi_agent(serve: Any) -> None:
    server = serve(
        "multi_agent",
        SALES_USER="sales",
        SALES_PASSWORD="a password",
        SUPPORT_USER="support",
        SUPPORT_PASSWORD="another password",
    )
    listing = server.request("GET", "/", auth=None).json
    assert {agent["route"] for agent in listing["agents"]} == {"/sales", "/support"}
    assert server.request("GET", "/health", auth=None).status == 200
    sales, support = ("sales", "a password"), ("support", "another password")

    def tool_url(agent: str, auth: tuple[str, str]) -> str:
        document = server.request("POST", f"/{agent}", {"call_id": "call-1"}, auth=auth).json
        (tool,) = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
        parts = urlsplit(tool["web_hook_url"])
        assert parts.path == f"/{agent}/swaig"
        return f"{parts.path}?{parts.query}"

    call = {
        "function": "reserve",
        "argument": {"parsed": [{"model": "Tourer"}]},
        "call_id": "call-1",
    }
    url = tool_url("sales", sales)
    reserved = {"response": "The Tourer is reserved."}
    assert server.request("POST", url, call, auth=sales).json == reserved
    assert server.request("POST", url, call, auth=support).status == 401
    assert server.request("GET", "/support", auth=sales).status == 401
    _, _, token = url.partition("?")
    foreign = server.request("POST", f"/support/swaig?{token}", call, auth=support)
    assert foreign.json != reserved


# Deployments


def settings_of(variables: dict[str, str]) -> Settings:
    """Return the settings of these variables, all of which must be ours and valid."""
    assert variables.keys() <= VARIABLES
    return Settings.from_env(variables)


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, str]:
    """Return the paths of secret files, by the names in the deployments."""
    contents = {"secret": SECRET, "password": "a password of the platform"}
    contents["storage-url"] = f"sqlite:///{tmp_path}/store.db"
    paths = {}
    for name, content in contents.items():
        path = tmp_path / name
        path.write_text(content + "\n")
        paths[name] = str(path)
    return paths


PLATFORM = ("platform", "a password of the platform")


def is_served(server: Any, host: str) -> None:
    """Check that an agent serves its platform and health checks, and nothing else."""
    headers = {"Host": host}
    assert server.request("GET", "/health", auth=None).json == {"status": "ok"}
    assert server.request("GET", "/ready", auth=None).json == {"status": "ready"}
    assert server.request("GET", "/", auth=None, headers=headers).status == 401
    assert server.request("GET", "/", auth=PLATFORM, headers={"Host": "evil.example"}).status == 403
    assert server.request("GET", "/", auth=PLATFORM, headers=headers).status == 200


class Unit(configparser.RawConfigParser):
    """A systemd unit; repeated keys are numbered."""

    def __init__(self, path: Path) -> None:
        super().__init__(strict=True, delimiters=("=",), comment_prefixes=("#",))
        self.optionxform = str  # type: ignore[assignment]
        seen: dict[str, int] = {}
        lines = []
        for line in path.read_text().splitlines():
            key, equals, _ = line.partition("=")
            if equals and key in ("Environment", "LoadCredential"):
                seen[key] = seen.get(key, 0) + 1
                line = f"{key}.{seen[key]}{line[len(key) :]}"
            lines.append(line)
        self.read_string("\n".join(lines))

    def all(self, key: str) -> list[str]:
        return [value for name, value in self["Service"].items() if name.startswith(f"{key}.")]


@pytest.fixture
def unit() -> Unit:
    return Unit(EXAMPLES / "deploy_nginx" / "swaig-agent.service")


def unit_environment(unit: Unit, directory: Path) -> dict[str, str]:
    lines = [line.replace("%d", str(directory)) for line in unit.all("Environment")]
    variables = dict(line.split("=", 1) for line in lines)
    variables["SWML_STORAGE_URL"] = f"sqlite:///{directory}/store.db"
    return variables


def unit_command(unit: Unit, bind: str) -> list[str]:
    program, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert program.endswith("/.venv/bin/gunicorn")
    arguments[arguments.index("--bind") + 1] = bind
    return [sys.executable, "-m", "gunicorn", *arguments]


def test_the_systemd_unit(unit: Unit, serve_command: Any, secrets: Any, tmp_path: Path) -> None:
    service = unit["Service"]
    assert service["User"] not in ("root", "")
    assert service["NoNewPrivileges"] == "yes"
    assert [line.partition(":")[0] for line in unit.all("LoadCredential")] == ["password", "secret"]
    variables = unit_environment(unit, tmp_path)
    settings = settings_of(variables)
    assert settings.trusted_proxies == ("unix",)
    assert settings.swaig_secret == SECRET
    server = serve_command(unit_command(unit, "127.0.0.1:0"), variables)
    is_served(server, "agent.example.com")


def test_nginx_overwrites_every_trusted_field() -> None:
    text = (EXAMPLES / "deploy_nginx" / "nginx.conf").read_text()
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    assert text.count("{") == text.count("}")
    fields = dict(re.findall(r"proxy_set_header\s+(\S+)\s+(\S+);", text))
    assert fields == {
        "Host": "$host",
        "X-Forwarded-For": "$remote_addr",
        "X-Forwarded-Proto": "$scheme",
        "X-Forwarded-Host": "$host",
        "X-Forwarded-Port": '""',
        "X-Forwarded-Prefix": '""',
        "Forwarded": '""',
    }
    assert "proxy_next_upstream off;" in text
    assert "$request_uri" not in text.partition("access_log")[0]
    assert '"$request"' not in text


@pytest.fixture
def nginx(unit: Unit, serve_command: Any, secrets: Any, tmp_path: Path) -> Iterator[int]:
    """Serve the example behind its nginx, and return the port for TLS."""
    assert NGINX is not None
    bind = f"unix:{tmp_path}/agent.sock"
    listening = r"Listening at: unix:\S+ \((\d+)\)"
    environment = unit_environment(unit, tmp_path)
    serve_command(unit_command(unit, bind), environment, listening=listening)
    port = free_port()
    text = (EXAMPLES / "deploy_nginx" / "nginx.conf").read_text()
    for ours, theirs in (
        ("user www-data;", f"user {getpass.getuser()}; daemon off;"),
        ("worker_processes auto", "worker_processes 1"),
        ("/run/nginx.pid", f"{tmp_path}/nginx.pid"),
        ("/var/log/nginx/error.log", "stderr"),
        ("/var/log/nginx/access.log", f"{tmp_path}/access.log"),
        ("unix:/run/swaig-agent/agent.sock", bind),
        ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/ssl/agent/", f"{CERTS}/"),
        (
            "server_tokens off;",
            f"server_tokens off; client_body_temp_path {tmp_path}/body;"
            f" proxy_temp_path {tmp_path}/proxy; fastcgi_temp_path {tmp_path}/fastcgi;"
            f" uwsgi_temp_path {tmp_path}/uwsgi; scgi_temp_path {tmp_path}/scgi;",
        ),
    ):
        assert ours in text
        text = text.replace(ours, theirs)
    config = tmp_path / "nginx.conf"
    config.write_text(text)
    command = [NGINX, "-e", "stderr", "-p", str(tmp_path), "-c", str(config)]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=PATIENCE)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


# .ci/run installs nginx, or reports that it cannot.
if NGINX is not None:

    def test_the_agent_behind_nginx(nginx: int, tmp_path: Path) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        def request(method: str, path: str, body: Any = None, **headers: str) -> Any:
            connection = http.client.HTTPSConnection(
                "127.0.0.1", nginx, context=context, timeout=PATIENCE
            )
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            fields = {"Host": "agent.example.com", "Content-Type": "application/json", **fields}
            connection.request(method, path, None if body is None else json.dumps(body), fields)
            response = connection.getresponse()
            content = response.read()
            connection.close()
            return response, json.loads(content)

        credentials = "Basic cGxhdGZvcm06YSBwYXNzd29yZCBvZiB0aGUgcGxhdGZvcm0="
        forged = {
            "X_Forwarded_For": "203.0.113.66",
            "X_Forwarded_Proto": "http",
            "X_Forwarded_Host": "evil.example",
            "X_Forwarded_Prefix": "/evil",
            "X_Forwarded_Port": "1",
            "Forwarded": "host=evil.example;proto=http",
            "Authorization": credentials,
        }
        response, document = request("POST", "/", {"call_id": "call-1"}, **forged)
        assert response.status == 200
        assert response.headers["Strict-Transport-Security"]
        assert response.headers["RateLimit"]
        functions = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
        url = next(f["web_hook_url"] for f in functions if f["function"] == "transfer_funds")
        parts = urlsplit(url)
        assert (parts.scheme, parts.hostname, parts.port) == ("https", "agent.example.com", None)
        assert parts.path == "/swaig"
        call = {
            "function": "transfer_funds",
            "argument": {"parsed": [{"amount": 5, "toAccount": "A-1"}]},
            "call_id": "call-1",
        }
        target = f"/swaig?{parts.query}"
        _, called = request("POST", target, call, Authorization=credentials)
        assert called == {"response": "Transfer completed."}
        assert request("GET", "/")[0].status == 401
        assert request("GET", "/", Authorization=credentials, Host="evil.example")[0].status == 403
        log = (tmp_path / "access.log").read_text()
        assert '"POST /swaig" 200' in log
        assert "__token" not in log


def dockerfile() -> list[tuple[str, str]]:
    text = (EXAMPLES / "deploy_docker" / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_container(serve_command: Any, secrets: Any) -> None:
    instructions = dockerfile()
    assert instructions[0][0] == "FROM"
    assert {word for word, _ in instructions} <= {
        "FROM",
        "RUN",
        "WORKDIR",
        "COPY",
        "USER",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "CMD",
    }
    one = dict(instructions)
    assert int(one["USER"]) > 0
    words = [word for word, _ in instructions]
    assert words.index("USER") > max(n for n, word in enumerate(words) if word == "RUN")
    for source in [rest.split()[0] for word, rest in instructions if word == "COPY"]:
        assert (EXAMPLES / "deploy_docker" / source).exists()
    command = json.loads(one["CMD"])
    command[command.index("--bind") + 1] = "127.0.0.1:0"
    variables = {
        "SIGNALWIRE_SWAIG_SECRET_FILE": secrets["secret"],
        "SWML_BASIC_AUTH_USER": "platform",
        "SWML_BASIC_AUTH_PASSWORD_FILE": secrets["password"],
        "SWML_ALLOWED_HOSTS": "localhost",
        "SWML_RATE_LIMIT": "120",
    }
    readme = (EXAMPLES / "deploy_docker" / "README.md").read_text()
    assert settings_of(variables).swaig_secret == SECRET
    assert set(re.findall(r"-e (\w+)=", readme)) == variables.keys()
    server = serve_command(
        [sys.executable, "-m", *command],
        {**variables, "PYTHONPATH": str(ROOT)},
        cwd=str(EXAMPLES / "deploy_docker"),
    )
    is_served(server, "localhost")
    probe = json.loads(one["HEALTHCHECK"].partition("CMD ")[2])
    script = probe[2].replace(":8000", f":{server.port}")
    assert subprocess.run([sys.executable, "-c", script], timeout=PATIENCE).returncode == 0
    script = probe[2].replace(":8000", f":{free_port()}")
    failed = subprocess.run(
        [sys.executable, "-c", script], stderr=subprocess.DEVNULL, timeout=PATIENCE
    )
    assert failed.returncode != 0


def manifests() -> dict[str, Any]:
    text = (EXAMPLES / "deploy_kubernetes" / "agent.yaml").read_text()
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def test_the_kubernetes_manifest(serve_command: Any, secrets: Any) -> None:
    found = manifests()
    assert found.keys() == {"ConfigMap", "Deployment", "Service", "Ingress"}
    spec = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == int(dict(dockerfile())["USER"])
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"] == labels
    # The manifest holds no secret, and mounts each file that the configuration names.
    mounts = {each["mountPath"] for each in container["volumeMounts"]}
    data = found["ConfigMap"]["data"]
    named = {name: value for name, value in data.items() if name.endswith("_FILE")}
    assert {os.path.dirname(value) for value in named.values()} <= mounts
    readme = (EXAMPLES / "deploy_kubernetes" / "README.md").read_text()
    assert {os.path.basename(value) for value in named.values()} == set(
        re.findall(r"--from-literal=([\w-]+)=", readme)
    )
    with pytest.raises(ConfigurationError, match="_FILE"):
        Settings.from_env(data)
    variables = {**data, **{name: secrets[os.path.basename(path)] for name, path in named.items()}}
    settings = settings_of(variables)
    assert settings.storage_url is not None
    # The image's own command, with the manifest's configuration.
    command = json.loads(dict(dockerfile())["CMD"])
    assert command[command.index("--bind") + 1].endswith(
        f":{container['ports'][0]['containerPort']}"
    )
    command[command.index("--bind") + 1] = "127.0.0.1:0"
    server = serve_command(
        [sys.executable, "-m", *command],
        {**variables, "PYTHONPATH": str(ROOT)},
        cwd=str(EXAMPLES / "deploy_docker"),
    )
    is_served(server, "agent.example.com")
    # The kubelet connects to the pod's address, without credentials.
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        path = container[probe]["httpGet"]["path"]
        response = server.request("GET", path, auth=None, headers={"Host": "10.244.7.9:8000"})
        assert response.status == 200
