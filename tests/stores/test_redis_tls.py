"""Redis stores over TLS: only a server with a valid certificate receives the password."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path

import pytest
import redis
from support.valkeys import Sentinels, make_cluster

from swaig_wsgi.stores._base import StoreError
from swaig_wsgi.stores.redis import RedisStore

CERTS = Path(__file__).parents[1] / "certs"
#: Self-signed, for localhost and 127.0.0.1.
CERTIFICATE = CERTS / "cert.pem"
#: The same address under a name that is not in the certificate.
OTHER_NAME = "127.1"


class TLSFront:
    """Terminates TLS for a server on another port, and records what clients send.

    With `plain`, it passes on what does not begin with a TLS handshake, for Sentinels.
    """

    def __init__(self, port: int, *, plain: bool = False) -> None:
        self.received = b""
        self._server = port
        self._plain = plain
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(CERTIFICATE, CERTS / "key.pem")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(plain)
            try:
                if self._plain and plain.recv(1, socket.MSG_PEEK) != b"\x16":
                    client = plain
                else:
                    client = self._context.wrap_socket(plain, server_side=True)
            except OSError:  # the client rejected the certificate
                continue
            server = socket.create_connection(("127.0.0.1", self._server))
            self._open += [client, server]
            for source, target in ((client, server), (server, client)):
                thread = threading.Thread(target=self._pass_on, args=(source, target))
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if isinstance(source, ssl.SSLSocket):
                    self.received += data
                target.sendall(data)

    def close(self) -> None:
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(60)


@pytest.fixture
def front(own_valkey):
    server = own_valkey()
    with redis.Redis.from_url(server.url) as client:
        client.config_set("requirepass", "hunter2")
    front = TLSFront(server.port)
    yield front
    front.close()


@pytest.fixture
def connect(front):
    stores = []

    def connect(host, **options):
        query = "&".join(f"{name}={value}" for name, value in options.items())
        stores.append(RedisStore(f"rediss://:hunter2@{host}:{front.port}/0?{query}"))
        return stores[-1]

    yield connect
    for store in stores:
        store.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_server_with_a_certificate_for_its_name_is_accepted(connect, front, host):
    store = connect(host, ssl_ca_certs=CERTIFICATE)
    assert store.hit("key", 60).count == 1
    assert store.hit("key", 60).count == 2
    assert b"hunter2" in front.received


@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("127.0.0.1", {}),
        ("127.0.0.1", {"ssl_check_hostname": "false"}),
        (OTHER_NAME, {"ssl_ca_certs": CERTIFICATE}),
        (OTHER_NAME, {"ssl_ca_certs": CERTIFICATE, "ssl_cert_reqs": "required"}),
    ],
    ids=["unknown signer", "unknown signer of any name", "another name", "explicitly required"],
)
def test_a_server_without_a_valid_certificate_receives_nothing(connect, front, host, options):
    with pytest.raises(StoreError) as caught:
        connect(host, **options).hit("key", 60)
    assert "hunter2" not in str(caught.value)
    assert front.received == b""


def test_the_name_is_not_checked_if_disabled(connect):
    store = connect(OTHER_NAME, ssl_ca_certs=CERTIFICATE, ssl_check_hostname="false")
    assert store.hit("key", 60).count == 1


# With Sentinels, and in a cluster


@pytest.fixture
def behind_sentinels(own_valkey, tmp_path):
    """Return the URL of a Sentinel over TLS; the primary that it names has TLS and a password."""
    server = own_valkey()
    with redis.Redis.from_url(server.url) as client:
        client.config_set("requirepass", "hunter2")
    front = TLSFront(server.port, plain=True)
    login = ("default", "hunter2")
    sentinels = Sentinels(tmp_path, front.port, 1, replicas=0, server_login=login)
    sentinel_front = TLSFront(sentinels.ports[0])
    yield f"rediss+sentinel://:hunter2@127.0.0.1:{sentinel_front.port}/mymaster"
    sentinel_front.close()
    sentinels.stop()
    front.close()


@pytest.fixture
def in_cluster(own_valkey):
    """Return the URL of a cluster of one server over TLS, with a password."""
    (server,) = make_cluster(own_valkey, primaries=1, replicas=0)
    front = TLSFront(server.port)
    with redis.Redis.from_url(server.url) as client:
        client.config_set("cluster-announce-port", front.port)
        client.config_set("requirepass", "hunter2")
    yield f"rediss+cluster://:hunter2@127.0.0.1:{front.port}"
    front.close()


@pytest.mark.parametrize("kind", ["behind_sentinels", "in_cluster"])
def test_all_connections_use_tls(kind, request):
    url = request.getfixturevalue(kind)
    for options in (
        f"ssl_ca_certs={CERTIFICATE}",
        "ssl_cert_reqs=none",
        f"ssl_ca_certs={CERTIFICATE}&ssl_check_hostname=false",
    ):
        store = RedisStore(f"{url}?prefix={options[:9]}{len(options)}:&{options}")
        assert store.hit("key", 60).count == 1
        assert store.hit("key", 60).count == 2
        store.close()
    store = RedisStore(url)
    with pytest.raises(StoreError) as caught:
        store.hit("key", 60)
    assert "hunter2" not in str(caught.value)
    store.close()


@pytest.mark.parametrize("host", ["127.0.0.1", OTHER_NAME])
def test_any_certificate_is_accepted_if_none_is_required(connect, host):
    store = connect(host, ssl_cert_reqs="none")
    assert store.hit("key", 60).count == 1


def test_an_optional_certificate_is_verified(connect, front):
    with pytest.raises(StoreError):
        connect("127.0.0.1", ssl_cert_reqs="optional").hit("key", 60)
    assert front.received == b""
    assert connect("127.0.0.1", ssl_cert_reqs="optional", ssl_ca_certs=CERTIFICATE).hit("key", 60)
