"""Requests with a body that records how it is read."""

from __future__ import annotations

import io

from support.wsgi import environ

LIMIT = 1000


class ServerError(Exception):
    """A plain subclass of Exception, as gunicorn raises for a bad chunk."""


class Input:
    """An input of a server that records the size of each read, and raises `fails` at its end."""

    def __init__(self, body=b"", *, pieces=None, fails=None):
        self.body = io.BytesIO(body)
        self.pieces = pieces
        self.fails = fails
        self.sizes = []

    @property
    def taken(self):
        return self.body.tell()

    def read(self, size):
        assert size > 0
        self.sizes.append(size)
        data = self.body.read(min(size, self.pieces or size))
        if not data and self.fails:
            raise self.fails
        return data

    def readline(self, size=-1):
        return self.body.readline(size)

    def readlines(self, hint=-1):
        return self.body.readlines(hint)

    def __iter__(self):
        return iter(self.body)


class Unreadable:
    """An input that must not be read."""

    def read(self, *size):
        raise AssertionError("the body was read")

    readline = readlines = __iter__ = read


def request(stream, *, length=None, coding=None, terminated=True, method="POST"):
    """Return the environ of a request whose body is `stream`, framed as the arguments say."""
    return environ(
        method,
        body=stream,
        CONTENT_LENGTH=length,
        HTTP_TRANSFER_ENCODING=coding,
        wsgi_input_terminated=terminated or None,
    )
