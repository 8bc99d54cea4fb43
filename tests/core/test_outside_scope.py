"""Paths that grant something match as strictly as exempt ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core.paths import outside_scope, path_scope


def test_paths_are_exact_unless_they_end_in_a_star():
    scope = outside_scope(("/api/*", "/feed"))
    for inside in ("/api", "/api/", "/api/me", "/api/a/b", "/feed"):
        assert not scope.covers(inside)
    for outside in ("", "/", "/admin", "/apiary", "/API/me", "/feed/", "/feed/x", "/x/api/me"):
        assert scope.covers(outside)


@pytest.mark.parametrize(
    "path",
    [
        "/api/../admin",
        "/api/x/../../admin",
        "/api/..",
        "/api/%2e%2e/admin",
        "/api/%2E%2E%2Fadmin",
        "/api/..;/admin",
        "/api/.\x00./admin",
        "/api/..#",
        "/x/../api/me",
        "//api/me",
        "/api;x/me",
        "/api?x/me",
        "/%61pi/me",
        "\t/api/me",
        "http://evil.example/api/me",
        "//evil.example/api/me",
    ],
)
def test_attack_a_path_with_another_reading_is_outside(path):
    assert outside_scope(("/api/*", "/feed")).covers(path)


@given(st.text())
def test_every_path_is_inside_of_a_star(path):
    assert not outside_scope(("/*",)).covers(path)
    assert not outside_scope(("/api", "/*")).covers(path)


@given(st.text(alphabet="/api.%2e;?#x\0", max_size=12))
def test_attack_what_is_granted_would_be_exempt(path):
    path = "/api" + path
    for paths in (("/api/*",), ("/api/api",), ("/api/x/*", "/api/a")):
        assert outside_scope(paths).covers(path) == path_scope(exempt=paths).covers(path)


@pytest.mark.parametrize(
    ("paths", "what"),
    [
        ((), "paths is empty"),
        ("/api/*", "paths must be a sequence"),
        (None, "paths must be a sequence"),
        (("api",), "must start with '/'"),
        (("",), "must not be empty"),
        (("*",), "must start with '/'"),
        (("/a*",), "only be the last segment"),
        (("/a/../b",), "must not contain"),
        ((b"/a",), "must be a non-empty string"),
    ],
)
def test_invalid_paths_are_rejected(paths, what):
    with pytest.raises(ValueError, match=what):
        outside_scope(paths)
