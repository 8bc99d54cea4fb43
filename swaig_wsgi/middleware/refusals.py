"""A site's own pages for refused requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..core._validation import ArgumentTypeError, check_items
from ..wsgi import REFUSAL_APP, RefusalApp
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._application import check_application, is_same, layers_of

__all__ = ["RefusalMiddleware"]


class RefusalMiddleware:
    """Let an application render the refusals of all inner layers.

    The application finds the refusal, a :class:`swaig_wsgi.core.refusals.Refusal`, in
    ``environ["swaig_wsgi.refusal"]``: `status`, `error` (English, for clients), `reason` and
    `headers`. It is called with a copy of `environ`: a GET, whatever the method of the request, and
    without body, query, cookies, credentials, user, and keys of servers and other layers. Path,
    host, language and request id are those of the request.

    It decides only on the page. The status is that of the refusal, whose fields, such as
    ``Retry-After`` and ``WWW-Authenticate``, replace the page's own, as do those of outer layers.
    ``Set-Cookie`` and fields that let caches store the page are dropped; ``Cache-Control`` is
    ``no-store``. If the application raises an :exc:`Exception`, does not respond, or passes a
    malformed status, field or body, the response is JSON, and the first such failure in a process
    is logged. Agents respond with JSON in any case.

    Place it outside every layer that may refuse.

    Args:
        app: the wrapped application.
        refusal_app: the application that renders the pages. It must not run the views of `app`.
        secret_headers: names of request fields with secrets that it must not see, such as that of
            an API key. Common ones need not be listed.

    Raises:
        TypeError: `refusal_app` is not a WSGI application, is hardened, or is `app` or a handler of
            Django, whose views would run.
    """

    def __init__(
        self,
        app: WSGIApplication,
        refusal_app: WSGIApplication,
        *,
        secret_headers: Iterable[str] = (),
    ) -> None:
        _check_refusal_app(refusal_app, app)
        names = check_items("secret_headers", secret_headers, "('X-Partner-Key',)")
        self.app = app
        self._refusal_app = RefusalApp(refusal_app, names)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get(REFUSAL_APP, self) is None:
            raise RuntimeError("refusal_app calls the application that has refused the request")
        environ[REFUSAL_APP] = self._refusal_app
        return self.app(environ, start_response)


def _check_refusal_app(refusal_app: Any, app: Any) -> None:
    """Raise TypeError if `refusal_app` is no WSGI application, or would run the views of `app`.

    Refused requests would run them. Every handler of Django runs the views of its site.
    """
    check_application(refusal_app, "refusal_app")
    own, others = layers_of(app), layers_of(refusal_app)
    same = any(is_same(layer, each) for layer in others for each in own)
    if same or any(type(each).__module__ == "django.core.handlers.wsgi" for each in others):
        raise ArgumentTypeError(
            "refusal_app runs the views of the application for requests that were refused; pass a "
            "function of environ and start_response that renders a page"
        )
