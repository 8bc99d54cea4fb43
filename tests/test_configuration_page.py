"""The table of docs/configuration.md lists every setting with its default."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from swaig_wsgi import AgentApp, Settings, SslConfig
from swaig_wsgi.agent.agent import DEFAULT_PORT
from swaig_wsgi.agent.stack import DEFAULT_MAX_REQUEST_SIZE

PAGE = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text(encoding="utf-8")


def table() -> dict[str, tuple[str, str]]:
    """Return the variable and the default of each field."""
    found = {}
    for variables, names, default in re.findall(
        r"^\| (`[A-Z].*?) \| (.*?) \| (.*?) \|", PAGE, re.M
    ):
        listed = re.findall(r"`(\w+)`", names)
        if listed and listed[0].islower():
            for name, variable in zip(listed, re.findall(r"`(\w+)`", variables)):
                found[name] = (variable, default.strip("`"))
    return found


def test_the_table_lists_every_setting_with_its_default() -> None:
    rows = table()
    assert {name: variable for name, (variable, _) in rows.items()} == {
        each.name: each.metadata["variable"] for each in fields(Settings)
    }
    for each in fields(Settings):
        default = rows[each.name][1]
        if each.default not in (None, ()):
            assert default == str(each.default).lower()
        else:
            assert default not in ("", "true", "false")


def test_defaults_that_are_no_fields_are_as_listed() -> None:
    rows = {name: default for name, (_, default) in table().items()}
    assert rows["port"] == str(DEFAULT_PORT)
    assert rows["max_request_size"].split(" ")[0] == str(DEFAULT_MAX_REQUEST_SIZE)
    header = SslConfig(enabled=True, domain="a.example").get_hsts_header()
    assert f"max-age={rows['hsts_max_age']};" in header
    agent = AgentApp("bank", settings=Settings())
    user, password = agent.get_basic_auth_credentials()
    assert user == "bank"
    assert f"its name, and {len(password)} random hex" in rows["basic_auth_user"]
    int(password, 16)
