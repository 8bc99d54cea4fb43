"""Logs, the store, and the workers that share it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping

from ..config import Settings
from ..core.store_urls import sqlite_path
from ..middleware._per_process import configured_workers
from ..stores import StoreError, open_store
from ._findings import Finding, finding
from ._sources import scrub, secret_values


def log_findings(settings: Settings) -> Iterator[Finding]:
    level = settings.log_level
    if level in ("ERROR", "CRITICAL"):
        text = f"SIGNALWIRE_LOG_LEVEL is {level}, which hides warnings, except those of the "
        yield finding("I001", text + "security log.")
    elif level != "WARNING":
        what = "not set" if level is None else level
        text = (
            f"SIGNALWIRE_LOG_LEVEL is {what}; below WARNING, records describe each request. With "
        )
        yield finding("W020", text + "warn, the server commands still record each call.")


def state_findings(settings: Settings) -> Iterator[Finding]:
    if settings.allow_per_process_state:
        text = "SWML_ALLOW_PER_PROCESS_STATE=true: of several processes, each has limits, tokens "
        yield finding("W022", text + "and passwords of its own, and nothing refuses to serve.")


def store_findings(settings: Settings) -> Iterator[Finding]:
    """Yield a finding if the store does not accept a write, which is tried."""
    url = settings.storage_url
    if url is None or url in ("memory://", "sqlite://"):
        return
    try:
        if url.startswith("sqlite:"):
            path = sqlite_path(url) or ""
            if not os.path.exists(path):
                # A file that this user creates might not be writable for the service.
                if not os.access(os.path.dirname(path) or ".", os.W_OK | os.X_OK):
                    text = "SWML_STORAGE_URL: the file cannot be created in its directory."
                    yield finding("E009", text)
                return
        store = open_store(url)
        try:
            key = f"check:{secrets.token_hex(8)}"
            store.set(key, {}, 10)
            store.delete(key)
        finally:
            store.close()
    except (StoreError, ImportError) as error:
        why = scrub(str(error), secret_values({"SWML_STORAGE_URL": url}))
        text = f"SWML_STORAGE_URL: the store does not accept a write: {why}"
        yield finding("E009", text.rstrip(".") + ".")


def worker_findings(
    settings: Settings, environ: Mapping[str, str], uses_store: bool = False
) -> Iterator[Finding]:
    """Yield a finding if several workers are configured, each with a state of its own.

    Args:
        uses_store: whether agents keep in the store what must be kept once.
    """
    arguments = environ.get("GUNICORN_CMD_ARGS", "")
    try:
        workers = configured_workers(arguments, environ.get("WEB_CONCURRENCY"))
    except (ValueError, SystemExit):
        return  # gunicorn does not start with these options.
    if workers < 2 or settings.allow_per_process_state:
        return
    missing = []
    # The configuration creates everything that is not set.
    if "swaig_wsgi.gunicorn" not in arguments:
        if settings.swaig_secret is None:
            missing.append("SIGNALWIRE_SWAIG_SECRET")
        if settings.basic_auth is None:
            missing.append("SWML_BASIC_AUTH_PASSWORD")
        if settings.storage_url in (None, "sqlite://") and (settings.counts_requests or uses_store):
            missing.append("SWML_STORAGE_URL")
    if settings.storage_url == "memory://" and (settings.counts_requests or uses_store):
        missing.append("SWML_STORAGE_URL")
    if missing:
        text = f"{workers} workers each have their own state, and refuse requests with 503. Start "
        text += "them with gunicorn -c python:swaig_wsgi.gunicorn"
        if settings.storage_url == "memory://":
            text += ", and without memory://"
        yield finding("W031", f"{text}; or set {', '.join(missing)}.")
