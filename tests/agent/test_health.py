"""Health endpoints as an application of their own."""

from __future__ import annotations

from wsgiref.validate import validator

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Response

from swaig_wsgi.agent.health import HealthEndpoints


def client(route: str = "", ready: bool = True) -> Client:
    app = HealthEndpoints(Response("inside"), route, lambda: ready)
    return Client(validator(app))


@pytest.mark.parametrize("route", ["", "/bank"])
def test_both_answer_to_anyone(route: str) -> None:
    for slash in ("", "/"):
        health = client(route).get(f"{route}/health{slash}", buffered=True)
        assert (health.status_code, health.json) == (200, {"status": "ok"})
        ready = client(route).get(f"{route}/ready{slash}", buffered=True)
        assert (ready.status_code, ready.json) == (200, {"status": "ready"})


def test_not_ready_is_503_and_still_healthy() -> None:
    answer = client(ready=False).get("/ready", buffered=True)
    assert (answer.status_code, answer.json) == (503, {"status": "not ready"})
    assert client(ready=False).get("/health", buffered=True).status_code == 200


def test_only_reading_is_allowed() -> None:
    assert client().head("/health", buffered=True).data == b""
    answer = client().post("/ready", buffered=True)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path", ["//health", "/./health", "/x/../health", "/health//", "/Health", "/health/x", "/", ""]
)
def test_every_other_spelling_goes_inside(path: str) -> None:
    seen = []

    def inside(environ, start_response):  # type: ignore[no-untyped-def]
        seen.append(environ["PATH_INFO"])
        return Response("inside")(environ, start_response)

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path}
    HealthEndpoints(inside, "", lambda: True)(environ, lambda *args: None)  # type: ignore[arg-type,return-value]
    assert seen == [path]
