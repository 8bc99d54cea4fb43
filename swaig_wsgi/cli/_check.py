"""``swaig-wsgi check``."""

from __future__ import annotations

import os

from ..checks import check_settings, check_variables
from ..config import ConfigurationError, Settings
from ..tls import SslConfig
from ._errors import CommandError


def check(strict: bool = False) -> int:
    """Print the findings for the settings of the environment.

    Return 1 if `strict` and one of them is a warning, else 0.
    """
    try:
        settings = Settings.from_env()
        if settings.ssl_enabled:
            SslConfig(settings=settings).create_context()
    except ConfigurationError as error:
        raise CommandError(error, 1) from None
    findings = [*check_settings(settings), *check_variables(os.environ)]
    for finding in findings:
        print(f"{finding.status:<4}  {finding.title}: {finding.text}")
    return int(strict and any(finding.status == "warn" for finding in findings))
