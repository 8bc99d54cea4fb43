"""Log lines that clients cannot forge, and that contain no secrets."""

from __future__ import annotations

import logging
import shlex
import ssl
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import errors
from hypothesis import example, given
from hypothesis import strategies as st
from support.waiting import fastest

from swaig_wsgi.gunicorn import _logger
from swaig_wsgi.gunicorn._logger import LineFormatter, Logger, RedactingFilter
from swaig_wsgi.wsgi._repeats import WINDOW, Repeats

NAMES = ("gunicorn.error", "gunicorn.access", "swaig_wsgi", "swaig_wsgi.security")


@pytest.fixture(autouse=True)
def _loggers() -> Any:
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(each.handlers[:], each.filters[:], each.propagate, each.level) for each in loggers]
    yield
    for each, (handlers, filters, propagate, level) in zip(loggers, before, strict=True):
        for handler in {*each.handlers} - {*handlers}:
            handler.close()
        each.handlers[:] = handlers
        each.filters[:] = filters
        each.propagate, each.level = propagate, level
        each.manager._clear_cache()  # type: ignore[attr-defined]


def set_up(**settings: Any) -> Logger:
    config = Config()
    for name, value in settings.items():
        config.set(name, value)
    return Logger(config)


def line(message: str, *args: Any, **options: Any) -> str:
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, message, args, **options)
    return LineFormatter("%(levelname)s %(message)s").format(record)


def raised(text: str) -> Any:
    try:
        raise ValueError(text)
    except ValueError:
        return sys.exc_info()


@given(st.text())
def test_a_record_is_one_line(text: str) -> None:
    result = line("%s", text, exc_info=None)
    assert result.startswith("INFO ")
    assert len(result.splitlines()) <= 1
    assert result.isprintable()


@given(st.text())
@example("\x1e\r")  # ends with an empty line
def test_text_in_a_traceback_does_not_look_like_a_record(text: str) -> None:
    first, *rest = line("it failed", exc_info=raised(text)).split("\n")
    assert first == "INFO it failed"
    assert rest
    for each in rest:
        assert each.startswith("    ")
        assert each.isprintable()


def test_a_stack_is_indented_too() -> None:
    result = line("here", exc_info=None, sinfo="Stack (most recent call last):\n  File x\x1b[2J")
    assert result.split("\n") == [
        "INFO here",
        "    Stack (most recent call last):",
        "      File x\\x1b[2J",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /swaig?__token=abc HTTP/1.1", "GET /swaig?__token=**** HTTP/1.1"),
        ("/?a=1&__token=a-b_c=&b=2", "/?a=1&__token=****&b=2"),
        ("'/?__token=abc'", "'/?__token=****'"),
        ("/?__TOKEN=abc#x", "/?__TOKEN=****#x"),
        ("/?%5f_token%3dabc", "/?%5f_token%3d****"),
        ("/?__token=a __token=b", "/?__token=**** __token=****"),
        ("nothing of the kind", "nothing of the kind"),
    ],
)
def test_tokens_are_masked(text: str, expected: str) -> None:
    assert line("%s", text, exc_info=None) == f"INFO {expected}"
    assert expected in line("x", exc_info=raised(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "at /x?api_key=s3cret&password=s3cret&a=1 https://u:s3cret@h/ in vain",
            "at /x?api_key=****&password=****&a=1 https://****@h/ in vain",
        ),
        ("'/x?a=1&api%5Fkey=s3cret'", "'/x?a=1&api%5Fkey=****'"),
        ("(https://u:s3cret@h/y?a=1).", "(https://****@h/y?a=1)."),
        ("https://u:s3'cret@h/", "https://****@h/"),
        ("https://u:s3/cret@h/", "https://****@h/"),
        ("mailto:u:s3cret@h", "mailto:****@h"),
        ("a=1&password=s3cret", "a=1&password=****"),
        ("api_key=s3cret&a=1", "api_key=****&a=1"),
        ("/p;jsessionid=s3cret", "/p;jsessionid=****"),
        ("/p#access_token=s3cret", "/p#access_token=****"),
        ("/x?next=%2Fy%3Fpassword%3Ds3cret", "/x?next=****"),
        ("/x?a=\\&password=s3cret\x1b", "/x?a=\\\\&password=****"),
        ("/x?a=1\x1b", "/x?a=1\\x1b"),
        ("a/b c\\d 50% 1+1=2 f(token=None)", "a/b c\\\\d 50% 1+1=2 f(token=None)"),
    ],
)
def test_secrets_in_urls_are_masked(text: str, expected: str) -> None:
    assert line("%s", text, exc_info=None) == f"INFO {expected}"
    traceback = line("x", exc_info=raised(text))
    assert expected in traceback
    assert "s3cret" not in traceback.partition("ValueError: ")[2]


@given(st.text(st.sampled_from("a%253F?&;#@:/\\= '\"\n\x1b\ud800,)"), max_size=60))
def test_junk_neither_reveals_a_secret_nor_breaks_a_line(junk: str) -> None:
    result = line("%s", f"{junk} /x?{junk}&password=s3cret", exc_info=None)
    assert "s3cret" not in result
    assert result.isprintable()


def test_a_traceback_cached_by_another_handler_is_made_safe() -> None:
    message = "it failed /x?__token=s3cret"
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "it failed", (), raised(message))
    before = logging.Formatter().format(record)
    assert "s3cret" in before
    first, *rest = LineFormatter("%(message)s").format(record).split("\n")
    assert first == "it failed"
    assert rest[-1] == "    ValueError: it failed /x?__token=****"
    assert all(each.startswith("    ") for each in rest)
    # Other handlers still write their own format.
    assert logging.Formatter().format(record) == before


def test_a_traceback_given_as_text_is_made_safe() -> None:
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "it failed", (), None)
    record.exc_text = "ValueError: /x?__token=s3cret\nINFO forged"
    result = LineFormatter("%(message)s").format(record)
    assert result == "it failed\n    ValueError: /x?__token=****\n    INFO forged"


def test_all_records_go_to_one_handler() -> None:
    set_up(accesslog="-")
    error, access, ours = (logging.getLogger(name).handlers for name in NAMES[:3])
    assert error == access == ours
    assert len(error) == 1
    assert isinstance(error[0].formatter, LineFormatter)
    assert not logging.getLogger("swaig_wsgi").propagate


def test_the_access_log_can_have_its_own_file(tmp_path: Any) -> None:
    set_up(accesslog=str(tmp_path / "access"))
    error, access, ours = (logging.getLogger(name).handlers for name in NAMES[:3])
    assert error == ours != access
    assert isinstance(access[0].formatter, LineFormatter)


def test_a_reload_leaves_one_handler() -> None:
    logger = set_up(accesslog="-")
    config = Config()
    config.set("loglevel", "debug")
    logger.setup(config)
    error, access, ours = (logging.getLogger(name) for name in NAMES[:3])
    assert error.handlers == ours.handlers
    assert len(error.handlers) == 1
    assert access.handlers == []
    assert ours.level == logging.DEBUG


def test_syslog_lines_keep_their_prefix() -> None:
    set_up(syslog=True, syslog_addr="udp://127.0.0.1:514", syslog_prefix="bank")
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "a\nb", (), None)
    results = [handler.format(record) for handler in logging.getLogger("swaig_wsgi").handlers]
    assert len(results) == 2
    assert any(each.startswith("gunicorn.bank.error: ") for each in results)
    assert all(each.endswith("a\\nb") for each in results)


def test_attack_no_header_ends_a_quoted_value_of_the_access_log(tmp_path: Any) -> None:
    logger = set_up(accesslog=str(tmp_path / "access"))
    forged = 'x\\" 200 "admin\x1b /?pin=s3cret'
    environ = {
        "REQUEST_METHOD": "GET",
        "RAW_URI": '/x"?__token=s3cret',
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_USER_AGENT": forged,
    }
    response = SimpleNamespace(status="401 Unauthorized", sent=3, headers=[])
    logger.access(response, SimpleNamespace(headers=[]), environ, timedelta(0))
    written = (tmp_path / "access").read_text()
    *_, request, status, size, referer, agent = shlex.split(written)
    assert request == 'GET /x"?__token=**** HTTP/1.1'
    assert (status, size, referer) == ("401", "3", "-")
    assert agent == 'x\\" 200 "admin\\x1b /?pin=****'


def test_an_unusable_format_of_the_access_log_is_reported(tmp_path: Any) -> None:
    logger = set_up(accesslog=str(tmp_path / "access"), access_log_format="%(a)d")
    response = SimpleNamespace(status="200 OK", sent=3, headers=[])
    environ = {"REQUEST_METHOD": "GET", "RAW_URI": "/", "SERVER_PROTOCOL": "HTTP/1.1"}
    logger.access(response, SimpleNamespace(headers=[]), environ, timedelta(0))
    assert "cannot be formatted" in (tmp_path / "access").read_text()


@pytest.fixture
def own_configuration() -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(message)s"}},
        "handlers": {"mine": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "loggers": {
            "gunicorn.error": {"handlers": ["mine"]},
            "swaig_wsgi": {"handlers": ["mine"]},
        },
        "root": {},
    }


def test_an_operators_own_configuration_decides_on_handlers_and_formats(
    own_configuration: dict[str, Any],
) -> None:
    set_up(logconfig_dict=own_configuration)
    (handler,) = logging.getLogger("gunicorn.error").handlers
    assert not isinstance(handler.formatter, LineFormatter)


@pytest.mark.parametrize("name", NAMES)
def test_records_are_redacted_under_an_operators_own_configuration(
    name: str, own_configuration: dict[str, Any]
) -> None:
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    set_up(logconfig_dict=own_configuration)
    logger = logging.getLogger(name)
    keep = Keep()
    logger.addHandler(keep)
    try:
        logger.error("%s at %s", "/?pin=s3cret", "a\nb", exc_info=raised("/?__token=s3cret"))
        logger.error("unusable %d", "/?pin=s3cret")
    finally:
        logger.removeHandler(keep)
    first, second = records
    assert first.getMessage() == "/?pin=**** at a\\nb"
    assert first.exc_info is None
    assert "    ValueError: /?__token=****" in logging.Formatter().format(first)
    assert second.getMessage() == "unusable %d (its arguments cannot be formatted: TypeError)"


def test_a_record_is_redacted_once() -> None:
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "a\\b %s", ("c\\d",), None)
    for _ in range(3):
        RedactingFilter().filter(record)
    assert LineFormatter("%(message)s").format(record) == "a\\\\b c\\\\d"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.InvalidRequestLine("s3cret"), "Invalid HTTP request line (9 characters)"),
        (errors.InvalidHeader("s3cret: x"), "Invalid HTTP Header (12 characters)"),
        (errors.InvalidHeaderName("s3cret"), "Invalid HTTP header name (9 characters)"),
        (errors.ObsoleteFolding("s3cret"), "Obsolete line folding is unacceptable (9 characters)"),
        (errors.InvalidH2CPreface(b"s3cret: x"), "Expected HTTP/2 connection preface, got b"),
        (errors.InvalidChunkSize(b"s3cret"), "Invalid chunk size (10 characters)"),
        (errors.LimitRequestLine(5000, 4094), "Request Line is too large (5000 > 4094)"),
        (errors.LimitRequestHeaders("max buffer headers"), "max buffer headers"),
        (ssl.SSLError(1, "[SSL: HTTP_REQUEST] http request"), "[SSL: HTTP_REQUEST] http request"),
    ],
)
def test_of_a_malformed_request_only_kind_and_length_are_logged(
    error: Exception, expected: str
) -> None:
    result = line(f"Invalid request from ip=192.0.2.7: {error}", exc_info=None)
    assert result.startswith(f"INFO Invalid request from ip=192.0.2.7: {expected}")
    assert "s3cret" not in result


def test_a_long_traceback_is_cut_in_the_middle() -> None:
    result = line("it failed", exc_info=raised("a\n" * 100_000 + "the end"))
    assert result.startswith("INFO it failed\n    Traceback ")
    assert "\n    ...\n" in result
    assert result.endswith("\n    the end")
    assert len(result) < 100_000


@pytest.mark.parametrize("unit", ["a", "&", "?a=1&", "/a ", "a=/ ", '{"a":', "\\", "\n", "Basic "])
@pytest.mark.parametrize("length", [8_000, 507_000])
def test_attack_the_work_on_a_record_is_bounded(unit: str, length: int) -> None:
    text = unit * (length // len(unit))
    # A few milliseconds. It took up to 60, and seconds for the longer text.
    assert fastest(lambda: line("%s", text, exc_info=None), enough=0.03) < 0.1
    assert fastest(lambda: line("x", exc_info=raised(text)), enough=0.1) < 0.4


def test_a_high_level_does_not_silence_the_security_log() -> None:
    ours, security = (logging.getLogger(name) for name in NAMES[2:])
    security.setLevel(logging.NOTSET)
    set_up(loglevel="critical")
    assert not ours.isEnabledFor(logging.ERROR)
    assert security.isEnabledFor(logging.WARNING)


def test_sums_of_invalid_requests_are_written_with_the_next_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(_logger._SUMMING_FILTER, "_repeats", Repeats(lambda: now[0]))
    logger = set_up()
    for client in ("192.0.2.7", "192.0.2.8"):
        for number in range(15):
            logger.warning("Invalid request from ip=%s: Invalid Method 'A\\%d'", client, number)
    logger.warning("another one of ip=192.0.2.7")
    now[0] += WINDOW
    logger.access(None, None, None, None)
    for _ in range(2):
        logger.warning("Invalid request from ip=192.0.2.7: the next minute")
    written = [
        each.partition(" gunicorn.error: ")[2] for each in capsys.readouterr().err.splitlines()
    ]
    first = "Invalid request from ip=192.0.2.7: "
    assert [each for each in written if each.startswith(first)] == [
        *[f"{first}Invalid Method (4 characters)"] * 10,
        f"{first}Invalid Method (5 characters) repeated=5",
        *[f"{first}the next minute"] * 2,
    ]
    assert len(written) == 11 + 11 + 1 + 2


def test_attack_late_exceptions_of_an_application_do_not_fill_the_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(_logger._SUMMING_FILTER, "_repeats", Repeats(lambda: now[0]))
    logger = set_up()
    for number in range(60):
        logger.error("Error handling request /%d", number, exc_info=raised("in the body"))
    logger.warning("Invalid request from ip=192.0.2.7: another window")
    now[0] += WINDOW
    logger.access(None, None, None, None)
    written = capsys.readouterr().err
    assert written.count("Traceback") == written.count("ValueError: in the body") == 10
    assert written.count("Error handling request") == 11
    # A flood that goes on has one record a minute.
    assert written.endswith(" gunicorn.error: Error handling request /59 repeated=50\n")
