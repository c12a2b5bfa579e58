"""Inspection's own memory, on either side: what was seen over time (`watch.db`). Lost, only the past is gone.

    sample(minute, name, n, total, least, most, last)   a figure, by minute of the wall clock, for 48 h
    hour(hour, name, n, total, least, most)             the same by hour, for 35 days
    turn(id, at_ms, what, detail)                       the link went up or down, the throttle turned: 35 days
    state(name, value)                                  what a watching part keeps, as JSON

Written by the side's watching process alone; read by whoever looks. No names and no NIKs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from pipeline.adapters.sqlite import Database, Layout
from pipeline.errors import NotFound, StoreDamaged, StoreError

FILE_NAME = "watch.db"
_FIRST = """
CREATE TABLE sample(
  minute INTEGER, name TEXT, n INTEGER NOT NULL, total REAL NOT NULL, least REAL NOT NULL, most REAL NOT NULL,
  last REAL NOT NULL, PRIMARY KEY(name, minute)) WITHOUT ROWID;
CREATE TABLE hour(
  hour INTEGER, name TEXT, n INTEGER NOT NULL, total REAL NOT NULL, least REAL NOT NULL, most REAL NOT NULL,
  PRIMARY KEY(name, hour)) WITHOUT ROWID;
CREATE TABLE turn(id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL);
CREATE INDEX turn_at ON turn(at_ms);
CREATE TABLE state(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
LAYOUT = Layout("watch", 0x7469_7774, (_FIRST,))
#: How long minutes, hours and turns are kept.
MINUTES_MAX, HOURS_MAX, TURNS_MS_MAX = 48 * 60, 35 * 24, 35 * 86_400_000
_PRUNE_EVERY_MIN = 60
_SAMPLE = (
    "INSERT INTO sample VALUES (?1, ?2, 1, ?3, ?3, ?3, ?3) ON CONFLICT(name, minute) DO UPDATE SET "
    "n = n + 1, total = total + ?3, least = min(least, ?3), most = max(most, ?3), last = ?3"
)
_HOUR = (
    "INSERT INTO hour VALUES (?1, ?2, 1, ?3, ?3, ?3) ON CONFLICT(name, hour) DO UPDATE SET "
    "n = n + 1, total = total + ?3, least = min(least, ?3), most = max(most, ?3)"
)
_STATE = "INSERT INTO state VALUES (?1, ?2) ON CONFLICT(name) DO UPDATE SET value = ?2"


class Sample(NamedTuple):
    """A figure in one minute (since 1970): its mean, its bounds, and what it was last."""

    minute: int
    name: str
    mean: float
    least: float
    most: float
    last: float


class Turn(NamedTuple):
    """Something turned at `at_ms`: `link up`, `link down`, `throttle` (detail: the state)."""

    id: int
    at_ms: int
    what: str
    detail: str


class WatchStore:
    """The writer, for one thread of one process. A file that is damaged is put aside (`watch.db.damaged`) and
    begun anew, also while it is in use, and so is one that was deleted; `said` is told of that. States are
    kept on."""

    def __init__(self, folder: Path, said: Callable[[str], None] = lambda _: None) -> None:
        self._path, self._said = folder / FILE_NAME, said
        self._states: dict[str, str] = {}
        self._database = self._open()
        self._pruned_minute = 0

    def close(self) -> None:
        """Close it."""
        self._database.close()

    def sample(self, now_ms: int, values: Mapping[str, float]) -> None:
        """Figures as they are now, in one transaction."""
        minute, hour = now_ms // 60_000, now_ms // 3_600_000

        def keep(db: apsw.Connection) -> None:
            db.executemany(_SAMPLE, [(minute, name, float(value)) for name, value in values.items()])
            db.executemany(_HOUR, [(hour, name, float(value)) for name, value in values.items()])
            if minute - self._pruned_minute >= _PRUNE_EVERY_MIN:
                self._pruned_minute = minute
                db.execute("DELETE FROM sample WHERE minute < ?", (minute - MINUTES_MAX,))
                db.execute("DELETE FROM hour WHERE hour < ?", (hour - HOURS_MAX,))
                db.execute("DELETE FROM turn WHERE at_ms < ?", (now_ms - TURNS_MS_MAX,))

        self._write(keep)

    def turn(self, at_ms: int, what: str, detail: str = "") -> None:
        """It turned."""
        row = (at_ms, what, detail)
        self._write(lambda db: db.execute("INSERT INTO turn(at_ms, what, detail) VALUES (?, ?, ?)", row))

    def put(self, name: str, value: Any) -> None:
        """Keep a part's state (JSON)."""
        self._states[name] = json.dumps(value, ensure_ascii=False)
        self._write(lambda db: db.execute(_STATE, (name, self._states[name])))

    def get(self, name: str) -> Any:
        """A part's state; `None` where there is none."""
        return _state(self._database, name)

    def _write(self, keep: Callable[[apsw.Connection], object]) -> None:
        try:
            self._database.check_place()
            gone = not self._path.exists()
        except StoreError:
            gone = True
        if gone:
            self._begin_anew("deleted or replaced")
        try:
            with self._database.write() as db:
                keep(db)
        except StoreDamaged:
            self._database.close()
            self._put_aside()
            self._begin_anew("damaged")
            with self._database.write() as db:
                keep(db)

    def _begin_anew(self, what: str) -> None:
        """What the parts keep is put in again: an alarm that stands still has its beginning."""
        self._said(
            f"{self._path} was {what} while it was in use: it is begun anew, what was seen before is gone"
        )
        self._database.close()
        if not self._path.exists():
            self._remove_logs()  # of the file that is gone: they do not belong to the new one
        self._database = self._open()
        with self._database.write() as db:
            db.executemany(_STATE, list(self._states.items()))

    def _open(self) -> Database:
        try:
            made = Database.create(self._path, LAYOUT)
            made.rows("SELECT count(*) FROM state", (), tuple)
        except StoreDamaged:
            self._put_aside()
            made = Database.create(self._path, LAYOUT)
        return made

    def _put_aside(self) -> None:
        with suppress(FileNotFoundError):
            self._path.replace(self._path.with_name(f"{FILE_NAME}.damaged"))
        self._remove_logs()

    def _remove_logs(self) -> None:
        for tail in ("-wal", "-shm"):
            self._path.with_name(FILE_NAME + tail).unlink(missing_ok=True)


class WatchReader:
    """Looks, beside the writer. Where there is no file yet, or a damaged one, nothing was seen."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / FILE_NAME, LAYOUT, readonly=True)

    def close(self) -> None:
        """Close it."""
        self._database.close()

    def minutes(self, names: Iterable[str], since_minute: int) -> dict[str, list[Sample]]:
        """By name, oldest first, from that minute on."""
        query = (
            "SELECT minute, name, total / n, least, most, last FROM sample "
            "WHERE name = ? AND minute >= ? ORDER BY minute"
        )
        return {name: self._rows(query, (name, since_minute), Sample._make) for name in names}

    def hours(self, names: Iterable[str], since_hour: int) -> dict[str, list[Sample]]:
        """The same by hour (its number stands for `minute`; `last` is the mean)."""
        query = (
            "SELECT hour, name, total / n, least, most, total / n FROM hour "
            "WHERE name = ? AND hour >= ? ORDER BY hour"
        )
        return {name: self._rows(query, (name, since_hour), Sample._make) for name in names}

    def turns(self, since_ms: int, what: str = "%", limit: int = 10_000) -> list[Turn]:
        """Turns since then whose `what` is like that (SQL LIKE), newest first."""
        query = (
            "SELECT id, at_ms, what, detail FROM turn "
            "WHERE at_ms >= ? AND what LIKE ? ORDER BY id DESC LIMIT ?"
        )
        return self._rows(query, (since_ms, what, limit), Turn._make)

    def newest_ms(self, name: str) -> int | None:
        """The minute of the newest figure of that name, milliseconds; `None`: none is kept."""
        query = "SELECT max(minute) FROM sample WHERE name = ?"
        newest = next(iter(self._rows(query, (name,), lambda row: row[0])), None)
        return None if newest is None else int(newest) * 60_000

    def get(self, name: str) -> Any:
        """A part's state; `None` where there is none."""
        self._look_where_it_is()
        try:
            return _state(self._database, name)
        except (NotFound, StoreDamaged):
            return None

    def _look_where_it_is(self) -> None:
        with suppress(StoreError):  # it was begun anew: what is there now is opened
            self._database.check_place()

    def _rows(self, query: str, values: tuple[Any, ...], make: Any) -> list[Any]:
        self._look_where_it_is()
        try:
            return self._database.rows(query, values, make)
        except (NotFound, StoreDamaged):
            return []


def _state(database: Database, name: str) -> Any:
    rows = database.rows("SELECT value FROM state WHERE name = ?", (name,), lambda row: row[0])
    return json.loads(rows[0]) if rows else None
