"""TLS: the certificate, a hardened server context, and HSTS."""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import replace
from typing import Any

from .config import ConfigurationError, Settings
from .core.headers import PRELOAD_MIN_AGE, hsts_value
from .middleware.headers import HSTSMiddleware
from .stores._file_access import UnsafeFileError, check_access
from .wsgi._types import WSGIApplication

__all__ = ["SslConfig"]

_VARIABLES = {
    "enabled": "SWML_SSL_ENABLED",
    "cert_path": "SWML_SSL_CERT_PATH",
    "key_path": "SWML_SSL_KEY_PATH",
    "domain": "SWML_SSL_DOMAIN",
    "hsts": "SWML_USE_HSTS",
    "hsts_max_age": "SWML_HSTS_MAX_AGE",
}
#: Fields of `Settings` whose names are not those of the arguments with ``ssl_``.
_FIELDS = {"hsts": "use_hsts", "hsts_max_age": "hsts_max_age"}
# For TLS 1.2: forward secrecy and authenticated encryption. TLS 1.3 always has both.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")


class SslConfig:
    """The TLS settings of a service (the SDK's guide, "SSL/TLS").

    Settings that are not given come from the environment. The files are not read on construction.
    ``harden`` and agents use the settings of a configuration in code if they are given
    :attr:`settings`.

    Args:
        enabled: whether the service itself serves TLS (``SWML_SSL_ENABLED``, else False).
        cert_path: file with the PEM certificate and its chain (``SWML_SSL_CERT_PATH``).
        key_path: file with its unencrypted PEM private key (``SWML_SSL_KEY_PATH``).
        domain: the only host to send HSTS for (``SWML_SSL_DOMAIN``). Give it without `enabled`
            if a proxy terminates TLS.
        hsts: whether to send ``Strict-Transport-Security`` over https (``SWML_USE_HSTS``, else
            whether TLS or a domain is configured).
        hsts_max_age: seconds for which browsers remember it, 0 to make them forget it
            (``SWML_HSTS_MAX_AGE``, else a year).
        settings: used instead of the environment.

    Raises:
        ConfigurationError: a value, given or from the environment, is invalid. The message names
            the variable.
    """

    def __init__(
        self,
        *,
        enabled: bool | None = None,
        cert_path: str | os.PathLike[str] | None = None,
        key_path: str | os.PathLike[str] | None = None,
        domain: str | None = None,
        hsts: bool | None = None,
        hsts_max_age: int | None = None,
        settings: Settings | None = None,
    ) -> None:
        given: dict[str, Any] = {
            "enabled": enabled,
            "cert_path": None if cert_path is None else os.fspath(cert_path),
            "key_path": None if key_path is None else os.fspath(key_path),
            "domain": domain,
            "hsts": hsts,
            "hsts_max_age": hsts_max_age,
        }
        for name, value in given.items():
            if value == "":
                raise ConfigurationError(f"{name} is empty; omit it or pass {name}=None")
        if not isinstance(hsts, (bool, type(None))):
            raise ConfigurationError(f"hsts: expected True or False, not {hsts!r}")
        if hsts_max_age is not None:
            try:
                hsts_value(hsts_max_age)
            except ValueError as error:
                raise ConfigurationError(f"hsts_{error}") from None
        self._settings = settings
        if settings is None:
            # Read these variables only: this class does not report invalid values of others.
            missing = [_VARIABLES[name] for name, value in given.items() if value is None]
            environ = {name: os.environ[name] for name in missing if name in os.environ}
            settings = Settings.from_env(environ)
        self._changes = {
            _FIELDS.get(name, f"ssl_{name}"): value
            for name, value in given.items()
            if value is not None
        }
        checked = replace(settings, **self._changes)
        self.enabled = checked.ssl_enabled
        self.cert_path = checked.ssl_cert_path
        self.key_path = checked.ssl_key_path
        self.domain = checked.ssl_domain
        self.hsts = checked.use_hsts is not False
        age = checked.hsts_max_age
        self.hsts_max_age = PRELOAD_MIN_AGE if age is None else age
        self._hsts_chosen = checked.use_hsts is True

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in _VARIABLES)
        return f"{type(self).__name__}({values})"

    @property
    def settings(self) -> Settings:
        """All settings of the service, those of this object among them.

        The others are those of the argument `settings`, by default :meth:`Settings.from_env`, read
        now: ``harden(app, SslConfig(hsts=False).settings)``.

        Raises:
            ConfigurationError: another variable is invalid.
        """
        settings = Settings.from_env() if self._settings is None else self._settings
        return replace(settings, **self._changes)

    def is_configured(self) -> bool:
        """Return whether TLS is enabled and both files exist; their content is not checked."""
        paths = (self.cert_path, self.key_path)
        return self.enabled and all(path is not None and os.path.isfile(path) for path in paths)

    def get_cert(self) -> str | None:
        """Return the text of the certificate file, or None if it is not set or does not exist.

        Raises:
            ConfigurationError: the file cannot be read, or is not text.
        """
        return self._read_existing("cert_path")

    def get_key(self) -> str | None:
        """Return the text of the private key file, a secret, as :meth:`get_cert` does."""
        return self._read_existing("key_path")

    def get_server_options(self) -> dict[str, str] | None:
        """Return the options ``certfile`` and ``keyfile`` of servers; None if not configured."""
        if not self.is_configured():
            return None
        return {"certfile": str(self.cert_path), "keyfile": str(self.key_path)}

    def get_hsts_header(self) -> str | None:
        """Return the value of ``Strict-Transport-Security``.

        Return None with ``hsts=False``. Without an explicit `hsts`, return None also if neither TLS
        nor a domain is configured.
        """
        configured = self.enabled or self.domain or self._hsts_chosen
        return hsts_value(self.hsts_max_age) if self.hsts and configured else None

    def hsts_middleware(self, app: WSGIApplication) -> HSTSMiddleware:
        """Return `app` in a middleware that sends the header of :meth:`get_hsts_header`, if any."""
        return HSTSMiddleware(
            app, self.hsts_max_age, host=self.domain, enabled=self.get_hsts_header() is not None
        )

    def create_context(self) -> ssl.SSLContext:
        """Return a server context: TLS 1.2 or later, forward secrecy, no compression.

        Call it before binding a port, so that a server with unusable files does not start.

        Raises:
            ConfigurationError: TLS is not enabled, or a file is not set, missing, unreadable, not
                PEM, encrypted, or the key of another certificate, or other users may write the
                key. The message names the file and the variable.
        """
        if not self.enabled:
            raise ConfigurationError("SWML_SSL_ENABLED: TLS is not enabled; set it to true")
        certificate, key = self._required("cert_path"), self._required("key_path")
        if not _CERTIFICATE.search(certificate):
            raise self._error("cert_path", "contains no PEM certificate")
        if not _KEY.search(key):
            raise self._error("key_path", "contains no PEM private key")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        context.options |= (
            ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        )
        assert self.cert_path is not None  # noqa: S101  # nosec B101 # for mypy
        try:
            context.load_cert_chain(self.cert_path, self.key_path, password=_no_passphrase)
        except _EncryptedKeyError:
            problem = "is encrypted; an unattended server needs an unencrypted one"
            raise self._error("key_path", problem) from None
        except OSError as error:  # ssl.SSLError is one
            raise self._diagnose(certificate, error) from None
        return context

    def _read_existing(self, name: str) -> str | None:
        path = getattr(self, name)
        return self._read(name, path) if path is not None and os.path.exists(path) else None

    def _required(self, name: str) -> str:
        path = getattr(self, name)
        if path is None:
            raise ConfigurationError(f"{_VARIABLES[name]}: not set, but SWML_SSL_ENABLED is")
        return self._read(name, path)

    def _read(self, name: str, path: str) -> str:
        try:
            with open(path, encoding="utf-8") as file:
                if name == "key_path":
                    subject = f"{_VARIABLES[name]}: the file {path!r}"
                    check_access(subject, os.fstat(file.fileno()))
                return file.read()
        except UnsafeFileError as error:
            raise ConfigurationError(str(error)) from None
        except OSError as error:
            raise self._error(name, f"cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise self._error(name, "is not text, so not PEM") from None

    def _diagnose(self, certificate: str, error: OSError) -> ConfigurationError:
        """Return an error that names the file that OpenSSL rejected; its own names neither."""
        reason = getattr(error, "reason", None) or ""
        if "MISMATCH" in reason:
            return self._error("key_path", f"is not the key of the certificate {self.cert_path!r}")
        for block in _CERTIFICATE.findall(certificate):
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=block)
            except (ssl.SSLError, ValueError):
                return self._error("cert_path", "contains a broken PEM certificate")
        why = reason or error.strerror or str(error)
        return self._error("key_path", f"cannot serve the certificate {self.cert_path!r}: {why}")

    def _error(self, name: str, what: str) -> ConfigurationError:
        return ConfigurationError(f"{_VARIABLES[name]}: the file {getattr(self, name)!r} {what}")


class _EncryptedKeyError(Exception):
    pass


def _no_passphrase() -> str:
    # Without a callback OpenSSL prompts on the terminal, and a service hangs.
    raise _EncryptedKeyError
