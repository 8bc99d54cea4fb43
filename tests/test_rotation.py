"""The runbooks of docs/rotation.md, run as pasted, with clients that call all the time."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.platform import USER, signed, under_load
from support.rotation import (
    PROGRAM,
    ROTATIONS,
    Deployment,
    Rotation,
    accepts,
    blocks,
    runbook,
    section,
    use_kubernetes,
)
from support.wsgi import basic

CERTS = Path(__file__).parent / "certs"


@pytest.fixture
def deploy(gunicorn: Any, tmp_path: Path) -> Callable[..., Deployment]:
    def start(**env: str) -> Deployment:
        return Deployment(gunicorn, tmp_path, **env)

    return start


all_rotations = pytest.mark.parametrize("rotation", ROTATIONS, ids=lambda each: each.reason)


@pytest.mark.slow
@all_rotations
def test_a_runbook_refuses_and_loses_no_call(
    rotation: Rotation, deploy: Callable[..., Deployment]
) -> None:
    rotate(deploy(), rotation)


def rotate(deployment: Deployment, rotation: Rotation) -> None:
    """Do all steps of a runbook, with clients that call all the time."""
    old = deployment.files[rotation.current]
    with under_load(deployment.platform()) as platform:
        platform.go_on()
        assert deployment.records(rotation.reason) == 0
        for number, step in enumerate(rotation.steps, 1):
            if "sleep" in step.commands or "journalctl" in step.commands:
                # The last call with the old value has ended.
                assert deployment.records(rotation.reason) > 0
                platform.end_calls()
                platform.go_on()
                deployment.run("reload")  # so that what is counted only is written
                seen = len(deployment.server.log)
                platform.go_on()
                deployment.journal.write_text(deployment.server.log[seen:])
                assert "fallback_credential" not in deployment.journal.read_text()
                shown = deployment.run(step.commands.replace("sleep 3600", "true"))
                assert shown == ("unused\n" if "journalctl" in step.commands else "")
            else:
                seen = len(deployment.server.lines)
                shown = deployment.run(step.commands)
                if step.check:
                    assert any(step.check in line for line in deployment.server.lines[seen:])
            if number == rotation.changes_in:
                new = shown.strip()
                assert new not in ("", old)
                setattr(platform, rotation.attribute, new)
            platform.go_on()
            if number == 1:
                values = deployment.read(rotation.fallbacks).split()
                assert len(values) == 2
                assert old in values
            if number < len(rotation.steps):
                assert all(accepts(deployment, rotation, value) for value in values)
    (new,) = {*values} - {old}
    assert deployment.read(rotation.current).split() == [new]
    assert accepts(deployment, rotation, new)
    assert not accepts(deployment, rotation, old)


@pytest.mark.slow
@all_rotations
def test_going_back_refuses_and_loses_no_call(
    rotation: Rotation, deploy: Callable[..., Deployment]
) -> None:
    go_back(deploy(), rotation)


def go_back(deployment: Deployment, rotation: Rotation) -> None:
    """Do the steps of a runbook before the wait, and go back from each."""
    old = deployment.files[rotation.current]
    with under_load(deployment.platform()) as platform:
        platform.go_on()
        steps = rotation.steps
        last = rotation.changes_in or 2
        for number, step in enumerate(steps[:last], 1):
            shown = deployment.run(step.commands)
            if number == 1:
                values = deployment.read(rotation.fallbacks).split()
            if number == rotation.changes_in:
                setattr(platform, rotation.attribute, shown.strip())
            platform.go_on()
        # Calls that began with the new value go on while the old one comes back.
        for number in range(last, 1, -1):
            if number == rotation.changes_in:
                setattr(platform, rotation.attribute, old)
            else:
                deployment.run(steps[number - 1].back)
            platform.go_on()
        assert all(accepts(deployment, rotation, value) for value in values)
        platform.end_calls()
        platform.go_on()
        deployment.run(steps[0].back)
        platform.go_on()
    assert deployment.read(rotation.current).split() == [old]
    assert [accepts(deployment, rotation, value) for value in values] == [
        value == old for value in values
    ]


@pytest.mark.slow
@pytest.mark.parametrize("do", [rotate, go_back])
def test_the_runbooks_work_in_kubernetes_and_keep_secrets_off_command_lines(
    do: Callable[[Deployment, Rotation], None], deploy: Callable[..., Deployment]
) -> None:
    deployment = deploy()
    use_kubernetes(deployment)
    (password,) = (each for each in ROTATIONS if each.current == "password")
    do(deployment, password)
    arguments = (deployment.directory / "arguments").read_text()
    assert arguments.count("rollout status") >= 3
    new = {deployment.read(name).strip() for name in deployment.files}
    assert not any(secret in arguments for secret in {*deployment.files.values(), *new})


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600])
def test_the_owner_replaces_a_file_that_only_may_be_read(mode: int) -> None:
    *_, functions = blocks(section("Preparation"))
    replace = functions[functions.index("replace()") : functions.index("reload()")]
    # Not in tmp_path, which another user cannot enter.
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "password"
        file.write_text("the old one, which is longer\n")
        file.chmod(mode)
        user = os.geteuid() or 65534  # root could write to the file
        for path in (Path(directory), file):
            os.chown(path, user, -1)
        for value in ("the new one\n", ""):
            subprocess.run(
                ["sh", "-euc", f"{replace}\nreplace password"],  # noqa: S607 - found on PATH
                cwd=directory,
                input=value.encode(),
                user=user,
                check=True,
            )
            assert file.read_text() == value
            assert file.stat().st_mode & 0o777 == mode
            assert os.listdir(directory) == ["password"]
            # Left behind by an interrupted one.
            file.with_suffix(".new").touch(mode=0o400)
            os.chown(file.with_suffix(".new"), user, -1)


@pytest.mark.slow
def test_a_certificate_is_replaced_without_a_lost_call(
    deploy: Callable[..., Deployment], tmp_path: Path
) -> None:
    (step,) = runbook("TLS certificate")
    (tmp_path / "new").mkdir()
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_bytes((CERTS / name).read_bytes())
    new_certificate(tmp_path / "new")
    deployment = deploy(
        SWML_SSL_ENABLED="true",
        SWML_SSL_CERT_PATH=str(tmp_path / "cert.pem"),
        SWML_SSL_KEY_PATH=str(tmp_path / "key.pem"),
    )
    old, new = deployment.read("cert.pem"), deployment.read("new/cert.pem")
    context = ssl.create_default_context()
    context.check_hostname = False
    for each in (old, new):
        context.load_verify_locations(cadata=each)
    with under_load(deployment.platform(context=context)) as platform:
        platform.go_on()
        assert same(deployment.certificate(), old)
        for commands, served in ((step.commands, new), (step.back, old), (step.commands, new)):
            deployment.run(commands)
            assert same(deployment.certificate(), served)
            platform.go_on()
    check = re.search(r"`(openssl s_client [^`]+)`", section("TLS certificate"))
    assert check is not None
    shown = deployment.run(
        check[1].replace("127.0.0.1:8000", f"127.0.0.1:{deployment.server.port}")
    )
    assert shown.startswith("notAfter=")
    # The key, as each secret, can be read by its owner alone.
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600


def same(one: str, other: str) -> bool:
    return ssl.PEM_cert_to_DER_cert(one) == ssl.PEM_cert_to_DER_cert(other)


def new_certificate(directory: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=new", "-days", "2"),
            *("-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )


FLASK = """
from flask import Flask

app = Flask(__name__)


@app.post("/swml")
def swml():
    return {"token": sessions.generate_token("pay", "call-1")}


@app.post("/swaig")
def swaig():
    return {"response": "Paid."}


"""


@pytest.mark.slow
def test_a_flask_site_is_rotated_in_the_same_steps(deploy: Callable[..., Deployment]) -> None:
    code = re.search(r"```python\n(.*?)```", section("Flask, Django and other applications"), re.S)
    assert code is not None
    deployment = deploy(program=f"{FLASK}{code[1]}print('loaded', flush=True)\n")
    old = dict(deployment.files)

    def call(files: dict[str, str], token: str | None = None) -> tuple[int, str]:
        """Fetch a token, or pay with one."""
        target = "/swml" if token is None else f"/swaig?__token={token}"
        body = json.dumps({"function": "pay", "call_id": "call-1"}).encode()
        headers = {"Authorization": basic(USER, files["password"])}
        headers |= signed(files["signing-key"], target, body)
        response = deployment.server.request("POST", target, body, headers, auth=None)
        return response.status, response.json.get("token", "")

    kinds = [each for each in ROTATIONS if each.current != each.fallbacks]
    status, first = call(old)
    assert status == 200
    for number in (0, 1):
        for rotation in kinds:
            deployment.run(rotation.steps[number].commands)
        new = {name: deployment.read(name).strip() for name in old}
        assert call(old, first)[0] == call(new, first)[0] == 200
        assert {deployment.records(each.reason) > 0 for each in kinds} == {number == 1}
    status, second = call(new)
    assert status == 200
    for rotation in kinds:
        deployment.run(rotation.steps[-1].commands)
    assert call(new, second)[0] == 200
    assert call(new, first)[0] == 403
    assert call({**new, "password": old["password"]})[0] == 401
    assert call({**new, "signing-key": old["signing-key"]})[0] == 403


def test_the_page_reads_tokens_as_the_tested_program_does() -> None:
    code = re.search(r"```python\n(.*?)```", section("Bearer token or API key"), re.S)
    assert code is not None
    (line,) = re.findall(r"^tokens = .*$", code[1], re.M)
    assert line in PROGRAM
