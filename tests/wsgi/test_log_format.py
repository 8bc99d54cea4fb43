"""Records as lines of text and JSON, and who configures logging."""

from __future__ import annotations

import json
import logging
import re
import socket
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wsgi import environ

from swaig_wsgi.wsgi import JSONFormatter, LineFormatter, configure_logging, log_security
from swaig_wsgi.wsgi._log_format import RedactingFilter

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def record(message: str = "hello", *args: Any, exc_info: Any = None, **extra: Any) -> Any:
    made = logging.LogRecord("shop", logging.WARNING, "x.py", 1, message, args, exc_info)
    made.__dict__.update(extra)
    return made


def as_json(*args: Any, **extra: Any) -> dict[str, Any]:
    line = JSONFormatter().format(record(*args, **extra))
    assert line.isascii()
    assert line.isprintable()
    value: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    return value


def raised(text: str) -> Any:
    try:
        raise ValueError(text)
    except ValueError:
        return sys.exc_info()


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1772368496.789, "2026-03-01T12:34:56.789Z"),
        (1772368496.9996, "2026-03-01T12:34:56.999Z"),
    ],
)
def test_times_are_utc_with_milliseconds(created: float, expected: str) -> None:
    assert as_json(created=created)["time"] == expected
    assert LineFormatter().format(record(created=created)).startswith(f"{expected} [")


def test_a_line_of_text() -> None:
    assert re.fullmatch(
        rf"{TIME} \[\d+\] WARNING shop: hello you",
        LineFormatter().format(record("hello %s", "you")),
    )


def test_a_variable_names_one_of_several_replicas_on_a_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, expected in ("replica-1", "replica-1"), ("", socket.gethostname()):
        monkeypatch.setenv("HOSTNAME", name)
        assert as_json("hello")["host"] == expected


def test_a_line_of_json_has_the_extra_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOSTNAME", raising=False)
    value = as_json("hello %s", "you", event="greeted", count=3, ratio=0.5, on=True, none=None)
    assert value.pop("time")
    assert value.pop("process")
    assert value.pop("host") == socket.gethostname()
    assert value == {
        "level": "WARNING",
        "logger": "shop",
        "message": "hello you",
        "event": "greeted",
        "count": 3,
        "ratio": 0.5,
        "on": True,
        "none": None,
    }


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (["a", {"b": 1}], "['a', {'b': 1}]"),
        (b"\xff", "b'\\xff'"),
        ("line\nbreak\x1b[2J\u2028", "line\nbreak\x1b[2J\u2028"),
        ("\ud800", "\ud800"),
        (2**64 - 1, 2**64 - 1),
        (2**64, str(2**64)),
        (Unprintable(), "(cannot be formatted: RuntimeError)"),
    ],
)
def test_any_value_becomes_json(value: Any, expected: Any) -> None:
    assert as_json(found=value)["found"] == expected


@given(st.text(), st.text(), st.text())
def test_attack_no_text_breaks_a_line_or_replaces_a_member(
    name: str, value: str, text: str
) -> None:
    extra = {name: value, "time": "forged", "level": "forged", "message ": text}
    if name in vars(record()):
        extra.pop(name)
    found = as_json("%s", text, **extra)
    assert re.fullmatch(TIME, found["time"])
    assert found["level"] == "WARNING"


def test_an_exception_is_one_member() -> None:
    value = as_json(exc_info=raised("two\nlines \x1b[2J /x?__token=s3cret"))
    lines = value["exception"].split("\n")
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-2:] == ["ValueError: two", "lines \\x1b[2J /x?__token=****"]


def test_the_files_of_a_traceback_are_shown_whatever_their_names() -> None:
    code = compile(
        "def load():\n    raise ValueError('password=s3cret')", "/srv/credentials.py", "exec"
    )
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - code of this test
    try:
        names["load"]()
    except ValueError:
        value = as_json(exc_info=sys.exc_info())
    assert '  File "/srv/credentials.py", line 2, in load\n' in value["exception"]
    assert value["exception"].endswith("ValueError: password=****")


def test_attack_a_private_key_over_several_lines_is_masked_in_a_traceback() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIs3cret\n-----END PRIVATE KEY-----"
    value = as_json(exc_info=raised('{"private_key": "' + key + '"}'))
    assert "MIIs3cret" not in json.dumps(value)


def test_attack_secrets_are_masked_in_every_member() -> None:
    value = as_json(
        "at /x?__token=s3cret",
        exc_info=raised("password='s3cret'"),
        password="s3cret",
        api_key="s3cret",
        url="https://u:s3cret@h/?__token=s3cret",
        headers={"Authorization": "Bearer s3cret"},
    )
    assert "s3cret" not in json.dumps(value).replace("raised(\\\"password='s3cret'\\\")", "")
    assert "password" not in value
    assert value["url"] == "https://****@h/?__token=****"


def test_a_record_that_was_made_safe_before_is_not_changed_again() -> None:
    made = record("a\\b", exc_info=raised("oops"), path="/a\\b")
    RedactingFilter().filter(made)
    value = json.loads(JSONFormatter().format(made))
    assert value["message"] == "a\\\\b"
    assert value["path"] == "/a\\b"
    assert value["exception"].startswith("Traceback")
    assert "_redacted" not in value


def test_a_security_record_in_json(caplog: pytest.LogCaptureFixture) -> None:
    log_security(environ(HTTP_X_REQUEST_ID="the-request"), "auth_refused", "missing", "why")
    value = json.loads(JSONFormatter().format(caplog.records[0]))
    for name in ("time", "host", "process"):
        del value[name]
    assert value == {
        "level": "WARNING",
        "logger": "swaig_wsgi.security",
        "message": "auth_refused reason=missing client=192.0.2.7 request_id=the-request agent=- "
        "method=GET path=/ (why)",
        "event": "auth_refused",
        "reason": "missing",
        "client": "192.0.2.7",
        "request_id": "the-request",
        "agent": "-",
        "method": "GET",
        "path": "/",
        "detail": "why",
    }


# Who configures logging


def test_importing_the_package_configures_no_logging(run_python: Any) -> None:
    code = (
        "import logging, pkgutil, importlib, swaig_wsgi.agent, swaig_wsgi.middleware\n"
        "import swaig_wsgi.cli, swaig_wsgi.gunicorn, swaig_wsgi.examples.basic\n"
        "names = list(logging.root.manager.loggerDict)\n"
        "loggers = [logging.root, *map(logging.getLogger, names)]\n"
        "ours = [each for each in loggers if each.name.startswith(('root', 'swaig'))]\n"
        "assert len(ours) > 3, ours\n"
        "print([each for each in ours if each.handlers or each.filters or each.disabled])\n"
        "print([each for each in ours[1:] if each.level])\n"
    )
    assert run_python(code).split() == ["[]", "[]"]


def serve(start: Any, tmp_path: Any, command: list[str], source: str, **env: str) -> Any:
    (tmp_path / "site_.py").write_text(source)
    env["SWML_BASIC_AUTH_USER"], env["SWML_BASIC_AUTH_PASSWORD"] = "demo", "a-long-password"
    listening = r"Running on http://127\.0\.0\.1:(\d+)"
    return start([sys.executable, *command], env, listening=listening, cwd=str(tmp_path))


AGENT = "from swaig_wsgi import AgentApp\napp = AgentApp('desk', port=0)\n"
COMMANDS = {
    "serve": (["-m", "swaig_wsgi.cli", "serve", "site_:app"], AGENT),
    "run": (["site_.py"], AGENT + "app.run()\n"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_server_commands_log_json(serve_command: Any, tmp_path: Any, name: str) -> None:
    command, source = COMMANDS[name]
    server = serve(serve_command, tmp_path, command, source, SIGNALWIRE_LOG_FORMAT="json")
    response = server.request("GET", "/?__token=s3cret", auth=None)
    server.request("GET", "/", auth=("demo", "a-long-password"))
    server.wait_for_log("GET / HTTP")
    records = [json.loads(line) for line in server.lines]
    assert all(re.fullmatch(TIME, each["time"]) for each in records)
    (refused,) = [each for each in records if each["logger"] == "swaig_wsgi.security"]
    assert (refused["event"], refused["agent"]) == ("auth_refused", "desk")
    assert refused["request_id"] == response.headers["X-Request-Id"]
    (document,) = [each for each in records if each["logger"] == "swaig_wsgi.calls"]
    assert (document["event"], document["outcome"]) == ("document", "ran")
    assert "s3cret" not in server.log


@pytest.mark.parametrize("name", COMMANDS)
def test_server_commands_log_text_by_default(serve_command: Any, tmp_path: Any, name: str) -> None:
    command, source = COMMANDS[name]
    server = serve(serve_command, tmp_path, command, source)
    server.request("GET", "/", auth=None)
    server.wait_for_log("GET / HTTP")
    for line in server.lines:
        if name == "serve" and (line.strip() in ("", "desk") or line.startswith("  ")):
            continue  # of the banner
        assert re.match(rf"{TIME} \[\d+\] (INFO|WARNING) (werkzeug|swaig_wsgi)", line), line
        assert "x1b" not in line
    assert any(" swaig_wsgi.security: auth_refused reason=" in line for line in server.lines)


def test_logging_that_the_program_has_configured_is_kept(serve_command: Any, tmp_path: Any) -> None:
    source = "import logging\nlogging.basicConfig(format='own %(message)s')\n" + AGENT
    command, _ = COMMANDS["serve"]
    server = serve(serve_command, tmp_path, command, source, SIGNALWIRE_LOG_FORMAT="json")
    server.request("GET", "/", auth=None)
    server.wait_for_log("GET / HTTP")
    assert any(line.startswith("own auth_refused ") for line in server.lines)
    assert not any(line.startswith("{") for line in server.lines)


def test_the_level_can_be_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    logger, security, calls = (
        logging.getLogger(f"swaig_wsgi{name}") for name in ("", ".security", ".calls")
    )
    for each in (logging.root, logger, security, calls):
        monkeypatch.setattr(each, "handlers", [])
        monkeypatch.setattr(each, "level", logging.NOTSET)
    configure_logging("json", "ERROR")
    assert (logger.level, security.level) == (logging.ERROR, logging.WARNING)
    assert calls.level == logging.INFO
    (handler,) = logging.root.handlers
    assert isinstance(handler.formatter, JSONFormatter)
    configure_logging("text", "DEBUG")
    assert logging.root.handlers == [handler]
    assert logger.level == logging.ERROR
