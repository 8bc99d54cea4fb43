"""Attacks over a socket: forged addresses, origins, hosts, bodies and signatures."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import hmac
import http.client
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.waiting import PATIENCE
from support.wsgi import basic

from swaig_wsgi.core.signatures import sign_body

APP = "swaig_wsgi.examples.basic:app"
JSON = {"Content-Type": "application/json"}
FORM = "application/x-www-form-urlencoded"
ORIGIN = "https://app.example.com"
KEY = "a signing key of some length"


@pytest.mark.parametrize(
    "trust",
    [
        {"SWML_TRUSTED_PROXIES": "127.0.0.1"},
        {"SWML_TRUSTED_PROXIES": "1"},
        {"SWML_TRUST_PROXY_HEADERS": "true"},
    ],
    ids=["address", "count", "flag"],
)
def test_clients_behind_a_trusted_proxy_are_limited_separately(
    serve: Any, server_kind: Any, trust: dict[str, str]
) -> None:
    server = serve(APP, *server_kind.forwarding, SWML_RATE_LIMIT="30", **trust)

    def status_for(chain: str, path: str = "/") -> int:
        status: int = server.request("GET", path, headers={"X-Forwarded-For": chain}).status
        return status

    statuses = [status_for(f"198.51.100.{number}, 192.0.2.7") for number in range(40)]
    assert statuses == [200] * 30 + [429] * 10
    assert status_for("192.0.2.8") == 200
    assert status_for("192.0.2.7") == 429
    assert status_for("192.0.2.7", "/health") == 200


LIMITED = """
from swaig_wsgi.middleware import RateLimitMiddleware, TrustedProxyMiddleware
from swaig_wsgi.stores import MemoryStore

def hello(environ, start_response):
    start_response("200 OK", [("Content-Length", "0")])
    return []

limited = RateLimitMiddleware(hello, 3, store=MemoryStore(max_keys=512))
app = TrustedProxyMiddleware(limited, ["127.0.0.1"])
"""


def statuses_for(server: Any, addresses: Iterable[str], path: str = "/") -> list[int]:
    """Return the status of a request for each client address, over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        found = []
        for address in addresses:
            fields = {"X-Forwarded-For": address, "Authorization": basic("demo", "p@ss:w/ö")}
            connection.request("GET", path, headers=fields)
            response = connection.getresponse()
            response.read()
            found.append(response.status)
        return found


def test_attack_a_48_that_fills_the_memory_store_locks_out_no_other_client(
    gunicorn: Any, tmp_path: Path
) -> None:
    (tmp_path / "limited.py").write_text(LIMITED)
    server = gunicorn("limited:app", "--threads=2", cwd=str(tmp_path))
    flood = [f"2001:db8:1:{number:x}::1" for number in range(2000)]
    assert statuses_for(server, flood).count(200) == 48
    for other in ("2001:db8:2::1", "2001:db9::1", "192.0.2.1", "64:ff9b::198.51.100.1"):
        assert statuses_for(server, [other] * 4) == [200] * 3 + [429], other
    assert statuses_for(server, ["198.51.100.1"]) == [429]


@pytest.mark.threads
def test_attack_a_48_has_sixteen_times_the_limit_in_every_worker(
    gunicorn: Any, valkey_url: str, tmp_path: Path
) -> None:
    for url in (f"sqlite:///{tmp_path}/counts.db", valkey_url):
        server = gunicorn(
            APP,
            "--workers=2",
            "--threads=2",
            SWML_STORAGE_URL=url,
            SWML_TRUSTED_PROXIES="127.0.0.1",
            SWML_RATE_LIMIT="3",
            SIGNALWIRE_SWAIG_SECRET="s" * 64,
        )
        flood = [f"2001:db8:1:{number:x}::1" for number in range(400)]
        parts = [flood[start::4] for start in range(4)]
        with ThreadPoolExecutor(4) as threads:
            found = threads.map(functools.partial(statuses_for, server), parts)
            assert sum(each.count(200) for each in found) == 48
        for other in ("2001:db8:2::1", "192.0.2.1"):
            assert statuses_for(server, [other] * 4) == [200] * 3 + [429], other


def cors_fields(response: Any) -> dict[str, str]:
    return {
        name.lower(): value
        for name, value in response.headers.items()
        if name.lower().startswith("access-control-")
    }


def varies_by_origin(response: Any) -> bool:
    return "Origin" in re.split(r",\s*", response.headers.get("Vary", ""))


def test_only_an_allowed_origin_may_read_a_response(serve: Any) -> None:
    server = serve(APP, SWML_CORS_ORIGINS=ORIGIN, SWML_MAX_REQUEST_SIZE="1000")
    for method, path, body, status in (
        ("GET", "/", None, 200),
        ("GET", "/nowhere", None, 404),
        ("POST", "/swaig", b"{", 400),
        ("POST", "/swaig", b"x" * 2000, 413),
        ("GET", "/", None, 401),
    ):
        for origin in (ORIGIN, "https://evil.example", "null", None):
            headers = {**(JSON if body else {}), **({"Origin": origin} if origin else {})}
            credentials = {"auth": None} if status == 401 else {}
            response = server.request(method, path, body, headers, **credentials)
            sent = cors_fields(response)
            assert (response.status, varies_by_origin(response)) == (status, True), origin
            if origin == ORIGIN:
                assert sent["access-control-allow-origin"] == ORIGIN
                assert sent["access-control-allow-credentials"] == "true"
            else:
                assert sent == {}, (status, origin)


def test_only_an_allowed_origin_passes_a_preflight(serve: Any) -> None:
    server = serve(APP, SWML_CORS_ORIGINS=ORIGIN)
    for origin in (ORIGIN, "https://evil.example", "null"):
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type",
        }
        response = server.request("OPTIONS", "/swaig", headers=headers, auth=None)
        assert varies_by_origin(response)
        if origin == ORIGIN:
            assert response.status == 204
            assert cors_fields(response)["access-control-allow-origin"] == ORIGIN
            assert cors_fields(response)["access-control-allow-credentials"] == "true"
        else:
            assert (response.status, cors_fields(response)) == (403, {})


def hosts_of(response: Any) -> set[str]:
    """Return the host and port of each URL in a document."""
    assert response.status == 200
    return set(re.findall(r"https?://[^/@\"]*@([^/\"]+)", response.body.decode()))


def test_forwarded_hosts_of_an_untrusted_client_are_ignored(serve: Any, server_kind: Any) -> None:
    server = serve(APP, *server_kind.forwarding)
    forged = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "444",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "for=192.0.2.7;host=evil.example;proto=https",
        "X-Original-Host": "evil.example",
    }
    for headers in (forged, *({name: value} for name, value in forged.items())):
        response = server.request("POST", "/", {"call_id": "call-1"}, headers)
        assert hosts_of(response) == {f"127.0.0.1:{server.port}"}, headers
        assert b"evil" not in response.body


@pytest.mark.threads
def test_a_forwarded_host_applies_to_its_request_only(serve: Any, server_kind: Any) -> None:
    server = serve(APP, *server_kind.forwarding, SWML_TRUSTED_PROXIES="127.0.0.1")

    def fetch_hosts(number: int) -> set[str]:
        headers = {"X-Forwarded-Host": f"h{number}.example"} if number % 2 else {}
        return hosts_of(server.request("POST", "/", {"call_id": "call-1"}, headers))

    with ThreadPoolExecutor(8) as threads:
        hosts = list(threads.map(fetch_hosts, range(80)))
    default = f"127.0.0.1:{server.port}"
    assert hosts == [{f"h{number}.example" if number % 2 else default} for number in range(80)]


def test_malformed_bodies_are_bad_requests(serve: Any) -> None:
    server = serve(APP)
    malformed = (b"[1,2]", b"{", b"[" * 100_000, b'{"function": "get_time", "x": NaN}')
    requests = [
        (path, body)
        for path in ("/", "/swaig", "/post_prompt", "/debug_events")
        for body in malformed
    ]
    for path, body in [*requests, ("/swaig", b'{"function": {}}')]:
        response = server.request("POST", path, body, JSON)
        assert (path, body[:40], response.status) == (path, body[:40], 400)
        assert response.json["error"].startswith("Bad request: ")
    assert server.request("GET", "/nowhere").status == 404
    server.wait_for_log("reason=not_found")  # and everything that was logged before it
    assert "Traceback" not in server.log


def test_a_signature_of_the_url_alone_does_not_cover_a_body(serve: Any) -> None:
    server = serve(APP, SIGNALWIRE_SIGNING_KEY=KEY)
    url = f"http://127.0.0.1:{server.port}/"

    def sign_url(url: str) -> str:
        return base64.b64encode(hmac.digest(KEY.encode(), url.encode(), "sha1")).decode()

    for name in ("X-SignalWire-Signature", "X-Twilio-Signature"):
        for content_type in ("application/json", "application/x-www-form-urlencoded"):
            for body in (b'{"call_id": "call-1"}', b"call_id=call-1", b""):
                headers = {"Content-Type": content_type, name: sign_url(url)}
                response = server.request("POST", "/", body, headers)
                assert response.status == 403, headers
                assert response.json == {"error": "Forbidden: invalid signature"}

    body = b'{"call_id": "call-1"}'
    headers = {**JSON, "X-SignalWire-Sha256-Signature": sign_body(KEY, url, body)}
    assert server.request("POST", "/", body, headers).status == 200
    assert server.request("POST", "/", body + b" ", headers).status == 403

    query = f"?bodySHA256={hashlib.sha256(body).hexdigest()}"
    headers = {**JSON, "X-SignalWire-Signature": sign_url(url + query)}
    assert server.request("POST", f"/{query}", body, headers).status == 200
    assert server.request("POST", f"/{query}", body + b" ", headers).status == 403
    server.wait_for_log("reason=body_hash_mismatch")
    # Twelve equal refusals: ten records, and a sum for the others when the server stops.
    assert server.log.count("reason=url_only") == 10


def test_attack_a_signature_in_another_spelling_covers_no_other_body(serve: Any) -> None:
    server = serve(APP, SIGNALWIRE_SIGNING_KEY=KEY)
    json = b'{"call_id": "call-1"}'
    signed = f"/?bodySHA256={hashlib.sha256(json).hexdigest()}"
    accepted = []
    for target in ("/", signed):
        url = f"http://127.0.0.1:{server.port}{target}"
        digest = hmac.digest(KEY.encode(), url.encode(), "sha1")
        for signature in (digest.hex(), base64.b64encode(digest).decode()):
            for name in ("X-SignalWire-Signature", "X-Twilio-Signature"):
                for body in (None, b"", b"{}", b"call_id=call-1", json):
                    for content_type in (JSON, {"Content-Type": FORM}):
                        headers = {**content_type, name: signature}
                        response = server.request("POST", target, body, headers)
                        if response.status != 403:
                            accepted.append((target, body))
    assert set(accepted) == {(signed, json)}


def test_attack_forms_with_junk_signatures_need_little_memory(gunicorn: Any) -> None:
    server = gunicorn(APP, SIGNALWIRE_SIGNING_KEY=KEY)
    pid = re.findall(r"Booting worker with pid: (\d+)", server.log)[0]

    def peak_kib() -> int:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])

    headers = {"Content-Type": FORM, "X-SignalWire-Signature": "0" * 40}
    assert server.request("POST", "/swaig", b"a=1", headers).status == 403
    before = peak_kib()
    for part in (b"a", b"%41", b"ab%41", b"a=1&"):
        body = b"a=" + part * (1_000_000 // len(part))
        assert server.request("POST", "/swaig", body, headers).status == 403
    assert peak_kib() - before < 15_000


@pytest.mark.parametrize(
    "networks", ["0.0.0.0/1,128.0.0.0/1", "10.0.0.1, ::/1, 8000::/1", "64:ff9b::/96", "8.0.0.0/7"]
)
def test_attack_no_server_starts_that_trusts_the_address_space(networks: str) -> None:
    started = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--bind=127.0.0.1:0", APP],
        env={**os.environ, "SWML_TRUSTED_PROXIES": networks},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert started.returncode != 0
    assert "SWML_TRUSTED_PROXIES" in started.stderr
    assert "more public addresses than an IPv" in started.stderr


ECHO_HOST = """
from swaig_wsgi.middleware import TrustedProxyMiddleware

def echo(environ, start_response):
    start_response("200 OK", [("X-Host", environ["HTTP_HOST"])])
    return []

app = TrustedProxyMiddleware(echo, ["127.0.0.1"])
"""


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["www.example.com", "[2001:db8::1]", "192.0.2.1"])
def test_the_default_port_of_a_proxy_is_not_part_of_the_host(
    gunicorn: Any, tmp_path: Path, scheme: str, host: str
) -> None:
    (tmp_path / "echo_host.py").write_text(ECHO_HOST)
    server = gunicorn("echo_host:app", cwd=str(tmp_path))
    default, other = ("80", "443") if scheme == "http" else ("443", "80")
    for port, shown in ((default, host), (other, f"{host}:{other}"), ("8443", f"{host}:8443")):
        fields = {"X-Forwarded-Proto": scheme, "X-Forwarded-Port": port}
        for sent in ({"Host": host}, {"Host": f"{host}:8000"}, {"X-Forwarded-Host": host}):
            response = server.request("GET", "/", headers={**fields, **sent})
            assert response.headers["X-Host"] == shown, (port, sent)


def test_attack_a_request_of_another_site_is_refused(gunicorn: Any) -> None:
    server = gunicorn(APP, SWML_CSRF_PROTECTION="true", SWML_ALLOWED_HOSTS="127.0.0.1")
    own = f"http://127.0.0.1:{server.port}"
    for origin in (None, own, "null", "https://evil.example"):
        for site in ("cross-site", "same-site", "same-origin", "none", "", None):
            fields = {"Origin": origin, "Sec-Fetch-Site": site}
            headers = {name: value for name, value in fields.items() if value is not None}
            status = server.request("POST", "/", {"call_id": "call-1"}, headers).status
            own_page = origin in (None, own) and site in ("same-origin", "none", None)
            assert status == (200 if own_page else 403), headers
            assert server.request("GET", "/", headers=headers).status == 200


def test_an_overridden_credential_check_is_called(serve: Any, tmp_path: Any) -> None:
    (tmp_path / "checking.py").write_text(
        "from swaig_wsgi import AgentApp\n"
        "class Checking(AgentApp):\n"
        "    def validate_basic_auth(self, username, password):\n"
        "        print('checked', username, flush=True)\n"
        "        return username != 'demo'\n"
        "app = Checking('checking')\n"
    )
    server = serve("checking:app", cwd=str(tmp_path))
    assert server.request("GET", "/", auth=("demo", "wrong")).status == 401
    assert server.request("GET", "/").status == 401
    server.wait_for_log("checked demo")
    assert server.log.count("checked ") == 1
