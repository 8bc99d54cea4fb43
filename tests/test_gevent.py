"""gunicorn's gevent worker, where all handlers are greenlets of one thread."""

from __future__ import annotations

import http.client
import ssl
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

CERTS = Path(__file__).parent / "certs"
WORKER = ("-c", "python:swaig_wsgi.gunicorn", "--worker-class=gevent")

AGENT = '''
import asyncio
import time
from pathlib import Path

from swaig_wsgi import AgentApp, AuthHandler


async def is_trusted(request):
    await asyncio.sleep(0.2)
    return request.headers.get("X-Internal") == "trusted"


app = AgentApp("async", auth=AuthHandler(custom_validator=is_trusted))


@app.tool(secure=True, once=60)
async def pay():
    """Pay."""
    with open(Path(__file__).with_name("paid"), "a") as file:
        file.write("x")
    await asyncio.sleep(0.2)
    return "paid"


@app.tool()
async def keep(key: str):
    """Keep something, a little at a time."""
    for n in range(10):
        app.sessions.set_session_metadata(key, {"n": n})
        await asyncio.sleep(0.001)
    return str(app.sessions.get_session_metadata(key)["n"])


@app.tool()
def keep_in_turn(key: str):
    """Keep something, and see no other request's loop."""
    for n in range(10):
        app.sessions.set_session_metadata(key, {"n": n})
        time.sleep(0.001)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return str(app.sessions.get_session_metadata(key)["n"])
    return "the loop of another request"
'''


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_async_and_sync_handlers_run_concurrently(
    gunicorn: Any, tmp_path: Path, request: pytest.FixtureRequest, store: str
) -> None:
    url = "sqlite://" if store == "sqlite" else request.getfixturevalue("valkey_url")
    (tmp_path / "async_agent.py").write_text(AGENT)
    server = gunicorn(
        "async_agent:app",
        *WORKER,
        "--workers=2",
        cwd=str(tmp_path),
        SWML_RATE_LIMIT="1000",
        SWML_STORAGE_URL=url,
    )
    document = server.request("POST", "/", {"call_id": "call-1"}).json
    functions = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
    url = next(tool["web_hook_url"] for tool in functions if tool["function"] == "pay")
    query = urlsplit(url).query

    def call(number: int) -> tuple[str, int, str]:
        name = ("pay", "keep", "keep_in_turn")[number % 3]
        arguments = {} if name == "pay" else {"key": f"key-{number}"}
        body = {"function": name, "call_id": "call-1", "argument": {"parsed": [arguments]}}
        response = server.request(
            "POST", f"/swaig?{query}", body, {"X-Internal": "trusted"}, auth=None
        )
        return name, response.status, response.json["response"]

    with ThreadPoolExecutor(30) as threads:
        results = Counter(threads.map(call, range(30)))
    assert results == {
        ("pay", 200, "paid"): 10,
        ("keep", 200, "9"): 10,
        ("keep_in_turn", 200, "9"): 10,
    }
    assert (tmp_path / "paid").read_text() == "x"
    refused = server.request("GET", "/", headers={"X-Internal": "no"}, auth=None)
    assert refused.status == 401
    assert "r=968;" in refused.headers["RateLimit"]  # both processes together counted 32 requests


def test_tls_is_served(gunicorn: Any) -> None:
    server = gunicorn(
        "swaig_wsgi.examples.basic:app",
        *WORKER,
        "--workers=1",
        SWML_SSL_ENABLED="true",
        SWML_SSL_CERT_PATH=str(CERTS / "cert.pem"),
        SWML_SSL_KEY_PATH=str(CERTS / "key.pem"),
    )
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=60)
    connection.request("GET", "/health")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b'{"status": "ok"}')
    connection.close()
