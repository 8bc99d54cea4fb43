"""The users of an authenticating proxy: from trusted peers alone, and one value."""

from __future__ import annotations

import logging

import pytest
from support.wsgi import Recorder, environ, request, send

from swaig_wsgi import ConfigurationError, Settings, harden
from swaig_wsgi.core.kept_fields import CLIENT_FIELDS
from swaig_wsgi.middleware import TrustedProxyMiddleware

PROXY = "10.0.0.1"
USER, EMAIL = "HTTP_X_FORWARDED_USER", "HTTP_X_FORWARDED_EMAIL"
REMOTE = "HTTP_REMOTE_USER"
KEEP = ("X-Forwarded-User", "X-Forwarded-Email", "Remote-User")
SENT = {USER: "ann", EMAIL: "ann@a.example", REMOTE: "ann"}
OTHERS = {"HTTP_X_FORWARDED_GROUPS": "admin", "HTTP_X_FORWARDED_ACCESS_TOKEN": "a-token"}


def seen(fields, trusted=(PROXY,), peer=PROXY, keep=KEEP, **options):
    """Return the fields of users that reach the application."""
    inner = Recorder()
    app = TrustedProxyMiddleware(inner, trusted, keep=keep, **options)
    send(app, environ(REMOTE_ADDR=peer, **fields))
    return {
        key: value
        for key, value in inner.environs[0].items()
        if key.startswith(("HTTP_X_FORWARDED", "HTTP_REMOTE"))
    }


def test_fields_of_a_trusted_proxy_are_kept_by_name():
    assert seen({**SENT, **OTHERS}) == SENT
    assert seen({**SENT, **OTHERS}, keep=("X-Forwarded-User",)) == {USER: "ann", REMOTE: "ann"}
    assert seen(SENT, family="forwarded") == SENT
    assert seen(SENT, ["unix"], peer="") == SENT


def test_by_default_all_are_removed():
    assert seen({USER: "ann", EMAIL: "ann@a.example"}, keep=()) == {}


def test_attack_fields_of_a_peer_that_is_not_trusted_are_removed():
    for peer in ("192.0.2.7", "", "10.0.0.2", "unknown", "::1"):
        assert seen(SENT, peer=peer) == {}
    forged = {**SENT, "HTTP_X_FORWARDED_FOR": PROXY, "HTTP_FORWARDED": f"for={PROXY}"}
    assert seen(forged, peer="192.0.2.7") == {}


@pytest.mark.parametrize(
    "value", ["admin,ann", "ann, admin", ",ann", "ann,", " ann", "a\tb", "\x7f"]
)
def test_attack_a_value_that_a_client_may_have_added_to_is_removed(value, caplog):
    inner = Recorder()
    app = TrustedProxyMiddleware(inner, [PROXY], keep=KEEP)
    for _ in range(2):
        send(app, environ(REMOTE_ADDR=PROXY, **{**SENT, USER: value}))
        assert USER not in inner.environs[-1]
        assert inner.environs[-1][EMAIL] == "ann@a.example"
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("X-Forwarded-User of a trusted proxy has several values")
    assert value not in record.getMessage() or len(value) < 2


def test_an_empty_value_means_no_user(caplog):
    assert seen({USER: "", REMOTE: "ann"}) == {REMOTE: "ann"}
    assert not caplog.records


def test_attack_a_request_that_has_not_passed_all_proxies_has_no_user():
    chain = {"HTTP_X_FORWARDED_FOR": "192.0.2.7, 10.0.0.2"}
    for fields in ({}, {"HTTP_X_FORWARDED_FOR": "192.0.2.7"}, {"HTTP_X_FORWARDED_FOR": "x, y"}):
        assert not seen({**SENT, **fields}, trusted=2).keys() & SENT.keys()
    assert SENT.items() <= seen({**SENT, **chain}, trusted=2).items()
    assert SENT.items() <= seen({**SENT, **chain}, trusted=1).items()


def test_attack_no_spelling_in_environ_passes_as_a_kept_field():
    spellings = {"HTTP_X-FORWARDED-USER": "eve", "HTTP_x_forwarded_user": "eve"}
    assert not seen({**spellings, USER: "ann"}, peer="192.0.2.7").get(USER)
    assert seen(spellings).get(USER) is None


def test_an_inner_layer_that_keeps_no_more_does_nothing():
    for inner_keep in ((), KEEP[:1], KEEP):
        inner = Recorder()
        app = TrustedProxyMiddleware(inner, [PROXY], keep=inner_keep)
        app = TrustedProxyMiddleware(app, [PROXY], keep=KEEP)
        assert request(app, REMOTE_ADDR=PROXY, **SENT).status == 200
        assert SENT.items() <= inner.environs[0].items()


def test_attack_an_inner_layer_that_keeps_more_is_refused():
    """Nothing has verified the fields that the outer one does not know."""
    app = TrustedProxyMiddleware(Recorder(), [PROXY], keep=KEEP)
    app = TrustedProxyMiddleware(app, [PROXY], keep=KEEP[:1])
    assert request(app, REMOTE_ADDR=PROXY, **SENT).status == 503


@pytest.mark.parametrize("key", sorted(CLIENT_FIELDS))
def test_no_synonym_can_be_kept(key):
    name = key[len("HTTP_") :].replace("_", "-")
    with pytest.raises(ValueError, match="has a meaning of its own"):
        TrustedProxyMiddleware(Recorder(), [PROXY], keep=[name])


# Through harden and settings


@pytest.mark.parametrize("given", [KEEP[:2], "X-Forwarded-User, X-Forwarded-Email"])
def test_harden_keeps_fields(given):
    inner = Recorder()
    app = harden(inner, Settings(), trusted_proxies=[PROXY], proxy_keep=given)
    request(app, REMOTE_ADDR=PROXY, **SENT)
    request(app, REMOTE_ADDR="192.0.2.7", **SENT)
    proxied, forged = inner.environs
    assert (proxied[USER], proxied[EMAIL]) == ("ann", "ann@a.example")
    assert not {USER, EMAIL} & forged.keys()


def test_the_variable_keeps_fields(monkeypatch):
    monkeypatch.setenv("SWML_TRUSTED_PROXIES", PROXY)
    monkeypatch.setenv("SWML_PROXY_KEEP", "X-Forwarded-User")
    inner = Recorder()
    request(harden(inner), REMOTE_ADDR=PROXY, **SENT)
    assert inner.environs[0][USER] == "ann"
    assert EMAIL not in inner.environs[0]


def test_a_limit_by_user_of_the_proxy():
    def key(environ):
        return f"user:{environ.get(USER, '')}"

    settings = Settings(trusted_proxies=[PROXY], proxy_keep=KEEP)
    app = harden(Recorder(), settings, rate_limit={"limit": 1, "key": key})
    assert request(app, REMOTE_ADDR=PROXY, **{USER: "ann"}).status == 200
    assert request(app, REMOTE_ADDR=PROXY, **{USER: "ann"}).status == 429
    assert request(app, REMOTE_ADDR=PROXY, **{USER: "bob"}).status == 200


def test_attack_fields_are_not_kept_without_trusted_proxies():
    with pytest.raises(ConfigurationError, match="SWML_PROXY_KEEP: requires SWML_TRUSTED_PROXIES"):
        harden(Recorder(), Settings(), proxy_keep=KEEP)
    assert Settings(trust_proxy_headers=True, proxy_keep=KEEP).proxy_keep == KEEP


@pytest.mark.parametrize("given", ["X-Forwarded-For", "X-Forwarded-Groups", "X_User", [1], 5])
def test_invalid_names_name_the_variable(given):
    with pytest.raises(ConfigurationError, match="SWML_PROXY_KEEP: "):
        Settings(trusted_proxies=[PROXY], proxy_keep=given)
