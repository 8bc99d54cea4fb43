"""Each finding on settings, present and absent."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.good_settings import GOOD, PASSWORD, SECRET, SIGNING_KEY

from swaig_wsgi import ConfigurationError, Settings
from swaig_wsgi.checks import (
    CATALOG,
    _certificates,
    check_environ,
    check_mapping,
    check_settings,
    check_variables,
)

CERTS = Path(__file__).resolve().parents[1] / "certs"
EARLIER = "Bd9sJh6fLr3yTi0oGx7cUv5N"
TLS = {
    "SWML_SSL_ENABLED": "true",
    "SWML_SSL_CERT_PATH": str(CERTS / "cert.pem"),
    "SWML_SSL_KEY_PATH": str(CERTS / "key.pem"),
    "SWML_SSL_DOMAIN": "localhost",
}
#: No proxy is in front.
DIRECT = {"SWML_TRUSTED_PROXIES": "", "SWML_PROXY_URL_BASE": ""}
SERVES_TLS = {**DIRECT, **TLS}
WORKERS = {"WEB_CONCURRENCY": "4"}
OURS = {**WORKERS, "GUNICORN_CMD_ARGS": "-c python:swaig_wsgi.gunicorn"}

#: The number of a finding, the variables with which it is found, and words of its message.
FOUND = [
    ("E001", {"SWML_RATE_LIMIT": "many"}, "SWML_RATE_LIMIT: expected a whole number"),
    ("E001", {"SIGNALWIRE_SIGNING_KEY_FALLBACKS": EARLIER, "SIGNALWIRE_SIGNING_KEY": ""}, "_KEY"),
    ("E001", {"SWML_BASIC_AUTH_PASSWORD": ""}, "SWML_BASIC_AUTH_PASSWORD: not set"),
    ("E001", {"SWML_BASIC_AUTH_PASSWORD_FILE": "/missing"}, "set both itself and as"),
    ("E001", {"SWML_CSRF_PROTECTION": "true", "SWML_CORS_ORIGINS": "*"}, "protects nothing"),
    ("E002", {"SWML_BASIC_AUTH_PASSWORD": "password"}, "SWML_BASIC_AUTH_PASSWORD is one of"),
    ("E002", {"SWML_BASIC_AUTH_PASSWORD": "P@ssw0rd2026!"}, "a variant"),
    ("E002", {"SWML_BASIC_AUTH_PASSWORD": "hunter2"}, "common"),
    ("E002", {"SWML_BASIC_AUTH_PASSWORD": "Ch4ng3-me"}, "common"),
    ("E002", {"SWML_BASIC_AUTH_PASSWORD": "19840615"}, "common"),
    ("E002", {"SWML_BASIC_AUTH_PASSWORD_FALLBACKS": "hunter2"}, "PASSWORD_FALLBACKS is one of"),
    ("E003", {"SWML_BASIC_AUTH_PASSWORD": "Platform"}, "the name of its user"),
    ("E004", {**SERVES_TLS, "SWML_SSL_KEY_PATH": "/missing.pem"}, "SWML_SSL_KEY_PATH: the file"),
    ("E004", {**SERVES_TLS, "SWML_SSL_CERT_PATH": ""}, "SWML_SSL_CERT_PATH: not set"),
    ("E005", {**SERVES_TLS, "SWML_SSL_KEY_PATH": str(CERTS / "other-key.pem")}, "is not the key"),
    ("E006", {**SERVES_TLS, "SWML_SSL_CERT_PATH": str(CERTS / "expired.pem")}, "has expired"),
    ("E006", {**SERVES_TLS, "SWML_SSL_CERT_PATH": str(CERTS / "future.pem")}, "not yet valid"),
    ("E007", {**SERVES_TLS, "SWML_SSL_DOMAIN": "bot.example.org"}, "not cover bot.example.org"),
    ("E007", {**SERVES_TLS, "SWML_SSL_DOMAIN": "192.0.2.1"}, "not cover 192.0.2.1"),
    (
        "E007",
        {**TLS, "SWML_TRUSTED_PROXIES": "", "SWML_SSL_DOMAIN": ""},
        "not cover bot.example.org",
    ),
    ("E008", {"SWML_PROXY_URL_BASE": "http://bot.example.org"}, "plain HTTP"),
    ("E009", {"SWML_STORAGE_URL": "redis://127.0.0.1:1/0"}, "does not accept a write"),
    ("E009", {"SWML_STORAGE_URL": "sqlite:////missing/directory/store.db"}, "cannot be created"),
    ("W001", {"SWML_BASIC_AUTH_USER": "", "SWML_BASIC_AUTH_PASSWORD": ""}, "No credentials"),
    ("W002", {"SWML_BASIC_AUTH_PASSWORD": "k9#Vt2!x"}, "fewer than 12"),
    ("W003", {"SWML_BASIC_AUTH_PASSWORD": "vktwqzbnmpl4"}, "fewer than three kinds"),
    ("W004", {"SIGNALWIRE_SWAIG_SECRET": "0123456789abcdef-secret"}, "SWAIG_SECRET can be guessed"),
    ("W004", {"SIGNALWIRE_SWAIG_SECRET": "aaaaaaaaaaaaaaaaaaaaaaaa"}, "80 bits"),
    ("W004", {"SIGNALWIRE_SWAIG_SECRET": "changeme-changeme-changeme"}, "common words"),
    ("W004", {"SIGNALWIRE_SIGNING_KEY": "kq7w"}, "SIGNING_KEY can be guessed"),
    ("W004", {"SIGNALWIRE_SWAIG_SECRET_FALLBACKS": "x1x1x1x1x1x1x1x1"}, "SECRET_FALLBACKS can"),
    ("W005", {"SIGNALWIRE_SWAIG_SECRET_FALLBACKS": f"{SECRET},{EARLIER}"}, "SWAIG_SECRET_FALLB"),
    ("W005", {"SWML_BASIC_AUTH_PASSWORD_FALLBACKS": f"{PASSWORD},{EARLIER}"}, "PASSWORD_FALLB"),
    ("W006", {"SIGNALWIRE_SIGNING_KEY": SECRET}, "SIGNALWIRE_SWAIG_SECRET and SIGNALWIRE_SIGN"),
    ("W006", {"SIGNALWIRE_SWAIG_SECRET_FALLBACKS": SIGNING_KEY}, "SECRET_FALLBACKS and SIGNALWIRE"),
    ("W006", {"SWML_BASIC_AUTH_PASSWORD_FALLBACKS": SECRET}, "SIGNALWIRE_SWAIG_SECRET and SWML_B"),
    (
        "W006",
        {"SIGNALWIRE_SWAIG_SECRET_FALLBACKS": EARLIER, "SIGNALWIRE_SIGNING_KEY_FALLBACKS": EARLIER},
        "_FALLBACKS and SIGNALWIRE_SIGNING_KEY_FALLBACKS",
    ),
    ("W007", DIRECT, "credentials travel in clear"),
    ("W009", {"SIGNALWIRE_SIGNING_KEY": "", "SIGNALWIRE_SIGNING_KEY_FILE": "FILE"}, "mode 0644"),
    ("W010", {"SWML_CORS_ORIGINS": "*"}, "is '*'"),
    ("W010", {"SWML_CORS_ORIGINS": ""}, "is not set"),
    ("W010", {"SWML_CORS_ORIGINS": "https://a.example,https://*.co.uk"}, "https://*.co.uk: any"),
    ("W010", {"SWML_CORS_ORIGINS": "https://*.GitHub.io:443"}, "https://*.github.io: anyone"),
    ("W011", {"SWML_CORS_ORIGINS": "http://*.a.example,https://b.example"}, "1 of 2 origins"),
    ("W011", {"SWML_CORS_ORIGINS": "https://a.example,http://b.example"}, "1 of 2 origins"),
    ("W012", {"SWML_AUTH_FAILURE_LIMIT": ""}, "5,000 times a minute"),
    ("W012", {"SWML_AUTH_FAILURE_LIMIT": "0", "SWML_RATE_LIMIT": "0"}, "without limit"),
    ("W013", {"SWML_AUTH_FAILURE_LIMIT": "101"}, "101 wrong passwords"),
    ("W014", {"SWML_RATE_LIMIT": "10001"}, "10,001 requests"),
    ("W015", {"SWML_RATE_LIMIT": "120"}, "request 121 of a minute"),
    ("W016", {"SWML_TRUSTED_PROXIES": ""}, "all clients share one limit"),
    ("W017", {"SWML_ALLOWED_HOSTS": "*"}, "contains '*'"),
    ("W017", {"SWML_ALLOWED_HOSTS": ""}, "is not set"),
    ("W017", {"SWML_ALLOWED_HOSTS": "bot.example.org,*.com"}, "top-level domain"),
    ("W018", {"SWML_MAX_REQUEST_SIZE": "16777217"}, "16,777,217 bytes"),
    ("W019", {**DIRECT, "SWML_SSL_DOMAIN": "bot.example.org"}, "names the public URL"),
    ("W019", {"SWML_PROXY_URL_BASE": "https://localhost"}, "this machine"),
    ("W019", {"SWML_PROXY_URL_BASE": "https://127.0.0.1:8443"}, "this machine"),
    ("W020", {"SIGNALWIRE_LOG_LEVEL": "debug"}, "is DEBUG"),
    ("W020", {"SIGNALWIRE_LOG_LEVEL": ""}, "is not set"),
    (
        "W020",
        {"SIGNALWIRE_LOG_LEVEL": "info"},
        "is INFO; below WARNING, records describe each request. With warn, the server commands "
        "still record each call.",
    ),
    ("W021", {"SIGNALWIRE_SWAIG_SECRET": ""}, "signs tool tokens"),
    ("W022", {"SWML_ALLOW_PER_PROCESS_STATE": "true"}, "SWML_ALLOW_PER_PROCESS_STATE"),
    ("W023", {"SIGNALWIRE_SIGNING_KEY": ""}, "need no signature"),
    ("W024", {"SWML_TRUSTED_PROXIES": "10.0.0.1,10.0.0.0/8"}, "(10.0.0.0/8)"),
    ("W024", {"SWML_TRUSTED_PROXIES": "fd00::/8"}, "(fd00::/8)"),
    ("W025", {"SWML_TRUSTED_PROXIES": "2"}, "is a number"),
    (
        "W025",
        {"SWML_TRUSTED_PROXIES": "", "SWML_TRUST_PROXY_HEADERS": "true"},
        "SWML_TRUST_PROXY_HEADERS",
    ),
    ("W026", {"SWML_TRUSTED_PROXIES": "", "SWML_ALLOWED_CLIENTS": "192.0.2.0/24"}, "are refused"),
    ("W027", {"SWML_TRUSTED_PROXIES": "", "SWML_ENFORCE_HTTPS": "true"}, "request is refused"),
    ("W028", {**SERVES_TLS, "SWML_ENFORCE_HTTPS": "false"}, "over plain HTTP"),
    ("W029", {"SWML_HSTS_MAX_AGE": "60"}, "no HSTS is sent"),
    ("W029", {"SWML_HSTS_MAX_AGE": "0", "SWML_USE_HSTS": "true"}, "forget HSTS"),
    ("W030", {"SWML_RATELIMIT": "k9#Vt2!x"}, "did you mean SWML_RATE_LIMIT?"),
    ("W031", WORKERS, "4 workers each have their own state"),
    ("W031", {**WORKERS, "SIGNALWIRE_SWAIG_SECRET": "", "SWML_RATE_LIMIT": ""}, "set SIGNALWIRE"),
    ("W031", {"GUNICORN_CMD_ARGS": "-w 2"}, "or set SWML_STORAGE_URL"),
    ("W031", {**OURS, "SWML_STORAGE_URL": "memory://"}, "without memory://"),
    ("W032", {"SWML_ALLOWED_CLIENTS": "0.0.0.0/0,::/0"}, "0.0.0.0/0, ::/0"),
    ("I001", {"SIGNALWIRE_LOG_LEVEL": "critical"}, "is CRITICAL"),
    ("I006", {"SWML_RATE_LIMIT": ""}, "only failed authentications"),
]
#: The number of a finding, and variables with which it is not found.
NOT_FOUND = [
    ("E001", {"SWML_BASIC_AUTH_USER": "", "SWML_BASIC_AUTH_PASSWORD": ""}),
    ("E002", {"SWML_BASIC_AUTH_PASSWORD": "a-tester-of-passwords"}),
    ("E003", {"SWML_BASIC_AUTH_PASSWORD": "platform-7Rk-unrelated"}),
    ("E004", SERVES_TLS),
    ("E005", SERVES_TLS),
    ("E006", SERVES_TLS),
    ("E007", SERVES_TLS),
    ("E007", {**SERVES_TLS, "SWML_SSL_DOMAIN": "127.0.0.1"}),
    ("E007", {**TLS, "SWML_SSL_DOMAIN": ""}),
    ("E009", {"SWML_STORAGE_URL": "memory://"}),
    ("E009", {"SWML_STORAGE_URL": "sqlite:///store-of-a-check.db"}),
    ("W003", {"SWML_BASIC_AUTH_PASSWORD": "vktwqzbnmpl-qrstz-wvu"}),
    ("W003", {"SWML_BASIC_AUTH_PASSWORD": "0f4d1b7a9c3e5d8f2a6b0c9d7e1f3a5b"}),
    ("W004", {"SIGNALWIRE_SWAIG_SECRET": "0f4d1b7a9c3e5d8f2a6b0c9d7e1f3a5b"}),
    ("W004", {"SIGNALWIRE_SWAIG_SECRET_FALLBACKS": EARLIER}),
    ("W005", {"SIGNALWIRE_SWAIG_SECRET_FALLBACKS": EARLIER}),
    ("W007", {**DIRECT, "SWML_SSL_DOMAIN": "bot.example.org"}),
    ("W007", SERVES_TLS),
    ("W008", SERVES_TLS),
    ("W009", SERVES_TLS),
    ("W010", {"SWML_CORS_ORIGINS": "", "SWML_CSRF_PROTECTION": "true"}),
    ("W010", {"SWML_CORS_ORIGINS": "https://*.example.org,https://*.example.co.uk"}),
    ("W010", {"SWML_CORS_ORIGINS": "https://*.me.github.io,https://me.github.io"}),
    ("W011", {"SWML_CORS_ORIGINS": "https://*.example.org"}),
    ("W013", {"SWML_AUTH_FAILURE_LIMIT": "100"}),
    ("W014", {"SWML_RATE_LIMIT": "10000"}),
    ("W015", {"SWML_RATE_LIMIT": "1000"}),
    ("W016", {"SWML_TRUSTED_PROXIES": "", "SWML_AUTH_FAILURE_LIMIT": "", "SWML_RATE_LIMIT": ""}),
    ("W018", {"SWML_MAX_REQUEST_SIZE": "16777216"}),
    ("W019", SERVES_TLS),
    ("W019", {"SWML_PROXY_URL_BASE": ""}),
    ("W024", {"SWML_TRUSTED_PROXIES": "10.1.0.0/16,fd00::/64,unix"}),
    ("W026", {"SWML_ALLOWED_CLIENTS": "192.0.2.0/24"}),
    ("W027", {"SWML_ENFORCE_HTTPS": "true"}),
    ("W027", SERVES_TLS),
    ("W028", SERVES_TLS),
    ("W029", {"SWML_HSTS_MAX_AGE": "60", "SWML_USE_HSTS": "true"}),
    ("W030", {"SIGNALWIRE_PROJECT_ID": "x"}),
    ("W031", OURS),
    ("W031", {**WORKERS, "SWML_STORAGE_URL": "sqlite:///store-of-a-check.db"}),
    ("W031", {**WORKERS, "SWML_ALLOW_PER_PROCESS_STATE": "true"}),
    ("W031", {**WORKERS, "GUNICORN_CMD_ARGS": "--preload"}),
    ("W031", {"GUNICORN_CMD_ARGS": "'"}),
    ("W031", {"WEB_CONCURRENCY": "1"}),
    ("W006", {"SIGNALWIRE_SWAIG_SECRET_FALLBACKS": EARLIER}),
    ("W017", {"SWML_ALLOWED_HOSTS": "*.example.org"}),
    ("W032", {"SWML_ALLOWED_CLIENTS": "10.0.0.0/8,192.0.2.7,fd00::/48"}),
    ("I001", {"SIGNALWIRE_LOG_LEVEL": "info"}),
    ("I006", {"SWML_RATE_LIMIT": "", "SWML_AUTH_FAILURE_LIMIT": ""}),
]


def environ(changes):
    return {name: value for name, value in {**GOOD, **changes}.items() if value}


def ids(found):
    return [each.id.removeprefix("swaig.") for each in found]


@pytest.fixture
def readable_file(tmp_path):
    path = tmp_path / "signing-key"
    path.write_text(SIGNING_KEY)
    path.chmod(0o644)
    return str(path)


def test_good_settings_have_no_findings():
    assert check_environ(GOOD) == []
    assert check_environ(environ(SERVES_TLS)) == []


@pytest.mark.parametrize(("number", "changes", "words"), FOUND)
def test_each_finding_is_present(number, changes, words, readable_file):
    variables = environ(changes)
    variables = {k: readable_file if v == "FILE" else v for k, v in variables.items()}
    found = [each for each in check_environ(variables) if each.id == f"swaig.{number}"]
    assert words in " ".join(each.message for each in found)
    finding = found[0]
    assert finding.severity == {"E": "error", "W": "warning", "I": "info"}[number[0]]
    assert finding.line
    assert finding.link.startswith("docs/")


@pytest.mark.parametrize(("number", "changes"), NOT_FOUND)
def test_each_finding_is_absent(number, changes):
    assert number not in ids(check_environ(environ(changes)))


def test_every_finding_on_settings_is_tested():
    # Those of agents and of the probe have tests of their own.
    elsewhere = {"E010", "E011", "W008", "W033", "W034"}
    elsewhere |= {"I002", "I003", "I004", "I005", "I007", "I008"}
    numbers = {id.removeprefix("swaig.") for id in CATALOG}
    assert {number for number, *_ in FOUND} | elsewhere == {n for n in numbers if n[1] == "0"}


@pytest.mark.parametrize(("days", "found"), [(31, False), (29, True), (0.5, True)])
def test_a_certificate_expires_soon(monkeypatch, days, found):
    end = _certificates.ssl.cert_time_to_seconds("Jan  1 00:00:00 2120 GMT")
    clock = SimpleNamespace(time=lambda: end - days * 86_400)
    monkeypatch.setattr(_certificates, "time", clock)
    messages = [each.message for each in check_environ(environ(SERVES_TLS))]
    assert len(messages) == found
    assert all(f"expires in {int(days)} days" in text for text in messages)


def test_a_run_has_all_findings_the_worst_first():
    changes = {
        "PORT": "no-port",
        "SWML_BASIC_AUTH_USER": "a:b",
        "SWML_RATE_LIMIT": "many",
        "SWML_SSL_ENABLED": "perhaps",
        "SWML_ALLOWED_HOSTS": "*",
        "SIGNALWIRE_LOG_LEVEL": "error",
        "SIGNALWIRE_SWAIG_SECRET": "short",
    }
    found = check_environ(environ(changes))
    assert ids(found) == ["E001"] * 5 + ["W017", "I001"]
    named = [each.message.partition(":")[0] for each in found[:5]]
    assert set(named) == changes.keys() - {"SWML_ALLOWED_HOSTS", "SIGNALWIRE_LOG_LEVEL"}


@pytest.mark.parametrize(
    ("variable", "content", "words"),
    [
        ("SIGNALWIRE_SWAIG_SECRET", "short", "at least 16"),
        ("SIGNALWIRE_SWAIG_SECRET_FALLBACKS", "short", "at least 16"),
        ("SIGNALWIRE_SIGNING_KEY", "two\nlines", "printable text"),
        ("SIGNALWIRE_SIGNING_KEY_FALLBACKS", EARLIER, "no signature would be required"),
        ("SWML_STORAGE_URL", "ftp://127.0.0.1", "expected"),
        ("SIGNALWIRE_SWAIG_SECRET", "", "the file it names is empty"),
    ],
)
def test_an_invalid_value_in_a_file_hides_no_other_finding(tmp_path, variable, content, words):
    path = tmp_path / "secret"
    path.write_text(content)
    path.chmod(0o600)
    others = {
        "SWML_BASIC_AUTH_USER": "admin",
        "SWML_BASIC_AUTH_PASSWORD": "admin",
        "SWML_RATE_LIMIT": "20000",
        "SWML_ALLOWED_HOSTS": "*",
        "PORT": "no-port",
        "SIGNALWIRE_SIGNING_KEY": "",
    }
    found = check_environ(environ({**others, variable: "", f"{variable}_FILE": str(path)}))
    (invalid,) = [each for each in found if variable in each.message]
    assert words in invalid.message
    assert invalid.line == f"unset {variable}_FILE"
    assert {"E001", "E003", "W014", "W017"} <= set(ids(found))
    assert not {"W001", "W021"} & set(ids(found))
    assert "SWML_ALLOWED_HOSTS contains '*'" in str(found)


@pytest.mark.parametrize("content", ["", "two\nlines"])
def test_an_invalid_password_file_is_one_finding(tmp_path, content):
    path = tmp_path / "password"
    path.write_text(content)
    path.chmod(0o600)
    variable = "SWML_BASIC_AUTH_PASSWORD"
    found = check_environ(environ({variable: "", f"{variable}_FILE": str(path), "PORT": "x"}))
    assert ids(found) == ["E001", "E001"]
    assert {each.line for each in found} == {f"unset {variable}_FILE", "unset PORT"}


def test_a_value_that_names_an_invalid_setting_is_found():
    found = check_environ(environ({"PORT": "x", "SWML_MAX_REQUEST_SIZE": "PORT"}))
    assert ids(found) == ["E001", "E001"]


def test_an_invalid_setting_is_not_also_a_missing_one():
    assert ids(check_environ(environ({"SWML_ALLOWED_HOSTS": "not a host"}))) == ["E001"]
    assert ids(check_environ(environ({"SIGNALWIRE_SWAIG_SECRET": "short"}))) == ["E001"]


def test_lines_to_paste_name_the_services_domain():
    found = check_environ(environ({"SWML_ALLOWED_HOSTS": ""}))
    assert [each.line for each in found] == ["SWML_ALLOWED_HOSTS=bot.example.org"]


def test_attack_no_finding_contains_a_secret(tmp_path):
    secrets = [PASSWORD, SECRET, SIGNING_KEY, EARLIER, "pw-of-store-77", "k9#Vt2!x", "short%key"]
    (tmp_path / "file").write_text(SECRET + "\n")
    os.chmod(tmp_path / "file", 0o644)
    attempts = [changes for _, changes, _ in FOUND] + [
        # Secrets in the wrong variable, and malformed ones.
        {name: secret}
        for secret in secrets
        for name in {**GOOD, **TLS, "SWML_STORAGE_URL": ""}
    ]
    attempts += [
        {"SWML_STORAGE_URL": "redis://:pw-of-store-77@127.0.0.1:1/0"},
        {"SWML_STORAGE_URL": "redis://u:pw-of-store-77@127.0.0.1:x/0"},
        {"SWML_PROXY_URL_BASE": f"https://u:{PASSWORD}@bot.example.org"},
        {"SWML_CORS_ORIGINS": f"https://u:{PASSWORD}@bot.example.org"},
        {"SIGNALWIRE_SWAIG_SECRET": "", "SIGNALWIRE_SWAIG_SECRET_FILE": str(tmp_path / "file")},
        {"SIGNALWIRE_SWAIG_SECRET": "", "SIGNALWIRE_SWAIG_SECRET_FILE": SECRET},
        {**SERVES_TLS, "SWML_SSL_KEY_PATH": (CERTS / "key.pem").read_text()},
    ]
    key_lines = (CERTS / "key.pem").read_text().splitlines()[1:-1]
    for changes in attempts:
        text = str(check_environ(environ(changes)))
        for secret in [*secrets, *key_lines]:
            assert secret not in text, changes


@pytest.mark.parametrize("separator", [",", ", ", " ", "\n", ",\t"])
def test_attack_no_part_of_an_invalid_list_is_shown(separator):
    for name in {*GOOD, *TLS, "SWML_ALLOWED_CLIENTS", "SWML_PROXY_KEEP", "PORT"}:
        value = f"a.example{separator}Zq9SecretVal77 x"
        assert "zq9secret" not in str(check_environ(environ({name: value}))).lower(), name


def test_a_secret_in_a_pipe_is_read_once():
    reading, writing = os.pipe()
    os.write(writing, SECRET.encode())
    os.close(writing)
    variable = "SIGNALWIRE_SWAIG_SECRET"
    try:
        assert (
            check_environ(environ({variable: "", f"{variable}_FILE": f"/dev/fd/{reading}"})) == []
        )
    finally:
        os.close(reading)


def test_a_store_that_can_be_written_is_left_as_it_was(tmp_path):
    path = tmp_path / "store.db"
    variables = environ({"SWML_STORAGE_URL": f"sqlite:///{path}"})
    assert check_environ(variables) == []
    assert not path.exists()  # the service's user creates it
    shutil.copy(_store_with_a_value(tmp_path), path)
    assert check_environ(variables) == []
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("select name from sqlite_master where type = 'table'")
        names = [name for (name,) in tables]
        counts = [connection.execute(f"select count(*) from {each}").fetchone() for each in names]  # noqa: S608 - the names are constants
    assert sum(count for (count,) in counts) >= 1


def _store_with_a_value(directory):
    from swaig_wsgi.stores import SQLiteStore

    store = SQLiteStore(directory / "other.db")
    store.set("kept", {"a": 1}, 1000)
    store.close()
    return directory / "other.db"


def test_a_store_that_is_no_database_is_found(tmp_path):
    path = tmp_path / "store.db"
    path.write_text("no database, but long enough to be taken for one" * 100)
    path.chmod(0o600)
    assert ids(check_environ(environ({"SWML_STORAGE_URL": f"sqlite:///{path}"}))) == ["E009"]


def test_a_store_in_valkey_is_tried(valkey_url):
    assert check_environ(environ({"SWML_STORAGE_URL": valkey_url})) == []


def test_mappings_and_settings_are_judged_alike():
    mapping = {"allowed_hosts": ["*"], "SWML_RATE_LIMIT": 20_000, "csrf_protection": True}
    expected = ["W001", "W007", "W019", "W012", "W014", "W017", "W020", "W021", "W023"]
    assert ids(check_mapping(mapping)) == expected
    assert ids(check_settings(Settings.from_mapping(mapping))) == expected
    found = check_mapping({**mapping, "rate_limit": "many", "no_such": 1, "SWML_RATE_LIMIT": ""})
    assert {each.message.partition(":")[0] for each in found[:2]} == {"SWML_RATE_LIMIT", "no_such"}


@pytest.mark.parametrize("value", [5, ["a b", 1], {"a": 1}, object(), b"bytes", ["s3cret word"]])
def test_values_of_a_wrong_type_are_invalid(value):
    for name in ("allowed_hosts", "swaig_secret", "basic_auth_password_fallbacks", "port"):
        found = check_mapping({name: value})
        text = str([each.message for each in found if each.id == "swaig.E001"])
        assert "s3cret" not in text
    assert "E001" in ids(check_mapping({"signing_key": value}))


def test_unknown_variables_are_warnings():
    (found,) = check_variables({"SWML_DOMAIN": "x", "SWML_PORT": ""})
    assert found.message.startswith("SWML_DOMAIN: a variable of the SDKs, ignored here;")
    assert found.line == "unset SWML_DOMAIN"


def test_every_setting_that_a_line_sets_is_valid():
    for kind in CATALOG.values():
        if "=" not in kind.line or not kind.line.startswith(("SWML_", "SIGNALWIRE_")):
            continue
        line = kind.line.partition("  #")[0].replace('"$(swaig-wsgi secret)"', EARLIER)
        variables = dict(part.split("=", 1) for part in line.split())
        try:
            Settings.from_env(environ(variables))
        except ConfigurationError as error:
            pytest.fail(f"{kind.id}: {error}")
