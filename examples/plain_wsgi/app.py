import os

from swaig_wsgi import AuthHandler, harden


def site(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello, authenticated client.\n"]


app = harden(site, auth=AuthHandler(bearer_token=os.environ["API_TOKEN"]))
