"""Failed authentications are limited over several workers that share a store."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

APP = """
import os
from swaig_wsgi import Settings
from swaig_wsgi.middleware import AuthHandler, harden

def site(environ, start_response):
    status = "401 Unauthorized" if environ["PATH_INFO"] == "/own" else "200 OK"
    start_response(status, [("Content-Type", "text/plain"), ("X-Worker", str(os.getpid()))])
    return [b"site"]

settings = Settings.from_env()
app = harden(site, settings, auth=AuthHandler(basic_auth=settings.basic_auth))
"""
AGENT = "swaig_wsgi.examples.basic:app"
VALID = ("admin", "a password")
WRONG = ("admin", "wrong")
WORKERS = 3


@pytest.fixture
def start(gunicorn: Any, tmp_path: Path) -> Any:
    """Return a function that starts three workers behind a trusted proxy: this test."""

    def start(app: str = "guarded:app", **env: str) -> Any:
        (tmp_path / "guarded.py").write_text(APP)
        options = ("-c", "python:swaig_wsgi.gunicorn", "-w", str(WORKERS))
        env.update(SWML_BASIC_AUTH_USER=VALID[0], SWML_BASIC_AUTH_PASSWORD=VALID[1])
        env = {"SWML_AUTH_FAILURE_LIMIT": "5", "SWML_TRUSTED_PROXIES": "127.0.0.1", **env}
        return gunicorn(app, *options, cwd=str(tmp_path), **env)

    return start


@pytest.fixture(params=["private file", "file", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    if request.param == "private file":
        return {}
    if request.param == "redis":
        return {"SWML_STORAGE_URL": request.getfixturevalue("valkey_url")}
    return {"SWML_STORAGE_URL": f"sqlite:///{tmp_path}/counts.db"}


def status(server: Any, auth: Any = WRONG, client: str = "192.0.2.1", path: str = "/") -> int:
    found: int = server.request("GET", path, headers={"X-Forwarded-For": client}, auth=auth).status
    return found


@pytest.mark.parametrize("app", ["guarded:app", AGENT])
def test_attack_guessing_over_all_workers_is_limited_exactly(
    start: Any, store: dict[str, str], app: str
) -> None:
    server = start(app, **store)
    assert [status(server) for _ in range(30)] == [401] * 5 + [429] * 25
    # Refused before credentials are read, so no response tells which are valid.
    assert [status(server, VALID) for _ in range(6)] == [429] * 6
    assert [status(server, VALID, "192.0.2.2") for _ in range(12)] == [200] * 12
    assert "auth_failures reason=limit_exceeded client=192.0.2.1" in server.log


@pytest.mark.threads
def test_attack_concurrent_guesses_add_only_those_in_flight(start: Any) -> None:
    server = start()
    with ThreadPoolExecutor(8) as threads:
        seen = Counter(threads.map(lambda _: status(server), range(200)))
    assert 5 <= seen[401] <= 5 + 8
    assert seen[401] + seen[429] == 200
    assert status(server, VALID) == 429


def test_what_is_no_failure_of_our_authentication_does_not_count(start: Any) -> None:
    server = start(SWML_AUTH_FAILURE_LIMIT="1")
    assert [status(server, VALID, path="/own") for _ in range(12)] == [401] * 12
    assert [status(server, None) for _ in range(12)] == [401] * 12
    assert [status(server, VALID) for _ in range(12)] == [200] * 12
    assert [status(server) for _ in range(3)] == [401, 429, 429]


def test_attack_an_agent_counts_every_endpoint_and_no_health_check(start: Any) -> None:
    server = start(AGENT)
    paths = ["/", "/swaig", "/post_prompt", "/", "/nowhere", "/", "/swaig"]
    assert [status(server, path=path) for path in paths] == [401] * 5 + [429] * 2
    assert status(server, path="/health") == 200


def test_the_platform_is_reported_but_never_refused(start: Any) -> None:
    """With an outdated password in use, valid calls from the same address still pass."""
    server = start(AGENT, SWML_ALLOWED_CLIENTS="198.51.100.0/24")
    for address in ("198.51.100.1", "198.51.100.2"):
        assert [status(server, client=address) for _ in range(12)] == [401] * 12
        assert status(server, VALID, address) == 200
        event = f"auth_failures reason=exempt_client client={address}"
        server.wait_for_log(event)
        assert server.log.count(event) == 1
