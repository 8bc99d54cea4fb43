"""The ``swaig-wsgi`` command: parses its arguments and dispatches to the module of the command."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from .._version import __version__
from ._check import check
from ._client import call, swml, tools
from ._errors import CommandError
from ._output import printable
from ._serve import serve
from ._token import inspect, verify
from ._vendor import vendor


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv`, by default the process's, and return its exit status."""
    _open_closed_streams()
    arguments = vars(_parser().parse_args(argv))
    run = arguments.pop("run")
    try:
        if sys.stdout is None and run is not serve:
            raise CommandError("standard output is closed")
        status: int = run(**arguments)
        print(end="", flush=True)
    except CommandError as error:
        return _fail(error, error.status)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader has what it wanted, as in "| head".
        _discard(sys.stdout)
        return 128 + 13  # SIGPIPE, which Windows does not have
    except OSError as error:
        _discard(sys.stdout)
        # Without a file name it is standard output, for example on a full disk.
        return _fail(error if error.filename else f"write error: {error.strerror or error}", 2)
    return status


def _open_closed_streams() -> None:
    # A pipe or a socket must not get the number of a standard stream that is closed.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    if sys.stderr is None:
        # print(file=None) would write to standard output.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process


def _fail(problem: object, status: int) -> int:
    try:
        print(printable(f"swaig-wsgi: {problem}", sys.stderr), file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)
    return status


def _discard(stream: TextIO | None) -> None:
    """Discard what could not be written to `stream`, or Python would fail again when it exits."""
    if stream is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="swaig-wsgi", description="Serve, call and check voice agents."
    )
    parser.add_argument("--version", action="version", version=f"swaig-wsgi {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("serve", help="serve an application, for development")
    command.add_argument("application", metavar="MODULE:APP", help="as gunicorn takes it")
    command.add_argument("--host", help="address to listen on")
    command.add_argument("--port", type=_port, help="0 for any free port")
    command.add_argument("--workers", type=_workers, metavar="N", help="processes of gunicorn")
    command.add_argument("--reload", action="store_true", help="when a module is changed")
    command.set_defaults(run=serve)

    command = _add_client_command(commands, "swml", "print the document of an agent")
    command.add_argument("--show-secrets", action="store_true", help="do not mask them")
    command.set_defaults(run=swml)

    command = _add_client_command(commands, "tools", "list the tools of an agent")
    command.set_defaults(run=tools)

    command = _add_client_command(commands, "call", "call a tool of an agent")
    command.add_argument("tool", metavar="TOOL", help="its name")
    form = "name=value, typed by the tool's schema; name=@file; name:=json"
    command.add_argument("--arg", action="append", default=[], metavar="NAME=VALUE", help=form)
    command.set_defaults(run=call)

    command = commands.add_parser("check", help="check a service for production")
    command.add_argument("application", metavar="MODULE:APP", nargs="?", help="judge it, too")
    command.add_argument("--url", help="probe the service that runs there")
    command.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    command.add_argument("--strict", action="store_true", help="exit with 1 on warnings")
    command.add_argument(
        "--ignore",
        action="append",
        default=[],
        type=_finding_id,
        metavar="ID",
        help="a finding to ignore, such as W023; may be repeated",
    )
    command.set_defaults(run=check)

    command = commands.add_parser("secret", help="print a new value for SIGNALWIRE_SWAIG_SECRET")
    command.set_defaults(run=_print_secret)

    _add_token_commands(commands)

    command = commands.add_parser("vendor", help="copy the stdlib-only parts into another project")
    command.add_argument("dest", metavar="DEST", help="directory; its name is the package's")
    command.add_argument("--middleware", action="store_true", help="add middleware and settings")
    command.add_argument("--stores", action="store_true", help="add stores and sessions")
    command.add_argument("--force", action="store_true", help="replace DEST even if it was changed")
    command.add_argument("--check", action="store_true", help="list changes and outdated files")
    command.set_defaults(run=vendor)
    return parser


def _add_client_command(commands: Any, name: str, summary: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=summary)
    command.add_argument("target", metavar="TARGET", help="MODULE:APP, or the URL of an agent")
    command.add_argument("--call-id", metavar="ID", help="id of the call; by default a new one")
    command.add_argument("--from", metavar="NUMBER", dest="caller", help="the caller's number")
    command.add_argument("--route", metavar="PATH", help="of the agent in MODULE:APP")
    command.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    return command


def _add_token_commands(commands: Any) -> None:
    parser = commands.add_parser("token", help="decode or verify the token of a tool")
    kinds = parser.add_subparsers(required=True, metavar="COMMAND")
    inspect_command = kinds.add_parser("inspect", help="decode a token, without verifying it")
    inspect_command.set_defaults(run=inspect)
    verify_command = kinds.add_parser(
        "verify", help="verify a token with SIGNALWIRE_SWAIG_SECRET and its fallbacks"
    )
    verify_command.add_argument("--agent", metavar="NAME", help="the agent that issued it")
    verify_command.add_argument("--call-id", metavar="ID", help="it must be for this call")
    verify_command.add_argument("--tool", metavar="TOOL", help="it must be for this tool")
    verify_command.set_defaults(run=verify)
    for command in (inspect_command, verify_command):
        command.add_argument("token", help="a token, a URL with one, or - to read it from stdin")
        command.add_argument("--json", action="store_true", dest="as_json", help="print JSON")


def _finding_id(text: str) -> str:
    return f"swaig.{text.removeprefix('swaig.').upper()}"


def _port(text: str) -> int:
    # int() itself raises ValueError for a number of too many digits.
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 65535, not {text!r}")
    return int(text)


def _workers(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 999, not {text!r}")
    return int(text)


def _print_secret() -> int:
    print(secrets.token_urlsafe(32))
    return 0
