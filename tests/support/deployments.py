"""What the tests of the deployment files in examples/ share."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from swaig_wsgi import Settings

SECRET = "a secret of some length"
PLATFORM = ("platform", "a password of the platform")
VARIABLES = {each.metadata["variable"] for each in dataclasses.fields(Settings)} | {
    f"{each.metadata['variable']}_FILE"
    for each in dataclasses.fields(Settings)
    if each.metadata["secret"]
}


def settings_of(variables: dict[str, str]) -> Settings:
    """Return the settings of these variables, all of which must be ours and valid."""
    assert variables.keys() <= VARIABLES
    return Settings.from_env(variables)


def write_secrets(directory: Path) -> dict[str, str]:
    """Write secret files to `directory`, and return their paths by the names in the deployments."""
    storage_url = f"sqlite:///{directory}/store.db"
    contents = {"secret": SECRET, "password": PLATFORM[1], "storage-url": storage_url}
    contents |= {"secret-fallbacks": "", "password-fallbacks": ""}
    for name, content in contents.items():
        (directory / name).write_text(content and content + "\n")
    return {name: str(directory / name) for name in contents}


def is_served(server: Any, host: str, fields: dict[str, str] | None = None) -> None:
    """Check that an agent serves its platform and health checks, and nothing else.

    `fields` are what its proxy adds; health checks come without.
    """
    headers = {"Host": host, **(fields or {})}
    assert server.request("GET", "/health", auth=None).json == {"status": "ok"}
    assert server.request("GET", "/ready", auth=None).json == {"status": "ready"}
    assert server.request("GET", "/", auth=None, headers=headers).status == 401
    assert (
        server.request(
            "GET", "/", auth=PLATFORM, headers={**headers, "Host": "evil.example"}
        ).status
        == 403
    )
    assert server.request("GET", "/", auth=PLATFORM, headers=headers).status == 200
