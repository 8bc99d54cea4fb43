"""The id of a request, under which clients, proxies and logs find it."""

from __future__ import annotations

import os
import re

from ..core.redaction import mask_known
from ._types import WSGIEnvironment

REQUEST_ID = "swaig_wsgi.request_id"

#: Safe in a log line, in a header field and in a file name. UUIDs, ULIDs, nginx's `$request_id` and
#: trace ids match; two fields that a server joined with a comma do not.
_ACCEPTED = re.compile(r"[A-Za-z0-9._~:+-]{8,128}")


def request_id(environ: WSGIEnvironment) -> str:
    """Return the id of the request, and record it in ``environ["swaig_wsgi.request_id"]``.

    It is the one that the client or a proxy sent in ``X-Request-Id`` if that has 8 to 128 letters,
    digits and characters of ``._~:+-``; else a random one. Clients choose the former, so equal ids
    do not prove that requests belong together. One that contains a token or a configured secret is
    replaced: the id is in the log and in the response.
    """
    found = environ.get(REQUEST_ID)
    if found is None:
        found = environ.get("HTTP_X_REQUEST_ID")
        if isinstance(found, str) and mask_known(found) != found:
            found = None
    if not isinstance(found, str) or _ACCEPTED.fullmatch(found) is None:
        # As random as a UUID, and made in a third of the time.
        found = os.urandom(16).hex()
    environ[REQUEST_ID] = found
    return found
