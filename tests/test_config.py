"""Settings: every variable is read, validated, and named in errors."""

from __future__ import annotations

import os
from dataclasses import Field, FrozenInstanceError, fields, replace
from pathlib import Path

import pytest

from swaig_wsgi import config
from swaig_wsgi.config import ConfigurationError, Settings, keep_secret_files
from swaig_wsgi.core.urls import as_configured

SECRET = "0123456789abcdef"


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.from_env({})
    assert settings == Settings()
    assert settings.rate_limit is None
    assert settings.trusted is None
    assert settings.basic_auth is None
    assert settings.proxy_headers == "x-forwarded"


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWML_RATE_LIMIT", "30")
    assert Settings.from_env().rate_limit == 30


def test_every_variable_is_read() -> None:
    settings = Settings.from_env(
        {
            "SWML_BASIC_AUTH_USER": "admin",
            "SWML_BASIC_AUTH_PASSWORD": "hunter2:ö",
            "SWML_BASIC_AUTH_PASSWORD_FALLBACKS": "hunter1,hunter0",
            "SWML_AUTH_FAILURE_LIMIT": "10",
            "SWML_ALLOWED_CLIENTS": "192.0.2.0/24, 2001:db8::7, ::ffff:198.51.100.7",
            "SWML_ENFORCE_HTTPS": "yes",
            "SWML_USE_HSTS": "true",
            "SWML_HSTS_MAX_AGE": "0",
            "SWML_SSL_ENABLED": "true",
            "SWML_SSL_CERT_PATH": "/etc/ssl/agent.pem",
            "SWML_SSL_KEY_PATH": "/etc/ssl/agent-key.pem",
            "SWML_SSL_DOMAIN": "Agent.Example.com",
            "SWML_CORS_ORIGINS": "https://app.example.com, https://admin.example.com:443",
            "SWML_CSRF_PROTECTION": "1",
            "SWML_RATE_LIMIT": "60",
            "SWML_ALLOWED_HOSTS": "agent.example.com,*.api.example.com,::1",
            "SWML_MAX_REQUEST_SIZE": "524288",
            "SWML_PROXY_URL_BASE": "https://agent.example.com/voice/",
            "SWML_TRUSTED_PROXIES": "10.0.0.0/8,unix",
            "SWML_TRUST_PROXY_HEADERS": "no",
            "SWML_PROXY_HEADERS": "Forwarded",
            "SIGNALWIRE_SWAIG_SECRET": SECRET,
            "SIGNALWIRE_SWAIG_SECRET_FALLBACKS": f"{SECRET}1,{SECRET}2",
            "SIGNALWIRE_SIGNING_KEY": "PSK",
            "SIGNALWIRE_SIGNING_KEY_FALLBACKS": "PSK-1\nPSK-0",
            "SWML_READY_WITHOUT_STORE": "true",
            "SWML_DRAIN_SECONDS": "15",
            "SWML_STORAGE_URL": "memory://",
            "SWML_ALLOW_PER_PROCESS_STATE": "on",
            "PORT": "8080",
            "SIGNALWIRE_LOG_LEVEL": "warn",
            "SIGNALWIRE_LOG_FORMAT": "JSON",
        }
    )
    assert settings == Settings(
        basic_auth_user="admin",
        basic_auth_password="hunter2:ö",
        basic_auth_password_fallbacks=("hunter1", "hunter0"),
        auth_failure_limit=10,
        allowed_clients=("192.0.2.0/24", "2001:db8::7/128", "198.51.100.7/32"),
        enforce_https=True,
        use_hsts=True,
        hsts_max_age=0,
        ssl_enabled=True,
        ssl_cert_path="/etc/ssl/agent.pem",
        ssl_key_path="/etc/ssl/agent-key.pem",
        ssl_domain="agent.example.com",
        cors_origins=("https://app.example.com", "https://admin.example.com"),
        csrf_protection=True,
        rate_limit=60,
        allowed_hosts=("agent.example.com", "*.api.example.com", "::1"),
        max_request_size=524288,
        proxy_url_base="https://agent.example.com/voice",
        trusted_proxies=("10.0.0.0/8", "unix"),
        trust_proxy_headers=False,
        proxy_headers="forwarded",
        swaig_secret=SECRET,
        swaig_secret_fallbacks=(f"{SECRET}1", f"{SECRET}2"),
        signing_key="PSK",
        signing_key_fallbacks=("PSK-1", "PSK-0"),
        ready_without_store=True,
        drain_seconds=15,
        storage_url="memory://",
        allow_per_process_state=True,
        port=8080,
        log_level="WARNING",
        log_format="json",
    )
    assert all(getattr(settings, field.name) is not None for field in fields(settings))


@pytest.mark.parametrize("variable", [field.metadata["variable"] for field in fields(Settings)])
def test_an_empty_variable_is_unset(variable: str) -> None:
    assert Settings.from_env({variable: ""}) == Settings()


INVALID = [
    ("SWML_BASIC_AUTH_USER", "a:b"),
    ("SWML_BASIC_AUTH_PASSWORD", "a\nb"),
    ("SWML_BASIC_AUTH_PASSWORD_FALLBACKS", "hunter1,s3cret\x00"),
    ("SWML_AUTH_FAILURE_LIMIT", "-1"),
    ("SWML_ALLOWED_CLIENTS", ","),
    ("SWML_ALLOWED_CLIENTS", "agent.example.com"),
    ("SWML_ALLOWED_CLIENTS", "192.0.2.7/24"),
    ("SWML_ENFORCE_HTTPS", "always"),
    ("SWML_USE_HSTS", "31536000"),
    ("SWML_HSTS_MAX_AGE", "-1"),
    ("SWML_SSL_ENABLED", "ture"),
    ("SWML_SSL_DOMAIN", "https://agent.example.com"),
    ("SWML_SSL_DOMAIN", "agent.example.com:443"),
    ("SWML_CORS_ORIGINS", "app.example.com"),
    ("SWML_CORS_ORIGINS", "*,https://app.example.com"),
    ("SWML_CORS_ORIGINS", ","),
    ("SWML_CORS_ORIGINS", "https://*.com"),
    ("SWML_CORS_ORIGINS", "https://a.*.example.com"),
    ("SWML_CSRF_PROTECTION", "maybe"),
    ("SWML_RATE_LIMIT", "abc"),
    ("SWML_RATE_LIMIT", "-1"),
    ("SWML_RATE_LIMIT", "+5"),
    ("SWML_RATE_LIMIT", "1.5"),
    ("SWML_RATE_LIMIT", "1_000"),
    ("SWML_RATE_LIMIT", "٣"),
    ("SWML_RATE_LIMIT", "9" * 5000),
    ("SWML_ALLOWED_HOSTS", "agent example.com"),
    ("SWML_ALLOWED_HOSTS", " , "),
    ("SWML_MAX_REQUEST_SIZE", "0"),
    ("SWML_MAX_REQUEST_SIZE", "1 MB"),
    ("SWML_PROXY_URL_BASE", "agent.example.com"),
    ("SWML_PROXY_URL_BASE", "https://user:s3cret@agent.example.com"),
    ("SWML_TRUSTED_PROXIES", "10.0.0.0/33"),
    ("SWML_TRUSTED_PROXIES", "0"),
    ("SWML_TRUST_PROXY_HEADERS", "2"),
    ("SWML_PROXY_HEADERS", "both"),
    ("SIGNALWIRE_SWAIG_SECRET", "s3cret"),
    ("SIGNALWIRE_SWAIG_SECRET_FALLBACKS", f"{SECRET},s3cret"),
    ("SIGNALWIRE_SIGNING_KEY", "s3cret\x00"),
    ("SIGNALWIRE_SIGNING_KEY_FALLBACKS", "PSK,s3cret\x00"),
    ("SWML_READY_WITHOUT_STORE", "maybe"),
    ("SWML_DRAIN_SECONDS", "3601"),
    ("SWML_STORAGE_URL", "mysql://user:s3cret@host/"),
    ("SWML_ALLOW_PER_PROCESS_STATE", "y"),
    ("PORT", "65536"),
    ("PORT", "0"),
    ("SIGNALWIRE_LOG_LEVEL", "loud"),
    ("SIGNALWIRE_LOG_FORMAT", "xml"),
]


@pytest.mark.parametrize(("variable", "value"), INVALID)
def test_the_error_of_an_invalid_value_names_the_variable(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{variable}: ") as caught:
        Settings.from_env({variable: value})
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_user_without_a_password_and_vice_versa_raises() -> None:
    with pytest.raises(ConfigurationError, match="^SWML_BASIC_AUTH_PASSWORD: not set"):
        Settings.from_env({"SWML_BASIC_AUTH_USER": "admin"})
    with pytest.raises(ConfigurationError, match="^SWML_BASIC_AUTH_USER: not set"):
        Settings.from_env({"SWML_BASIC_AUTH_PASSWORD": "hunter2", "SWML_BASIC_AUTH_USER": ""})


def test_csrf_protection_with_any_origin_raises() -> None:
    with pytest.raises(ConfigurationError, match="^SWML_CSRF_PROTECTION: protects nothing"):
        Settings(csrf_protection=True, cors_origins="*")
    assert Settings(csrf_protection=True).cors_origins is None


def test_origins_may_be_patterns() -> None:
    origins = Settings.from_env({"SWML_CORS_ORIGINS": "https://*.Example.com:443,http://a.b"})
    assert origins.cors_origins == ("https://*.example.com", "http://a.b")
    assert replace(origins, csrf_protection=True).cors_origins == origins.cors_origins


def test_a_limit_of_zero_is_unlimited() -> None:
    assert Settings(auth_failure_limit=0).auth_failure_limit is None
    assert Settings.from_env({"SWML_RATE_LIMIT": "0"}).rate_limit is None


def test_named_proxies_override_the_number_of_hops() -> None:
    assert Settings.from_env({"SWML_TRUSTED_PROXIES": "2"}).trusted == 2
    assert Settings.from_env({"SWML_TRUST_PROXY_HEADERS": "true"}).trusted == 1
    both = {"SWML_TRUST_PROXY_HEADERS": "true", "SWML_TRUSTED_PROXIES": "10.0.0.1"}
    assert Settings.from_env(both).trusted == ("10.0.0.1",)


def test_secrets_can_be_read_from_files(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2 ö\r\n", encoding="utf-8")
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    settings = Settings.from_env(
        {
            "SWML_BASIC_AUTH_USER": "admin",
            "SWML_BASIC_AUTH_PASSWORD_FILE": str(tmp_path / "password"),
            "SIGNALWIRE_SWAIG_SECRET_FILE": str(tmp_path / "secret"),
            "SIGNALWIRE_SWAIG_SECRET": "",
        }
    )
    assert settings.basic_auth == ("admin", "hunter2 ö")
    assert settings.swaig_secret == SECRET


BOM = b"\xef\xbb\xbf"
MARKED = "begins with a byte order mark, which is ignored"
BLANK = "ends with white space, which is ignored"


@pytest.mark.parametrize(
    ("content", "warnings"),
    [
        (b"hunter2-hunter2-hunter2\n", []),
        (b"hunter2-hunter2-hunter2\r\n\r\n", []),
        (BOM + b"hunter2-hunter2-hunter2", [MARKED]),
        (b"hunter2-hunter2-hunter2 \n", [BLANK]),
        (b"hunter2-hunter2-hunter2\t \r\n", [BLANK]),
        (b"hunter2-hunter2-hunter2\n  \n", [BLANK]),
        (b"hunter2-hunter2-hunter2\xc2\xa0\n", [BLANK]),
        (BOM + b"hunter2-hunter2-hunter2 \r\n", [MARKED, BLANK]),
    ],
)
@pytest.mark.parametrize("variable", ["SIGNALWIRE_SWAIG_SECRET", "SIGNALWIRE_SIGNING_KEY"])
def test_a_byte_order_mark_and_trailing_white_space_are_ignored_and_named(
    content: bytes,
    warnings: list[str],
    variable: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    settings = Settings.from_env({f"{variable}_FILE": str(path)})
    assert (settings.swaig_secret or settings.signing_key) == "hunter2-hunter2-hunter2"
    assert caplog.messages == [f"{variable}_FILE: the file it names {text}" for text in warnings]
    assert all(record.levelname == "WARNING" for record in caplog.records)


def test_white_space_inside_and_before_a_secret_is_kept(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(" a key ")
    settings = Settings.from_env({"SIGNALWIRE_SIGNING_KEY_FILE": str(tmp_path / "key")})
    assert settings.signing_key == " a key"
    # In the variable itself, and in code, a value is taken as it is.
    assert Settings.from_env({"SIGNALWIRE_SIGNING_KEY": " a key "}).signing_key == " a key "


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n", BOM, BOM + b"\n", b" , \n"])
def test_an_empty_file_of_fallbacks_is_an_empty_list(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "fallbacks"
    path.write_bytes(content)
    path.chmod(0o600)
    lists = [each for each in fields(Settings) if each.metadata["secret"] and each.default == ()]
    assert len(lists) == 3
    for each in lists:
        settings = Settings.from_env({f"{each.metadata['variable']}_FILE": str(path)})
        assert getattr(settings, each.name) == ()


def test_every_secret_has_a_file_form(tmp_path: Path) -> None:
    secrets = [field for field in fields(Settings) if field.metadata["secret"]]
    assert {field.metadata["variable"] for field in secrets} == {
        "SWML_BASIC_AUTH_USER",
        "SWML_BASIC_AUTH_PASSWORD",
        "SWML_BASIC_AUTH_PASSWORD_FALLBACKS",
        "SIGNALWIRE_SWAIG_SECRET",
        "SIGNALWIRE_SWAIG_SECRET_FALLBACKS",
        "SIGNALWIRE_SIGNING_KEY",
        "SIGNALWIRE_SIGNING_KEY_FALLBACKS",
        "SWML_STORAGE_URL",
    }
    values = {"storage_url": "memory://", "swaig_secret_fallbacks": f"{SECRET}1\n{SECRET}2\n"}
    others = {
        "basic_auth_user": "SWML_BASIC_AUTH_PASSWORD",
        "basic_auth_password": "SWML_BASIC_AUTH_USER",
    }
    for field in secrets:
        variable = field.metadata["variable"]
        value = values.get(field.name, SECRET)
        path = tmp_path / field.name
        source = {f"{variable}_FILE": str(path)}
        with pytest.raises(ConfigurationError, match=f"^{variable}_FILE: cannot read"):
            Settings.from_env(source)
        path.write_text(value)
        if field.name in others:
            source[others[field.name]] = "other"
        read = getattr(Settings.from_env(source), field.name)
        assert read == (tuple(value.split()) if isinstance(read, tuple) else value)
        with pytest.raises(ConfigurationError, match=f"^{variable}: set both"):
            Settings.from_env({**source, variable: value})


@pytest.mark.skipif(os.name != "posix", reason="needs modes of files")
def test_attack_a_secret_file_that_others_may_write_is_rejected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mounted, data = tmp_path / "secret", tmp_path / "..data"
    data.write_text(SECRET)
    mounted.symlink_to(data)  # as Kubernetes mounts secrets
    for field in fields(Settings):
        if not field.metadata["secret"]:
            continue
        variable = f"{field.metadata['variable']}_FILE"
        for mode in (0o666, 0o660, 0o602):
            data.chmod(mode)
            with pytest.raises(ConfigurationError) as caught:
                Settings.from_env({variable: str(mounted)})
            assert str(caught.value).startswith(
                f"{variable}: the file it names can be written by other users (mode {mode:04o});"
            )
            assert SECRET not in str(caught.value)
    assert caplog.messages == []
    data.chmod(0o444)
    variables = {"SIGNALWIRE_SWAIG_SECRET_FILE": str(mounted)}
    assert Settings.from_env(variables).swaig_secret == SECRET
    assert caplog.messages == [
        "SIGNALWIRE_SWAIG_SECRET_FILE: the file it names can be read by other users (mode 0444)"
    ]


def test_the_error_for_a_secret_in_a_file_variable_does_not_contain_it() -> None:
    for variable in ("SIGNALWIRE_SWAIG_SECRET_FILE", "SIGNALWIRE_SIGNING_KEY_FILE"):
        with pytest.raises(ConfigurationError, match=f"^{variable}: ") as caught:
            Settings.from_env({variable: "s3cret-value-itself"})
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "secret",
    [
        f" {SECRET}",
        f"{SECRET} ",
        f"{SECRET}\r",
        f"{SECRET}, {SECRET}",
        f"{SECRET}\n{SECRET}",
        ",x" * 20,
    ],
)
def test_a_secret_that_could_not_become_a_fallback_is_rejected(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="^SIGNALWIRE_SWAIG_SECRET: .*FALLBACKS") as caught:
        Settings.from_env({"SIGNALWIRE_SWAIG_SECRET": secret})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("separator", [",", ", ", "\n", "\r\n", ",\n", "\n\n"])
def test_any_secret_can_become_a_fallback(separator: str) -> None:
    secrets = ("a secret with spaces: ü;.", SECRET, "=" * 16)
    for secret in secrets:
        assert Settings.from_env({"SIGNALWIRE_SWAIG_SECRET": secret}).swaig_secret == secret
    variables = {"SIGNALWIRE_SWAIG_SECRET_FALLBACKS": separator.join(secrets) + separator}
    assert Settings.from_env(variables).swaig_secret_fallbacks == secrets


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_an_empty_or_binary_secret_file_raises(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigurationError, match="^SIGNALWIRE_SIGNING_KEY_FILE: "):
        Settings.from_env({"SIGNALWIRE_SIGNING_KEY_FILE": str(tmp_path / "secret")})


@pytest.mark.parametrize(
    ("variable", "current", "older"),
    [
        ("SWML_BASIC_AUTH_PASSWORD", "s3cret-1", "s3cret-0"),
        ("SIGNALWIRE_SWAIG_SECRET", SECRET, f"{SECRET}-older"),
        ("SIGNALWIRE_SIGNING_KEY", "s3cret-1", "s3cret-0"),
    ],
)
def test_fallbacks_must_contain_another_value(variable: str, current: str, older: str) -> None:
    user = {"SWML_BASIC_AUTH_USER": "admin"} if "PASSWORD" in variable else {}
    variables = {variable: current, **user}
    field = variable.partition("_")[2].lower() + "_fallbacks"
    # During a rotation, the list contains both, so that each step changes one variable.
    both = Settings.from_env({**variables, f"{variable}_FALLBACKS": f"{older},{current}"})
    assert getattr(both, field) == (older, current)
    assert getattr(Settings.from_env({**variables, f"{variable}_FALLBACKS": ""}), field) == ()
    for same in (current, f"{current}\n{current}"):
        expected = f"^{variable}_FALLBACKS: expected .* other than that of {variable}$"
        with pytest.raises(ConfigurationError, match=expected) as caught:
            Settings.from_env({**variables, f"{variable}_FALLBACKS": same})
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("password", [" hunter2", "hunter2 ", "hunter2,", ",hunter2", "hunter2, "])
def test_attack_no_part_of_a_password_becomes_a_fallback(password: str) -> None:
    variables = {"SWML_BASIC_AUTH_USER": "admin", "SWML_BASIC_AUTH_PASSWORD": password}
    assert Settings.from_env(variables).basic_auth_password == password
    for fallbacks in ("hunter1", f"{password}\nhunter1"):
        with pytest.raises(ConfigurationError, match=r"FALLBACKS: .* cannot be listed") as caught:
            Settings.from_env({**variables, "SWML_BASIC_AUTH_PASSWORD_FALLBACKS": fallbacks})
        assert "hunter" not in str(caught.value)
    given = Settings(
        basic_auth_user="admin",
        basic_auth_password="new",
        basic_auth_password_fallbacks=[password],  # type: ignore[arg-type]
    )
    assert given.basic_auth_password_fallbacks == (password,)


@pytest.mark.parametrize("password", ["hunter2,x", "a, b", ",".join("hunter2")])
def test_a_password_with_commas_can_become_a_fallback_on_a_line_of_its_own(
    tmp_path: Path, password: str
) -> None:
    path = tmp_path / "fallbacks"
    before = {"SWML_BASIC_AUTH_USER": "admin", "SWML_BASIC_AUTH_PASSWORD": password}
    after = {**before, "SWML_BASIC_AUTH_PASSWORD": "hunter1"}
    path.touch(0o600)
    for text in (
        f"{password}\nhunter1",
        f"hunter1\r\n\r\n{password}\r\n",
        f"{password},\nhunter1,",
    ):
        path.write_text(text)
        # In both steps of a rotation the file has both.
        for variables in (before, after):
            from_file = {"SWML_BASIC_AUTH_PASSWORD_FALLBACKS_FILE": str(path)}
            settings = Settings.from_env({**variables, **from_file})
            assert set(settings.basic_auth_password_fallbacks) == {password, "hunter1"}
            assert len(settings.basic_auth_password_fallbacks) == 2
            given = {"SWML_BASIC_AUTH_PASSWORD_FALLBACKS": text}
            assert Settings.from_env({**variables, **given}) == settings


@pytest.mark.parametrize("fallbacks", ["hunter1", "hunter2,x,hunter1", "hunter2,x\n"])
def test_attack_no_part_of_a_password_with_a_comma_becomes_a_fallback(fallbacks: str) -> None:
    variables = {"SWML_BASIC_AUTH_USER": "admin", "SWML_BASIC_AUTH_PASSWORD": "hunter2,x"}
    expected = r"FALLBACKS: .* cannot be listed with commas; write each value on a line of its own$"
    with pytest.raises(ConfigurationError, match=expected) as caught:
        Settings.from_env({**variables, "SWML_BASIC_AUTH_PASSWORD_FALLBACKS": fallbacks})
    assert "hunter" not in str(caught.value)


def test_basic_auth_pairs_are_the_user_with_each_password() -> None:
    assert Settings().basic_auth_pairs is None
    assert Settings(basic_auth_password_fallbacks=["old"]).basic_auth_pairs is None
    current = Settings(basic_auth_user="user", basic_auth_password="new")
    assert current.basic_auth_pairs == (("user", "new"),)
    rotated = replace(current, basic_auth_password_fallbacks=("new", "old"))
    assert rotated.basic_auth_pairs == (("user", "new"), ("user", "old"))
    assert rotated.basic_auth == ("user", "new")


def test_signing_keys_are_the_key_and_its_fallbacks() -> None:
    assert Settings().signing_keys is None
    assert Settings(signing_key="new").signing_keys == ("new",)
    rotated = Settings.from_env(
        {"SIGNALWIRE_SIGNING_KEY": "new", "SIGNALWIRE_SIGNING_KEY_FALLBACKS": "new,old"}
    )
    assert rotated.signing_keys == ("new", "old")
    alone = Settings.from_env({"SIGNALWIRE_SIGNING_KEY_FALLBACKS": "s3cret"})
    with pytest.raises(ConfigurationError, match="^SIGNALWIRE_SIGNING_KEY_FALLBACKS: ") as caught:
        _ = alone.signing_keys
    assert "s3cret" not in str(caught.value)


def test_a_mapping_may_contain_fields_and_python_values() -> None:
    mapping = {"rate_limit": 30, "SWML_ALLOWED_HOSTS": ["a.example"], "ssl_enabled": True}
    expected = Settings(rate_limit=30, allowed_hosts=("a.example",), ssl_enabled=True)
    assert Settings.from_mapping(mapping) == expected


@pytest.mark.parametrize(
    "mapping",
    [
        {"SWML_RATE_LIMITS": 1},
        {"rate_limit": 1, "SWML_RATE_LIMIT": 1},
        {"rate_limit": True},
        {"rate_limit": 1.0},
        {"allowed_hosts": 5},
        {"allowed_hosts": [1]},
        {"ssl_enabled": 1},
        {"basic_auth_user": 1, "basic_auth_password": "x"},
        {"swaig_secret": b"0123456789abcdef"},
    ],
)
def test_an_invalid_mapping_raises(mapping: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Settings.from_mapping(mapping)


def test_replaced_values_are_validated() -> None:
    settings = Settings(rate_limit=5)
    assert replace(settings, rate_limit="7").rate_limit == 7
    with pytest.raises(ConfigurationError, match="^SWML_RATE_LIMIT"):
        replace(settings, rate_limit=-1)
    with pytest.raises(FrozenInstanceError):
        settings.rate_limit = 7  # type: ignore[misc]


def test_the_repr_contains_no_secret() -> None:
    settings = Settings(
        basic_auth_user="s3cret-user",
        basic_auth_password="s3cret",
        swaig_secret="s3cret" * 4,
        swaig_secret_fallbacks=("s3cret" * 5,),
        signing_key="s3cret",
    )
    assert "s3cret" not in repr(settings)


def test_kept_secret_files_are_those_that_were_last_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "_kept_files", {})
    key, fallbacks = tmp_path / "key", tmp_path / "fallbacks"
    key.write_text("the-first-key")
    fallbacks.write_text("")
    for path in (key, fallbacks):
        path.chmod(0o600)
    monkeypatch.setenv("SIGNALWIRE_SIGNING_KEY_FILE", str(key))
    monkeypatch.setenv("SIGNALWIRE_SIGNING_KEY_FALLBACKS_FILE", str(fallbacks))
    assert keep_secret_files().signing_key == "the-first-key"
    key.write_text("the-second-key")
    assert Settings.from_env().signing_key == "the-first-key"
    fallbacks.write_text("the-second-key")
    with pytest.raises(ConfigurationError, match="^SIGNALWIRE_SIGNING_KEY_FALLBACKS: "):
        keep_secret_files()
    assert Settings.from_env().signing_keys == ("the-first-key",)
    fallbacks.unlink()
    with pytest.raises(ConfigurationError, match="^SIGNALWIRE_SIGNING_KEY_FALLBACKS_FILE: "):
        keep_secret_files()
    assert Settings.from_env().signing_keys == ("the-first-key",)
    fallbacks.write_text("the-first-key")
    fallbacks.chmod(0o600)
    assert keep_secret_files().signing_keys == ("the-second-key", "the-first-key")
    monkeypatch.delenv("SIGNALWIRE_SIGNING_KEY_FILE")
    with pytest.raises(ConfigurationError, match="no signature would be required"):
        keep_secret_files()


def test_a_base_url_keeps_its_spelling():
    settings = Settings.from_env({"SWML_PROXY_URL_BASE": "https://Agent.Example.com/App/"})
    assert settings.proxy_url_base == "https://agent.example.com/App"
    for each in (settings, replace(settings, port=3000)):
        assert as_configured(each.proxy_url_base) == "https://Agent.Example.com/App"


def error_of(**given: object) -> str:
    """Return the message of the error about a setting, or an empty string."""
    try:
        Settings(**given)  # type: ignore[arg-type]
    except ConfigurationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("each", fields(Settings), ids=lambda each: each.name)
def test_attack_no_error_about_a_wrong_type_contains_the_value(each: Field[object]) -> None:
    value = "S3cr3tV4lue"
    for shape in ([[value]], value.encode(), [value, 1], {1: value}, ((1, value),)):
        assert value not in error_of(**{each.name: shape})
    if each.metadata["secret"]:
        for shape in (f"{value}\x00", f"{value},", (value, value), [""], {value: value}):
            assert value not in error_of(**{each.name: shape})


@pytest.mark.parametrize("name", [each.name for each in fields(Settings)])
@pytest.mark.parametrize(
    "url",
    [
        "https://platform:S3cr3tV4lue@bot.example.org/bank",
        "platform:S3cr3tV4lue@bot.example.org",
        "redis://:S3cr3tV4lue@redis.internal:6379/zero",
    ],
)
def test_attack_no_error_contains_the_password_of_a_misplaced_url(name: str, url: str) -> None:
    for shape in (url, [url]):
        assert "S3cr3tV4lue" not in error_of(**{name: shape})
