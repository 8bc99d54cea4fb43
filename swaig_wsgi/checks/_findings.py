"""What a check can find: the table of all kinds of findings, and one finding.

The table is text, because it is read as one: with ``docs/checklist.md`` beside it, which a test
holds to it. Of each kind it has the number (E for errors, W for warnings, I for facts), the item of
the guide's checklist, and the page of the docs; then what was found; then a line to paste into the
environment, a shell or the application.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

#: The worst first.
SEVERITIES = ("error", "warning", "info")

#: The items of the "Production Checklist" section of the SDK's guide.
POINTS = (
    "Set explicit basic-auth credentials",
    "Enable SSL/TLS",
    "Restrict CORS origins",
    "Enable rate limiting",
    "Configure allowed hosts",
    "Review request size limits",
    "Use secure tools for sensitive operations",
    "Set the proxy URL",
    "Reduce log verbosity",
    "Rotate secrets",
    "Monitor health endpoints",
)


@dataclass(frozen=True)
class Kind:
    """A kind of finding, one row of ``docs/checklist.md``."""

    id: str
    #: The number of the item in the guide's checklist, or None.
    point: int | None
    meaning: str
    #: A line to paste into the environment, a shell or the application; it is the remedy.
    line: str
    #: The page of the docs, with the section.
    page: str

    @property
    def severity(self) -> str:
        return next(
            each for each in SEVERITIES if each[0] == self.id.removeprefix("swaig.")[0].lower()
        )


@dataclass(frozen=True)
class Finding:
    """Something that makes a service unsafe, or a fact that its operator should review."""

    #: Such as ``swaig.W001``; each is explained in ``docs/checklist.md``.
    id: str
    #: ``error``, ``warning`` or ``info``.
    severity: str
    #: One or more sentences. They never contain a secret.
    message: str
    #: The line to paste into the environment, a shell or the application.
    line: str
    #: The page of the docs, with the section.
    link: str

    @property
    def point(self) -> int | None:
        """The number of the item in the guide's checklist, from 1 to 11, or None."""
        return CATALOG[self.id].point

    def to_dict(self) -> dict[str, Any]:
        """Return the members in a dictionary, as ``swaig-wsgi check --json`` prints them."""
        return {**asdict(self), "point": self.point}


def finding(number: str, message: str, line: str | None = None) -> Finding:
    """Return a finding of the kind `number`, such as ``"W001"``, with its line by default."""
    kind = CATALOG[f"swaig.{number}"]
    link = f"docs/{kind.page}"
    return Finding(kind.id, kind.severity, message, line or kind.line, link)


_TABLE = """\
E001 - configuration.md
    a setting is invalid, so the service does not start
    unset SWML_RATE_LIMIT
E002 1 authentication.md
    a password is one of the most common ones, a pattern, or the default of an example
    SWML_BASIC_AUTH_PASSWORD="$(swaig-wsgi secret)"
E003 1 authentication.md
    a password is the user's name
    SWML_BASIC_AUTH_PASSWORD="$(swaig-wsgi secret)"
E004 2 tls.md
    TLS is enabled, but the certificate or its key cannot be used
    SWML_SSL_CERT_PATH=/etc/ssl/fullchain.pem SWML_SSL_KEY_PATH=/etc/ssl/private/key.pem
E005 2 tls.md
    the key is not that of the certificate
    SWML_SSL_KEY_PATH=/etc/ssl/private/key.pem
E006 2 tls.md
    the certificate has expired, or is not valid yet
    certbot renew
E007 2 tls.md
    the certificate does not cover the service's domain
    certbot certonly -d agent.example.com
E008 8 network.md#trusted-proxies
    the public URL is plain HTTP, so webhook URLs send the password in clear
    SWML_PROXY_URL_BASE=https://agent.example.com
E009 - stores.md
    the store cannot be reached, or does not accept writes
    SWML_STORAGE_URL=redis://redis.internal:6379/0
E010 - server.md
    two agents have the same name, so tokens of one are valid for the other
    AgentApp("another-name")
E011 - agents.md#the-document
    the document of an agent cannot be rendered, so the platform would get 500
    swaig-wsgi swml MODULE:APP
W001 1 authentication.md
    no credentials are set, so each start generates others
    SWML_BASIC_AUTH_USER=platform SWML_BASIC_AUTH_PASSWORD="$(swaig-wsgi secret)"
W002 1 authentication.md
    a password has fewer than 12 characters
    SWML_BASIC_AUTH_PASSWORD="$(swaig-wsgi secret)"
W003 1 authentication.md
    a password has fewer than 20 characters, of fewer than three kinds
    SWML_BASIC_AUTH_PASSWORD="$(swaig-wsgi secret)"
W004 10 tokens.md
    a secret or key can be guessed: it has less than 80 bits of entropy
    SIGNALWIRE_SWAIG_SECRET="$(swaig-wsgi secret)"
W005 10 rotation.md
    a secret is among its own fallbacks, so the rotation is not finished
    unset SIGNALWIRE_SWAIG_SECRET_FALLBACKS
W006 10 configuration.md#secrets-in-files
    two secrets have the same value
    SIGNALWIRE_SWAIG_SECRET="$(swaig-wsgi secret)"
W007 2 tls.md
    no setting names TLS, here or at a proxy, so credentials travel in clear
    SWML_SSL_DOMAIN=agent.example.com
W008 2 tls.md
    the certificate expires within 30 days
    certbot renew
W009 2 configuration.md#secrets-in-files
    other users can read the file of a key or secret
    chmod 0400 "$SWML_SSL_KEY_PATH"
W010 3 cors.md
    pages of any origin may read responses
    SWML_CORS_ORIGINS=https://app.example.com
W011 3 cors.md
    an allowed origin is on plain HTTP, so anyone on its network can replace its pages
    SWML_CORS_ORIGINS=https://app.example.com
W012 4 limits.md#failed-authentications
    failed authentications are not limited, so passwords can be guessed
    SWML_AUTH_FAILURE_LIMIT=10
W013 4 limits.md#failed-authentications
    the limit on failed authentications is over 100 a minute
    SWML_AUTH_FAILURE_LIMIT=10
W014 4 limits.md#rate-limit
    the rate limit is over 10,000 a minute, so it limits nothing
    SWML_RATE_LIMIT=5000
W015 4 limits.md#rate-limit
    the rate limit is under 1,000 a minute, so the platform's own calls reach it
    SWML_RATE_LIMIT=5000 SWML_AUTH_FAILURE_LIMIT=10
W016 4 network.md#trusted-proxies
    all clients of a proxy that is not trusted share one limit
    SWML_TRUSTED_PROXIES=10.0.0.1
W017 5 hosts.md
    any Host is accepted, also in webhook URLs
    SWML_ALLOWED_HOSTS=agent.example.com
W018 6 request-size.md
    request bodies may be over 16 MiB
    SWML_MAX_REQUEST_SIZE=1048576
W019 8 network.md#trusted-proxies
    no setting names a public URL, so webhook URLs may have the wrong host
    SWML_PROXY_URL_BASE=https://agent.example.com
W020 9 events.md#loggers
    the log level is more verbose than WARNING, or not set
    SIGNALWIRE_LOG_LEVEL=warn
W021 10 tokens.md
    no secret signs tool tokens, so they end with the process
    SIGNALWIRE_SWAIG_SECRET="$(swaig-wsgi secret)"
W022 10 workers.md#503-service-misconfigured
    processes may serve although they do not share their state
    unset SWML_ALLOW_PER_PROCESS_STATE
W023 - signatures.md
    no signing key is set, so webhooks need no signature
    SIGNALWIRE_SIGNING_KEY=...  # from the platform's dashboard
W024 8 network.md#trusted-proxies
    trusted proxies are a network wider than an IPv4 /16 or an IPv6 /64
    SWML_TRUSTED_PROXIES=10.0.0.1
W025 8 network.md#trusted-proxies
    every peer is trusted as a proxy, so clients that connect directly forge addresses
    SWML_TRUSTED_PROXIES=10.0.0.1
W026 8 network.md#allowed-clients
    behind a proxy that is not trusted, no client is an allowed one
    SWML_TRUSTED_PROXIES=10.0.0.1
W027 2 tls.md#https-only
    HTTPS is required, but neither TLS nor a trusted proxy provides it
    SWML_TRUSTED_PROXIES=10.0.0.1
W028 2 tls.md#https-only
    plain HTTP is admitted beside TLS
    unset SWML_ENFORCE_HTTPS
W029 2 tls.md#hsts
    HSTS has a duration, but is not sent
    SWML_USE_HSTS=true
W030 - configuration.md#misspelt-variables
    a variable looks like a setting, but is unknown
    unset SWML_RATELIMIT
W031 10 workers.md#503-service-misconfigured
    several workers each have their own state
    SWML_STORAGE_URL=sqlite:////var/lib/agent/store.db
W032 5 network.md#allowed-clients
    allowed clients are a network wider than an IPv4 /8 or an IPv6 /16
    SWML_ALLOWED_CLIENTS=192.0.2.0/24
W033 - django.md#checks
    the application of a Django site cannot be imported, so its layers and agents were not judged
    python -c "import mysite.wsgi"
W034 - stores.md#what-once-and-max_runs-need
    tools with once or max_runs, whose store is lost when the server restarts
    SWML_STORAGE_URL=sqlite:////var/lib/agent/store.db
I001 9 events.md#loggers
    the log level hides warnings, except those of the security log
    SIGNALWIRE_LOG_LEVEL=warn
I002 7 agents.md#tools
    tools that are not secure: a request with the password needs no token of a call
    define_tool(..., secure=True)
I003 7 agents.md#tools
    secure tools that are not once: a repeated request runs them again
    define_tool(..., secure=True, once=60)
I004 7 cli.md#check
    tools were not checked, because no application was named
    swaig-wsgi check MODULE:APP
I005 11 cli.md#check
    health was not checked, because no URL was given
    swaig-wsgi check --url https://agent.example.com
I006 4 limits.md#rate-limit
    requests are not limited, only failed authentications
    SWML_RATE_LIMIT=5000
I007 7 cli.md#check
    the agents that were found in the application
    swaig-wsgi check MODULE:APP
I008 6 request-size.md
    the layers around a site do not limit the size of request bodies
    harden(app, max_request_size=1048576)
E101 1 authentication.md
    an endpoint serves requests without credentials
    AuthMiddleware(app, handler, protect=("/swaig",))
E102 1 authentication.md
    an endpoint accepts a wrong password
    AuthHandler(basic_auth=("platform", password))
E103 1 authentication.md
    the service refuses the credentials
    swaig-wsgi check --url https://USER:PASSWORD@agent.example.com
E104 2 tls.md
    the service is reached over plain HTTP
    SWML_SSL_ENABLED=true
E105 2 tls.md
    clients reject the service's certificate
    certbot certonly -d agent.example.com
E106 3 cors.md
    pages of any origin may read responses to a browser's own credentials
    SWML_CORS_ORIGINS=https://app.example.com
E107 11 deployment.md#all-pods-unready
    the service is unhealthy or not ready
    curl -u USER:PASSWORD https://agent.example.com/ready
E108 - workers.md
    the service fails
    journalctl -u swaig-agent
W101 - headers.md#security-headers
    responses lack security headers
    app = harden(app)
W102 2 tls.md#hsts
    responses over https lack HSTS
    SWML_USE_HSTS=true
W103 2 tls.md
    the server speaks TLS before 1.2
    gunicorn -c python:swaig_wsgi.gunicorn module:app
W104 2 tls.md
    the service's certificate expires within 30 days
    certbot renew
W105 5 hosts.md
    the service serves a host that is not its own
    SWML_ALLOWED_HOSTS=agent.example.com
W106 3 cors.md
    pages of any origin may read responses
    SWML_CORS_ORIGINS=https://app.example.com
W107 6 request-size.md
    a body over 16 MiB is not refused
    SWML_MAX_REQUEST_SIZE=1048576
W108 8 network.md#trusted-proxies
    the document's webhook URLs have another host or are plain HTTP
    SWML_PROXY_URL_BASE=https://agent.example.com
W109 5 hosts.md
    the service refuses the probe, for its host or as a client
    SWML_ALLOWED_HOSTS=agent.example.com
W110 1 authentication.md
    it was not seen whether an endpoint serves requests without credentials
    AuthMiddleware(app, handler, protect=("/swaig",))
I101 4 limits.md#rate-limit
    responses have no rate-limit headers
    SWML_RATE_LIMIT=5000
I102 11 deployment.md
    the service has no health endpoint at this path
    swaig-wsgi check --url https://agent.example.com/route-of-the-agent
I103 1 cli.md#check
    the service was checked without credentials
    swaig-wsgi check --url https://USER:PASSWORD@agent.example.com
"""

_ROW = re.compile(r"(\w+) (\d+|-) (\S+)\n    (.+)\n    (.+)\n")

#: All kinds of findings, by id.
CATALOG = {
    f"swaig.{number}": Kind(
        f"swaig.{number}", None if point == "-" else int(point), meaning, line, page
    )
    for number, point, page, meaning, line in _ROW.findall(_TABLE)
}
