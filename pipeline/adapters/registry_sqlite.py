"""Step 7: the region's registry over SQLite: `pipeline.ports.Registry`. Layout: `registry_layout.py`.

A cursor moves in the transaction that applies what it passes, and only if that continues what is held.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.adapters import registry_asks, registry_rebuild
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.outbox_books import ranges_of
from pipeline.adapters.registry_asks import Asked
from pipeline.adapters.registry_layout import FILE_NAME, LAYOUT
from pipeline.adapters.registry_rows import (
    add_event,
    cursor_of,
    history_of,
    put_facts,
    put_meta,
    put_records,
    read_cursors,
    record_rows,
    set_history,
)
from pipeline.adapters.sqlite import Database
from pipeline.hop import adopted, rewound
from pipeline.ports import Cursors
from schemas.asks import Answer
from schemas.back import BackFrame
from schemas.feed import FactGroup, RecordChange, Span
from schemas.messages import HISTORY_MAX, Ask, Since
from schemas.verdicts import Reason, Status


class SqliteRegistry:
    """See `pipeline.ports.Registry`. One object may be used by several threads and after a fork."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / FILE_NAME, LAYOUT)

    def close(self) -> None:
        """Close what this thread holds open."""
        self._database.close()

    def data_version(self) -> int:
        """A number that changes when another connection has written."""
        return self._database.number("PRAGMA data_version")

    def cursors(self) -> Cursors:
        """See the port."""
        with self._database.read() as db:
            return read_cursors(db)

    def adopt(self, since: Since) -> None:
        """See the port."""
        with self._database.write() as db:
            before = history_of(db)
            after = adopted(before, since, HISTORY_MAX)
            if after != before:
                set_history(db, after)
                # Fetched, or from a bundle: it may be of a life that ended before that number.
                db.execute("UPDATE record SET open = 1 WHERE record_no > ?", (since.records,))

    def rewind(self, facts: int, records: int, since: Since) -> None:
        """See the port."""
        with self._database.write() as db:
            at = (cursor_of(db, "facts"), cursor_of(db, "records"))
            put_meta(db, "facts", min(facts, at[0]))
            put_meta(db, "records", min(records, at[1]))
            db.execute("DELETE FROM fact WHERE position > ?", (facts,))
            db.execute("UPDATE record SET open = 1 WHERE record_no > ?", (records,))
            registry_rebuild.rewind_back(db, records)
            set_history(db, rewound(history_of(db), facts, records, since, HISTORY_MAX))
            add_event(db, 0, "rewind", f"facts {at[0]} to {facts}, records {at[1]} to {records}")

    def apply_facts(self, span: Span, groups: Sequence[FactGroup], now_ms: int) -> bool:
        """See the port."""
        with self._database.write() as db:
            if not span.start <= cursor_of(db, "facts") < span.to:
                return False
            put_facts(db, span, groups, now_ms)
            return True

    def apply_records(self, span: Span, changes: Sequence[RecordChange], now_ms: int) -> bool:
        """See the port. Raises `ValueError` for a change without a head, which is a defect of the caller."""
        rows = record_rows(span.to, changes)
        with self._database.write() as db:
            if not span.start <= cursor_of(db, "records") < span.to:
                return False
            put_records(db, rows, now_ms)
            put_meta(db, "records", span.to)
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
        if not self._database.number("SELECT EXISTS(SELECT 1 FROM fact WHERE position <= ?)", (upto,)):
            return
        with self._database.write() as db:
            db.execute("DELETE FROM fact WHERE position <= ? AND epoch = ?", (upto, epoch))

    def keep_raw(self, span: Span, sequence: str, frame: bytes, reason: str, now_ms: int) -> bool:
        """See the port. `sequence` `back`: nothing moves, for `apply_back` does that."""
        with self._database.write() as db:
            if sequence != "back" and not span.start <= cursor_of(db, sequence) < span.to:
                return False
            db.execute(
                "INSERT INTO raw(sequence, start, upto, incarnation, at_ms, reason, frame) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (sequence, span.start, span.to, span.incarnation, now_ms, reason, frame),
            )
            if sequence != "back":
                put_meta(db, sequence, span.to)
            add_event(db, now_ms, "kept raw", f"{sequence} {span.start} to {span.to}: {reason}")
            return True

    def record_count(self) -> int:
        """See the port."""
        return self._database.number("SELECT max(id) FROM record", none=0)

    # --- the rebuild, and questions that jump the queue -----------------------------------------

    def start_at(self, facts: int, records: int, since: Since, now_ms: int) -> None:
        """See the port."""
        with self._database.write() as db:
            registry_rebuild.start_at(db, facts, records, since, now_ms)

    def apply_back(self, frame: BackFrame, now_ms: int) -> bool:
        """See the port."""
        with self._database.write() as db:
            return registry_rebuild.apply_back(db, frame, now_ms)

    def asks(self) -> tuple[Ask, ...]:
        """See the port."""
        with self._database.read() as db:
            return registry_asks.open_asks(db)

    def apply_answer(self, answer: Answer, now_ms: int) -> bool:
        """See the port."""
        with self._database.write() as db:
            return registry_asks.apply_answer(db, answer, now_ms)

    def ask(self, what: str, args: bytes, now_ms: int) -> int:
        """Ask the center (`schemas.asks`) and return the question's id; the running side says it at once. The
        same question that is still open is not asked twice. What is a day old is forgotten."""
        with self._database.write() as db:
            return registry_asks.put_ask(db, what, args, now_ms)

    def answered(self, number: int) -> Asked | None:
        """The question `number` with its whole answer; `None` while it is open, or where it is forgotten."""
        found = self.asked(number)
        return None if found is None or found.answered_ms is None else found

    def asked(self, number: int) -> Asked | None:
        """The question `number`, with its answer as far as it has come; `None` where it is forgotten."""
        with self._database.read() as db:
            return registry_asks.asked(db, number)

    def forget_asks(self, now_ms: int) -> None:
        """Forget questions that are a day old, answered or not."""
        with self._database.write() as db:
            registry_asks.forget_asks(db, now_ms)


def create_registry(folder: Path, now_ms: int | None = None, *, fresh: bool = False) -> None:
    """Make the registry in `folder` (one that is there is left as it is). `fresh`: it is to be rebuilt."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database.create(folder / FILE_NAME, LAYOUT)
    with database.write() as db:
        db.execute(
            "INSERT OR IGNORE INTO meta VALUES ('made_ms', ?)",
            (SystemClock().now_ms() if now_ms is None else now_ms,),
        )
        if db.changes() and fresh:
            put_meta(db, "fresh", 1)
    database.close()


def _group(epoch: str, status: int, reasons: str, seqs: str, digest: bytes) -> FactGroup:
    said = tuple(Reason(code, detail) for code, detail in json.loads(reasons))
    return FactGroup(epoch, Status(status), said, ranges_of(seqs), digest)
