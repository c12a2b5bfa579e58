"""Step 7: the registry's rows, within the caller's transaction. Layout: `registry_layout.py`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import apsw
from pydantic import ValidationError

from pipeline.adapters.outbox_books import RATE_MINUTES_MAX, ranges_text
from pipeline.errors import StoreDamaged
from pipeline.ports import Cursors
from schemas.feed import FactGroup, RecordChange, Span, record_leaf
from schemas.messages import Back, Since
from schemas.packet import Packet, read_head

EVENTS_MAX = 100_000

_UPSERT = """
INSERT INTO record(nik, version, record_no, status, epoch, seq, head, leaf) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT(nik) DO UPDATE SET version = excluded.version, record_no = excluded.record_no,
  status = excluded.status, epoch = excluded.epoch, seq = excluded.seq, open = 0, head = excluded.head,
  leaf = excluded.leaf
WHERE excluded.version > record.version OR record.open
"""


def read_cursors(db: apsw.Connection) -> Cursors:
    """Where the registry stands."""
    facts, records = cursor_of(db, "facts"), cursor_of(db, "records")
    fresh = bool(meta(db, "fresh")) and not facts and not records
    return Cursors(facts, records, history_of(db), fresh, back_of(db))


def cursor_of(db: apsw.Connection, sequence: str) -> int:
    """The cursor of `facts` or `records`."""
    return int(db.execute("SELECT value FROM meta WHERE key = ?", (sequence,)).get)


def back_of(db: apsw.Connection) -> Back | None:
    """How far a rebuild has got; `None` where there is none, or it is done."""
    text = meta(db, "back")
    if text is None:
        return None
    try:
        return Back.model_validate_json(text)
    except ValidationError:
        raise StoreDamaged(
            "the registry's note of how far its rebuild has got is damaged on this disk: make it anew "
            "(titian admit CODE --again at the center, then titian init region --rebuild into a new folder)"
        ) from None


def meta(db: apsw.Connection, key: str) -> Any:
    """What stands under `key`; `None` where nothing does."""
    return db.execute("SELECT value FROM meta WHERE key = ?", (key,)).get


def put_meta(db: apsw.Connection, key: str, value: int | str | None) -> None:
    """Put `value` under `key`; `None` takes it away."""
    if value is None:
        db.execute("DELETE FROM meta WHERE key = ?", (key,))
    else:
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def history_of(db: apsw.Connection) -> tuple[Since, ...]:
    """The incarnations of the ledger, oldest first."""
    rows = db.execute("SELECT incarnation, facts, records FROM since ORDER BY n")
    return tuple(Since(incarnation=str(i), facts=int(f), records=int(r)) for i, f, r in rows)


def set_history(db: apsw.Connection, history: Sequence[Since]) -> None:
    """Write them anew."""
    db.execute("DELETE FROM since")
    rows = [(one.incarnation, one.facts, one.records) for one in history]
    db.executemany("INSERT INTO since(incarnation, facts, records) VALUES (?, ?, ?)", rows)


def packets_of(changes: Iterable[RecordChange]) -> list[Packet]:
    """What the heads of these records say. Raises `InvalidPacket`, or `ValueError` for one without its head,
    which is a defect of the caller."""
    return [_packet(change) for change in changes]


def record_rows(
    record_no: int, changes: Sequence[RecordChange], packets: Sequence[Packet] | None = None
) -> list[tuple[Any, ...]]:
    """Rows of records that are numbered `record_no` at most; `packets` where their heads are read already.
    Raises as `packets_of` does."""
    said = packets_of(changes) if packets is None else packets
    return [_record_row(record_no, change, one.nik) for change, one in zip(changes, said, strict=True)]


def put_facts(db: apsw.Connection, span: Span, groups: Sequence[FactGroup], now_ms: int) -> None:
    """Store groups of facts under position `span.to`, and move the cursor there."""
    rows = [
        (span.to, n, g.epoch, int(g.status), json.dumps(g.reasons), ranges_text(g.seqs), g.hash)
        for n, g in enumerate(groups)
    ]
    db.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    put_meta(db, "facts", span.to)
    count_rate(db, now_ms, "facts", len(rows), 0)


def put_records(db: apsw.Connection, rows: Sequence[tuple[Any, ...]], now_ms: int) -> None:
    """Apply records whose version is newer than what is held."""
    db.executemany(_UPSERT, rows)
    count_rate(db, now_ms, "records", len(rows), sum(len(row[6]) for row in rows))


def add_event(db: apsw.Connection, now_ms: int, what: str, detail: str) -> None:
    """Something rare happened: no names, no NIKs."""
    db.execute("INSERT INTO event(at_ms, what, detail) VALUES (?, ?, ?)", (now_ms, what, detail))
    db.execute("DELETE FROM event WHERE id <= ?", (db.last_insert_rowid() - EVENTS_MAX,))


def count_rate(db: apsw.Connection, now_ms: int, what: str, n: int, size: int) -> None:
    """So many were applied in this minute."""
    minute = now_ms // 60_000
    db.execute(
        "INSERT INTO rate VALUES (?1, ?2, ?3, ?4) ON CONFLICT(minute, what) "
        "DO UPDATE SET n = n + ?3, bytes = bytes + ?4",
        (minute, what, n, size),
    )
    db.execute("DELETE FROM rate WHERE minute < ?", (minute - RATE_MINUTES_MAX,))


def _packet(change: RecordChange) -> Packet:
    if change.head is None:
        raise ValueError("a record without its head cannot be applied")
    return read_head(change.head, check=False)


def _record_row(record_no: int, change: RecordChange, nik: str) -> tuple[Any, ...]:
    version, status, epoch, seq, head = change
    return int(nik), version, record_no, int(status), epoch, seq, head, record_leaf(change, nik)
