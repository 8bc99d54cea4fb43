"""The clinic of the examples: its own tests, and its agent behind two workers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from support.waiting import PATIENCE

from swaig_wsgi.testing import AgentClient

ROOT = Path(__file__).parent.parent
CLINIC = ROOT / "examples" / "clinic"
AUTH = ("platform", "a password of the platform")


def test_the_tests_of_the_clinic_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=CLINIC,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = done.stdout.splitlines()[-1]
    assert " passed" in summary
    assert "skipped" not in summary


def test_the_clinic_is_typed() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=/dev/null"),
            *("app.py", "tests/conftest.py", "tests/test_clinic.py"),
        ],
        cwd=CLINIC,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def server(gunicorn: Any, tmp_path: Path) -> Any:
    """The clinic as its README serves it, with two workers."""
    return gunicorn(
        "app:app",
        *("-c", "python:swaig_wsgi.gunicorn", "--workers=2"),
        cwd=str(CLINIC),
        PYTHONPATH=str(ROOT),
        PYTHONDONTWRITEBYTECODE="1",
        SWML_BASIC_AUTH_USER=AUTH[0],
        SWML_BASIC_AUTH_PASSWORD=AUTH[1],
        CLINIC_DATABASE=str(tmp_path / "clinic.db"),
    )


def client_of(server: Any) -> AgentClient:
    return AgentClient(f"http://127.0.0.1:{server.port}/", auth=AUTH)


def next_monday(hour: int) -> datetime:
    today = datetime.combine(datetime.now(), time(hour))
    return today + timedelta(days=7 - today.weekday())


def booking(slot: datetime) -> dict[str, Any]:
    return {"slot": slot.isoformat(), "patient": "Ada"}


def test_the_clinic_books_once_in_two_workers(server: Any) -> None:
    client = client_of(server)
    client.fetch_swml("call-1", query={"location": "south"}, call={"from": "+12125550123"})
    results: list[Any] = []

    def book() -> None:
        results.append(client.call_tool("book_appointment", booking(next_monday(10))))

    # The client opens a connection for each call, and the kernel spreads them over the workers.
    threads = [threading.Thread(target=book) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(results) == 8
    # A repeat that waited too long for the first one is told that it is still in progress.
    booked = [each for each in results if "in progress" not in each["response"]]
    assert booked[0]["response"].startswith("Booked for ")
    assert "+12125550123" in str(booked[0]["action"])
    assert all(each == booked[0] for each in booked)
    for _ in range(8):
        found = client.call_tool("find_appointments", {"day": f"{next_monday(10):%Y-%m-%d}"})
        assert ": 10:30, " in found["response"]
    # Another call finds the time taken, in either worker.
    client.fetch_swml("call-2", query={"location": "south"})
    taken = client.call_tool("book_appointment", booking(next_monday(10)))
    assert taken == {"response": "That time is not free. Offer another one."}
    assert client.post_prompt({"outcome": "booked"}, call_id="call-1") == {"status": "ok"}


def test_attack_nothing_is_booked_without_the_token_of_the_call(server: Any) -> None:
    client = client_of(server)
    client.fetch_swml("call-1", query={"location": "south"}, call={"from": "+12125550123"})
    (tool,) = [each for each in client.tools if each["function"] == "book_appointment"]
    (other,) = [each for each in client.tools if each["function"] == "cancel_appointment"]
    parts = urlsplit(tool["web_hook_url"])
    token = dict(parse_qsl(parts.query))["__token"]
    of_other = dict(parse_qsl(urlsplit(other["web_hook_url"]).query))["__token"]

    def post(token: str | None, call_id: str) -> Any:
        query = "" if token is None else "?" + urlencode({"__token": token})
        argument = {"parsed": [booking(next_monday(10))]}
        body = {"function": "book_appointment", "call_id": call_id, "argument": argument}
        return server.request("POST", parts.path + query, body, auth=AUTH)

    for bad, call_id in (
        (None, "call-1"),
        (token[:-4], "call-1"),
        (of_other, "call-1"),
        (token, "call-2"),
    ):
        response = post(bad, call_id)
        assert response.status == 200
        assert "action" not in response.json
        assert "Booked" not in response.json["response"]
    # Without credentials even the right token is not looked at.
    path = f"{parts.path}?{parts.query}"
    assert server.request("POST", path, {"function": "book_appointment"}, auth=None).status == 401
    # The time is still free, and the URL in the document is all that the platform needs.
    assert post(token, "call-1").json["response"].startswith("Booked for ")
