"""AgentApp: an agent as a WSGI application."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ..middleware._agent_name import NamedAgent
from ..wsgi import AGENT, REFUSAL_APP
from ..wsgi._types import StartResponse, WSGIEnvironment
from ._forwards import forward
from .agent import Agent
from .health import Readiness, accepts_writes
from .routes import normal_route
from .stack import agent_stack

__all__ = ["AgentApp"]

A = TypeVar("A", bound="AgentApp")


class AgentApp(Agent):
    """A voice agent behind all security layers, as a WSGI application.

    Args:
        name: the agent's name in prompts and logs. It is part of the token key: tokens of one
            agent are invalid for an agent of another name.
        route: the path under which the agent is served.
        host: the address on which :meth:`run` listens.
        port: the port on which :meth:`run` listens; by default ``PORT``, else 3000.
        basic_auth: user and password that every request must carry; by default
            ``SWML_BASIC_AUTH_USER`` and ``SWML_BASIC_AUTH_PASSWORD``, else the agent's name and
            a random password. ``SWML_BASIC_AUTH_PASSWORD_FALLBACKS`` are accepted with the same
            user name.
        token_expiry_secs: lifetime of a tool token, in seconds.
        secret_key: the secret that signs tool tokens, at least 16 bytes; by default
            ``SIGNALWIRE_SWAIG_SECRET``, else random.
        settings: by default :meth:`Settings.from_env`, read now.
        auth: methods of authentication that are accepted in addition to Basic.
        secure_by_default: whether tools need a token unless they are defined otherwise.
        auto_answer: whether the document answers the call.
        record_call: whether the document records the call.
        record_format: ``mp4``, ``mp3`` or ``wav``.
        record_stereo: whether each side has its own channel.
        signature_length: hex characters of the signature in a tool token, 16 to 64; tokens with a
            shorter signature are rejected.
        signing_key: the platform's signing key, or several during a key rotation; by default
            ``SIGNALWIRE_SIGNING_KEY`` and ``SIGNALWIRE_SIGNING_KEY_FALLBACKS``. If there is one,
            requests must be signed.

    Raises:
        ConfigurationError: a setting is invalid; the message names the variable.
        TypeError, ValueError: an argument or PROMPT_SECTIONS is invalid.
    """

    _parts = (*Agent._parts, "_readiness")

    def _complete(self) -> None:
        self._readiness = Readiness(
            optional=("store",) if self.settings.ready_without_store else ()
        )
        self._readiness.add("store", lambda: accepts_writes(self.store))
        self._build()

    def _build(self) -> None:
        self._application = agent_stack(self, self._auth, self._readiness)

    @property
    def agent_name(self) -> str:
        """The name in records, also in those of the layers that :func:`harden` adds."""
        return self.name

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # Before all layers, so that the records of every refusal name the agent.
        environ[AGENT] = self.name
        # A site's error pages are for people; clients of an agent expect JSON.
        environ.pop(REFUSAL_APP, None)
        return self._application(environ, start_response)

    def _move(self, route: str) -> None:
        """Serve under another route from now on.

        Raises:
            ValueError: the route is malformed.
        """
        self.route = normal_route(route)
        self._build()

    def register_routing_callback(
        self: A, callback_fn: Callable[..., Any], path: str = "/sip"
    ) -> A:
        """As :meth:`Agent.register_routing_callback`, from the next request on."""
        super().register_routing_callback(callback_fn, path)
        self._build()
        return self

    def unregister_routing_callback(self, path: str) -> bool:
        """As :meth:`Agent.unregister_routing_callback`, from the next request on."""
        removed = super().unregister_routing_callback(path)
        self._build()
        return removed

    def is_ready(self) -> bool:
        """Return whether the agent can take calls: every readiness check passes."""
        return self._is_ready()

    # Private, so that a subclass may give the public name another meaning.
    def _is_ready(self) -> bool:
        return not self._readiness.failures()

    add_readiness_check = forward("_readiness", Readiness.add)

    def run(self, host: str | None = None, port: int | None = None) -> None:
        """Serve the agent with Werkzeug's development server until interrupted.

        Uses TLS if ``SWML_SSL_ENABLED`` is set. For production use gunicorn.

        Raises:
            ConfigurationError: TLS is enabled, but certificate or key cannot be used.
        """
        from .dev_server import serve

        host = self.host if host is None else host
        serve(self, self.settings, host, self.port if port is None else port)


NamedAgent.register(AgentApp)
