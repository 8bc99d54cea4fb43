from collections.abc import Mapping

import pytest

from swaig_wsgi.wsgi import EnvironHeaders, FoldedHeaders
from swaig_wsgi.wsgi import _request_headers as request_headers

ENVIRON = {
    "REQUEST_METHOD": "GET",
    "REMOTE_USER": "mallory",
    "CONTENT_TYPE": "application/json",
    "CONTENT_LENGTH": "3",
    "HTTP_HOST": "example.com",
    "HTTP_X_API_KEY": "k",
    # From a client that sent an underscore, or a server that does not follow CGI.
    "HTTP_CONTENT_TYPE": "text/html",
    "HTTP_CONTENT_LENGTH": "9",
    "HTTP_": "no name",
    "HTTP_x_lower": "x",
    "HTTP_X-HYPHEN": "x",
    "HTTP_É": "x",
    "wsgi.version": (1, 0),
}


@pytest.mark.parametrize("name", ["X-Api-Key", "x-api-key", "X-API-KEY"])
def test_names_are_case_insensitive(name):
    assert EnvironHeaders(ENVIRON)[name] == "k"
    assert name in EnvironHeaders(ENVIRON)
    assert FoldedHeaders({"x-Api-KEY": "k"})[name] == "k"


@pytest.mark.parametrize(
    "name", ["X_Api_Key", "X-Apı-Key", "X-Api-\u212aey", "Remote-User", "wsgi.version", "", 1, None]
)
def test_other_names_are_not_found(name):
    assert name not in EnvironHeaders(ENVIRON)
    assert EnvironHeaders(ENVIRON).get(name) is None
    assert name not in FoldedHeaders({"X-Api-Key": "k"})


def test_content_type_and_length_cannot_be_forged():
    headers = EnvironHeaders(ENVIRON)
    assert headers["content-type"] == "application/json"
    assert headers["Content-Length"] == "3"
    forged = EnvironHeaders({"HTTP_CONTENT_TYPE": "text/html"})
    assert "Content-Type" not in forged
    assert dict(forged) == {}


def test_environ_headers_is_a_read_only_mapping():
    headers = EnvironHeaders(ENVIRON)
    assert isinstance(headers, Mapping)
    assert dict(headers) == {
        "Content-Type": "application/json",
        "Content-Length": "3",
        "Host": "example.com",
        "X-Api-Key": "k",
    }
    assert len(headers) == 4
    assert not hasattr(headers, "__setitem__")


def test_environ_headers_follows_changes_of_environ():
    environ = {"HTTP_A": "1"}
    headers = EnvironHeaders(environ)
    environ["HTTP_A"] = "2"
    assert headers["A"] == "2"


def test_attack_memory_of_header_names_is_bounded():
    headers = EnvironHeaders(ENVIRON)
    for number in range(1000):
        assert headers.get(f"X-{number}") is None
    assert request_headers._key.cache_info().currsize == 256
    before = request_headers._key.cache_info().misses
    assert EnvironHeaders({"HTTP_" + "X" * 1000: "long"})["x" * 1000] == "long"
    assert request_headers._key.cache_info().misses == before


def test_a_subclass_of_str_cannot_mislead_the_cache_of_names():
    class Name(str):
        def upper(self):
            return "HOST"

        def __hash__(self):
            return hash("Host")

        def __eq__(self, other):
            return True

        def __str__(self):
            return "Host"

    assert EnvironHeaders(ENVIRON)["Host"] == "example.com"
    assert EnvironHeaders(ENVIRON)[Name("X-Api-Key")] == "k"
    assert EnvironHeaders(ENVIRON)["Host"] == "example.com"


def test_folded_headers_copies_values_of_any_type_as_text():
    headers = FoldedHeaders(
        {"A": "1", b"B": b"\xff", "C": 5, "None": None, "É": "x", 7: "seven"},
    )
    assert dict(headers) == {"a": "1", "b": "\xff", "c": "5", "7": "seven"}
    assert len(headers) == 4


class Items:
    def __init__(self, *items):
        self._items = items

    def items(self):
        return iter(self._items)


def test_repeated_headers_are_joined():
    assert FoldedHeaders(Items(("A", "1"), ("B", "2"), ("A", "3")))["a"] == "1, 3"


@pytest.mark.parametrize("values", [("1", "2"), ("1", "1")])
def test_a_header_in_two_spellings_raises(values):
    with pytest.raises(ValueError, match="two spellings"):
        FoldedHeaders({"X-Key": values[0], "x-key": values[1]})
