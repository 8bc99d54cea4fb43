import builtins
import contextlib
import os
import shutil
import socket
import ssl
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from support.wsgi import Recorder, request

from swaig_wsgi.config import ConfigurationError, Settings
from swaig_wsgi.middleware import harden
from swaig_wsgi.middleware.headers import HSTSMiddleware
from swaig_wsgi.tls import SslConfig

# Valid from 2020 to 2120, for localhost and 127.0.0.1. Only these tests trust them.
CERTS = Path(__file__).parent / "certs"
CERT, KEY = str(CERTS / "cert.pem"), str(CERTS / "key.pem")
VARIABLES = (
    "SWML_SSL_ENABLED",
    "SWML_SSL_CERT_PATH",
    "SWML_SSL_KEY_PATH",
    "SWML_SSL_DOMAIN",
    "SWML_USE_HSTS",
    "SWML_HSTS_MAX_AGE",
)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def tls(**arguments):
    return SslConfig(**{"enabled": True, "cert_path": CERT, "key_path": KEY, **arguments})


# Sources of the settings


def test_tls_is_disabled_by_default():
    config = SslConfig()
    assert (config.enabled, config.cert_path, config.key_path, config.domain) == (
        False,
        None,
        None,
        None,
    )
    assert (config.hsts, config.hsts_max_age) == (True, 31536000)
    assert not config.is_configured()
    assert config.get_cert() is None
    assert config.get_key() is None
    assert config.get_server_options() is None
    assert config.get_hsts_header() is None


def test_settings_default_to_the_environment(monkeypatch):
    monkeypatch.setenv("SWML_SSL_ENABLED", "true")
    monkeypatch.setenv("SWML_SSL_CERT_PATH", CERT)
    monkeypatch.setenv("SWML_SSL_KEY_PATH", KEY)
    monkeypatch.setenv("SWML_SSL_DOMAIN", "Agent.example.com")
    config = SslConfig()
    assert (config.enabled, config.cert_path, config.key_path) == (True, CERT, KEY)
    assert config.domain == "agent.example.com"
    config = SslConfig(enabled=False, cert_path="a.pem", key_path=Path("b.pem"), domain="b.example")
    assert (config.enabled, config.cert_path, config.key_path, config.domain) == (
        False,
        "a.pem",
        "b.pem",
        "b.example",
    )


def test_settings_default_to_a_settings_object(monkeypatch):
    monkeypatch.setenv("SWML_SSL_CERT_PATH", "other.pem")
    monkeypatch.setenv("SWML_SSL_DOMAIN", "other.example")
    settings = Settings(ssl_enabled=True, ssl_cert_path=CERT, ssl_key_path="settings.pem")
    config = SslConfig(key_path=KEY, settings=settings)
    assert (config.enabled, config.cert_path, config.key_path, config.domain) == (
        True,
        CERT,
        KEY,
        None,
    )


def test_an_empty_variable_is_unset(monkeypatch):
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")
    assert repr(SslConfig()) == (
        "SslConfig(enabled=False, cert_path=None, key_path=None, domain=None, hsts=True,"
        " hsts_max_age=31536000)"
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SWML_SSL_ENABLED", "maybe"),
        ("SWML_SSL_DOMAIN", "https://agent.example.com"),
        ("SWML_USE_HSTS", "perhaps"),
        ("SWML_HSTS_MAX_AGE", "-1"),
    ],
)
def test_the_error_for_an_invalid_variable_in_use_names_it(variable, value, monkeypatch):
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("SWML_RATE_LIMIT", "abc")
    with pytest.raises(ConfigurationError, match=variable):
        SslConfig()
    config = SslConfig(enabled=False, domain="agent.example.com", hsts=True, hsts_max_age=60)
    assert (config.enabled, config.domain) == (False, "agent.example.com")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"enabled": "maybe"}, "SWML_SSL_ENABLED"),
        ({"enabled": ""}, "enabled is empty"),
        ({"cert_path": ""}, "cert_path is empty"),
        ({"key_path": ""}, "key_path is empty"),
        ({"cert_path": "a\0b"}, "SWML_SSL_CERT_PATH"),
        ({"domain": ""}, "domain is empty"),
        ({"domain": "agent.example.com:443"}, "SWML_SSL_DOMAIN"),
        ({"domain": "a.example\r\nX: 1"}, "SWML_SSL_DOMAIN"),
        ({"hsts": "false"}, "hsts:"),
        ({"hsts_max_age": -1}, "hsts_max_age"),
        ({"hsts_max_age": "1; preload"}, "hsts_max_age"),
    ],
)
def test_the_error_for_an_invalid_value_names_it(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        SslConfig(**arguments)


def test_the_string_false_does_not_enable_tls():
    assert SslConfig(enabled="false").enabled is False


def test_construction_reads_no_file(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError(args)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", fail)
        patch.setattr("os.stat", fail)
        config = SslConfig(enabled=True, cert_path="/no/such.pem", key_path="/no/such.key")
    assert not config.is_configured()
    assert config.get_server_options() is None


# Files


def test_a_complete_configuration_returns_files_and_server_options():
    config = tls()
    assert config.is_configured()
    assert config.get_cert() == Path(CERT).read_text()
    assert config.get_key() == Path(KEY).read_text()
    assert config.get_server_options() == {"certfile": CERT, "keyfile": KEY}
    assert "PRIVATE" not in repr(config)


@pytest.mark.parametrize(
    "arguments",
    [
        {"enabled": False},
        {"cert_path": "/no/such.pem"},
        {"key_path": "/no/such.pem"},
        {"cert_path": str(CERTS)},
    ],
)
def test_an_incomplete_configuration_returns_no_server_options(arguments):
    config = tls(**arguments)
    assert not config.is_configured()
    assert config.get_server_options() is None


def test_the_error_for_an_unreadable_file_names_it(tmp_path):
    binary = tmp_path / "cert.der"
    binary.write_bytes(b"\x30\x82\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"SWML_SSL_CERT_PATH.*cert\.der.*not text"):
        tls(cert_path=binary).get_cert()
    with pytest.raises(ConfigurationError, match=r"SWML_SSL_KEY_PATH.*certs.*cannot be read"):
        tls(key_path=CERTS).get_key()


# HSTS


def test_the_hsts_header_is_configurable():
    assert tls().get_hsts_header() == "max-age=31536000; includeSubDomains"
    assert tls(hsts_max_age=60).get_hsts_header() == "max-age=60; includeSubDomains"
    assert tls(hsts=False).get_hsts_header() is None
    # A proxy may terminate TLS.
    config = SslConfig(domain="agent.example.com")
    assert config.get_hsts_header() == "max-age=31536000; includeSubDomains"


def sent(app, scheme, host):
    response = request(app, headers={"Host": host}, wsgi_url_scheme=scheme)
    return response.headers.get("Strict-Transport-Security")


def test_the_hsts_middleware_sends_the_header_over_https():
    wrapped = tls(hsts_max_age=60).hsts_middleware(Recorder())
    assert isinstance(wrapped, HSTSMiddleware)
    assert sent(wrapped, "https", "any.example") == "max-age=60; includeSubDomains"
    assert sent(wrapped, "http", "any.example") is None


def test_a_domain_limits_hsts_to_its_host():
    wrapped = tls(domain="agent.example.com").hsts_middleware(Recorder())
    assert sent(wrapped, "https", "agent.example.com:3000") is not None
    assert sent(wrapped, "https", "other.example.com") is None


@pytest.mark.parametrize("config", [{}, {"enabled": True, "hsts": False}])
def test_hsts_is_not_sent_if_disabled(config):
    assert sent(SslConfig(**config).hsts_middleware(Recorder()), "https", "any.example") is None


@pytest.mark.parametrize(
    ("variables", "arguments", "header"),
    [
        ({}, {"hsts": True}, "max-age=31536000; includeSubDomains"),
        ({"SWML_USE_HSTS": "true"}, {}, "max-age=31536000; includeSubDomains"),
        ({"SWML_USE_HSTS": "true"}, {"hsts": False}, None),
        ({"SWML_USE_HSTS": "false"}, {"enabled": True, "domain": "a.example"}, None),
        ({"SWML_USE_HSTS": "false"}, {"hsts": True}, "max-age=31536000; includeSubDomains"),
        ({"SWML_HSTS_MAX_AGE": "60"}, {"enabled": True}, "max-age=60; includeSubDomains"),
        ({"SWML_HSTS_MAX_AGE": "60"}, {"enabled": True, "hsts_max_age": 0}, "max-age=0"),
        ({"SWML_HSTS_MAX_AGE": "60"}, {}, None),
    ],
)
def test_the_arguments_of_hsts_default_to_the_environment(
    variables, arguments, header, monkeypatch
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config = SslConfig(**arguments)
    assert config.get_hsts_header() == header
    for app in (config.hsts_middleware(Recorder()), harden(Recorder(), config.settings)):
        assert sent(app, "https", "a.example") == header
        assert sent(app, "http", "a.example") is None


@pytest.mark.installed
@pytest.mark.parametrize(
    ("arguments", "header"),
    [
        ({"enabled": True}, "max-age=31536000; includeSubDomains"),
        ({"enabled": True, "domain": "a.example", "hsts": False}, None),
        ({"hsts": True, "hsts_max_age": 60}, "max-age=60; includeSubDomains"),
        ({"domain": "a.example", "hsts_max_age": 0}, "max-age=0"),
    ],
)
def test_agents_take_the_settings_of_a_configuration(arguments, header):
    from swaig_wsgi import AgentApp, AgentServer

    settings = SslConfig(**arguments).settings
    for app in (AgentApp("a", settings=settings), AgentServer(settings=settings)):
        assert sent(app, "https", "a.example") == header
        assert sent(app, "http", "a.example") is None


def test_the_settings_of_a_configuration_contain_all_others(monkeypatch):
    given = Settings(rate_limit=5, ssl_domain="a.example")
    assert SslConfig(hsts=False, settings=given).settings == replace(given, use_hsts=False)
    monkeypatch.setenv("SWML_RATE_LIMIT", "7")
    config = SslConfig(enabled=True, cert_path=Path("c.pem"), hsts_max_age=60)
    assert config.settings == Settings(
        rate_limit=7, ssl_enabled=True, ssl_cert_path="c.pem", hsts_max_age=60
    )
    monkeypatch.setenv("SWML_RATE_LIMIT", "abc")
    with pytest.raises(ConfigurationError, match="SWML_RATE_LIMIT"):
        config.settings  # noqa: B018


# Files that cannot be served


def broken_body(text):
    lines = text.splitlines()
    lines[1] = "AAAA" + lines[1][4:]
    return "\n".join(lines) + "\n"


def test_a_context_needs_tls_enabled():
    with pytest.raises(ConfigurationError, match="SWML_SSL_ENABLED"):
        tls(enabled=False).create_context()


@pytest.mark.parametrize(
    ("unset", "variable"),
    [("cert_path", "SWML_SSL_CERT_PATH: not set"), ("key_path", "SWML_SSL_KEY_PATH: not set")],
)
def test_a_context_needs_both_files(unset, variable):
    with pytest.raises(ConfigurationError, match=variable):
        tls(**{unset: None}).create_context()


@pytest.mark.parametrize(
    ("name", "variable"), [("cert_path", "SWML_SSL_CERT_PATH"), ("key_path", "SWML_SSL_KEY_PATH")]
)
def test_the_error_for_an_unusable_file_names_file_and_variable(name, variable, tmp_path):
    file = tmp_path / "the-file.pem"

    def error():
        with pytest.raises(ConfigurationError) as caught:
            tls(**{name: file}).create_context()
        assert str(caught.value).startswith(f"{variable}: the file {str(file)!r} ")
        assert caught.value.__cause__ is None
        return str(caught.value)

    assert "No such file" in error()
    file.write_text("")
    assert "no PEM" in error()
    file.write_text("hello\n")
    assert "no PEM" in error()
    file.write_text(Path(KEY if name == "cert_path" else CERT).read_text())
    assert "no PEM" in error()
    file.write_bytes(b"\x30\x82\xff")
    assert "not text" in error()
    file.write_text(broken_body(Path(CERT if name == "cert_path" else KEY).read_text()))
    assert ("broken PEM" if name == "cert_path" else "cannot serve") in error()
    file.unlink()
    file.mkdir()
    assert "cannot be read" in error()


def test_the_error_for_a_file_without_permission_names_its_variable(monkeypatch):
    real = builtins.open

    def guarded(path, *args, **kwargs):
        if path == KEY:
            raise PermissionError(13, "Permission denied", path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", guarded)
    with pytest.raises(ConfigurationError, match=r"SWML_SSL_KEY_PATH.*Permission denied"):
        tls().create_context()


@pytest.mark.skipif(os.name != "posix", reason="needs modes of files")
def test_attack_a_key_that_others_may_write_is_rejected(tmp_path, caplog):
    key = tmp_path / "key.pem"
    shutil.copy(KEY, key)
    (tmp_path / "link.pem").symlink_to(key)
    config = tls(key_path=tmp_path / "link.pem")
    for mode in (0o666, 0o620):
        key.chmod(mode)
        for read in (config.create_context, config.get_key):
            with pytest.raises(ConfigurationError) as caught:
                read()
            assert str(caught.value).startswith(
                f"SWML_SSL_KEY_PATH: the file {str(tmp_path / 'link.pem')!r} can be written by"
            )
    assert caplog.messages == []
    key.chmod(0o640)
    assert isinstance(config.create_context(), ssl.SSLContext)
    assert "link.pem' can be read by other users (mode 0640)" in caplog.text


def test_the_key_of_another_certificate_is_rejected():
    with pytest.raises(ConfigurationError, match="is not the key of the certificate") as caught:
        tls(key_path=CERTS / "other-key.pem").create_context()
    assert "SWML_SSL_KEY_PATH" in str(caught.value)
    assert "other-key.pem" in str(caught.value)


def test_an_encrypted_key_is_rejected_without_a_prompt_for_its_passphrase():
    # Without the password callback, OpenSSL would prompt on the terminal.
    with pytest.raises(ConfigurationError, match=r"SWML_SSL_KEY_PATH.*is encrypted"):
        tls(key_path=CERTS / "encrypted-key.pem").create_context()


def test_error_messages_do_not_contain_the_key(tmp_path):
    file = tmp_path / "key.pem"
    file.write_text(broken_body(Path(KEY).read_text()))
    with pytest.raises(ConfigurationError) as caught:
        tls(key_path=file).create_context()
    for line in Path(KEY).read_text().splitlines()[1:-1]:
        assert line not in str(caught.value)
        assert line[4:] not in str(caught.value)


def test_a_file_removed_while_loading_is_a_configuration_error(tmp_path, monkeypatch):
    file = tmp_path / "key.pem"
    shutil.copy(KEY, file)
    config = tls(key_path=file)
    real = ssl.create_default_context

    def remove_file(purpose):
        file.unlink()
        return real(purpose)

    monkeypatch.setattr(ssl, "create_default_context", remove_file)
    with pytest.raises(ConfigurationError, match=r"SWML_SSL_KEY_PATH.*key\.pem"):
        config.create_context()


# The context


def test_the_context_is_hardened():
    context = tls().create_context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.verify_mode == ssl.CERT_NONE
    names = [cipher["name"] for cipher in context.get_ciphers()]
    assert names
    for name in names:
        assert name.startswith(("TLS_", "ECDHE-"))
        assert "GCM" in name or "CHACHA20" in name or "CCM" in name


@contextlib.contextmanager
def serving(context):
    """Serve one connection on loopback; yield its port and the list of errors."""
    errors = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(60)

    def serve():
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(60)
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.sendall(b"hello")
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], errors
    finally:
        thread.join(60)
        listener.close()
    assert not thread.is_alive()


def connect(port, client):
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
        client.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        return secured.version(), secured.recv(5)


@pytest.mark.parametrize(
    ("version", "name"),
    [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")],
)
def test_a_client_can_connect(version, name):
    client = ssl.create_default_context(cafile=CERT)
    client.minimum_version = client.maximum_version = version
    with serving(tls().create_context()) as (port, errors):
        assert connect(port, client) == (name, b"hello")
    assert errors == []


def is_rejected(client):
    with serving(tls().create_context()) as (port, errors):
        try:
            connect(port, client)
        except OSError as error:
            failure = error
        else:
            failure = None
    return failure is not None and len(errors) == 1


def test_a_client_below_tls_1_2_is_rejected():
    client = ssl.create_default_context(cafile=CERT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version = ssl.TLSVersion.TLSv1
        client.maximum_version = ssl.TLSVersion.TLSv1_1
    # The client accepts the version, so that the server has to reject it.
    client.set_ciphers("ALL:@SECLEVEL=0")
    assert is_rejected(client)


def test_a_client_without_authenticated_encryption_is_rejected():
    client = ssl.create_default_context(cafile=CERT)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-ECDSA-AES256-SHA384")
    assert is_rejected(client)
