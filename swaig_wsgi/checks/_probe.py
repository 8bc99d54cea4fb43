"""A running service, seen from outside: as a client without credentials, and with them.

No request can have an effect: bodies are empty, so that no tool is named, and only the document is
fetched with credentials. The probe makes about 20 requests, up to five with a wrong password.
"""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ..core.headers import SECURITY_HEADERS, SITE_HEADERS
from ..core.hosts import HostError, parse_host
from ..core.redaction import MASK, redact_url
from ._agents import endpoint_paths
from ._connection import (
    OutOfTime,
    ProbeError,
    Reply,
    Target,
    encode_path,
    parse_target,
    reason,
    secured,
)
from ._findings import Finding, finding

__all__ = ["ProbeError", "check_url"]

#: Reserved (RFC 2606), so that no service has this host or origin.
_OTHER_HOST = "probe.invalid"
_ORIGIN = f"https://{_OTHER_HOST}"

#: With these, an endpoint does nothing for a client: redirects (to a login), 404 and 405 (there is
#: no such endpoint), 429 and 503 (for no client at the moment).
_REFUSED = frozenset({0, 301, 302, 303, 307, 308, 401, 403, 404, 405, 410, 421, 429, 503})

#: With these, there is no such endpoint, or the request itself is refused and not its credentials.
_ABSENT = frozenset({404, 405, 410})

#: Wrong passwords of a run: a limit on failures, such as 10, must not lock out the operator.
_MAX_GUESSES = 5

#: With these, a site has no health endpoint.
_NO_HEALTH = frozenset({301, 302, 307, 308, 404, 405})

#: Of a document: a hostile one could name any number of paths.
_MAX_WEBHOOKS = 100

#: Of an agent, below its route.
_ENDPOINTS = ("swaig", "post_prompt", "debug_events")

#: What allows any origin in Access-Control-Allow-Origin.
_ANY = ("*", _ORIGIN)

_TOO_LARGE = 16 * 2**20 + 1

_RATE_FIELDS = ("RateLimit", "RateLimit-Policy", "RateLimit-Limit", "X-RateLimit-Limit")


def check_url(
    url: str,
    *,
    credentials: tuple[str, str] | None = None,
    timeout: float = 10.0,
    total_timeout: float = 300.0,
    agents: Iterable[Any] = (),
) -> list[Finding]:
    """Return the findings on the service that runs at `url`, an agent or any other site.

    Args:
        url: the URL of the agent or site, with its path; it may contain user and password.
        credentials: user and password, unless the URL has them. They are sent over verified TLS
            only, or to this machine.
        timeout: of each connection, from its start to the end of the response, in seconds.
        total_timeout: of all connections, in seconds. A service that takes longer is an error among
            the findings, and the rest was not seen.
        agents: those of the service, if they are known; each of their endpoints is probed.

    Raises:
        ProbeError: the URL is malformed, or nothing responds there.
    """
    target, found = secured(parse_target(url, credentials, timeout, total_timeout))
    try:
        for each in _probe(target, agents):
            found.append(each)
    except OutOfTime:
        text = f"The service is too slow: after {total_timeout:g} seconds, the probe had not seen "
        found.append(finding("E108", f"{text}everything."))
    name = target.host.name
    return [replace(each, line=each.line.replace("agent.example.com", name)) for each in found]


def _probe(target: Target, agents: Iterable[Any]) -> Iterator[Finding]:
    root = target.path or "/"
    try:
        first = target.request("GET", root)
    except (OSError, http.client.HTTPException) as error:
        raise ProbeError(f"{target.host.name}: no response: {reason(error)}") from None
    guarded = _guarded(target, first)
    known = None
    if guarded and target.credentials is not None and target.may_send_credentials:
        known = target.credentials
    authenticated = first
    if known is not None:
        authenticated = target.try_request(*guarded[0], credentials=known)
    yield from _failure_findings(first, authenticated)
    yield from _header_findings(target, first, authenticated)
    refusing = yield from _open_findings(target, first, authenticated, agents)
    yield from _credential_findings(target, guarded, authenticated)
    yield from _document_findings(target, authenticated)
    yield from _host_findings(target, root, first)
    yield from _origin_findings(target, root)
    yield from _size_findings(target, root, known)
    yield from _rate_findings(first, authenticated)
    yield from _health_findings(target)
    # The last, because a limit on failures may then refuse every request.
    yield from _password_findings(target, refusing)


def _failure_findings(first: Reply, authenticated: Reply) -> Iterator[Finding]:
    """Yield a finding if the service itself is not seen, but only its refusal or failure."""
    if first.status >= 500:
        yield finding("E108", f"The service fails: {first.status}.")
    elif authenticated.status >= 500:
        yield finding(
            "E108", f"The service fails for a client with the password: {authenticated.status}."
        )
    elif not (first.complete and authenticated.complete):
        yield finding("E108", "The service fails: its response ends early, or takes too long.")
    elif first.status in (400, 403, 421, 429):
        text = f"The service refuses the probe, {first.status}, so that little else was seen: it "
        yield finding("W109", text + "does not serve this host or this client, or not now.")


def _guarded(target: Target, first: Reply) -> list[tuple[str, str]]:
    """Return the endpoints that ask for credentials: the document, else the tool calls."""
    if first.status == 401:
        return [("GET", target.path or "/")]
    tools = f"{target.path}/swaig"
    return [("POST", tools)] if target.try_request("POST", tools).status == 401 else []


def _header_findings(target: Target, reply: Reply, authenticated: Reply) -> Iterator[Finding]:
    headers = reply.headers
    is_agent = _document(authenticated) is not None
    expected = SECURITY_HEADERS if is_agent else SITE_HEADERS
    missing = [name for name, _ in expected if name not in headers]
    if headers.get("X-Content-Type-Options", "nosniff").strip().lower() != "nosniff":
        missing.append("X-Content-Type-Options: nosniff")
    if "frame-ancestors" in headers.get("Content-Security-Policy", ""):
        missing = [name for name in missing if name != "X-Frame-Options"]
    if missing:
        yield finding("W101", f"Responses lack {', '.join(missing)}.")
    if target.scheme == "https" and "Strict-Transport-Security" not in headers:
        yield finding("W102", "Responses over https lack Strict-Transport-Security.")


def _open_findings(
    target: Target, first: Reply, authenticated: Reply, agents: Iterable[Any]
) -> Generator[Finding, None, list[tuple[str, str]]]:
    """Yield findings on requests without credentials, and return the endpoints that refuse them."""
    root, tools = target.path or "/", f"{target.path}/swaig"
    urls = list(_webhook_urls(_document(authenticated)))
    # Requests go to this host only: a document may name others.
    here = [url for url in urls if _authority(url) == target.authority]
    named = dict.fromkeys(encode_path(url.path) or "/" for url in here[:_MAX_WEBHOOKS])
    endpoints = [("GET", root), ("POST", tools), *(("POST", path) for path in named)]
    endpoints += [("POST", f"{target.path}/{each}") for each in _ENDPOINTS]
    endpoints.append(("GET", f"{target.path}/metrics"))
    endpoints += [("POST", path) for path in (root, *endpoint_paths(agents, target.path))]
    control = target.try_request("POST", f"{target.path}/{secrets.token_hex(8)}")
    # Those that the document names here, and the tools also if it names them elsewhere.
    expected = {*named, *({tools} & {url.path for url in urls})}
    seen: dict[str, dict[tuple[str, str], int]] = {}
    for asked in dict.fromkeys(endpoints):
        path = asked[1]
        reply = first if asked == ("GET", root) else target.try_request(*asked)
        if path == root:
            what = _classify_root(reply, control, guarded=first.status == 401)
        elif path in named and reply.status in _ABSENT:
            what = "absent"
        else:
            what = _classify(reply, control, expected=path in expected)
        seen.setdefault(what, {})[asked] = reply.status
    yield from _seen_findings(seen)
    return list(seen.get("refusing", ()))


def _seen_findings(seen: Mapping[str, Mapping[tuple[str, str], int]]) -> Iterator[Finding]:
    """Yield findings on statuses of requests without credentials, by what they show."""
    paths = {what: _shown(dict.fromkeys(path for _, path in seen[what])) for what in seen}
    statuses = {what: _statuses(seen[what].values()) for what in seen}
    if "served" in seen:
        yield finding("E101", f"Clients without credentials are served at {paths['served']}.")
    if "absent" in seen:
        text = f"The document names {paths['absent']}, but a client without credentials gets "
        text += f"{statuses['absent']}, not 401: requests are read before credentials are checked."
        yield finding("E101", text)
    if "unclear" in seen:
        text = f"A client without credentials gets {statuses['unclear']} at {paths['unclear']}, "
        text += "not 401: it was not seen whether another request would be served."
        yield finding("W110", text)


def _classify_root(reply: Reply, control: Reply, *, guarded: bool) -> str:
    """Return what the response at the root shows, as :func:`_classify` does.

    Unauthenticated clients may get anything there but a document, and what is `guarded` from a GET.
    """
    if reply.status == 401:
        return "refusing"
    opened = guarded and reply.status not in {*_REFUSED, control.status}
    return "served" if opened or _document(reply) is not None else "other"


def _classify(reply: Reply, control: Reply, *, expected: bool) -> str:
    """Return what a response to a client without credentials shows about an endpoint.

    It is ``refusing`` or ``served``, ``unclear`` if another request than an empty one might be
    served, or ``other``: there is no such endpoint, or no request is served at the moment.

    Args:
        control: the response at a path that does not exist.
        expected: whether the document names the path.
    """
    if reply.status == 401:
        return "refusing"
    if expected and (reply.status in _ABSENT or reply.status == 403 != control.status):
        return "unclear"
    if reply.status in _REFUSED:
        return "other"
    if not _is_like(reply, control):
        return "served"
    # A site may serve the same page at every path, except for what is unique in it.
    is_page = reply.status < 400 and (expected or reply.body != control.body)
    return "unclear" if is_page else "other"


def _is_like(reply: Reply, control: Reply) -> bool:
    """Return whether a site treats a path as it does one that does not exist.

    It may refuse every path alike, for instance for its host, or serve a page at every path.
    """
    if reply.status != control.status:
        return False
    kinds = {each.headers.get("Content-Type") for each in (reply, control)}
    return reply.status >= 400 or len(kinds) == 1


def _shown(paths: Iterable[str]) -> str:
    # The paths of webhooks are the document's, and may contain a part of a password.
    return ", ".join(MASK if "@" in path else redact_url(path) for path in paths)


def _statuses(statuses: Iterable[int]) -> str:
    return " or ".join(sorted({str(status) for status in statuses}))


def _password_findings(target: Target, refusing: list[tuple[str, str]]) -> Iterator[Finding]:
    """Yield a finding if a random password is accepted by endpoints that refuse requests without.

    Then even 404 is the response to a client who knows the password.
    """
    user = (target.credentials or ("platform", ""))[0]
    accepting = []
    for method, path in refusing[:_MAX_GUESSES]:
        wrong = (user, secrets.token_urlsafe(32))
        status = target.try_request(method, path, credentials=wrong).status
        if status not in _REFUSED - _ABSENT:
            accepting.append(path)
    if accepting:
        shown = _shown(dict.fromkeys(accepting))
        yield finding("E102", f"A random password is accepted at {shown}.")


def _credential_findings(
    target: Target, guarded: list[tuple[str, str]], authenticated: Reply
) -> Iterator[Finding]:
    if not guarded:
        return
    if target.credentials is None:
        yield finding("I103", "No credentials were given, so only refusals were checked.")
    elif not target.may_send_credentials:
        text = "The credentials were not sent, because others could read them: the service has no "
        yield finding("I103", text + "certificate that clients accept.")
    elif authenticated.status in (0, 401, 429):
        status = authenticated.status or "no response"
        yield finding("E103", f"The service refuses the credentials: {status}.")


def _document(reply: Reply) -> dict[str, Any] | None:
    """Return the SWML document in a response, or None."""
    if reply.status != 200:
        return None
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and "sections" in value else None


def _webhook_urls(value: Any) -> Iterator[Any]:
    """Yield the URLs that a document has for the platform, parsed, without other members."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            waiting += each.values()
            for name in ("web_hook_url", "post_prompt_url"):
                try:
                    yield urlsplit(str(each[name]))
                except (KeyError, ValueError):
                    continue


def _document_findings(target: Target, reply: Reply) -> Iterator[Finding]:
    urls = list(_webhook_urls(_document(reply)))
    here = [url for url in urls if url.path.startswith(f"{target.path}/")]
    hosts = {_shown_host(url) for url in here} - {target.authority}
    if hosts:
        names = ", ".join(sorted(hosts))
        yield finding("W108", f"The document's webhook URLs have another host: {names}.")
    elif target.scheme == "https" and any(url.scheme == "http" for url in here):
        yield finding("W108", "The document's webhook URLs are plain HTTP.")


def _authority(url: Any) -> str:
    return str(url.netloc.rpartition("@")[2])


def _shown_host(url: Any) -> str:
    """Return the host of a parsed URL, unless it may be a part of a password."""
    host = _authority(url)
    # A password with a bare "/", "?" or "#" ends the authority: "user:1" of "user:1/2@host".
    if "@" in f"{url.path}{url.query}{url.fragment}":
        return "a malformed one"
    try:
        parse_host(host)
    except HostError:
        return "a malformed one"
    return host


def _host_findings(target: Target, root: str, first: Reply) -> Iterator[Finding]:
    status = target.try_request("GET", root, headers={"Host": _OTHER_HOST}).status
    if status == first.status and status not in (400, 403, 421, 429, 503):
        text = f"The service serves the host {_OTHER_HOST}, so it serves any: {status}."
        yield finding("W105", text)


def _origin_findings(target: Target, root: str) -> Iterator[Finding]:
    simple = {"Origin": _ORIGIN}
    preflight = {**simple, "Access-Control-Request-Method": "POST"}
    replies = [
        target.try_request("GET", root, headers=simple),
        target.try_request("OPTIONS", root, headers=preflight),
    ]
    allowed = [each.headers for each in replies]
    allowed = [each for each in allowed if each.get("Access-Control-Allow-Origin") in _ANY]
    reflected = [
        each
        for each in allowed
        if each["Access-Control-Allow-Origin"] == _ORIGIN
        and each.get("Access-Control-Allow-Credentials") == "true"
    ]
    if reflected:
        text = "Pages of any origin may read responses to requests with the browser's cookies and "
        yield finding("E106", text + "passwords.")
    elif allowed:
        yield finding("W106", "Pages of any origin may read responses.")


def _size_findings(
    target: Target, root: str, credentials: tuple[str, str] | None
) -> Iterator[Finding]:
    # The body is announced, but never sent. GET, because no site has an effect then.
    headers = {"Content-Length": str(_TOO_LARGE)}
    reply = target.try_request("GET", root, headers=headers, credentials=credentials)
    if reply.timed_out or reply.status not in _REFUSED | {413}:
        text = f"A body of {_TOO_LARGE:,} bytes is not refused when it is announced"
        yield finding("W107", f"{text}: {reply.status or 'the server waits for it'}.")


def _rate_findings(*replies: Reply) -> Iterator[Finding]:
    if not any(name in reply.headers for reply in replies for name in _RATE_FIELDS):
        yield finding("I101", "Responses have no rate-limit headers, such as RateLimit-Policy.")


def _health_findings(target: Target) -> Iterator[Finding]:
    statuses = {
        path: target.try_request("GET", f"{target.path}/{path}").status
        for path in ("health", "ready")
    }
    missing = [path for path, status in statuses.items() if status in _NO_HEALTH]
    failing = {path: status for path, status in statuses.items() if status != 200}
    unhealthy = [f"/{path} is {failing[path]}" for path in failing if path not in missing]
    if unhealthy:
        yield finding("E107", f"The service does not report health: {', '.join(unhealthy)}.")
    if missing:
        paths = " and ".join(f"{target.path}/{path}" for path in missing)
        yield finding("I102", f"There is no {paths} for load balancers.")
