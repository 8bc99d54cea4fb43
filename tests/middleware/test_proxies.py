from __future__ import annotations

from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wsgi import Recorder, check_delegates, environ, send

from swaig_wsgi.middleware.proxies import TrustedProxyMiddleware

PROXY = "10.0.0.1"
CLIENT = "192.0.2.7"
TRUSTED = ("10.0.0.0/8",)

PUBLIC = {
    "HTTP_X_FORWARDED_FOR": CLIENT,
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_FORWARDED_HOST": "public.example",
    "HTTP_X_FORWARDED_PORT": "8443",
    "HTTP_X_FORWARDED_PREFIX": "/agents",
}
FORWARDED = {"HTTP_FORWARDED": f'for={CLIENT};proto=https;host="public.example:8443"'}
KEYS = ("swaig_wsgi.proxies.original", "swaig_wsgi.forwarded", "swaig_wsgi.forwarded_prefix")
REWRITTEN = (
    "REMOTE_ADDR",
    "wsgi.url_scheme",
    "HTTP_HOST",
    "SERVER_NAME",
    "SERVER_PORT",
    "SCRIPT_NAME",
)


def make_request(headers=(), peer=PROXY, **extra):
    """Return the environ of a request from `peer` with these `headers`, given as environ keys."""
    defaults = {"HTTP_HOST": "inner.example:8000", "SERVER_PORT": "8000"}
    return environ("GET", "/swaig", REMOTE_ADDR=peer, **{**extra, **defaults, **dict(headers)})


def resolve(request, trusted=TRUSTED, **options):
    """Return the environ that an application behind the middleware receives."""
    inner = Recorder()
    response = send(TrustedProxyMiddleware(validator(inner), trusted, **options), request)
    assert response.body == b"ok"
    return inner.environs[0]


def comparable(environ):
    internal = ("wsgi.", "swaig_wsgi.proxies.policy")
    return {key: value for key, value in environ.items() if not key.startswith(internal)}


def forwarding(environ):
    return {key: value for key, value in environ.items() if "FORWARDED" in key}


def test_headers_of_a_trusted_proxy_are_applied():
    environ = resolve(make_request(PUBLIC, REMOTE_PORT="4711", REMOTE_HOST="proxy.internal"))
    assert {key: environ[key] for key in REWRITTEN} == {
        "REMOTE_ADDR": CLIENT,
        "wsgi.url_scheme": "https",
        "HTTP_HOST": "public.example:8443",
        "SERVER_NAME": "public.example",
        "SERVER_PORT": "8443",
        "SCRIPT_NAME": "/agents",
    }
    assert environ["PATH_INFO"] == "/swaig"
    assert environ["swaig_wsgi.forwarded"] is True
    assert environ["swaig_wsgi.forwarded_prefix"] == "/agents"
    assert environ["swaig_wsgi.proxies.original"] == {
        "REMOTE_ADDR": PROXY,
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "inner.example:8000",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SCRIPT_NAME": "",
    }
    assert "REMOTE_PORT" not in environ
    assert "REMOTE_HOST" not in environ


def test_the_forwarded_header_of_a_trusted_proxy_is_applied():
    environ = resolve(make_request(FORWARDED), family="forwarded")
    assert environ["REMOTE_ADDR"] == CLIENT
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["HTTP_HOST"] == "public.example:8443"
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("public.example", "8443")
    assert environ["SCRIPT_NAME"] == ""
    assert environ["swaig_wsgi.forwarded"] is True
    assert "swaig_wsgi.forwarded_prefix" not in environ


@pytest.mark.parametrize("peer", ["203.0.113.9", "11.0.0.1", "", None, "unknown"])
@pytest.mark.parametrize("family", ["x-forwarded", "forwarded"])
def test_headers_of_an_untrusted_peer_are_ignored_and_dropped(peer, family):
    spoofed = {
        **PUBLIC,
        **FORWARDED,
        "HTTP_X_FORWARDED_SSL": "on",
        "HTTP_X_FORWARDED_SCHEME": "https",
        "HTTP_X_FORWARDED_PROTOCOL": "ssl",
        "HTTP_X_FORWARDED_SERVER": "evil.example",
        "HTTP_X_FORWARDED_USER": "admin",
        "HTTP_X_FORWARDED": "for=192.0.2.66",
        "HTTP_X_REAL_IP": "192.0.2.66",
        "HTTP_X_CLIENT_IP": "192.0.2.66",
        "HTTP_X_CLUSTER_CLIENT_IP": "192.0.2.66",
        "HTTP_CLIENT_IP": "192.0.2.66",
        "HTTP_TRUE_CLIENT_IP": "192.0.2.66",
        "HTTP_CF_CONNECTING_IP": "192.0.2.66",
        "HTTP_X_SCHEME": "https",
        "HTTP_X_SCRIPT_NAME": "/evil",
        "HTTP_FRONT_END_HTTPS": "on",
    }
    plain = comparable(resolve(make_request(peer=peer), family=family))
    attacked = comparable(resolve(make_request(spoofed, peer), family=family))
    assert attacked == plain
    assert forwarding(attacked) == {}


def test_an_untrusted_peer_cannot_vary_its_address():
    addresses = {
        resolve(make_request({"HTTP_X_FORWARDED_FOR": f"192.0.2.{n}"}, "203.0.113.9"))[
            "REMOTE_ADDR"
        ]
        for n in range(20)
    }
    assert addresses == {"203.0.113.9"}


def test_a_client_behind_a_proxy_cannot_vary_its_address():
    addresses = {
        resolve(make_request({"HTTP_X_FORWARDED_FOR": f"192.0.2.{n}, {CLIENT}"}))["REMOTE_ADDR"]
        for n in range(20)
    }
    assert addresses == {CLIENT}


@pytest.mark.parametrize("peer", ["", None])
def test_a_unix_socket_must_be_trusted_explicitly(peer):
    assert resolve(make_request(PUBLIC, peer), ["unix"])["REMOTE_ADDR"] == CLIENT
    assert resolve(make_request(PUBLIC, peer), ["127.0.0.1"]).get("REMOTE_ADDR") == peer
    assert resolve(make_request(PUBLIC, "203.0.113.9"), ["unix"])["REMOTE_ADDR"] == "203.0.113.9"


def test_a_proxy_count_of_one_trusts_the_direct_peer():
    environ = resolve(
        make_request({"HTTP_X_FORWARDED_FOR": f"192.0.2.66, {CLIENT}"}, "203.0.113.9"), 1
    )
    assert environ["REMOTE_ADDR"] == CLIENT


def test_an_ipv4_mapped_peer_is_matched_as_ipv4():
    assert resolve(make_request(PUBLIC, "::ffff:10.0.0.1"))["REMOTE_ADDR"] == CLIENT


# The two families


def test_forwarded_is_dropped_with_the_family_x_forwarded():
    both = {**PUBLIC, "HTTP_FORWARDED": "for=192.0.2.66;proto=http;host=evil.example"}
    environ = resolve(make_request(both))
    assert (environ["REMOTE_ADDR"], environ["HTTP_HOST"]) == (CLIENT, "public.example:8443")
    assert "HTTP_FORWARDED" not in environ
    headers = {"HTTP_FORWARDED": "for=192.0.2.66;proto=https;host=evil.example"}
    environ = resolve(make_request(headers))
    assert (environ["REMOTE_ADDR"], environ["HTTP_HOST"]) == (PROXY, "inner.example:8000")
    assert "HTTP_FORWARDED" not in environ


def test_x_forwarded_fields_are_dropped_with_the_family_forwarded():
    environ = resolve(make_request({**PUBLIC, "HTTP_X_REAL_IP": "192.0.2.66"}), family="forwarded")
    assert (environ["REMOTE_ADDR"], environ["HTTP_HOST"]) == (PROXY, "inner.example:8000")
    assert environ["wsgi.url_scheme"] == "http"
    assert forwarding(environ) == {}
    assert "HTTP_X_REAL_IP" not in environ


def test_unsupported_fields_of_a_trusted_proxy_are_dropped():
    extra = {"HTTP_X_FORWARDED_SSL": "on", "HTTP_X_REAL_IP": "192.0.2.66"}
    environ = resolve(make_request({**PUBLIC, **extra}))
    assert not extra.keys() & environ.keys()


#: Headers in which some servers, proxies and networks pass on a client, a host or a scheme.
SYNONYMS = [
    *("CF-Connecting-IP", "Client-IP", "Fastly-Client-IP", "Fly-Client-IP", "Front-End-Https"),
    *("True-Client-IP", "X-Azure-ClientIP", "X-Client-IP", "X-Cluster-Client-IP"),
    *("X-Envoy-External-Address", "X-Host", "X-Original-Forwarded-For", "X-Original-Host"),
    *("X-Original-URL", "X-Real-IP", "X-Rewrite-URL", "X-Scheme", "X-Script-Name"),
    *("X-Url-Scheme", "X-Forwarded-Ssl", "X-Forwarded-Protocol", "X-Forwarded-Server"),
]


@pytest.mark.parametrize("peer", [PROXY, "192.0.2.1"])
@pytest.mark.parametrize("family", ["x-forwarded", "forwarded"])
@pytest.mark.parametrize("name", SYNONYMS)
def test_other_forwarding_headers_are_ignored_and_dropped(name, family, peer):
    key = "HTTP_" + name.upper().replace("-", "_")
    for value in ("192.0.2.66", "https", "on", "evil.example", "/evil"):
        environ = resolve(make_request({key: value}, peer), family=family)
        assert key not in environ
        values = (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], environ["HTTP_HOST"])
        assert values == (peer, "http", "inner.example:8000")
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/swaig")


# The environ of the application


def test_only_trusted_values_are_passed_on():
    environ = resolve(
        make_request(
            {
                "HTTP_X_FORWARDED_FOR": f"192.0.2.66, {CLIENT}:1234, 10.0.0.2",
                "HTTP_X_FORWARDED_PROTO": "https, http",
                "HTTP_X_FORWARDED_HOST": "evil.example, public.example",
                "HTTP_X_FORWARDED_PORT": "1, 8443, 2",
                "HTTP_X_FORWARDED_PREFIX": "/evil, /agents/, /x",
            }
        )
    )
    assert {key: value for key, value in environ.items() if key in PUBLIC} == {
        "HTTP_X_FORWARDED_FOR": CLIENT,
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_HOST": "evil.example:8443",
        "HTTP_X_FORWARDED_PORT": "8443",
        "HTTP_X_FORWARDED_PREFIX": "/agents",
    }


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_X_FORWARDED_FOR": "unknown"},
        {"HTTP_X_FORWARDED_PROTO": "gopher"},
        {"HTTP_X_FORWARDED_HOST": "user@evil.example"},
        {"HTTP_X_FORWARDED_PORT": "0"},
        {"HTTP_X_FORWARDED_PREFIX": "//evil.example"},
        {"HTTP_X_FORWARDED_FOR": ""},
    ],
)
def test_malformed_values_of_a_trusted_proxy_are_dropped(headers):
    environ = comparable(resolve(make_request(headers)))
    assert environ == comparable(resolve(make_request()))


def test_a_malformed_forwarded_header_is_dropped():
    environ = resolve(make_request({"HTTP_FORWARDED": 'for="'}), family="forwarded")
    assert forwarding(environ) == {}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("for=192.0.2.66, for=192.0.2.7;by=_x", "for=192.0.2.7"),
        ('for="[2001:DB8:0::7]:80";proto=HTTPS', 'for="[2001:db8::7]";proto=https'),
        ('host="a.example:80"', 'host="a.example:80"'),
    ],
)
def test_forwarded_is_rewritten_to_the_trusted_values(sent, expected):
    environ = resolve(make_request({"HTTP_FORWARDED": sent}), family="forwarded")
    assert environ["HTTP_FORWARDED"] == expected
    again = resolve(make_request({"HTTP_FORWARDED": expected}), family="forwarded")
    assert [again.get(key) for key in REWRITTEN] == [environ.get(key) for key in REWRITTEN]


@pytest.fixture(scope="module")
def _django():
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure()
    django.setup()


@pytest.mark.parametrize(
    ("peer", "proto", "scheme"),
    [
        (PROXY, "https", "https"),
        (PROXY, "http", "http"),
        # The client sent a value and its proxy appended one: Django would read the left-most.
        (PROXY, "https, http", "http"),
        (PROXY, "https,junk", "http"),
        ("203.0.113.9", "https", "http"),
    ],
)
@pytest.mark.installed
@pytest.mark.usefixtures("_django")
def test_django_reads_the_trusted_scheme(peer, proto, scheme):
    from django.core.handlers.wsgi import WSGIRequest
    from django.test import override_settings

    environ = resolve(
        make_request({"HTTP_X_FORWARDED_FOR": CLIENT, "HTTP_X_FORWARDED_PROTO": proto}, peer)
    )
    with override_settings(
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
        USE_X_FORWARDED_HOST=True,
        ALLOWED_HOSTS=["*"],
    ):
        django_request = WSGIRequest(environ)
        assert django_request.scheme == scheme
        assert django_request.is_secure() is (scheme == "https")


@pytest.mark.installed
@pytest.mark.usefixtures("_django")
def test_django_reads_the_trusted_host():
    from django.core.handlers.wsgi import WSGIRequest
    from django.test import override_settings

    with override_settings(
        USE_X_FORWARDED_HOST=True, USE_X_FORWARDED_PORT=True, ALLOWED_HOSTS=["*"]
    ):
        spoofed = resolve(make_request({"HTTP_X_FORWARDED_HOST": "evil.example"}, "203.0.113.9"))
        assert WSGIRequest(spoofed).get_host() == "inner.example:8000"
        trusted = resolve(make_request({**PUBLIC, "HTTP_X_FORWARDED_PORT": "443"}))
        assert WSGIRequest(trusted).get_host() == "public.example"


def proxy_fix(environ, count):
    from werkzeug.middleware.proxy_fix import ProxyFix

    rewritten = {}
    app = ProxyFix(lambda environ, start_response: rewritten.update(environ) or [], *[count] * 5)
    app(dict(environ), None)
    return [rewritten.get(key) for key in REWRITTEN]


address = st.ip_addresses(v=4).map(str)
scheme = st.sampled_from(["http", "https"])
# Unlike ProxyFix, the middleware leaves out the default port of a scheme.
port = st.integers(1, 65535).filter(lambda port: port not in (80, 443)).map(str)
host = st.from_regex(r"[a-z]{1,9}\.example(:[1-9][0-9]{0,3})?|\[::[1-9]\](:80)?", fullmatch=True)
prefix = st.from_regex(r"(/[a-z]{1,9}){1,3}", fullmatch=True)


@pytest.mark.installed
@given(st.data(), st.integers(1, 3))
def test_well_formed_fields_are_read_as_by_proxy_fix(data, count):
    headers = {
        key: ", ".join(data.draw(st.lists(value, min_size=count, max_size=5)))
        for key, value in zip(PUBLIC, (address, scheme, host, port, prefix))
        if key == "HTTP_X_FORWARDED_FOR" or data.draw(st.booleans())
    }
    expected = proxy_fix(make_request(headers), count)
    environ = resolve(make_request(headers), count)
    assert [environ.get(key) for key in REWRITTEN] == expected
    # ProxyFix behind the middleware changes nothing.
    assert proxy_fix(environ, 1) == expected


# Keys that the middleware sets


def test_stale_environ_keys_are_removed():
    stale = dict.fromkeys(KEYS, True)
    assert not stale.keys() & resolve(make_request(stale, "203.0.113.9")).keys()
    assert not stale.keys() & resolve(make_request(stale)).keys()
    headers = {"HTTP_X_FORWARDED_FOR": CLIENT}
    environ = resolve(make_request({**headers, **stale}))
    assert stale.keys() & environ.keys() == {"swaig_wsgi.proxies.original"}
    assert environ["swaig_wsgi.proxies.original"]["REMOTE_ADDR"] == PROXY


@pytest.mark.parametrize(
    ("headers", "forwarded"),
    [
        # The host still comes from the client.
        ({"HTTP_X_FORWARDED_PROTO": "https"}, None),
        ({"HTTP_X_FORWARDED_HOST": "public.example"}, True),
        ({"HTTP_X_FORWARDED_FOR": CLIENT}, None),
        ({"HTTP_X_FORWARDED_PREFIX": "/agents"}, None),
        ({"HTTP_X_FORWARDED_PORT": "8443"}, None),
        ({"HTTP_X_FORWARDED_PROTO": "on"}, None),
    ],
)
def test_the_forwarded_key_is_set_only_for_a_forwarded_host(headers, forwarded):
    assert resolve(make_request(headers)).get("swaig_wsgi.forwarded") is forwarded


def test_the_prefix_replaces_any_script_name():
    environ = resolve(make_request({"HTTP_X_FORWARDED_PREFIX": "/agents/"}, SCRIPT_NAME="/forged"))
    assert environ["SCRIPT_NAME"] == environ["swaig_wsgi.forwarded_prefix"] == "/agents"
    assert environ["swaig_wsgi.proxies.original"]["SCRIPT_NAME"] == "/forged"
    environ = resolve(make_request({"HTTP_X_FORWARDED_PREFIX": "/"}, SCRIPT_NAME="/forged"))
    assert environ["SCRIPT_NAME"] == environ["swaig_wsgi.forwarded_prefix"] == ""


@pytest.mark.installed
@pytest.mark.parametrize(
    ("mount", "target", "script_name"),
    [
        ("/mount", "/mount/swaig", "/agents/mount"),
        ("/mount", "/mount", "/agents/mount"),
        ("/mount/", "/mount/swaig?x=/y", "/agents/mount"),
        ("/mount", "/mount?x", "/agents/mount"),
        ("/MAX", "/MAX/swaig", "/agents/MAX"),
        ("/m\u00c3\u00b6unt", "/m%C3%B6unt/swaig", "/agents/m\u00c3\u00b6unt"),
        ("/mount", "http://inner.example/mount/swaig", "/agents/mount"),
        # A mount that is not part of the request target is dropped.
        ("/mount", "/mounted/swaig", "/agents"),
        ("/mount", "/swaig", "/agents"),
        # The server splits off the prefix that its proxy kept in the path.
        ("/agents", "/agents/swaig", "/agents"),
    ],
)
def test_the_prefix_precedes_a_mount_point(mount, target, script_name):
    headers = {"HTTP_X_FORWARDED_PREFIX": "/agents"}
    environ = resolve(make_request(headers, SCRIPT_NAME=mount, RAW_URI=target))
    assert environ["SCRIPT_NAME"] == script_name
    assert environ["swaig_wsgi.forwarded_prefix"] == "/agents"
    # ProxyFix behind the middleware changes nothing.
    assert proxy_fix(environ, 1)[-1] == script_name


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("inner.example:8000", "inner.example:8443"),
        ("[::1]", "[::1]:8443"),
        # A malformed Host is left for AllowedHostsMiddleware to refuse.
        ("user@inner.example:8000", "user@inner.example:8000"),
        ("a.example,b.example:80", "a.example,b.example:80"),
    ],
)
def test_a_forwarded_port_replaces_the_port_of_the_host(host, expected):
    environ = resolve(make_request({"HTTP_X_FORWARDED_PORT": "8443", "HTTP_HOST": host}))
    assert environ["HTTP_HOST"] == expected
    assert environ["SERVER_PORT"] == "8443"


def test_a_forwarded_port_creates_no_host_header():
    environ = make_request({"HTTP_X_FORWARDED_PORT": "8443"})
    del environ["HTTP_HOST"]
    assert "HTTP_HOST" not in resolve(environ)


@pytest.mark.parametrize(
    "headers",
    [{"HTTP_X_FORWARDED_PROTO": "https"}, {"HTTP_X_FORWARDED_FOR": PROXY}],
)
def test_the_remote_port_is_kept_with_the_remote_address(headers):
    environ = resolve(make_request(headers, REMOTE_PORT="4711", REMOTE_HOST="proxy.internal"))
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == (PROXY, "4711")
    assert environ["REMOTE_HOST"] == "proxy.internal"


# Options and passing through


@pytest.mark.parametrize("trusted", [True, 0, (), "10.0.0.1", ("10.0.0.1/8",), None])
def test_invalid_trusted_proxies_are_rejected(trusted):
    with pytest.raises(ValueError, match="prox"):
        TrustedProxyMiddleware(lambda environ, start_response: [], trusted)


@pytest.mark.parametrize("family", ["", "X-Forwarded", "both", None])
def test_an_invalid_family_is_rejected(family):
    with pytest.raises(ValueError, match="expected 'x-forwarded' or 'forwarded'"):
        TrustedProxyMiddleware(lambda environ, start_response: [], 1, family=family)


@given(st.dictionaries(st.sampled_from([*PUBLIC, *FORWARDED, "HTTP_X_REAL_IP"]), st.text()))
def test_arbitrary_forwarding_headers_are_never_refused(headers):
    for family in ("x-forwarded", "forwarded"):
        environ = resolve(make_request(headers), family=family)
        for value in forwarding(comparable(environ)).values():
            assert value is True or value.isascii()


@pytest.mark.parametrize("headers", [{}, PUBLIC, FORWARDED])
def test_iterable_and_start_response_are_passed_through(headers):
    check_delegates(lambda app: TrustedProxyMiddleware(app, TRUSTED), make_request(headers))


def test_attack_memory_of_forwarded_fields_is_bounded():
    app = Recorder()
    layer = TrustedProxyMiddleware(app, ["10.0.0.0/8"])

    def address(**headers):
        send(layer, environ(REMOTE_ADDR="10.0.0.1", headers=headers))
        return app.environs[-1]["REMOTE_ADDR"]

    for number in range(1000):
        sent = f"192.0.2.{number % 256}"
        assert address(**{"X-Forwarded-For": sent, "X-Forwarded-Other": str(number)}) == sent
    before = layer._resolve_known.cache_info()
    assert before.currsize == before.maxsize == 256
    # Names as in environ and values, 512 characters, are the most that is remembered.
    names = len("HTTP_X_FORWARDED_FOR" + "HTTP_X_FORWARDED_OTHER")
    rest = 512 - names - len("192.0.2.1")
    assert address(**{"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Other": "x" * rest})
    after = layer._resolve_known.cache_info()
    assert after.misses == before.misses + 1
    for name, value in (("Other", "x" * (rest + 1)), ("Other" + "y" * (rest + 1), "")):
        headers = {"X-Forwarded-For": "192.0.2.1", f"X-Forwarded-{name}": value}
        assert address(**headers) == "192.0.2.1"
    assert layer._resolve_known.cache_info() == after


def test_attack_what_a_trusted_peer_sent_is_not_believed_of_another():
    app = Recorder()
    layer = TrustedProxyMiddleware(app, ["10.0.0.0/8"])
    for peer, expected in (("10.0.0.1", "192.0.2.1"), ("203.0.113.9", "203.0.113.9")) * 2:
        send(layer, environ(REMOTE_ADDR=peer, headers={"X-Forwarded-For": "192.0.2.1"}))
        assert app.environs[-1]["REMOTE_ADDR"] == expected
