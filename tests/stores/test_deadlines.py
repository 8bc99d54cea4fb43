"""Sockets with a deadline."""

from __future__ import annotations

import socket
import time

import pytest

from swaig_wsgi.stores._deadlines import BoundedSocket, bounded, within


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_deadline_overrides_the_timeout_of_the_socket(pair):
    ours, _ = pair
    ours.settimeout(30)
    started = time.monotonic()
    with within(0.05), pytest.raises(socket.timeout):
        BoundedSocket(ours).recv(1)
    with within(0.05), pytest.raises(socket.timeout):
        BoundedSocket(ours).recv_into(bytearray(1))
    with within(0.05), pytest.raises(socket.timeout):
        BoundedSocket(ours).sendall(b"x" * 10_000_000)
    assert time.monotonic() - started < 5
    assert ours.gettimeout() == 30


def test_a_socket_without_a_timeout_has_only_the_deadline(pair):
    ours, theirs = pair
    with within(0.05), pytest.raises(socket.timeout):
        BoundedSocket(ours).recv(1)
    assert ours.gettimeout() is None
    theirs.sendall(b"x")
    assert BoundedSocket(ours).recv(1) == b"x"


def test_after_the_deadline_nothing_is_received(pair):
    ours, theirs = pair
    theirs.sendall(b"x")
    ours.settimeout(1)
    with within(-1), pytest.raises(socket.timeout):
        BoundedSocket(ours).recv(1)
    assert BoundedSocket(ours).recv(1) == b"x"


def test_a_non_blocking_socket_has_no_deadline(pair):
    ours, _ = pair
    ours.settimeout(0)
    with within(-1), pytest.raises(BlockingIOError):
        BoundedSocket(ours).recv(1)


def test_an_inner_deadline_restores_the_outer_one(pair):
    ours, theirs = pair
    ours.settimeout(1)
    theirs.sendall(b"x")
    with within(30):
        with within(-1):
            pass
        assert BoundedSocket(ours).recv(1) == b"x"


def test_connections_use_bounded_sockets(pair):
    class Connection:
        def _connect(self):
            return pair[0]

    connected = bounded(Connection)()._connect()
    assert isinstance(connected, BoundedSocket)
    assert connected.fileno() == pair[0].fileno()
