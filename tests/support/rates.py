"""Requests to an application whose rate is limited."""

from __future__ import annotations

from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"] if environ["REQUEST_METHOD"] != "HEAD" else []


class Answer:
    def __init__(self, app, address="192.0.2.7", path="/", method="GET", **more):
        environ = {"REQUEST_METHOD": method, "QUERY_STRING": "", "SCRIPT_NAME": "/mounted"}
        environ.update(PATH_INFO=path, **more)
        if address is not None:
            environ["REMOTE_ADDR"] = address
        setup_testing_defaults(environ)
        result = validator(app)(environ, self._start)
        try:
            self.body = b"".join(result)
        finally:
            result.close()

    def _start(self, status, headers, exc_info=None):
        self.status = int(status[:3])
        self.fields = headers
        self.headers = {name.lower(): value for name, value in headers}
        assert len(self.headers) == len(headers), "a field was sent twice"
