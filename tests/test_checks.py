from __future__ import annotations

import pytest

from swaig_wsgi.checks import check_settings, check_variables
from swaig_wsgi.config import Settings

GOOD = {
    "SWML_BASIC_AUTH_USER": "ann",
    "SWML_BASIC_AUTH_PASSWORD": "password-of-ann",
    "SWML_PROXY_URL_BASE": "https://agent.example.com",
    "SWML_CORS_ORIGINS": "https://app.example.com,https://admin.example.com",
    "SWML_RATE_LIMIT": "120",
    "SWML_TRUSTED_PROXIES": "10.0.0.1",
    "SWML_ALLOWED_HOSTS": "agent.example.com",
    "SIGNALWIRE_LOG_LEVEL": "warn",
    "SIGNALWIRE_SWAIG_SECRET": "0123456789abcdef-secret",
}
TLS = {
    "SWML_SSL_ENABLED": "true",
    "SWML_SSL_CERT_PATH": "/run/cert.pem",
    "SWML_SSL_KEY_PATH": "/run/key.pem",
}
#: No proxy is trusted.
DIRECT = {"SWML_TRUSTED_PROXIES": ""}


def findings(changes=None):
    variables = {**GOOD, **(changes or {})}
    return {finding.title: finding for finding in check_settings(Settings.from_env(variables))}


def test_findings_follow_the_checklist_of_the_sdks_security_guide():
    assert list(findings()) == [
        "credentials",
        "TLS",
        "CORS origins",
        "rate limit",
        "allowed hosts",
        "request size",
        "secure tools",
        "public URL",
        "log level",
        "signing secret",
        "health",
    ]


def test_recommended_settings_give_no_warning():
    statuses = {title: finding.status for title, finding in findings().items()}
    assert set(statuses.values()) == {"ok", "note"}
    assert [title for title in statuses if statuses[title] == "note"] == ["secure tools", "health"]


@pytest.mark.parametrize(
    ("changes", "title", "status", "text"),
    [
        (
            {"SWML_ALLOWED_CLIENTS": "192.0.2.0/24"},
            "allowed clients",
            "ok",
            "1 allowed",
        ),
        (
            {**DIRECT, "SWML_RATE_LIMIT": "", "SWML_ALLOWED_CLIENTS": "192.0.2.7"},
            "allowed clients",
            "warn",
            "SWML_TRUSTED_PROXIES",
        ),
        (DIRECT, "trusted proxies", "warn", "SWML_TRUSTED_PROXIES"),
        (
            {**DIRECT, "SWML_RATE_LIMIT": "", "SWML_AUTH_FAILURE_LIMIT": "10"},
            "trusted proxies",
            "warn",
            "SWML_TRUSTED_PROXIES",
        ),
        (
            {**DIRECT, "SWML_PROXY_URL_BASE": "", "SWML_ENFORCE_HTTPS": "true"},
            "HTTPS only",
            "warn",
            "SWML_TRUSTED_PROXIES",
        ),
        ({**TLS, "SWML_ENFORCE_HTTPS": "false"}, "HTTPS only", "warn", "SWML_ENFORCE_HTTPS"),
        ({"SWML_HSTS_MAX_AGE": "60"}, "HSTS", "warn", "SWML_USE_HSTS"),
    ],
)
def test_settings_that_work_only_together_have_findings(changes, title, status, text):
    found = list(findings(changes).values())
    assert len(found) == 12
    assert (found[-1].title, found[-1].status) == (title, status)
    assert text in found[-1].text


@pytest.mark.parametrize(
    "changes",
    [
        {**TLS},
        {**DIRECT, "SWML_PROXY_URL_BASE": ""},
        {**DIRECT, "SWML_RATE_LIMIT": ""},
        {"SWML_ENFORCE_HTTPS": "true"},
        {"SWML_HSTS_MAX_AGE": "60", "SWML_USE_HSTS": "true"},
        {"SWML_HSTS_MAX_AGE": "0", "SWML_SSL_DOMAIN": "a.example"},
        {"SWML_ENFORCE_HTTPS": "false"},
    ],
)
def test_settings_that_work_together_have_no_findings(changes):
    assert len(findings(changes)) == 11


def test_unknown_variables_are_named_without_their_values():
    found = check_variables({"SWML_RATELIMIT": "s3cret", "SWML_DOMAIN": "s3cret", **GOOD})
    assert [(each.status, each.title) for each in found] == [("warn", "variable")] * 2
    assert "SWML_SSL_DOMAIN" in found[0].text
    assert "did you mean SWML_RATE_LIMIT?" in found[1].text
    assert "s3cret" not in str(found)


def test_each_warning_names_the_variable_to_set():
    all_findings = check_settings(Settings())
    warnings = {item.title: item.text for item in all_findings if item.status == "warn"}
    assert {
        title: text.count("SWML_") + text.count("SIGNALWIRE_") for title, text in warnings.items()
    } == {
        "credentials": 2,
        "TLS": 4,
        "CORS origins": 1,
        "rate limit": 2,
        "allowed hosts": 1,
        "public URL": 1,
        "log level": 1,
        "signing secret": 1,
    }


@pytest.mark.parametrize(
    ("changes", "title", "status", "words"),
    [
        (
            {"SWML_BASIC_AUTH_USER": "", "SWML_BASIC_AUTH_PASSWORD": ""},
            "credentials",
            "warn",
            "each start",
        ),
        ({**TLS, "SWML_PROXY_URL_BASE": ""}, "TLS", "ok", "SWML_SSL_CERT_PATH"),
        ({**TLS, "SWML_SSL_KEY_PATH": ""}, "TLS", "warn", "SWML_SSL_KEY_PATH"),
        ({"SWML_PROXY_URL_BASE": "http://agent.example.com"}, "TLS", "warn", "in clear"),
        ({}, "TLS", "ok", "proxy in front"),
        (
            {"SWML_PROXY_URL_BASE": "", "SWML_SSL_DOMAIN": "agent.example.com"},
            "TLS",
            "ok",
            "proxy in front",
        ),
        ({"SWML_CORS_ORIGINS": "*"}, "CORS origins", "warn", "SWML_CORS_ORIGINS"),
        ({}, "CORS origins", "ok", "2 allowed"),
        (
            {"SWML_CORS_ORIGINS": "", "SWML_CSRF_PROTECTION": "true"},
            "CORS origins",
            "ok",
            "0 allowed",
        ),
        ({"SWML_RATE_LIMIT": "0"}, "rate limit", "warn", "SWML_RATE_LIMIT"),
        ({"SWML_RATE_LIMIT": "0"}, "rate limit", "warn", "SWML_AUTH_FAILURE_LIMIT"),
        ({}, "rate limit", "ok", "120 requests"),
        ({}, "rate limit", "ok", "SWML_AUTH_FAILURE_LIMIT"),
        (
            {"SWML_AUTH_FAILURE_LIMIT": "10", "SWML_RATE_LIMIT": ""},
            "rate limit",
            "ok",
            "10 failed authentications",
        ),
        ({"SWML_ALLOWED_HOSTS": "*"}, "allowed hosts", "warn", "SWML_ALLOWED_HOSTS"),
        ({"SWML_MAX_REQUEST_SIZE": "512"}, "request size", "ok", "512 bytes"),
        ({}, "request size", "ok", "SWML_MAX_REQUEST_SIZE"),
        ({"SWML_PROXY_URL_BASE": "http://agent.example.com"}, "public URL", "warn", "not https"),
        (
            {"SWML_PROXY_URL_BASE": "", "SWML_TRUSTED_PROXIES": "10.0.0.0/8"},
            "public URL",
            "ok",
            "trusted proxies",
        ),
        ({**TLS, **DIRECT, "SWML_PROXY_URL_BASE": ""}, "public URL", "ok", "speaks TLS itself"),
        ({**DIRECT, "SWML_PROXY_URL_BASE": ""}, "public URL", "warn", "SWML_PROXY_URL_BASE"),
        ({"SIGNALWIRE_LOG_LEVEL": "debug"}, "log level", "warn", "DEBUG; set"),
        ({"SIGNALWIRE_LOG_LEVEL": "warn"}, "log level", "ok", "WARNING"),
        ({"SIGNALWIRE_LOG_LEVEL": "error"}, "log level", "note", "ERROR hides"),
        ({"SIGNALWIRE_LOG_LEVEL": "critical"}, "log level", "note", "CRITICAL hides"),
        ({"SIGNALWIRE_SWAIG_SECRET": ""}, "signing secret", "warn", "SIGNALWIRE_SWAIG_SECRET"),
        (
            {"SIGNALWIRE_SWAIG_SECRET_FALLBACKS": "0123456789abcdef-old"},
            "signing secret",
            "ok",
            "1 older",
        ),
        (
            {"SWML_ALLOW_PER_PROCESS_STATE": "true"},
            "signing secret",
            "warn",
            "SWML_ALLOW_PER_PROCESS_STATE",
        ),
    ],
)
def test_each_finding_depends_on_its_settings(changes, title, status, words):
    finding = findings(changes)[title]
    assert finding.status == status
    assert words in finding.text


def test_findings_contain_no_secret():
    for changes in ({}, TLS, {"SIGNALWIRE_SWAIG_SECRET_FALLBACKS": "0123456789abcdef-old"}):
        text = str(findings(changes))
        for secret in ("password-of-ann", "'ann'", "0123456789abcdef"):
            assert secret not in text
