"""Step 7: the region's registry over SQLite: `pipeline.ports.Registry`. Layout: `registry_layout.py`.

A cursor moves in the transaction that applies what it passes, and only if that continues what is held.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.outbox_books import RATE_MINUTES_MAX, ranges_of, ranges_text
from pipeline.adapters.registry_layout import FILE_NAME, LAYOUT
from pipeline.adapters.sqlite import Database
from pipeline.hop import adopted, rewound
from pipeline.ports import Cursors
from schemas.feed import FactGroup, RecordChange, Span
from schemas.messages import HISTORY_MAX, Since
from schemas.packet import read_head
from schemas.verdicts import Reason, Status

EVENTS_MAX = 100_000

_UPSERT = """
INSERT INTO record(nik, version, record_no, status, epoch, seq, head) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT(nik) DO UPDATE SET version = excluded.version, record_no = excluded.record_no,
  status = excluded.status, epoch = excluded.epoch, seq = excluded.seq, open = 0, head = excluded.head
WHERE excluded.version > record.version OR record.open
"""


class SqliteRegistry:
    """See `pipeline.ports.Registry`. One object may be used by several threads and after a fork."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / FILE_NAME, LAYOUT)

    def close(self) -> None:
        """Close what this thread holds open."""
        self._database.close()

    def data_version(self) -> int:
        """A number that changes when another connection has written."""
        return int(self._database.db.pragma("data_version"))

    def cursors(self) -> Cursors:
        """See the port."""
        with self._database.read() as db:
            return read_cursors(db)

    def adopt(self, since: Since) -> None:
        """See the port."""
        with self._database.write() as db:
            before = _history(db)
            after = adopted(before, since, HISTORY_MAX)
            if after != before:
                _set_history(db, after)

    def rewind(self, facts: int, records: int, since: Since) -> None:
        """See the port."""
        with self._database.write() as db:
            at = (_cursor(db, "facts"), _cursor(db, "records"))
            _move(db, "facts", min(facts, at[0]))
            _move(db, "records", min(records, at[1]))
            db.execute("DELETE FROM fact WHERE position > ?", (facts,))
            db.execute("UPDATE record SET open = 1 WHERE record_no > ?", (records,))
            _set_history(db, rewound(_history(db), facts, records, since, HISTORY_MAX))
            _event(db, 0, "rewind", f"facts {at[0]} to {facts}, records {at[1]} to {records}")

    def apply_facts(self, span: Span, groups: Sequence[FactGroup], now_ms: int) -> bool:
        """See the port."""
        with self._database.write() as db:
            if not span.start <= _cursor(db, "facts") < span.to:
                return False
            rows = [
                (span.to, n, g.epoch, int(g.status), json.dumps(g.reasons), ranges_text(g.seqs), g.hash)
                for n, g in enumerate(groups)
            ]
            db.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            _move(db, "facts", span.to)
            _rate(db, now_ms, "facts", len(rows), 0)
            return True

    def apply_records(self, span: Span, changes: Sequence[RecordChange], now_ms: int) -> bool:
        """See the port. Raises `ValueError` for a change without a head, which is a defect of the caller."""
        rows = [_row(span.to, change) for change in changes]
        size = sum(len(row[-1]) for row in rows)
        with self._database.write() as db:
            if not span.start <= _cursor(db, "records") < span.to:
                return False
            db.executemany(_UPSERT, rows)
            _move(db, "records", span.to)
            _rate(db, now_ms, "records", len(rows), size)
            return True

    def facts_after(self, position: int, limit: int) -> list[tuple[int, FactGroup]]:
        """See the port."""
        with self._database.read() as db:
            rows: list[Any] = db.execute(
                "SELECT position, epoch, status, reasons, seqs, hash FROM fact "
                "WHERE position > ?1 AND position <= (SELECT max(position) FROM (SELECT position FROM fact "
                "WHERE position > ?1 ORDER BY position, n LIMIT ?2)) ORDER BY position, n",
                (position, max(limit, 1)),
            ).fetchall()
        return [(at, _group(*rest)) for at, *rest in rows]

    def forget_facts(self, upto: int, epoch: str) -> None:
        """See the port."""
        if not self._database.db.execute("SELECT 1 FROM fact WHERE position <= ? LIMIT 1", (upto,)).get:
            return
        with self._database.write() as db:
            db.execute("DELETE FROM fact WHERE position <= ? AND epoch = ?", (upto, epoch))

    def keep_raw(self, span: Span, sequence: str, frame: bytes, reason: str, now_ms: int) -> bool:
        """See the port."""
        with self._database.write() as db:
            if not span.start <= _cursor(db, sequence) < span.to:
                return False
            db.execute(
                "INSERT INTO raw(sequence, start, upto, incarnation, at_ms, reason, frame) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (sequence, span.start, span.to, span.incarnation, now_ms, reason, frame),
            )
            _move(db, sequence, span.to)
            _event(db, now_ms, "kept raw", f"{sequence} {span.start} to {span.to}: {reason}")
            return True

    def record_count(self) -> int:
        """See the port."""
        return int(self._database.db.execute("SELECT max(id) FROM record").get or 0)


def create_registry(folder: Path, now_ms: int | None = None) -> None:
    """Make the registry in `folder` (one that is there is left as it is)."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database.create(folder / FILE_NAME, LAYOUT)
    with database.write() as db:
        db.execute(
            "INSERT OR IGNORE INTO meta VALUES ('made_ms', ?)",
            (SystemClock().now_ms() if now_ms is None else now_ms,),
        )
    database.close()


def read_cursors(db: apsw.Connection) -> Cursors:
    """Where the registry stands, within the caller's transaction."""
    return Cursors(_cursor(db, "facts"), _cursor(db, "records"), _history(db))


def _row(record_no: int, change: RecordChange) -> tuple[Any, ...]:
    if change.head is None:
        raise ValueError("a record without its head cannot be applied")
    nik = int(read_head(change.head, check=False).nik)
    return nik, change.version, record_no, int(change.status), change.epoch, change.seq, change.head


def _group(epoch: str, status: int, reasons: str, seqs: str, digest: bytes) -> FactGroup:
    said = tuple(Reason(code, detail) for code, detail in json.loads(reasons))
    return FactGroup(epoch, Status(status), said, ranges_of(seqs), digest)


def _cursor(db: apsw.Connection, sequence: str) -> int:
    return int(db.execute("SELECT value FROM meta WHERE key = ?", (sequence,)).get)


def _move(db: apsw.Connection, sequence: str, to: int) -> None:
    db.execute("UPDATE meta SET value = ? WHERE key = ?", (to, sequence))


def _history(db: apsw.Connection) -> tuple[Since, ...]:
    rows = db.execute("SELECT incarnation, facts, records FROM since ORDER BY n")
    return tuple(Since(incarnation=str(i), facts=int(f), records=int(r)) for i, f, r in rows)


def _set_history(db: apsw.Connection, history: Sequence[Since]) -> None:
    db.execute("DELETE FROM since")
    rows = [(one.incarnation, one.facts, one.records) for one in history]
    db.executemany("INSERT INTO since(incarnation, facts, records) VALUES (?, ?, ?)", rows)


def _event(db: apsw.Connection, now_ms: int, what: str, detail: str) -> None:
    db.execute("INSERT INTO event(at_ms, what, detail) VALUES (?, ?, ?)", (now_ms, what, detail))
    db.execute("DELETE FROM event WHERE id <= ?", (db.last_insert_rowid() - EVENTS_MAX,))


def _rate(db: apsw.Connection, now_ms: int, what: str, n: int, size: int) -> None:
    minute = now_ms // 60_000
    db.execute(
        "INSERT INTO rate VALUES (?1, ?2, ?3, ?4) ON CONFLICT(minute, what) "
        "DO UPDATE SET n = n + ?3, bytes = bytes + ?4",
        (minute, what, n, size),
    )
    db.execute("DELETE FROM rate WHERE minute < ?", (minute - RATE_MINUTES_MAX,))
