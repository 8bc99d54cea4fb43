"""Requests with a body that records how it is read."""

from __future__ import annotations

import io
from wsgiref.util import setup_testing_defaults

LIMIT = 1000


class ServerError(Exception):
    """What gunicorn raises for a bad chunk is a plain subclass of Exception."""


class Input:
    """A server's input object: records how far it is read, and may end, stall or fail there."""

    def __init__(self, body=b"", *, pieces=None, fails=None):
        self.body = io.BytesIO(body)
        self.pieces = pieces
        self.fails = fails
        self.asked = []

    @property
    def taken(self):
        return self.body.tell()

    def read(self, size):
        assert size > 0
        self.asked.append(size)
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
    environ = {"REQUEST_METHOD": method, "QUERY_STRING": "", "REMOTE_ADDR": "192.0.2.7"}
    setup_testing_defaults(environ)
    environ["wsgi.input"] = stream
    if terminated:
        environ["wsgi.input_terminated"] = True
    if length is not None:
        environ["CONTENT_LENGTH"] = length
    if coding is not None:
        environ["HTTP_TRANSFER_ENCODING"] = coding
    return environ
