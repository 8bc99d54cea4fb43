"""The ``swaig-wsgi`` command."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Sequence

from .._version import __version__
from ..checks import production_checklist
from ..config import ConfigurationError, Settings
from ..loading import LoadingError, load_application
from ..tls import SslConfig
from ._vendor import VendoringError, check, vendor

#: Of a usage or configuration error, as argparse has it.
_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv`, by default the process's, and return its exit status."""
    arguments = _parser().parse_args(argv)
    status: int = arguments.run(arguments)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="swaig-wsgi", description=__doc__)
    parser.add_argument("--version", action="version", version=f"swaig-wsgi {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve an application, for development")
    serve.add_argument("application", metavar="MODULE:APP", help="as gunicorn takes it")
    serve.add_argument("--host", help="address to listen on")
    serve.add_argument("--port", type=_port, help="0 for any that is free")
    serve.set_defaults(run=_serve)

    checklist = commands.add_parser("check", help="check the environment for production")
    checklist.add_argument("--strict", action="store_true", help="exit with 1 on warnings")
    checklist.set_defaults(run=_check)

    secret = commands.add_parser("secret", help="print a new value for SIGNALWIRE_SWAIG_SECRET")
    secret.set_defaults(run=_secret)

    copy = commands.add_parser("vendor", help="copy the stdlib-only parts into another project")
    copy.add_argument("dest", metavar="DEST", help="directory; its name is the package's")
    copy.add_argument("--middleware", action="store_true", help="with middleware, stores, settings")
    copy.add_argument("--stores", action="store_true", help="with stores and sessions")
    copy.add_argument("--force", action="store_true", help="replace what is there, come what may")
    copy.add_argument("--check", action="store_true", help="tell what was changed or is outdated")
    copy.set_defaults(run=_vendor)
    return parser


def _port(text: str) -> int:
    # Too many digits are a ValueError of their own.
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 65535, not {text!r}")
    return int(text)


def _fail(message: object, status: int = _USAGE) -> int:
    print(f"swaig-wsgi: {message}", file=sys.stderr)
    return status


def _serve(arguments: argparse.Namespace) -> int:
    try:
        from ..agent.serving import serve_application
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "werkzeug":
            raise
        return _fail("serve needs Werkzeug: pip install 'swaig-wsgi[app]'")
    sys.path.insert(0, os.getcwd())
    try:
        application = load_application(arguments.application)
        serve_application(application, arguments.host, arguments.port)
    except (ConfigurationError, LoadingError) as error:
        return _fail(error)
    except KeyboardInterrupt:
        pass
    return 0


def _check(arguments: argparse.Namespace) -> int:
    try:
        settings = Settings.from_env()
        if settings.ssl_enabled:
            SslConfig(settings=settings).create_context()
    except ConfigurationError as error:
        return _fail(error, 1)
    items = production_checklist(settings)
    for item in items:
        print(f"{item.status:<4}  {item.title}: {item.text}")
    warned = any(item.status == "warn" for item in items)
    return 1 if warned and arguments.strict else 0


def _secret(arguments: argparse.Namespace) -> int:
    print(secrets.token_urlsafe(32))
    return 0


def _vendor(arguments: argparse.Namespace) -> int:
    if arguments.check:
        return _check_copy(arguments)
    try:
        copy = vendor(
            arguments.dest,
            stores=arguments.stores,
            middleware=arguments.middleware,
            force=arguments.force,
        )
    except (VendoringError, OSError) as error:
        return _fail(error)
    print(f"{arguments.dest}: swaig-wsgi {copy.version}, {', '.join(copy.rooms)}")
    return 0


def _check_copy(arguments: argparse.Namespace) -> int:
    if arguments.stores or arguments.middleware or arguments.force:
        return _fail("--check stands alone: it looks at what the copy has")
    try:
        problems = check(arguments.dest)
    except (VendoringError, OSError) as error:
        return _fail(error, 1)
    for problem in problems:
        print(problem)
    return 1 if problems else 0
