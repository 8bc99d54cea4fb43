"""Strategies for what a hostile client may send.

Arbitrary text seldom passes the first check. So most values are well formed, or were until a few
characters were replaced: those come as far as the code that decides.
"""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import strategies as st

#: What WSGI passes: octets, read as Latin-1.
OCTETS = st.characters(max_codepoint=255)
#: What separates, ends, quotes or escapes something in one of the syntaxes here.
JUNK = st.sampled_from(
    [
        *"\0\t\n\r \"#$%&'()*+,-./0:;<=>?@[\\]^_`{|}~\x7f\x85\xa0\xb2\xe9\xff",
        *("\r\n", "..", "//", "%00", "%2e", "%2F", "%25", "::", "=", "==", "\xc3\xa9", "0x", "x"),
    ]
)
#: The same for HTTP, where also other scripts' characters may be in text.
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=30)


@st.composite
def spoiled(draw: Any, texts: st.SearchStrategy[str]) -> str:
    """Return one of the texts, in about half of the cases with one to three replacements."""
    text = draw(texts)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2, 3]))):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(JUNK | OCTETS) + text[start + draw(st.integers(0, 2)) :]
    return text


def listed(items: st.SearchStrategy[str], most: int = 5) -> st.SearchStrategy[str]:
    """Return strategies of lists in one field."""
    separators = st.sampled_from([", ", ",", " , ", ",\t"])
    return st.builds(
        lambda parts, comma: comma.join(parts), st.lists(items, max_size=most), separators
    )


# -- hosts

LABELS = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,8}[a-z0-9])?", fullmatch=True)
#: Few, so that hosts and patterns often meet.
KNOWN_LABELS = st.sampled_from(["a", "b", "example", "EXAMPLE", "x_y", "co", "0", "1"])
NAMES = st.lists(KNOWN_LABELS | LABELS, min_size=1, max_size=4).map(".".join)
IPV4 = st.sampled_from(["127.0.0.1", "10.0.0.1", "192.0.2.7", "127.1", "0x7f.1", "127.0.0.01"]) | (
    st.ip_addresses(v=4).map(str)
)
IPV6 = st.sampled_from(["::1", "0:0:0:0:0:0:0:1", "2001:DB8::A", "::ffff:192.0.2.7", "fe80::1"]) | (
    st.ip_addresses(v=6).map(str)
)
PORTS = st.sampled_from(["", ":", ":80", ":443", ":8000", ":00080", ":0", ":65536", ":9" * 2]) | (
    st.integers(0, 70_000).map(":{}".format)
)
HOSTS = st.builds(
    "{}{}{}".format,
    NAMES | IPV4 | IPV6.map("[{}]".format) | st.just("localhost"),
    st.sampled_from(["", "", "", "."]),
    PORTS,
)
HOST_PATTERNS = st.builds("{}{}".format, st.sampled_from(["", "", ".", "*."]), NAMES) | st.one_of(
    IPV4, IPV6, IPV6.map("[{}]".format), st.just("*")
)

# -- credentials

SCHEMES = st.sampled_from(["Basic", "basic", "BASIC", "Bearer", "bearer", "Digest", "ApiKey"])
PAIRS = st.tuples(
    st.sampled_from(["demo", "", "d\xe9mo", "other"]),
    st.sampled_from(["p@ss:w/\xf6rd-1", "", "wrong", "p@ss:w/\xf6rd-1\0", "\xa0", "a:b"])
    | ANY_TEXT,
)


def encoded_pair(pair: tuple[str, str], charset: str) -> str:
    octets = ":".join(pair).encode(charset, "surrogatepass" if charset == "utf-8" else "replace")
    return base64.b64encode(octets).decode()


BASIC = st.builds(encoded_pair, PAIRS, st.sampled_from(["utf-8", "utf-8", "latin-1", "utf-16"]))
TOKEN68 = st.from_regex(r"[A-Za-z0-9._~+/-]{1,30}={0,2}", fullmatch=True)
AUTHORIZATIONS = spoiled(
    st.builds("{}{}{}".format, SCHEMES, st.sampled_from([" ", "  ", "\t", ""]), BASIC | TOKEN68)
)

# -- paths and queries

SEGMENTS = st.sampled_from(
    ["", ".", "..", "health", "ready", "swaig", "post_prompt", "debug", "metrics", "static", "api"]
) | st.text(OCTETS, max_size=6)
PATHS = spoiled(st.lists(SEGMENTS, max_size=4).map(lambda parts: "/" + "/".join(parts)))
QUERIES = spoiled(
    st.lists(
        st.builds(
            "{}={}".format,
            st.sampled_from(["__token", "a", "%5f_token", "__token%00", "__TOKEN", "_token"]),
            st.text("abcXYZ019-_.%+=", max_size=20),
        ),
        max_size=3,
    ).map("&".join)
)

# -- JSON

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.5, 1.0, -0.0, 0.1, 0.3, 1e300])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(["", "a", "ab", "b", "x"])
)
NAMES_OF_MEMBERS = st.sampled_from(["a", "b", "c", "function", "argument"]) | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(NAMES_OF_MEMBERS, inner, max_size=4)
    ),
    max_leaves=8,
)
