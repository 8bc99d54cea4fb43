"""``/metrics`` behind authentication."""

from __future__ import annotations

import sys

import pytest
from support.wsgi import Recorder, check_delegates, environ, request

from swaig_wsgi import ConfigurationError, Settings, harden
from swaig_wsgi.middleware import AuthHandler, MetricsMiddleware
from swaig_wsgi.middleware import metrics as module

HANDLER = AuthHandler(bearer_token="token")
SCRAPER = {"HTTP_AUTHORIZATION": "Bearer token"}


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    monkeypatch.setattr(module, "_logged", set())


def scrape(method="GET", path="/metrics", options=None, **extra):
    app = MetricsMiddleware(Recorder(b"of the site"), HANDLER, **(options or {}))
    return request(app, method, path, **{**SCRAPER, **extra})


@pytest.mark.installed
@pytest.mark.parametrize(
    ("path", "options", "found"),
    [
        ("/metrics", {}, True),
        ("/metrics/", {}, True),
        ("/metrics/x", {}, False),
        ("//metrics", {}, False),
        ("/", {}, False),
        ("/internal", {"path": "/internal"}, True),
        ("/internal/", {"path": "/internal"}, True),
        ("/metrics", {"path": "/internal"}, False),
    ],
)
def test_one_path_responds_with_the_metrics_of_the_process(path, options, found):
    response = scrape(path=path, options=options)
    assert response.status == 200
    assert (b"python_info" in response.body) is found
    assert (response.body == b"of the site") is not found


@pytest.mark.installed
@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain; version="),
        ("text/plain", "text/plain; version="),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version="),
    ],
)
def test_the_format_is_the_one_that_the_scraper_accepts(accept, content_type):
    response = scrape(HTTP_ACCEPT=accept)
    assert response.headers["Content-Type"].startswith(content_type)


@pytest.mark.installed
@pytest.mark.parametrize(
    "fields", [{"HTTP_AUTHORIZATION": None}, {"HTTP_AUTHORIZATION": "Bearer x"}]
)
def test_metrics_need_credentials_and_other_paths_do_not(fields):
    assert scrape(**fields).status == 401
    assert scrape("POST", **fields).status == 401
    assert scrape(path="/", **fields).body == b"of the site"


@pytest.mark.installed
def test_methods():
    assert scrape("HEAD").status == 200
    assert scrape("HEAD").body == b""
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        response = scrape(method)
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
        assert response.json == {"error": "Method not allowed"}


@pytest.mark.installed
def test_one_of_several_processes_does_not_respond_for_all(caplog):
    for _ in range(2):
        response = scrape(wsgi_multiprocess=True)
        assert (response.status, response.json) == (503, {"error": "Service misconfigured"})
    assert scrape(wsgi_multiprocess=False).status == 200
    error, *refusals = caplog.records
    assert (error.name, error.levelname) == ("swaig_wsgi", "ERROR")
    assert error.getMessage() == (
        "several processes serve, but each counts for itself, so /metrics responds 503. Start the "
        "server with gunicorn -c python:swaig_wsgi.gunicorn and SWML_METRICS=true in its "
        "environment, or set PROMETHEUS_MULTIPROC_DIR to a directory that is private and empty at "
        "each start; if the server is wrong about its processes, set "
        "SWML_ALLOW_PER_PROCESS_STATE=true"
    )
    assert [(each.event, each.reason) for each in refusals] == [
        ("service_misconfigured", "per_process_state")
    ] * 2


@pytest.mark.installed
@pytest.mark.parametrize("shared", [True, False])
def test_several_processes_respond_if_that_is_allowed_or_their_figures_are_shared(
    shared, caplog, monkeypatch, tmp_path
):
    if shared:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    options = {} if shared else {"allow_per_process": True}
    assert scrape(options=options, wsgi_multiprocess=True).status == 200
    assert not caplog.records


@pytest.mark.installed
def test_iterable_and_start_response_are_passed_through():
    check_delegates(lambda app: MetricsMiddleware(app, HANDLER), environ())


@pytest.mark.parametrize(
    "make",
    [
        lambda: MetricsMiddleware(Recorder(), HANDLER),
        lambda: harden(Recorder(), Settings(metrics=True)),
    ],
)
def test_without_the_package_the_error_names_it(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "swaig_wsgi._metrics", None)
    expected = "SWML_METRICS: requires prometheus_client: pip install 'swaig-wsgi[metrics]'"
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value) == expected
