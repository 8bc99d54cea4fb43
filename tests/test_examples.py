"""The programs and deployment files in examples/ work as their READMEs describe.

The clinic, the Flask and Django projects and the deployment with nginx have separate test modules.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from support.deployments import SECRET, is_served, settings_of, write_secrets
from support.ports import free_port
from support.waiting import PATIENCE

import swaig_wsgi.gunicorn as gunicorn_module
from swaig_wsgi import Settings
from swaig_wsgi.config import ConfigurationError
from swaig_wsgi.core.headers import SITE_HEADERS

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
CERTS = ROOT / "tests" / "certs"
CONFIG = ["-c", "python:swaig_wsgi.gunicorn"]
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.fixture
def serve(gunicorn: Any) -> Any:
    """Return a function that serves ``app:app`` of an example by swaig_wsgi.gunicorn."""

    def start(example: str, app: str = "app:app", **env: str) -> Any:
        env = {"PYTHONPATH": str(ROOT), "SIGNALWIRE_SWAIG_SECRET": SECRET, **env}
        return gunicorn(app, *CONFIG, "--workers=2", cwd=str(EXAMPLES / example), **env)

    return start


def test_each_example_has_a_short_readme_and_a_test() -> None:
    tests = "".join(
        (ROOT / "tests" / name).read_text()
        for name in (
            "test_examples.py",
            "test_clinic.py",
            "test_flask.py",
            "test_django.py",
            "test_deploy_nginx.py",
            "test_monitoring.py",
        )
    )
    names = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
    assert len(names) >= 8
    for name in names:
        lines = (EXAMPLES / name / "README.md").read_text().splitlines()
        assert lines[0].startswith("# ")
        assert len(lines) <= 30
        assert f'"{name}"' in tests


LIMITED = [ROOT / "README.md", *(ROOT / "docs" / name for name in ("flask.md", "django.md"))]
LIMITED += [path for path in EXAMPLES.iterdir() if path.is_dir()]


@pytest.mark.parametrize("place", LIMITED, ids=lambda path: path.name)
def test_examples_limit_failures_and_not_the_platform(place: Path) -> None:
    files = place.rglob("*") if place.is_dir() else [place]
    text = "".join(
        path.read_text() for path in files if path.is_file() and path.suffix not in (".pyc", ".db")
    )
    assert re.search(r"AUTH_FAILURE_LIMIT=|AuthFailureLimit|\bauth_failure_limit|_LIMIT: ", text)
    assert not re.search(r"SWML_RATE_LIMIT\b[=:]", text)


def test_plain_wsgi_is_hardened(serve: Any) -> None:
    assert len((EXAMPLES / "plain_wsgi" / "app.py").read_text().splitlines()) <= 11
    server = serve("plain_wsgi", API_TOKEN="a-token", SWML_ALLOWED_HOSTS="127.0.0.1")
    good = {"Authorization": "Bearer a-token"}
    response = server.request("GET", "/", headers=good, auth=None)
    assert (response.status, response.body) == (200, b"Hello, authenticated client.\n")
    assert dict(SITE_HEADERS).items() <= response.headers.items()
    assert server.request("GET", "/", auth=None).status == 401
    evil = {**good, "Host": "evil.example"}
    assert server.request("GET", "/", headers=evil, auth=None).status == 403


def test_own_order_limits_accounts_and_failures(serve: Any, tmp_path: Path) -> None:
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
    # The limit of an account counts its requests from all addresses.
    statuses = [
        get("/api/x", auth=me, headers={"X-Forwarded-For": f"192.0.2.{number}"}).status
        for number in range(6)
    ]
    assert statuses == [200] * 4 + [429] * 2
    # The limit on failures stops attempts to guess the password.
    guesses = [get("/api/x", auth=("me", str(number))).status for number in range(20)]
    assert guesses == [401] * 10 + [429] * 10
    assert server.request("GET", "/health", auth=None, headers={"Host": "10.0.0.1"}).status == 200
    preflight = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "DELETE"}
    response = server.request("OPTIONS", "/api/x", auth=None, headers={**local, **preflight})
    assert response.status == 204


def test_multi_agent_separates_credentials_and_tokens(serve: Any) -> None:
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
    response = server.request("POST", f"/support/swaig?{token}", call, auth=support)
    assert response.json != reserved


# Deployments


def dockerfile() -> list[tuple[str, str]]:
    text = (EXAMPLES / "deploy_docker" / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_container_runs_unprivileged_and_serves(serve_command: Any, tmp_path: Path) -> None:
    secrets = write_secrets(tmp_path)
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
        "SIGNALWIRE_SWAIG_SECRET_FALLBACKS_FILE": secrets["secret-fallbacks"],
        "SWML_BASIC_AUTH_USER": "platform",
        "SWML_BASIC_AUTH_PASSWORD_FILE": secrets["password"],
        "SWML_BASIC_AUTH_PASSWORD_FALLBACKS_FILE": secrets["password-fallbacks"],
        "SWML_ALLOWED_HOSTS": "localhost",
        "SWML_AUTH_FAILURE_LIMIT": "10",
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
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(text)}


def test_the_kubernetes_manifest_runs_unprivileged_and_serves(
    serve_command: Any, tmp_path: Path
) -> None:
    secrets = write_secrets(tmp_path)
    objects = manifests()
    assert objects.keys() == {
        "ConfigMap",
        "Deployment",
        "Service",
        "PodDisruptionBudget",
        "NetworkPolicy",
        "Ingress",
    }
    spec = objects["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == int(dict(dockerfile())["USER"])
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert objects["Service"]["spec"]["selector"] == labels
    # The manifest holds no secret, and mounts each file that the configuration names.
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    data = objects["ConfigMap"]["data"]
    files = {name: value for name, value in data.items() if name.endswith("_FILE")}
    assert {os.path.dirname(value) for value in files.values()} <= mounts
    readme = (EXAMPLES / "deploy_kubernetes" / "README.md").read_text()
    assert {os.path.basename(value) for value in files.values()} == set(
        re.findall(r"secrets/([\w-]+)", readme)
    )
    # The arguments of a command can be read by other users of the machine.
    assert "--from-literal" not in readme
    with pytest.raises(ConfigurationError, match="_FILE"):
        Settings.from_env(data)
    variables = {**data, **{name: secrets[os.path.basename(path)] for name, path in files.items()}}
    variables["SWML_TRUSTED_PROXIES"] += ",127.0.0.1"
    settings = settings_of(variables)
    assert settings.storage_url is not None
    assert settings.enforce_https is True
    # The command of the image, with the configuration of the manifest.
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
    is_served(server, "agent.example.com", {"X-Forwarded-Proto": "https"})
    # The kubelet connects to the pod's address, without credentials.
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        path = container[probe]["httpGet"]["path"]
        response = server.request("GET", path, auth=None, headers={"Host": "10.244.7.9:8000"})
        assert response.status == 200


def test_the_kubernetes_manifest_replaces_pods_without_losing_calls() -> None:
    objects = manifests()
    deployment = objects["Deployment"]["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    drain = int(objects["ConfigMap"]["data"]["SWML_DRAIN_SECONDS"])
    assert drain > 0
    ending = int(command[1]) + drain + gunicorn_module.graceful_timeout
    assert pod["terminationGracePeriodSeconds"] > ending
    # The master is process 1, and so receives the signal: no shell stands between.
    assert json.loads(dict(dockerfile())["CMD"])[0] == "gunicorn"
    budget = objects["PodDisruptionBudget"]["spec"]
    assert 0 < budget["minAvailable"] < deployment["replicas"]
    labels = deployment["template"]["metadata"]["labels"]
    assert budget["selector"]["matchLabels"] == labels


def test_only_the_ingress_controller_reaches_the_pods_and_plain_http_is_not_redirected() -> None:
    objects = manifests()
    policy = objects["NetworkPolicy"]["spec"]
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"] == labels
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": "http"}]
    (source,) = rule["from"]
    assert source["namespaceSelector"]["matchLabels"]
    ports = {each["port"] for rule in policy["egress"] for each in rule["ports"]}
    assert ports == {53, 6379}
    assert all(rule["to"] for rule in policy["egress"])
    annotations = objects["Ingress"]["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/ssl-redirect"] == "false"
    assert objects["ConfigMap"]["data"]["SWML_ENFORCE_HTTPS"] == "true"


def test_the_container_has_time_to_finish() -> None:
    readme = (EXAMPLES / "deploy_docker" / "README.md").read_text()
    (seconds,) = re.findall(r"--stop-timeout=(\d+)", readme)
    assert int(seconds) > gunicorn_module.graceful_timeout
