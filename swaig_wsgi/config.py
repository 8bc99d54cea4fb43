"""Settings: every environment variable, read once, validated, and named in errors."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Callable

from .core.cors import parse_origin_pattern
from .core.hosts import host_patterns, parse_host
from .core.kept_fields import kept_fields
from .core.networks import client_networks
from .core.proxies import MAX_HOPS, trusted_proxies
from .core.redaction import hide_values
from .core.store_urls import check_store_url
from .core.tokens import MIN_SECRET_BYTES
from .core.urls import BaseUrl
from .stores._file_access import UnsafeFileError, check_access

__all__ = ["ConfigurationError", "Settings"]

_log = logging.getLogger("swaig_wsgi")

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_LOG_LEVELS = {name.lower(): name for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")}
_LOG_LEVELS["warn"] = "WARNING"
_LOG_FORMATS = {name: name for name in ("text", "json")}
_FAMILIES = {name: name for name in ("x-forwarded", "forwarded")}
#: User and password in a URL that an error quotes.
_USERINFO = re.compile(r"(?<=[/'\" ])[^\s/'\"@]*:[^\s'\"]*@")


class ConfigurationError(ValueError):
    """A setting is invalid. The message names the variable, but contains no secret."""


def _shown(value: Any) -> str:
    """Return `value` for an error message; if its type is not one of a setting, only the type."""
    return repr(value) if isinstance(value, (str, int, float)) else type(value).__name__


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = value.strip().lower() if isinstance(value, str) else None
    if text not in _TRUE | _FALSE:
        raise ValueError(f"expected true or false, not {_shown(value)}")
    return text in _TRUE


def _integer(lowest: int, highest: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if isinstance(value, str):
            text = value.strip()
            if text.isascii() and text.isdecimal() and len(text) <= 19:
                value = int(text)
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise ValueError(
                f"expected a whole number from {lowest} to {highest}, not {_shown(value)}"
            )
        return value

    return parse


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, not {type(value).__name__}")
    if not value.isprintable():
        raise ValueError("expected printable text, whose only white space are plain spaces")
    return value


def _user(value: Any) -> str:
    if ":" in _text(value):
        raise ValueError("a user name cannot contain a colon (RFC 7617 section 2)")
    return str(value)


def _choice(choices: Mapping[str, str]) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        text = value.strip().lower() if isinstance(value, str) else None
        if text is None or text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}, not {_shown(value)}")
        return choices[text]

    return parse


def _items(value: Any) -> tuple[str, ...]:
    """Split a comma-separated string, or return the items of a sequence."""
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    if not isinstance(value, Iterable):
        raise ValueError(f"expected a list, not {type(value).__name__}")
    items = tuple(value)
    if not all(isinstance(item, str) and item for item in items):
        raise ValueError("expected a list of non-empty strings")
    return items


def _non_empty(items: tuple[str, ...]) -> tuple[str, ...]:
    if not items:
        raise ValueError("expected at least one entry")
    return items


def _origins(value: Any) -> tuple[str, ...]:
    origins = _non_empty(_items(value))
    if "*" in origins:
        if len(origins) > 1:
            raise ValueError("'*' allows every origin and cannot be combined with others")
        return origins
    return tuple(parse_origin_pattern(origin) for origin in origins)


def _hosts(value: Any) -> tuple[str, ...]:
    hosts = _non_empty(_items(value))
    host_patterns(hosts)
    return hosts


def _domain(value: Any) -> str:
    host = parse_host(_text(value))
    if host.port is not None:
        raise ValueError("expected a domain name without a port")
    return host.name


def _proxies(value: Any) -> tuple[str, ...] | int:
    if isinstance(value, str) and value.strip().isdecimal():
        value = _integer(1, MAX_HOPS)(value)
    if not isinstance(value, int):
        value = _non_empty(_items(value))
    trusted_proxies(value)
    return value  # type: ignore[no-any-return]


def _kept(value: Any) -> tuple[str, ...]:
    return tuple(kept_fields(_items(value)).values())


def _clients(value: Any) -> tuple[str, ...]:
    return tuple(str(network) for network in client_networks(_non_empty(_items(value))))


def _secret(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, not {type(value).__name__}")
    if len(value.encode("utf-8", "surrogatepass")) < MIN_SECRET_BYTES:
        raise ValueError(f"expected a secret of at least {MIN_SECRET_BYTES} bytes")
    return value


def _swaig_secret(value: Any) -> str:
    secret = _secret(value)
    # It becomes a fallback when it is replaced, and must be parsed to the same value there.
    if _lines_and_items(secret) != (secret,):
        expected = "a secret without commas, line breaks, or white space at its ends"
        raise ValueError(f"expected {expected}, so that it can become one of the FALLBACKS later")
    return secret


def _secrets(value: Any) -> tuple[str, ...]:
    return tuple(_secret(item) for item in _lines_and_items(value))


def _passwords(value: Any) -> tuple[str, ...]:
    lines = _several_lines(value)
    # Unlike a secret, a password or signing key may contain commas, and was chosen elsewhere. No
    # part of it may become a credential, so several lines are not split any further.
    items = _lines_and_items(value) if lines is None else lines
    return tuple(_text(item) for item in items)


def _several_lines(value: Any) -> tuple[str, ...] | None:
    """Return the lines of text that has more than one, without separators at their ends."""
    if not isinstance(value, str) or len(value.strip().splitlines()) < 2:
        return None
    lines = (line.strip(" \t,") for line in value.splitlines())
    return tuple(line for line in lines if line)


def _lines_and_items(value: Any) -> tuple[str, ...]:
    """Split a string at line breaks and commas, or return the items of a sequence."""
    return _items(",".join(value.splitlines()) if isinstance(value, str) else value)


def _check_fallbacks(values: Mapping[str, Any], name: str) -> None:
    """Reject fallbacks that cannot be what was meant.

    The current value may be among them, so that each step of a rotation changes one file.
    """
    current, given = values[name], values[f"{name}_fallbacks"]
    if not current or not given:
        return
    listed = _several_lines(given)
    variables = {each.name: each.metadata["variable"] for each in fields(Settings)}
    variable = variables[f"{name}_fallbacks"]
    if set(_lines_and_items(given) if listed is None else listed) == {current}:
        expected = f"expected at least one value other than that of {variables[name]}"
        raise ConfigurationError(f"{variable}: {expected}")
    # A part of it would become a credential, and may be short.
    if not isinstance(given, str) or _lines_and_items(current) == (current,):
        return
    if current.strip(" \t,") != current:
        problem = f"{variables[name]} has a comma or white space at an end, so it cannot be listed"
        raise ConfigurationError(f"{variable}: {problem}; pass a list in code")
    if listed is None:
        problem = f"{variables[name]} contains a comma, so it cannot be listed with commas"
        raise ConfigurationError(f"{variable}: {problem}; write each value on a line of its own")


def _variable(
    name: str, parse: Callable[[Any], Any], default: Any = None, *, secret: bool = False
) -> Any:
    metadata = {"variable": name, "parse": parse, "secret": secret}
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Validated settings of a service; None or an empty value means "not set".

    Every field is one environment variable, listed in the SDK's guide or in this package's
    documentation. A field may be given as the variable's text or as a Python value (``30``,
    ``True``, a list). Either is validated and normalized, also by :func:`dataclasses.replace`.

    Raises:
        ConfigurationError: a value is invalid. The message starts with the variable's name.
    """

    basic_auth_user: str | None = _variable("SWML_BASIC_AUTH_USER", _user, secret=True)
    basic_auth_password: str | None = _variable("SWML_BASIC_AUTH_PASSWORD", _text, secret=True)
    ssl_enabled: bool = _variable("SWML_SSL_ENABLED", _boolean, False)
    ssl_cert_path: str | None = _variable("SWML_SSL_CERT_PATH", _text)
    ssl_key_path: str | None = _variable("SWML_SSL_KEY_PATH", _text)
    ssl_domain: str | None = _variable("SWML_SSL_DOMAIN", _domain)
    cors_origins: tuple[str, ...] | None = _variable("SWML_CORS_ORIGINS", _origins)
    csrf_protection: bool = _variable("SWML_CSRF_PROTECTION", _boolean, False)
    #: Requests per minute and client; None or ``0``: unlimited.
    rate_limit: int | None = _variable("SWML_RATE_LIMIT", _integer(0, 10**9))
    allowed_hosts: tuple[str, ...] | None = _variable("SWML_ALLOWED_HOSTS", _hosts)
    #: In bytes.
    max_request_size: int | None = _variable("SWML_MAX_REQUEST_SIZE", _integer(1, 2**53))
    proxy_url_base: str | None = _variable("SWML_PROXY_URL_BASE", BaseUrl)
    #: Addresses, networks and ``unix``, or the number of proxies.
    trusted_proxies: tuple[str, ...] | int | None = _variable("SWML_TRUSTED_PROXIES", _proxies)
    trust_proxy_headers: bool = _variable("SWML_TRUST_PROXY_HEADERS", _boolean, False)
    proxy_headers: str = _variable("SWML_PROXY_HEADERS", _choice(_FAMILIES), "x-forwarded")
    swaig_secret: str | None = _variable("SIGNALWIRE_SWAIG_SECRET", _swaig_secret, secret=True)
    swaig_secret_fallbacks: tuple[str, ...] = _variable(
        "SIGNALWIRE_SWAIG_SECRET_FALLBACKS", _secrets, (), secret=True
    )
    signing_key: str | None = _variable("SIGNALWIRE_SIGNING_KEY", _text, secret=True)
    storage_url: str | None = _variable("SWML_STORAGE_URL", check_store_url, secret=True)
    allow_per_process_state: bool = _variable("SWML_ALLOW_PER_PROCESS_STATE", _boolean, False)
    port: int | None = _variable("PORT", _integer(1, 65535))
    log_level: str | None = _variable("SIGNALWIRE_LOG_LEVEL", _choice(_LOG_LEVELS))
    #: Earlier passwords of the same user: accepted, but never written into URLs.
    basic_auth_password_fallbacks: tuple[str, ...] = _variable(
        "SWML_BASIC_AUTH_PASSWORD_FALLBACKS", _passwords, (), secret=True
    )
    #: Failed authentications per minute and client; None or ``0``: unlimited.
    auth_failure_limit: int | None = _variable("SWML_AUTH_FAILURE_LIMIT", _integer(0, 10**9))
    #: Addresses and networks of the only clients that are served.
    allowed_clients: tuple[str, ...] | None = _variable("SWML_ALLOWED_CLIENTS", _clients)
    #: Refuse requests over plain HTTP; None: only if `ssl_enabled` is set.
    enforce_https: bool | None = _variable("SWML_ENFORCE_HTTPS", _boolean)
    #: Send HSTS over https; None: only if `ssl_enabled` or `ssl_domain` is set.
    use_hsts: bool | None = _variable("SWML_USE_HSTS", _boolean)
    #: In seconds; ``0`` makes browsers forget the host.
    hsts_max_age: int | None = _variable("SWML_HSTS_MAX_AGE", _integer(0, 2**31 - 1))
    #: Earlier signing keys, whose signatures are accepted, too.
    signing_key_fallbacks: tuple[str, ...] = _variable(
        "SIGNALWIRE_SIGNING_KEY_FALLBACKS", _passwords, (), secret=True
    )
    #: Whether ``/ready`` stays 200 while the store fails.
    ready_without_store: bool = _variable("SWML_READY_WITHOUT_STORE", _boolean, False)
    #: Seconds for which a stopping server still accepts requests; read by ``swaig_wsgi.gunicorn``.
    drain_seconds: int = _variable("SWML_DRAIN_SECONDS", _integer(0, 3600), 0)
    #: ``text`` or ``json``, for the records of server commands and ``swaig_wsgi.gunicorn``.
    log_format: str = _variable("SIGNALWIRE_LOG_FORMAT", _choice(_LOG_FORMATS), "text")
    #: Count for Prometheus; agents also serve ``/metrics``.
    metrics: bool = _variable("SWML_METRICS", _boolean, False)
    #: Fields in which trusted proxies pass the user, such as ``X-Forwarded-User``.
    proxy_keep: tuple[str, ...] = _variable("SWML_PROXY_KEEP", _kept, ())

    def __post_init__(self) -> None:
        raw = {each.name: getattr(self, each.name) for each in fields(self)}
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None or value == "":
                value = each.default
            else:
                try:
                    value = each.metadata["parse"](value)
                except ValueError as error:
                    # A URL in the wrong variable may contain a password.
                    text = _USERINFO.sub("****@", str(error))
                    raise ConfigurationError(f"{each.metadata['variable']}: {text}") from None
            object.__setattr__(self, each.name, value)
            # Of a store's URL, redaction masks the password.
            if each.metadata["secret"] and each.name not in ("basic_auth_user", "storage_url"):
                hide_values(value if isinstance(value, tuple) else (value,))
        for name in ("basic_auth_password", "swaig_secret", "signing_key"):
            _check_fallbacks(raw, name)
        for limit in ("rate_limit", "auth_failure_limit"):
            if getattr(self, limit) == 0:
                object.__setattr__(self, limit, None)
        if (self.basic_auth_user is None) != (self.basic_auth_password is None):
            names = "SWML_BASIC_AUTH_USER", "SWML_BASIC_AUTH_PASSWORD"
            missing, given = names if self.basic_auth_user is None else names[::-1]
            raise ConfigurationError(f"{missing}: not set, but {given} is; set both or neither")
        if self.proxy_keep and self.trusted is None:
            # Any client could send them.
            raise ConfigurationError("SWML_PROXY_KEEP: requires SWML_TRUSTED_PROXIES, not set")
        if self.csrf_protection and self.cors_origins == ("*",):
            problem = "protects nothing while SWML_CORS_ORIGINS is '*'; list the origins"
            raise ConfigurationError(f"SWML_CSRF_PROTECTION: {problem}")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Return the settings in `environ`, by default ``os.environ``.

        An empty variable counts as unset. Each secret may instead be read from a file, named by
        the variable with ``_FILE`` appended.

        Raises:
            ConfigurationError: a value is invalid, a secret is given both ways, or its file cannot
                be read or can be written by other users.
        """
        return cls(**_read(os.environ if environ is None else environ))

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Settings:
        """Return the settings in a mapping, such as a dictionary in a framework's own settings.

        Keys are names of variables or of fields of this class; values are strings or Python values.

        Raises:
            ConfigurationError: as for :meth:`from_env`, or a key is unknown or given twice.
        """
        return cls(**raw_values(mapping))

    @property
    def trusted(self) -> tuple[str, ...] | int | None:
        """The proxies to trust: the named ones, else one hop if proxy headers are trusted."""
        if self.trusted_proxies is not None:
            return self.trusted_proxies
        return 1 if self.trust_proxy_headers else None

    @property
    def requires_https(self) -> bool:
        """Whether plain HTTP is refused: as `enforce_https` says, else with TLS."""
        return self.ssl_enabled if self.enforce_https is None else self.enforce_https

    @property
    def sends_hsts(self) -> bool:
        """Whether https responses carry HSTS: as `use_hsts` says, else with TLS or a domain."""
        default = self.ssl_enabled or self.ssl_domain is not None
        return default if self.use_hsts is None else self.use_hsts

    @property
    def counts_requests(self) -> bool:
        """Whether a limit counts requests, which all processes have to share."""
        return self.rate_limit is not None or self.auth_failure_limit is not None

    @property
    def basic_auth(self) -> tuple[str, str] | None:
        """User and password, or None if they are not set."""
        if self.basic_auth_user is None or self.basic_auth_password is None:
            return None
        return self.basic_auth_user, self.basic_auth_password

    @property
    def basic_auth_pairs(self) -> tuple[tuple[str, str], ...] | None:
        """What to accept: :attr:`basic_auth`, then the user with each earlier password; or None.

        These are for :class:`~swaig_wsgi.AuthHandler`, so that URLs with an earlier password keep
        working while it is replaced. Write only :attr:`basic_auth` into URLs.
        """
        if self.basic_auth is None:
            return None
        user, password = self.basic_auth
        passwords = dict.fromkeys((password, *self.basic_auth_password_fallbacks))
        return tuple((user, each) for each in passwords)

    @property
    def signing_keys(self) -> tuple[str, ...] | None:
        """The signing key and its fallbacks, or None if there is no key.

        Raises:
            ConfigurationError: there are fallbacks only. Requests would need no signature.
        """
        if self.signing_key is not None:
            return tuple(dict.fromkeys((self.signing_key, *self.signing_key_fallbacks)))
        if self.signing_key_fallbacks:
            problem = "set, but SIGNALWIRE_SIGNING_KEY is not, so no signature would be required"
            raise ConfigurationError(f"SIGNALWIRE_SIGNING_KEY_FALLBACKS: {problem}")
        return None


def raw_values(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by field, not yet validated, of a mapping as for `Settings.from_mapping`.

    Raises:
        ConfigurationError: a key is unknown or given twice, or the file of a secret is invalid.
    """
    by_name = {each.name: each.metadata["variable"] for each in fields(Settings)}
    known = known_variables()
    source: dict[str, Any] = {}
    for key, value in mapping.items():
        variable = by_name.get(key, key)
        if variable not in known:
            raise ConfigurationError(f"{key}: no field of Settings and no variable of one")
        if variable in source:
            raise ConfigurationError(f"{variable}: given twice, also under its field's name")
        source[variable] = value
    return _read(source)


def known_variables() -> set[str]:
    """Return the names of all variables, those of files with secrets included."""
    variables = {each.metadata["variable"]: each.metadata["secret"] for each in fields(Settings)}
    return {*variables, *(f"{name}_FILE" for name, secret in variables.items() if secret)}


#: The contents of secret files by their paths, as the master of a server has read them.
_kept_files: dict[str, str] = {}


def keep_secret_files() -> Settings:
    """Return the settings of the environment, and keep the contents of their secret files.

    From then on, this process and those that fork from it use these contents. The master of a
    server calls this when it starts and when it reloads. Otherwise a worker that starts in between
    might read a file that is about to be replaced, and have other secrets than its siblings.

    Raises:
        ConfigurationError: as for :meth:`Settings.from_env`. What was kept before is still used.
    """
    global _kept_files
    previous, _kept_files = _kept_files, {}
    try:
        secret = [each.metadata["variable"] for each in fields(Settings) if each.metadata["secret"]]
        named = {f"{name}_FILE": os.environ.get(f"{name}_FILE") for name in secret}
        files = {path: _read_secret_file(name, path) for name, path in named.items() if path}
        _kept_files = files
        settings = Settings.from_env()
        _ = settings.signing_keys  # raises an exception for fallbacks without a key
    except ConfigurationError:
        _kept_files = previous
        raise
    return settings


def _read(source: Mapping[str, Any]) -> dict[str, Any]:
    values = {}
    for each in fields(Settings):
        variable = each.metadata["variable"]
        value = source.get(variable)
        path = source.get(f"{variable}_FILE") if each.metadata["secret"] else None
        if path:
            if value not in (None, ""):
                raise ConfigurationError(f"{variable}: set both itself and as {variable}_FILE")
            value = _read_secret_file(f"{variable}_FILE", path)
            # A list may be empty: its file stays mounted between two rotations.
            if not value and each.default != ():
                raise ConfigurationError(f"{variable}_FILE: the file it names is empty")
        if value is not None:
            values[each.name] = value
    return values


def _read_secret_file(variable: str, path: object) -> str:
    if not isinstance(path, str):
        raise ConfigurationError(f"{variable}: expected a path, not {type(path).__name__}")
    if path in _kept_files:
        return _kept_files[path]
    try:
        with open(path, encoding="utf-8") as file:
            check_access(f"{variable}: the file it names", os.fstat(file.fileno()))
            value = file.read()
    except UnsafeFileError as error:
        raise ConfigurationError(str(error)) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a path, or not UTF-8 text"
        # Omit the path: an operator who confused the two variables has put the secret there.
        raise ConfigurationError(f"{variable}: cannot read the file it names: {why}") from None
    # Editors add a byte order mark, and `echo` or a template white space, which is invisible and
    # not part of any secret that is sent.
    text = value.removeprefix("\ufeff")
    if text != value:
        _log.warning(
            "%s: the file it names begins with a byte order mark, which is ignored", variable
        )
    value = text.rstrip("\r\n")
    text = value.rstrip()
    if text != value:
        _log.warning("%s: the file it names ends with white space, which is ignored", variable)
    return text
