"""Services in this process, for the probe."""

from __future__ import annotations

import socketserver
import ssl
import threading
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import pytest

CERTS = Path(__file__).resolve().parents[1] / "certs"


class Handler(WSGIRequestHandler):
    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # that of HTTPServer looks up a name
        self.server_name, self.server_port = "localhost", self.server_address[1]
        self.setup_environ()

    def handle_error(self, request, client_address):
        pass  # A client that hangs up, as the probe does.


@pytest.fixture
def serve_app(monkeypatch):
    """Return a function that serves an application with TLS and returns the URL."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTS / "cert.pem"))
    servers = []

    def start(app, *, cert="cert.pem", tls=True, old=False):
        server = Server(("127.0.0.1", 0), Handler)
        servers.append(server)
        server.set_app(app)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTS / cert, CERTS / "key.pem")
            if old:
                context.set_ciphers("ALL:@SECLEVEL=0")
                with pytest.warns(DeprecationWarning, match="TLSv1"):
                    context.minimum_version = ssl.TLSVersion.TLSv1
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.base_environ["HTTPS"] = "on"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return f"{'https' if tls else 'http'}://localhost:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
