"""Detection of secrets in what must contain none: log records, responses and traces.

While a :class:`Watch` is active, it collects every secret that a test configures (settings,
passwords, bearer tokens, API keys, signing keys, secrets of tool tokens) and every tool token that
is issued, and looks for them in all records of this library, in the logs of servers under test, in
exported spans, and in the responses that the tests' clients and AgentClient receive. Only documents
may contain passwords and tokens: they do, in their URLs. Such tokens are secrets from then on.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Callable
from urllib.parse import quote, urlsplit

import pytest

from swaig_wsgi import AuthHandler, Settings
from swaig_wsgi.middleware import WebhookSignatureMiddleware
from swaig_wsgi.sessions import SessionManager

AgentClient: Any = None
# A copy of the parts that can be vendored has no agents.
with contextlib.suppress(ImportError):
    from swaig_wsgi.testing import AgentClient

#: Shorter ones occur by chance, as do single words.
_SHORTEST = 8
#: Settings that are secret, but name no secret that is long and random.
_NOT_SEARCHED = {"basic_auth_user", "storage_url"}

_ARGUMENTS = {
    *("basic_auth", "bearer_token", "api_key"),
    *("signing_key", "secret_key", "fallback_keys"),
}
#: What a document contains.
_IN_DOCUMENTS = {"a tool token", "basic_auth", "basic_auth_password", "SWML_BASIC_AUTH_PASSWORD"}


_SECRET_FIELDS = [
    each for each in fields(Settings) if each.metadata["secret"] and each.name not in _NOT_SEARCHED
]


class Watch:
    """The secrets of a test, and where they showed up."""

    def __init__(self) -> None:
        self._secrets: dict[str, str] = {}
        self._seen: list[tuple[str, str, bool]] = []

    def activate(self, patch: pytest.MonkeyPatch) -> None:
        """Collect secrets and records until `patch` is undone."""
        for owner in (AuthHandler, SessionManager, WebhookSignatureMiddleware):
            patch.setattr(owner, "__init__", self._collecting(owner.__init__))
        patch.setattr(Settings, "__post_init__", self._collecting_settings(Settings.__post_init__))
        generate = SessionManager.generate_token

        @functools.wraps(generate)
        def generate_token(*args: Any, **kwargs: Any) -> str:
            token: str = generate(*args, **kwargs)
            self.add("a tool token", token)
            return token

        patch.setattr(SessionManager, "generate_token", generate_token)
        if AgentClient is not None:
            patch.setattr(AgentClient, "__init__", self._seeing_responses(AgentClient.__init__))
        for exporter in _span_exporters():
            patch.setattr(exporter, "export", self._seeing_spans(exporter.export))

    def _collecting(self, init: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(init)

        @functools.wraps(init)
        def collecting(*args: Any, **kwargs: Any) -> None:
            init(*args, **kwargs)
            for name, value in signature.bind(*args, **kwargs).arguments.items():
                if name in _ARGUMENTS:
                    self.add_all(name, value)

        return collecting

    def _seeing_responses(self, init: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(init)
        def seeing(client: Any, *args: Any, auth: Any = None, **kwargs: Any) -> None:
            init(client, *args, auth=auth, **kwargs)
            self.add_all("basic_auth", auth)
            send = client._send

            def sending(*request: Any) -> Any:
                response = send(*request)
                self.see_response(*response)
                return response

            client._send = sending

        return seeing

    def _seeing_spans(self, export: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(export)
        def seeing(exporter: Any, spans: Any) -> Any:
            for span in spans:
                self.see("a trace", span.to_json())
            return export(exporter, spans)

        return seeing

    def _collecting_settings(self, post_init: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(post_init)
        def collecting(settings: Settings) -> None:
            post_init(settings)
            for each in _SECRET_FIELDS:
                self.add_all(each.name, getattr(settings, each.name))
            if settings.storage_url is not None:
                self.add("storage_url", urlsplit(settings.storage_url).password)

        return collecting

    def add_all(self, name: str, value: Any) -> None:
        """Add a secret, or each of several; of user and password, the latter."""
        if isinstance(value, (str, bytes)) or value is None:
            self.add(name, value)
        elif name == "basic_auth" and len(value) == 2 and isinstance(value[0], str):
            self.add(name, value[1])
        elif isinstance(value, Iterable):
            for each in value:
                self.add_all(name, each)

    def add(self, name: str, secret: Any) -> None:
        """Search for `secret` from now on, unless it is too short or a word."""
        if isinstance(secret, bytes):
            secret = secret.decode("latin-1")
        if not isinstance(secret, str) or len(secret) < _SHORTEST or secret.isalpha():
            return
        for text in (secret, quote(secret, safe=""), repr(secret)[1:-1]):
            # A password that is a fallback now was in documents while it was the current one.
            if self._secrets.get(text) not in _IN_DOCUMENTS:
                self._secrets[text] = name

    def record(self, record: logging.LogRecord) -> None:
        """Remember a log record, with its traceback and further attributes."""
        text = logging.Formatter().format(record)
        self._seen.append(("a log record", f"{text} {vars(record)}", True))

    def observe(self, kind: str, record: Mapping[str, Any]) -> None:
        """Remember what an observer sees, which includes records below a logger's level."""
        self.see(f"a {kind} record", str(record))

    def add_environ(self, environ: Mapping[str, str]) -> None:
        """Add the secrets in the environment of a server."""
        for each in _SECRET_FIELDS:
            variable = each.metadata["variable"]
            self.add(variable, environ.get(variable))
            path = Path(environ.get(f"{variable}_FILE", "/nowhere"))
            for line in path.read_text().splitlines() if path.is_file() else ():
                self.add(variable, line)

    def see(self, where: str, text: str, *, is_document: bool = False) -> None:
        """Remember a text that must not contain secrets, or may as a document does."""
        self._seen.append((where, text, not is_document))

    def see_response(self, status: int, fields: Any, body: bytes) -> None:
        """Remember a response; if it may be a document, its tokens are secrets from now on."""
        text = f"{fields} {body!r}"
        self.see(f"a response {status}", text, is_document=status < 400)
        for token in re.findall(r"__token=([\w%-]{40,})", text) if status < 400 else ():
            self.add("a tool token", token)

    def forget(self) -> None:
        """Forget the texts that were searched, but not the secrets."""
        self._seen.clear()

    def leaks(self) -> list[str]:
        """Return a sentence for each secret in what was remembered."""
        return sorted(
            {
                f"{name} in {where}: {text[:500]!r}"
                for where, text, strict in self._seen
                for secret, name in self._secrets.items()
                if (strict or name not in _IN_DOCUMENTS) and secret in text
            }
        )


def _span_exporters() -> list[Any]:
    """Return the classes of exporters that the tests have imported."""
    module = sys.modules.get("opentelemetry.sdk.trace.export")
    return [] if module is None else module.SpanExporter.__subclasses__()


class WatchHandler(logging.Handler):
    """Passes the records of a logger to a watch."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        self.watch.record(record)
