"""Routes of agents."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wsgi import get_path_info

from swaig_wsgi.agent.routes import Routes, normal_route
from swaig_wsgi.core.refusals import Refusal

ENDPOINTS = {"": ("document", ["GET", "POST"]), "/swaig": ("swaig", ["POST"])}
PATHS = ["", "/", "/swaig", "/swaig/", "/ö".encode().decode("latin-1"), "/\xff", "//", "/SWAIG"]


def found(routes: Routes, path: str, method: str) -> object:
    try:
        return routes.match({"PATH_INFO": path, "REQUEST_METHOD": method})
    except Refusal as refusal:
        return refusal.status, refusal.headers


@given(
    st.lists(
        st.tuples(
            st.sampled_from(PATHS) | st.text(st.characters(max_codepoint=255), max_size=8),
            st.sampled_from(["GET", "get", "HEAD", "POST", "PoSt", "PUT", "OPTIONS", ""]),
        )
    )
)
def test_a_request_is_routed_the_same_however_often_it_is_repeated(
    requests: list[tuple[str, str]],
) -> None:
    for route in ("", "/ö", "/\ufffd"):
        routes = Routes(route, ENDPOINTS)
        for path, method in requests:
            path = route.encode().decode("latin-1") + path
            expected = found(Routes(route, ENDPOINTS), path, method)
            assert [found(routes, path, method) for _ in range(2)] == [expected] * 2


@given(
    st.sampled_from(PATHS) | st.text(st.sampled_from("/swaigö\xff\ufffd.%")),
    st.sampled_from(["GET", "get", "HEAD", "POST", "PUT", "OPTIONS"]),
)
def test_a_request_is_routed_as_by_werkzeug(path: str, method: str) -> None:
    path = "/" + path.encode().decode("latin-1").removeprefix("/")
    for route in ("", "/ö", "/\ufffd"):
        rules = [
            Rule(f"{route}{each}{slash}", methods=methods, endpoint=endpoint)
            for each, (endpoint, methods) in ENDPOINTS.items()
            for slash in ("", "/")
            if route or each or slash
        ]
        adapter = Map(rules, merge_slashes=False).bind("agent.invalid")
        environ = {"PATH_INFO": path, "REQUEST_METHOD": method}
        expected: Any
        try:
            expected = adapter.match(get_path_info(environ), method)[0]
        except MethodNotAllowed as error:
            expected = 405, (("Allow", ", ".join(sorted(error.valid_methods or ()))),)
        except NotFound:
            expected = 404, ()
        if path.startswith("//"):
            expected = 404, ()  # Werkzeug would strip the slashes.
        response = found(Routes(route, ENDPOINTS), path, method)
        if isinstance(response, tuple):
            response = response[0], tuple(response[1])
        assert response == expected


def test_attack_memory_of_routes_is_bounded() -> None:
    # Any octet that is not UTF-8 is read as U+FFFD, and methods are read in upper case.
    routes = Routes("/\ufffd", ENDPOINTS)
    for octet in range(128, 256):
        for method in ("post", "Post", "pOst", "poSt"):
            assert found(routes, f"/{chr(octet)}/swaig", method) == "swaig"
            found(routes, f"/{chr(octet)}/unknown", method)
    assert len(routes._found) == 256


@pytest.mark.parametrize(
    ("route", "expected"), [("/", ""), ("/a", "/a"), ("/a/", "/a"), ("/a/b", "/a/b"), ("/ö", "/ö")]
)
def test_a_trailing_slash_is_removed(route: str, expected: str) -> None:
    assert normal_route(route) == expected


@pytest.mark.parametrize(
    "route",
    [
        "",
        "a",
        "//",
        "/a//b",
        "/.",
        "/a/..",
        "/<x>",
        "/a?b",
        "/a#b",
        "/a%41",
        "/a\\b",
        "/a\n",
        None,
        5,
    ],
)
def test_invalid_routes_are_rejected(route: Any) -> None:
    with pytest.raises(ValueError, match="route"):
        normal_route(route)
