"""Configuration of gunicorn: ``gunicorn -c python:swaig_wsgi.gunicorn module:app``.

Before it forks, the master creates whatever is not configured (signing key, password, store), so
that its workers share it. Every setting can be overridden on the command line or in
``GUNICORN_CMD_ARGS``; a configuration file of your own can begin with
``from swaig_wsgi.gunicorn import *``.

gunicorn reads every attribute of this module that is named like one of its settings. All of these
are in ``__all__``, and nothing else is.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import ssl
import sys
from dataclasses import fields
from typing import Any

from .. import processes
from ..config import ConfigurationError, Settings, keep_secret_files
from ..middleware._variables import warn_of_unknown_variables
from ..tls import SslConfig
from . import _drain, _metrics_files, _trial

__all__ = [
    "access_log_format",
    "certfile",
    "child_exit",
    "control_socket",
    "errorlog",
    "forwarded_allow_ips",
    "forwarder_headers",
    "graceful_timeout",
    "keepalive",
    "keyfile",
    "limit_request_field_size",
    "limit_request_fields",
    "limit_request_line",
    "logger_class",
    "loglevel",
    "nworkers_changed",
    "on_reload",
    "on_starting",
    "secure_scheme_headers",
    "ssl_context",
    "threads",
    "timeout",
    "worker_class",
    "worker_tmp_dir",
    "workers",
]

_settings = Settings.from_env()
warn_of_unknown_variables()


def _default_workers() -> int:
    configured = os.environ.get("WEB_CONCURRENCY")
    if configured:
        return int(configured)
    # A container may see many more processors than it may use.
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    return min(max(2, usable), 8)


# Handlers block on backends while a caller waits, so prefer threads.
worker_class = "swaig_wsgi.gunicorn._worker.Worker"
workers = _default_workers()
threads = 8
timeout = 30
graceful_timeout = 30
keepalive = 5
# Heartbeats must not wait for a disk.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None  # noqa: S108  # nosec B108 # files without a name

limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190

# By default gunicorn trusts X-Forwarded-Proto and a header named SCRIPT_NAME from loopback and
# from every peer on a Unix socket. TrustedProxyMiddleware alone decides which peers to trust.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""

# `on_starting` disables it if it is still empty then.
control_socket = ""

logger_class = "swaig_wsgi.gunicorn._logger.Logger"
loglevel = (_settings.log_level or "INFO").lower()
errorlog = "-"
# Without the query string, which contains the token of a tool call.
access_log_format = (
    '%(h)s %(u)s "%(m)s %(U)s %(H)s" %(s)s %(b)s %(D)sus "%(a)s" %({x-request-id}o)s'
)

certfile = _settings.ssl_cert_path if _settings.ssl_enabled else None
keyfile = _settings.ssl_key_path if _settings.ssl_enabled else None

# The TLS context in use, under its only key; created by the master, inherited by the workers.
_contexts: dict[str, ssl.SSLContext | None] = {}


def nworkers_changed(server: Any, new_value: int, old_value: int | None) -> None:
    """Create what the workers share.

    Called when the number of workers is set, and before a preloaded application is loaded.
    """
    if _settings.metrics:
        _metrics_files.prepare(server.cfg)
    state = processes.current()
    if state is None:
        state = processes.SharedState()
        processes.install(state)
    url = _settings.storage_url
    wanted = url == "sqlite://" or (url is None and new_value > 1)
    if not wanted or state.store is not None:
        return
    try:
        path = state.open_store().path
        if server.cfg.uid != os.geteuid():
            os.chown(os.path.dirname(path), server.cfg.uid, server.cfg.gid)
    except OSError as error:
        raise RuntimeError(
            f"no private store could be created: {error}; set SWML_STORAGE_URL"
        ) from None
    if old_value is not None:
        # Running workers count in their own memory. gunicorn replaces those that exit.
        server.kill_workers(signal.SIGTERM)


def on_starting(server: Any) -> None:
    """Exit on an invalid configuration. Called before a port is bound."""
    if not server.cfg.control_socket:
        server.cfg.set("control_socket_disable", True)
    if any("gevent" in base.__module__ for base in server.cfg.worker_class.__mro__):
        # gevent's sockets accept only contexts of gevent's own class, and the workers patch `ssl`
        # after the master has created its context.
        importlib.import_module("gevent.monkey").patch_ssl()
    global _settings
    try:
        _settings = keep_secret_files()
        _check_upgrade()
        _contexts["current"] = _create_context(server.cfg)
    except ConfigurationError as error:
        server.log.error("%s", error)
        if server.pidfile is not None:
            server.pidfile.unlink()
        sys.exit(1)
    server.handle_hup = functools.partial(_handle_hup, server, server.handle_hup)
    _drain.install(server, _settings.drain_seconds)


def on_reload(server: Any) -> None:
    """Read certificate and key again, for the workers that are about to start."""
    try:
        _contexts["current"] = _create_context(server.cfg)
    except ConfigurationError as error:
        server.log.error("keeping the previous certificate: %s", error)


def child_exit(server: Any, worker: Any) -> None:
    """Forget a worker that has exited. Called in the master."""
    if _settings.metrics:
        _metrics_files.forget(worker.pid)


def ssl_context(conf: Any, default_ssl_context_factory: Any) -> ssl.SSLContext | None:
    """Return the hardened TLS context. Called for every connection."""
    return _contexts["current"]


def _handle_hup(server: Any, reload: functools.partial[None]) -> None:
    """Reload, unless the new workers could not start: gunicorn would stop the service then."""
    global _settings
    try:
        _create_context(server.cfg)
        problem = None if server.cfg.preload_app else _trial.load_problem(server)
        if problem is not None:
            raise ConfigurationError(problem)
        settings = keep_secret_files()
    except ConfigurationError as error:
        server.log.error("not reloaded, the running workers stay: %s", error)
        return
    if server.cfg.preload_app:
        server.log.warning(
            "preload_app: only the TLS certificate is read again; restart to read changed secrets"
        )
    changed = [
        each.metadata["variable"]
        for each in fields(Settings)
        if getattr(settings, each.name) != getattr(_settings, each.name)
    ]
    server.log.info("reloading; changed: %s", ", ".join(changed) or "no variable")
    last = server.worker_age
    # gunicorn does not import this module again.
    _settings = settings
    reload()
    # gunicorn has waited for them, at most for `graceful_timeout`.
    busy = sum(worker.age <= last for worker in server.WORKERS.values())
    if busy:
        server.log.warning("reloaded; earlier workers that still serve requests: %s", busy)
    else:
        server.log.info("reloaded; no earlier worker is left")


def _create_context(cfg: Any) -> ssl.SSLContext | None:
    if not (_settings.ssl_enabled or cfg.is_ssl):
        return None
    # The command line may name other files than the environment.
    context = SslConfig(
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
    except OSError as error:  # ssl.SSLError is a subclass.
        raise ConfigurationError(
            f"ca_certs, cert_reqs or ciphers cannot be used: {error}"
        ) from None
    names = {"h1": "http/1.1"}
    context.set_alpn_protocols([names.get(name, name) for name in cfg.http_protocols])
    return context


def _check_upgrade() -> None:
    """Reject a second master (USR2) that would generate other secrets than the running one."""
    missing = []
    if _settings.swaig_secret is None:
        missing.append("SIGNALWIRE_SWAIG_SECRET")
    if _settings.basic_auth is None:
        missing += ["SWML_BASIC_AUTH_USER", "SWML_BASIC_AUTH_PASSWORD"]
    if missing and "GUNICORN_PID" in os.environ:
        raise ConfigurationError(
            "no upgrade (USR2) with generated secrets: the new master would generate others, and "
            f"refuse the calls of the running one; set {', '.join(missing)} and restart once"
        )
