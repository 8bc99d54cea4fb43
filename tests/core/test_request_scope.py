"""Which requests a middleware protects, by method and path."""

from __future__ import annotations

import pytest

from swaig_wsgi.core.paths import request_scope


def test_without_methods_every_method_is_protected():
    scope = request_scope(["/api/*"])
    assert scope.covers("PATCH", "/api/x")
    assert not scope.covers("PATCH", "/other")


def test_methods_are_compared_in_any_case_and_get_includes_head():
    scope = request_scope(methods=["get", "POST"])
    assert [scope.covers(each, "/") for each in ("GET", "head", "post", "PUT")] == [
        *(True, True, True, False)
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), True),
        ((["/"],), True),
        ((["/api", "/*"],), True),
        ((["/api"],), False),
        ((["/*"], ["/health"]), False),
        ((["/*"], ["/static/*"]), False),
        ((["/*"], [], ["GET"]), False),
    ],
)
def test_a_scope_says_whether_it_covers_everything(arguments, expected):
    scope = request_scope(*arguments)
    assert scope.everything is expected
    if expected:
        for path in ("", "/", "*", "/health", "//x", "/%2e%2e"):
            assert scope.covers("ANY", path)


@pytest.mark.parametrize("methods", ["POST", [], ["PO ST"], [""], [7]])
def test_anything_but_methods_is_rejected(methods):
    with pytest.raises((TypeError, ValueError), match="method"):
        request_scope(methods=methods)
