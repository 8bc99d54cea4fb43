import ipaddress
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from swaig_wsgi.core import cors
from swaig_wsgi.core.cors import (
    PREFLIGHT_VARY,
    Preflight,
    cors_policy,
    parse_origin,
    parse_origin_pattern,
    preflight,
    refuses_origin,
    replace_cors_headers,
    response_headers,
)

APP = "https://app.example.com"

IMPOSTORS = [
    "https://app.example.com.evil.example",
    "https://app.example.com@evil.example",
    "https://evilapp.example.com",
    "https://evil.example/https://app.example.com",
    "https://app.example.co",
    "https://app.example.comx",
    "https://sub.app.example.com",
    "https://example.com",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com:443",
    "https://app.example.com.",
    "https://app.example.com/",
    "https://APP.example.com",
    "HTTPS://app.example.com",
    " https://app.example.com",
    "https://app.example.com ",
    "https://app.example.com, https://evil.example",
    "https://app.example.com https://evil.example",
    "https://app.example.com,https://app.example.com",
    "https://app.example.com\0.evil.example",
    "https://app.example.com\r\nX-Evil: 1",
    "https://app_example.com",
    "https://appxexample.com",
    "null",
    "NULL",
    "file://",
    "*",
    "",
]


# parse_origin


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.COM", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com:80", "http://app.example.com"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("https://app.example.com:08443", "https://app.example.com:8443"),
        ("https://app.example.com.", "https://app.example.com."),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1:5173", "http://127.0.0.1:5173"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[2001:DB8:0:0:0:0:0:1]", "http://[2001:db8::1]"),
        ("http://[::ffff:192.0.2.1]", "http://[::ffff:c000:201]"),
        ("https://münchen.example", "https://xn--mnchen-3ya.example"),
        ("https://MÜNCHEN.example:8443", "https://xn--mnchen-3ya.example:8443"),
        ("https://mu\u0308nchen.example", "https://xn--mnchen-3ya.example"),
        ("https://xn--Mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
        ("https://my_app.example.com", "https://my_app.example.com"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://aapocclcgogkmnckokdopfmhonfmgoek",) * 2,
    ],
)
def test_an_origin_is_serialized_as_by_browsers(text, origin):
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("app.example.com", "no scheme"),
        ("app.example.com:443", "no scheme"),
        ("//app.example.com", "no scheme"),
        ("://app.example.com", "no scheme"),
        ("", "no scheme"),
        ("https:app.example.com", "no scheme"),
        ("https:/app.example.com", "no scheme"),
        ("1http://app.example.com", "malformed"),
        ("https://app.example.com/", "trailing '/'"),
        ("https://app.example.com/path", "no path"),
        ("https://app.example.com/path/", "no path"),
        ("https://app.example.com?q", "query"),
        ("https://app.example.com#f", "fragment"),
        ("https://app.example.com\\evil", "no path"),
        ("https://*.example.com", r"cannot contain '\*'"),
        ("https://*", r"cannot contain '\*'"),
        ("*", "no scheme"),
        (" https://app.example.com", "space"),
        ("https://app.example.com ", "space"),
        ("https://app.example.com\n", "space"),
        ("https://app.example.com\0", "control"),
        ("https://a.example https://b.example", "space"),
        ("https://a.example,https://b.example", "path"),
        ("https://a.example,b.example", "not a domain name"),
        ("https://", "not a domain name"),
        ("file://", "not a domain name"),
        ("https://:443", "not a domain name"),
        ("https://.example.com", "not a domain name"),
        ("https://app..example.com", "not a domain name"),
        ("https://" + "a" * 64 + ".example", "not a domain name"),
        ("https://" + "a." * 127 + "example", "not a domain name"),
        ("https://app%2eexample.com", "not a domain name"),
        ("https://app.example.com:", "port"),
        ("https://app.example.com:0", "port"),
        ("https://app.example.com:65536", "port"),
        ("https://app.example.com:-1", "port"),
        ("https://app.example.com:٤٤٣", "port"),
        ("https://app.example.com:443:443", "malformed"),
        ("https://::1", "malformed"),
        ("https://[::1", "malformed"),
        ("https://[::1]x", "malformed"),
        ("https://[fe80::1%eth0]", "zone"),
        ("https://[zz]", "https://"),
        ("https://[]", "https://"),
        ("https://127.1", "https://"),
        ("https://2130706433", "https://"),
        ("https://0x7f000001", "https://"),
        ("https://127.0.0.01", "https://"),
        ("https://1.2.3.4.5", "https://"),
        ("https://app.example.0x", "https://"),
        ("https://straße.example", "A-labels"),
        ("https://βόλος.example", "A-labels"),
        ("https://a\u200db.example", "control"),
        ("https://\uff41pp.example", "A-labels"),
        ("https://app\u3002example", "A-labels"),
        ("https://ü..example", "A-labels"),
        ("https://" + "ü" * 300, "longer"),
    ],
)
def test_anything_but_one_origin_is_rejected(text, what):
    with pytest.raises(ValueError, match=what) as caught:
        parse_origin(text)
    assert repr(text) in str(caught.value)
    assert "expected scheme://host" in str(caught.value)


@pytest.mark.parametrize("text", ["null", "NULL", " null "])
def test_null_is_never_an_allowed_origin(text):
    with pytest.raises(ValueError, match="sandboxed frame"):
        parse_origin(text)
    with pytest.raises(ValueError, match="sandboxed frame"):
        cors_policy([text])


def test_a_password_in_an_origin_is_not_echoed():
    with pytest.raises(ValueError, match="user information") as caught:
        parse_origin("https://user:hunter2@app.example.com")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", [None, 5, b"https://a.example"])
def test_an_origin_must_be_a_string(value):
    with pytest.raises(ValueError, match="not a string"):
        parse_origin(value)


labels = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
hosts = st.one_of(
    st.lists(labels, min_size=1, max_size=4).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"),
    st.text(min_size=1, max_size=12),
)
ports = st.one_of(st.just(""), st.integers(-1, 70000).map(":{}".format), st.text(max_size=3))
origins = st.builds(
    "{}://{}{}".format, st.sampled_from(["http", "HTTPS", "x+y", "1"]), hosts, ports
)


@given(st.one_of(st.text(), origins))
@example("https://[::ffff:0:0]")
def test_parsing_returns_one_ascii_form_or_names_the_fault(text):
    try:
        origin = parse_origin(text)
    except ValueError as error:
        assert "expected scheme://host" in str(error)  # noqa: PT017
        return
    assert parse_origin(origin) == origin
    assert re.fullmatch(
        r"[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?", origin
    )


@given(st.ip_addresses(v=6))
def test_every_spelling_of_an_ipv6_address_is_one_origin(address):
    origin = parse_origin(f"http://[{address.exploded.upper()}]")
    assert origin == parse_origin(f"http://[{address.compressed}]")
    assert ipaddress.IPv6Address(origin[8:-1]) == address


@given(st.text(min_size=1, max_size=10))
def test_an_international_name_never_becomes_another_name(label):
    try:
        origin = parse_origin(f"https://{label}.example")
    except ValueError:
        return
    host = origin[len("https://") :]
    assert host.isascii()
    if not label.isascii() and host.startswith("xn--"):
        reread = host.encode().decode("idna")
        assert parse_origin(f"https://{reread}") == origin


# cors_policy


def test_a_policy_is_frozen():
    policy = cors_policy([APP])
    with pytest.raises(AttributeError):
        policy.any_origin = True


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"origins": APP}, "origins must be a sequence"),
        ({"origins": "*"}, "origins must be a sequence"),
        ({"origins": None}, "origins must be a sequence"),
        ({"origins": b"*"}, "origins must be a sequence"),
        ({"origins": ["*", APP]}, "cannot be combined"),
        ({"origins": ["https://*.com"]}, "'https://\\*.com'"),
        ({"origins": [None]}, "not a string"),
        ({"allow_credentials": "false"}, "allow_credentials"),
        ({"allow_methods": "GET"}, "allow_methods"),
        ({"allow_methods": ["GE T"]}, "'GE T'"),
        ({"allow_methods": ["GET\r\nX: 1"]}, "allow_methods"),
        ({"allow_methods": ["get"]}, "as 'GET'"),
        ({"allow_methods": ["*"]}, "allow_methods"),
        ({"allow_methods": [None]}, "allow_methods"),
        ({"allow_headers": "X-A"}, "allow_headers"),
        ({"allow_headers": ["X A"]}, "'X A'"),
        ({"allow_headers": ["X-A\n"]}, "allow_headers"),
        ({"allow_headers": ["*"]}, "allow_headers"),
        ({"expose_headers": ["X-A\r\nSet-Cookie: a=b"]}, "expose_headers"),
        ({"expose_headers": ["X-Ä"]}, "expose_headers"),
        ({"max_age": -1}, "max_age"),
        ({"max_age": "600"}, "max_age"),
        ({"max_age": 1.5}, "max_age"),
        ({"max_age": True}, "max_age"),
    ],
)
def test_an_invalid_policy_is_rejected_by_name(arguments, what):
    with pytest.raises(ValueError, match=what):
        cors_policy(**{"origins": [APP], **arguments})


def test_a_policy_without_origins_allows_none():
    assert response_headers(cors_policy([]), APP) == ()


# responses


def test_an_allowed_origin_may_read():
    policy = cors_policy([APP, "https://admin.example.com:443"], expose_headers=["X-A", "X-B"])
    assert response_headers(policy, "https://admin.example.com") == (
        ("Access-Control-Allow-Origin", "https://admin.example.com"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", "X-A, X-B"),
    )
    assert policy.vary == ("Origin",)


def test_without_credentials():
    policy = cors_policy([APP], allow_credentials=False)
    assert response_headers(policy, APP) == (("Access-Control-Allow-Origin", APP),)
    assert "Access-Control-Allow-Credentials" not in dict(preflight(policy, APP, "GET").headers)


@pytest.mark.parametrize("origin", IMPOSTORS)
def test_an_impostor_gets_nothing(origin):
    policy = cors_policy([APP])
    assert response_headers(policy, origin) == ()
    assert preflight(policy, origin, "GET") == Preflight((), "origin_not_allowed")
    assert refuses_origin(policy, "POST", origin, "https", "service.example")


@given(st.text())
def test_nothing_is_reflected(origin):
    policy = cors_policy([APP])
    assert response_headers(policy, origin) == ()
    assert preflight(policy, origin, "GET").headers == ()


def test_a_request_without_origin_gets_nothing():
    assert response_headers(cors_policy([APP]), None) == ()


@pytest.mark.parametrize("origin", [APP, "https://evil.example", "null", None])
@pytest.mark.parametrize("allow_credentials", [True, False])
def test_any_origin_is_never_with_credentials(origin, allow_credentials):
    policy = cors_policy(["*"], allow_credentials=allow_credentials)
    assert response_headers(policy, origin) == (("Access-Control-Allow-Origin", "*"),)
    headers = dict(preflight(policy, origin or "", "POST").headers)
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in headers
    assert policy.vary == ()


# preflights


def test_an_allowed_preflight():
    decision = preflight(cors_policy([APP]), APP, "POST", "authorization,content-type")
    assert decision.refused == ""
    assert dict(decision.headers) == {
        "Access-Control-Allow-Origin": APP,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "authorization, content-type",
        "Access-Control-Max-Age": "600",
    }
    assert len(decision.headers) == 5


@pytest.mark.parametrize("request_headers", [None, "", " ", ",", " , ,"])
def test_a_preflight_without_headers(request_headers):
    decision = preflight(cors_policy([APP], max_age=0), APP, "GET", request_headers)
    assert decision.refused == ""
    assert "Access-Control-Allow-Headers" not in dict(decision.headers)
    assert dict(decision.headers)["Access-Control-Max-Age"] == "0"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "post", "POST ", "GET, POST", "*", "", "\n"])
def test_a_preflight_for_another_method_is_refused(method):
    assert preflight(cors_policy([APP]), APP, method) == Preflight((), "method_not_allowed")


def test_a_preflight_for_head_is_one_for_get():
    policy = cors_policy([APP], allow_methods=["GET"])
    assert preflight(policy, APP, "HEAD") == preflight(policy, APP, "GET")
    assert preflight(cors_policy([APP], allow_methods=["POST"]), APP, "HEAD").refused


def test_methods_are_case_sensitive():
    policy = cors_policy([APP], allow_methods=["PATCH", "patch", "PATCH"])
    assert dict(preflight(policy, APP, "patch").headers)["Access-Control-Allow-Methods"] == (
        "PATCH, patch"
    )
    assert preflight(policy, APP, "Patch").refused == "method_not_allowed"


def test_configured_headers_are_the_only_ones_and_case_insensitive():
    policy = cors_policy([APP], allow_headers=["X-Api-Key", "Content-Type"])
    decision = preflight(policy, APP, "POST", "x-api-key, CONTENT-TYPE,x-api-key")
    assert dict(decision.headers)["Access-Control-Allow-Headers"] == "x-api-key, content-type"
    for asked in ("authorization", "x-api-key,authorization", "x-api-key x", "*"):
        assert preflight(policy, APP, "POST", asked) == Preflight((), "header_not_allowed")
    assert preflight(cors_policy([APP], allow_headers=[]), APP, "GET", "x-a").refused


@pytest.mark.parametrize(
    "asked", ["x-a\r\nset-cookie: a=b", "x a", "x-a;", "x-ä", "x-a,\0", "x\n", "(", "\x0bx"]
)
def test_a_malformed_header_name_is_never_echoed(asked):
    assert preflight(cors_policy([APP]), APP, "GET", asked) == Preflight((), "header_not_allowed")


@given(st.text())
def test_no_response_contains_a_line_end_whatever_is_requested(asked):
    for name, value in preflight(cors_policy([APP]), APP, "GET", asked).headers:
        assert (name + value).isascii()
        assert (name + value).isprintable()


# Vary and an application's own decision


@pytest.mark.parametrize(
    ("existing", "merged"),
    [
        ([], ["Origin"]),
        (["Accept"], ["Accept, Origin"]),
        (["Accept, Cookie"], ["Accept, Cookie, Origin"]),
        (["Accept", "Cookie"], ["Accept, Cookie, Origin"]),
        (["origin"], ["origin"]),
        (["Accept,ORIGIN"], ["Accept,ORIGIN"]),
        (["Accept", "Origin"], ["Accept", "Origin"]),
        (["*"], ["*"]),
        (["Accept", " * "], ["Accept", " * "]),
        ([""], ["Origin"]),
        (["Accept,"], ["Accept, Origin"]),
        (["X-Origin"], ["X-Origin, Origin"]),
    ],
)
@pytest.mark.parametrize("name", ["Vary", "VARY", "vary"])
def test_vary_is_merged(existing, merged, name):
    headers = [("A", "1"), *((name, value) for value in existing), ("B", "2")]
    result = replace_cors_headers(headers, (), ("Origin",))
    assert [value for key, value in result if key.lower() == "vary"] == merged
    assert [pair for pair in result if pair[0].lower() != "vary"] == [("A", "1"), ("B", "2")]


def test_a_reflecting_application_opens_nothing():
    headers = [
        ("ACCESS-CONTROL-ALLOW-ORIGIN", "https://evil.example"),
        ("access-control-allow-credentials", "true"),
        ("Access-Control-Allow-Private-Network", "true"),
        ("Content-Type", "text/plain"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
    ]
    ours = (("Access-Control-Allow-Origin", APP),)
    assert replace_cors_headers(headers, ours, ()) == [*headers[3:], *ours]
    assert len(headers) == 6


# forged requests


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post", "get", "X", ""])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", ""])
def test_a_forged_request_is_refused(method, origin):
    assert refuses_origin(cors_policy([APP]), method, origin, "https", "service.example")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_safe_methods_pass(method):
    assert not refuses_origin(cors_policy([APP]), method, "https://evil.example", "https", "a")


@pytest.mark.parametrize(
    ("origin", "scheme", "host"),
    [
        (APP, "https", None),
        (None, "https", "service.example"),
        ("https://service.example", "https", "service.example"),
        ("https://service.example", "https", "SERVICE.example:443"),
        ("http://service.example:3000", "http", "service.example:3000"),
        ("http://[::1]:3000", "http", "[0:0::1]:3000"),
    ],
)
def test_allowed_same_and_absent_origins_pass(origin, scheme, host):
    assert not refuses_origin(cors_policy([APP]), "POST", origin, scheme, host)


@pytest.mark.parametrize(
    ("origin", "scheme", "host"),
    [
        ("http://service.example", "https", "service.example"),
        ("https://service.example", "http", "service.example"),
        ("https://service.example:8443", "https", "service.example"),
        ("https://service.example", "https", None),
        ("https://service.example", "https", ""),
        ("https://service.example", "https", "service.example,evil.example"),
        ("https://evil.example", "https", "user@evil.example"),
        ("https://evil.example/", "https", "evil.example/"),
        ("null", "null", ""),
        ("", "", ""),
    ],
)
def test_an_origin_that_only_resembles_the_own_one_is_refused(origin, scheme, host):
    assert refuses_origin(cors_policy([APP]), "POST", origin, scheme, host)


def test_any_origin_refuses_no_origin():
    assert not refuses_origin(cors_policy(["*"]), "POST", "https://evil.example", "https", "a")


@pytest.mark.parametrize("origin", [None, "https://service.example", "null"])
@pytest.mark.parametrize("fetch_site", ["cross-site", "same-site", "", "Same-Origin", "unknown"])
def test_attack_a_request_of_another_site_is_refused_without_an_origin(origin, fetch_site):
    policy = cors_policy([APP])
    assert refuses_origin(policy, "POST", origin, "https", "service.example", fetch_site)
    assert not refuses_origin(policy, "GET", origin, "https", "service.example", fetch_site)


@pytest.mark.parametrize("fetch_site", [None, "same-origin", "none"])
def test_fetch_metadata_alone_admits_no_other_origin(fetch_site):
    policy = cors_policy([APP])
    evil = "https://evil.example"
    assert refuses_origin(policy, "POST", evil, "https", "service.example", fetch_site)
    assert refuses_origin(policy, "POST", evil, "https", None, fetch_site)
    assert not refuses_origin(policy, "POST", None, "https", None, fetch_site)


def test_an_allowed_origin_may_be_another_site():
    assert not refuses_origin(cors_policy([APP]), "POST", APP, "https", None, "cross-site")
    assert not refuses_origin(cors_policy(["*"]), "POST", None, "https", None, "cross-site")


NAMES = st.sampled_from(
    ["Vary", "VARY", "Access-Control-Allow-Origin", "ACCESS-control-x", "X-Access-Control-", "Y"]
)


@given(
    st.lists(st.tuples(NAMES, st.sampled_from(["", "*", "Origin", "accept, ORIGIN", ",a"]))),
    st.sampled_from([(), ("Origin",), ("Origin", "Accept")]),
)
def test_headers_are_replaced_as_if_each_was_looked_at(existing, vary):
    ours = (("Access-Control-Allow-Origin", "*"),)
    lower = [(name.lower(), (name, value)) for name, value in existing]
    kept = [f for name, f in lower if name != "vary" and not name.startswith("access-control-")]
    varies = [pair for name, pair in lower if name == "vary"]
    found = replace_cors_headers(iter(existing), ours, vary)
    assert found == [*kept, *cors._merge_vary(varies, vary), *ours]
    members = {
        m.strip().lower() for name, v in found if name.lower() == "vary" for m in v.split(",")
    }
    assert "*" in members or members >= {name.lower() for name in vary}


# Bounds, tables and messages


def test_what_a_preflight_depends_on():
    origin, *asked = PREFLIGHT_VARY
    assert origin == "Origin"
    assert asked == ["Access-Control-Request-Method", "Access-Control-Request-Headers"]


@pytest.mark.parametrize(
    ("scheme", "port"), [("http", 80), ("https", 443), ("ws", 80), ("wss", 443), ("ftp", 21)]
)
def test_the_default_port_of_each_scheme_is_dropped(scheme, port):
    assert parse_origin(f"{scheme}://h.example:{port}") == f"{scheme}://h.example"
    for other in (1, port + 1, 65535):
        assert parse_origin(f"{scheme}://h.example:{other}") == f"{scheme}://h.example:{other}"


@pytest.mark.parametrize("port", ["0", "65536", "000001", "1x", "x"])
def test_ports_are_from_1_to_65535(port):
    with pytest.raises(ValueError, match="the port is not a number from 1 to 65535"):
        parse_origin(f"https://h.example:{port}")


def test_the_lengths_of_labels_and_names_are_bounded():
    for label in ("a" * 63, f"b.{'a' * 63}"):
        assert parse_origin(f"https://{label}.c") == f"https://{label}.c"
        with pytest.raises(ValueError, match="not a domain name"):
            parse_origin(f"https://{label}a.c")
        policy = cors_policy(["https://*.d.example"])
        assert policy.allows(f"https://{label}.d.example")
        assert not policy.allows(f"https://{label}a.d.example")
    name = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    for end in ("", "."):
        assert parse_origin(f"https://{name}{end}") == f"https://{name}{end}"
        with pytest.raises(ValueError, match="not a domain name"):
            parse_origin(f"https://{name}d{end}")


@pytest.mark.parametrize("method", ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"])
def test_methods_that_browsers_send_in_upper_case_are_written_so(method):
    assert cors_policy([], allow_methods=[method]).allow_methods == {method}
    with pytest.raises(ValueError, match=f"allow_methods: browsers send '{method.title()}' as"):
        cors_policy([], allow_methods=[method.title()])


@pytest.mark.parametrize("name", ["allow_methods", "allow_headers", "expose_headers"])
def test_an_error_names_its_argument(name):
    with pytest.raises(ValueError, match=f"^{name}: 'a b' is not a token"):
        cors_policy([], **{name: ["a b"]})


def test_errors_end_with_what_is_expected():
    expected = "expected scheme://host or scheme://host:port, such as 'https://app.example.com'"
    for text in ("x", "https://a@b", "null", "https://a/"):
        with pytest.raises(ValueError, match="origin") as caught:
            parse_origin(text)
        assert str(caught.value).endswith(f"; {expected}" if text != "https://a@b" else expected)
    with pytest.raises(ValueError, match="from a sandboxed frame; expected"):
        parse_origin("null")
    with pytest.raises(ValueError, match=r"such as 'https://\*\.example\.com'$"):
        parse_origin_pattern("https://a.*.b.example")


@pytest.mark.parametrize("rest", ["h/", "h/x/", "h?x/", "x.h/", "h\\\\/"])
def test_only_a_trailing_slash_is_called_one(rest):
    alone = rest in ("h/", "x.h/")
    what = "leave out the trailing" if alone else "no path, query or fragment"
    with pytest.raises(ValueError, match=what):
        parse_origin(f"https://{rest}")


def test_patterns_have_ports_and_no_second_star():
    assert parse_origin_pattern("https://*.d.example:8443") == "https://*.d.example:8443"
    for text in ("https://*.d:8443", "https://*.1.2.3.4:80", "https://*.d.example://*.x"):
        with pytest.raises(ValueError, match="origin"):
            parse_origin_pattern(text)


def test_spaces_around_the_names_of_headers_are_dropped():
    policy = cors_policy(["https://a.example"], allow_headers=["X-A", "X-XX"])
    decision = preflight(policy, "https://a.example", "GET", "x-a , \tx-xx\t")
    assert dict(decision.headers)["Access-Control-Allow-Headers"] == "x-a, x-xx"
