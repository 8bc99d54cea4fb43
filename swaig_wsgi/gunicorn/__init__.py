"""Configuration of gunicorn: ``gunicorn -c python:swaig_wsgi.gunicorn module:app``.

The master makes what is not configured (signing key, password, store) before it forks, so that
its workers share it. Every setting can still be overridden, on the command line or in
``GUNICORN_CMD_ARGS``; a configuration file of your own may begin with
``from swaig_wsgi.gunicorn import *``.

gunicorn takes each name here that is one of its settings, so all others begin with an underscore.
"""

import functools as _functools
import importlib as _importlib
import os as _os
import signal as _signal
import ssl as _ssl
import sys as _sys
from typing import Any as _Any

from .. import processes as _shared
from ..config import ConfigurationError as _ConfigurationError
from ..config import Settings as _Settings
from ..tls import SslConfig as _SslConfig

_settings = _Settings.from_env()


def _default_workers() -> int:
    given = _os.environ.get("WEB_CONCURRENCY")
    if given:
        return int(given)
    # A container may see many more processors than it may use.
    return min(max(2, len(_os.sched_getaffinity(0)) if hasattr(_os, "sched_getaffinity") else 2), 8)


# A call may wait for somebody's backend, while the caller hears silence: threads, not processes.
worker_class = "gthread"
workers = _default_workers()
threads = 8
timeout = 30
graceful_timeout = 30
keepalive = 5
if _os.access("/dev/shm", _os.W_OK | _os.X_OK):  # noqa: S108 - heartbeats must not wait for a disk
    worker_tmp_dir = "/dev/shm"  # noqa: S108

limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190

# By itself gunicorn believes X-Forwarded-Proto and a header named SCRIPT_NAME from loopback, and
# from whoever reaches a unix socket. TrustedProxyMiddleware alone decides whom to believe.
forwarded_allow_ips = ""
secure_scheme_headers: "dict[str, str]" = {}
forwarder_headers = ""

# None, unless one is asked for; `on_starting` knows.
control_socket = ""

logger_class = "swaig_wsgi.gunicorn._logger.Logger"
loglevel = (_settings.log_level or "INFO").lower()
errorlog = "-"
# Without the query string, which holds the token of a tool call.
access_log_format = '%(h)s %(u)s "%(m)s %(U)s %(H)s" %(s)s %(b)s %(D)sus "%(a)s"'

certfile = _settings.ssl_cert_path if _settings.ssl_enabled else None
keyfile = _settings.ssl_key_path if _settings.ssl_enabled else None

#: The context that serves, alone under its key; made by the master, inherited by the workers.
_contexts: "dict[str, _ssl.SSLContext | None]" = {}


def nworkers_changed(server: _Any, new_value: int, old_value: "int | None") -> None:
    """Make what the workers share; gunicorn says here how many there shall be, before it loads
    a preloaded application."""
    state = _shared.current()
    if state is None:
        state = _shared.SharedState()
        _shared.install(state)
    url = _settings.storage_url
    wanted = url == "sqlite://" or (url is None and new_value > 1)
    if not wanted or state.store is not None:
        return
    try:
        path = state.open_store().path
        if server.cfg.uid != _os.geteuid():
            _os.chown(_os.path.dirname(path), server.cfg.uid, server.cfg.gid)
    except OSError as error:
        raise RuntimeError(
            f"no private store could be made: {error}; set SWML_STORAGE_URL"
        ) from None
    if old_value is not None:
        # Those that run count in their own memory. gunicorn replaces whoever ends.
        server.kill_workers(_signal.SIGTERM)


def on_starting(server: _Any) -> None:
    """Refuse to start with what cannot serve, before a port is bound."""
    if not server.cfg.control_socket:
        server.cfg.set("control_socket_disable", True)
    if any("gevent" in base.__module__ for base in server.cfg.worker_class.__mro__):
        # The sockets of its workers take no context but of its own class, and it comes too late
        # for those that are made here.
        _importlib.import_module("gevent.monkey").patch_ssl()
    try:
        _check_upgrade()
        _contexts["current"] = _create_context(server.cfg)
    except _ConfigurationError as error:
        server.log.error("%s", error)
        if server.pidfile is not None:
            server.pidfile.unlink()
        _sys.exit(1)
    server.handle_hup = _functools.partial(_hang_up, server, server.handle_hup)


def on_reload(server: _Any) -> None:
    """Read certificate and key anew; workers that are about to start inherit them."""
    try:
        _contexts["current"] = _create_context(server.cfg)
    except _ConfigurationError as error:
        server.log.error("the certificate from before stays: %s", error)


def ssl_context(conf: _Any, default_ssl_context_factory: _Any) -> "_ssl.SSLContext | None":
    """Return the hardened context; gunicorn asks for it with every connection."""
    return _contexts["current"]


def _hang_up(server: _Any, reload: "_functools.partial[None]") -> None:
    """Reload, unless the new workers could not start: gunicorn would stop the service then."""
    try:
        _Settings.from_env()
        _create_context(server.cfg)
    except _ConfigurationError as error:
        server.log.error("not reloaded, the workers go on as they are: %s", error)
    else:
        reload()


def _create_context(cfg: _Any) -> "_ssl.SSLContext | None":
    if not (_settings.ssl_enabled or cfg.is_ssl):
        return None
    # The command line may have named other files than the environment.
    context = _SslConfig(
        enabled=True,
        cert_path=cfg.certfile,
        key_path=cfg.keyfile or cfg.certfile,
        settings=_settings,
    ).create_context()
    try:
        if cfg.ca_certs:
            context.load_verify_locations(cfg.ca_certs)
        context.verify_mode = cfg.cert_reqs
        if cfg.ciphers:
            context.set_ciphers(cfg.ciphers)
    except OSError as error:  # ssl.SSLError is one
        raise _ConfigurationError(
            f"ca_certs, cert_reqs or ciphers cannot be used: {error}"
        ) from None
    names = {"h1": "http/1.1"}
    context.set_alpn_protocols([names.get(each, each) for each in cfg.http_protocols])
    return context


def _check_upgrade() -> None:
    """Refuse a second master (USR2) that would generate other secrets than the one that serves."""
    missing = []
    if _settings.swaig_secret is None:
        missing.append("SIGNALWIRE_SWAIG_SECRET")
    if _settings.basic_auth is None:
        missing += ["SWML_BASIC_AUTH_USER", "SWML_BASIC_AUTH_PASSWORD"]
    if missing and "GUNICORN_PID" in _os.environ:
        raise _ConfigurationError(
            "no upgrade (USR2) with generated secrets: the new master would have others than the "
            f"one that serves, and refuse its calls; set {', '.join(missing)} and restart once"
        )
