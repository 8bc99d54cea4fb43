"""Settings in which `swaig-wsgi check` finds nothing."""

from __future__ import annotations

PASSWORD = "mR7-tulip-Quartz-52"
SECRET = "Zk3vQ8-nYt1xW6bLs0dHc9Jf"
SIGNING_KEY = "Pq7uV2gRm5zXn8tKe4wYa1Co"
GOOD = {
    "SWML_BASIC_AUTH_USER": "platform",
    "SWML_BASIC_AUTH_PASSWORD": PASSWORD,
    "SWML_PROXY_URL_BASE": "https://bot.example.org",
    "SWML_CORS_ORIGINS": "https://app.example.org,https://admin.example.org",
    "SWML_AUTH_FAILURE_LIMIT": "10",
    "SWML_RATE_LIMIT": "5000",
    "SWML_TRUSTED_PROXIES": "10.0.0.1",
    "SWML_ALLOWED_HOSTS": "bot.example.org",
    "SIGNALWIRE_LOG_LEVEL": "warn",
    "SIGNALWIRE_SWAIG_SECRET": SECRET,
    "SIGNALWIRE_SIGNING_KEY": SIGNING_KEY,
}
