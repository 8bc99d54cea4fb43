"""Conditional requests (RFC 9110 section 13) for a file."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from werkzeug.http import parse_date, parse_etags, parse_range_header

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_PRECONDITIONS = (
    "HTTP_IF_MATCH",
    "HTTP_IF_UNMODIFIED_SINCE",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
)


def precondition(environ: WSGIEnvironment, etag: str, modified: float) -> int | None:
    """Return 412 or 304 where a precondition says so, None to go on (section 13.2.2).

    Args:
        environ: a GET or HEAD request.
        etag: of the file, strong, without quotation marks.
        modified: when the file was, in seconds since the epoch.
    """
    last = datetime.fromtimestamp(int(modified), timezone.utc)
    if "HTTP_IF_MATCH" in environ:
        if not parse_etags(environ["HTTP_IF_MATCH"]).contains(etag):
            return 412
    else:
        since = parse_date(environ.get("HTTP_IF_UNMODIFIED_SINCE"))
        if since is not None and last > since:
            return 412
    if "HTTP_IF_NONE_MATCH" in environ:
        return 304 if parse_etags(environ["HTTP_IF_NONE_MATCH"]).contains_weak(etag) else None
    since = parse_date(environ.get("HTTP_IF_MODIFIED_SINCE"))
    return 304 if since is not None and last <= since else None


def settled(environ: WSGIEnvironment, size: int) -> WSGIEnvironment:
    """Return `environ` without preconditions, and with a range only where one applies.

    A range is for GET (section 14.2). One that is malformed, of another unit, or more than one is
    ignored; one that asks for more last bytes than there are is for all (section 14.1.2).
    """
    own = {name: value for name, value in environ.items() if name not in _PRECONDITIONS}
    asked = parse_range_header(own.pop("HTTP_RANGE", None))
    if environ["REQUEST_METHOD"] != "GET" or asked is None or asked.units != "bytes":
        return own
    if len(asked.ranges) == 1:
        first, _ = asked.ranges[0]
        whole = first is not None and first < 0 and -first >= size > 0
        own["HTTP_RANGE"] = "bytes=0-" if whole else environ["HTTP_RANGE"]
    return own
