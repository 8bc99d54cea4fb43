"""A layer calls the application that its attribute names, whatever is assigned to it."""

from __future__ import annotations

from support.wsgi import CLIENT, request

from swaig_wsgi.middleware import AllowedHostsMiddleware, HTTPSMiddleware
from swaig_wsgi.middleware._inner_app import InnerApp


def saying(text):
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
        return [text]

    return application


def test_a_layer_shows_the_application_that_it_got():
    application = saying(b"one")
    inner = HTTPSMiddleware(application)
    outer = AllowedHostsMiddleware(inner, ["*"])
    assert outer.app is inner
    assert inner.app is application
    assert isinstance(HTTPSMiddleware.app, InnerApp)


def test_attack_a_layer_that_is_put_between_others_later_is_not_passed_by():
    outer = AllowedHostsMiddleware(AllowedHostsMiddleware(saying(b"one"), ["*"]), ["*"])
    outer.app = AllowedHostsMiddleware(outer.app, ["other.example"])
    assert request(outer, REMOTE_ADDR=CLIENT, HTTP_HOST="agent.example.com").status == 403
    outer.app = saying(b"two")
    assert request(outer, REMOTE_ADDR=CLIENT, HTTP_HOST="agent.example.com").body == b"two"


def test_a_subclass_of_a_layer_is_called_as_it_is():
    class Counting(HTTPSMiddleware):
        calls = 0

        def __call__(self, environ, start_response):
            self.calls += 1
            return super().__call__(environ, start_response)

    inner = Counting(saying(b"one"))
    outer = AllowedHostsMiddleware(inner, ["*"])
    secure = {"wsgi.url_scheme": "https", "HTTP_HOST": "agent.example.com"}
    assert request(outer, REMOTE_ADDR=CLIENT, **secure).body == b"one"
    assert inner.calls == 1
