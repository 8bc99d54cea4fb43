import itertools
import posixpath
import re
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from swaig_wsgi.core.paths import PathScope, path_scope, remove_dot_segments


def cut(path):
    return re.split("[?#;]", path)[0]


def uncontrolled(path):
    return "".join(letter for letter in path if letter > " ")


SEGMENTS = ["", ".", "..", "api", "x"]


def strip(path):
    return "/" + path.lstrip("/")


def squeeze(path):
    return re.sub("/+", "/", path)


def drop_single_dots(path):
    return "/".join(part for part in path.split("/") if part != ".") or "/"


NORMALIZERS = [strip, squeeze, posixpath.normpath, remove_dot_segments, drop_single_dots]


def is_below_api(path):
    return path == "/api" or path.startswith("/api/")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/b/c/./../../g", "/a/g"),
        ("/mid/content=5/../6", "/mid/6"),
        ("/", "/"),
        ("/.", "/"),
        ("/..", "/"),
        ("/../../a", "/a"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/a/b/..", "/a/"),
        ("/a/.../b", "/a/.../b"),
        ("/a/..b/.c", "/a/..b/.c"),
    ],
)
def test_dot_segments_are_removed_by_rfc_3986(path, expected):
    assert remove_dot_segments(path) == expected


@given(st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=8))
def test_removing_dot_segments_removes_all_at_once(segments):
    path = remove_dot_segments("/" + "/".join(segments))
    assert path.startswith("/")
    assert {".", ".."}.isdisjoint(path.split("/"))
    assert remove_dot_segments(path) == path


@pytest.mark.parametrize("pattern", ["/api", "/api/", "/api/*"])
@pytest.mark.parametrize(
    ("path", "covered"),
    [
        ("/api", True),
        ("/api/", True),
        ("/api/x/y", True),
        ("/apis", False),
        ("/ap", False),
        ("/", False),
        ("", False),
        ("/x/api", False),
        ("/API", False),
        ("/.well-known/api", False),
        ("/x/https://example.com/api", False),
    ],
)
def test_a_pattern_covers_itself_and_everything_below(pattern, path, covered):
    assert path_scope((pattern,)).covers(path) is covered


@pytest.mark.parametrize(
    "path",
    [
        "/%61pi",
        "/%61%70%69/x",
        "/api%2Fx",
        "/x/%2e%2e/api",
        "/x/..%2Fapi",
        "/api?x",
        "/api#x",
        "/api;x",
        "/api;v=1/x",
        "/x;/../api",
        "/api%3Fx",
        "/api%3Bx=1",
        "/a\x00pi",
        "/\x0bapi",
        "/api\x7f",
        "/api\t/x",
        "/api%00",
        "/%6\x001pi",
        "/%0Aapi",
        "//api%3b",
    ],
)
def test_attack_every_reading_of_a_path_is_protected(path):
    assert path_scope(("/api",)).covers(path)
    assert path_scope(("/*",), exempt=("/api",)).covers(path)


@pytest.mark.parametrize("path", ["/%2561pi", "/apis;x", "/x?/api", "/x#/api", "/x;/api"])
def test_other_paths_are_not_protected(path):
    assert not path_scope(("/api",)).covers(path)


@pytest.mark.parametrize("pattern", ["/", "/*"])
@pytest.mark.parametrize(
    "path", ["", "/", "*", "api", "//", "/..", "/x\x00", "/\xff", "http://h/x"]
)
def test_the_root_pattern_covers_every_path(pattern, path):
    assert path_scope((pattern,)).covers(path)


@pytest.mark.parametrize(
    "path",
    [
        "//api/x",
        "///api",
        "/api/../api/x",
        "/x/../api",
        "/x//../api",
        "/x/..//api/y",
        "/./api",
        "/.//api",
        "//./api",
        "/../api",
        "/../../api/",
        "/api/..",
        "/api/../x",
        "//api/..",
        "//api/../x",
        "/./api/../x",
        "api",
        "api/x",
        "./api",
        "../api",
        "api/..",
        "x/../api",
        "http://a.example/api",
        "http://a.example/api/x",
        "HTTPS://a.example:8080/x/../api",
        "http://a.example//api",
        "http:///api",
        "http:/api",
        "x:api/y",
        "//a.example/api",
        "//a.example/api/y",
        "//a.example//api",
        "//a.example/./x/../api/y",
    ],
)
def test_no_spelling_evades_protect(path):
    assert path_scope(("/api",)).covers(path)


@pytest.mark.parametrize(
    "path",
    [
        "http://api/x",
        "http://a.example/x",
        "http://a.example/apis",
        "http:/x",
        "//x/other",
        "//x/y/api",
    ],
)
def test_only_the_path_of_a_target_in_absolute_form_counts(path):
    assert not path_scope(("/api",)).covers(path)


def test_a_path_of_slashes_is_matched_quickly():
    assert not path_scope(("/api",)).covers("/" * 100_000)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("root", ["/", ""])
def test_no_order_of_normalization_evades_protect(root, length):
    scope = path_scope(("/api",))
    ways = [way for count in (0, 1, 2) for way in itertools.product(NORMALIZERS, repeat=count)]
    for segments in itertools.product(SEGMENTS, repeat=length):
        path = root + "/".join(segments)
        if scope.covers(path):
            continue
        for way in ways:
            arrived = path if path.startswith("/") else "/" + path
            for normalize in way:
                arrived = normalize(arrived)
            assert not is_below_api(arrived), (path, way)


@given(
    st.lists(st.sampled_from([*SEGMENTS, "y", "...", ";"]), max_size=12),
    st.lists(st.sampled_from(NORMALIZERS), max_size=5),
)
@example(["", "api", "..", "x"], [strip])
def test_long_paths_do_not_evade_protect(segments, way):
    path = "/" + "/".join(segments)
    arrived = path
    for normalize in way:
        arrived = normalize(arrived)
    if is_below_api(arrived):
        assert path_scope(("/api",)).covers(path)


@given(st.lists(st.sampled_from(["api2", "x", "y", "...", ".a"]), max_size=6))
def test_plain_paths_elsewhere_are_not_protected(segments):
    assert not path_scope(("/api",)).covers("/" + "/".join(segments))


@pytest.mark.parametrize(
    "path",
    [
        "//health",
        "/health/",
        "/health/../swaig",
        "/./health",
        "/x/../health",
        "health",
        "/Health",
        "/health\x00",
        "/health/x",
        "/health?x",
        "/health%2f",
        " /health",
        "/health ",
        "",
    ],
)
def test_only_the_exact_path_is_exempt(path):
    assert path_scope(exempt=("/health",)).covers(path)


@pytest.mark.parametrize("protect", [("/*",), ("/static",), ("/other", "/static/x")])
def test_everything_below_an_exempt_path_is_exempt(protect):
    scope = path_scope(protect, exempt=("/static/*", "/health"))
    for path in (
        "/static/x",
        "/static/x/y",
        "/static/x/",
        "/static/x%20y",
        "/static/x/?a",
        "/health",
    ):
        assert not scope.covers(path)
    assert scope == PathScope(scope.protect, frozenset({"/health"}), ("/static",))


def test_a_path_that_ends_in_a_star_is_exempt_with_everything_below():
    scope = path_scope(exempt=("/static/*",))
    assert not scope.covers("/static")
    assert not scope.covers("/static/")
    assert not scope.covers("/static//x")


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "static/x", "/statics", "/Static/x", "//static/x", "/x/../static/x", "/static?x",
        "/static;/x", "/static%2fx", "/static/..", "/static/../admin", "/static/./../admin",
        "/static/x/../../admin", "/static//../admin", "/static/%2e%2e/admin",
        "/static/..%2fadmin", "/static/.\x00./admin", "/static/..;/admin", "/static/..;x=1/admin",
        "/static/%2e%2e%3b/admin", "/static/x?/../../admin", "/static/..?x", "/static/..%23x",
        "/\x00static/x", "http://h/static/x", "http:/static/x",
    ],
)  # fmt: skip
def test_attack_no_path_with_another_reading_is_exempt(path):
    assert path_scope(exempt=("/static/*",)).covers(path)
    assert path_scope(("/*",), ("/a/*", "/static/*")).covers(path)


@given(st.text("/.%2eE5fF3b;?#\x00 as"), st.permutations([unquote, cut, uncontrolled]))
@example("..%2f", [unquote, cut, uncontrolled])
@example("..%3b/..", [unquote, cut, uncontrolled])
def test_attack_every_order_of_reading_finds_what_is_protected(tail, steps):
    path = reading = "/as/" + tail
    for step in steps:
        reading = step(reading)
    for prefix in ("/as", "/as/as"):
        if (remove_dot_segments(reading) + "/").startswith(prefix + "/"):
            assert path_scope((prefix,)).covers(path)
        else:
            assert path_scope(exempt=(prefix + "/*",)).covers(path)


def test_exempt_wins_over_protect():
    scope = path_scope(("/api",), ("/api/health",))
    assert not scope.covers("/api/health")
    assert scope.covers("/api/health/")
    assert scope.covers("/api")
    assert not path_scope(exempt=("/health/",)).covers("/health/")


def test_non_ascii_patterns_match_the_encoding_of_wsgi():
    scope = path_scope(("/büro",), ("/büro/tür",))
    as_wsgi = "/büro/x".encode().decode("latin-1")
    assert scope.covers(as_wsgi)
    assert not scope.covers("/büro/tür".encode().decode("latin-1"))


def test_several_patterns_cover_their_union():
    scope = path_scope(["/a", "/b/*"])
    assert [scope.covers(path) for path in ("/a", "/b/c", "/c")] == [True, True, False]
    assert scope == PathScope(("/a", "/b"), frozenset())


@pytest.mark.parametrize(
    ("protect", "exempt", "named"),
    [
        ("/api", (), "sequence"),
        (("/*",), "/health", "sequence"),
        ((), (), "protect is empty"),
        (("api",), (), "'api'"),
        (("",), (), "empty"),
        ((None,), (), "None"),
        ((b"/api",), (), "b'/api'"),
        (("/*/x",), (), "last segment"),
        (("/api*",), (), "last segment"),
        (("/api/**",), (), "last segment"),
        (("//api",), (), "empty"),
        (("/x/../api",), (), "segment"),
        (("/./api",), (), "segment"),
        (("/\ud800",), (), "UTF-8"),
        (("/*",), ("/*",), "every path"),
        (("/*",), ("/a", "/*/x"), "last segment"),
        (("/*",), ("/a/*/*",), "last segment"),
        (("/*",), ("/a*",), "last segment"),
        (("/*",), ("health",), "'health'"),
        (("/*",), ("/health/../swaig",), "segment"),
    ],
)
def test_invalid_patterns_are_rejected(protect, exempt, named):
    with pytest.raises(ValueError, match=re.escape(named)):
        path_scope(protect, exempt)
