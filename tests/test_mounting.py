"""The URLs of an agent that is mounted beside a site, with and without proxies."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from flask import Flask
from support.wsgi import request
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from swaig_wsgi import AgentApp, Settings, harden
from swaig_wsgi.core.headers import AGENT_HEADERS, SECURITY_HEADERS, SITE_HEADERS

ROOT = Path(__file__).parent.parent
PROXY = "127.0.0.1"
FORWARDED = {
    "X-Forwarded-For": "192.0.2.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "public.example",
}
SECRET = "a secret of some length"


def mounted(*, outside: bool = False, route: str = "/", **settings: Any) -> tuple[Any, AgentApp]:
    """Return a site with an agent at ``/agent``; `outside` hardens both together."""
    site = Flask(__name__)
    site.add_url_rule("/", "home", lambda: "the site")
    validated = Settings.from_mapping({"swaig_secret": SECRET, **settings})
    agent = AgentApp("bank", route=route, basic_auth=("user", "p@ss"), settings=validated)
    agent.define_tool("transfer", "Transfer", {}, lambda args, raw: "Done.", secure=True)
    app: Any = DispatcherMiddleware(site.wsgi_app, {"/agent": agent})
    return (harden(app, validated) if outside else app), agent


def web_hook_url(app: Any, path: str = "/agent/", **headers: str) -> str:
    response = request(
        app,
        "POST",
        path,
        body={"call_id": "call-1"},
        auth=("user", "p@ss"),
        headers={"Host": "inner.example", **headers},
        REMOTE_ADDR=PROXY,
        RAW_URI=path,
    )
    assert response.status == 200, response.text
    (tool,) = response.json["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
    default = response.json["sections"]["main"][1]["ai"]["SWAIG"]["defaults"]["web_hook_url"]
    url: str = tool["web_hook_url"]
    assert url.startswith(f"{default}?__token=")
    return url.partition("?")[0].replace("user:p%40ss@", "")


def test_site_and_agent_are_served_under_their_paths() -> None:
    app, _ = mounted()
    assert request(app, path="/").text == "the site"
    assert request(app, path="/agentur").status == 404
    assert request(app, path="/agent/").status == 401
    assert request(app, path="/agent").status == 401
    assert request(app, path="/agent/health").json == {"status": "ok"}
    assert request(app, path="/health").status == 404


@pytest.mark.parametrize("path", ["/agent", "/agent/"])
def test_urls_contain_the_mount_point(path: str) -> None:
    app, _ = mounted()
    assert web_hook_url(app, path) == "http://inner.example/agent/swaig"
    app, _ = mounted(route="/bank")
    assert web_hook_url(app, f"/agent/bank{path[6:]}") == "http://inner.example/agent/bank/swaig"


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("trusted", [{"trusted_proxies": [PROXY]}, {"trust_proxy_headers": True}])
def test_urls_contain_scheme_host_and_prefix_of_a_trusted_proxy(
    outside: bool, trusted: dict[str, Any]
) -> None:
    app, _ = mounted(outside=outside, **trusted)
    assert web_hook_url(app, **FORWARDED) == "https://public.example/agent/swaig"
    prefixed = {**FORWARDED, "X-Forwarded-Prefix": "/shop"}
    assert web_hook_url(app, **prefixed) == "https://public.example/shop/agent/swaig"


def test_a_mounted_agent_needs_the_proxy_policy_of_the_site() -> None:
    _, agent = mounted(trusted_proxies=[PROXY])
    app = DispatcherMiddleware(Flask(__name__).wsgi_app, {"/agent": agent})
    prefixed = {**FORWARDED, "X-Forwarded-Prefix": "/shop"}
    consistent = harden(app, Settings.from_mapping({"trusted_proxies": [PROXY]}))
    assert web_hook_url(consistent, **prefixed) == "https://public.example/shop/agent/swaig"
    other = harden(app, Settings.from_mapping({"trusted_proxies": ["10.0.0.1"]}))
    response = request(other, path="/agent/", headers=prefixed)
    assert (response.status, response.json) == (503, {"error": "Service misconfigured"})


@pytest.mark.parametrize("outside", [False, True])
def test_urls_start_with_the_configured_base(outside: bool) -> None:
    base = "https://voice.example/base"
    app, _ = mounted(outside=outside, proxy_url_base=base)
    assert web_hook_url(app) == f"{base}/agent/swaig"
    assert web_hook_url(app, **FORWARDED) == f"{base}/agent/swaig"
    # The base contains the prefix of the proxy, which is not repeated.
    app, _ = mounted(outside=outside, proxy_url_base=base, trusted_proxies=[PROXY])
    prefixed = {**FORWARDED, "X-Forwarded-Prefix": "/base"}
    assert web_hook_url(app, **prefixed) == f"{base}/agent/swaig"


def test_urls_ignore_forwarding_headers_of_an_untrusted_client() -> None:
    prefixed = {**FORWARDED, "X-Forwarded-Prefix": "/evil"}
    for outside in (False, True):
        app, _ = mounted(outside=outside, trusted_proxies=["10.0.0.1"])
        assert web_hook_url(app, **prefixed) == "http://inner.example/agent/swaig"


def test_site_and_agent_count_a_request_once_in_a_shared_store(tmp_path: Path) -> None:
    shared = {"rate_limit": 3, "storage_url": f"sqlite:///{tmp_path}/counts.db"}
    app, agent = mounted(outside=True, **shared)
    for path, status in (("/agent/", 401), ("/", 200), ("/agent/", 401), ("/agent/", 429)):
        assert (path, request(app, path=path).status) == (path, status)
    agent.store.close()


SITES = {
    "flask": "from flask import Flask\nsite = Flask('site')\nsite.get('/')(lambda: 'the site')\n",
    "django": (
        "from django.conf import settings\n"
        "from django.http import HttpResponse\n"
        "from django.urls import path\n"
        "settings.configure(ALLOWED_HOSTS=['*'], ROOT_URLCONF='mounted', SECRET_KEY='a' * 50)\n"
        "from django.core.wsgi import get_wsgi_application\n"
        "urlpatterns = [path('', lambda request: HttpResponse('the site'))]\n"
        "site = get_wsgi_application()\n"
    ),
}
MOUNT = (
    "from werkzeug.middleware.dispatcher import DispatcherMiddleware\n"
    "from swaig_wsgi import harden\n"
    "from swaig_wsgi.examples.basic import app as agent\n"
    "app = harden(DispatcherMiddleware(site, {'/agent': agent}))\n"
)


@pytest.mark.parametrize("site", SITES)
def test_tools_can_be_called_by_the_urls_of_the_document(
    site: str, gunicorn: Any, tmp_path: Path
) -> None:
    (tmp_path / "mounted.py").write_text(SITES[site] + MOUNT)
    server = gunicorn(
        "mounted:app",
        "--forwarded-allow-ips=192.0.2.1",
        cwd=str(tmp_path),
        PYTHONPATH=str(ROOT),
        SWML_TRUSTED_PROXIES=PROXY,
        SIGNALWIRE_SWAIG_SECRET=SECRET,
    )
    assert server.request("GET", "/", auth=None).body == b"the site"
    for headers, base in (
        ({}, f"http://127.0.0.1:{server.port}"),
        ({**FORWARDED, "X-Forwarded-Prefix": "/shop"}, "https://public.example/shop"),
    ):
        response = server.request("POST", "/agent/", {"call_id": "call-1"}, headers)
        functions = response.json["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
        url = next(f["web_hook_url"] for f in functions if f["function"] == "transfer_funds")
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        assert f"{parts.scheme}://{host}{parts.path}" == f"{base}/agent/swaig"
        call = {
            "function": "transfer_funds",
            "argument": {"parsed": [{"amount": 5, "toAccount": "A-1"}]},
            "call_id": "call-1",
        }
        credentials = (unquote(parts.username or ""), unquote(parts.password or ""))
        called = server.request("POST", f"/agent/swaig?{parts.query}", call, auth=credentials)
        assert called.json == {"response": "Transfer completed."}


# Headers


def test_an_agent_inside_of_harden_sends_what_the_guide_asks_for() -> None:
    policy = "script-src 'nonce-{nonce}'"
    changes = {"Content-Security-Policy": policy, "X-Frame-Options": "SAMEORIGIN"}
    site = Flask(__name__)
    site.add_url_rule("/", "home", lambda: "the site")
    agent = AgentApp("bank", basic_auth=("user", "p@ss"), settings=Settings())
    app = harden(
        DispatcherMiddleware(site.wsgi_app, {"/agent": agent}), Settings(), headers=changes
    )
    sent = request(app, path="/").headers
    assert sent.keys() & {*dict(SECURITY_HEADERS), *AGENT_HEADERS} == {
        *dict(SITE_HEADERS),
        "Content-Security-Policy",
    }
    assert sent["X-Frame-Options"] == "SAMEORIGIN"
    for auth, status in ((("user", "p@ss"), 200), (None, 401)):
        response = request(app, path="/agent/", auth=auth)
        assert response.status == status
        for name, value in {**dict(SECURITY_HEADERS), **AGENT_HEADERS}.items():
            assert response.headers.get_all(name) == [value]
