"""The certificate of the service itself, and the files of keys and secrets.

The standard library decodes only certificates that it has verified. So a client and a server
shake hands in memory, and the client trusts the certificate itself: what OpenSSL then rejects, it
rejects for its dates, its host or its purpose, as every client will.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import stat
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..config import ConfigurationError, Settings
from ..tls import SslConfig
from ._findings import Finding, finding
from ._network import own_domain

DAY = 86_400
#: Most certificates are renewed when a third of their 90 days is left.
SOON = 30 * DAY

#: Of OpenSSL (x509_vfy.h): not yet valid, expired, another host, another address.
_NOT_YET, _EXPIRED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 62, 64


def certificate_findings(settings: Settings) -> Iterator[Finding]:
    """Yield findings on certificate and key, if the service itself serves TLS."""
    if not settings.ssl_enabled:
        return
    try:
        context = SslConfig(settings=settings).create_context()
    except ConfigurationError as error:
        text = str(error)
        for path in (settings.ssl_cert_path, settings.ssl_key_path):
            # What is not the path of a file may be a key that was pasted into the variable.
            if path is not None and not os.path.isfile(path):
                text = text.replace(repr(path), "that it names")
        yield finding("E005" if _is_mismatch(settings) else "E004", f"{text}.")
        return
    assert settings.ssl_cert_path is not None  # noqa: S101  # nosec B101 # for mypy
    with open(settings.ssl_cert_path, encoding="utf-8") as file:
        trusted = file.read()
    try:
        certificate = _handshake(context, trusted)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (_EXPIRED, _NOT_YET):
            yield finding("E006", f"SWML_SSL_CERT_PATH: {error.verify_message}.")
        else:
            text = f"SWML_SSL_CERT_PATH: clients reject the certificate: {error.verify_message}."
            yield finding("E004", text)
    else:
        yield from expiry_findings(certificate, "W008", "SWML_SSL_CERT_PATH: the certificate")
    # With a proxy in front, the public URL is the proxy's.
    domain = settings.ssl_domain if settings.trusted is not None else own_domain(settings)
    try:
        _handshake(context, trusted, domain)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (_OTHER_HOST, _OTHER_ADDRESS):
            text = f"SWML_SSL_CERT_PATH: the certificate does not cover {domain}."
            yield finding("E007", text)


def expiry_findings(certificate: Mapping[str, Any], number: str, subject: str) -> Iterator[Finding]:
    """Yield a finding if a decoded certificate expires soon."""
    left = ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()
    if left < SOON:
        days = max(0, int(left // DAY))
        yield finding(number, f"{subject} expires in {days} days, {certificate['notAfter']}.")


def file_findings(source: Mapping[str, Any], settings: Settings) -> Iterator[Finding]:
    """Yield findings on the modes of the files of the key and of secrets.

    Args:
        source: the variables, of which those with ``_FILE`` name files of secrets.
        settings: the settings in it.
    """
    files = {name: source[name] for name in sorted(source) if name.endswith("_FILE")}
    for variable, path in {"SWML_SSL_KEY_PATH": settings.ssl_key_path, **files}.items():
        try:
            status = os.stat(path or "")
        except (OSError, ValueError, TypeError):
            continue  # Invalid, which is another finding.
        mode = stat.S_IMODE(status.st_mode)
        if os.name == "posix" and stat.S_ISREG(status.st_mode) and mode & 0o044:
            text = f"{variable}: other users can read the file that it names (mode {mode:04o})."
            yield finding("W009", text, f'chmod 0400 "${variable}"')


def _is_mismatch(settings: Settings) -> bool:
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # An empty passphrase, because OpenSSL would prompt for one.
        context.load_cert_chain(settings.ssl_cert_path or "", settings.ssl_key_path, password="")  # nosec B106 # without a passphrase, OpenSSL asks no one
    except (OSError, ValueError) as error:
        return "MISMATCH" in (getattr(error, "reason", None) or "")
    return False


def _handshake(
    server_context: ssl.SSLContext, trusted: str, host: str | None = None
) -> dict[str, Any]:
    """Return the certificate of a server as its clients decode it.

    Raises:
        ssl.SSLCertVerificationError: they reject it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = host is not None
    context.load_verify_locations(cadata=trusted)
    # Trust the certificate itself, not only one that has signed itself.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname=host)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server) * 4:
        with contextlib.suppress(ssl.SSLWantReadError):  # It is the other side's turn.
            side.do_handshake()
    return client.getpeercert() or {}
