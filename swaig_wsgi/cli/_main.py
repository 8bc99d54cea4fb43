"""The ``swaig-wsgi`` command: parses its arguments and dispatches to the module of the command."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Sequence

from .._version import __version__
from ._check import check
from ._errors import CommandError
from ._serve import serve
from ._vendor import vendor


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv`, by default the process's, and return its exit status."""
    arguments = vars(_parser().parse_args(argv))
    run = arguments.pop("run")
    try:
        status: int = run(**arguments)
    except CommandError as error:
        print(f"swaig-wsgi: {error}", file=sys.stderr)
        return error.status
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="swaig-wsgi", description="Serve, check and vendor: the commands of swaig-wsgi."
    )
    parser.add_argument("--version", action="version", version=f"swaig-wsgi {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("serve", help="serve an application, for development")
    command.add_argument("application", metavar="MODULE:APP", help="as gunicorn takes it")
    command.add_argument("--host", help="address to listen on")
    command.add_argument("--port", type=_port, help="0 for any free port")
    command.set_defaults(run=serve)

    command = commands.add_parser("check", help="check a service for production")
    command.add_argument("application", metavar="MODULE:APP", nargs="?", help="judge it, too")
    command.add_argument("--url", help="probe the service that runs there")
    command.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    command.add_argument("--strict", action="store_true", help="exit with 1 on warnings")
    command.set_defaults(run=check)

    command = commands.add_parser("secret", help="print a new value for SIGNALWIRE_SWAIG_SECRET")
    command.set_defaults(run=_print_secret)

    command = commands.add_parser("vendor", help="copy the stdlib-only parts into another project")
    command.add_argument("dest", metavar="DEST", help="directory; its name is the package's")
    command.add_argument("--middleware", action="store_true", help="add middleware and settings")
    command.add_argument("--stores", action="store_true", help="add stores and sessions")
    command.add_argument("--force", action="store_true", help="replace DEST even if it was changed")
    command.add_argument("--check", action="store_true", help="list changes and outdated files")
    command.set_defaults(run=vendor)
    return parser


def _port(text: str) -> int:
    # int() itself raises ValueError for a number of too many digits.
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 65535, not {text!r}")
    return int(text)


def _print_secret() -> int:
    print(secrets.token_urlsafe(32))
    return 0
