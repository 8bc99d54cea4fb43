"""Settings from variables of which several may be invalid."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any
from urllib.parse import quote

from ..config import ConfigurationError, Settings, raw_values
from ..core.redaction import filter_sensitive_headers, redact_text
from ._findings import Finding, finding

#: The variables of `Settings`, each with whether it is a secret.
VARIABLES: dict[str, bool] = {
    each.metadata["variable"]: each.metadata["secret"] for each in fields(Settings)
}
VARIABLES_OF_FIELDS = {each.name: each.metadata["variable"] for each in fields(Settings)}
_FIELDS_OF_VARIABLES = {variable: name for name, variable in VARIABLES_OF_FIELDS.items()}
_NAME = re.compile(r"[A-Z][A-Z_]+")


def read_settings(source: Mapping[str, Any]) -> tuple[Settings, list[Finding]]:
    """Return the settings in `source`, without its invalid ones, and a finding for each of these.

    Args:
        source: settings by variable, or by field as for :meth:`Settings.from_mapping`.
    """
    secrets = secret_values({VARIABLES_OF_FIELDS.get(key, key): source[key] for key in source})
    values: dict[str, Any] = {}
    found: list[Finding] = []
    invalid: set[str] = set()

    def reject(message: str, name: str) -> None:
        found.append(finding("E001", f"{scrub(message, secrets)}.", f"unset {name}"))
        invalid.add(name.removesuffix("_FILE"))

    # First each setting alone, so that an unreadable file affects no other setting.
    for given in _by_setting(source):
        while given:
            try:
                values.update(raw_values(given))
                break
            except ConfigurationError as error:
                # The message starts with the key. Of a setting that is given twice, one is left.
                name = str(error).partition(":")[0]
                del given[name if name in given else min(given)]
                reject(str(error), name)
    values = {name: value for name, value in values.items() if value is not None and value != ""}
    # Then their values. Each turn removes one, because an exception has only one message.
    while True:
        try:
            settings = Settings(**values)
            _ = settings.signing_keys  # raises an exception for fallbacks without a key
            return settings, found
        except ConfigurationError as error:
            # The message starts with the variable. If that one is missing, another requires it.
            names = [name for name in _NAME.findall(str(error)) if name in _FIELDS_OF_VARIABLES]
            variable = next(name for name in names if _FIELDS_OF_VARIABLES[name] in values)
            message = _without_values(str(error), values.pop(_FIELDS_OF_VARIABLES[variable]))
            if names[0] in invalid:
                continue  # it counts as missing because it is invalid, which was found
            reject(message, f"{variable}_FILE" if source.get(f"{variable}_FILE") else variable)


def _by_setting(source: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Return a mapping for each setting, with the keys of `source` that give it."""
    groups: dict[str, dict[str, Any]] = {}
    for key, value in source.items():
        setting = VARIABLES_OF_FIELDS.get(key, str(key).removesuffix("_FILE"))
        groups.setdefault(setting, {})[key] = value
    return groups.values()


def environ_credentials(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return user and password in `environ` or in the files that it names, or None."""
    names = ("SWML_BASIC_AUTH_USER", "SWML_BASIC_AUTH_PASSWORD")
    known = {f"{name}{end}" for name in names for end in ("", "_FILE")}
    return read_settings({name: environ[name] for name in known if environ.get(name)})[0].basic_auth


def is_repeated(each: Finding, invalid: Iterable[Finding]) -> bool:
    """Return whether a finding is only that an invalid variable counts as not set."""
    names = {line.line.removeprefix("unset ") for line in invalid}
    return any(name.removesuffix("_FILE") in _NAME.findall(each.line) for name in names)


def secret_values(source: Mapping[str, Any]) -> set[str]:
    """Return the secrets in variables and in the files that they name, and passwords in URLs."""
    found: set[str] = set()
    for name, secret in VARIABLES.items():
        value = source.get(name)
        path = source.get(f"{name}_FILE") if secret else None
        if isinstance(path, str):
            value = path  # unless it is one, a secret in the wrong variable
            # A pipe can be read only once, by the settings.
            if os.path.exists(path):
                value = _read(path) if os.path.isfile(path) else None
        if secret and value:
            values = value if isinstance(value, (list, tuple)) else [value]
            found.update(part for each in values for part in _parts(str(each)))
    for value in source.values():
        if isinstance(value, str):
            found.update(re.findall(r"//[^/@\s]*?:([^@\s]+)@", value))
    return {each for each in found if len(each) > 3}


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(65_536)
    except OSError:
        return None


def _parts(value: str) -> Iterator[str]:
    yield value.strip()
    for each in re.split(r"[,\r\n]+", value):
        yield each.strip()


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return `text` without `secrets`, as they are, as ``repr`` shows them, and quoted for URLs."""
    for secret in sorted(secrets, key=len, reverse=True):
        for shown in {secret, repr(secret)[1:-1], quote(secret, safe="")}:
            text = text.replace(shown, "****")
    return text


def hidden_values(environ: Mapping[str, str]) -> set[str]:
    """Return the secrets of our variables, and of others with the name of a secret.

    Such names are ``DB_PASSWORD`` and ``MYSQL_PWD``.
    """
    hidden = secret_values(environ)
    for name, value in environ.items():
        if name in ("PWD", "OLDPWD"):
            continue  # the shell's directories, which tracebacks show
        # A header with such a name would be dropped. Some are known only alone: KEY, PWD, PASS.
        names = dict.fromkeys((name, name.rpartition("_")[2]), value)
        if len(value) > 3 and len(filter_sensitive_headers(names)) < len(names):
            hidden.add(value)
    return hidden


def safe_reason(error: BaseException, environ: Mapping[str, str]) -> str:
    """Return type and message of an exception, which may quote anything, without secrets."""
    return redact_text(scrub(f"{type(error).__name__}: {error}", hidden_values(environ)))


def _without_values(text: str, value: Any) -> str:
    """Return a message without the value that it quotes, which may be a misplaced secret."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    # Lists are split at commas, some at white space, too; the longest parts hide the others.
    for pattern in (r",", r"[\r\n]+", r"[,\s]+"):
        values += [part.strip() for each in [*values] for part in re.split(pattern, str(each))]
    for each in [value, *values]:
        if each not in ("", "*"):
            text = text.replace(repr(each), "****")
    return text
