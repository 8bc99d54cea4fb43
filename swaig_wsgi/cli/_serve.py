"""``swaig-wsgi serve``."""

from __future__ import annotations

import os
import sys

from ..config import ConfigurationError, Settings
from ..loading import LoadingError, load_application
from ._errors import CommandError


def serve(application: str, host: str | None = None, port: int | None = None) -> int:
    """Serve ``MODULE:APP`` for development until interrupted; Werkzeug prints the address.

    An agent serves itself, by :meth:`AgentApp.run`. Any other application is served with the
    settings of the environment, TLS included, on 127.0.0.1 and ``PORT``, by default 3000.
    """
    try:
        # Imported here, so that the other commands need nothing installed.
        from ..agent import dev_server
        from ..agent.app import AgentApp
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "werkzeug":
            raise
        raise CommandError("serve needs Werkzeug: pip install 'swaig-wsgi[app]'") from None
    sys.path.insert(0, os.getcwd())
    try:
        app = load_application(application)
        if isinstance(app, AgentApp):
            app.run(host, port)
        else:
            settings = Settings.from_env()
            if port is None:
                port = settings.port or 3000
            dev_server.serve(app, settings, host or "127.0.0.1", port)
    except (ConfigurationError, LoadingError) as error:
        raise CommandError(error) from None
    except KeyboardInterrupt:
        pass
    return 0
