"""The clinic's locations, and the book of their appointments."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

SLOT = timedelta(minutes=30)

SCHEMA = """
CREATE TABLE IF NOT EXISTS appointments (
    location TEXT, slot TEXT, code TEXT, patient TEXT, PRIMARY KEY (location, slot)
);
CREATE TABLE IF NOT EXISTS summaries (call_id TEXT PRIMARY KEY, summary TEXT);
"""


@dataclass(frozen=True)
class Location:
    name: str
    address: str
    #: Calls are transferred to it, and text messages come from it.
    phone: str
    opens: time
    closes: time
    languages: tuple[tuple[str, str, str], ...]

    def slots(self, day: date) -> list[datetime]:
        """Return when appointments begin on a day, in the server's time zone; none in the past."""
        slot, closes = (datetime.combine(day, each) for each in (self.opens, self.closes))
        now = datetime.now()
        slots = []
        while day.weekday() < 5 and slot < closes:
            if slot > now:
                slots.append(slot)
            slot += SLOT
        return slots


ENGLISH = ("English", "en-US", "rime.spore")
SPANISH = ("Spanish", "es-US", "rime.luz")

LOCATIONS = {
    "north": Location(
        "North Clinic", "12 Hill Road", "+15555550110", time(8), time(12), (ENGLISH,)
    ),
    "south": Location(
        "South Clinic", "3 Harbor Street", "+15555550120", time(10), time(18), (ENGLISH, SPANISH)
    ),
}


class AppointmentBook:
    """Appointments in a file that all workers of the server share. Thread-safe.

    Each method opens a connection of its own, because threads and forked workers must not share
    one.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        with self._open() as db:
            db.executescript(SCHEMA)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self._path)
        try:
            with db:  # Commits, or rolls back after an exception.
                yield db
        finally:
            db.close()

    def free(self, location: str, day: date) -> list[datetime]:
        """Return the free slots of a location on one day."""
        with self._open() as db:
            rows = db.execute("SELECT slot FROM appointments WHERE location = ?", (location,))
            taken = {datetime.fromisoformat(slot) for (slot,) in rows}
        return [slot for slot in LOCATIONS[location].slots(day) if slot not in taken]

    def reserve(self, location: str, slot: datetime, patient: str) -> str | None:
        """Return the code of a new appointment, or None if that time cannot be had."""
        if slot not in LOCATIONS[location].slots(slot.date()):
            return None
        code = f"{secrets.randbelow(1_000_000):06}"
        try:
            # The primary key admits one of two workers that reserve the same slot at once.
            with self._open() as db:
                row = (location, slot.isoformat(), code, patient)
                db.execute("INSERT INTO appointments VALUES (?, ?, ?, ?)", row)
        except sqlite3.IntegrityError:
            return None
        return code

    def cancel(self, location: str, slot: datetime, code: str) -> bool:
        """Cancel an appointment; return whether there was one with that time and code."""
        with self._open() as db:
            done = db.execute(
                "DELETE FROM appointments WHERE location = ? AND slot = ? AND code = ?",
                (location, slot.isoformat(), code),
            )
            return done.rowcount == 1

    def save_summary(self, call_id: str, summary: Any) -> None:
        with self._open() as db:
            row = (call_id, json.dumps(summary))
            db.execute("INSERT OR REPLACE INTO summaries VALUES (?, ?)", row)

    def summaries(self) -> dict[str, Any]:
        """Return the summaries by call id."""
        with self._open() as db:
            rows = db.execute("SELECT call_id, summary FROM summaries").fetchall()
        return {call_id: json.loads(summary) for call_id, summary in rows}
