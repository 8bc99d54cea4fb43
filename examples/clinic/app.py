"""The application that the server loads."""

from __future__ import annotations

import os

from agent import ClinicAgent
from appointments import AppointmentBook

app = ClinicAgent(AppointmentBook(os.environ.get("CLINIC_DATABASE", "clinic.db")))
