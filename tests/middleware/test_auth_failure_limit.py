"""The limit on failed authentications."""

from __future__ import annotations

import logging

import pytest
from support.clock import Clock
from support.wsgi import CLIENT, Client, Recorder, basic

from swaig_wsgi.agent.auth import AgentAuthenticator
from swaig_wsgi.middleware import AuthFailureLimitMiddleware, AuthHandler, AuthMiddleware
from swaig_wsgi.stores._base import StoreError
from swaig_wsgi.stores.memory import MemoryStore

GOOD = ("admin", "hunter2")
WRONG = ("admin", "wrong")
HANDLER = AuthHandler(basic_auth=GOOD, bearer_token="token", api_key="key")


class Blind(MemoryStore):
    """A store without `peek`, as a custom one may be."""

    peek = None


class Flaky(MemoryStore):
    down = False

    def hit(self, key, window):
        self._fail()
        return super().hit(key, window)

    def peek(self, key):
        self._fail()
        return super().peek(key)

    def _fail(self):
        if self.down:
            raise StoreError("connection refused")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def site():
    return Recorder()


def limiter(site, limit=2, handler=HANDLER, *, clock=None, auth=None, **options):
    """Return a client of an application behind the limit and authentication."""
    if clock is not None:
        options.setdefault("store", MemoryStore(clock=clock))
        options["clock"] = clock
    inner = AuthMiddleware(site, handler, **(auth or {}))
    return Client(AuthFailureLimitMiddleware(inner, limit, **options))


def statuses(client, times, auth=WRONG, path="/", **options):
    return [client.get(path, auth=auth, **options).status for _ in range(times)]


def test_a_client_is_refused_after_so_many_failures(site, clock, caplog):
    client = limiter(site, 3, clock=clock)
    assert statuses(client, 2) == [401, 401]
    clock.now += 17.3
    assert statuses(client, 2) == [401, 429]
    response = client.get("/", auth=WRONG)
    assert (response.status, response.json) == (429, {"error": "Rate limit exceeded"})
    assert response.headers["Retry-After"] == "43"
    assert "WWW-Authenticate" not in response.headers
    record = caplog.records[-1]
    assert (record.name, record.levelno) == ("swaig_wsgi.security", logging.WARNING)
    assert (record.event, record.reason) == ("auth_failures", "limit_exceeded")
    assert record.client == CLIENT
    assert site.environs == []
    assert statuses(client, 2, REMOTE_ADDR="192.0.2.99") == [401, 401]


def test_attack_valid_credentials_do_not_pass_a_refused_client(site, clock):
    client = limiter(site, clock=clock)
    assert statuses(client, 3) == [401, 401, 429]
    assert statuses(client, 1, GOOD) == [429]
    clock.now += 60
    assert statuses(client, 1, GOOD) == [200]


def test_attack_around_the_end_of_a_window_less_than_twice_the_limit_is_checked(site, clock):
    client = limiter(site, 10, clock=clock)
    start = clock.now
    assert statuses(client, 1) == [401]
    checked = []
    for clock.now in (start + 59.8, start + 60.2, start + 119):
        checked.append(statuses(client, 20).count(401))
    assert checked == [9, 10, 0]


def test_refused_requests_do_not_extend_the_window(site, clock):
    client = limiter(site, 1, clock=clock)
    assert statuses(client, 1) == [401]
    for _ in range(59):
        clock.now += 1
        assert statuses(client, 1) == [429]
    clock.now += 1
    assert statuses(client, 1, GOOD) == [200]


def test_valid_requests_and_those_without_credentials_do_not_count(site):
    client = limiter(site, 1)
    assert statuses(client, 50, GOOD) == [200] * 50
    assert statuses(client, 50, None) == [401] * 50
    assert statuses(client, 50, None, HTTP_AUTHORIZATION="Digest x") == [401] * 50
    assert statuses(client, 2) == [401, 429]


@pytest.mark.parametrize(
    "wrong",
    [
        {"auth": WRONG},
        {"HTTP_AUTHORIZATION": "Bearer wrong"},
        {"HTTP_AUTHORIZATION": "Basic ???"},
        {"HTTP_AUTHORIZATION": "Basic"},
        {"HTTP_AUTHORIZATION": basic(*GOOD) + "," + basic(*WRONG)},
        {"HTTP_X_API_KEY": "wrong"},
    ],
)
def test_attack_every_kind_of_wrong_credentials_counts(site, wrong):
    client = limiter(site, 3)
    assert [client.get("/", **wrong).status for _ in range(4)] == [401, 401, 401, 429]


EMPTY = [
    {"HTTP_AUTHORIZATION": ""},
    {"HTTP_AUTHORIZATION": " "},
    {"HTTP_X_API_KEY": ""},
    {"HTTP_AUTHORIZATION": "", "HTTP_X_API_KEY": ""},
]


@pytest.mark.parametrize("fields", EMPTY)
@pytest.mark.parametrize("optional", [False, True])
def test_an_empty_field_is_refused_and_does_not_count(site, fields, optional):
    client = limiter(site, 2, auth={"optional": optional})
    assert statuses(client, 5, None, **fields) == [401] * 5
    assert statuses(client, 3) == [401, 401, 429]


@pytest.mark.parametrize(
    "fields",
    [
        {"HTTP_AUTHORIZATION": "", "HTTP_X_API_KEY": "wrong"},
        {"HTTP_AUTHORIZATION": basic(*WRONG), "HTTP_X_API_KEY": ""},
        {"HTTP_AUTHORIZATION": "Basic"},
        {"HTTP_AUTHORIZATION": "Bearer "},
    ],
)
@pytest.mark.parametrize("of_agent", [False, True])
def test_attack_an_empty_field_beside_wrong_credentials_hides_no_failure(site, fields, of_agent):
    handler = HANDLER
    if of_agent:
        other = AuthHandler(bearer_token="token", api_key="key")
        handler = AgentAuthenticator(AuthHandler(basic_auth=GOOD), other, lambda: None)
    client = limiter(site, 2, handler)
    assert statuses(client, 4, None, **fields) == [401, 401, 429, 429]


def test_attack_a_validator_hides_no_wrong_credentials_but_empty_ones(site):
    def fails(request):
        raise RuntimeError("down")

    client = limiter(site, 2, AuthHandler(api_key="key", custom_validator=fails))
    assert statuses(client, 3, None, HTTP_X_API_KEY="") == [401] * 3
    assert statuses(client, 3, None, HTTP_X_API_KEY="wrong") == [401, 401, 429]


def test_a_401_of_the_application_does_not_count():
    def own(environ, start_response):
        start_response(
            "401 Unauthorized", [("Content-Type", "text/plain"), ("WWW-Authenticate", "x")]
        )
        return []

    client = Client(AuthFailureLimitMiddleware(own, 1))
    assert statuses(client, 20) == [401] * 20


@pytest.mark.parametrize("auth", [GOOD, None])
def test_optional_authentication_counts_wrong_credentials(site, auth):
    client = limiter(site, 2, auth={"optional": True})
    assert statuses(client, 5, auth) == [200] * 5
    assert statuses(client, 3) == [401, 401, 429]
    assert statuses(client, 1, auth) == [429]


def test_a_validator_that_raises_does_not_count(site):
    def validate(request):
        raise RuntimeError("database is down")

    client = limiter(site, 1, AuthHandler(custom_validator=validate))
    assert statuses(client, 10) == [401] * 10

    class Raising(AuthHandler):
        def decide(self, request):
            raise RuntimeError("database is down")

    client = limiter(site, 1, Raising())
    assert statuses(client, 10) == [401] * 10


def test_a_handler_that_refuses_every_request_counts_none(site):
    client = limiter(site, 1, AuthHandler(allow_unauthenticated=False))
    assert statuses(client, 5) == [401] * 5


def test_attack_a_validator_that_raises_does_not_hide_wrong_credentials(site):
    def validate(request):
        return request.headers["X-Token"] == "t"  # raises KeyError

    client = limiter(site, 2, AuthHandler(basic_auth=GOOD, custom_validator=validate))
    assert statuses(client, 3) == [401, 401, 429]
    client = limiter(site, 2, AuthHandler(basic_auth=GOOD, custom_validator=validate))
    assert statuses(client, 3, HTTP_HOST="a b") == [401, 401, 429]


def test_requests_that_a_validator_rejects_count(site):
    client = limiter(site, 2, AuthHandler(custom_validator=lambda request: False))
    assert statuses(client, 3, None) == [401, 401, 429]


def test_an_agents_authenticator_is_limited(site):
    def raising(user, password):
        raise RuntimeError("database is down")

    validate = []
    authenticator = AgentAuthenticator(
        AuthHandler(basic_auth=GOOD),
        AuthHandler(bearer_token="token"),
        lambda: validate[-1] if validate else None,
    )
    client = limiter(site, 2, authenticator)
    assert statuses(client, 5, None) == [401] * 5
    assert statuses(client, 5, GOOD) == [200] * 5
    validate.append(raising)
    assert statuses(client, 5, GOOD) == [401] * 5
    validate.append(lambda user, password: False)
    assert statuses(client, 1, GOOD) == [401]
    assert client.get("/", HTTP_AUTHORIZATION="Bearer wrong").status == 401
    assert client.get("/", HTTP_AUTHORIZATION="Bearer token").status == 429


def test_exempt_clients_are_counted_and_logged_but_never_refused(site, clock, caplog):
    client = limiter(site, 3, clock=clock, exempt_clients=["192.0.2.0/24", "2001:db8::/32"])
    for address in ("192.0.2.7", "::ffff:192.0.2.8", "2001:db8::1"):
        caplog.clear()
        assert statuses(client, 10, REMOTE_ADDR=address) == [401] * 10
        assert statuses(client, 1, GOOD, REMOTE_ADDR=address) == [200]
        (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert (error.event, error.reason) == ("auth_failures", "exempt_client")
        assert error.client == address
        assert "3 failed authentications" in error.getMessage()
    clock.now += 60
    caplog.clear()
    statuses(client, 5)
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1
    # Others in the same /48 are not affected, others are refused.
    assert statuses(client, 4, REMOTE_ADDR="198.51.100.1") == [401] * 3 + [429]


@pytest.mark.parametrize("address", ["", None, "unix:", "unknown", "192.0.2.7.8"])
def test_attack_no_client_without_an_address_is_exempt(site, address):
    client = limiter(site, 1, exempt_clients=["0.0.0.0/0", "::/0"])
    assert statuses(client, 2, REMOTE_ADDR=address) == [401, 429]


def test_attack_ipv6_clients_are_limited_by_network_and_site(site):
    client = limiter(site, 2)
    first = [statuses(client, 1, REMOTE_ADDR=f"2001:db8:1:1::{n:x}")[0] for n in range(4)]
    assert first == [401, 401, 429, 429]
    seen = [statuses(client, 1, REMOTE_ADDR=f"2001:db8:1:{n:x}::1")[0] for n in range(2, 60)]
    assert seen == [401] * 30 + [429] * 28
    assert statuses(client, 1, REMOTE_ADDR="2001:db8:2::1") == [401]


def test_paths_methods_and_keys_select_what_is_limited(site):
    client = limiter(site, 1, protect=["/login"], methods=["POST"], exempt=["/login/help"])
    for path, method, counts in (
        ("/", "POST", False),
        ("/login", "GET", False),
        ("/login/help", "POST", False),
        ("/login", "POST", True),
    ):
        seen = [client.open(method, path, auth=WRONG).status for _ in range(2)]
        assert seen == ([401, 429] if counts else [401, 401])
    client = limiter(site, 1, key=lambda environ: environ.get("HTTP_X_ACCOUNT"))
    assert statuses(client, 3) == [401] * 3
    assert statuses(client, 2, HTTP_X_ACCOUNT="a") == [401, 429]


def test_layers_in_one_store_count_together_and_a_request_once():
    store = MemoryStore()
    inner = AuthFailureLimitMiddleware(AuthMiddleware(Recorder(), HANDLER), 3, store=store)
    outer = Client(AuthFailureLimitMiddleware(inner, 3, store=store))
    assert statuses(outer, 4) == [401, 401, 401, 429]
    assert statuses(Client(inner), 1) == [429]


def test_limits_with_different_names_count_separately(site):
    inner = AuthFailureLimitMiddleware(AuthMiddleware(site, HANDLER), 2, name="day", window=86400)
    outer = Client(AuthFailureLimitMiddleware(inner, 5))
    assert statuses(outer, 3) == [401, 401, 429]
    assert outer.get("/").headers["Retry-After"] == "86400"


@pytest.mark.parametrize("store_class", [MemoryStore, Blind])
def test_processes_that_share_a_store_share_the_limit(site, store_class):
    """Without `peek`, each other process admits one more failure."""
    store = store_class()
    processes = [limiter(site, 5, store=store) for _ in range(4)]
    seen = [statuses(processes[number % 4], 1)[0] for number in range(100)]
    assert seen.count(401) == 5 + (3 if store_class is Blind else 0)
    assert seen[-80:] == [429] * 80


def test_failures_count_locally_while_the_store_fails(site, clock, caplog):
    store = Flaky(clock=clock)
    client = limiter(site, 3, clock=clock, store=store)
    assert statuses(client, 2) == [401, 401]
    store.down = True
    assert statuses(client, 3) == [401, 429, 429]
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (error.event, error.reason) == ("auth_failure_limit_store_failed", "store_failed")
    store.down = False
    assert statuses(client, 2) == [401, 429]


def test_attack_a_window_that_ends_too_late_does_not_lock_out(site, clock):
    """As after the clock of an SQLite file was set back."""
    store = MemoryStore(clock=clock)
    client = limiter(site, 1, clock=clock, store=store)
    key = f"auth-failures:{client.app.policy.counter_prefix()}{CLIENT}"
    store.hit(key, 10**6)
    assert statuses(client, 1, GOOD) == [200]
    assert statuses(client, 2) == [401, 429]
    clock.now += 60
    assert statuses(client, 1, GOOD) == [200]


@pytest.mark.parametrize(("window", "status"), [(60, 429), (61, 429), (61.5, 200)])
def test_a_window_may_end_a_second_too_late(site, clock, window, status):
    store = MemoryStore(clock=clock)
    client = limiter(site, 1, clock=clock, store=store)
    store.hit(f"auth-failures:{client.app.policy.counter_prefix()}{CLIENT}", window)
    assert statuses(client, 1, GOOD) == [status]


@pytest.mark.parametrize("mode", ["local", "allow", "deny"])
def test_a_store_without_peek_limits_in_any_mode(site, mode):
    client = limiter(site, 2, store=Blind(), on_store_failure=mode)
    assert statuses(client, 4) == [401, 401, 429, 429]


def test_attack_failures_in_other_processes_count_locally_while_the_store_fails(site, clock):
    store = Flaky(clock=clock)
    client, other = (limiter(site, 3, clock=clock, store=store) for _ in range(2))
    assert statuses(other, 2) == [401, 401]
    assert statuses(client, 1, GOOD) == [200]
    store.down = True
    assert statuses(client, 2) == [401, 429]


@pytest.mark.parametrize(("mode", "expected"), [("allow", 401), ("deny", 503)])
def test_other_policies_while_the_store_fails(site, clock, mode, expected, caplog):
    store = Flaky(clock=clock)
    client = limiter(site, 1, clock=clock, store=store, on_store_failure=mode)
    store.down = True
    assert statuses(client, 3) == [expected] * 3
    refusals = {
        401: ("auth_refused", "bad_credentials"),
        503: ("auth_failure_limit_unavailable", "store_failed"),
    }
    found = [(record.event, record.reason) for record in caplog.records]
    assert found.count(refusals[expected]) == 3


def test_several_processes_need_a_shared_store(site):
    client = limiter(site, 1)
    assert statuses(client, 1, wsgi_multiprocess=True) == [503]
    client = limiter(site, 1, allow_per_process=True)
    assert statuses(client, 2, wsgi_multiprocess=True) == [401, 429]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit"),
        ({"window": 0}, "window"),
        ({"exempt_clients": "192.0.2.0/24"}, "exempt_clients"),
        ({"exempt_clients": ["192.0.2.1/24"]}, "host bits"),
        ({"exempt_clients": ["a.example"]}, "IP address"),
        ({"protect": "/login"}, "protect"),
        ({"methods": []}, "methods is empty"),
        ({"key": "REMOTE_ADDR"}, "key"),
        ({"on_store_failure": "ignore"}, "local, allow, deny"),
        ({"name": ""}, "name"),
    ],
)
def test_invalid_arguments_are_rejected(site, options, message):
    with pytest.raises(ValueError, match=message):
        AuthFailureLimitMiddleware(site, options.pop("limit", 1), **options)
