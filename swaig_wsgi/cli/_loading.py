"""Importing the application that a command names: to ask it, or to serve it."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import redirect_stdout
from typing import Any

from ..checks._sources import hidden_values, safe_reason, scrub
from ..config import ConfigurationError
from ..core.redaction import redact_text
from ..loading import LoadingError, load_application
from ._errors import CommandError


def import_application(application: str) -> Any:
    """Return the application ``MODULE:APP``, with the current directory on the import path.

    Raises:
        CommandError: it does not exist, or its module raised an exception.
        ConfigurationError: it does not start because a setting is invalid.
    """
    sys.path.insert(0, os.getcwd())
    try:
        # What a module prints is not part of the result, which may be JSON.
        with redirect_stdout(sys.stderr):
            return load_application(application)
    except LoadingError as error:
        raise CommandError(redact_text(str(error))) from None
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        raise import_failure(application, error) from None


def import_failure(application: str, error: BaseException) -> CommandError:
    """Return the error of a command whose application's module raised `error`."""
    shown = redact_text(application)  # it may have arguments
    return CommandError(f"{shown} cannot be imported: {safe_reason(error, os.environ)}")


def load_to_serve(application: str) -> Any:
    """Return the application ``MODULE:APP``; what its module prints is printed.

    Raises:
        CommandError: it cannot be loaded; if its module raised an exception, with the traceback.
    """
    try:
        return load_application(application)
    except (ConfigurationError, LoadingError) as error:
        raise CommandError(error) from None
    except Exception:
        trace = scrub(traceback.format_exc(), hidden_values(os.environ))
        raise CommandError(f"{application} cannot be imported:\n{trace}") from None
    except SystemExit as error:
        raise import_failure(application, error) from None
