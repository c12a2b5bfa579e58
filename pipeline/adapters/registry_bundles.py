"""Step 7, by courier: what a bundle brings into the registry, each method one transaction.

What continues a cursor moves it, as on the link. Anything else of the same line is applied beside it: records
by their versions, facts not here but in the outbox, by their positions; no cursor moves then.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import apsw

from pipeline.adapters.registry_layout import FILE_NAME, LAYOUT
from pipeline.adapters.registry_rebuild import rewind_back
from pipeline.adapters.registry_rows import (
    add_event,
    back_of,
    cursor_of,
    history_of,
    meta,
    put_facts,
    put_meta,
    put_records,
    read_cursors,
    record_rows,
    set_history,
)
from pipeline.adapters.sqlite import Database
from pipeline.bundles import Continues, GoesBack, Lineage, is_of_line, lineage
from pipeline.ports import Cursors
from schemas.back import PASS_PICTURES
from schemas.feed import FactGroup, RecordChange, Span
from schemas.messages import Back, Since
from schemas.packet import read_head


class Placed(Enum):
    """How a frame lay to what is held."""

    MOVED = "it continued the cursor, which moved"
    BESIDE = "applied by versions; there is a gap before it"
    OLD = "the cursor is past it"
    FOREIGN = "its numbers do not mean the same here"


class Applied(NamedTuple):
    """What became of a frame of records: `changed` of them were newer than what is held."""

    placed: Placed
    changed: int = 0


class RegistryBundles:
    """Beside whoever else writes. Raises `NotFound` (no registry there) or `StoreError`."""

    def __init__(self, folder: Path, *, look_only: bool = False) -> None:
        self._database = Database(folder / FILE_NAME, LAYOUT, readonly=look_only)

    def close(self) -> None:
        """Close what this thread holds open."""
        self._database.close()

    def cursors(self) -> Cursors:
        """Where the region stands."""
        with self._database.read() as db:
            return read_cursors(db)

    def follow(self, theirs: Sequence[Since], now_ms: int) -> tuple[Lineage, int]:
        """Adopt the lives of the ledger under which a bundle was made, and go back where it was restored from
        a backup since we last heard of it. Returns what that came to, and the position above which facts that
        are settled in the outbox are void."""
        with self._database.write() as db:
            facts, records, ours = cursor_of(db, "facts"), cursor_of(db, "records"), history_of(db)
            found = lineage(facts, records, ours, theirs)
            if isinstance(found, GoesBack):
                put_meta(db, "facts", found.facts)
                put_meta(db, "records", found.records)
                db.execute("DELETE FROM fact WHERE position > ?", (found.facts,))
                db.execute("UPDATE record SET open = 1 WHERE record_no > ?", (found.records,))
                rewind_back(db, found.records)
                detail = f"facts {facts} to {found.facts}, records {records} to {found.records}"
                add_event(db, now_ms, "rewind", f"{detail} (by a bundle)")
            if isinstance(found, Continues | GoesBack) and found.history != ours:
                set_history(db, found.history)
            return found, _void_above(found, facts, ours)

    def put_facts(
        self, span: Span, groups: Sequence[FactGroup], lives: set[str], now_ms: int, *, move: bool = True
    ) -> Placed:
        """Store groups for the outbox, if they continue the cursor (and it may `move`); otherwise nothing is
        stored. `lives`: those of the ledger that the bundle names."""
        with self._database.write() as db:
            placed = _place(db, span, "facts", lives, move)
            if placed is Placed.MOVED:
                put_facts(db, span, groups, now_ms)
            return placed

    def put_records(
        self, span: Span, changes: Sequence[RecordChange], lives: set[str], now_ms: int, *, move: bool = True
    ) -> Applied:
        """Apply records whose version is newer than what is held; every change has its head."""
        with self._database.write() as db:
            placed = _place(db, span, "records", lives, move)
            if placed is Placed.FOREIGN:
                return Applied(placed)
            newer = _newer(db, changes, placed is Placed.MOVED)
            if newer:
                put_records(db, record_rows(span.to, newer), now_ms)
            if placed is Placed.MOVED:
                put_meta(db, "records", span.to)
            return Applied(placed, len(newer))

    def newer(self, changes: Sequence[RecordChange]) -> int:
        """How many of them are newer than what is held."""
        with self._database.read() as db:
            return len(_newer(db, changes, False))

    def open_for_service(self, records_to: int, now_ms: int) -> bool:
        """All records up to `records_to` are here: a rebuild needs its way back for nothing but pictures.
        Returns whether there was one, and it ends with that."""
        with self._database.write() as db:
            fresh, back = bool(meta(db, "fresh")), back_of(db)
            if cursor_of(db, "records") < records_to or not (fresh or back):
                return False
            if back is not None and (back.top > records_to or back.pass_no >= PASS_PICTURES):
                return False
            top = records_to if back is None else back.top
            opened_ms = back.opened_ms if back is not None and back.opened_ms else max(1, now_ms)
            pictures = Back(pass_no=PASS_PICTURES, floor=top, top=top, began_ms=now_ms, opened_ms=opened_ms)
            put_meta(db, "fresh", 0)
            put_meta(db, "back", pictures.model_dump_json(exclude_defaults=True) if top else None)
            if not top:
                put_meta(db, "rebuilt_ms", now_ms)
            if not meta(db, "opened_ms"):
                put_meta(db, "opened_ms", now_ms)
                add_event(db, now_ms, "open for service", f"by a bundle: every record up to {records_to}")
            return True

    def note(self, what: str, detail: str, now_ms: int) -> None:
        """Keep an event."""
        with self._database.write() as db:
            add_event(db, now_ms, what, detail)


def _place(db: apsw.Connection, span: Span, sequence: str, lives: set[str], move: bool) -> Placed:
    if not is_of_line(span.incarnation, span.to, sequence, history_of(db), lives):
        return Placed.FOREIGN
    cursor = cursor_of(db, sequence)
    if span.to <= cursor:
        return Placed.OLD
    continues = span.start <= cursor and span.start < span.to
    return Placed.MOVED if continues and move else Placed.BESIDE


def _newer(db: apsw.Connection, changes: Sequence[RecordChange], continues: bool) -> list[RecordChange]:
    """Those that are newer than what is held. Only what continues the cursor may replace a record that a
    rewind opened by an older version: of anything else it is not known that it was made after that."""
    newer = []
    for one in changes:
        assert one.head is not None
        nik = int(read_head(one.head, check=False).nik)
        held = db.execute("SELECT version, open FROM record WHERE nik = ?", (nik,)).fetchone()
        if held is None or one.version > held[0] or (continues and held[1]):
            newer.append(one)
    return newer


def _void_above(found: Lineage, facts: int, ours: Sequence[Since]) -> int:
    """What is settled above the cursor came by a bundle, and holds as long as the ledger's life went on."""
    if isinstance(found, GoesBack):
        return found.facts
    later = found.history[len(ours) :] if isinstance(found, Continues) and ours else ()
    return max([facts, min(one.facts for one in later)]) if later else -1
