from __future__ import annotations

from pathlib import Path

import pytest
from agent import ClinicAgent
from appointments import AppointmentBook

pytest_plugins = ["swaig_wsgi.pytest_plugin"]


@pytest.fixture
def book(tmp_path: Path) -> AppointmentBook:
    return AppointmentBook(str(tmp_path / "clinic.db"))


@pytest.fixture
def agent(book: AppointmentBook) -> ClinicAgent:
    return ClinicAgent(book)
