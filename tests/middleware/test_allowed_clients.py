from __future__ import annotations

import logging

import pytest
from support.wsgi import Recorder, check_delegates, environ, request, send

from swaig_wsgi.middleware import AllowedClientsMiddleware, TrustedProxyMiddleware

NETWORKS = ("192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "fe80::/10")
PROXY = "10.0.0.1"


def guarded(peer, networks=NETWORKS, path="/", **options):
    app = AllowedClientsMiddleware(Recorder(b"inner"), networks, **options)
    return request(app, "GET", path, REMOTE_ADDR=peer)


@pytest.mark.parametrize(
    "peer",
    [
        "192.0.2.0",
        "192.0.2.255",
        "198.51.100.7",
        "::ffff:192.0.2.9",
        "::FFFF:C000:0209",
        "2001:db8::1",
        "2001:0DB8:0000::0001",
        "fe80::1%eth0",
        "fe80::1%1",
    ],
)
def test_listed_clients_reach_the_application(peer):
    assert guarded(peer).body == b"inner"


def test_attack_an_address_of_nat64_is_not_its_ipv4_address(caplog):
    peer = "64:ff9b::192.0.2.1"
    assert guarded(peer).status == 403
    assert guarded(peer, ["64:ff9b::192.0.2.0/120"]).body == b"inner"
    assert guarded("64:ff9b::192.0.3.1", ["64:ff9b::192.0.2.0/120"]).status == 403
    assert guarded("192.0.2.1", ["64:ff9b::192.0.2.0/120"]).status == 403


@pytest.mark.parametrize(
    "peer", ["192.0.3.0", "198.51.100.8", "2001:db9::1", "::ffff:192.0.3.1", "::1", "127.0.0.1"]
)
def test_other_clients_are_forbidden(peer, caplog):
    response = guarded(peer)
    assert response.status == 403
    assert response.json == {"error": "Forbidden: client not allowed"}
    assert response.headers["Content-Type"] == "application/json"
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("swaig_wsgi.security", logging.WARNING)
    assert (record.event, record.reason) == ("client_refused", "client_not_allowed")
    assert record.client == peer


@pytest.mark.parametrize(
    "peer",
    [
        None,
        "",
        "unix:",
        "localhost",
        "<local>",
        "0.0.0.0",  # noqa: S104 - only compared or bound by this test
        "unknown",
        "192.0.2",
        "192.0.2.07",
        "192.0.2.7, 192.0.2.8",
        "192.0.2.7%eth0",
        "::ffff:192.0.2.7%eth0",
        "192.0.2.7/24",
        "3221225985",
        "0xc0000207",
        " 192.0.2.7",
        "192.0.2.7\n",
        "[2001:db8::1",
    ],
)
def test_attack_a_client_without_an_address_is_refused(peer, caplog):
    response = guarded(peer, ("0.0.0.0/0", "::/0"))
    assert response.status == 403
    (record,) = caplog.records
    assert (record.event, record.reason) == ("client_refused", "unknown_client")
    assert "SWML_TRUSTED_PROXIES" in record.getMessage()


def test_attack_forged_forwarding_fields_admit_no_client():
    forged = {
        "X-Forwarded-For": "192.0.2.7",
        "X-Real-IP": "192.0.2.7",
        "Forwarded": "for=192.0.2.7",
        "CF-Connecting-IP": "192.0.2.7",
        "True-Client-IP": "192.0.2.7",
    }
    inner = AllowedClientsMiddleware(Recorder(), NETWORKS)
    for app in (inner, TrustedProxyMiddleware(inner, [PROXY])):
        assert request(app, headers=forged, REMOTE_ADDR="203.0.113.9").status == 403


@pytest.mark.parametrize(
    ("chain", "status"),
    [
        ("192.0.2.7", 200),
        ("203.0.113.9, 192.0.2.7", 200),
        ("192.0.2.7, 203.0.113.9", 403),
        ("192.0.2.7, unknown", 403),
        ("fe80::1%eth0", 403),
        ("::ffff:192.0.2.7", 200),
        ("", 403),
    ],
)
def test_attack_only_the_trusted_proxys_part_of_a_chain_counts(chain, status):
    inner = AllowedClientsMiddleware(Recorder(), NETWORKS)
    app = TrustedProxyMiddleware(inner, [PROXY])
    assert request(app, headers={"X-Forwarded-For": chain}, REMOTE_ADDR=PROXY).status == status


def test_behind_a_unix_socket_the_proxy_names_the_client():
    app = TrustedProxyMiddleware(AllowedClientsMiddleware(Recorder(), NETWORKS), ["unix"])
    assert request(app, headers={"X-Forwarded-For": "192.0.2.7"}, REMOTE_ADDR="").status == 200
    assert request(app, headers={"X-Forwarded-For": "203.0.113.9"}, REMOTE_ADDR="").status == 403
    assert request(app, REMOTE_ADDR="").status == 403


def test_exempt_paths_are_open_to_any_client():
    exempt = {"exempt": ("/health", "/static/*")}
    assert guarded("203.0.113.9", path="/health", **exempt).status == 200
    assert guarded("", path="/static/a.css", **exempt).status == 200
    for path in ("/health/", "//health", "/static/../swaig", "/"):
        assert guarded("203.0.113.9", path=path, **exempt).status == 403


def test_invalid_options_are_rejected():
    for networks, error, message in (
        ("192.0.2.7", TypeError, "sequence"),
        ((), ValueError, "every request would be refused"),
        (("192.0.2.7/24",), ValueError, "host bits"),
        (("unix",), ValueError, "'unix'"),
        (("fe80::1%eth0",), ValueError, "'fe80::1%eth0'"),
    ):
        with pytest.raises(error, match=message):
            AllowedClientsMiddleware(Recorder(), networks)
    with pytest.raises(ValueError, match="'health'"):
        AllowedClientsMiddleware(Recorder(), NETWORKS, exempt=("health",))


def test_iterable_and_start_response_are_passed_through():
    made = environ()
    before = dict(made)
    check_delegates(lambda app: AllowedClientsMiddleware(app, NETWORKS), made)
    assert made == before


def test_a_refusal_of_head_has_no_body():
    app = AllowedClientsMiddleware(Recorder(), NETWORKS)
    response = send(app, environ("HEAD", REMOTE_ADDR="203.0.113.9"))
    assert (response.status, response.body) == (403, b"")
